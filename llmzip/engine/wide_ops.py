"""The arithmetic of version 2 in plain numpy: its definition (docs/arithmetic.md), to which faster code is held.

Notation: B streams, T new positions, N = B * T rows, H query heads, G key-value heads, d head size, S cache slots,
V vocabulary. "Integers" are whole numbers held in float32. Every line is one of: an exact sum of integers, one
IEEE-754 operation an element, a maximum, a table look-up. May import ``predictor`` and the modules beside it.
"""

import numpy as np
from numpy.typing import NDArray

from llmzip.engine.families import Architecture
from llmzip.engine.tables import (
    CAP_LIMIT,
    CAP_STEPS,
    SIGMOID_LIMIT,
    STEPS_PER_NAT,
    STEPS_PER_OCTAVE,
    cap_table,
    gelu_table,
    octave_table,
    sigmoid_table,
)
from llmzip.engine.weights import ACTIVATION_LIMIT, SMALLEST_PEAK
from llmzip.engine.wide_weights import INPUT_LIMIT, Matrix, Norm
from llmzip.predictor import FREQUENCY_TOTAL

Floats = NDArray[np.float32]

STEPS = np.float32(STEPS_PER_OCTAVE / 0.6931471805599453)
"""Table steps in a nat: 64 / ln 2, rounded once."""

ATTENTION_BITS, LAST_SCORE = 24, 1599
"""Weights of attention: 2^24 for the largest score, and 0 from the last step on."""

OUTPUT_BITS, LAST_LOGIT = 36, 2304
"""Weights of tokens: 2^36 for the largest logit, and at least 1, which stands 25 nats below."""

SHARE_TOTAL = 1 << 16
"""Attention's shares are integers of about this sum, so that their products with values stay below 2^24."""

FAR = np.float32(-3e38)
"""Score of a position that is not seen."""

_VALUE_UNIT = np.float32(1.0 / (ACTIVATION_LIMIT * SHARE_TOTAL))
_MATRIX_ROWS = 4096


def quantise(x: Floats, limit: int) -> tuple[Floats, Floats]:
    """Rows to integers of at most ``limit``, and each row's peak: x ~ integers * peak / limit."""
    peak = np.maximum(np.abs(x).max(axis=-1, keepdims=True), np.float32(SMALLEST_PEAK))
    return np.rint(x * (np.float32(limit) / peak)), peak


def unit(peak: Floats, limit: int) -> Floats:
    """What one unit of integers that were quantised is worth."""
    return peak / np.float32(limit)


def normed(x: Floats, norm: Norm, epsilon: float, *, centred: bool = False) -> Floats:
    """RMSNorm, or LayerNorm where ``centred``, with its weights: real values."""
    q, peak = quantise(x, INPUT_LIMIT)
    inverse = (np.float32(INPUT_LIMIT) / peak).astype(np.float64)
    n, wide = x.shape[-1], q.astype(np.int64)
    squares = (wide * wide).sum(axis=-1, keepdims=True)
    if centred:
        sums = wide.sum(axis=-1, keepdims=True)
        mean = (n * squares - sums * sums).astype(np.float64) / np.float64(n * n)
        q = q - (sums.astype(np.float64) / np.float64(n)).astype(np.float32)
    else:
        mean = squares.astype(np.float64) / np.float64(n)
    factor = 1.0 / np.sqrt(mean + (inverse * inverse) * epsilon)
    values: Floats = (q * factor.astype(np.float32)) * norm.weights
    return values if norm.shift is None else values + norm.shift


def product(q: Floats, matrix: Matrix) -> Floats:
    """[N, inputs] integers -> [N, outputs]: the exact sums, which int32 holds, each rounded once to float32."""
    wide = q.astype(np.float64)  # sums below 2^31 cannot round in any order
    out = np.empty((len(q), len(matrix.integers)), np.float32)
    for first in range(0, len(matrix.integers), _MATRIX_ROWS):
        out[:, first : first + _MATRIX_ROWS] = wide @ matrix.integers[first : first + _MATRIX_ROWS].T.astype(np.float64)
    return out


def linear(x: Floats, matrix: Matrix) -> Floats:
    """[N, inputs] real values -> [N, outputs]: quantised, multiplied, and real again."""
    q, peak = quantise(x, matrix.limit)
    values = (product(q, matrix) * unit(peak, matrix.limit)) * matrix.scale
    return values if matrix.bias is None else values + matrix.bias


def rotate(x: Floats, cosine: Floats, sine: Floats) -> Floats:
    """[B, T, heads, d] with its first dimensions turned. cosine, sine: [T, pairs], a pair is i and i + pairs."""
    pairs = cosine.shape[1]
    first, second, rest = x[..., :pairs], x[..., pairs : 2 * pairs], x[..., 2 * pairs :]
    cosine, sine = cosine[:, None], sine[:, None]
    turned: Floats = np.concatenate((first * cosine - second * sine, second * cosine + first * sine, rest), -1)
    return turned


