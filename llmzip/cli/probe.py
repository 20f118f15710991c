"""``llmzip probe NAME``: what a model knows, as measurements in bits. Only ``cli`` imports it."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from llmzip.cli.command import Command
from llmzip.cli.finding import Page, Picture, Seed, model_named, read_file, show
from llmzip.cli.options import Force, Json, Offline
from llmzip.errors import UsageError

Model = Annotated[str, typer.Argument(metavar="MODEL", hidden=True)]
Text = Annotated[str | None, typer.Argument(metavar="[FILE]", hidden=True)]
Reference = Annotated[str | None, typer.Option(metavar="MODEL", help="Another model to compare with.")]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Measure what a model knows, in bits.")


@app.command(cls=Command, short_help="Fit the scaling law of a table of runs.")
def scaling(
    file: Text = None,
    at: Annotated[
        list[str] | None, typer.Option(metavar="N,D", help="Predict for so many parameters and tokens; may repeat.")
    ] = None,
    drop_highest: Annotated[int, typer.Option(metavar="N", min=0, help="Leave out the rows of highest loss.")] = 0,
    draws: Annotated[int, typer.Option(metavar="N", min=20, max=100_000, help="Of the bootstrap over runs.")] = 1000,
    seed: Seed = 0,
    as_json: Json = False,
    html: Page = None,
    svg: Picture = None,
    force: Force = False,
) -> None:
    """Fit L = E + A/N^alpha + B/D^beta to the runs in FILE, CSV or JSON with parameters, tokens (or flop) and loss."""
    from llmzip.probes.scaling import measure

    name, data = read_file(file, "scaling.csv")
    points = tuple(_point(text) for text in at or ())
    work = partial(measure, data, name, at=points, drop_highest=drop_highest, draws=draws, seed=seed)
    show(work, inputs=[file], as_json=as_json, html=html, svg=svg, force=force)


def _point(text: str) -> tuple[float, float]:
    try:
        parameters, tokens = map(float, text.split(","))
        if not (0 < parameters < 1e30 and 0 < tokens < 1e30):
            raise ValueError
    except ValueError:
        raise UsageError(f"--at {text!r} is no N,D: give two positive numbers, such as 1e9,2e10") from None
    return parameters, tokens


@app.command(cls=Command, short_help="Is the model as sure as it is right?")
def calibration(
    model: Model,
    file: Text = None,
    seed: Seed = 0,
    offline: Offline = False,
    as_json: Json = False,
    html: Page = None,
    svg: Picture = None,
    force: Force = False,
) -> None:
    """Compare the model's entropy with its cost on FILE, and say what a wrong temperature loses in bits per byte."""
    from llmzip.probes.calibration import measure

    name, data = read_file(file, "text.txt")
    work = partial(measure, model_named(model, offline=offline), data, name, seed=seed)
    show(work, inputs=[file, model], as_json=as_json, html=html, svg=svg, force=force)


@app.command(cls=Command, short_help="Which of two answers does it write more cheaply?")
def preference(
    model: Model,
    file: Text = None,
    reference: Reference = None,
    offline: Offline = False,
    as_json: Json = False,
    html: Page = None,
    svg: Picture = None,
    force: Force = False,
) -> None:
    """Count how often the chosen answer costs less, in JSON lines with "prompt", "chosen" and "rejected"."""
    from llmzip.probes.preference import measure

    name, data = read_file(file, "preference.jsonl")
    other = None if reference is None else model_named(reference, offline=offline)
    work = partial(measure, model_named(model, offline=offline), data, name, reference=other)
    show(work, inputs=[file, model], as_json=as_json, html=html, svg=svg, force=force)


Folder = Annotated[str | None, typer.Option(metavar="FOLDER", help="Texts with a label, a file each.")]


@app.command(cls=Command, short_help="Is a text memorised or generated?")
def memory(
    model: Model,
    file: Text = None,
    reference: Reference = None,
    members: Folder = None,
    others: Folder = None,
    canaries: Annotated[
        str | None, typer.Option(metavar="FILE", help='JSON lines with "prompt", "secret" and "others".')
    ] = None,
    seed: Seed = 0,
    offline: Offline = False,
    as_json: Json = False,
    html: Page = None,
    svg: Picture = None,
    force: Force = False,
) -> None:
    """Map FILE by zstd's bits over the model's, and say how likely the model is to write it out of itself."""
    from llmzip.probes.memory import measure

    name, data = read_file(file, "text.txt")
    work = partial(
        measure,
        model_named(model, offline=offline),
        data,
        name,
        reference=None if reference is None else model_named(reference, offline=offline),
        members=_texts(members),
        others=_texts(others),
        canaries=b"" if canaries is None else read_file(canaries, "")[1],
        seed=seed,
    )
    show(work, inputs=[file, model, canaries], as_json=as_json, html=html, svg=svg, force=force)


