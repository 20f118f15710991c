"""Totals of a bench by kind of file, with intervals, and the figures that count what a receiver must hold.

May import ``bench.results``, ``bench.accounting`` and ``bench.codecs`` (only to know the reference); ``bench`` and
``cli`` import it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmzip.bench.accounting import adjusted_bits_per_byte, break_even_bytes
from llmzip.bench.codecs import REFERENCE
from llmzip.bench.results import MICROBITS, MeasuredCodec, Results, Row

ALL = "all"
"""The group of all files."""

RESAMPLES = 2000
INTERVAL = (2.5, 97.5)
"""Percentiles of the bootstrap interval."""


@dataclass(frozen=True)
class Total:
    """All rows of one codec in one group of files."""

    group: str
    codec: MeasuredCodec
    file_count: int
    original_bytes: int
    archive_bytes: int
    ideal_microbits: int | None
    compress_seconds: float
    decompress_seconds: float
    peak_memory_bytes: int | None
    macro_bits_per_byte: float
    """The mean of the files' bits per byte."""
    interval: tuple[float, float] | None
    """95 % bootstrap interval of ``bits_per_byte``; None where one file has one frame."""
    reference_bits_per_byte: float | None
    """Of zstd -19 on the same files, if it was measured."""
    verified: bool
    estimate: bool

    @property
    def bits_per_byte(self) -> float:
        """The micro average: sum of bits / sum of bytes."""
        return 8 * self.archive_bytes / self.original_bytes

    @property
    def ideal_bits_per_byte(self) -> float | None:
        """As ``Row.ideal_bits_per_byte``."""
        return None if self.ideal_microbits is None else self.ideal_microbits / MICROBITS / self.original_bytes

    @property
    def receiver_bytes(self) -> int:
        """What a receiver must already hold."""
        return sum(self.codec.receiver_bytes.values())

    @property
    def adjusted_bits_per_byte(self) -> float:
        """Archives and receiver over original."""
        return adjusted_bits_per_byte(self.archive_bytes, self.receiver_bytes, self.original_bytes)

    @property
    def break_even_bytes(self) -> float | None:
        """Text from which the receiver is paid for, against the reference; None where never or there is none."""
        if self.reference_bits_per_byte is None or not self.receiver_bytes:
            return None
        return break_even_bytes(self.receiver_bytes, self.bits_per_byte, self.reference_bits_per_byte)

    @property
    def reference_ratio(self) -> float | None:
        """Bits per byte over those of the reference."""
        return None if self.reference_bits_per_byte is None else self.bits_per_byte / self.reference_bits_per_byte


def totals(results: Results) -> list[Total]:
    """One total for every codec in every kind, and in all files; kinds by name, codecs from fewest bits to most.

    Only files that every codec has a row for are counted, so that all figures are of the same bytes.
    """
    rows = {(row.file, row.codec): row for row in results.rows}
    codecs = [codec for codec in results.codecs if any(row.codec == codec.name for row in results.rows)]
    files = [file for file in results.files if all((file.name, codec.name) in rows for codec in codecs)]
    groups = {kind: [file.name for file in files if file.kind == kind] for kind in sorted({f.kind for f in files})}
    groups[ALL] = [file.name for file in files]
    found = []
    for group, names in groups.items():
        if not names:
            continue
        of_codec = {codec.name: [rows[name, codec.name] for name in names] for codec in codecs}
        reference = _bits_per_byte(of_codec[REFERENCE]) if REFERENCE in of_codec else None
        sums = [total_of(of_codec[codec.name], codec, group, reference) for codec in codecs]
        found += sorted(sums, key=lambda total: (total.bits_per_byte, total.codec.name))
    return found


def total_of(rows: Sequence[Row], codec: MeasuredCodec, group: str, reference: float | None) -> Total:
    """The total of some rows of one codec. reference: bits per byte of zstd -19 on the same files."""
    ideal = [row.ideal_microbits for row in rows if row.ideal_microbits is not None]
    memory = [row.peak_memory_bytes for row in rows if row.peak_memory_bytes is not None]
    return Total(
        group,
        codec,
        len(rows),
        sum(row.original_bytes for row in rows),
        sum(row.archive_bytes for row in rows),
        sum(ideal) if len(ideal) == len(rows) else None,
        sum(row.compress_seconds for row in rows),
        sum(row.decompress_seconds for row in rows),
        max(memory, default=None),
        sum(row.bits_per_byte for row in rows) / len(rows),
        bootstrap_interval(rows),
        reference,
        all(row.verified for row in rows),
        any(row.estimate for row in rows),
    )


def _bits_per_byte(rows: Sequence[Row]) -> float:
    return 8 * sum(row.archive_bytes for row in rows) / sum(row.original_bytes for row in rows)


def bootstrap_interval(rows: Sequence[Row]) -> tuple[float, float] | None:
    """95 % interval of the micro average, by drawing files again with replacement; of one file, its frames."""
    units = [(row.archive_bytes, row.original_bytes) for row in rows]
    if len(units) == 1:
        units = list(rows[0].frame_bytes)
    if len(units) < 2:
        return None
    sizes = np.array(units, np.int64)
    chosen = np.random.default_rng(0).integers(0, len(units), (RESAMPLES, len(units)))
    archive_bytes, original_bytes = sizes[chosen].sum(axis=1).T
    low, high = np.percentile(8 * archive_bytes / original_bytes, INTERVAL)
    return float(low), float(high)
