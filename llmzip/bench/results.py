"""The result document of a bench: what was measured, with what, on what. Records only; knows how to be JSON.

Sizes and bits are whole numbers (bits of a model in millionths), so that sums are exact and documents compare byte
for byte. Measures and prints nothing. May import ``errors``; the rest of ``bench`` and ``cli`` import it.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from llmzip.errors import NotComparableError

SCHEMA = "llmzip-bench"
SCHEMA_VERSION = 1

MICROBITS = 1_000_000
"""Units in one bit."""

CodecKind = Literal["predictor", "classical", "external"]

WaterfallTerm = Literal["model", "memory", "precision", "cold_start", "coder", "fallback", "framing"]
WATERFALL_TERMS: tuple[WaterfallTerm, ...] = get_args(WaterfallTerm)
"""Where an archive's bits go, in the order of a waterfall:

model: -log2 p of every token under the model alone, of the frames that a model codes, were p not rounded;
memory: what memory adds to that (negative: what it saves), or all bits of frames that memory codes alone;
precision: what frequencies in units of 2^-24, or the grid of a portable archive, cost against unrounded probabilities;
cold_start: what it costs that every stream begins without a past;
coder: what the payloads are longer than the ideal bits of their decisions, whole bytes and words included;
fallback: payloads of zstd and stored frames;
framing: headers, checks, index and end.
"""


@dataclass(frozen=True)
class MeasuredFile:
    """One file of the corpus."""

    name: str
    """Its path from the folder that all files share, with forward slashes."""
    kind: str
    """What totals are grouped by, such as "prose"."""
    original_bytes: int
    sha256: str


@dataclass(frozen=True)
class MeasuredCodec:
    """A predictor or a classical codec with every setting that can change a size."""

    name: str
    """What tables call it, such as "llmzip small" or "zstd -19"; unique in a document."""
    kind: CodecKind
    settings: dict[str, str | int]
    """Library or program version, level, format version, streams, memory, window, ..."""
    exact: bool = True
    """Whether sizes are the same on every machine."""
    fingerprint: str = ""
    """Of a predictor: weights, tokenizer and arithmetic, in hexadecimal."""
    parameter_count: int = 0
    receiver_bytes: dict[str, int] = field(default_factory=dict)
    """What a receiver must already hold: "weights", "tokenizer", "memory", "decoder". Empty for a classical codec."""


@dataclass(frozen=True)
class Row:
    """One file under one codec: decoded and compared, or, with ``estimate``, scored without an archive."""

    file: str
    codec: str
    original_bytes: int
    archive_bytes: int
    ideal_microbits: int | None
    """-log2 p of every decision as coded, and all bits of what no model coded; None where a codec has no model."""
    compress_seconds: float
    decompress_seconds: float
    """0 in an estimate, where nothing is decoded."""
    peak_memory_bytes: int | None
    """Of a process that does nothing but this; None where it was not measured."""
    frame_bytes: tuple[tuple[int, int], ...] = ()
    """(archive bytes, original bytes) of each frame."""
    waterfall_microbits: dict[WaterfallTerm, int] | None = None
    """Sums to 8 * archive_bytes * MICROBITS exactly; None where it was not asked for."""
    verified: bool = True
    """Decoded, and equal to the original. False only in an estimate."""
    estimate: bool = False

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
        return json.dumps({"schema": SCHEMA, "version": SCHEMA_VERSION, **asdict(self)}, indent=1) + "\n"

    @staticmethod
    def from_json(text: str) -> "Results":
        """The bench that ``to_json`` wrote. Raises NotComparableError for anything else."""
        try:
            document = json.loads(text)
            if document.pop("schema") != SCHEMA or document.pop("version") != SCHEMA_VERSION:
                raise NotComparableError(f"this is not a result of {SCHEMA} version {SCHEMA_VERSION}: measure again")
            rows = [{**row, "frame_bytes": tuple(map(tuple, row["frame_bytes"]))} for row in document["rows"]]
            return Results(
                tuple(MeasuredFile(**row) for row in document["files"]),
                tuple(MeasuredCodec(**row) for row in document["codecs"]),
                tuple(Row(**row) for row in rows),
                document["provenance"],
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotComparableError(f"this is not a bench result ({error!r}): measure again") from None
