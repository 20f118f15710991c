"""What a probe found, shown: figures in a terminal, a document, a page or a picture. Only ``cli`` imports it."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmzip.cli.files import open_source, open_target
from llmzip.cli.messages import STANDARD
from llmzip.errors import DocumentError, UsageError
from llmzip.targets import check_targets

if TYPE_CHECKING:
    from llmzip.predictor import Predictor
    from llmzip.probes.record import Finding

Page = Annotated[str | None, typer.Option("--html", metavar="FILE", help="Write a page with plots, and print nothing.")]
Picture = Annotated[str | None, typer.Option("--svg", metavar="FILE", help="Write the plot alone, and print nothing.")]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Of what is drawn at random: bootstraps, samples.")]

_MOST_ROWS = 12


def read_file(file: str | None, demonstration_name: str) -> tuple[str, bytes]:
    """What the input is called and its bytes: of FILE, - for standard input, or of the demonstration."""
    if file is None:
        from llmzip.probes.demonstrations import demonstration

        return demonstration(demonstration_name)
    with open_source(file) as source:
        return (file if file == STANDARD else Path(file).name), source.read()


def model_named(name: str, *, offline: bool = False, as_float: bool = False) -> "Predictor":
    """The predictor that a MODEL argument means."""
    from llmzip.predictors import load_predictor

    return load_predictor(name, offline=offline, arithmetic="float" if as_float else "auto")


def show(
    measure: "Callable[[], Finding]",
    *,
    inputs: list[str | None],
    as_json: bool,
    html: str | None,
    svg: str | None,
    force: bool,
) -> None:
    """Measures, once it is sure that the result can be written, and shows it as asked."""
    if sum((as_json, html is not None, svg is not None)) > 1:
        raise UsageError("--json, --html and --svg each say what to write: leave two out")
    target = html if html is not None else svg
    if target is None:
        finding = measure()
        typer.echo(finding.to_json() if as_json else _in_terminal(finding), nl=False)
        return
    from llmzip.bench.pages import require
    from llmzip.probes.picture import page, picture

    require()
    check_targets([target], [name for name in inputs if name is not None and name != STANDARD])
    with open_target(target, inputs[0] or "", force=force) as file:
        finding = measure()
        drawn = page(finding) if html is not None else picture(finding)
        file.write(drawn.encode("utf-8", "backslashreplace"))


def compare_findings(before: Path, after: Path, *, as_json: bool) -> bool:
    """Prints what two documents of a probe say, figure by figure. False where the first is no such document."""
    from llmzip.documents import Header, decode, read_bytes
    from llmzip.probes.record import HEADER, REMEDY, Finding, changes

    if not before.is_file():
        return False
    data = read_bytes(before, remedy=REMEDY)
    try:
        is_finding = decode(data, Header, str(before)).schema == HEADER.schema
    except DocumentError:
        return False
    if not is_finding:
        return False
    one = Finding.from_json(data, str(before))
    other = Finding.from_json(read_bytes(after, remedy=REMEDY), str(after))
    found = changes(one, other)
    if as_json:
        typer.echo(json.dumps({"probe": one.probe, "changes": [asdict(change) for change in found]}, indent=2))
        return True
    from llmzip.bench.heatmap import visible
    from llmzip.probes.picture import cell_in_words

    typer.echo(f"probe {one.probe}; * where the intervals do not meet, or the values differ and have none")
    for change in found:
        values = f"{cell_in_words(change.before)} -> {cell_in_words(change.after)} {change.unit}".rstrip()
        typer.echo(f"{'*' if change.apart else ' '} {visible(change.name)}: {values}")
    return True


def _in_terminal(finding: "Finding") -> str:
    from llmzip.bench.heatmap import visible
    from llmzip.probes.picture import cell_in_words, in_words

    about = [visible(model.name) for model in finding.models] + [
        f"{visible(read.name)} ({read.original_bytes:,} bytes)" for read in finding.inputs
    ]
    lines = [f"probe {finding.probe}: {', '.join(about)}", *map(visible, finding.remarks), ""]
    for one in finding.figures:
        note = f"  [{visible(one.note)}]" if one.note else ""
        lines.append(f"{'*' if one.headline else ' '} {visible(one.name)}: {in_words(one)}{note}")
    for heading, text in finding.passages:
        lines += ["", f"-- {visible(heading)}", visible(text)]
    for table in finding.tables:
        lines += ["", visible(table.title)]
        cells = [list(map(visible, table.columns))]
        cells += [[cell_in_words(cell) for cell in row] for row in table.rows[:_MOST_ROWS]]
        widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
        lines += ["  " + "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        if len(table.rows) > _MOST_ROWS:
            lines.append(f"  … {len(table.rows) - _MOST_ROWS} more rows with --json or --html")
    return "\n".join([*lines, "", f"What this does not show: {finding.not_shown}", ""])
