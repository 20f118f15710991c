"""Floating-point logits to integer tables. May import ``errors``; ``hub`` imports it.

Every figure follows from the logits by a fixed sequence of operations on one machine; whether another machine gets the
same logits is what the numerics digest of ``hub`` is about.
"""

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelError

TOTAL = 1 << 24
ESCAPES = 256
ESCAPE_SHARE = 64  # of 2^24, for each byte: one token in 1,024 is expected to be one
WEIGHT_SCALE = float(1 << 36)


def _share_out(table: NDArray[np.int64], size: int, total: int) -> None:
    """Weights to integers >= 1 with sum ``total``; what rounding leaves goes to the first of the largest."""
    shares = table[:, :size]
    largest = shares.argmax(1)
    # One multiplication, which rounds everywhere alike: less than one unit too much in all, so none is missing.
    scale = (total - size) / shares.sum(1)
    np.multiply(shares, scale[:, None], out=shares, casting="unsafe")
    shares += 1
    shares[np.arange(len(shares)), largest] += total - shares.sum(1)


def _weighed(logits: NDArray[np.float32], size: int, columns: int) -> NDArray[np.int64]:
    """Weights of the softmax, 2^36 for the largest; ModelError where a logit is not a number."""
    table = np.full((len(logits), columns), ESCAPE_SHARE, np.int64)
    shifted = logits[:, :size].astype(np.float64)
    largest = shifted.max(1, keepdims=True)  # not a number where any logit is none
    if not np.isfinite(largest).all():
        raise ModelError("the model gives what is not a number: try --dtype float32, or take the folder again")
    shifted -= largest
    np.exp(shifted, out=shifted)
    np.multiply(shifted, WEIGHT_SCALE, out=table[:, :size], casting="unsafe")
    return table


def frequencies(logits: NDArray[np.float32], size: int, *, escapes: bool) -> NDArray[np.int64]:
    """[n, size], and 256 more with ``escapes``: the softmax of the first ``size`` logits in units of 2^-24.

    Every entry is at least 1. ModelError where a logit is not a number.
    """
    table = _weighed(logits, size, size + ESCAPES * escapes)
    _share_out(table, size, TOTAL - ESCAPES * ESCAPE_SHARE * escapes)
    return table


def weights(logits: NDArray[np.float32], size: int, *, escapes: bool) -> NDArray[np.int64]:
    """The same as weights >= 0 of up to 2^36, for which 2^-24 is not the least."""
    table = _weighed(logits, size, size + ESCAPES * escapes)
    if escapes:
        table[:, size:] = table[:, :size].sum(1, keepdims=True) // TOTAL * ESCAPE_SHARE
    return table
