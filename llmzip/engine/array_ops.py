"""The arithmetic of the exact engine in plain array code: the definition that ``native/model.c`` equals bit for bit.

Notation: B streams, T new positions, N = B * T rows, D hidden size, H query heads, G key-value heads, d head size,
S cache slots, V vocabulary. "Integers" are whole numbers held in float32. Every line is one of: an exact sum of
integers, one IEEE-754 operation an element, a maximum, a table look-up. May import ``backends``, ``tables``,
``weights`` and ``predictor``.
"""

import math

import numpy as np
from numpy.typing import NDArray

from llmzip.engine.backends import Array, NumpyBackend, TorchBackend
from llmzip.engine.tables import EXP_LENGTH, SIGMOID_LIMIT, STEPS_PER_NAT, exp_table, sigmoid_table
from llmzip.engine.weights import ACTIVATION_LIMIT, SMALLEST_PEAK, Linear, Shape
from llmzip.predictor import FREQUENCY_TOTAL

PROBABILITY_TOTAL = 1 << 16
"""Attention probabilities are integers of about this sum, so that their products with values stay below 2^24."""

FAR = -3e38
"""Score of a position outside the window: its table index is the last, whose entry is 0."""


def score_unit(head_dim: int) -> np.float32:
    """What one unit of an integer score is worth, in table steps, before the two peaks."""
    return np.float32(STEPS_PER_NAT / (ACTIVATION_LIMIT**2 * math.sqrt(head_dim)))


VALUE_UNIT = np.float32(1.0 / (ACTIVATION_LIMIT * PROBABILITY_TOTAL))
PEAK_UNIT = np.float32(1.0 / ACTIVATION_LIMIT)


