"""How likely a model is to write out a text of itself: (n, p) extraction and exposure. Bits in, figures out.

Imported by ``memory``.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmzip.probes.rows import TokenRows

Array = NDArray[np.float64]

PREFIX_TOKENS = SUFFIX_TOKENS = 50
"""Of a window, as in the studies of books: sums over suffixes of other lengths do not compare."""

STRIDE_TOKENS = 10

TOP = 40
"""Tokens that sampling from the likeliest chooses among."""


@dataclass(frozen=True)
class Windows:
    """Bits of each suffix after its prefix, [n]."""

    first_byte: NDArray[np.int64]
    """Of each suffix."""
    bits: Array
    """At temperature 1."""
    top_bits: Array
    """Where only the TOP likeliest are sampled; infinite where a token is not among them."""


def windows(rows: TokenRows) -> Windows:
    """The suffixes of all windows; rows need TOP likeliest tokens. None where the text is shorter than a window.

    Each token is scored after all of the text that stands before it, which is the prefix and what precedes that.
    """
    mass = (2.0 ** -rows.likeliest_bits[:, :TOP]).sum(1)
    top = np.where(rows.rank < TOP, np.maximum(rows.bits + np.log2(mass), 0.0), np.inf)
    starts = np.arange(PREFIX_TOKENS, len(rows.bits) - SUFFIX_TOKENS + 1, STRIDE_TOKENS)
    inside = starts[:, None] + np.arange(SUFFIX_TOKENS)
    return Windows(rows.byte_ends[starts - 1], rows.bits[inside].sum(1), top[inside].sum(1))


def tries(bits: float, chance: float = 0.5) -> float:
    """n of (n, p): samples after which the text has come up with this chance, ceil(ln(1 - p) / ln(1 - 2^-bits)).

    Hayes and others, arXiv 2410.19482. With log1p, since 2^-bits may be far below the last digit of 1.
    """
    if not 0 < chance < 1:
        raise ValueError(f"a chance of {chance} is none")
    if bits <= 0:
        return 1.0
    if bits > 1000:
        return math.inf
    return float(math.ceil(math.log1p(-chance) / math.log1p(-(2.0**-bits))))


def exposure(secret_bits: float, other_bits: Array) -> float:
    """log2 of the number of candidates less log2 of the secret's rank among them (Carlini and others 2019).

    The candidates are the secret and the others; equals share their places. At most log2 of their number, which is
    all that so many can show.
    """
    cheaper = float((other_bits < secret_bits).sum() + (other_bits == secret_bits).sum() / 2)
    return math.log2(len(other_bits) + 1) - math.log2(1 + cheaper)
