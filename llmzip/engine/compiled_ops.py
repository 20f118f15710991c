"""The arithmetic of ``array_ops``, fused and compiled with numba: same bits, a fraction of the passes over memory.

Every kernel does the operations of its namesake in the same order an element; only exact sums and maxima are
reordered. The fastmath flags say that no value is NaN or infinite (``weights.MAGNITUDE_LIMIT`` sees to it) and that the
sign of zero is free; flags that would change a result (``contract``, ``reassoc``, ``arcp``) are given only to kernels
that add products of integers, which no order can change. Importing this module imports numba
(0.4 s), so ``model`` does it only once there is enough to compute.
"""

import numpy as np
from numpy.typing import NDArray

from llmzip.compiled import kernel
from llmzip.engine.array_ops import ArrayOps
from llmzip.engine.backends import NumpyBackend
from llmzip.engine.weights import Linear, Shape

# Numba's cache on disk knows when this file changes but not when another does, so the kernels' constants are written
# out here; a test holds them equal to the originals.
ACTIVATION_LIMIT = 127
SMALLEST_PEAK = 1e-20
STEPS_PER_NAT = 64
EXP_LENGTH = 1112
SIGMOID_LIMIT = 1024
PROBABILITY_TOTAL = 1 << 16
FREQUENCY_TOTAL = 1 << 24

_F = np.float32
_LIMIT, _SMALLEST = _F(ACTIVATION_LIMIT), _F(SMALLEST_PEAK)
_STEPS, _LAST = _F(STEPS_PER_NAT), _F(EXP_LENGTH - 1)
_TOTAL = _F(PROBABILITY_TOTAL)
_VALUE_UNIT, _PEAK_UNIT = _F(1.0 / (ACTIVATION_LIMIT * PROBABILITY_TOTAL)), _F(1.0 / ACTIVATION_LIMIT)
_FLAGS = {"nnan", "ninf", "nsz"}

_kernel = kernel(fastmath=_FLAGS, error_model="numpy")
_integer_kernel = kernel(fastmath=True)
"""For kernels that only add products of integers below 2^24: no order and no fusing can change their result."""


@_kernel
def _peak(row):  # type: ignore[no-untyped-def]
    peak = _F(0)
    for i in range(row.size):
        peak = max(peak, abs(row[i]))
    return max(peak, _SMALLEST)


@_kernel
def _quantise(x, q, peaks):  # type: ignore[no-untyped-def]
    for n in range(x.shape[0]):
        peak = _peak(x[n])
        peaks[n, 0] = peak
        inverse = _LIMIT / peak
        for i in range(x.shape[1]):
            q[n, i] = np.rint(x[n, i] * inverse)


@_kernel
def _norm(x, epsilon, q, factor):  # type: ignore[no-untyped-def]
    for n in range(x.shape[0]):
        inverse = _LIMIT / _peak(x[n])
        total = np.int64(0)
        for i in range(x.shape[1]):
            value = np.rint(x[n, i] * inverse)
            q[n, i] = value
            whole = np.int32(value)
            total += np.int64(whole * whole)
        mean = np.float64(total) / np.float64(x.shape[1])
        wide = np.float64(inverse)
        factor[n, 0] = _F(1.0 / np.sqrt(mean + (wide * wide) * epsilon))


@_kernel
def _rotate(y, factor, scale, bias, cosine, sine, turned, q, peaks):  # type: ignore[no-untyped-def]
    # y: [N, heads of all kinds, d]; the first ``turned`` heads are queries and keys, the rest values.
    length, half = cosine.shape
    row = np.empty(2 * half, np.float32)
    for n in range(y.shape[0]):
        t = n % length
        f = factor[n, 0]
        for h in range(y.shape[1]):
            for i in range(2 * half):
                row[i] = (y[n, h, i] * f) * scale[h, i]
            if bias.size:
                for i in range(2 * half):
                    row[i] = row[i] + bias[h, i]
            if h < turned:
                for i in range(half):
                    first, second = row[i], row[half + i]
                    row[i] = first * cosine[t, i] - second * sine[t, i]
                    row[half + i] = second * cosine[t, i] + first * sine[t, i]
            peak = _peak(row)
            peaks[n, h] = peak
            inverse = _LIMIT / peak
            for i in range(2 * half):
                q[n, h, i] = np.rint(row[i] * inverse)


