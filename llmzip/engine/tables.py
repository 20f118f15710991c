"""Tables of exp, sigmoid and rotary sines and cosines, the same bits on every machine. Imports nothing of ours.

The C library's exp and sin differ between platforms in the last bit. Python's ``decimal`` is correctly rounded
by its specification, so the tables are computed with it once a process (about 15 ms) instead of being shipped.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

STEPS_PER_NAT = 64
"""Resolution of a logit or attention score: 1/64 nat costs about 10^-5 nats a token."""

EXP_SCALE_BITS = 24
EXP_LENGTH = 1112
"""exp(-i/64) * 2^24 rounds to 0 from i = 1109 on; the last entries are 0."""

SIGMOID_LIMIT = 1024
"""The sigmoid table spans -16 to 16 in steps of 1/64."""

POSITION_DIGIT_BITS = 12
MAXIMUM_POSITION = 1 << (2 * POSITION_DIGIT_BITS)
"""Positions are written in two digits of 12 bits; a stream is never longer than this."""

_DECIMAL = Context(prec=24, rounding=ROUND_HALF_EVEN)


def decimal_context() -> Context:
    """Of all tables: 24 digits, round half to even."""
    return _DECIMAL.copy()


PI = Decimal("3.14159265358979323846264338327950288")


@cache
def _exponentials() -> list[Decimal]:
    """exp(-i / 64) for i from 0 to 1111."""
    with localcontext(_DECIMAL):
        return [(Decimal(-i) / STEPS_PER_NAT).exp() for i in range(EXP_LENGTH)]


@cache
def exp_table() -> NDArray[np.float32]:
    """[1112] float32 integers: round(2^24 * exp(-i / 64))."""
    with localcontext(_DECIMAL):
        scale = Decimal(1 << EXP_SCALE_BITS)
        values = [int((scale * exponential).to_integral_value()) for exponential in _exponentials()]
    return np.array(values, np.float32)


@cache
def sigmoid_table() -> NDArray[np.float32]:
    """[2049] float32: 1 / (1 + exp(-x)) at x = (i - 1024) / 64."""
    with localcontext(_DECIMAL):
        positive = [1 / (1 + exponential) for exponential in _exponentials()[: SIGMOID_LIMIT + 1]]
        values = [float(1 - value) for value in positive[:0:-1]] + [float(value) for value in positive]
    return np.array(values, np.float64).astype(np.float32)


STEPS_PER_OCTAVE = 64
"""Resolution of logits and attention scores in version 2: 1/64 of a factor of two."""


@cache
def octave_table(scale_bits: int) -> NDArray[np.int64]:
    """[64]: round(2^scale_bits * 2^(-j / 64)); entry i mod 64, shifted right by i // 64, is 2^(scale_bits - i / 64)."""
    with localcontext(_DECIMAL):
        scale, two = Decimal(1 << scale_bits), Decimal(2).ln()
        steps = [(scale * (two * Decimal(-j) / STEPS_PER_OCTAVE).exp()) for j in range(STEPS_PER_OCTAVE)]
        return np.array([int(step.to_integral_value()) for step in steps], np.int64)


def _tanh(x: Decimal) -> Decimal:
    squared = (2 * x).exp()
    return (squared - 1) / (squared + 1)


@cache
def gelu_table() -> NDArray[np.float32]:
    """[2049] float32: (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2 at x = (i - 1024) / 64.

    x times this is the "tanh" approximation of GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415).
    """
    with localcontext(_DECIMAL):
        root = (2 / PI).sqrt()
        values = []
        for i in range(-SIGMOID_LIMIT, SIGMOID_LIMIT + 1):
            x = Decimal(i) / STEPS_PER_NAT
            twice = 2 * root * (x + Decimal("0.044715") * x * x * x)
            # 1 / (1 + exp(-2y)) is (1 + tanh y) / 2 without cancellation.
            values.append(float(1 / (1 + (-twice).exp())))
    return np.array(values, np.float64).astype(np.float32)


CAP_STEPS = 64
CAP_LIMIT = 16
"""Soft caps: tanh is 1 in float32 long before."""


