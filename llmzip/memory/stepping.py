"""The loops over a frame's tokens for the definitions in Python: as ``memory_intervals`` and ``memory_read`` in C.

Imported by ``mixing``. May import ``tables``, ``tree`` and ``predictor``.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmzip.memory.tables import log_odds
from llmzip.memory.tree import TokenTree
from llmzip.predictor import FREQUENCY_TOTAL, PRECISION_BITS


class Network(Protocol):
    """The definition of a version, one decision after another."""

    node: int
    depth: int

    def open(self, stream: int, position: int) -> None:
        """A token begins."""
        ...

    def predict(self, odds: int) -> int:
        """The probability of "right" at the node, of 2^24. odds: the model's, in 1/256 nat."""
        ...

    def learn(self, right: int) -> int:
        """Takes the answer, 0 or 1; the next node, or ~token."""
        ...

    def close(self, token: int) -> None:
        """A token ends."""
        ...


class Stepwise:
    """A definition in Python, run over tokens. Same calls as ``native.Native``."""

    def __init__(self, network: Network, tree: TokenTree, token_count: int, streams: int) -> None:
        self.network, self._tree, self._streams = network, tree, streams
        self._shortest, self._longer = divmod(token_count, streams)

    def intervals(
        self, tokens: NDArray[np.int64], first: int, odds: NDArray[np.int16] | None, limit: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(cumulative, frequency) of the decisions of tokens [streams, n], at most ``limit``; first: their position."""
        network, tree, found, count = self.network, self._tree, np.empty((2, limit), np.int64), 0
        for column in range(tokens.shape[1]):
            for stream in self._active(first + column):
                token = int(tokens[stream, column])
                network.open(stream, first + column)
                for step in range(tree.path_start[token], tree.path_start[token + 1]):
                    own = 0 if odds is None else int(odds[stream, column, network.depth])
                    share, right = network.predict(own), int(tree.path_bit[step])
                    found[:, count] = (FREQUENCY_TOTAL - share, share) if right else (0, FREQUENCY_TOTAL - share)
                    count += 1
                    network.learn(right)
                network.close(token)
        return found[0, :count], found[1, :count]

    def read(
        self,
        tokens: NDArray[np.int64],
        first: int,
        frequencies: NDArray[np.int64] | None,
        words: NDArray[np.uint32],
        coder: NDArray[np.uint64],
    ) -> bool:
        """Fills in tokens [streams, n]; False where the payload is damaged. frequencies: [streams, vocabulary]."""
        tree, state = self._tree, coder.tolist()
        for column in range(tokens.shape[1]):
            for stream in self._active(first + column):
                sums = None
                if frequencies is not None:
                    sums = np.concatenate(([0], np.cumsum(frequencies[stream, tree.order])))
                tokens[stream, column] = self._read_token(stream, first + column, sums, words, state)
                if tokens[stream, column] < 0:
                    return False
        coder[:] = state
        return True

    def _active(self, position: int) -> range:
        return range(self._streams if position < self._shortest else self._longer)

    def _read_token(
        self, stream: int, position: int, sums: NDArray[np.int64] | None, words: NDArray[np.uint32], state: list[int]
    ) -> int:
        """The next token of a stream, -1 where there is none. sums: [vocabulary + 1], before each leaf of the tree."""
        network, tree = self.network, self._tree
        first, end, odds, node = 0, tree.order.size, 0, 0
        network.open(stream, position)
        while node >= 0:
            middle = int(tree.middle[node])
            if sums is not None:
                odds = int(log_odds(sums[end, None] - sums[middle], sums[middle, None] - sums[first])[0])
            right = _decide(state, words, network.predict(odds))
            if right < 0:
                return -1
            first, end = (middle, end) if right else (first, middle)
            node = network.learn(right)
        network.close(~node)
        return ~node


def _decide(state: list[int], words: NDArray[np.uint32], share: int) -> int:
    """One decision read from the words of the range coder; -1 where they are none. "Left" is the interval from 0.

    state: lower, range, point, next word.
    """
    lower, width, point, following = state
    scale, mask = width >> PRECISION_BITS, (1 << 64) - 1
    cut, gone = scale * (FREQUENCY_TOTAL - share), (point - lower) & mask
    if gone >= scale << PRECISION_BITS:
        return -1
    right = int(gone >= cut)
    lower, width = ((lower + cut) & mask, scale * share) if right else (lower, cut)
    if width < 1 << 32:
        lower, width, point = (lower << 32) & mask, width << 32, (point << 32) & mask
        if following < words.size:
            point |= int(words[following])
        following += 1
    state[:] = lower, width, point, following
    return right
