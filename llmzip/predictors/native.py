"""The exact predictor where its model runs in C: it codes whole frames there.

May import ``exact`` and what that may; ``exact`` makes it.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from llmzip.coder import shortened
from llmzip.engine.native import Leaves, NativeModel
from llmzip.memory import MEMORY_VERSION
from llmzip.memory.mixing import Memory, vocabulary_of
from llmzip.native.frame import Frame
from llmzip.predictors.exact import ExactPredictor

Progress = Callable[[int], None] | None


class NativePredictor(ExactPredictor):
    """See ``llmzip.predictor.FrameEngine``."""

    _model: NativeModel

    @property
    def codes_with_memory(self) -> bool:
        return self.memory_version == MEMORY_VERSION

    def encode_tokens(
        self, tokens: NDArray[np.int64], streams: int, *, memory: bool, limit_bytes: int, progress: Progress = None
    ) -> bytes | None:
        used = self._memory(len(tokens), streams) if memory else None
        payload = self._frame(used, len(tokens), streams).encode(tokens, limit_bytes, progress)
        return None if payload is None else shortened(payload)

    def decode_tokens(
        self, payload: bytes, token_count: int, streams: int, *, memory: bool, progress: Progress = None
    ) -> NDArray[np.int64]:
        used = self._memory(token_count, streams) if memory else None
        return self._frame(used, token_count, streams).decode(payload, progress)

    def _memory(self, token_count: int, streams: int) -> Memory:
        return Memory(vocabulary_of(self.token_bytes, self.first_state), token_count, streams, alone=False)

    def _frame(self, memory: Memory | None, token_count: int, streams: int) -> Frame:
        """memory: must stay until the frame is done."""
        if memory is None:
            model = self._model
            return Frame(model.library, model.handle, None, None, token_count, streams, threads=self.threads)
        frame = memory.frame(self._along_the_tree.handle, self.threads)
        assert frame is not None  # both are in the same library
        return frame

    @cached_property
    def _along_the_tree(self) -> NativeModel:
        """The model once more, its outputs in the order of the tree's leaves."""
        vocabulary = vocabulary_of(self.token_bytes, self.first_state)
        tree, arrays = vocabulary.tree, vocabulary.arrays
        middles = np.ascontiguousarray(tree.path_range[:, 1], np.int32)
        leaves = Leaves(arrays.order, arrays.arrays["path_start"], middles, arrays.logarithm)
        return self._model.with_leaves(leaves)
