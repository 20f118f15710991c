"""The layers of version 2: weights and operations put together, with a cache of keys and values for every stream.

``WideStreams`` is what a predictor hands to the codec: a token at a time to decode, many positions at a time to
encode, with one result. May import the rest of ``engine``, ``predictor`` and ``errors``.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.engine import wide_ops
from llmzip.engine.families import LayerRule
from llmzip.engine.model import CACHE_LIMIT_BYTES
from llmzip.engine.tables import MAXIMUM_POSITION, Rotary
from llmzip.engine.weights import ACTIVATION_LIMIT
from llmzip.engine.wide_ops import Floats
from llmzip.engine.wide_weights import Norm, WideLayer, WideWeights
from llmzip.errors import ModelError
from llmzip.predictor import Score, WeightScore

CHUNK_ROWS = 256
"""Rows (streams x positions) computed together, as far as there are that many positions."""

OUTPUT_NUMBERS = 1 << 23
"""Logits held at a time at most: 64 MiB of weights."""


class WideModel:
    """Weights, and the rotations of positions, which grow with the longest stream."""

    def __init__(self, weights: WideWeights) -> None:
        self.weights, self.architecture = weights, weights.architecture

    @cached_property
    def rotaries(self) -> list[Rotary]:
        return [Rotary(0, 1.0, rule.frequencies) for rule in self.architecture.rotaries]

    def turns(self, rotary: int, positions: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """(cosine, sine) [T, pairs] at the positions, with the rule's magnitude."""
        magnitude = np.float32(self.architecture.rotaries[rotary].magnitude)
        cosine, sine = self.rotaries[rotary].at_positions(positions)
        return (cosine, sine) if magnitude == 1 else (cosine * magnitude, sine * magnitude)


class _Cache:
    """Keys and values of one layer: the sinks, then what the window may still see, then spare room."""

    def __init__(self, streams: int, groups: int, dim: int, rule: LayerRule) -> None:
        self._rule = rule
        self._size = (streams, groups)
        self._arrays: list[NDArray[Any]] = [
            np.zeros((*self._size, 0, *rest), kind)
            for rest, kind in (((dim,), np.int8), ((), np.float32), ((dim,), np.int8), ((), np.float32))
        ]
        self._positions = np.zeros(0, np.int64)
        self._filled = 0

    def add(self, position: int, new: tuple[NDArray[Any], ...]) -> None:
        """Keeps [B, T, G, ...] of T positions from ``position`` on, and forgets what no later query sees."""
        length = new[0].shape[1]
        if self._filled + length > len(self._positions):
            oldest = position - self._rule.window + 1
            kept = (self._positions[: self._filled] < self._rule.sinks) | (self._positions[: self._filled] >= oldest)
            room = 2 * int(kept.sum()) + length
            self._positions = np.concatenate((self._positions[: self._filled][kept], np.zeros(room, np.int64)))
            for index, old in enumerate(self._arrays):
                old = old[:, :, : self._filled][:, :, kept]
                self._arrays[index] = np.concatenate((old, np.zeros((*self._size, room, *old.shape[3:]), old.dtype)), 2)
            self._filled = int(kept.sum())
        end = self._filled + length
        self._positions[self._filled : end] = np.arange(position, position + length)
        for array, values in zip(self._arrays, new, strict=True):
            array[:, :, self._filled : end] = values.swapaxes(1, 2)
        self._filled = end

    def seen(
        self, first: int, length: int
    ) -> tuple[tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[np.bool_], int]:
        """The arrays in use, which of their slots ``length`` queries from ``first`` on see, how many are sinks."""
        slots = self._positions[: self._filled]
        queries = np.arange(first, first + length)[:, None]
        visible = (slots <= queries) & ((slots < self._rule.sinks) | (queries - slots < self._rule.window))
        keys, key_peaks, values, value_peaks = (array[:, :, : self._filled] for array in self._arrays)
        return (keys, key_peaks, values, value_peaks), visible, int((slots < self._rule.sinks).sum())