@cache
def cap_table() -> NDArray[np.float32]:
    """[1026] float32: tanh(u) / u at u = i / 64, 1 at 0; the last entry is only there to be interpolated to."""
    with localcontext(_DECIMAL):
        points = [Decimal(i) / CAP_STEPS for i in range(1, CAP_LIMIT * CAP_STEPS + 2)]
        values = [1.0, *(float(_tanh(u) / u) for u in points)]
    return np.array(values, np.float64).astype(np.float32)


def _sine_and_cosine(angle: Decimal) -> tuple[Decimal, Decimal]:
    """Taylor series; angles here are at most 1 radian, since theta is at least 1."""
    sine, cosine, term, n = Decimal(0), Decimal(0), Decimal(1), 0
    while abs(term) > Decimal("1e-30"):
        if n % 2:
            sine += term if n % 4 == 1 else -term
        else:
            cosine += term if n % 4 == 0 else -term
        n += 1
        term = term * angle / n
    return sine, cosine


def _rotate(
    a: tuple[NDArray[np.float64], NDArray[np.float64]], b: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sine and cosine of the sum of two angles, one operation at a time."""
    (sine_a, cosine_a), (sine_b, cosine_b) = a, b
    return sine_a * cosine_b + cosine_a * sine_b, cosine_a * cosine_b - sine_a * sine_b


def plain_frequencies(dim: int, theta: float) -> tuple[Decimal, ...]:
    """theta^(-2i/dim) for i from 0 to dim/2 - 1: radians a position."""
    with localcontext(_DECIMAL):
        logarithm = Decimal(theta).ln()
        return tuple((logarithm * Decimal(-2 * i) / dim).exp() for i in range(dim // 2))


class Rotary:
    """Sines and cosines of position * frequency, for positions below 2^24.

    frequencies: theta^(-2i/dim) if left out; each at most 1 radian a position.
    """

    def __init__(self, dim: int, theta: float, frequencies: tuple[Decimal, ...] | None = None) -> None:
        with localcontext(_DECIMAL):
            base = [_sine_and_cosine(frequency) for frequency in frequencies or plain_frequencies(dim, theta)]
        half = len(base)
        one = tuple(np.array([float(pair[k]) for pair in base]).reshape(1, half) for k in (0, 1))
        self._low = self._multiples((one[0], one[1]))
        step = _rotate((self._low[0][-1:], self._low[1][-1:]), (one[0], one[1]))
        self._high = self._multiples(step)

    def digits(self) -> tuple[NDArray[np.float64], ...]:
        """Sines and cosines of the low digit, then of the high one, each [4096, dim / 2]: ``at`` adds their angles."""
        return (*self._low, *self._high)

    def doublings(self) -> NDArray[np.float64]:
        """[24, 2, dim / 2]: sines, then cosines of 1, 2, 4, ... positions, from which ``at`` comes by addition."""
        places = [1 << bit for bit in range(POSITION_DIGIT_BITS)]
        digits = [np.stack(table, 1)[places] for table in (self._low, self._high)]
        return np.concatenate(digits)

    @staticmethod
    def _multiples(
        step: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows 0 .. 4095 times the step's angle, by doubling."""
        sine, cosine = np.zeros_like(step[0]), np.ones_like(step[0])
        for _ in range(POSITION_DIGIT_BITS):
            shifted = _rotate((sine, cosine), step)
            sine, cosine = np.concatenate((sine, shifted[0])), np.concatenate((cosine, shifted[1]))
            step = _rotate(step, step)
        return sine, cosine

    def at(self, first: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(cosine, sine), each [count, dim / 2] float32, for ``count`` positions from ``first``."""
        return self.at_positions(np.arange(first, first + count))

    def at_positions(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(cosine, sine), each [n, dim / 2] float32, at n positions below 2^24."""
        high, low = positions >> POSITION_DIGIT_BITS, positions & ((1 << POSITION_DIGIT_BITS) - 1)
        sine, cosine = _rotate((self._high[0][high], self._high[1][high]), (self._low[0][low], self._low[1][low]))
        return cosine.astype(np.float32), sine.astype(np.float32)
