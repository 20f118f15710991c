"""``llmzip models``: the embedded models and what they cost. Only ``cli`` imports it."""

import json

import typer

from llmzip.cli.options import Json


def models(as_json: Json = False) -> None:
    """List the embedded models: what a receiver must hold, and bits per byte on held-out text."""
    from llmzip.predictors import DEFAULT_RUNG, embedded_rungs

    rungs = embedded_rungs()
    if as_json:
        keys = ("name", "parameter_count", "stored_bytes", "bits_per_byte", "decompress_kb_per_second")
        rows = [{**{key: getattr(rung, key) for key in keys}, "default": rung.name == DEFAULT_RUNG} for rung in rungs]
        typer.echo(json.dumps(rows, indent=2))
        return

    from rich import box
    from rich.console import Console
    from rich.table import Table

    kinds = list(dict.fromkeys(kind for rung in rungs for kind in rung.bits_per_byte))
    table = Table(
        box=box.SIMPLE_HEAD,
        caption="* the default. Speed on the machine of the model card; bits per byte of held-out text, by kind.",
        caption_justify="left",
        pad_edge=False,
    )
    table.add_column("model", no_wrap=True)
    for heading in ("parameters", "stored\nbytes", "decode\nKB/s", *(kind.replace("-", "-\n") for kind in kinds)):
        table.add_column(heading, justify="right")
    for rung in rungs:
        name = f"{rung.name} *" if rung.name == DEFAULT_RUNG else rung.name
        figures = [f"{rung.bits_per_byte[kind]:.2f}" if kind in rung.bits_per_byte else "-" for kind in kinds]
        speed = f"{rung.decompress_kb_per_second:.1f}"
        table.add_row(name, f"{rung.parameter_count:,}", f"{rung.stored_bytes:,}", speed, *figures)
    Console(markup=False, highlight=False).print(table)
