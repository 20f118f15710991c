"""Statistics of the probes: intervals, tests and curves, each with the source of its formula. numpy and no model.

Every function that draws takes a seed and is the same on every machine. Imports nothing of ours; ``probes`` imports it.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
"""Two-sided 95 % of a normal distribution; all intervals of the probes are of 95 %."""

Array = NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, trials: int) -> Interval:
    """A share with its score interval (Wilson 1927). Raises ValueError without trials.

    Centre (p + z^2/2n) / (1 + z^2/n), half-width z / (1 + z^2/n) * sqrt(p (1 - p) / n + z^2 / 4 n^2).
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} of {trials} is no share")
    share, weight = successes / trials, Z95**2 / trials
    centre = (share + weight / 2) / (1 + weight)
    half = Z95 / (1 + weight) * math.sqrt(share * (1 - share) / trials + weight / (4 * trials))
    return Interval(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p of two scores on the same pairs, of which so many are right under one alone (McNemar 1947).

    Under the null hypothesis each discordant pair is a fair coin. 1 where there are none.
    """
    trials, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(trials, count) for count in range(fewer + 1))
    return min(1.0, float(2 * tail / (1 << trials)))


def ranks(values: Array) -> Array:
    """[n]: 1 for the smallest; equals share the mean of their places."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def rank_correlation(first: Array, second: Array) -> float:
    """Spearman's rho: the correlation of ranks. NaN where one of them is constant or there are under three."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


def auc(members: Array, others: Array) -> float:
    """The chance that a member has the higher score, equals counted half (Mann and Whitney 1947)."""
    places = ranks(np.concatenate((members, others)))[: len(members)]
    above = places.sum() - len(members) * (len(members) + 1) / 2
    return float(above / (len(members) * len(others)))


def true_positive_rate(members: Array, others: Array, false_positive_rate: float) -> float:
    """The share of members above the lowest threshold that at most this share of the others is above."""
    allowed = int(false_positive_rate * len(others) + 1e-9)
    threshold = np.sort(others)[::-1][allowed] if allowed < len(others) else -math.inf
    return float((members > threshold).mean())


def auc_interval(members: Array, others: Array, *, draws: int = 1000, seed: int = 0) -> Interval:
    """``auc`` with the interval of a bootstrap that draws members and others apart."""
    rng = np.random.default_rng(seed)
    found = [auc(rng.choice(members, len(members)), rng.choice(others, len(others))) for _ in range(draws)]
    return _percentiles(auc(members, others), np.array(found))


def ratio_interval(parts: Array, wholes: Array, *, draws: int = 1000, seed: int = 0) -> Interval:
    """sum(parts) / sum(wholes) with the interval of a bootstrap over pairs: totals over totals, never a mean of ratios.

    With differences as parts this is the paired bootstrap. Pairs are to be independent: chunks of a text, not tokens.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(parts), (draws, len(parts)))
    return _percentiles(float(parts.sum() / wholes.sum()), parts[chosen].sum(1) / wholes[chosen].sum(1))


def _percentiles(value: float, drawn: Array) -> Interval:
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, (2.5, 97.5)) if len(drawn) else (math.nan, math.nan)
    return Interval(value, float(low), float(high))


def chunk_sums(values: Array, size: int) -> Array:
    """Sums of ``size`` values in a row; the last has what is left. Neighbouring tokens depend on each other, so these
    are what a bootstrap draws (Künsch 1989)."""
    return np.add.reduceat(values, np.arange(0, len(values), size)) if len(values) else np.zeros(0)


@dataclass(frozen=True)
class Bin:
    """Some predictions of about one confidence."""

    count: int
    confidence: float
    """Their mean."""
    accuracy: Interval
    """The share that was right, with Wilson's interval."""


def reliability(confidence: Array, hit: NDArray[np.bool_], bins: int = 15) -> list[Bin]:
    """Bins of equal mass, the least confident first (Nguyen and O'Connor 2015). Fewer where there are fewer values."""
    order = np.argsort(confidence, kind="stable")
    return [
        Bin(len(part), float(confidence[part].mean()), wilson(int(hit[part].sum()), len(part)))
        for part in np.array_split(order, min(bins, len(order)))
    ]


def expected_calibration_error(bins: list[Bin]) -> float:
    """Sum of n_b / n |accuracy - confidence| (Naeini and others 2015). Biased upwards: never 0 by chance."""
    total = sum(part.count for part in bins)
    return sum(part.count / total * abs(part.accuracy.value - part.confidence) for part in bins)


def binary_entropy(share: float) -> float:
    """Bits of a coin with this share of heads."""
    return -sum(p * math.log2(p) for p in (share, 1 - share) if p > 0)
