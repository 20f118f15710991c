"""Memory for the tokens of one frame: tokens to intervals, and a payload back to tokens, with a model or without one.

The streams of the frame share everything that is learnt: tokens are coded position by position, stream by stream, and
each is known to all that follow. May import the rest of ``memory``, ``coder``, ``errors`` and
``predictor``.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmzip.coder import begin_decoding
from llmzip.errors import ArchiveError
from llmzip.memory import kernels
from llmzip.memory.first_state import FirstState, learnt_state
from llmzip.memory.tables import logarithm_table, squash_table, stretch_table
from llmzip.memory.tree import TokenTree, build_tree

MAXIMUM_SLOT_BITS = 20
"""2^20 slots of 8 bytes in each of 8 contexts: 64 MiB, and 32 MiB for longer contexts and matches."""

MODEL_WEIGHT, COUNTER_WEIGHT, PREDICTION_WEIGHT, CORRECTION_WEIGHT = 65536, 6000, 14000, 6000
ALONE_WEIGHT = 10000
"""The mixers' first weights, of 2^16; the last where there is no model."""


# What a direction or a memory without a model does not look at.
_NO_ODDS = np.zeros((0, 0, 0), np.int16)
_NO_FREQUENCIES = np.zeros((0, 0), np.int64)
_NO_INTERVALS = np.zeros((2, 0), np.int64)
_NO_CODER = np.zeros(0, np.uint64)
_NO_WORDS = np.zeros(0, np.uint32)


class Vocabulary:
    """The tree and the byte strings of a tokenizer's tokens, in the form that the kernels read."""

    def __init__(self, token_bytes: Sequence[bytes], first_state: Path | None = None) -> None:
        """``first_state``: the file of the model's own folder, None for the one that is shipped."""
        self._token_bytes, self._first_state = token_bytes, first_state
        self.size = len(token_bytes)

    @cached_property
    def tree(self) -> TokenTree:
        """Computed on first use."""
        return build_tree(self._token_bytes)

    @cached_property
    def kernel_tree(self) -> kernels.Tree:
        """What the kernels need to go down the tree."""
        tree = self.tree
        return kernels.Tree(tree.order, tree.middle, tree.left, tree.right, logarithm_table())

    @cached_property
    def bytes(self) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Where each token's bytes begin, and all bytes."""
        starts = np.concatenate(([0], np.cumsum([len(token) for token in self._token_bytes]))).astype(np.int32)
        return starts, np.frombuffer(b"".join(self._token_bytes) or b"\0", np.uint8).copy()

    def first_state(self, *, alone: bool) -> FirstState:
        """What a memory begins with: learnt for the tokenizer of the embedded rungs, constant for any other."""
        learnt = learnt_state(self._token_bytes, alone=alone, path=self._first_state)
        return learnt or constant_state(self.size, alone=alone)

    def odds(self, frequencies: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.int16]:
        """[n, depth]: a model's log-odds on the way to each token. frequencies: [n, vocabulary]; tokens: [n]."""
        tree, odds = self.tree, np.zeros((len(tokens), self.tree.depth), np.int16)
        kernels.odds_along_paths(
            frequencies, tokens, tree.order, tree.path_start, tree.path_range, logarithm_table(), odds
        )
        return odds


def _slot_bits(token_count: int) -> int:
    return max(12, min(MAXIMUM_SLOT_BITS, (12 * token_count - 1).bit_length()))


