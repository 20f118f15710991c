"""Facts about models, and what they amount to: from an embedded rung, a model folder, or the table of published ones.

Reads the cards and logs that training wrote, and ``published_models.json``, where every figure has a source. The
formulas are in ``accounting``. Runs no model and prints nothing. May import ``accounting``, ``predictors``,
``model_folder``, ``documents`` and ``errors``; ``cli`` imports it.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from llmzip.bench import accounting
from llmzip.documents import Count, NotNegative, Positive, Size, read
from llmzip.errors import DocumentError, ModelError
from llmzip.model_folder import open_model_folder
from llmzip.predictors import RungCard, embedded_rungs

SQUEEZED_UP_TO = 1 << 27
"""Bytes of weights up to which they are compressed with zstd -19 to see what it gives: some 0.5 s a MB."""


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model; None where nobody said. Sizes are in bytes."""

    name: str
    parameter_count: Count
    parameter_bytes: Count
    """As stored: without the tokenizer."""
    receiver_bytes: Count | None = None
    """All that a receiver must hold, where that is known to be more than the parameters."""
    zstd_bytes: Count | None = None
    """The stored parameters after zstd -19."""
    training_bytes: Positive | None = None
    training_tokens: Count | None = None
    nats_per_token: NotNegative | None = None
    """Of the training text under the finished model."""
    training_bits_per_byte: NotNegative | None = None
    """The same in bits per byte; either of the two gives the size of the lossless two-part code."""
    prequential_bits: NotNegative | None = None
    prequential_text_bytes: Size | None = None
    """How much of the training text that is of: what was seen for the first time; None for all of it."""
    file: str | None = None
    """A text that the model was measured on, which it has in common with a codec."""
    original_bytes: Size | None = None
    bits_per_byte: NotNegative | None = None
    codec: str | None = None
    codec_bits_per_byte: NotNegative | None = None
    sources: dict[str, str] = field(default_factory=dict)
    """Where each figure is from."""


@dataclass(frozen=True)
class ModelAccount:
    """What follows from the facts; None where they do not suffice."""

    facts: ModelFacts
    nominal_bytes: dict[str, int]
    training_ratio: float | None
    """Training text / stored parameters."""
    text_bits_per_parameter: float | None
    two_part_bytes: float | None
    two_part_ratio: float | None
    """Training text / (parameters + training text coded with them)."""
    parameter_share: float | None
    """Of the two-part code."""
    verbatim_bytes: float
    verbatim_share: float | None
    """Of the training text, at most."""
    prequential_bytes: float | None
    prequential_bits_per_byte: float | None
    total_bytes: int | None
    """Of the text that it was measured on: its archive and what the receiver holds."""
    adjusted_bits_per_byte: float | None
    break_even_bytes: float | None


def account(facts: ModelFacts) -> ModelAccount:
    """Everything that ``facts`` suffice for."""
    text = facts.training_bytes
    residual = _residual_bytes(facts)
    two_part = None if residual is None else accounting.two_part_bytes(facts.parameter_bytes, residual)
    verbatim = accounting.verbatim_capacity_bytes(facts.parameter_count)
    held = facts.parameter_bytes if facts.receiver_bytes is None else facts.receiver_bytes
    total = adjusted = break_even = None
    if facts.bits_per_byte is not None and facts.original_bytes:
        archive_bytes = round(facts.bits_per_byte * facts.original_bytes / 8)
        total = accounting.total_bytes(archive_bytes, held)
        adjusted = accounting.adjusted_bits_per_byte(archive_bytes, held, facts.original_bytes)
    if facts.bits_per_byte is not None and facts.codec_bits_per_byte is not None:
        break_even = accounting.break_even_bytes(held, facts.bits_per_byte, facts.codec_bits_per_byte)
    has_parameters = facts.parameter_bytes > 0 and facts.parameter_count > 0
    bits, coded = facts.prequential_bits, facts.prequential_text_bytes or text
    return ModelAccount(
        facts,
        accounting.nominal_parameter_bytes(facts.parameter_count),
        accounting.training_ratio(text, facts.parameter_bytes) if text and has_parameters else None,
        accounting.text_bits_per_parameter(text, facts.parameter_count) if text and has_parameters else None,
        two_part,
        text / two_part if text and two_part else None,
        facts.parameter_bytes / two_part if two_part else None,
        verbatim,
        min(1.0, verbatim / text) if text else None,
        None if bits is None else bits / 8,
        bits / coded if bits is not None and coded else None,
        total,
        adjusted,
        break_even,
    )