class ArrayOps:
    """The steps that a layer and the output consist of."""

    def __init__(self, shape: Shape, backend: NumpyBackend | TorchBackend) -> None:
        self.shape, self.backend = shape, backend
        self._exp = backend.array(exp_table())
        self._sigmoid = backend.array(sigmoid_table())
        self._score_unit = float(score_unit(shape.head_dim))

    def quantise(self, x: Array) -> tuple[Array, Array]:
        """Rows to integers of at most 127, and each row's peak: x ~ integers * peak / 127."""
        b = self.backend
        peak = b.at_least(b.maximum(b.absolute(x)), SMALLEST_PEAK)
        return b.rint(x * b.divide(ACTIVATION_LIMIT, peak)), peak

    def norm(self, x: Array) -> tuple[Array, Array]:
        """RMSNorm without its weights: integers [N, D] and the factor [N, 1] that makes them x / rms(x)."""
        b = self.backend
        q, peak = self.quantise(x)
        inverse = b.cast(b.divide(ACTIVATION_LIMIT, peak), "float64")
        mean = b.over(b.sum(q * q), x.shape[-1])
        root = b.sqrt(mean + (inverse * inverse) * self.shape.norm_epsilon)
        return q, b.cast(b.divide(1.0, root), "float32")

    def linear(self, q: Array, linear: Linear) -> Array:
        """[N, inputs] integers -> [N, outputs], before scale and bias. Exact for one part; parts are added in order."""
        total, first = None, 0
        for part in linear.parts:
            product = q[:, first : first + part.shape[0]] @ part
            total = product if total is None else total + product
            first += part.shape[0]
        return total

    def scaled(self, y: Array, factor: Array, linear: Linear) -> Array:
        """The real values of a product: y * factor * scale + bias."""
        values = (y * factor) * linear.scale
        return values if linear.bias is None else values + linear.bias

    def rotate(
        self, y: Array, factor: Array, linear: Linear, cosine: Array, sine: Array, streams: int
    ) -> tuple[Array, ...]:
        """Queries, keys and values as integers with a peak a head.

        y: [N, (H + 2G) d]; cosine, sine: [T, d / 2]. Returns query [B, T, H, d], its peaks [B, T, H], and
        key, key peaks, value, value peaks [B, T, G, d] and [B, T, G].
        """
        b, s = self.backend, self.shape
        values = self.scaled(y, factor, linear).reshape(streams, -1, s.heads + 2 * s.key_value_heads, s.head_dim)
        split, half = s.heads + s.key_value_heads, s.head_dim // 2
        first, second = values[:, :, :split, :half], values[:, :, :split, half:]
        cosine, sine = cosine[:, None], sine[:, None]
        turned = b.concatenate([first * cosine - second * sine, second * cosine + first * sine], 3)
        q, peak = self.quantise(b.concatenate([turned, values[:, :, split:]], 2))
        return self._by_role(q, peak[..., 0])

    def _by_role(self, q: Array, peak: Array) -> tuple[Array, ...]:
        """Heads and their peaks taken apart: queries, keys, values."""
        heads, split = self.shape.heads, self.shape.heads + self.shape.key_value_heads
        roles = (slice(heads), slice(heads, split), slice(split, None))
        return tuple(part for role in roles for part in (q[:, :, role], peak[:, :, role]))

    def attend(
        self, query: Array, query_peak: Array, key: Array, key_peak: Array, value: Array, value_peak: Array, filled: int
    ) -> Array:
        """Sliding-window attention of the last T cache slots over the cache. Returns [N, H d].

        key: [B, G, d, S] int8, value: [B, G, S, d] int8, of which slots below ``filled`` count; peaks: [B, G, S].
        Query t stands at slot filled - T + t and sees the ``window`` slots that end there.
        """
        b, s = self.backend, self.shape
        streams, length, heads, dim = query.shape
        groups, window = s.key_value_heads, s.window
        first = max(0, filled - length - window + 1)
        keys = b.cast(key[:, :, :, first:filled], "float32")
        values = b.cast(value[:, :, first:filled], "float32")
        key_peak, value_peak = key_peak[:, :, first:filled], value_peak[:, :, first:filled]
        rows = b.transpose(query, 0, 2, 1, 3).reshape(streams, groups, -1, dim)
        scores = (rows @ keys).reshape(streams, groups, heads // groups, length, -1)
        unit = b.transpose(query_peak, 0, 2, 1).reshape(streams, groups, -1, length, 1) * self._score_unit
        scores = (scores * unit) * key_peak[:, :, None, None]
        distance = b.arange(filled - length, filled)[:, None] - b.arange(first, filled)[None]
        seen = (distance >= 0) & (distance < window)
        scores = b.where(seen, scores, FAR)
        steps = b.rint(b.at_most(b.maximum(scores) - scores, EXP_LENGTH - 1))
        weights = b.look_up(self._exp, steps)
        total = b.cast(b.sum(weights), "float32")
        peak = b.maximum(b.where(seen, value_peak[:, :, None], 0.0))[:, :, None]
        shares = b.divide(PROBABILITY_TOTAL, total * peak)
        integers = b.rint(weights * (value_peak[:, :, None, None] * shares))
        mixed = integers.reshape(streams, groups, -1, filled - first) @ values
        mixed = mixed.reshape(streams, groups, -1, length, dim) * (peak * float(VALUE_UNIT))
        return b.transpose(mixed.reshape(streams, heads, length, dim), 0, 2, 1, 3).reshape(-1, heads * dim)

    def add(self, x: Array, y: Array, peak: Array, linear: Linear) -> Array:
        """The residual stream after a product of activations that were quantised with ``peak``."""
        return x + self.scaled(y, peak * float(PEAK_UNIT), linear)

    def gate(self, y: Array, factor: Array, linear: Linear) -> tuple[Array, Array]:
        """SwiGLU: silu(gate) * up, quantised. y: [N, 2F] -> integers [N, F] and peaks [N, 1]."""
        b = self.backend
        values = self.scaled(y, factor, linear)
        half = values.shape[1] // 2
        gate, up = values[:, :half], values[:, half:]
        steps = b.at_least(b.at_most(gate * float(STEPS_PER_NAT), SIGMOID_LIMIT), -SIGMOID_LIMIT)
        return self.quantise((gate * b.look_up(self._sigmoid, b.rint(steps) + float(SIGMOID_LIMIT))) * up)

    def _shares(self, y: Array, factor: Array, linear: Linear) -> Array:
        """[N, V] float64 integers: frequency - 1 of every token.

        The 2^24 - V units beyond one a token are shared in proportion to exp(logit), rounded down; what rounding
        leaves over goes to the first token whose logit lies within half a step of the largest.
        """
        b = self.backend
        logits = (y * (factor * float(STEPS_PER_NAT))) * linear.scale
        if linear.bias is not None:
            logits = logits + linear.bias * float(STEPS_PER_NAT)
        steps = b.rint(b.at_most(b.maximum(logits) - logits, EXP_LENGTH - 1))
        weights = b.cast(b.look_up(self._exp, steps), "float64")
        free = float(FREQUENCY_TOTAL - logits.shape[1])
        shares = b.floor(weights * b.divide(free, b.sum(weights)))
        places = b.arange(0, logits.shape[1])[None]
        best = b.minimum(b.where(steps == 0, places, logits.shape[1]))
        return shares + b.where(places == best, free - b.sum(shares), 0.0)

    def frequencies(self, y: Array, factor: Array, linear: Linear) -> NDArray[np.int64]:
        """[N, V] int64, every one >= 1, rows summing to 2^24."""
        shares: NDArray[np.float64] = self.backend.numpy(self._shares(y, factor, linear))
        return shares.astype(np.int64) + 1

    def intervals(
        self, y: Array, factor: Array, linear: Linear, tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(cumulative, frequency), each [N] int64, of the given token of every row."""
        b = self.backend
        shares, chosen = self._shares(y, factor, linear), b.array(tokens)[:, None]
        places = b.arange(0, shares.shape[1])[None]
        below = b.numpy(b.sum(b.where(places < chosen, shares, 0.0)))[:, 0]
        own = b.numpy(b.sum(b.where(places == chosen, shares, 0.0)))[:, 0]
        return below.astype(np.int64) + tokens, own.astype(np.int64) + 1
