"""Levels 1 to 9, from fast to strong: which predictor with how long streams, and what was measured of each.

The table is chosen from measurements (``benchmarks/pareto.py`` writes them to ``levels.json``, beside this file). Knows
no codec. May import ``documents``; ``cli`` imports it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmzip.documents import Count, Positive, Size, read

MEASURED = Path(__file__).with_name("levels.json")


@dataclass(frozen=True)
class Level:
    """What a level stands for."""

    predictor: str
    stream_tokens: Size = 2048
    """Tokens for each stream of a frame: shorter streams are more of them, which is faster and compresses less."""
    memory: bool = True


LEVELS = {
    1: Level("adaptive"),
    2: Level("nano", 512),
    3: Level("nano", 2048),
    4: Level("small", 512),
    5: Level("small", 1024),
    6: Level("small", 2048),
    7: Level("small", 4096),
    8: Level("base", 2048),
    9: Level("base", 4096),
}
DEFAULT_LEVEL = 6


@dataclass(frozen=True)
class Measurement:
    """One way to compress, on the texts and the machine that ``levels.json`` names."""

    way: Level
    bits_per_byte: Positive
    compress_kb_per_second: Positive
    decompress_kb_per_second: Positive
    """1,000 bytes of text for each second of one core's time, compressing and decompressing."""
    receiver_bytes: Count
    """Of weights and tokenizer, which the archive does not hold."""

    @property
    def levels(self) -> list[int]:
        """The levels that compress in this way."""
        return [number for number, way in LEVELS.items() if way == self.way]


@dataclass(frozen=True)
class Report:
    """What was measured, and how."""

    texts: dict[str, Size]
    """Name -> bytes."""
    machine: str
    python: str
    numpy: str
    measurements: tuple[Measurement, ...]
    """Fastest to decompress first."""


def read_measurements() -> Report:
    """What ``levels.json`` holds."""
    report = read(MEASURED, Report, closed=True, remedy="install llmzip again")
    return replace(
        report, measurements=tuple(sorted(report.measurements, key=lambda one: -one.decompress_kb_per_second))
    )


def is_on_front(one: Measurement, others: Sequence[Measurement]) -> bool:
    """Whether none of the others compresses better and is no slower to decompress."""
    return not any(
        other.bits_per_byte < one.bits_per_byte and other.decompress_kb_per_second >= one.decompress_kb_per_second
        for other in others
    )
