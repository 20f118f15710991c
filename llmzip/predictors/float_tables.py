"""Floating-point logits to integer tables. Compiled; imports numba: import late. Imports nothing of ours but
``predictor`` and ``errors``.

Every figure follows from the logits by a fixed sequence of operations on one machine; whether another machine gets the
same logits is what the numerics digest of ``hub`` is about.
"""

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelError

# numba's cache on disk knows when this file changes but not when another does: constants stand here.
TOTAL = 1 << 24
ESCAPES = 256
ESCAPE_SHARE = 64  # of 2^24, for each byte: one token in 1,024 is expected to be one
WEIGHT_SCALE = float(1 << 36)


def _kernel(function: Any) -> Any:
    """Compiles on first use and keeps the machine code on disk where a folder for it can be written."""
    try:
        return numba.njit(function, nogil=True, cache=True, error_model="numpy")
    except RuntimeError:  # no folder for the cache: compile anew in every process
        return numba.njit(function, nogil=True, error_model="numpy")


@_kernel
def _weigh(logits, size, table):  # type: ignore[no-untyped-def]
    """Weights of the softmax, 2^36 for the largest; False where a logit is not a number."""
    for row in range(logits.shape[0]):
        largest = -np.inf
        for i in range(size):
            value = logits[row, i]
            if value != value:
                return False
            largest = max(largest, value)
        if not -np.inf < largest < np.inf:
            return False
        for i in range(size):
            table[row, i] = np.int64(math.exp(float(logits[row, i]) - float(largest)) * WEIGHT_SCALE)
    return True


@_kernel
def _share_out(table, size, total):  # type: ignore[no-untyped-def]
    """Weights to integers >= 1 with sum ``total``; what rounding leaves goes to the first of the largest."""
    for row in range(table.shape[0]):
        weights, place = np.int64(0), 0
        for i in range(size):
            weights += table[row, i]
            if table[row, i] > table[row, place]:
                place = i
        free, rest = np.int64(total - size), np.int64(total)
        for i in range(size):
            table[row, i] = table[row, i] * free // weights + 1
            rest -= table[row, i]
        table[row, place] += rest


def _weighed(logits: NDArray[np.float32], size: int, columns: int) -> NDArray[np.int64]:
    table = np.full((len(logits), columns), ESCAPE_SHARE, np.int64)
    if not _weigh(logits, size, table):
        raise ModelError("the model gives what is not a number: try --dtype float32, or take the folder again")
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
