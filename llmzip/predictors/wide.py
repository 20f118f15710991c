"""The exact predictor of models that were trained elsewhere: version 2 of the arithmetic, from folders and GGUF files.

May import ``checkpoints``, ``engine``, ``memory`` (for the fingerprint), ``predictor``, ``errors`` and the modules
beside it.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from llmzip.checkpoints import Checkpoint
from llmzip.engine.families import DEFAULT_CONTEXT, LARGEST_WINDOW, read_architecture
from llmzip.engine.wide_model import WideModel, WideStreams
from llmzip.engine.wide_weights import load_wide
from llmzip.errors import ModelError
from llmzip.memory import first_state
from llmzip.predictor import Predictor, WeightedExactContext
from llmzip.predictors.escapes import WeightedEscapes
from llmzip.predictors.guarded_tokenizer import GuardedTokenizer
from llmzip.predictors.versions import Versioned

LOGITS_AT_ONCE = 1 << 23
"""Numbers in float32 that are shown together: 32 MiB."""


class WidePredictor(Versioned):
    """See ``llmzip.predictor.WeightedPredictor``; its contexts are ``WeightedExactContext``."""

    threads = 1
    """Of ours: the products are numpy's, which has its own."""
    weighted = True

    def __init__(
        self,
        model: WideModel,
        checkpoint: Checkpoint,
        tokenizer: GuardedTokenizer,
        name: str,
        context: int,
        digest: bytes,
        own_state: Path | None,
    ) -> None:
        """``digest``: of the weights; ``own_state``: what the memory knows before a text begins, of the folder."""
        self._model, self._checkpoint, self._tokenizer, self._digest = model, checkpoint, tokenizer, digest
        self.name, self.context = name, context
        self.token_bytes = tokenizer.token_bytes
        self.vocabulary_size = len(self.token_bytes)
        self.parameter_bytes = checkpoint.receiver_bytes + first_state.stored_bytes(self.token_bytes, own_state)
        identities = {}

        def fingerprint_of(version: int) -> bytes:
            state = first_state.identity(self.token_bytes, version, own_state)
            identities[version] = tokenizer.fingerprint(digest + state)
            return _with_context(identities[version], context)

        super().__init__(fingerprint_of, own_state)
        self._identities = identities

    def as_of(self, fingerprint: bytes) -> Self | Predictor | None:  # type: ignore[override]
        """Also with another context, and in version 1 of the arithmetic: the fingerprint alone says which."""
        if (found := super().as_of(fingerprint)) is not None:
            return found
        for version, identity in self._identities.items():
            for context in range(2, LARGEST_WINDOW + 1):
                if _with_context(identity, context).startswith(fingerprint):
                    made = self._with(context)
                    made.memory_version = version
                    return made
        return self._as_of_version_1(fingerprint)

    def _with(self, context: int) -> Self:
        architecture = read_architecture(self._checkpoint.config, context=context)[0]
        model = WideModel(replace(self._model.weights, architecture=architecture))
        return type(self)(model, self._checkpoint, self._tokenizer, self.name, context, self._digest, self.first_state)

    def _as_of_version_1(self, fingerprint: bytes) -> Predictor | None:
        """llmzip 0.1.0 ran Llama, Mistral and Qwen2 folders by version 1."""
        from llmzip.predictors.exact import load_exact

        try:
            return load_exact(self._checkpoint.where, self.name).as_of(fingerprint)
        except ModelError:  # it never ran this one
            return None

    def tokenize(self, data: bytes) -> NDArray[np.int64]:
        return self._tokenizer.tokenize(data)

    def detokenize(self, tokens: NDArray[np.int64]) -> bytes:
        return self._tokenizer.detokenize(tokens)

    @property
    def model_size(self) -> int:
        return self._tokenizer.model_size

    @property
    def parameter_count(self) -> int:
        """Numbers that were learnt."""
        return self._checkpoint.parameter_count

    def logits(self, tokens: NDArray[np.int64]) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
        """See ``llmzip.predictor.LogitPredictor``."""
        streams, (rows, length) = WideStreams(self._model, len(tokens)), tokens.shape
        step = max(1, LOGITS_AT_ONCE // (rows * self._model.architecture.vocabulary_size))
        for first in range(0, length, step):
            part = slice(first, min(first + step, length))
            yield slice(0, rows), part, streams.logits(self._tokenizer.known(tokens[:, part]))

    def start(self, streams: int) -> WeightedExactContext:
        context = WideStreams(self._model, streams)
        return WeightedEscapes(context, self._tokenizer) if self._tokenizer.has_escapes else context


def _with_context(identity: bytes, context: int) -> bytes:
    return hashlib.sha256(identity + context.to_bytes(4, "little")).digest()


def is_for_version_1(config: Mapping[str, Any]) -> bool:
    """Whether its matrices are stored as int8 with a scale a row: made for inputs of eight bits, as our own are."""
    stored = config.get("quantization_config")
    return isinstance(stored, dict) and stored.get("quant_method") == "compressed-tensors"


def suits_wide(config: Mapping[str, Any]) -> bool:
    """Whether version 2 runs a model of this configuration."""
    try:
        read_architecture(config)
    except ModelError:
        return False
    return True


def load_wide_predictor(checkpoint: Checkpoint, name: str, *, context: int | None = None) -> WidePredictor:
    """The predictor of a model; context: positions that its full attention sees, 1,024 if None. Raises ModelError.

    A tokenizer that lacks tokens for some bytes is used with escapes.
    """
    plain, folding = read_architecture(checkpoint.config)
    context = min(plain.positions, DEFAULT_CONTEXT if context is None else context)
    architecture = read_architecture(checkpoint.config, context=context)[0]
    where = str(checkpoint.where)
    tokenizer = GuardedTokenizer(checkpoint.tokenizer, plain.vocabulary_size, where, whole=True)
    weights = load_wide(plain, folding, checkpoint.take, checkpoint.names)
    model = WideModel(replace(weights, architecture=architecture))
    own = first_state.in_folder(checkpoint.where) if checkpoint.where.is_dir() else None
    return WidePredictor(model, checkpoint, tokenizer, name, context, weights.digest, own)