@_integer_kernel
def _few_rows(q, weights, out):  # type: ignore[no-untyped-def]
    """out = q @ weights^T. q: [N, inputs] float32; weights: [outputs, inputs] int8; out: [N, outputs] float32."""
    n = 0
    while n + 4 <= q.shape[0]:  # each weight is widened once for four rows
        a, b, c, d = q[n], q[n + 1], q[n + 2], q[n + 3]
        for o in range(weights.shape[0]):
            row = weights[o]
            first, second, third, fourth = _F(0), _F(0), _F(0), _F(0)
            for i in range(row.size):
                weight = _F(row[i])
                first += weight * a[i]
                second += weight * b[i]
                third += weight * c[i]
                fourth += weight * d[i]
            out[n, o] = first
            out[n + 1, o] = second
            out[n + 2, o] = third
            out[n + 3, o] = fourth
        n += 4
    for rest in range(n, q.shape[0]):
        a = q[rest]
        for o in range(weights.shape[0]):
            row, first = weights[o], _F(0)
            for i in range(row.size):
                first += _F(row[i]) * a[i]
            out[rest, o] = first


# Loops run from 0 over slices: numba then knows that no index is negative, and vectorises.


@_kernel
def _soften(scores, unit, key_peak, value_peak, table, peak):  # type: ignore[no-untyped-def]
    """The integer scores of one query over the slots it sees become integer probabilities in place."""
    largest = _F(-3e38)
    for j in range(scores.size):
        score = (scores[j] * unit) * key_peak[j]
        scores[j] = score
        largest = max(largest, score)
    total = np.int64(0)
    for j in range(scores.size):
        weight = table[np.int32(np.rint(min(largest - scores[j], _LAST)))]
        scores[j] = weight
        total += np.int64(weight)
    share = _TOTAL / (_F(total) * peak)
    for j in range(scores.size):
        scores[j] = np.rint(scores[j] * (value_peak[j] * share))


@_kernel
def _largest(values):  # type: ignore[no-untyped-def]
    largest = _F(0)
    for j in range(values.size):
        largest = max(largest, values[j])
    return largest


@_kernel
def _soften_chunk(scores, unit, key_peak, value_peak, offset, before, window, table, peaks):  # type: ignore[no-untyped-def]
    # scores: [B, G, heads a group, T, S] over slots offset .. offset + S - 1; query t stands at slot before + t.
    for b in range(scores.shape[0]):
        for g in range(scores.shape[1]):
            for t in range(scores.shape[3]):
                last = before + t + 1 - offset
                first = max(0, last - window)
                key_peaks = key_peak[b, g, offset + first : offset + last]
                value_peaks = value_peak[b, g, offset + first : offset + last]
                peak = _largest(value_peaks)
                peaks[b, g, t] = peak
                for h in range(scores.shape[2]):
                    row = scores[b, g, h, t]
                    row[:first] = 0
                    row[last:] = 0
                    _soften(row[first:last], unit[b, g, h, t], key_peaks, value_peaks, table, peak)


@_integer_kernel
def _integer_scores(query, key, scores):  # type: ignore[no-untyped-def]
    scores[:] = 0
    for i in range(query.size):
        q, row = query[i], key[i]
        for j in range(scores.size):
            scores[j] += q * np.float32(row[j])


@_integer_kernel
def _integer_mix(shares, value, mixed):  # type: ignore[no-untyped-def]
    mixed[:] = 0
    for j in range(shares.size):
        share, row = shares[j], value[j]
        for i in range(mixed.size):
            mixed[i] += share * np.float32(row[i])


@_kernel
def _attend_step(query, unit, key, key_peak, value, value_peak, filled, window, table, out):  # type: ignore[no-untyped-def]
    # query: [B, H, d]; unit: [B, H]; key: [B, G, d, S] int8; value: [B, G, S, d] int8; out: [B, H, d].
    heads_a_group = query.shape[1] // key.shape[1]
    first = max(0, filled - window)
    scores = np.empty(filled - first, np.float32)
    for b in range(query.shape[0]):
        for g in range(key.shape[1]):
            value_peaks = value_peak[b, g, first:filled]
            peak = _largest(value_peaks)
            for h in range(g * heads_a_group, (g + 1) * heads_a_group):
                _integer_scores(query[b, h], key[b, g, :, first:filled], scores)
                _soften(scores, unit[b, h], key_peak[b, g, first:filled], value_peaks, table, peak)
                _integer_mix(scores, value[b, g, first:filled], out[b, h])
                for i in range(out.shape[2]):
                    out[b, h, i] = out[b, h, i] * (peak * _VALUE_UNIT)


