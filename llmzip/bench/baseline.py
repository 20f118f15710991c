"""What a gate compares: identities and whole numbers of a bench, as a file that is committed and read in diffs.

Sorted, one number a line, no times, no machine, no floating point. Measures and compares nothing. May import
``bench.results`` and ``errors``; the rest of ``bench`` and ``cli`` import it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from llmzip.bench.results import (
    MICROBITS,
    SCHEMA,
    WATERFALL_TERMS,
    MeasuredCodec,
    MeasuredFile,
    Results,
    Row,
    WaterfallTerm,
)
from llmzip.errors import NotComparableError

BASELINE_SCHEMA = "llmzip-baseline"
BASELINE_VERSION = 1


@dataclass(frozen=True)
class BaselineFile:
    """One file of the corpus; its name is the key."""

    kind: str
    original_bytes: int
    sha256: str


@dataclass(frozen=True)
class BaselineRow:
    """One file under one codec."""

    archive_bytes: int
    ideal_microbits: int | None = None
    waterfall_microbits: dict[WaterfallTerm, int] | None = None


@dataclass(frozen=True)
class BaselineCodec:
    """A codec's identity, and its row of every file."""

    kind: str
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
            "schema": BASELINE_SCHEMA,
            "version": BASELINE_VERSION,
            "files": {name: vars(file) for name, file in self.files.items()},
            "codecs": {
                name: {**vars(codec), "rows": {file: _without_none(row) for file, row in codec.rows.items()}}
                for name, codec in self.codecs.items()
            },
        }
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _without_none(row: BaselineRow) -> dict[str, Any]:
    return {key: value for key, value in vars(row).items() if value is not None}


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
                    row.file: BaselineRow(row.archive_bytes, row.ideal_microbits, row.waterfall_microbits)
                    for row in known
                    if row.codec == codec.name
                },
            )
            for codec in codecs
        },
    )


def read_baseline(text: str) -> Baseline:
    """From a baseline or from a whole result document. Raises NotComparableError for anything else."""
    try:
        document = json.loads(text)
        if document["schema"] == SCHEMA:
            return baseline_of(Results.from_json(text))
        if (document["schema"], document["version"]) != (BASELINE_SCHEMA, BASELINE_VERSION):
            raise ValueError(f"it is not of {BASELINE_SCHEMA} version {BASELINE_VERSION}")
        files = {_text(name): _file(file) for name, file in document["files"].items()}
        return _checked(Baseline(files, {_text(name): _codec(codec) for name, codec in document["codecs"].items()}))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error) or repr(error)
        raise NotComparableError(
            f"this is neither a baseline nor a result of bench ({reason}): restore it, or measure again"
        ) from None


def _file(table: dict[str, Any]) -> BaselineFile:
    return BaselineFile(_text(table["kind"]), _count(table["original_bytes"]), _text(table["sha256"]))


def _codec(table: dict[str, Any]) -> BaselineCodec:
    settings = {_text(key): _setting(value) for key, value in table["settings"].items()}
    if not isinstance(table["exact"], bool):
        raise TypeError("exact is neither true nor false")
    rows = {_text(file): _row(row) for file, row in table["rows"].items()}
    return BaselineCodec(_text(table["kind"]), table["exact"], _text(table["fingerprint"]), settings, rows)


def _row(table: dict[str, Any]) -> BaselineRow:
    ideal, waterfall = table.get("ideal_microbits"), table.get("waterfall_microbits")
    if waterfall is not None:
        if set(waterfall) - set(WATERFALL_TERMS):
            raise ValueError("a waterfall has unknown terms")
        waterfall = {term: _whole(bits) for term, bits in waterfall.items()}
    return BaselineRow(_count(table["archive_bytes"]), None if ideal is None else _count(ideal), waterfall)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _count(value: object) -> int:
    if _whole(value) < 0:
        raise ValueError(f"{value!r} is negative")
    return cast(int, value)


def _setting(value: object) -> str | int:
    return value if isinstance(value, str) else _whole(value)


def _checked(baseline: Baseline) -> Baseline:
    """The baseline, if it is whole and its numbers agree among themselves. Raises ValueError."""
    if not baseline.files or not baseline.codecs:
        raise ValueError("it has no files or no codecs")
    if not all(file.original_bytes for file in baseline.files.values()):
        raise ValueError("it has empty files")
    for name, codec in baseline.codecs.items():
        if set(codec.rows) != set(baseline.files):
            raise ValueError(f"{name} was not measured on exactly its files")
        for file, row in codec.rows.items():
            waterfall = row.waterfall_microbits
            if waterfall is not None and sum(waterfall.values()) != 8 * MICROBITS * row.archive_bytes:
                raise ValueError(f"the waterfall of {name} on {file} does not sum to its archive")
    return baseline
