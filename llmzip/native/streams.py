"""The exact engine's model and streams in C, behind the same protocol as ``engine.model.ExactStreams``.

May import ``library``, ``engine`` (weights and tables), ``memory`` (the tree), ``predictor`` and ``errors``;
``predictors`` imports it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.engine.array_ops import PEAK_UNIT, VALUE_UNIT, score_unit
from llmzip.engine.tables import MAXIMUM_POSITION, Rotary, exp_table, sigmoid_table
from llmzip.engine.weights import Layer, Linear, Weights
from llmzip.errors import ModelError
from llmzip.memory.tables import logarithm_table
from llmzip.memory.tree import TokenTree
from llmzip.native.library import Library, MatrixSetup, ModelSetup, address, int32

POSITIONS = 32
"""Of each stream, read at once."""

_NO_ROOM = "there is not enough memory for this model: use fewer --streams, or a smaller model"


class NativeModel:
    """Weights packed for the library's kernels; constant, so that threads may share it."""

    def __init__(self, weights: Weights, library: Library, tree: TokenTree | None = None) -> None:
        """tree: of the tokens, where the memory will ask for log-odds along it."""
        shape = weights.shape
        self.library, self.shape, self.tree = library, shape, tree
        linears = [weights.head]
        linears += [getattr(layer, name) for layer in weights.layers for name in Layer.__dataclass_fields__]
        kept: list[Any] = []
        matrices = (MatrixSetup * len(linears))(*[_matrix(linear, kept) for linear in linears])
        rotary = Rotary(shape.head_dim, shape.rope_theta).digits()
        self._tables: list[NDArray[Any]] = [exp_table().astype(np.int32), sigmoid_table(), *rotary]
        exp, sigmoid, *angles = map(address, self._tables)
        embedding = np.ascontiguousarray(weights.embedding, np.float32)
        setup = ModelSetup(
            *(shape.vocabulary_size, shape.hidden_size, shape.layers, shape.heads, shape.key_value_heads),
            *(shape.head_dim, shape.feed_forward_size, shape.window, shape.start_token),
            shape.norm_epsilon,
            *(float(score_unit(shape.head_dim)), float(VALUE_UNIT), float(PEAK_UNIT)),
            address(embedding),
            matrices,
            exp,
            sigmoid,
        )
        for place, angle in enumerate(angles):
            setup.rotary[place] = angle
        if tree is not None:
            arrays = [
                int32(tree.order),
                int32(tree.path_start),
                int32(tree.path_range[:, 1]),
                logarithm_table().astype(np.uint16),
            ]
            self._tables += arrays
            setup.order, setup.path_start, setup.path_middle, setup.logarithm = map(address, arrays)
        self.handle = library.model_create(setup)
        if not self.handle:
            raise ModelError(_NO_ROOM)

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self.library.model_destroy(self.handle)


def _matrix(linear: Linear, kept: list[Any]) -> MatrixSetup:
    """``kept`` is what must live until C has copied it."""
    weights = np.ascontiguousarray(np.concatenate(linear.parts).T.astype(np.int8))
    part_inputs = np.array([len(part) for part in linear.parts], np.int32)
    arrays = [part_inputs, weights, linear.scale, linear.bias]
    kept.append(arrays)
    return MatrixSetup(*weights.shape, len(part_inputs), *map(address, arrays))


class NativeStreams:
    """A context (see ``llmzip.predictor.ExactContext``) that one thread moves on."""

    def __init__(self, model: NativeModel, streams: int) -> None:
        self._model, self.streams = model, streams
        self._library = model.library
        self._position = 1
        self._handle = self._library.streams_create(model.handle, streams, POSITIONS)
        if not self._handle:
            raise ModelError(_NO_ROOM)

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.streams_destroy(self._handle)

    def next_frequencies(self) -> NDArray[np.int64]:
        """[streams, vocabulary] int64: see ``llmzip.predictor.Context``."""
        frequencies = np.empty((self.streams, self._model.shape.vocabulary_size), np.int32)
        self._library.streams_frequencies(self._handle, 1, address(frequencies))
        return frequencies.astype(np.int64)

    def append(self, tokens: NDArray[np.int64]) -> None:
        """Adds one token to each stream. tokens: [streams] int64."""
        self._read(tokens[:, None])

    def intervals(self, tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(cumulative, frequency) of each token, both [streams, n] int64: see ``llmzip.predictor.ExactContext``."""
        below, own = np.empty(tokens.shape, np.int64), np.empty(tokens.shape, np.int64)
        for part in self._parts(tokens):
            chosen = self._read(tokens[:, part])
            some, other = np.empty_like(chosen), np.empty_like(chosen)
            self._library.streams_intervals(self._handle, address(chosen), address(some), address(other))
            below[:, part], own[:, part] = some, other
        return below, own

    def odds(self, tokens: NDArray[np.int64]) -> NDArray[np.int16]:
        """[streams, n, depth] int16: the log-odds, in 1/256 nat, on the way to each token; needs the model's tree."""
        assert self._model.tree is not None
        odds = np.zeros((*tokens.shape, self._model.tree.depth), np.int16)
        for part in self._parts(tokens):
            chosen = self._read(tokens[:, part])
            some = np.zeros((*chosen.shape, odds.shape[2]), np.int16)
            self._library.streams_odds(self._handle, address(chosen), odds.shape[2], address(some))
            odds[:, part] = some
        return odds

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """[streams, n, vocabulary] float32, in nats: before each of at most ``POSITIONS`` tokens, which are then seen."""
        chosen = self._read(tokens)
        logits = np.empty((*chosen.shape, self._model.shape.vocabulary_size), np.float32)
        self._library.streams_logits(self._handle, 0, address(logits))
        return logits

    @staticmethod
    def _parts(tokens: NDArray[np.int64]) -> list[slice]:
        return [slice(first, first + POSITIONS) for first in range(0, tokens.shape[1], POSITIONS)]

    def _read(self, tokens: NDArray[np.int64]) -> NDArray[np.int32]:
        """Moves on by [streams, n] tokens and returns them as C has them."""
        self._position += tokens.shape[1]
        if self._position > MAXIMUM_POSITION:
            raise ModelError(f"a stream is longer than {MAXIMUM_POSITION} tokens: use more streams or smaller frames")
        chosen = int32(tokens)
        if chosen.size and not 0 <= chosen.min() <= chosen.max() < self._model.shape.vocabulary_size:
            raise IndexError("a token is outside the vocabulary")
        self._library.streams_read(self._handle, address(chosen), *chosen.shape)
        return chosen
