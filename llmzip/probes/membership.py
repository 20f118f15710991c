"""Scores of how well a model knows a text that it has been shown, and membership beside a blind baseline.

Higher is more memorised. The blind baselines look at the texts alone: what they tell apart, such as dates and topics,
is no sign of membership. Imported by ``memory``.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from llmzip.probes.record import Cell, Figure, Table, figure
from llmzip.probes.rows import TokenRows
from llmzip.probes.statistics import Interval, auc, auc_interval, true_positive_rate

Array = NDArray[np.float64]

LOWEST_SHARE = 0.2
"""k of Min-K% and Min-K%++."""

SMALLEST_DEVIATION = 1e-3
"""In bits: where the model is certain, sigma is 0 and nothing may be divided by it."""


def min_k(bits: Array, share: float = LOWEST_SHARE) -> float:
    """Mean log2 p of the share of tokens that cost most (Shi and others 2023). One token at least, however few."""
    return _mean_of_lowest(-bits, share)


def min_k_plus_plus(bits: Array, entropy: Array, variance: Array, share: float = LOWEST_SHARE) -> float:
    """The same of (log2 p - mu) / sigma, mu = -entropy (Zhang and others 2024)."""
    return _mean_of_lowest((entropy - bits) / np.maximum(np.sqrt(variance), SMALLEST_DEVIATION), share)


def _mean_of_lowest(values: Array, share: float) -> float:
    count = max(1, int(share * len(values)))  # the floor alone is 0 for fewer than 1 / share tokens
    return float(np.sort(values)[:count].mean())


def zlib_ratio(data: bytes, bits: Array) -> float:
    """zlib's bytes over the logarithm of the perplexity in nats a token (Carlini and others 2021)."""
    return len(zlib.compress(data)) / max(float(bits.mean()) * math.log(2), 1e-9)


def scores(data: bytes, rows: TokenRows) -> dict[str, float]:
    """Of one text, by name."""
    return {
        "loss": -float(rows.bits.sum()) / len(data),
        "zlib ratio": zlib_ratio(data, rows.bits),
        "Min-20%": min_k(rows.bits),
        "Min-20%++": min_k_plus_plus(rows.bits, rows.entropy, rows.variance),
    }


def blind_zlib(data: bytes) -> float:
    """How well a text compresses without any model."""
    return -len(zlib.compress(data, 9)) / len(data)


def blind_words(members: Sequence[bytes], others: Sequence[bytes]) -> tuple[Array, Array]:
    """Scores of naive Bayes over words and numbers, each text by the rest: log-odds a word that it is a member.

    A text is taken out of the counts before it is scored, and words are what stands in two texts at least.
    """
    bags = [Counter(re.findall(rb"\w+", text.lower())) for text in (*members, *others)]
    known = {word for word, count in Counter(word for bag in bags for word in bag).items() if count > 1}
    bags = [Counter({word: count for word, count in bag.items() if word in known}) for bag in bags]
    sides = [Counter[bytes](), Counter[bytes]()]
    for index, bag in enumerate(bags):
        sides[index >= len(members)].update(bag)
    totals = [sum(side.values()) for side in sides]
    found = []
    for index, bag in enumerate(bags):
        own, size = int(index >= len(members)), sum(bag.values())
        odds = 0.0
        for word, count in bag.items():
            shares = [
                (sides[side][word] - count * (side == own) + 0.5)
                / (totals[side] - size * (side == own) + 0.5 * len(known))
                for side in (0, 1)
            ]
            odds += count * math.log(shares[0] / shares[1])
        found.append(odds / max(size, 1))
    return np.array(found[: len(members)]), np.array(found[len(members) :])


def membership(
    members: Sequence[bytes], others: Sequence[bytes], score: Callable[[bytes], dict[str, float]], *, seed: int
) -> tuple[list[Figure], Table]:
    """AUC of each score, the best blind AUC, and the excess, which alone may be called membership."""
    inside, outside = [score(text) for text in members], [score(text) for text in others]
    blind = {
        "blind: zlib alone": (np.array([*map(blind_zlib, members)]), np.array([*map(blind_zlib, others)])),
        "blind: words alone": blind_words(members, others),
    }
    # A blind classifier may look the other way: what it tells apart is what counts.
    blindest = max(max(auc(*pair), 1 - auc(*pair)) for pair in blind.values())
    named = {name: (np.array([s[name] for s in inside]), np.array([s[name] for s in outside])) for name in inside[0]}
    rows: list[tuple[Cell, ...]] = []
    figures: list[Figure] = []
    for name, (first, second) in {**named, **blind}.items():
        area = auc_interval(first, second, seed=seed)
        rates = [true_positive_rate(first, second, rate) for rate in (0.01, 0.05)]
        rows.append((name, *area, *rates))
        if name in named:
            excess = Interval(*(end - blindest for end in area))
            figures.append(figure(f"AUC of {name} beyond the blind baseline", excess, headline=name == "Min-20%++"))
    figures.append(figure("best blind AUC", blindest, note="what the texts give away without the model", headline=True))
    columns = ("score", "AUC", "low", "high", "TPR at 1 % FPR", "TPR at 5 % FPR")
    return figures, Table(f"Membership, {len(members)} members and {len(others)} others", columns, tuple(rows))
