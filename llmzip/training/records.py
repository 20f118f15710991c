"""What the documents of a training run hold: its log, and what is kept of a finished card. Imported by ``training``."""

from dataclasses import dataclass
from typing import Any

import msgspec

from llmzip.documents import Count, Name, NotNegative, Positive, Size, Whole


@dataclass(frozen=True)
class LogRow:
    """A line of ``log.jsonl``: where the run stood when it was evaluated."""

    tokens: Size
    step: Size
    bytes: Size
    bits: NotNegative
    """Of each batch before it was learnt, while the text was new."""
    new_bytes: Count
    seconds: NotNegative
    validation: dict[str, NotNegative]
    """Kind -> bits per byte."""


@dataclass(frozen=True)
class Run:
    """What is read of ``run.json``."""

    hardware: Name
    seed: Whole


@dataclass(frozen=True)
class Sizes:
    """What is read of ``sizes.json``."""

    documents_left_out: Count | None = None


@dataclass(frozen=True)
class FinishedCard:
    """What a card says of the training, to be kept when the rest is measured again."""

    name: Name
    training_tokens: Size
    training_bytes: Size
    training_steps: Size
    training_seconds: Count
    prequential_bits: Count
    prequential_bytes: Count
    training_flop: Count
    hardware: Name
    remarks: str


@dataclass(frozen=True)
class FinishedLog:
    """What is kept of ``training.json``."""

    checkpoints: list[dict[str, Any]]


@dataclass(frozen=True)
class TimedModel:
    """Rates with memory."""

    compress_kb_per_second: Positive
    decompress_kb_per_second: Positive


class Timed(msgspec.Struct, frozen=True):
    """What is read of what ``benchmarks/speed.py`` printed."""

    text_bytes: Size
    with_memory: TimedModel = msgspec.field(name="model+memory")
    compress_over_products: Positive
    decompress_over_products: Positive