def _residual_bytes(facts: ModelFacts) -> float | None:
    if facts.training_tokens is not None and facts.nats_per_token is not None:
        return accounting.residual_bytes(facts.training_tokens, facts.nats_per_token)
    if facts.training_bytes is not None and facts.training_bits_per_byte is not None:
        return facts.training_bytes * facts.training_bits_per_byte / 8
    return None


def known_models() -> list[ModelFacts]:
    """The embedded rungs, smallest first, and then the published models."""
    return [*map(_rung_facts, embedded_rungs()), *published_models()]


def find_model(name: str) -> ModelFacts:
    """The facts of an embedded rung, of a published model (case does not matter) or of a model folder.

    Raises ModelError where there is none of that name.
    """
    for rung in embedded_rungs():
        if rung.name == name:
            return _rung_facts(rung)
    published = published_models()
    for facts in published:
        if facts.name.casefold() == name.casefold():
            return facts
    if Path(name).is_dir():
        return folder_facts(Path(name), Path(name).resolve().name)
    names = ", ".join([*(rung.name for rung in embedded_rungs()), *(facts.name for facts in published)])
    raise ModelError(f"no model is called {name!r}: choose from {names}; or name a model folder, or give --parameters")


def published_models() -> list[ModelFacts]:
    """The table of published models, each figure with its source."""
    return read(Path(__file__).with_name("published_models.json"), list[ModelFacts], remedy="install llmzip again")


def _rung_facts(rung: RungCard) -> ModelFacts:
    """Of an embedded rung a receiver holds more than its folder: the memory's first state."""
    return replace(folder_facts(rung.folder, rung.name), receiver_bytes=rung.stored_bytes)


def folder_facts(path: Path, name: str) -> ModelFacts:
    """The facts of a Hugging Face folder, with those of its training where llmzip's training left a log.

    Raises ModelError where it is no whole model, and DocumentError where a log is not one.
    """
    folder = open_model_folder(path)
    squeezed = None
    if folder.weight_bytes <= SQUEEZED_UP_TO:
        squeezed = sum(accounting.zstd_bytes(file.read_bytes()) for file in folder.weight_files)
    facts = ModelFacts(name, folder.parameter_count, folder.weight_bytes, folder.receiver_bytes, squeezed)
    log = path / "training.json"
    return replace(facts, **_training_facts(log)) if log.exists() else facts


@dataclass(frozen=True)
class Checkpoint:
    """How far a training run was."""

    tokens: Count
    bytes: Size
    """Of text, what was read again included."""
    prequential_bits: NotNegative
    """Of the text when it was seen for the first time."""
    prequential_bytes: Size | None = None
    """How much text that was, where some was read again; else all of it."""

    @property
    def coded_bytes(self) -> int:
        """Of text that ``prequential_bits`` are of."""
        return self.prequential_bytes or self.bytes


@dataclass(frozen=True)
class TrainingLog:
    """What is read of ``training.json``."""

    checkpoints: Annotated[tuple[Checkpoint, ...], Meta(min_length=1)]


def _training_facts(path: Path) -> dict[str, Any]:
    """From the log of a training run: text seen, its prequential code length, and the rate at the end.

    The rate at the end is that of the last interval of the log in which text was new, each batch coded before it was
    learnt. The finished model does a little better, so the two-part size that follows is on the large side.
    """
    remedy = "restore or delete it"
    rows = read(path, TrainingLog, remedy=remedy).checkpoints
    for index, (one, two) in enumerate(pairwise(rows)):
        if one.bytes > two.bytes or one.coded_bytes > two.coded_bytes or one.prequential_bits > two.prequential_bits:
            raise DocumentError(f"{path}: checkpoints[{index + 1}]: it is less than the one before: {remedy}")
    last = rows[-1]
    if last.coded_bytes > last.bytes:
        raise DocumentError(f"{path}: prequential_bytes: they are more than the bytes that were read: {remedy}")
    before = next(
        ((row.coded_bytes, row.prequential_bits) for row in rows[::-1] if row.coded_bytes < last.coded_bytes), (0, 0)
    )
    return {
        "training_bytes": last.bytes,
        "training_tokens": last.tokens,
        "training_bits_per_byte": (last.prequential_bits - before[1]) / (last.coded_bytes - before[0]),
        "prequential_bits": last.prequential_bits,
        "prequential_text_bytes": last.coded_bytes,
    }
