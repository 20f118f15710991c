"""What the codec asks of a predictor: types and three constants. Everything may import it; it imports nothing of ours.

A predictor is a tokenizer and, where it has a model, the distribution of each next token. The codec runs many token
sequences (*streams*) in lockstep: one call gives the distributions of all of them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

PRECISION_BITS = 24
FREQUENCY_TOTAL = 1 << PRECISION_BITS
"""Every distribution is a row of integers >= 1 with this sum."""

FLOAT_PREFIX = "float/"
"""Begins the name of every float predictor; the archive format gives such names a field for settings."""

Score = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int16]]
"""From frequencies [rows, vocabulary] and the token of each row [rows] to some figures of each row, [rows, k]."""

WeightScore = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]
"""The same from weights."""


class Context(Protocol):
    """What some streams have seen so far. All streams are at the same position."""

    @property
    def streams(self) -> int:
        """The number of streams."""
        ...

    def next_frequencies(self) -> NDArray[np.int64]:
        """[streams, vocabulary] int64: the distribution of each stream's next token, in units of 2^-24."""
        ...

    def append(self, tokens: NDArray[np.int64]) -> None:
        """Adds one token to each stream. tokens: [streams] int64."""
        ...


class Predictor(Protocol):
    """What an archive names: a tokenizer, loaded and constant. With no more than this, memory alone predicts."""

    @property
    def name(self) -> str:
        """The name written to archives, such as "small"."""
        ...

    @property
    def fingerprint(self) -> bytes:
        """At least 6 bytes that change whenever any token or frequency could change."""
        ...

    @property
    def parameter_bytes(self) -> int:
        """Bytes of weights and tokenizer that a receiver must already hold, as stored."""
        ...

    @property
    def threads(self) -> int:
        """How many threads may work on a text at once, at least 1. Never changes a bit of the output."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """Width of the distributions, at least 3."""
        ...

    @property
    def token_bytes(self) -> tuple[bytes, ...]:
        """What each token stands for, [vocabulary_size]; ``detokenize`` joins them."""
        ...

    def tokenize(self, data: bytes) -> NDArray[np.int64]:
        """[n] int64 for any byte string; ``detokenize`` gives it back exactly."""
        ...

    def detokenize(self, tokens: NDArray[np.int64]) -> bytes:
        """The bytes that the tokens stand for, for any tokens in [0, vocabulary_size)."""
        ...


@runtime_checkable
class ModelPredictor(Predictor, Protocol):
    """A predictor with a model. Its state lives in its contexts."""

    def start(self, streams: int) -> Context:
        """A context of ``streams`` streams that have seen nothing."""
        ...


@runtime_checkable
class VersionedPredictor(Predictor, Protocol):
    """A predictor that can be what it was in earlier versions of llmzip, so that their archives decode."""

    @property
    def memory_version(self) -> int:
        """Which memory codes with it, see ``docs/memory.md``; part of the fingerprint."""
        ...

    @property
    def first_state(self) -> Path | None:
        """The file with what its memory knows before a text begins; None for the one that is shipped."""
        ...

    def as_of(self, fingerprint: bytes) -> "Predictor | None":
        """The same predictor in the version whose fingerprint begins so; None where none does."""
        ...


@runtime_checkable
class FrameEngine(Protocol):
    """A predictor that codes whole frames itself, to the same bytes. It is asked before the codec goes step by step."""

    @property
    def codes_with_memory(self) -> bool:
        """Whether it does so with its version of the memory, too."""
        ...

    def encode_tokens(
        self,
        tokens: NDArray[np.int64],
        streams: int,
        *,
        memory: bool,
        limit_bytes: int,
        progress: Callable[[int], None] | None = None,
    ) -> bytes | None:
        """The payload of [n] tokens, of kind 5 with ``memory``, else 1; None if it is larger than ``limit_bytes``.

        progress: told some times a second how many tokens are done.
        """
        ...

    def decode_tokens(
        self,
        payload: bytes,
        token_count: int,
        streams: int,
        *,
        memory: bool,
        progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.int64]:
        """[token_count] tokens. Raises ArchiveError."""
        ...


@runtime_checkable
class FloatPredictor(ModelPredictor, Protocol):
    """A predictor whose arithmetic rounds, so that its frequencies are the same bits only where it computes alike.

    The codec keeps ``settings()`` in the archive, decodes what it wrote before it believes it, and asks for the
    predictor that the settings describe before it decodes. It starts contexts only of what ``fitted`` or ``restored``
    gave.
    """

    def description(self) -> dict[str, str | int]:
        """What was chosen that changes sizes, such as the type of numbers; the same on every machine."""
        ...

    @property
    def most_streams(self) -> int:
        """A context has no more streams."""
        ...

    def settings(self) -> bytes:
        """What else a frequency depends on, with a digest of what was computed here; at most 1024 bytes."""
        ...

    def fitted(self, original_bytes: int, streams: int | None) -> "FloatPredictor":
        """The same predictor, set for a text of about that size; ``streams`` as asked for, None for no wish."""
        ...

    def restored(self, settings: bytes) -> "FloatPredictor":
        """The same predictor as it was when it gave ``settings``. PredictorMismatchError where this cannot be."""
        ...


@runtime_checkable
class LogitPredictor(ModelPredictor, Protocol):
    """A predictor that shows its model's logits: to measure, never to code, for they may differ in the last digits."""

    @property
    def model_size(self) -> int:
        """Tokens below it are the model's; those from it on are bytes that it has no token for."""
        ...

    def logits(self, tokens: NDArray[np.int64]) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
        """The logits before each of [streams, n] tokens, many positions at once: rows, positions and their logits.

        Logits are [rows, positions, width], log-probabilities in nats up to a constant; the positions of each row come
        in order. ``width`` is at least ``model_size``: outputs beyond it have a share, but no token.
        """
        ...


