"""What a gate compares: identities and whole numbers of a bench, as a file that is committed and read in diffs.

Sorted, one number a line, no times, no machine, no floating point. Measures and compares nothing. May import
``bench.results``, ``documents`` and ``errors``; the rest of ``bench`` and ``cli`` import it.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from llmzip.bench.results import HEADER as RESULTS_HEADER
from llmzip.bench.results import (
    MICROBITS,
    CodecKind,
    MeasuredCodec,
    MeasuredFile,
    Results,
    Row,
    WaterfallTerm,
)
from llmzip.documents import Count, Header, Sha256, Size, Whole, decode
from llmzip.errors import DocumentError, NotComparableError

HEADER = Header("llmzip-baseline", 1)
"""Schema and version."""

REMEDY = "restore it, or measure again"
"""What every refusal of a baseline ends with."""


@dataclass(frozen=True)
class BaselineFile:
    """One file of the corpus; its name is the key."""

    kind: str
    original_bytes: Size
    sha256: Sha256


@dataclass(frozen=True)
class BaselineRow:
    """One file under one codec."""

    archive_bytes: Count
    ideal_microbits: Count | None = None
    waterfall_microbits: dict[WaterfallTerm, Whole] | None = None
    model_microbits: Count | None = None
    """The model's own, which nothing is judged by: ``exports`` says them."""


@dataclass(frozen=True)
class BaselineCodec:
    """A codec's identity, and its row of every file."""

    kind: CodecKind
    exact: bool
    fingerprint: str
    settings: dict[str, str | int]
    rows: dict[str, BaselineRow]

    @property
    def archive_bytes(self) -> int:
        """Of all files together."""
        return sum(row.archive_bytes for row in self.rows.values())


@dataclass(frozen=True)
class Baseline:
    """The numbers of a bench by file and by codec."""

    files: dict[str, BaselineFile]
    codecs: dict[str, BaselineCodec]

    @property
    def original_bytes(self) -> int:
        """Of all files together."""
        return sum(file.original_bytes for file in self.files.values())

    def to_json(self) -> str:
        """The file that is committed: sorted, so that it changes where a number does and nowhere else."""
        document = {
            **vars(HEADER),
            "files": {name: asdict(file) for name, file in self.files.items()},
            "codecs": {
                name: {**asdict(codec), "rows": {file: _without_none(row) for file, row in codec.rows.items()}}
                for name, codec in self.codecs.items()
            },
        }
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _without_none(row: BaselineRow) -> dict[str, Any]:
    return {key: value for key, value in asdict(row).items() if value is not None}


def baseline_of(results: Results) -> Baseline:
    """The comparable part of a bench. Raises NotComparableError where a row is an estimate or missing."""
    estimates = [row for row in results.rows if row.estimate or not row.verified]
    if estimates:
        row = estimates[0]
        raise NotComparableError(f"{row.codec} on {row.file} is an estimate: measure without --quick")
    try:
        return _checked(identities(results.files, results.codecs, results.rows))
    except ValueError as error:
        raise NotComparableError(f"the bench is not whole ({error}): measure again, to the end") from None


def identities(files: Iterable[MeasuredFile], codecs: Iterable[MeasuredCodec], rows: Iterable[Row] = ()) -> Baseline:
    """What a bench measures, with the rows that there are: none before it begins."""
    known = list(rows)
    return Baseline(
        {file.name: BaselineFile(file.kind, file.original_bytes, file.sha256) for file in files},
        {
            codec.name: BaselineCodec(
                codec.kind,
                codec.exact,
                codec.fingerprint,
                dict(codec.settings),
                {
                    row.file: BaselineRow(
                        row.archive_bytes, row.ideal_microbits, row.waterfall_microbits, row.model_microbits
                    )
                    for row in known
                    if row.codec == codec.name
                },
            )
            for codec in codecs
        },
    )


def read_baseline(text: str | bytes, where: str = "the baseline") -> Baseline:
    """From a baseline or from a whole result document. Raises DocumentError for anything else.

    where: what the message calls the document. Raises NotComparableError as ``baseline_of`` does.
    """
    data = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
    header = decode(data, Header, where, remedy=REMEDY)
    if header.schema == RESULTS_HEADER.schema:
        return baseline_of(Results.from_json(data, where))
    if header != HEADER:
        raise DocumentError(f"{where}: schema: it is {header}, not {HEADER}: {REMEDY}")
    document = decode(data, _Document, where, closed=True, remedy=REMEDY)
    try:
        return _checked(Baseline(document.files, document.codecs))
    except ValueError as error:
        raise DocumentError(f"{where}: {error}: {REMEDY}") from None


@dataclass(frozen=True)
class _Document(Baseline):
    schema: str = HEADER.schema
    version: int = HEADER.version


def _checked(baseline: Baseline) -> Baseline:
    """The baseline, if it is whole and its numbers agree among themselves. Raises ValueError."""
    if not baseline.files or not baseline.codecs:
        raise ValueError("it has no files or no codecs")
    for name, codec in baseline.codecs.items():
        if set(codec.rows) != set(baseline.files):
            raise ValueError(f"codecs[{name!r}].rows: they are not of exactly its files")
        if codec.kind == "predictor" and not codec.fingerprint:
            raise ValueError(f"codecs[{name!r}].fingerprint: it is empty")
        for file, row in codec.rows.items():
            waterfall = row.waterfall_microbits
            if not row.archive_bytes and codec.kind != "external":
                raise ValueError(f"codecs[{name!r}].rows[{file!r}].archive_bytes: no such codec writes empty archives")
            if waterfall is not None and sum(waterfall.values()) != 8 * MICROBITS * row.archive_bytes:
                raise ValueError(
                    f"codecs[{name!r}].rows[{file!r}].waterfall_microbits: it does not add up to the archive"
                )
    return baseline
