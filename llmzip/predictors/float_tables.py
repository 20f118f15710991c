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
def _fill(logits, size, total, table):  # type: ignore[no-untyped-def]
    """Integers >= 1 with sum ``total`` in the first ``size`` columns of each row; False where a logit is not finite."""
    for row in range(logits.shape[0]):
        largest, place = -np.inf, 0
        for i in range(size):
            value = logits[row, i]
            if value > largest:
                largest, place = value, i
            if value != value:
                return False
        if not -np.inf < largest < np.inf:
            return False
        weights = np.int64(0)
        for i in range(size):
            weight = np.int64(math.exp(float(logits[row, i]) - float(largest)) * WEIGHT_SCALE)
            table[row, i] = weight
            weights += weight
        free = total - size
        rest = np.int64(total)
        for i in range(size):
            frequency = table[row, i] * free // weights + 1
            table[row, i] = frequency
            rest -= frequency
        table[row, place] += rest
    return True


def frequencies(logits: NDArray[np.float32], size: int, *, escapes: bool) -> NDArray[np.int64]:
    """[n, size], and 256 more with ``escapes``: the softmax of the first ``size`` logits in units of 2^-24.

    Every entry is at least 1. What rounding leaves goes to the largest, the first of them where there are several.
    ModelError where a logit is not a number.
    """
    table = np.full((len(logits), size + ESCAPES * escapes), ESCAPE_SHARE, np.int64)
    if not _fill(logits, size, TOTAL - ESCAPES * ESCAPE_SHARE * escapes, table):
        raise ModelError("the model gives what is not a number: try --dtype float32, or take the folder again")
    return table
