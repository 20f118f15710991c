"""``llmzip probe NAME``: what a model knows, as measurements in bits. Only ``cli`` imports it."""

from functools import partial
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
