"""The exact engine's model and streams in C (``llmzip/native``), with the same calls as ``model``.

May import the rest of ``engine``, ``native``, ``predictor`` and ``errors``; ``predictors`` imports it.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmzip.engine.array_ops import PEAK_UNIT, VALUE_UNIT, score_unit
from llmzip.engine.model import check_cache
from llmzip.engine.tables import MAXIMUM_POSITION, Rotary, exp_table, sigmoid_table
from llmzip.engine.weights import Layer, Linear, Weights
from llmzip.errors import ModelError
from llmzip.native.library import Library, MatrixSetup, ModelSetup, address, int32
from llmzip.predictor import Score

POSITIONS = 32
"""Of each stream, read at once."""

_NO_ROOM = "there is not enough memory for this model: use fewer --streams, or a smaller model"


class Leaves(NamedTuple):
    """What a model must know of the memory's tree, so that C gives log-odds along it."""

    order: NDArray[np.int32]
    """[vocabulary]: the tokens as the leaves stand."""
    path_start: NDArray[np.int32]
    """[vocabulary + 1]: where the way to each token begins in the next array."""
    path_middle: NDArray[np.int32]
    """The first leaf to the right of each node on the way."""
    logarithm: NDArray[np.uint16]
    """[2048]: the memory's table."""


class NativeModel:
    """Weights packed for the library's kernels; constant, so that threads may share it."""

    def __init__(self, weights: Weights, library: Library, leaves: Leaves | None = None) -> None:
        """leaves: where the memory will ask for log-odds. Raises ModelError where there is not enough memory."""
        shape = weights.shape
        self.library, self.shape, self._weights = library, shape, weights
        linears = [weights.head]
        linears += [getattr(layer, name) for layer in weights.layers for name in Layer.__dataclass_fields__]
        kept: list[Any] = []
        matrices = (MatrixSetup * len(linears))(*[_matrix(linear, kept) for linear in linears])
        rotary = Rotary(shape.head_dim, shape.rope_theta).digits()
        self._tables: list[NDArray[Any]] = [exp_table().astype(np.int32), sigmoid_table(), *rotary]
        exp, sigmoid, *angles = [address(table) for table in self._tables]
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
        if leaves is not None:
            self._tables += leaves
            setup.order, setup.path_start, setup.path_middle, setup.logarithm = [address(part) for part in leaves]
        self.handle = library.model_create(setup)
        if not self.handle:
            raise ModelError(_NO_ROOM)

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self.library.model_destroy(self.handle)

    def with_leaves(self, leaves: Leaves) -> "NativeModel":
        """The same model, which gives log-odds."""
        return NativeModel(self._weights, self.library, leaves)

    def streams(self, count: int) -> "NativeStreams":
        """That many streams that have seen nothing."""
        return NativeStreams(self, count)


def _matrix(linear: Linear, kept: list[Any]) -> MatrixSetup:
    """``kept`` is what must live until C has copied it."""
    weights = np.ascontiguousarray(np.concatenate(linear.parts).T.astype(np.int8))
    part_inputs = np.array([len(part) for part in linear.parts], np.int32)
    arrays: list[NDArray[Any] | None] = [part_inputs, weights, linear.scale, linear.bias]
    kept.append(arrays)
    return MatrixSetup(*weights.shape, len(part_inputs), *[address(array) for array in arrays])


class NativeStreams:
    """A context (see ``llmzip.predictor.ExactContext``) that one thread moves on."""

    def __init__(self, model: NativeModel, streams: int) -> None:
        self._model, self.streams = model, streams
        self._library = model.library
        check_cache(model.shape, streams, model.shape.window)
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

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """[streams, n, vocabulary] float32, in nats: before each token, which is then seen."""
        logits = np.empty((*tokens.shape, self._model.shape.vocabulary_size), np.float32)
        for part in self._parts(tokens):
            chosen = self._read(tokens[:, part])
            some = np.empty((*chosen.shape, logits.shape[2]), np.float32)
            self._library.streams_logits(self._handle, 0, address(some))
            logits[:, part] = some
        return logits

    def scores(self, tokens: NDArray[np.int64], score: Score) -> NDArray[np.int16]:
        """[streams, n, k]: see ``llmzip.predictor.ExactContext``."""
        results = []
        for part in self._parts(tokens):
            chosen = self._read(tokens[:, part])
            frequencies = np.empty((chosen.size, self._model.shape.vocabulary_size), np.int32)
            self._library.streams_frequencies(self._handle, 0, address(frequencies))
            found = score(frequencies.astype(np.int64), chosen.ravel().astype(np.int64))
            results.append(found.reshape(*chosen.shape, -1))
        return np.concatenate(results, 1)

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
