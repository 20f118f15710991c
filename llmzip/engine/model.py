"""The layers: weights and operations put together, with a cache of keys and values for every stream.

``ExactStreams`` is what the predictor hands to the codec. Decoding calls it a token at a time, encoding many
positions at a time; the arithmetic makes that one result. May import the rest of ``engine`` and ``predictor``.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.engine.array_ops import ArrayOps
from llmzip.engine.backends import Array, NumpyBackend, TorchBackend
from llmzip.engine.tables import MAXIMUM_POSITION, Rotary
from llmzip.engine.weights import Layer, Linear, Shape, Weights
from llmzip.errors import ModelError
from llmzip.predictor import Score

CHUNK_POSITIONS = 64
"""Positions of one stream that are computed together at most; also the spare room of the cache."""

CHUNK_ROWS = 1024
"""Rows (streams x positions) computed together, as far as there are that many positions."""

OUTPUT_ROWS = 128
"""Rows of output distributions computed together: [128, 4096] float32 is 2 MiB, about a core's cache."""

CACHE_LIMIT_BYTES = 4 << 30
"""No archive and no text makes the keys and values of a context's streams larger than this."""


class ExactModel:
    """Weights on a backend and the operations that run there."""

    def __init__(self, weights: Weights, engine: str = "numpy") -> None:
        """engine: "numpy", "torch" or "torch:DEVICE". Raises ModelError."""
        backend: NumpyBackend | TorchBackend
        if engine == "numpy":
            backend = NumpyBackend()
        elif engine == "torch" or engine.startswith("torch:"):
            try:
                backend = TorchBackend(engine.partition(":")[2] or "cpu")
            except ImportError:
                raise ModelError(
                    "torch is not installed: pip install 'llmzip[torch]', or use the numpy engine"
                ) from None
            except (RuntimeError, AssertionError, TypeError) as error:  # what torch raises for devices it cannot use
                raise ModelError(f"this device cannot be used: {str(error).splitlines()[0]}") from None
        else:
            raise ModelError(f"engine {engine!r} is unknown: use auto, native, numpy, torch or torch:DEVICE")
        self.shape, self.backend = weights.shape, backend
        self.embedding = backend.array(weights.embedding)
        self.layers = [
            Layer(*(self._place(getattr(layer, name)) for name in Layer.__dataclass_fields__))
            for layer in weights.layers
        ]
        self.head = self._place(weights.head)
        self.rotary = Rotary(self.shape.head_dim, self.shape.rope_theta)
        self.ops = ArrayOps(self.shape, backend)

    def streams(self, count: int) -> "ExactStreams":
        """That many streams that have seen nothing."""
        return ExactStreams(self, count)

    def _place(self, linear: Linear) -> Linear:
        place: Any = self.backend.array
        return replace(
            linear,
            parts=tuple(place(part) for part in linear.parts),
            scale=place(linear.scale),
            bias=None if linear.bias is None else place(linear.bias),
        )


def check_cache(shape: Shape, streams: int, slots: int) -> None:
    """ModelError where the keys and values of so many streams would take too much memory."""
    cache_bytes = shape.layers * streams * shape.key_value_heads * slots * (2 * shape.head_dim + 8)
    if cache_bytes > CACHE_LIMIT_BYTES:
        raise ModelError(
            f"{streams} streams of this model need {cache_bytes >> 20:,} MiB of cache, more than "
            f"{CACHE_LIMIT_BYTES >> 20:,}: use fewer with --streams, or a smaller model"
        )