class WideStreams:
    """A context (see ``llmzip.predictor.ExactContext`` and ``WeightedContext``)."""

    def __init__(self, model: WideModel, streams: int) -> None:
        self._model, self._streams = model, streams
        a = model.architecture
        kept = sum(3 * (rule.window + rule.sinks) for rule in a.layers)
        cache_bytes = kept * streams * a.key_value_heads * (2 * a.head_dim + 8)
        if cache_bytes > CACHE_LIMIT_BYTES:
            raise ModelError(
                f"{streams} streams of this model need {cache_bytes >> 20:,} MiB of cache, more than "
                f"{CACHE_LIMIT_BYTES >> 20:,}: use fewer with --streams, or a smaller model"
            )
        self._caches = [_Cache(streams, a.key_value_heads, a.head_dim, rule) for rule in a.layers]
        self._position = 0  # of the next token
        self._last = self._extend(np.full((streams, 1), a.start_token, np.int64))

    @property
    def streams(self) -> int:
        return self._streams

    def next_weights(self) -> NDArray[np.int64]:
        return wide_ops.token_weights(self._logits(self._last))[0]

    def next_frequencies(self) -> NDArray[np.int64]:
        return wide_ops.frequencies(*wide_ops.token_weights(self._logits(self._last)))

    def append(self, tokens: NDArray[np.int64]) -> None:
        self._last = self._extend(tokens[:, None])

    def intervals(self, tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        def interval(logits: Floats, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
            table, rows = wide_ops.frequencies(*wide_ops.token_weights(logits)), np.arange(len(chosen))
            own = table[rows, chosen]
            return np.stack((np.cumsum(table, axis=1)[rows, chosen] - own, own), 1)

        both = self._outputs(tokens, interval)
        return both[:, :, 0], both[:, :, 1]

    def weighed(self, tokens: NDArray[np.int64], score: WeightScore) -> NDArray[np.int64]:
        """``score`` of what ``next_weights`` would give for each token in turn, computed at once: [streams, n, k]."""
        return self._outputs(tokens, lambda logits, chosen: score(wide_ops.token_weights(logits)[0], chosen))

    def scores(self, tokens: NDArray[np.int64], score: Score) -> NDArray[np.int16]:
        def scored(logits: Floats, chosen: NDArray[np.int64]) -> NDArray[np.int16]:
            return score(wide_ops.frequencies(*wide_ops.token_weights(logits)), chosen)

        return self._outputs(tokens, scored)

    def logits(self, tokens: NDArray[np.int64]) -> Floats:
        """[streams, n, vocabulary] before each of [streams, n] tokens, which are then seen. To measure, not to code."""
        return self._outputs(tokens, lambda logits, chosen: logits)

    def _outputs(
        self, tokens: NDArray[np.int64], output: Callable[[Floats, NDArray[np.int64]], NDArray[Any]]
    ) -> NDArray[Any]:
        """``output`` of the logits before each token and of the token: [streams, n, k] from [rows, k]."""
        streams, results = self._streams, []
        chunk = max(8, CHUNK_ROWS // streams)
        for first in range(0, tokens.shape[1], chunk):
            part = tokens[:, first : first + chunk]
            hidden = self._extend(part).reshape(streams, part.shape[1], -1)
            # The distribution of a token follows from the state before it.
            before = np.concatenate((self._last[:, None], hidden[:, :-1]), 1).reshape(part.size, -1)
            self._last = hidden[:, -1]
            rows = max(1, OUTPUT_NUMBERS // self._model.architecture.vocabulary_size)
            blocks = [
                output(self._logits(before[row : row + rows]), part.ravel()[row : row + rows])
                for row in range(0, len(before), rows)
            ]
            results.append(np.concatenate(blocks).reshape(streams, part.shape[1], -1))
        return np.concatenate(results, 1)

    def _logits(self, hidden: Floats) -> Floats:
        a, weights = self._model.architecture, self._model.weights
        logits = wide_ops.linear(self._normed(hidden, weights.last), weights.head)
        return wide_ops.capped(logits, a.logit_cap) if a.logit_cap else logits

    def _extend(self, tokens: NDArray[np.int64]) -> Floats:
        """Runs the layers over [streams, length] new tokens; [streams * length, hidden]."""
        model, length = self._model, tokens.shape[1]
        if self._position + length > MAXIMUM_POSITION:
            raise ModelError(f"a stream is longer than {MAXIMUM_POSITION} tokens: use more streams or smaller frames")
        x = model.weights.embedding[tokens.ravel()]
        for layer, rule, cache in zip(model.weights.layers, model.architecture.layers, self._caches, strict=True):
            values = wide_ops.linear(self._normed(x, layer.before_attention), layer.query_key_value)
            mixed = self._attention(values, layer, rule, cache, length)
            x = x + self._normed(wide_ops.linear(mixed, layer.attention_out), layer.after_attention)
            values = wide_ops.linear(self._normed(x, layer.before_feed), layer.gate_up)
            values = wide_ops.gated(values, model.architecture.activation)
            x = x + self._normed(wide_ops.linear(values, layer.down), layer.after_feed)
        self._position += length
        return x

    def _normed(self, x: Floats, norm: Norm | None) -> Floats:
        a = self._model.architecture
        return x if norm is None else wide_ops.normed(x, norm, a.norm_epsilon, centred=a.norm == "layer")

    def _attention(self, values: Floats, layer: WideLayer, rule: LayerRule, cache: _Cache, length: int) -> Floats:
        """[N, H d] from the queries, keys and values of N rows, which the cache then holds."""
        a, streams = self._model.architecture, self._streams
        bounds = np.cumsum((a.heads, a.key_value_heads)) * a.head_dim
        query, key, value = (part.reshape(streams, length, -1) for part in np.split(values, bounds, axis=1))
        query = self._heads(query, layer.query_norm)
        key, value = self._heads(key, layer.key_norm), self._heads(value, None)
        positions = np.arange(self._position, self._position + length)
        rotated_query, rotated_key = self._turned(query, rule, positions), self._turned(key, rule, positions)
        key_q, key_peak = wide_ops.quantise(rotated_key, ACTIVATION_LIMIT)
        value_q, value_peak = wide_ops.quantise(value, ACTIVATION_LIMIT)
        cache.add(self._position, (key_q, key_peak[..., 0], value_q, value_peak[..., 0]))
        arrays, visible, sinks = cache.seen(self._position, length)
        to_sinks = None
        if sinks and rule.rotary is not None and self._position + length > a.positions:
            near = self._turned(query, rule, np.minimum(positions, a.positions - 1))
            to_sinks = self._whole(near)
        return wide_ops.attend(a, self._whole(rotated_query), to_sinks, sinks, arrays, visible)

    def _heads(self, x: Floats, norm: Norm | None) -> Floats:
        """[B, T, heads, d], normed where the family does: over each head, or over all together."""
        a = self._model.architecture
        shape = (*x.shape[:2], -1, a.head_dim)
        whole = a.query_key_norm == "whole"
        return self._normed(x, norm).reshape(shape) if whole else self._normed(x.reshape(shape), norm)

    def _turned(self, x: Floats, rule: LayerRule, positions: NDArray[np.int64]) -> Floats:
        if rule.rotary is None:
            return x
        return wide_ops.rotate(x, *self._model.turns(rule.rotary, positions))

    @staticmethod
    def _whole(x: Floats) -> tuple[Floats, Floats]:
        """Queries as integers, and a peak a head."""
        q, peak = wide_ops.quantise(x, ACTIVATION_LIMIT)
        return q, peak[..., 0]
