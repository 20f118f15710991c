"""Measures one codec on one file. A row exists only if the archive was decoded and compared.

Says nothing of what the receiver must already hold. May import ``bench.codecs`` and ``errors``; ``bench`` and
``cli`` import it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llmzip.bench.codecs import Codec
from llmzip.errors import CorpusError, RoundTripError

WARM_UP_BYTES = 1 << 14


@dataclass(frozen=True)
class Row:
    """One file under one codec, or several files added up. Seconds are of wall-clock time."""

    file: str
    codec: str
    original_bytes: int
    archive_bytes: int
    compress_seconds: float
    decompress_seconds: float
    verified: Literal[True] = True
    """Decoded, and equal to the original: there are no other rows."""

    @property
    def bits_per_byte(self) -> float:
        """8 * archive_bytes / original_bytes: 1,000 bytes in an archive of 250 are 2.0 bits per byte."""
        return 8 * self.archive_bytes / self.original_bytes

    @property
    def compress_bytes_per_second(self) -> float:
        """Original bytes taken in a second."""
        return self.original_bytes / self.compress_seconds

    @property
    def decompress_bytes_per_second(self) -> float:
        """Original bytes given back in a second."""
        return self.original_bytes / self.decompress_seconds


def measure(codec: Codec, data: bytes, *, file: str) -> Row:
    """The row of ``data``, the content of ``file``. Raises RoundTripError, and CorpusError if there is no data."""
    if not data:
        raise CorpusError(f"{file} is empty and has no bits per byte: leave it out")
    started = time.perf_counter()
    archive = codec.compress(data)
    compressed = time.perf_counter()
    decoded = codec.decompress(archive)
    decompressed = time.perf_counter()
    if decoded != data:
        raise RoundTripError(f"{codec.name} does not give {file} back: report a bug, with the file")
    # A clock may stand still for very short work; no rate is infinite.
    compress_seconds, decompress_seconds = compressed - started, decompressed - compressed
    return Row(file, codec.name, len(data), len(archive), max(compress_seconds, 1e-9), max(decompress_seconds, 1e-9))


def warm_up(codec: Codec, data: bytes) -> None:
    """Lets a codec compile and load what its first call needs, on the beginning of ``data``, so that no row pays."""
    codec.decompress(codec.compress(data[:WARM_UP_BYTES]))


def total(rows: Sequence[Row], *, file: str) -> Row:
    """All rows of one codec as one: its ``bits_per_byte`` is the micro average, sum of bits / sum of bytes."""
    return Row(
        file,
        rows[0].codec,
        sum(row.original_bytes for row in rows),
        sum(row.archive_bytes for row in rows),
        sum(row.compress_seconds for row in rows),
        sum(row.decompress_seconds for row in rows),
    )
