"""The result document of a bench: what was measured, with what, on what. Records only; knows how to be JSON.

Sizes and bits are whole numbers (bits of a model in millionths), so that sums are exact and documents compare byte
for byte. Measures and prints nothing. May import ``documents`` and ``errors``; the rest of ``bench`` and ``cli``
import it.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from llmzip.documents import Count, Header, Name, NotNegative, Positive, Sha256, Size, Whole, decode
from llmzip.errors import DocumentError

HEADER = Header("llmzip-bench", 1)
"""Schema and version."""

MICROBITS = 1_000_000
"""Units in one bit."""

REMEDY = "measure again"
"""What every refusal of a result ends with."""

CodecKind = Literal["predictor", "classical", "external"]

GAP_SIZES = ("sample_bytes", "estimated_bytes", "archive_bytes")
"""What ``provenance`` says under ``estimate_gaps`` of each model that was estimated."""

WaterfallTerm = Literal["model", "memory", "precision", "cold_start", "coder", "fallback", "framing"]
WATERFALL_TERMS: tuple[WaterfallTerm, ...] = get_args(WaterfallTerm)
"""Where an archive's bits go, in the order of a waterfall:

model: the model's own bits of all tokens of the text, whatever coding a frame chose (``scoring``: one stream, nothing
rounded); 0 where there is no model;
memory: what memory adds to that (negative: what it saves), also where it codes a frame alone;
precision: what frequencies in units of 2^-24, the share of escapes, or the grid of a portable archive cost;
cold_start: what it costs that every frame and every stream begins without a past;
coder: what the payloads are longer than the ideal bits of their decisions, whole bytes and words included;
fallback: what zstd and stored frames cost more than the model (negative: what they save);
framing: headers, checks, index and end.
"""


@dataclass(frozen=True)
class MeasuredFile:
    """One file of the corpus."""

    name: Name
    """Its path from the folder that all files share, with forward slashes."""
    kind: str
    """What totals are grouped by, such as "prose"."""
    original_bytes: Size
    sha256: Sha256


@dataclass(frozen=True)
class MeasuredCodec:
    """A predictor or a classical codec with every setting that can change a size."""

    name: Name
    """What tables call it, such as "llmzip small" or "zstd -19"; unique in a document."""
    kind: CodecKind
    settings: dict[str, str | int]
    """Library or program version, level, format version, streams, memory, window, ..."""
    exact: bool = True
    """Whether sizes are the same on every machine."""
    fingerprint: str = ""
    """Of a predictor: weights, tokenizer and arithmetic, in hexadecimal."""
    parameter_count: Count = 0
    receiver_bytes: dict[str, Count] = field(default_factory=dict)
    """What a receiver must already hold: "weights", "tokenizer", "memory", "decoder". Empty for a classical codec."""


@dataclass(frozen=True)
class Row:
    """One file under one codec: decoded and compared, or, with ``estimate``, scored without an archive."""

    file: str
    codec: str
    original_bytes: Size
    archive_bytes: Count
    ideal_microbits: Count | None
    """-log2 p of every decision as coded, and all bits of what no model coded; None where a codec has no model."""
    compress_seconds: Positive
    decompress_seconds: NotNegative
    """0 in an estimate, where nothing is decoded."""
    peak_memory_bytes: Count | None
    """Of a process that does nothing but this; None where it was not measured."""
    frame_bytes: tuple[tuple[Count, Count], ...] = ()
    """(archive bytes, original bytes) of each frame."""
    waterfall_microbits: dict[WaterfallTerm, Whole] | None = None
    """Sums to 8 * archive_bytes * MICROBITS exactly; None where it was not asked for."""
    verified: bool = True
    """Decoded, and equal to the original. False only in an estimate."""
    estimate: bool = False
    model_microbits: Count | None = None
    """The model's own bits of all tokens, as a forward pass gives them, without memory, coder or framing; see
    ``scoring``. None where they were not asked for or there is no model."""

    @property
    def bits_per_byte(self) -> float:
        """8 * archive_bytes / original_bytes: 1,000 bytes in an archive of 250 are 2.0 bits per byte."""
        return 8 * self.archive_bytes / self.original_bytes

    @property
    def compress_bytes_per_second(self) -> float:
        """Original bytes taken in a second."""
        return self.original_bytes / self.compress_seconds

    @property
    def decompress_bytes_per_second(self) -> float | None:
        """Original bytes given back in a second; None where nothing was decoded."""
        return self.original_bytes / self.decompress_seconds if self.decompress_seconds else None

    @property
    def ideal_bits_per_byte(self) -> float | None:
        """What an ideal coder would need, without any framing."""
        return None if self.ideal_microbits is None else self.ideal_microbits / MICROBITS / self.original_bytes


@dataclass(frozen=True)
class Results:
    """A whole bench."""

    files: tuple[MeasuredFile, ...]
    codecs: tuple[MeasuredCodec, ...]
    rows: tuple[Row, ...]
    provenance: dict[str, Any] = field(default_factory=dict)
    """Versions, machine, threads, command, time: never compared."""

    def to_json(self) -> str:
        """The document, with a line end."""
        return json.dumps({**vars(HEADER), **asdict(self)}, indent=1) + "\n"

    @staticmethod
    def from_json(text: str | bytes, where: str = "the result") -> "Results":
        """The bench that ``to_json`` wrote. Raises DocumentError for anything else, and for what cannot have been
        measured; where: what the message calls the document."""
        data = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
        header = decode(data, Header, where, remedy=REMEDY)
        if header != HEADER:
            raise DocumentError(f"{where}: schema: it is {header}, not {HEADER}: {REMEDY}")
        document = decode(data, _Document, where, closed=True, remedy=REMEDY)
        if wrong := next(_contradictions(document), None):
            raise DocumentError(f"{where}: {wrong}: {REMEDY}")
        return Results(document.files, document.codecs, document.rows, document.provenance)


@dataclass(frozen=True)
class _Document(Results):
    schema: str = HEADER.schema
    version: int = HEADER.version
    comparison: Any = None
    """What ``bench --check --json`` adds: for whoever reads the output, not for who compares it."""


def _contradictions(results: Results) -> Iterator[str]:
    """What no bench can have measured: the field, and what is wrong with it."""
    files = {file.name: file for file in results.files}
    codecs = {codec.name: codec for codec in results.codecs}
    for name, table, entries in (("files", files, results.files), ("codecs", codecs, results.codecs)):
        if len(table) < len(entries):
            yield f"{name}: one name stands twice"
    for index, codec in enumerate(results.codecs):
        if codec.kind == "predictor" and not codec.fingerprint:
            yield f"codecs[{index}].fingerprint: it is empty"
    seen = set()
    for index, row in enumerate(results.rows):
        where = f"rows[{index}]"
        if row.file not in files:
            yield f"{where}.file: {row.file!r} is none of its files"
        elif row.codec not in codecs:
            yield f"{where}.codec: {row.codec!r} is none of its codecs"
        elif (row.file, row.codec) in seen:
            yield f"{where}: {row.codec} on {row.file} stands twice"
        else:
            seen.add((row.file, row.codec))
            for field, wrong in _row_contradictions(row, files[row.file], codecs[row.codec]):
                yield f"{where}.{field}: {wrong}"
    for name, gap in _gaps(results.provenance).items():
        sizes = gap.values() if isinstance(gap, dict) else ()
        if not isinstance(gap, dict) or set(gap) != set(GAP_SIZES) or not all(type(n) is int and n > 0 for n in sizes):
            yield f"provenance.estimate_gaps[{name!r}]: it has not the sizes {', '.join(GAP_SIZES)}"


def _gaps(provenance: dict[str, Any]) -> dict[str, Any]:
    gaps = provenance.get("estimate_gaps", {})
    return gaps if isinstance(gaps, dict) else {"": None}


def _row_contradictions(row: Row, file: MeasuredFile, codec: MeasuredCodec) -> Iterator[tuple[str, str]]:
    if row.original_bytes != file.original_bytes:
        yield "original_bytes", f"it is {row.original_bytes}, the file has {file.original_bytes}"
    if not row.archive_bytes and codec.kind != "external":
        yield "archive_bytes", "no such codec writes empty archives"
    if row.verified == row.estimate:
        yield "verified", "a row is either verified or an estimate"
    if not row.estimate and not row.decompress_seconds:
        yield "decompress_seconds", "decoding takes time"
    frames = [sum(sizes) for sizes in zip(*row.frame_bytes, strict=True)]
    if frames and (frames[0] > row.archive_bytes or frames[1] != row.original_bytes):
        yield "frame_bytes", f"they add up to {frames[0]} bytes of {row.archive_bytes}, for {frames[1]} of text"
    if (
        row.waterfall_microbits is not None
        and sum(row.waterfall_microbits.values()) != 8 * MICROBITS * row.archive_bytes
    ):
        yield "waterfall_microbits", "it does not add up to the archive"
    if None not in (row.waterfall_microbits, row.model_microbits):
        if (row.waterfall_microbits or {}).get("model") != row.model_microbits:
            yield "model_microbits", "they are not those of the waterfall"
