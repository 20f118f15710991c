"""What a text costs under a predictor, token by token: the one home of every such figure but the archive itself.

Two questions, two functions. ``scorer`` gives the *model's own* bits: teacher-forced, one stream over the whole text,
from its start token on; every token sees as many of those before it as the predictor's own rule of context lets it (a
sliding window of an exact model; for a float model a window that is cut to its newer half when it is full). Nothing is
rounded to units of 2^-24, and no share is kept for escapes: a plain forward pass gives the same to 1e-6 bits per byte.
A byte that the model has no token for is an escape and costs 18 bits. ``frame_frequencies`` gives what *a frame would
code*: the rounded probability of each decision, with memory or without it, in the streams of the frame.

Exact models run exactly as they code. Float models run over whole windows, many positions a pass, which differs from
coding token by token in the last digits. Writes no archive, prints nothing. May import ``archive``, ``coder``,
``frames``, ``memory``, ``predictor`` and ``errors``; all that measures imports it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llmzip import archive, frames
from llmzip.coder import IdealBits
from llmzip.errors import ModelError
from llmzip.frames import grouped
from llmzip.frames.coding import dealt, stream_bounds
from llmzip.predictor import (
    FREQUENCY_TOTAL,
    Context,
    FloatPredictor,
    LogitPredictor,
    ModelPredictor,
    Predictor,
    Score,
    TaughtPredictor,
)

ESCAPE_BITS = 18.0
"""Of a byte that the model has no token for: what every predictor with escapes gives it, 64 of 2^24."""

_NUMBERS_AT_ONCE = 1 << 21
"""Logits in float64 that are looked at together: 16 MiB."""


@dataclass(frozen=True)
class TokenScores:
    """Some consecutive tokens of a text. Bits are of the model's own distribution unless they say otherwise."""

    first: int
    """Index of the first of them in the text."""
    tokens: NDArray[np.int64]
    """[n]"""
    byte_ends: NDArray[np.int64]
    """[n]: where each token's bytes end in the text."""
    bits: NDArray[np.float64]
    """[n]: -log2 p."""
    entropy: NDArray[np.float64]
    """[n] bits: the mean of -log2 p under the distribution itself."""
    variance: NDArray[np.float64]
    """[n] bits^2: the variance of -log2 p under the distribution itself."""
    likeliest: NDArray[np.int64]
    """[n, k >= 1]: the likeliest tokens, the likeliest first; of equals the smaller number."""
    likeliest_bits: NDArray[np.float64]
    """[n, k]: -log2 p of these."""
    rank: NDArray[np.int64]
    """[n]: how many tokens come before this one in that order; 0 is the likeliest. An escape comes after all."""
    memory_bits: NDArray[np.float64] | None = None
    """[n]: of the token's decisions with memory, as a frame of one stream over the same tokens would code them."""

    @property
    def top(self) -> NDArray[np.int64]:
        """[n]: the likeliest token."""
        return self.likeliest[:, 0]


class Scorer(Protocol):
    """Gives the cost of every token of a text."""

    def score(
        self, data: bytes, *, prompt: bytes = b"", memory: bool = False, alternatives: int = 1
    ) -> Iterator[TokenScores]:
        """The tokens of ``data`` in order, in blocks, so that the memory taken does not grow with vocabulary x text.

        prompt: what stands before the text and is not scored; its tokens are made apart, so that a text has the same
        tokens whatever the prompt. memory: whether the bits with memory, which has seen the prompt too, are wanted;
        the model then runs twice. alternatives: how many of the likeliest tokens. Raises ModelError where the tokenizer
        does not give the bytes back.
        """
        ...


def scorer(predictor: Predictor) -> Scorer:
    """The scorer of a predictor. Raises ModelError where there is no model."""
    if not isinstance(predictor, ModelPredictor):
        raise ModelError(f"{predictor.name!r} has no model that could score a text: name another with -m")
    return _ModelScorer(predictor)


