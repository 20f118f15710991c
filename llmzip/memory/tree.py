"""The binary tree whose leaves are the tokens: coding a token is answering the question at each node on the way to it.

Knows nothing of probabilities. Imported by ``mixing``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

OWN_ROWS = 8192
"""At most so many rows have the tables by node, whatever the vocabulary."""

RANK_OFFSET = 50
"""Merges are numbered by frequency, so 1 / (number + 50) is a fair guess of how often a token comes."""


@dataclass(frozen=True)
class TokenTree:
    """Nodes are numbered from the root, 0, in depth-first order, left before right."""

    order: NDArray[np.int32]
    """[vocabulary]: the tokens as the leaves stand, from left to right."""
    middle: NDArray[np.int32]
    """[vocabulary - 1]: the first leaf of each node's right half."""
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    """[vocabulary - 1]: the node below on each side, or ~token for a leaf."""
    path_start: NDArray[np.int32]
    """[vocabulary + 1]: where each token's path begins in the three arrays below."""
    path_node: NDArray[np.int32]
    path_bit: NDArray[np.int8]
    """For each node on the way: its number, and whether the token is to its right."""
    path_range: NDArray[np.int32]
    """[:, 3]: first leaf, middle and end of the node."""

    @property
    def depth(self) -> int:
        """Decisions of the longest path."""
        return int(np.diff(self.path_start).max())

    @cached_property
    def levels(self) -> list[NDArray[np.int64]]:
        """The nodes of each level, from the root down."""
        levels, level = [], np.zeros(1, np.int64)
        while len(level):
            levels.append(level)
            below = np.stack((self.left[level], self.right[level]), 1).ravel()
            level = below[below >= 0].astype(np.int64)
        return levels

    @cached_property
    def below(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What is below each node on both sides: a node's number, or the token's, counted on from the last node."""
        count = len(self.left)
        left, right = (np.where(side >= 0, side, count + ~side).astype(np.int64) for side in (self.left, self.right))
        return left, right

    @property
    def node_rows(self) -> int:
        """How many rows tables by node have."""
        return min(len(self.left), OWN_ROWS)

    @cached_property
    def node_row(self) -> NDArray[np.int32]:
        """[vocabulary - 1]: each node's row in tables by node: its rank from the root down, each level from the left.

        Of a large vocabulary the deep nodes share rows.
        """
        rows, count = np.zeros(len(self.left), np.int32), 0
        for level in self.levels:
            rank = np.arange(count, count + len(level))
            rows[level] = np.where(rank < OWN_ROWS, rank, OWN_ROWS // 2 + rank % (OWN_ROWS // 2))
            count += len(level)
        return rows


def build_tree(token_bytes: Sequence[bytes]) -> TokenTree:
    """The tree of a vocabulary of at least two tokens, given what each stands for.

    Leaves stand in the order of their bytes, so that a node asks about the next characters of the text; each node is
    cut where that halves its weight best.
    """
    size = len(token_bytes)
    order = sorted(range(size), key=lambda token: (token_bytes[token], token))
    weight = np.array([(1 << 30) // (token + RANK_OFFSET) for token in order], np.int64)
    total = np.concatenate(([0], np.cumsum(weight)))
    middle, left, right = (np.zeros(size - 1, np.int32) for _ in range(3))
    paths: list[list[tuple[int, int, int, int, int]]] = [[] for _ in range(size)]
    waiting: list[tuple[int, int, list[tuple[int, int, int, int, int]]]] = [(0, size, [])]
    count = 0
    while waiting:
        first, end, path = waiting.pop()
        if end - first == 1:
            token = order[first]
            paths[token] = path
            number = ~token
        else:
            number, count = count, count + 1
            twice_half = total[first] + total[end]
            cut = min(int(np.searchsorted(2 * total[first + 1 : end], twice_half)) + first + 1, end - 1)
            if cut > first + 1 and twice_half - 2 * total[cut - 1] <= abs(2 * total[cut] - twice_half):
                cut -= 1
            middle[number] = cut
            waiting.append((cut, end, [*path, (number, 1, first, cut, end)]))
            waiting.append((first, cut, [*path, (number, 0, first, cut, end)]))
        if path:
            (right if path[-1][1] else left)[path[-1][0]] = number
    steps = np.array([step for path in paths for step in path], np.int32)
    starts = np.concatenate(([0], np.cumsum([len(path) for path in paths]))).astype(np.int32)
    return TokenTree(
        np.array(order, np.int32),
        middle,
        left,
        right,
        starts,
        np.ascontiguousarray(steps[:, 0]),
        steps[:, 1].astype(np.int8),
        np.ascontiguousarray(steps[:, 2:]),
    )
