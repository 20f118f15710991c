"""The predictor without a model: the embedded rungs' tokenizer, so that memory alone codes the text.

Two things were learnt from other texts, the tokens and the memory's first state: their bytes count as what a receiver
must hold. May import ``memory`` (for the fingerprint), ``predictor``, ``parallel``, ``errors`` and the tokenizer beside
it.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmzip.memory import first_state
from llmzip.parallel import usable_cores
from llmzip.predictors.byte_tokenizer import ByteTokenizer
from llmzip.predictors.versions import Versioned


class AdaptivePredictor(Versioned):
    """See ``llmzip.predictor.Predictor``."""

    def __init__(self, tokenizer_path: Path, name: str, threads: int = 0) -> None:
        self._tokenizer = ByteTokenizer(tokenizer_path)
        self.name = name
        self.token_bytes = tuple(self._tokenizer.token_bytes)
        own = first_state.in_folder(tokenizer_path.parent)
        super().__init__(
            lambda version: self._tokenizer.fingerprint(
                b"no model" + first_state.identity(self.token_bytes, version, own)
            ),
            own,
        )
        self.parameter_bytes = tokenizer_path.stat().st_size + first_state.stored_bytes(self.token_bytes, own)
        self.threads = threads or usable_cores()
        self.vocabulary_size = self._tokenizer.size

    def tokenize(self, data: bytes) -> NDArray[np.int64]:
        return self._tokenizer.tokenize(data)

    def detokenize(self, tokens: NDArray[np.int64]) -> bytes:
        return self._tokenizer.detokenize(tokens)
