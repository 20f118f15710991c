"""Sizes and units of version 2 of the memory, and the arrays of numbers that it begins with.

The same names stand in ``native/memory.h``; a test holds the two to each other. May import ``tables``; imported by the
rest of ``memory`` and by ``training``.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmzip.memory.tables import LIMIT, squash_table

CONTEXTS = 16
CORRECTED = 8
"""The first contexts, whose slots also correct the model, as the unigram's do."""
COUNTERS = CONTEXTS + 1
MATCH_LENGTHS = (4, 8, 16)
CANDIDATES = 1 + len(MATCH_LENGTHS)
INPUTS = 1 + COUNTERS + CANDIDATES + CORRECTED + 1 + 1
SETS = 8
"""Sets of weights that take part in a decision: two groups of four."""
COUNT_LIMIT = 30
COUNT_LEVELS = 32
LEVELS = 33
DEPTHS = 8
CONFIDENCES = 64
FINAL_SETS = 8
MAXIMUM_SLOT_BITS = 19
"""2^19 slots of 8 bytes in each of 16 contexts are 64 MiB."""

SEEN_ROW = 0
COSTS_ROW = SEEN_ROW + 2 * COUNTERS
TOP_ROW = COSTS_ROW + 64
BYTE_ROW = TOP_ROW + 16 * 128
CLASSES_ROW = BYTE_ROW + 256 * 4
FIELD_ROW = CLASSES_ROW + 256 * 4
ABOVE_ROW = FIELD_ROW + 32 * 8
NODE_ROW = ABOVE_ROW + 256 * 3
"""Where each set begins among the rows of weights; those of the nodes come last."""

WEIGHT_BITS, FINAL_BITS, PROBABILITY_BITS = 28, 20, 22
"""1 is 2^28 in weights, 2^20 in final weights and 2^22 in probabilities."""

WEIGHT_LIMIT = 6 << WEIGHT_BITS
"""Weights stay within this: a set's sum over all inputs then fits in 32 bits."""

UNIGRAM_COUNT = 2
"""How many observations the first probability of each node stands for."""


class Beginning(NamedTuple):
    """The arrays that do not start from nothing."""

    weights: NDArray[np.int32]  # [NODE_ROW + node rows, INPUTS]
    final_weights: NDArray[np.int32]  # [FINAL_SETS, 2]
    certainty: NDArray[np.uint32]  # [COUNTERS, COUNT_LEVELS, LEVELS]: what a counter's state is worth
    hit_rate: NDArray[np.uint32]  # [CANDIDATES, CONFIDENCES, DEPTHS]: how often candidates hold
    unigram: NDArray[np.uint64]  # [vocabulary]: slots by node


def slot_bits(token_count: int) -> int:
    """2 to this are the slots of each context, the followers and the heads of each match in a frame of that size."""
    return max(12, min(MAXIMUM_SLOT_BITS, (12 * token_count - 1).bit_length()))


def unigram_slots(probability: NDArray[np.int64]) -> NDArray[np.uint64]:
    """First slots of the nodes. probability: [vocabulary] of "right", of 2^22."""
    slots: NDArray[np.uint64] = probability.astype(np.uint64) << np.uint64(42)
    return slots | np.uint64(UNIGRAM_COUNT << 16)


def constant_beginning(vocabulary_size: int, node_rows: int, *, alone: bool) -> Beginning:
    """The first state where none was learnt."""
    weights = np.zeros((NODE_ROW + node_rows, INPUTS), np.int32)
    counters, candidates = slice(1, 1 + COUNTERS), slice(1 + COUNTERS, 1 + COUNTERS + CANDIDATES)
    if alone:
        weights[:, counters] = weights[:, candidates] = 10_240_000
    else:
        weights[:, 0] = 1 << (WEIGHT_BITS - 2)
        weights[:, counters], weights[:, candidates], weights[:, candidates.stop : -1] = (
            3_250_000,
            14_336_000,
            6_144_000,
        )
    count, level = np.arange(COUNT_LEVELS)[:, None], np.arange(LEVELS)[None, :]
    odds = ((level - 16) * 128 * (10 * count + 3)) // (10 * count + 15)
    certainty = (squash_table()[odds + LIMIT] >> 2).astype(np.uint32)
    confidence = np.arange(CONFIDENCES)[:, None]
    hits = (((1 << PROBABILITY_BITS) * (10 * confidence + 7)) // (10 * confidence + 12)).astype(np.uint32)
    return Beginning(
        weights,
        np.full((FINAL_SETS, 2), 1 << (FINAL_BITS - 1), np.int32),
        np.repeat(certainty[None], COUNTERS, 0),
        np.tile(hits[None], (CANDIDATES, 1, DEPTHS)),
        unigram_slots(np.full(vocabulary_size, 1 << (PROBABILITY_BITS - 1))),
    )
