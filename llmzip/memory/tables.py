"""Tables of logistic arithmetic in integers, the same on every machine. Imports nothing of ours.

Log-odds are counted in 1/256 nat, from -17 to 17 nats. Computed with ``decimal``, which is correctly rounded.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

UNITS_PER_NAT = 256
LIMIT = 17 * UNITS_PER_NAT
"""The largest log-odds: about those of 2^24 to 1."""

LOGARITHM_UNITS_PER_NAT = 1024
_DECIMAL = Context(prec=28, rounding=ROUND_HALF_EVEN)


def _powers(exponent: Decimal, count: int) -> list[Decimal]:
    """exp(exponent * i) for i from 0 to ``count`` - 1."""
    factor, powers = exponent.exp(), [Decimal(1)]
    while len(powers) < count:
        powers.append(powers[-1] * factor)
    return powers


@cache
def squash_table() -> NDArray[np.int64]:
    """[2 LIMIT + 1]: 2^24 / (1 + exp(-x / 256)) at x = i - LIMIT, from 1 to 2^24 - 1."""
    with localcontext(_DECIMAL):
        powers = _powers(Decimal(-1) / UNITS_PER_NAT, LIMIT + 1)
        upper = [int(((1 << 24) / (1 + power)).to_integral_value()) for power in powers]
    values = [(1 << 24) - value for value in upper[:0:-1]] + upper
    return np.clip(np.array(values, np.int64), 1, (1 << 24) - 1)


@cache
def stretch_table() -> NDArray[np.int64]:
    """[4096]: the smallest log-odds whose squashed value reaches (2 i + 1) / 8192."""
    places = (2 * np.arange(4096, dtype=np.int64) + 1) << 11
    return np.searchsorted(squash_table(), places).astype(np.int64) - LIMIT


@cache
def logarithm_table() -> NDArray[np.int64]:
    """[2048]: 1024 ln(1 + (2 i + 1) / 4096), rounded up."""
    with localcontext(_DECIMAL):
        steps = [int(power * (1 << 40)) for power in _powers(Decimal(1) / LOGARITHM_UNITS_PER_NAT, 712)]
    values = ((4096 + 2 * np.arange(2048, dtype=np.int64) + 1) << 40) >> 12
    return np.searchsorted(np.array(steps, np.int64), values).astype(np.int64)


@cache
def cost_table() -> NDArray[np.int64]:
    """[4096]: what an answer of probability (2 i + 1) / 8192 costs, in 1/256 bit, to the nearest."""
    with localcontext(_DECIMAL):
        half_unit = Decimal(2).ln() / 512
        steps = [int(power * (1 << 40)) for power in _powers(half_unit, 2 * 3329)[1::2]]
    values = (8192 << 40) // (2 * np.arange(4096, dtype=np.int64) + 1)
    return np.searchsorted(np.array(steps, np.int64), values, side="right").astype(np.int64)


def log_odds(right: NDArray[np.int64], left: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n]: log-odds of "right" in 1/256 nat, from the frequencies on both sides of each node, from 1 to 2^24."""
    return (_logarithm(right) - _logarithm(left)) >> 2


def _logarithm(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """1024 ln(value), rounded."""
    mantissa, exponent = np.frexp(values.astype(np.float64))  # exact
    bits = ((mantissa * 2 - 1) * 2048).astype(np.int64)
    logarithm: NDArray[np.int64] = exponent.astype(np.int64) * 709783 // 1000 + logarithm_table()[bits]
    return logarithm