@runtime_checkable
class TaughtPredictor(LogitPredictor, FloatPredictor, Protocol):
    """A float predictor that can say what its logits come to in a frame."""

    def frequencies(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        """[n, vocabulary] int64, as ``Context.next_frequencies``, of logits [n, width]."""
        ...

    def weights(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        """[n, vocabulary] int64, as ``WeightedContext.next_weights``, of logits [n, width]."""
        ...


class LogitContext(Protocol):
    """A context that gives logits, which another machine may see a little differently."""

    def next_logits(self) -> NDArray[np.float32]:
        """[streams, vocabulary] float32, finite: log-probabilities of each stream's next token, up to a constant."""
        ...

    def append(self, tokens: NDArray[np.int64]) -> None:
        """Adds one token to each stream. tokens: [streams] int64."""
        ...


@runtime_checkable
class PortablePredictor(FloatPredictor, Protocol):
    """A float predictor whose archives are to decode wherever much the same is computed.

    What the codec writes comes from ``teach`` and ``start_logits``, of which ``start`` gives the distributions.
    """

    @property
    def tolerance(self) -> float:
        """By how many nats the log-odds of one set of tokens against another may differ; part of the settings.

        Where every logit differs by less than half of it, up to what is common to all, they do.
        """
        ...

    @property
    def grid_version(self) -> int:
        """Which grids round the log-odds, see ``ARCHIVE_FORMAT.md``: 1 or 2; part of the settings."""
        ...

    def teach(self, tokens: NDArray[np.int64]) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
        """The logits before each of [streams, n] tokens, many positions at once: rows, positions and their logits.

        Logits are [rows, positions, vocabulary], much the same as ``start_logits`` gives step by step.
        """
        ...

    def start_logits(self, streams: int) -> LogitContext:
        """A context of ``streams`` streams that have seen nothing."""
        ...


@runtime_checkable
class WeightedContext(Context, Protocol):
    """A context that knows its distributions more finely than 2^-24."""

    def next_weights(self) -> NDArray[np.int64]:
        """[streams, vocabulary] int64 >= 0: each stream's next token; row sums are positive and below 2^62."""
        ...


@runtime_checkable
class ExactContext(Context, Protocol):
    """A context whose arithmetic cannot round, so that many positions at once give the bits of one at a time."""

    def intervals(self, tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What ``next_frequencies`` and ``append`` would give for each token in turn, computed at once.

        tokens: [streams, n] int64. Returns (cumulative, frequency), both [streams, n] int64: the sum of the
        frequencies of all smaller tokens, and the token's own.
        """
        ...

    def scores(self, tokens: NDArray[np.int64], score: Score) -> NDArray[np.int16]:
        """``score`` of what ``next_frequencies`` would give for each token in turn, computed at once.

        tokens: [streams, n] int64. Returns [streams, n, k]; ``score`` may be called in several threads.
        """
        ...


@runtime_checkable
class WeightedExactContext(ExactContext, WeightedContext, Protocol):
    """An exact context that knows its distributions more finely than 2^-24."""

    def weighed(self, tokens: NDArray[np.int64], score: WeightScore) -> NDArray[np.int64]:
        """``score`` of what ``next_weights`` would give for each of [streams, n] tokens in turn: [streams, n, k]."""
        ...


@runtime_checkable
class WeightedPredictor(ModelPredictor, Protocol):
    """A predictor, not a float one, whose contexts are ``WeightedExactContext``: large vocabularies are coded so."""

    @property
    def weighted(self) -> bool:
        """True."""
        ...

    @property
    def parameter_count(self) -> int:
        """Numbers that were learnt."""
        ...