class ExactStreams:
    """A context (see ``llmzip.predictor.ExactContext``): what each stream has seen, as cached keys and values."""

    def __init__(self, model: ExactModel, streams: int) -> None:
        self._model, self._streams = model, streams
        shape, zeros = model.shape, model.backend.zeros
        self._capacity = shape.window - 1 + 2 * CHUNK_POSITIONS
        size = (streams, shape.key_value_heads, self._capacity)
        check_cache(shape, streams, self._capacity)
        self._cache = [
            (
                zeros((*size[:2], shape.head_dim, size[2]), "int8"),
                zeros(size, "float32"),
                zeros((*size, shape.head_dim), "int8"),
                zeros(size, "float32"),
            )
            for _ in model.layers
        ]
        self._filled = 0  # cache slots in use
        self._position = 0  # of the next token
        self._last: Array = None  # [streams, hidden] state after the newest token
        self._last = self._extend(np.full((streams, 1), shape.start_token, np.int64))

    @property
    def streams(self) -> int:
        return self._streams

    def next_frequencies(self) -> NDArray[np.int64]:
        ops = self._model.ops
        q, factor = ops.norm(self._last)
        return ops.frequencies(ops.linear(q, self._model.head), factor, self._model.head)

    def append(self, tokens: NDArray[np.int64]) -> None:
        self._last = self._extend(tokens[:, None])

    def intervals(self, tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        def interval(y: Array, factor: Array, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
            return np.stack(self._model.ops.intervals(y, factor, self._model.head, chosen), 1)

        both = self._outputs(tokens, interval)
        return both[:, :, 0], both[:, :, 1]

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """[streams, n, vocabulary] float32 before each of [streams, n] tokens, which are then seen. Never to code."""

        def logits(y: Array, factor: Array, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
            found: NDArray[np.float32] = self._model.backend.numpy(self._model.ops.scaled(y, factor, self._model.head))
            return found

        return self._outputs(tokens, logits)

    def scores(self, tokens: NDArray[np.int64], score: Score) -> NDArray[np.int16]:
        def scored(y: Array, factor: Array, chosen: NDArray[np.int64]) -> NDArray[np.int16]:
            return score(self._model.ops.frequencies(y, factor, self._model.head), chosen)

        return self._outputs(tokens, scored)

    def _outputs(self, tokens: NDArray[np.int64], output: Callable[[Array, Array, Any], Any]) -> NDArray[Any]:
        """``output`` of the logits before each token, their factor and the token: [streams, n, k] from [rows, k]."""
        model, streams, length = self._model, self._streams, tokens.shape[1]
        results = []
        chunk = min(CHUNK_POSITIONS, max(8, CHUNK_ROWS // streams))
        for first in range(0, length, chunk):
            part = tokens[:, first : first + chunk]
            hidden = self._extend(part).reshape(streams, part.shape[1], -1)
            # The distribution of a token follows from the state before it.
            before = model.backend.concatenate([self._last[:, None], hidden[:, :-1]], 1)
            self._last = hidden[:, -1]
            ops, rows = model.ops, before.reshape(streams * part.shape[1], -1)
            blocks = []
            for row in range(0, len(rows), OUTPUT_ROWS):
                q, factor = ops.norm(rows[row : row + OUTPUT_ROWS])
                blocks.append(output(ops.linear(q, model.head), factor, part.ravel()[row : row + OUTPUT_ROWS]))
            results.append(np.concatenate(blocks).reshape(streams, part.shape[1], -1))
        return np.concatenate(results, 1)

    def _extend(self, tokens: NDArray[np.int64]) -> Array:
        """Runs the layers over [streams, length] new tokens (at most CHUNK_POSITIONS); [streams * length, hidden]."""
        model, streams, length = self._model, self._streams, tokens.shape[1]
        if self._position + length > MAXIMUM_POSITION:
            raise ModelError(f"a stream is longer than {MAXIMUM_POSITION} tokens: use more streams or smaller frames")
        self._make_room(length)
        backend, ops = model.backend, model.ops
        before, after = self._filled, self._filled + length
        cosine, sine = (backend.array(table) for table in model.rotary.at(self._position, length))
        x = model.embedding[backend.array(tokens.ravel())]
        for layer, (keys, key_peaks, values, value_peaks) in zip(model.layers, self._cache, strict=True):
            q, factor = ops.norm(x)
            y = ops.linear(q, layer.query_key_value)
            query, query_peak, key, key_peak, value, value_peak = ops.rotate(
                y, factor, layer.query_key_value, cosine, sine, streams
            )
            keys[:, :, :, before:after] = backend.transpose(key, 0, 2, 3, 1)
            key_peaks[:, :, before:after] = backend.transpose(key_peak, 0, 2, 1)
            values[:, :, before:after] = backend.transpose(value, 0, 2, 1, 3)
            value_peaks[:, :, before:after] = backend.transpose(value_peak, 0, 2, 1)
            mixed = ops.attend(query, query_peak, keys, key_peaks, values, value_peaks, after)
            q, peak = ops.quantise(mixed)
            x = ops.add(x, ops.linear(q, layer.attention_out), peak, layer.attention_out)
            q, factor = ops.norm(x)
            q, peak = ops.gate(ops.linear(q, layer.gate_up), factor, layer.gate_up)
            x = ops.add(x, ops.linear(q, layer.down), peak, layer.down)
        self._filled, self._position = after, self._position + length
        return x

    def _make_room(self, length: int) -> None:
        """Moves the window to the front of the cache when the back is reached."""
        if self._filled + length <= self._capacity:
            return
        kept = self._model.shape.window - 1
        for keys, key_peaks, values, value_peaks in self._cache:
            keys[..., :kept] = _copy(keys[..., self._filled - kept : self._filled])
            values[:, :, :kept] = _copy(values[:, :, self._filled - kept : self._filled])
            for peaks in (key_peaks, value_peaks):
                peaks[..., :kept] = _copy(peaks[..., self._filled - kept : self._filled])
        self._filled = kept


def _copy(array: Array) -> Array:
    """Source and target of a move can overlap."""
    return array.copy() if isinstance(array, np.ndarray) else array.clone()