class _ModelScorer:
    """See ``Scorer``."""

    def __init__(self, predictor: ModelPredictor) -> None:
        self._predictor = predictor

    def score(
        self, data: bytes, *, prompt: bytes = b"", memory: bool = False, alternatives: int = 1
    ) -> Iterator[TokenScores]:
        if alternatives < 1:
            raise ValueError(f"alternatives is {alternatives}: 1 is the least")
        predictor = _fitted(self._predictor, len(prompt) + len(data), 1)
        tokens, skipped = faithful_tokens(predictor, data), 0
        if prompt:
            before = faithful_tokens(predictor, prompt)
            tokens, skipped = np.concatenate((before, tokens)), len(before)
        sizes = np.array([len(name) for name in predictor.token_bytes], np.int64)[tokens]
        ends = np.cumsum(sizes) - sizes[:skipped].sum()
        memory_bits = _memory_bits(tokens, predictor) if memory else None
        first = 0
        for figures in _own_figures(tokens, predictor, alternatives):
            place = slice(max(first, skipped), first + len(figures))
            figures = figures[place.start - first :] if place.start < place.stop else figures[:0]
            first = place.stop
            if not len(figures):
                continue
            others = figures[:, 4:].reshape(len(figures), 2, -1)
            yield TokenScores(
                place.start - skipped,
                tokens[place],
                ends[place],
                figures[:, 0],
                figures[:, 1],
                figures[:, 2],
                others[:, 0].astype(np.int64),
                others[:, 1],
                figures[:, 3].astype(np.int64),
                None if memory_bits is None else memory_bits[place],
            )


def faithful_tokens(predictor: Predictor, data: bytes) -> NDArray[np.int64]:
    """[n]: the tokens of ``data``. ModelError where they do not stand for it."""
    tokens = predictor.tokenize(data)
    if predictor.detokenize(tokens) != data:
        raise ModelError(f"the tokenizer of {predictor.name!r} does not give these bytes back: no frame would use it")
    return tokens


def own_bits(predictor: Predictor, data: bytes) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(byte_ends, bits), both [n], of all tokens of a text under the model alone; see ``Scorer``."""
    blocks = list(scorer(predictor).score(data))
    ends = [np.zeros(0, np.int64), *(block.byte_ends for block in blocks)]
    return np.concatenate(ends), np.concatenate([np.zeros(0), *(block.bits for block in blocks)])


def each_distribution(
    table: NDArray[np.int64], predictor: ModelPredictor, measure: "Figures"
) -> Iterator[tuple[slice, slice, NDArray[np.float64]]]:
    """``measure`` of the logits before each of [streams, n] tokens: rows, positions, figures [rows, positions, k]."""
    yield from _figures(table, _fitted(predictor, table.size, len(table)), measure)


def stream_bits(tokens: NDArray[np.int64], predictor: ModelPredictor, streams: int) -> float:
    """The model's own bits of tokens that stand in the streams of a frame, each of which begins without a past."""
    predictor = _fitted(predictor, len(tokens), streams)
    table, lengths = dealt(tokens, streams), np.diff(stream_bounds(len(tokens), streams))
    columns = np.arange(table.shape[1])
    total = 0.0
    for rows, positions, figures in _figures(table, predictor, token_costs):
        counts = columns[positions][None] < lengths[rows][:, None]
        total += float(figures[:, :, 0][counts].sum())
    return total


def frame_frequencies(
    kind: int, tokens: NDArray[np.int64], predictor: Predictor, streams: int
) -> Iterator[NDArray[np.int64]]:
    """The frequency, in units of 2^-24, of each decision of a frame of this kind, [some], in the order of coding.

    kind: as ``archive`` numbers kinds of tokens, but not a portable one.
    """
    if isinstance(predictor, TaughtPredictor):
        if kind == archive.GROUPED:
            yield _grouped_frequencies(tokens, predictor, streams)
            return
        predictor = _ByPasses(predictor, dealt(tokens, streams))
    for _, own in frames.intervals(kind, tokens, predictor, streams):
        yield own


def frame_microbits(kind: int, tokens: NDArray[np.int64], predictor: Predictor, streams: int) -> int:
    """What the decisions of such a frame cost at best, in millionths of a bit."""
    bits = IdealBits()
    for own in frame_frequencies(kind, tokens, predictor, streams):
        bits.add(own)
    return bits.microbits


def _fitted(predictor: ModelPredictor, original_bytes: int, streams: int) -> ModelPredictor:
    """A float predictor that shows logits needs no setting for them; any other gets its own."""
    if isinstance(predictor, LogitPredictor) or not isinstance(predictor, FloatPredictor):
        return predictor
    return predictor.fitted(original_bytes, streams)


