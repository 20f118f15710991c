"""``llmzip bench``: models and classical codecs on the same files, in bits per byte. Only ``cli`` imports it."""

import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmzip.cli.gating import AcrossModels, Check, Exports, Gate, Tolerance, UpdateBaseline, parse_exports
from llmzip.cli.messages import say, say_left_out, shown
from llmzip.cli.options import (
    Context,
    Device,
    Dtype,
    Exact,
    Float,
    Json,
    NoMemory,
    Offline,
    Portable,
    Quiet,
    Threads,
    chosen_arithmetic,
)
from llmzip.cli.progress import is_watched
from llmzip.cli.reporting import reporting, tell_failure
from llmzip.errors import UsageError
from llmzip.targets import check_targets, remove_old, write_text

if TYPE_CHECKING:
    from llmzip.bench.results import Results

Paths = Annotated[list[Path], typer.Argument(metavar="PATH...", hidden=True)]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", metavar="MODEL", help="As for compress, or NAME=MODEL; may be given several times."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="GLOB",
        help='Leave files out, such as "*.png"; may be given several times. See .llmzipignore.',
    ),
]
Codecs = Annotated[
    list[str] | None,
    typer.Option(
        "--codec", metavar="NAME", help='Such as "zstd -22 --long=27", "xz -9e", "brotli"; may be given several times.'
    ),
]
CodecFile = Annotated[
    Path | None, typer.Option("--codecs", metavar="FILE", help="Measure the programs that this TOML file describes.")
]
Quick = Annotated[bool, typer.Option("--quick", help="Score models without writing archives: estimates.")]
Explain = Annotated[bool, typer.Option("--explain", help="Show where the bits of each model's archives go.")]
MeasureMemory = Annotated[
    bool,
    typer.Option(
        "--measure-memory",
        help="Run each codec on the largest file once more, alone, and say how much memory it takes.",
    ),
]
Files = Annotated[bool, typer.Option("--files", help="Show every file, not only kinds of files.")]
Output = Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help="Write the results to this file.")]
Resume = Annotated[
    Path | None, typer.Option("--resume", metavar="FILE", help="Keep the rows of earlier results that still hold.")
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print the tables in Markdown.")]
Html = Annotated[
    str | None, typer.Option("--html", metavar="FILE", help="Write a page with charts that opens without a network.")
]
Csv = Annotated[bool, typer.Option("--csv", help="Print a line of comma-separated values for each row.")]


@reporting
def bench(
    paths: Paths,
    exclude: Exclude = None,
    models: Models = None,
    codecs: Codecs = None,
    codec_file: CodecFile = None,
    quick: Quick = False,
    explain: Explain = False,
    no_memory: NoMemory = False,
    measure_memory: MeasureMemory = False,
    files: Files = False,
    output: Output = None,
    resume: Resume = None,
    as_json: Json = False,
    markdown: Markdown = False,
    as_csv: Csv = False,
    html: Html = None,
    check: Check = None,
    update_baseline: UpdateBaseline = False,
    tolerance: Tolerance = None,
    across_models: AcrossModels = False,
    exports: Exports = None,
    exact: Exact = False,
    as_float: Float = False,
    portable: Portable = False,
    device: Device = None,
    dtype: Dtype = None,
    offline: Offline = False,
    context: Context = None,
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Measure models and classical codecs on the same files.

    Every archive is decoded and compared before its size counts; --quick gives estimates instead.
    """
    from llmzip.bench.corpus import corpus_sources
    from llmzip.bench.naming import label_and_model

    targets = parse_exports(exports)
    sources = corpus_sources(paths, exclude=exclude or ())
    export_paths = [path for _, path in targets]
    read: list[str | Path] = [
        *sources.files,
        *(name for name in (codec_file, None if update_baseline else check) if name),
        *(label_and_model(model)[1] for model in models or ()),
    ]
    written = [*filter(None, (output, html, check if update_baseline else None)), *export_paths]
    check_targets(written, read)
    remove_old(export_paths)  # an old one would look as if this run had ended well
    if quick and explain:
        raise UsageError("--explain takes an archive apart, and --quick writes none: leave one out")
    if quick and portable:
        raise UsageError("--quick does not estimate what --portable costs: leave one out")
    arithmetic = chosen_arithmetic(exact=exact, as_float=as_float, portable=portable)
    if as_json + markdown + as_csv > 1:
        raise UsageError("--json, --markdown and --csv all print on standard output: choose one")
    if check is not None and (quick or resume is not None):
        raise UsageError("--check compares sizes measured now: leave out --quick and --resume")
    gate = Gate(
        check, update=update_baseline, tolerance=tolerance, across_models=across_models, exports=targets, quiet=quiet
    )
    if html is not None:
        from llmzip.bench.pages import require

        require()

    from llmzip.bench.codecs import DEFAULT_CODECS
    from llmzip.bench.external import read_external_codecs
    from llmzip.bench.measuring import Bench, all_codecs, files_to_measure
    from llmzip.bench.modelled import modelled
    from llmzip.cli.bench_progress import measure_all
    from llmzip.predictors import DEFAULT_RUNG

    earlier = _earlier(resume)
    external = read_external_codecs(codec_file) if codec_file else []
    found = files_to_measure(sources)
    for line in [*sources.unreadable, *([] if quiet else sources.left_out)]:
        say(f"llmzip: {shown(line)}")
    make = partial(
        modelled,
        threads=threads,
        memory=not no_memory,
        arithmetic=arithmetic,
        dtype=dtype,
        device=device,
        offline=offline,
        context=context,
    )
    classical = [*(codecs or DEFAULT_CODECS), *external]
    measured = all_codecs(models or [DEFAULT_RUNG], classical, make=make)
    for model in [] if quiet else models or ():
        say_left_out(label_and_model(model)[1])
    gate.check_planned([file.measured for file in found], [codec.description for codec in measured])
    command = shlex.join(["llmzip", *sys.argv[1:]])
    work = Bench(
        found,
        measured,
        explain=explain,
        quick=quick,
        own_bits=gate.needs_own_bits,
        measure_memory=measure_memory,
        threads=threads,
        command=command,
    )
    if earlier is not None:
        kept = work.keep(earlier)
        if not quiet:
            say(f"llmzip: {kept} of {len(earlier.rows)} earlier rows are kept")
    results, code = measure_all(work, output, show=is_watched(quiet=quiet))
    if sources.unreadable:
        say(f"llmzip: {len(sources.unreadable)} of what was named could not be read and is in no figure")
        code = code or 1
    if results.rows and not as_json and (markdown or as_csv or not quiet):
        _print(results, markdown=markdown, as_csv=as_csv, files=files)
    if html is not None:
        from llmzip.bench.html import render

        write_text(html, render(results))
    if not code:
        code = gate.conclude(results)
    elif check is not None:
        failed = "was not compared: correct what failed first"
        say(f"llmzip: {shown(check)} {failed}")
        tell_failure("not checked", f"{shown(check)} {failed}")
    if as_json:
        typer.echo(_with_verdict(results, gate) if check is not None else results.to_json(), nl=False)
    if code:
        raise typer.Exit(code)


def _with_verdict(results: "Results", gate: Gate) -> str:
    """The results, and what came of the comparison with the baseline."""
    from llmzip.cli.compare import comparison_as_json

    made = {"verdict": "not checked"} if gate.comparison is None else comparison_as_json(gate.comparison)
    return json.dumps({**json.loads(results.to_json()), "comparison": made}, indent=1) + "\n"


def _print(results: "Results", *, markdown: bool, as_csv: bool, files: bool) -> None:
    from llmzip.cli.bench_table import as_markdown, comma_separated, print_table
    from llmzip.cli.bench_waterfall import print_waterfall

    if markdown or as_csv:
        typer.echo(as_markdown(results) if markdown else comma_separated(results), nl=False)
        return
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    print_table(results, console, files=files)
    print_waterfall(results, console)


def _earlier(path: Path | None) -> "Results | None":
    from llmzip.bench.results import Results
    from llmzip.documents import read_bytes

    remedy = "leave --resume out to begin"
    return None if path is None else Results.from_json(read_bytes(path, remedy=remedy), str(path))
