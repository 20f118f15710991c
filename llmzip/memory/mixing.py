"""Memory for the tokens of one frame: tokens to intervals, and a payload back to tokens, with a model or without one.

The streams of the frame share everything that is learnt: tokens are coded position by position, stream by stream, and
each is known to all that follow. Runs in C where that was compiled, else as the definition in Python; version 1 always
does the latter. May import the rest of ``memory``, ``native``, ``coder``, ``errors`` and ``predictor``.
"""

from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmzip.coder import begin_decoding
from llmzip.errors import ArchiveError
from llmzip.memory import MEMORY_VERSION, first_state, layout, version1
from llmzip.memory.layout import Beginning
from llmzip.memory.native import Native, VocabularyArrays
from llmzip.memory.reference import Reference
from llmzip.memory.stepping import Stepwise
from llmzip.memory.tables import log_odds
from llmzip.memory.tree import TokenTree, build_tree
from llmzip.native.frame import Frame
from llmzip.native.library import library


class Vocabulary:
    """The tree and the byte strings of a tokenizer's tokens, and what a memory of theirs begins with."""

    def __init__(self, token_bytes: tuple[bytes, ...], folder: Path | None = None) -> None:
        """folder: of the model, where it has a first state of its own."""
        self.token_bytes, self._folder = token_bytes, folder
        self.size = len(token_bytes)

    @cached_property
    def tree(self) -> TokenTree:
        """Computed on first use."""
        return build_tree(self.token_bytes)

    @cached_property
    def arrays(self) -> VocabularyArrays:
        """What C needs of it."""
        return VocabularyArrays(self.tree, self.token_bytes)

    def beginning(self, *, alone: bool) -> Beginning:
        """What a memory begins with: learnt for the tokenizer of the embedded rungs, constant for any other."""
        learnt = first_state.learnt_state(self.token_bytes, alone=alone, folder=self._folder)
        return learnt or layout.constant_beginning(self.size, self.tree.node_rows, alone=alone)

    def version1_beginning(self, *, alone: bool) -> version1.Beginning:
        """The same for version 1."""
        learnt = first_state.learnt_state_of_version_1(self.token_bytes, alone=alone, folder=self._folder)
        return learnt or version1.constant_beginning(self.size, alone=alone)

    def odds(self, frequencies: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.int16]:
        """[n, depth]: a model's log-odds on the way to each token. frequencies: [n, vocabulary]; tokens: [n]."""
        tree, count = self.tree, len(tokens)
        sums = np.zeros((count, self.size + 1), np.int64)
        np.cumsum(frequencies[:, tree.order], axis=1, out=sums[:, 1:])
        steps = np.arange(tree.depth)
        passed = steps < np.diff(tree.path_start)[tokens][:, None]
        place = np.where(passed, tree.path_start[tokens][:, None] + steps, 0)
        first, middle, end = (sums[np.arange(count)[:, None], tree.path_range[place, k]] for k in range(3))
        odds = log_odds(np.where(passed, end - middle, 1), np.where(passed, middle - first, 1)).astype(np.int16)
        return odds


@lru_cache(maxsize=4)
def vocabulary_of(token_bytes: tuple[bytes, ...], folder: Path | None = None) -> Vocabulary:
    """The vocabulary, kept for the next frame."""
    return Vocabulary(token_bytes, folder)


class Memory:
    """What one frame has shown so far. Starts empty; used once, to encode or to decode."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        token_count: int,
        streams: int,
        *,
        alone: bool,
        version: int = MEMORY_VERSION,
        first: Beginning | None = None,
    ) -> None:
        """``alone``: there is no model, and what a model gives is not looked at; ``first``: the vocabulary's own."""
        self._vocabulary, self._alone, self.streams, self._position = vocabulary, alone, streams, 0
        self._token_count = token_count
        self._shortest, self._longer = divmod(token_count, streams)
        tree, token_bytes, found = vocabulary.tree, vocabulary.token_bytes, library()
        self.network: Native | Stepwise
        if version == 1:
            old = version1.Version1(
                tree, token_bytes, token_count, streams, vocabulary.version1_beginning(alone=alone), alone=alone
            )
            self.network = Stepwise(old, tree, token_count, streams)
            return
        first = first or vocabulary.beginning(alone=alone)
        if found is not None:
            self.network = Native(found, vocabulary.arrays, token_count, streams, first, alone=alone)
        else:
            definition = Reference(tree, token_bytes, token_count, streams, first, alone=alone)
            self.network = Stepwise(definition, tree, token_count, streams)

    @property
    def active_streams(self) -> int:
        """How many streams have a token at the next position."""
        return self.streams if self._position < self._shortest else self._longer

    def intervals(
        self, tokens: NDArray[np.int64], odds: NDArray[np.int16] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(cumulative, frequency) of every decision of the next tokens, in units of 2^-24.

        tokens: [streams, n]; the last column counts only for the streams that are that long. odds: [streams, n, depth]
        from ``Vocabulary.odds``; None where the memory is alone.
        """
        starts = self._vocabulary.tree.path_start
        limit = int((starts[tokens + 1] - starts[tokens]).sum())
        found = self.network.intervals(tokens, self._position, odds, limit)
        self._position += tokens.shape[1]
        return found

    def frame(self, model: int | None = None, threads: int = 1) -> Frame | None:
        """The whole frame in C with this memory, which must be fresh and stay; None where the definition runs.

        model: the handle of ``engine.native``'s, where there is one, with the leaves of this vocabulary's tree.
        """
        network = self.network
        if not isinstance(network, Native):
            return None
        shape = (self._vocabulary.arrays.middle, self._token_count, self.streams)
        return Frame(network.library, model, network.handle, *shape, threads=threads)

    def reader(self, payload: bytes) -> "MemoryReader":
        """Decodes a payload with this memory, which must be fresh."""
        return MemoryReader(self, payload)

    def read(
        self,
        count: int,
        frequencies: NDArray[np.int64] | None,
        words: NDArray[np.uint32],
        coder: NDArray[np.uint64],
    ) -> NDArray[np.int64]:
        """The next [streams, count] tokens of a payload: see ``MemoryReader``."""
        tokens = np.zeros((self.streams, count), np.int64)
        if not self.network.read(tokens, self._position, frequencies, words, coder):
            raise ArchiveError("the payload cannot be decoded: the archive is damaged")
        self._position += count
        return tokens


class MemoryReader:
    """Reads the tokens of a payload, in the order in which they were coded."""

    def __init__(self, memory: Memory, payload: bytes) -> None:
        self._memory = memory
        self._words, self._coder = begin_decoding(payload)

    def next_tokens(self, frequencies: NDArray[np.int64]) -> NDArray[np.int64]:
        """[active streams]: the next token of each, given what a model says. frequencies: [streams, vocabulary].

        Raises ArchiveError.
        """
        active = self._memory.active_streams
        return self._memory.read(1, frequencies, self._words, self._coder)[:active, 0]

    def next_positions(self, count: int) -> NDArray[np.int64]:
        """[streams, count]: the next tokens of a memory that is alone; what lies beyond a stream's end is 0.

        Raises ArchiveError.
        """
        return self._memory.read(count, None, self._words, self._coder)