@_kernel
def _add(x, y, peak, scale, bias, out):  # type: ignore[no-untyped-def]
    for n in range(x.shape[0]):
        f = peak[n, 0] * _PEAK_UNIT
        if bias.size:
            for i in range(x.shape[1]):
                out[n, i] = x[n, i] + ((y[n, i] * f) * scale[i] + bias[i])
        else:
            for i in range(x.shape[1]):
                out[n, i] = x[n, i] + (y[n, i] * f) * scale[i]


@_kernel
def _gate(y, factor, scale, bias, table, q, peaks):  # type: ignore[no-untyped-def]
    width = q.shape[1]
    limit = _F(SIGMOID_LIMIT)
    row = np.empty(width, np.float32)
    for n in range(y.shape[0]):
        f = factor[n, 0]
        for i in range(width):
            gate, up = (y[n, i] * f) * scale[i], (y[n, width + i] * f) * scale[width + i]
            if bias.size:
                gate, up = gate + bias[i], up + bias[width + i]
            step = np.rint(max(min(gate * _STEPS, limit), -limit))
            row[i] = (gate * table[np.int32(step + limit)]) * up
        peak = _peak(row)
        peaks[n, 0] = peak
        inverse = _LIMIT / peak
        for i in range(width):
            q[n, i] = np.rint(row[i] * inverse)


@_kernel
def _weigh(y, factor, scale, bias, table, weights):  # type: ignore[no-untyped-def]
    """One row of integer logits to integer weights; returns the first place of the largest and the sum."""
    f = factor * _STEPS
    largest = _F(-3e38)  # far below any logit: see MAGNITUDE_LIMIT
    for v in range(y.size):
        logit = (y[v] * f) * scale[v]
        if bias.size:
            logit = logit + bias[v] * _STEPS
        weights[v] = logit
        largest = max(largest, logit)
    total = np.int64(0)
    for v in range(y.size):
        weight = table[np.int32(np.rint(min(largest - weights[v], _LAST)))]
        weights[v] = weight
        total += np.int64(weight)
    best = 0
    while best < y.size - 1 and weights[best] != table[0]:
        best += 1
    return best, total


@_kernel
def _frequencies(y, factor, scale, bias, table, out):  # type: ignore[no-untyped-def]
    size = y.shape[1]
    weights = np.empty(size, np.float32)
    for n in range(y.shape[0]):
        best, total = _weigh(y[n], factor[n, 0], scale, bias, table, weights)
        free = np.int64(FREQUENCY_TOTAL - size)
        ratio = np.float64(free) / np.float64(total)
        given = np.int64(0)
        for v in range(size):
            share = np.int64(np.float64(weights[v]) * ratio)
            out[n, v] = share + 1
            given += share
        out[n, best] += free - given


@_kernel
def _intervals(y, factor, scale, bias, table, tokens, cumulative, frequency):  # type: ignore[no-untyped-def]
    size = y.shape[1]
    weights = np.empty(size, np.float32)
    for n in range(y.shape[0]):
        token = tokens[n]
        best, total = _weigh(y[n], factor[n, 0], scale, bias, table, weights)
        free = np.int64(FREQUENCY_TOTAL - size)
        ratio = np.float64(free) / np.float64(total)
        below, given = np.int64(0), np.int64(0)
        for v in range(token):
            below += np.int64(np.float64(weights[v]) * ratio)
        own = np.int64(np.float64(weights[token]) * ratio)
        for v in range(token + 1, size):
            given += np.int64(np.float64(weights[v]) * ratio)
        rest = free - below - own - given
        if best < token:
            below += rest
        if best == token:
            own += rest
        cumulative[n] = below + token
        frequency[n] = own + 1


FEW_ROWS = 16
"""Up to here int8 weights beat BLAS: of a quarter of the bytes, and BLAS packs for more rows."""

_NO_BIAS = np.empty(0, np.float32)


def _bias(linear: Linear) -> NDArray[np.float32]:
    return _NO_BIAS if linear.bias is None else linear.bias