Figures = Callable[[NDArray[np.float64], NDArray[np.int64], int], NDArray[np.float64]]
"""From logits in nats [n, width], each row's token [n] and the number of the model's tokens to figures [n, k]."""


def _figures(
    table: NDArray[np.int64], predictor: ModelPredictor, measure: Figures
) -> Iterator[tuple[slice, slice, NDArray[np.float64]]]:
    """``measure`` of the logits before each of [streams, n] tokens: rows, positions, figures [rows, positions, k]."""
    if not isinstance(predictor, LogitPredictor):
        context, whole = predictor.start(len(table)), slice(0, len(table))
        for position, column in enumerate(table.T):
            logits = np.log(context.next_frequencies() / FREQUENCY_TOTAL)
            yield whole, slice(position, position + 1), measure(logits, column, predictor.vocabulary_size)[:, None]
            context.append(column)
        return
    for rows, positions, some in predictor.logits(table):
        wanted = table[rows, positions].ravel()
        flat, found = some.reshape(len(wanted), -1), []
        step = max(1, _NUMBERS_AT_ONCE // flat.shape[1])
        for first in range(0, len(wanted), step):
            part = slice(first, first + step)
            found.append(measure(flat[part].astype(np.float64), wanted[part], predictor.model_size))
        yield rows, positions, np.concatenate(found).reshape(*some.shape[:2], -1)


def token_costs(logits: NDArray[np.float64], tokens: NDArray[np.int64], model_size: int) -> NDArray[np.float64]:
    """[n, 1]: -log2 p of each token."""
    largest = logits.max(1, keepdims=True)
    total = largest[:, 0] + np.log(np.exp(logits - largest).sum(1))
    own = logits[np.arange(len(tokens)), np.minimum(tokens, model_size - 1)]
    bits = (total - own) / math.log(2)
    return np.where(tokens < model_size, bits, ESCAPE_BITS)[:, None]


def _own_figures(
    tokens: NDArray[np.int64], predictor: ModelPredictor, alternatives: int
) -> Iterator[NDArray[np.float64]]:
    """[some, 4 + 2k]: bits, entropy, variance, rank, the k likeliest tokens and their bits, of one stream."""

    def measure(logits: NDArray[np.float64], chosen: NDArray[np.int64], model_size: int) -> NDArray[np.float64]:
        logits = logits - logits.max(1, keepdims=True)
        weights = np.exp(logits)
        total = weights.sum(1, keepdims=True)
        costs = (np.log(total) - logits) / math.log(2)
        weights /= total
        entropy = (weights * costs).sum(1)
        variance = (weights * np.square(costs - entropy[:, None])).sum(1)
        rows, known = np.arange(len(chosen)), costs[:, :model_size]
        own = known[rows, np.minimum(chosen, model_size - 1)]
        places = np.arange(model_size)[None]
        before = (known < own[:, None]) | ((known == own[:, None]) & (places < chosen[:, None]))
        escaped = chosen >= model_size
        likeliest = _smallest(known, min(alternatives, model_size))
        return np.concatenate(
            (
                np.where(escaped, ESCAPE_BITS, own)[:, None],
                entropy[:, None],
                variance[:, None],
                np.where(escaped, model_size, before.sum(1))[:, None],
                likeliest,
                np.take_along_axis(known, likeliest, 1),
            ),
            1,
        )

    for _, _, figures in _figures(tokens[None], predictor, measure):
        yield figures[0]


def _smallest(costs: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """[n, count]: the columns with the smallest costs, the smallest first; of equals the one further left."""
    if count == 1:
        smallest: NDArray[np.int64] = costs.argmin(1)[:, None]
        return smallest
    bound = np.partition(costs, count - 1, axis=1)[:, count - 1 : count]
    found = np.empty((len(costs), count), np.int64)
    for row in range(len(costs)):
        columns = np.flatnonzero(costs[row] <= bound[row])
        found[row] = columns[np.argsort(costs[row, columns], kind="stable")[:count]]
    return found


def _memory_bits(tokens: NDArray[np.int64], predictor: Predictor) -> NDArray[np.float64]:
    """[n]: the bits of each token's decisions in a frame of one stream with model and memory."""
    if not len(tokens):
        return np.zeros(0)
    from llmzip.memory.odds import tree_of

    starts = tree_of(predictor.token_bytes).path_start
    decisions = (starts[tokens + 1] - starts[tokens]).astype(np.int64)
    own = np.concatenate(list(frame_frequencies(archive.MODEL_AND_MEMORY, tokens, predictor, 1)))
    assert len(own) == decisions.sum()
    bits: NDArray[np.float64] = np.add.reduceat(-np.log2(own / FREQUENCY_TOTAL), np.cumsum(decisions) - decisions)
    return bits


TaughtFigures = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[Any]]
"""From logits [rows, width] and the token of each row to figures [rows, k], of whatever integers."""


def _taught_figures(table: NDArray[np.int64], predictor: TaughtPredictor, figures: TaughtFigures) -> NDArray[Any]:
    """[streams, n, k]: ``figures`` [rows, k] of the logits before each of [streams, n] tokens, and of the token."""
    found: NDArray[Any] | None = None
    for rows, positions, some in predictor.logits(table):
        wanted = table[rows, positions].ravel()
        flat, parts = some.reshape(len(wanted), -1), []
        step = max(1, _NUMBERS_AT_ONCE // flat.shape[1])
        for first in range(0, len(wanted), step):
            parts.append(figures(flat[first : first + step], wanted[first : first + step]))
        part = np.concatenate(parts)
        if found is None:
            found = np.empty((*table.shape, part.shape[1]), part.dtype)
        found[rows, positions] = part.reshape(*some.shape[:2], -1)
    assert found is not None
    return found


def _grouped_frequencies(tokens: NDArray[np.int64], predictor: TaughtPredictor, streams: int) -> NDArray[np.int64]:
    """The frequencies of both symbols of every token."""
    table, lengths = dealt(tokens, streams), np.diff(stream_bounds(len(tokens), streams))
    found = _taught_figures(table, predictor, lambda logits, own: grouped.intervals(predictor.weights(logits), own)[1])
    in_order = np.arange(table.shape[1])[:, None] < lengths[None]
    frequencies: NDArray[np.int64] = found.transpose(1, 0, 2)[in_order].ravel()
    return frequencies


class _ByPasses:
    """A float predictor that knows what will be asked: its contexts answer for many positions at once."""

    def __init__(self, predictor: TaughtPredictor, table: NDArray[np.int64]) -> None:
        self._predictor, self._table = predictor, table
        self.name, self.fingerprint = predictor.name, predictor.fingerprint
        self.parameter_bytes, self.threads = predictor.parameter_bytes, predictor.threads
        self.vocabulary_size, self.token_bytes = predictor.vocabulary_size, predictor.token_bytes
        self.tokenize, self.detokenize = predictor.tokenize, predictor.detokenize

    def start(self, streams: int) -> Context:
        assert streams == len(self._table)
        return _PassedContext(self._predictor, self._table)


class _PassedContext:
    """See ``llmzip.predictor.ExactContext``: of tokens that are known beforehand, which come in their order."""

    def __init__(self, predictor: TaughtPredictor, table: NDArray[np.int64]) -> None:
        self._predictor, self._table, self._first = predictor, table, 0
        self._known: NDArray[Any] | None = None

    @property
    def streams(self) -> int:
        return len(self._table)

    def intervals(self, tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        def interval(logits: NDArray[np.float32], own: NDArray[np.int64]) -> NDArray[np.int64]:
            frequencies, rows = self._predictor.frequencies(logits), np.arange(len(own))
            upto = np.cumsum(frequencies, axis=1)[rows, own]
            return np.stack((upto - frequencies[rows, own], frequencies[rows, own]), 1)

        both = self._next(tokens, interval)
        return both[:, :, 0], both[:, :, 1]

    def scores(self, tokens: NDArray[np.int64], score: Score) -> NDArray[np.int16]:
        return self._next(tokens, lambda logits, own: score(self._predictor.frequencies(logits), own))

    def _next(self, tokens: NDArray[np.int64], figures: TaughtFigures) -> NDArray[Any]:
        if self._known is None:
            self._known = _taught_figures(self._table, self._predictor, figures)
        first, self._first = self._first, self._first + tokens.shape[1]
        return self._known[:, first : self._first]

    def next_frequencies(self) -> NDArray[np.int64]:
        raise NotImplementedError("asked for many positions at once")

    def append(self, tokens: NDArray[np.int64]) -> None:
        raise NotImplementedError("asked for many positions at once")