def constant_state(vocabulary_size: int, *, alone: bool) -> FirstState:
    """The first state where none was learnt."""
    weights = np.empty((kernels.MIXERS, max(vocabulary_size, 128), kernels.INPUTS), np.int32)
    weights[:] = ALONE_WEIGHT if alone else COUNTER_WEIGHT
    weights[:, :, 0] = 0 if alone else MODEL_WEIGHT
    if not alone:
        predictions = 1 + kernels.COUNTERS
        weights[:, :, predictions : predictions + kernels.PREDICTIONS] = PREDICTION_WEIGHT
        weights[:, :, predictions + kernels.PREDICTIONS :] = CORRECTION_WEIGHT
    return FirstState(
        weights,
        final_weights=np.full((8, kernels.MIXERS), 65536 // kernels.MIXERS, np.int32),
        certainty=_first_certainty(),
        hit_rate=_first_hit_rate(),
        unigram=np.full(vocabulary_size, 32768 << 48, np.uint64),
    )


def _first_certainty() -> NDArray[np.int32]:
    """A counter's probability is trusted the more, the more it has seen."""
    count = np.arange(kernels.COUNT_LEVELS)[:, None]
    level = np.arange(kernels.CERTAINTY_LEVELS)[None, :]
    odds = ((level - 16) * 128 * (10 * count + 3)) // (10 * count + 15)
    values = squash_table()[odds + kernels.LIMIT] >> 4
    return np.repeat(values[None], kernels.COUNTERS, 0).astype(np.int32)


def _first_hit_rate() -> NDArray[np.int32]:
    confidence = np.arange(64)[:, None]
    values = np.broadcast_to(((1 << 20) * (10 * confidence + 7)) // (10 * confidence + 12), (64, kernels.DEPTH_LEVELS))
    return np.repeat(values[None], kernels.PREDICTIONS, 0).astype(np.int32)


class Memory:
    """What one frame has shown so far. Starts empty; used once, to encode or to decode."""

    def __init__(
        self, vocabulary: Vocabulary, token_count: int, streams: int, *, alone: bool, first: FirstState | None = None
    ) -> None:
        """``alone``: there is no model, and what a model gives is not looked at; ``first``: the vocabulary's own."""
        self._vocabulary, self._alone = vocabulary, alone
        self._shortest, self._longer = divmod(token_count, streams)
        length = self._shortest + (self._longer > 0)
        slots = 1 << _slot_bits(token_count)
        first = first or vocabulary.first_state(alone=alone)
        tree, (byte_start, bytes_of) = vocabulary.tree, vocabulary.bytes
        self._state = kernels.State(
            squash=squash_table(),
            stretch=stretch_table(),
            path_start=tree.path_start,
            path_node=tree.path_node,
            path_bit=tree.path_bit,
            byte_start=byte_start,
            bytes_of=bytes_of,
            history=np.zeros((streams, length), np.int32),
            slots=np.zeros((kernels.CONTEXTS, slots), np.uint64),
            unigram=first.unigram.copy(),
            certainty=first.certainty.copy(),
            followers=np.zeros((2, slots), np.uint64),
            hit_rate=first.hit_rate.copy(),
            match_heads=np.full((2, slots), -1, np.int64),
            match_place=np.full((2, streams), -1, np.int64),
            match_length=np.zeros((2, streams), np.int64),
            weights=first.weights.copy(),
            final_weights=first.final_weights.copy(),
            words=np.zeros((streams, 4), np.uint64),
            places=np.zeros((streams, 3), np.int64),
            lines=np.zeros((streams, 2, kernels.LINE_BYTES), np.int32),
            hashes=np.zeros(kernels.CONTEXTS + 2, np.uint64),
            candidate=np.zeros((kernels.PREDICTIONS, 4), np.int64),
            chosen=np.zeros((kernels.COUNTERS, 3), np.int64),
            inputs=np.zeros(kernels.INPUTS, np.int64),
            mixed=np.zeros((kernels.MIXERS + 1, 2), np.int64),
            counts=np.zeros(1, np.int64),
        )
        self.streams, self._position = streams, 0

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
        found = np.empty((2, limit), np.int64)
        count = self._code(np.array(tokens), found, odds=_NO_ODDS if odds is None else odds)
        return found[0, :count], found[1, :count]

    def _code(
        self,
        tokens: NDArray[np.int64],
        intervals: NDArray[np.int64],
        *,
        odds: NDArray[np.int16],
        frequencies: NDArray[np.int64] = _NO_FREQUENCIES,
        coder: NDArray[np.uint64] = _NO_CODER,
        words: NDArray[np.uint32] = _NO_WORDS,
    ) -> int:
        """Runs the kernel over the next tokens, [streams, n]."""
        count = kernels.code_positions(
            self._state,
            self._vocabulary.kernel_tree,
            tokens,
            odds,
            self._position,
            self._shortest,
            self._longer,
            self._alone,
            intervals,
            frequencies,
            coder,
            words,
        )
        self._position += tokens.shape[1]
        return int(count)

    def learnt(self) -> FirstState:
        """What the parts that have a first state have become."""
        state = self._state
        return FirstState(state.weights, state.final_weights, state.certainty, state.hit_rate, state.unigram)

    def reader(self, payload: bytes) -> "MemoryReader":
        """Decodes a payload with this memory, which must be fresh."""
        return MemoryReader(self, payload)


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
        return self._read(1, frequencies)[:active, 0]

    def next_positions(self, count: int) -> NDArray[np.int64]:
        """[streams, count]: the next tokens of a memory that is alone; what lies beyond a stream's end is 0.

        Raises ArchiveError.
        """
        return self._read(count, _NO_FREQUENCIES)

    def _read(self, count: int, frequencies: NDArray[np.int64]) -> NDArray[np.int64]:
        tokens = np.zeros((self._memory.streams, count), np.int64)
        decisions = self._memory._code(
            tokens, _NO_INTERVALS, odds=_NO_ODDS, frequencies=frequencies, coder=self._coder, words=self._words
        )
        if decisions < 0:
            raise ArchiveError("the payload cannot be decoded: the archive is damaged")
        return tokens
