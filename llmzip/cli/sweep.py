"""``llmzip sweep``: the checkpoints of a run on one text. Only ``cli`` imports it."""

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from llmzip.cli.finding import Page, Picture, model_named, read_file, show
from llmzip.cli.options import Force, Json, Offline

if TYPE_CHECKING:
    from llmzip.probes.record import Finding
    from llmzip.probes.sweep import Checkpoint


def sweep(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", hidden=True)],
    text: Annotated[str | None, typer.Option(metavar="FILE", help="What is measured; a demonstration else.")] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="FILE", help="Keep each model's line here, and measure none twice.")
    ] = None,
    offline: Offline = False,
    as_json: Json = False,
    html: Page = None,
    svg: Picture = None,
    force: Force = False,
) -> None:
    """Measure checkpoints, such as FOLDER/step-*, in bits per byte of one text: a curve that --resume goes on with."""
    from llmzip.probes.sweep import measure, read_lines
    from llmzip.sources import read_regular
    from llmzip.targets import append_text, check_targets, write_text

    name, data = read_file(text, "text.txt")
    known: list[Checkpoint] = []
    if resume is not None:
        check_targets([resume], [part for part in (text, html, svg) if part])
        if os.path.exists(resume):
            known = read_lines(read_regular(resume), resume)
            # A line that was cut short is made again.
            write_text(resume, "".join(_as_line(line) for line in known))

    def keep(line: "Checkpoint") -> None:
        if resume is not None:
            append_text(resume, _as_line(line))

    def work() -> "Finding":
        return measure(models, lambda model: model_named(model, offline=offline), data, name, known=known, keep=keep)

    show(work, inputs=[text, *models], as_json=as_json, html=html, svg=svg, force=force)


def _as_line(line: "Checkpoint") -> str:
    return json.dumps(asdict(line)) + "\n"