class CompiledOps(ArrayOps):
    """``ArrayOps`` on numpy arrays, step for step the same results."""

    backend: NumpyBackend

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, NumpyBackend())
        self._narrow: dict[int, tuple[NDArray[np.int8], ...]] = {}

    def linear(self, q: NDArray[np.float32], linear: Linear) -> NDArray[np.float32]:
        if len(q) > FEW_ROWS:
            product: NDArray[np.float32] = super().linear(q, linear)
            return product
        parts = self._narrow.get(id(linear))  # the model keeps its matrices for as long as its operations
        if parts is None:
            parts = tuple(np.ascontiguousarray(part.T.astype(np.int8)) for part in linear.parts)
            self._narrow[id(linear)] = parts
        total, first = np.empty((len(q), len(parts[0])), np.float32), parts[0].shape[1]
        _few_rows(q[:, :first], parts[0], total)
        for part in parts[1:]:
            product = np.empty_like(total)
            _few_rows(q[:, first : first + part.shape[1]], part, product)
            total, first = total + product, first + part.shape[1]
        return total

    def quantise(self, x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        q, peak = np.empty_like(x), np.empty((len(x), 1), np.float32)
        _quantise(x, q, peak)
        return q, peak

    def norm(self, x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        q, factor = np.empty_like(x), np.empty((len(x), 1), np.float32)
        _norm(x, self.shape.norm_epsilon, q, factor)
        return q, factor

    def rotate(
        self,
        y: NDArray[np.float32],
        factor: NDArray[np.float32],
        linear: Linear,
        cosine: NDArray[np.float32],
        sine: NDArray[np.float32],
        streams: int,
    ) -> tuple[NDArray[np.float32], ...]:
        s = self.shape
        split, parts = s.heads + s.key_value_heads, s.heads + 2 * s.key_value_heads
        q, peak = np.empty((len(y), parts, s.head_dim), np.float32), np.empty((len(y), parts), np.float32)
        bias = _bias(linear)
        _rotate(
            y.reshape(len(y), parts, s.head_dim),
            factor,
            linear.scale.reshape(parts, s.head_dim),
            bias.reshape(parts if bias.size else 0, s.head_dim),
            cosine,
            sine,
            split,
            q,
            peak,
        )
        return self._by_role(q.reshape(streams, -1, parts, s.head_dim), peak.reshape(streams, -1, parts))

    def attend(
        self,
        query: NDArray[np.float32],
        query_peak: NDArray[np.float32],
        key: NDArray[np.int8],
        key_peak: NDArray[np.float32],
        value: NDArray[np.int8],
        value_peak: NDArray[np.float32],
        filled: int,
    ) -> NDArray[np.float32]:
        s = self.shape
        streams, length, heads, dim = query.shape
        groups = s.key_value_heads
        unit = query_peak * np.float32(self._score_unit)
        if length == 1:
            out = np.empty((streams, heads, dim), np.float32)
            newest, units = np.ascontiguousarray(query[:, 0]), np.ascontiguousarray(unit[:, 0])
            _attend_step(newest, units, key, key_peak, value, value_peak, filled, s.window, self._exp, out)
            return out.reshape(streams, heads * dim)
        first = max(0, filled - length - s.window + 1)
        rows = query.transpose(0, 2, 1, 3).reshape(streams, groups, -1, dim)
        scores = rows @ key[:, :, :, first:filled].astype(np.float32)
        scores = scores.reshape(streams, groups, heads // groups, length, -1)
        unit = np.ascontiguousarray(unit.transpose(0, 2, 1)).reshape(streams, groups, -1, length)
        peak = np.empty((streams, groups, length), np.float32)
        _soften_chunk(scores, unit, key_peak, value_peak, first, filled - length, s.window, self._exp, peak)
        mixed = scores.reshape(streams, groups, -1, filled - first) @ value[:, :, first:filled].astype(np.float32)
        mixed = mixed.reshape(streams, groups, -1, length, dim) * (peak[:, :, None, :, None] * _VALUE_UNIT)
        return mixed.reshape(streams, heads, length, dim).transpose(0, 2, 1, 3).reshape(-1, heads * dim)

    def add(
        self, x: NDArray[np.float32], y: NDArray[np.float32], peak: NDArray[np.float32], linear: Linear
    ) -> NDArray[np.float32]:
        out = np.empty_like(x)
        _add(x, y, peak, linear.scale, _bias(linear), out)
        return out

    def gate(
        self, y: NDArray[np.float32], factor: NDArray[np.float32], linear: Linear
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        q, peak = np.empty((len(y), y.shape[1] // 2), np.float32), np.empty((len(y), 1), np.float32)
        _gate(y, factor, linear.scale, _bias(linear), self._sigmoid, q, peak)
        return q, peak

    def frequencies(self, y: NDArray[np.float32], factor: NDArray[np.float32], linear: Linear) -> NDArray[np.int64]:
        out = np.empty(y.shape, np.int64)
        _frequencies(y, factor, linear.scale, _bias(linear), self._exp, out)
        return out

    def intervals(
        self, y: NDArray[np.float32], factor: NDArray[np.float32], linear: Linear, tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        cumulative, frequency = np.empty(len(y), np.int64), np.empty(len(y), np.int64)
        _intervals(y, factor, linear.scale, _bias(linear), self._exp, tokens, cumulative, frequency)
        return cumulative, frequency
