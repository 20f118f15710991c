"""Memory for the tokens of one frame: tokens to intervals, and a payload back to tokens, with a model or without one.

The streams of the frame share everything that is learnt: tokens are coded position by position, stream by stream, and
each is known to all that follow. May import the rest of ``memory``, ``errors`` and ``predictor``.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

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


class Vocabulary:
    """The tree and the byte strings of a tokenizer's tokens, in the form that the kernels read."""

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        self._token_bytes = token_bytes
        self.size = len(token_bytes)

    @cached_property
    def tree(self) -> TokenTree:
        """Computed on first use."""
        return build_tree(self._token_bytes)

    @cached_property
    def bytes(self) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Where each token's bytes begin, and all bytes."""
        starts = np.concatenate(([0], np.cumsum([len(token) for token in self._token_bytes]))).astype(np.int32)
        return starts, np.frombuffer(b"".join(self._token_bytes) or b"\0", np.uint8).copy()

    def first_state(self, *, alone: bool) -> FirstState:
        """What a memory begins with: learnt for the tokenizer of the embedded rungs, constant for any other."""
        return learnt_state(self._token_bytes, alone=alone) or constant_state(self.size, alone=alone)

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
        self._position = 0

    def intervals(
        self, tokens: NDArray[np.int64], odds: NDArray[np.int16] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(cumulative, frequency) of every decision of the next tokens, in units of 2^-24.

        tokens: [streams, n]; the last column counts only for the streams that are that long. odds: [streams, n, depth]
        from ``Vocabulary.odds``; None where the memory is alone.
        """
        if odds is None:
            odds = np.zeros((0, 0, 0), np.int16)
        starts = self._vocabulary.tree.path_start
        limit = int((starts[tokens + 1] - starts[tokens]).sum())
        cumulative, frequency = np.empty(limit, np.int64), np.empty(limit, np.int64)
        count = kernels.encode_positions(
            self._state, tokens, odds, self._position, self._shortest, self._longer, self._alone, cumulative, frequency
        )
        self._position += tokens.shape[1]
        return cumulative[:count], frequency[:count]

    def learnt(self) -> FirstState:
        """What the parts that have a first state have become."""
        state = self._state
        return FirstState(state.weights, state.final_weights, state.certainty, state.hit_rate, state.unigram)

    def reader(self, payload: bytes) -> "MemoryReader":
        """Decodes a payload with this memory, which must be fresh."""
        return MemoryReader(self, payload)


class MemoryReader:
    """Reads the tokens of a payload, one position of all streams at a time."""

    def __init__(self, memory: Memory, payload: bytes) -> None:
        self._memory = memory
        padded = payload + bytes(-len(payload) % 4)
        self._words = np.frombuffer(padded, ">u4").astype(np.uint32)
        first = [*self._words[:2].tolist(), 0, 0][:2]
        self._coder = np.array([0, (1 << 64) - 1, (first[0] << 32) | first[1], 2], np.uint64)

    def next_tokens(self, frequencies: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """[active streams]: the next token of each. frequencies: [streams, vocabulary] of the model, None without one.

        Raises ArchiveError.
        """
        memory = self._memory
        if frequencies is None:
            frequencies = np.zeros((0, 0), np.int64)
        state, tree, position = memory._state, memory._vocabulary.tree, memory._position
        active = state.history.shape[0] if position < memory._shortest else memory._longer
        whole = kernels.decode_position(
            state,
            frequencies,
            tree.order,
            tree.middle,
            tree.left,
            tree.right,
            logarithm_table(),
            position,
            active,
            memory._alone,
            self._coder,
            self._words,
        )
        if not whole:
            raise ArchiveError("the payload cannot be decoded: the archive is damaged")
        memory._position += 1
        return state.history[:active, position].astype(np.int64)
