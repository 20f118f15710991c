"""The exact predictor where its model runs in C: it codes whole frames there.

May import ``exact`` and what that may; ``exact`` makes it.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from llmzip.coder import shortened
from llmzip.engine.native import NativeModel
from llmzip.native.frame import Frame
from llmzip.predictors.exact import ExactPredictor

Progress = Callable[[int], None] | None


class NativePredictor(ExactPredictor):
    """See ``llmzip.predictor.FrameEngine``."""

    _model: NativeModel

    @property
    def codes_with_memory(self) -> bool:
        return False

    def encode_tokens(
        self, tokens: NDArray[np.int64], streams: int, *, memory: bool, limit_bytes: int, progress: Progress = None
    ) -> bytes | None:
        payload = self._frame(len(tokens), streams).encode(tokens, limit_bytes, progress)
        return None if payload is None else shortened(payload)

    def decode_tokens(
        self, payload: bytes, token_count: int, streams: int, *, memory: bool, progress: Progress = None
    ) -> NDArray[np.int64]:
        return self._frame(token_count, streams).decode(payload, progress)

    def _frame(self, token_count: int, streams: int) -> Frame:
        model = self._model
        return Frame(model.library, model.handle, None, None, token_count, streams, threads=self.threads)
