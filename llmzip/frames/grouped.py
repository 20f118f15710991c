"""Two symbols a token for large vocabularies: the token's group, then its place in the group.

With one symbol a token, each of V tokens has at least 2^-24, so V / 2^24 of every distribution is given away: 0.013
bits a token at 151,936, a seventh of what text costs that a model foresees. With two, it is the square root of V.
Integers throughout. May import ``coder``, ``predictor`` and ``errors``; ``tokens`` and ``choice`` beside it import it.
"""

import numpy as np
from numpy.typing import NDArray

from llmzip.coder import Decoder
from llmzip.errors import ArchiveError
from llmzip.predictor import FREQUENCY_TOTAL

LARGEST_FLAT_VOCABULARY = 1 << 14
"""Larger ones are coded in two symbols, where the predictor gives weights that are finer than 2^-24."""

_PRODUCT_BITS = 38
"""Of weights when they are multiplied by up to 2^24, so that nothing exceeds 2^62."""


def group_size(vocabulary_size: int) -> int:
    """Tokens of a group: the power of two that is nearest to the root from above."""
    return 1 << (vocabulary_size.bit_length() + 1) // 2


def _frequencies(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n, k] >= 1 with sum 2^24, in proportion to weights >= 0; what rounding leaves goes to the first of the largest.

    Where all weights of a row are 0, all its tokens are alike.
    """
    sums = weights.sum(1)
    excess = np.maximum(np.frexp(sums.astype(np.float64))[1] - _PRODUCT_BITS, 0)
    weights = weights >> excess[:, None]
    sums = weights.sum(1)
    weights = np.where(sums[:, None] > 0, weights, 1)
    free = FREQUENCY_TOTAL - weights.shape[1]
    frequencies: NDArray[np.int64] = weights * free // weights.sum(1)[:, None] + 1
    rows = np.arange(len(weights))
    frequencies[rows, weights.argmax(1)] += FREQUENCY_TOTAL - frequencies.sum(1)
    return frequencies


def _grouped(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n, groups, size]: the weights by group; the last is filled up with 0."""
    size = group_size(weights.shape[1])
    groups = -(-weights.shape[1] // size)
    padded = np.zeros((len(weights), groups * size), np.int64)
    padded[:, : weights.shape[1]] = weights
    return padded.reshape(len(weights), groups, size)


def intervals(weights: NDArray[np.int64], tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(cumulative, frequency) of each token's group and of its place in it, both [n, 2].

    weights: [n, vocabulary] int64 >= 0, with sums below 2^62.
    """
    by_group, rows = _grouped(weights), np.arange(len(tokens))
    group, place = np.divmod(tokens, by_group.shape[2])
    tables = (_frequencies(by_group.sum(2)), group), (_frequencies(by_group[rows, group]), place)
    own = np.stack([table[rows, symbol] for table, symbol in tables], 1)
    upto = np.stack([np.cumsum(table, 1)[rows, symbol] for table, symbol in tables], 1)
    return upto - own, own


def decode(decoder: Decoder, weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n]: the token of each row. Raises ArchiveError."""
    by_group = _grouped(weights)
    group_tables, tokens = _frequencies(by_group.sum(2)), np.empty(len(weights), np.int64)
    for row in range(len(weights)):
        group = int(decoder.decode(group_tables[row : row + 1])[0])
        place = int(decoder.decode(_frequencies(by_group[row, group][None]))[0])
        tokens[row] = group * by_group.shape[2] + place
    if tokens.max(initial=0) >= weights.shape[1]:
        raise ArchiveError("the payload names a token that does not exist: the archive is damaged")
    return tokens