def capped(x: Floats, cap: float) -> Floats:
    """cap * tanh(x / cap), tanh(u) / u being interpolated between steps of 1/64."""
    table, limit = cap_table(), np.float32(CAP_LIMIT * CAP_STEPS)
    size = np.minimum(np.abs(x), np.float32(CAP_LIMIT * cap))
    place = np.minimum(size * np.float32(CAP_STEPS / cap), limit)
    below = np.floor(place)
    index = below.astype(np.int32)
    ratio = table[index] + (table[index + 1] - table[index]) * (place - below)
    values: Floats = np.copysign(size * ratio, x)
    return values


def attend(
    architecture: Architecture,
    query: tuple[Floats, Floats],
    to_sinks: tuple[Floats, Floats] | None,
    sinks: int,
    cache: tuple[NDArray[np.int8], Floats, NDArray[np.int8], Floats],
    seen: NDArray[np.bool_],
) -> Floats:
    """Attention of T queries over S slots. Returns [N, H d].

    query: integers [B, T, H, d] and peaks [B, T, H]; to_sinks: the same for the first ``sinks`` slots, where those are
    farther away than the model knows; cache: keys [B, G, S, d], their peaks [B, G, S], values and their peaks;
    seen: [T, S].
    """
    keys, key_peak, values, value_peak = cache
    streams, groups, slots, dim = keys.shape
    length, heads = query[0].shape[1:3]
    scores = _scores(architecture, query, keys, key_peak)
    if to_sinks is not None:
        scores[..., :sinks] = _scores(architecture, to_sinks, keys[:, :, :sinks], key_peak[:, :, :sinks])
    scores = np.where(seen, scores, FAR)
    steps = np.rint(np.minimum(scores.max(axis=-1, keepdims=True) - scores, np.float32(LAST_SCORE))).astype(np.int64)
    weights = octave_table(ATTENTION_BITS)[steps & 63] >> (steps >> 6)
    total = weights.sum(axis=-1, keepdims=True).astype(np.float32)
    peaks = value_peak[:, :, None, None]
    peak = np.where(seen, peaks, np.float32(0)).max(axis=-1, keepdims=True)
    share = np.float32(SHARE_TOTAL) / (total * peak)
    integers = np.rint(weights.astype(np.float32) * (peaks * share))
    mixed = integers.reshape(streams, groups, -1, slots) @ values.astype(np.float32)
    mixed = mixed.reshape(streams, groups, -1, length, dim) * (peak * _VALUE_UNIT)
    out: Floats = mixed.reshape(streams, heads, length, dim).transpose(0, 2, 1, 3).reshape(-1, heads * dim)
    return out


def _scores(
    architecture: Architecture, query: tuple[Floats, Floats], keys: NDArray[np.int8], key_peak: Floats
) -> Floats:
    """[B, G, H / G, T, S] float32, in table steps."""
    (q, peak), (streams, groups, _, dim) = query, keys.shape
    length, heads = q.shape[1:3]
    rows = q.transpose(0, 2, 1, 3).reshape(streams, groups, -1, dim)
    sums = (rows @ keys.astype(np.float32).transpose(0, 1, 3, 2)).reshape(streams, groups, heads // groups, length, -1)
    cap = architecture.score_cap
    worth = architecture.attention_scale / ACTIVATION_LIMIT**2
    one = np.float32(worth) if cap else np.float32(worth * (STEPS_PER_OCTAVE / 0.6931471805599453))
    units = peak.transpose(0, 2, 1).reshape(streams, groups, -1, length, 1) * one
    scores: Floats = (sums * units) * key_peak[:, :, None, None]
    return capped(scores, cap) * STEPS if cap else scores


def gated(values: Floats, activation: str) -> Floats:
    """silu(gate) * up or gelu(gate) * up. values: [N, 2F] -> [N, F]."""
    half = values.shape[1] // 2
    gate, up = values[:, :half], values[:, half:]
    table = sigmoid_table() if activation == "silu" else gelu_table()
    bound = np.float32(SIGMOID_LIMIT)
    steps = np.rint(np.maximum(np.minimum(gate * np.float32(STEPS_PER_NAT), bound), -bound)).astype(np.int32)
    out: Floats = (gate * table[steps + SIGMOID_LIMIT]) * up
    return out


def token_weights(logits: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[N, V] int64 from 1 to 2^36, in proportion to exp(logit); and [N]: the first token whose weight is largest."""
    steps = logits * STEPS
    below = np.rint(np.minimum(steps.max(axis=-1, keepdims=True) - steps, np.float32(LAST_LOGIT))).astype(np.int64)
    return octave_table(OUTPUT_BITS)[below & 63] >> (below >> 6), (below == 0).argmax(axis=-1)


def frequencies(weights: NDArray[np.int64], best: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N, V] int64, every one >= 1, rows summing to 2^24: shares of the weights, rounded down; ``best`` has the rest.

    For coders that want one symbol a token: 2^-24 under each of V tokens is what that costs.
    """
    free = np.float64(FREQUENCY_TOTAL - weights.shape[1])
    ratio = free / weights.sum(axis=-1, keepdims=True).astype(np.float64)
    table: NDArray[np.int64] = np.floor(weights.astype(np.float64) * ratio).astype(np.int64) + 1
    table[np.arange(len(table)), best] += FREQUENCY_TOTAL - table.sum(axis=-1)
    return table
