"""``llmzip sample`` and ``llmzip rate``: the lossy side of the zip. Only ``cli`` imports it."""

import json
from functools import partial
from typing import Annotated

import typer

from llmzip.cli.finding import Page, Picture, Seed, model_named, read_file, show
from llmzip.cli.options import Force, Json, Offline

Model = Annotated[str, typer.Argument(metavar="MODEL", hidden=True)]


def sample(
    model: Model,
    prompt: Annotated[str, typer.Option("--prompt", "-p", metavar="TEXT", help="What the text goes on from.")] = "",
    tokens: Annotated[int, typer.Option(metavar="N", min=1, max=1 << 20, help="How many to decode.")] = 200,
    seed: Seed = 0,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Decode random bits into text: what the zip of a corpus holds, opened anywhere."""
    from llmzip.probes import sample as probe

    found = probe.sample(model_named(model, offline=offline), tokens=tokens, seed=seed, prompt=prompt.encode())
    text = found.text.decode("utf-8", "backslashreplace")
    if as_json:
        record = {"label": probe.LABEL, "model": model, "seed": seed, "prompt": prompt, "tokens": tokens}
        typer.echo(json.dumps({**record, "bits": found.bits, "bytes": len(found.text), "text": text}))
        return
    from llmzip.bench.heatmap import visible

    plain = visible(text).replace("↵\n", "\n").replace("⇥\t", "\t")
    typer.echo(f"{prompt}{plain}\n")
    typer.echo(f"[{found.bits:,.1f} random bits, {len(found.text):,} bytes, seed {seed}: {probe.LABEL}]", err=True)


def rate(
    model: Model,
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", hidden=True)] = None,
    limit: Annotated[int, typer.Option(metavar="BYTES", min=1, help="Of the text, from its beginning.")] = 2048,
    offline: Offline = False,
    as_json: Json = False,
    html: Page = None,
    svg: Picture = None,
    force: Force = False,
) -> None:
    """Draw the curve from dream to lossless: only tokens dearer than t bits are sent, the model fills in the rest."""
    from llmzip.probes.rate import measure

    name, data = read_file(file, "text.txt")
    work = partial(measure, model_named(model, offline=offline), data, name, limit_bytes=limit)
    show(work, inputs=[file, model], as_json=as_json, html=html, svg=svg, force=force)
