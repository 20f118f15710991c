"""What ``llmzip compare`` and ``llmzip bench --check`` share: baselines as files, exports, and telling GitHub.

The library compares and writes texts; here they meet files, the terminal and the environment. Only ``cli`` imports it.
"""

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmzip.cli.messages import say, shown
from llmzip.errors import DocumentError, NotComparableError, UsageError
from llmzip.targets import append_text, write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from llmzip.bench.baseline import Baseline
    from llmzip.bench.gate import Comparison
    from llmzip.bench.results import MeasuredCodec, MeasuredFile, Results

Check = Annotated[
    str | None,
    typer.Option("--check", metavar="FILE", help="Compare with this baseline: exit code 1 where a size grew."),
]
UpdateBaseline = Annotated[
    bool, typer.Option("--update-baseline", help="Write the baseline that --check names, instead of failing.")
]

Tolerance = Annotated[
    str | None,
    typer.Option(
        "--tolerance",
        metavar="T",
        help="Growth that is no regression: bytes:0, bpb:0.1% or bpb:0.002. "
        "By default bytes:0, and bpb:0.1% for models that are not exact.",
    ),
]
AcrossModels = Annotated[
    bool,
    typer.Option("--across-models", help="Compare two models: their fingerprints may differ, and totals are judged."),
]
Exports = Annotated[
    list[str] | None,
    typer.Option(
        "--export",
        metavar="FORMAT=FILE",
        help="Also write junit, github-benchmark, bencher or lm-eval; may be given several times.",
    ),
]


def read_side(path: Path) -> "Baseline":
    """The baseline or result document in a file. Raises UsageError where there is none, DocumentError for another
    document, and NotComparableError where the document is whole but has no sizes to compare."""
    from llmzip.bench.baseline import REMEDY, read_baseline
    from llmzip.documents import read_bytes

    if not path.exists():
        raise UsageError(f"there is no {path}: llmzip bench --output {path} makes a result")
    try:
        return read_baseline(read_bytes(path, remedy=REMEDY), str(path))
    except NotComparableError as error:
        raise NotComparableError(f"{path}: {error}") from None


def parse_exports(exports: list[str] | None) -> list[tuple[str, str]]:
    """Format and file of each --export, before anything is measured. Raises UsageError."""
    from llmzip.bench.exports import EXPORTS

    parsed = []
    for text in exports or []:
        form, separator, name = text.partition("=")
        if not separator or not name or form not in EXPORTS:
            raise UsageError(f"--export {text!r}: write FORMAT=FILE, with FORMAT one of {', '.join(EXPORTS)}")
        parsed.append((form, name))
    return parsed


def write_exports(exports: list[tuple[str, str]], measured: "Baseline", comparison: "Comparison | None") -> None:
    """Writes each export, and what GitHub shows of a step when this is one."""
    from llmzip.bench.exports import EXPORTS, annotations, step_summary

    for form, path in exports:
        write_text(path, EXPORTS[form](measured, comparison))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        append_text(summary, step_summary(measured, comparison))
    if comparison is not None and os.environ.get("GITHUB_ACTIONS") == "true":
        for line in annotations(comparison):
            say(line)


def _conclude(comparison: "Comparison", baseline: Path, *, quiet: bool) -> int:
    """Says what to do about the comparison, and returns the exit code: 1 where something regressed, else 0."""
    if comparison.verdict == "regressed":
        say(f"llmzip: worse than {shown(str(baseline))}: undo that, or accept it with --update-baseline")
        return 1
    if comparison.verdict == "improved" and not quiet:
        say(f"llmzip: better than {shown(str(baseline))}: keep that with --update-baseline")
    return 0


@contextmanager
def _offering_a_new_baseline() -> "Iterator[None]":
    """What ``compare`` says of two files, ``bench --check`` says too, and it has one remedy more."""
    try:
        yield
    except (NotComparableError, DocumentError) as error:
        raise type(error)(f"{error}; --update-baseline begins anew") from None


class Gate:
    """``bench --check``: refuses before the measuring what can be refused, and judges after it."""

    def __init__(
        self,
        name: str | None,
        *,
        update: bool,
        tolerance: str | None,
        across_models: bool,
        exports: list[tuple[str, str]],
        quiet: bool = False,
    ) -> None:
        """Reads the baseline. Raises UsageError, DocumentError and NotComparableError.

        exports: as ``parse_exports`` gives them; quiet: whether only what regressed is said.
        """
        from llmzip.bench.gate import parse_tolerance

        path = None if name is None else Path(name)
        if path is None and (update or tolerance is not None or across_models):
            raise UsageError("--update-baseline, --tolerance and --across-models need a baseline: name it with --check")
        self._path, self._update, self._across_models = path, update, across_models
        self._tolerance = None if tolerance is None else parse_tolerance(tolerance)
        self._exports, self._quiet = exports, quiet
        self.comparison: Comparison | None = None
        """Once it was made."""
        self._baseline: Baseline | None = None
        if path is not None:
            self._baseline = self._old_baseline(path) if update else self._present_baseline(path)

    @property
    def needs_own_bits(self) -> bool:
        """Whether an export says the models' own bits, which a bench else leaves out."""
        return any(form == "lm-eval" for form, _ in self._exports)

    @staticmethod
    def _present_baseline(path: Path) -> "Baseline":
        if not path.exists():
            raise UsageError(f"there is no baseline {path}: --update-baseline makes it")
        with _offering_a_new_baseline():
            return read_side(path)

    @staticmethod
    def _old_baseline(path: Path) -> "Baseline | None":
        """What an update can be compared with, if anything."""
        try:
            return read_side(path)
        except (UsageError, DocumentError, NotComparableError):
            return None

    def check_planned(self, files: "Iterable[MeasuredFile]", codecs: "Iterable[MeasuredCodec]") -> None:
        """Refuses a bench that could not be compared, before it takes its time."""
        from llmzip.bench.baseline import identities
        from llmzip.bench.gate import check_comparable

        if self._baseline is not None and not self._update:
            with _offering_a_new_baseline():
                check_comparable(self._baseline, identities(files, codecs), across_models=self._across_models)

    def conclude(self, results: "Results") -> int:
        """Compares, explains on stderr, writes what was asked for, and returns the exit code."""
        from llmzip.bench.baseline import baseline_of
        from llmzip.bench.gate import compare, explanation

        has_estimates = any(row.estimate for row in results.rows)
        if self._path is None and not self._exports and (has_estimates or not os.environ.get("GITHUB_STEP_SUMMARY")):
            return 0
        measured, comparison = baseline_of(results), None
        if self._baseline is not None:
            try:
                comparison = compare(
                    self._baseline, measured, tolerance=self._tolerance, across_models=self._across_models
                )
            except NotComparableError:
                if not self._update:
                    raise
        self.comparison = comparison
        for line in explanation(comparison) if comparison and self._tells(comparison) else ():
            say(shown(line))
        write_exports(self._exports, measured, comparison)
        if self._path is not None and self._update:
            write_text(self._path, measured.to_json())
            if not self._quiet:
                say(f"llmzip: {shown(str(self._path))} is the new baseline: commit it")
            return 0
        return _conclude(comparison, self._path, quiet=self._quiet) if comparison and self._path else 0

    def _tells(self, comparison: "Comparison") -> bool:
        """Whether whoever asked for quiet is told: of errors only."""
        return not self._quiet or (comparison.verdict == "regressed" and not self._update)
