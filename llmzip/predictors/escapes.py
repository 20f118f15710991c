"""An exact context with 256 escapes after the model's tokens: the exact engine for tokenizers that lack bytes.

A fixed share of every distribution goes to the escapes, the rest is scaled in whole numbers, so that the context stays
exact. May import ``predictor`` and the modules beside it.
"""

import numpy as np
from numpy.typing import NDArray

from llmzip.predictor import FREQUENCY_TOTAL, ExactContext, Score, WeightedExactContext, WeightScore
from llmzip.predictors.guarded_tokenizer import BYTES, GuardedTokenizer

ESCAPE_SHARE = 64
"""Of 2^24, for each byte: one token in 1,024 is expected to be one. As in ``float_tables``."""


def scaled(cumulative: NDArray[np.int64], index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Where the bound ``cumulative`` below token ``index`` of ``size`` comes to lie when the escapes take their share.

    Every token keeps at least one unit: only what is above that is scaled.
    """
    free = FREQUENCY_TOTAL - size
    bound: NDArray[np.int64] = index + (cumulative - index) * (free - BYTES * ESCAPE_SHARE) // free
    return bound


class EscapedStreams:
    """See ``llmzip.predictor.ExactContext``."""

    def __init__(self, streams: ExactContext, tokenizer: GuardedTokenizer) -> None:
        self._inner, self._tokenizer = streams, tokenizer

    @property
    def streams(self) -> int:
        return self._inner.streams

    def next_frequencies(self) -> NDArray[np.int64]:
        return self._extended(self._inner.next_frequencies())

    def _extended(self, frequencies: NDArray[np.int64]) -> NDArray[np.int64]:
        rows, size = frequencies.shape
        bounds = np.zeros((rows, size + 1), np.int64)
        np.cumsum(frequencies, 1, out=bounds[:, 1:])
        own = np.diff(scaled(bounds, np.arange(size + 1), size))
        return np.concatenate((own, np.full((rows, BYTES), ESCAPE_SHARE)), 1)

    def append(self, tokens: NDArray[np.int64]) -> None:
        self._inner.append(self._tokenizer.known(tokens))

    def intervals(self, tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        size, known = self._tokenizer.model_size, self._tokenizer.known(tokens)
        below, own = self._inner.intervals(known)
        first, end = scaled(below, known, size), scaled(below + own, known + 1, size)
        escaped = tokens >= size
        start = FREQUENCY_TOTAL - BYTES * ESCAPE_SHARE + (tokens - size) * ESCAPE_SHARE
        return np.where(escaped, start, first), np.where(escaped, ESCAPE_SHARE, end - first)

    def scores(self, tokens: NDArray[np.int64], score: Score) -> NDArray[np.int16]:
        if (tokens < self._tokenizer.model_size).all():
            return self._inner.scores(tokens, lambda table, chosen: score(self._extended(table), chosen))
        columns = []  # the context is exact, so a position at a time is the same
        for column in tokens.T:
            columns.append(score(self.next_frequencies(), column))
            self.append(column)
        return np.stack(columns, 1)


class WeightedEscapes(EscapedStreams):
    """See ``llmzip.predictor.WeightedExactContext``: the same for a context that knows more than frequencies."""

    def __init__(self, streams: WeightedExactContext, tokenizer: GuardedTokenizer) -> None:
        super().__init__(streams, tokenizer)
        self._weighted = streams

    def next_weights(self) -> NDArray[np.int64]:
        return _with_escapes(self._weighted.next_weights())

    def weighed(self, tokens: NDArray[np.int64], score: WeightScore) -> NDArray[np.int64]:
        if (tokens < self._tokenizer.model_size).all():
            return self._weighted.weighed(tokens, lambda table, chosen: score(_with_escapes(table), chosen))
        columns = []  # the context is exact, so a position at a time is the same
        for column in tokens.T:
            columns.append(score(self.next_weights(), column))
            self.append(column)
        return np.stack(columns, 1)


def _with_escapes(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n, vocabulary + 256]: each escape weighs 64 / 2^24 of all that the model's tokens weigh."""
    share = weights.sum(1, keepdims=True) // FREQUENCY_TOTAL * ESCAPE_SHARE
    return np.concatenate((weights, np.repeat(share, BYTES, 1)), 1)