def _texts(folder: str | None) -> list[bytes]:
    if folder is None:
        return []
    from llmzip.sources import find_sources, read_regular

    found = find_sources([folder])
    found.check()
    return [text for path in found.files if (text := read_regular(path))]


@app.command(cls=Command, short_help="What did tuning change?")
def tuned(
    model: Model,
    file: Text = None,
    base: Annotated[str, typer.Option(metavar="MODEL", help="What it was tuned from.")] = "nano",
    before: Annotated[str, typer.Option(metavar="TEXT", help="Of a template: what stands before the text.")] = "",
    after: Annotated[str, typer.Option(metavar="TEXT", help="Of a template: what stands after the text.")] = "",
    seed: Seed = 0,
    offline: Offline = False,
    as_json: Json = False,
    html: Page = None,
    svg: Picture = None,
    force: Force = False,
) -> None:
    """Compare a tuned model with its base on FILE, or on each file of a folder, in bits per byte of the same bytes."""
    from llmzip.probes.tuned import measure

    if file is not None and os.path.isdir(file):
        from llmzip.bench.kinds import kind_of
        from llmzip.sources import find_sources, read_regular

        found = find_sources([file])
        found.check()
        texts = {path.relative_to(file).as_posix(): read_regular(path) for path in found.files}
        kinds = {path.relative_to(file).as_posix(): kind_of(path, [Path(file)]) for path in found.files}
    else:
        texts, kinds = dict([read_file(file, "text.txt")]), {}
    models = (model_named(base, offline=offline), model_named(model, offline=offline))
    work = partial(measure, *models, texts, kinds=kinds, before=before.encode(), after=after.encode(), seed=seed)
    show(work, inputs=[file, model, base], as_json=as_json, html=html, svg=svg, force=force)


@app.command(cls=Command, short_help="Does it know facts the other way round?")
def reversal(
    model: Model,
    file: Text = None,
    seed: Seed = 0,
    offline: Offline = False,
    as_json: Json = False,
    html: Page = None,
    svg: Picture = None,
    force: Force = False,
) -> None:
    """Compare what questions tell the model about answers, forwards and backwards; made-up facts without FILE."""
    from llmzip.probes import facts
    from llmzip.probes.reversal import measure, read_facts

    if file is None:
        name, found = "made-up facts", facts.made_up(30, seed=seed)
    else:
        name, data = read_file(file, "")
        found = read_facts(data, name)
    work = partial(measure, model_named(model, offline=offline), found, name, seed=seed)
    show(work, inputs=[file, model], as_json=as_json, html=html, svg=svg, force=force)


@app.command(cls=Command, short_help="Which parts hold how many bits?")
def ablation(
    model: Model,
    file: Text = None,
    part: Annotated[str, typer.Option(metavar="PART", help="layer, attention, mlp or head.")] = "layer",
    replacement: Annotated[str, typer.Option("--by", metavar="HOW", help="zero, mean or resample.")] = "mean",
    seed: Seed = 0,
    offline: Offline = False,
    as_json: Json = False,
    html: Page = None,
    svg: Picture = None,
    force: Force = False,
) -> None:
    """Replace each part of the model in turn and say what FILE then costs more; and read each layer as the last."""
    from llmzip.probes import ablation as probe

    if part not in probe.PARTS:
        raise UsageError(f"--part {part!r} is none: use {', '.join(probe.PARTS)}")
    if replacement not in probe.REPLACEMENTS:
        raise UsageError(f"--by {replacement!r} is none: use {', '.join(probe.REPLACEMENTS)}")
    name, data = read_file(file, "text.txt")
    predictor = model_named(model, offline=offline, as_float=True)
    work = partial(probe.measure, predictor, data, name, part=part, replacement=replacement, seed=seed)
    show(work, inputs=[file, model], as_json=as_json, html=html, svg=svg, force=force)
