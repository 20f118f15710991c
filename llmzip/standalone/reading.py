"""Makes a predictor of ``params.bin``: it decodes archives of a model that this llmzip may no longer ship.

The file holds what each token stands for and not the tokenizer's rules, so such a predictor does not compress.
May import ``layout``, ``engine``, ``memory``, ``predictors``, ``predictor`` and ``errors``; ``cli`` imports it.
"""

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmzip.engine.weights import ACTIVATION_LIMIT, ENGINE_VERSION, EXACT_LIMIT, Layer, Linear, Shape, Weights
from llmzip.errors import ModelError
from llmzip.predictors.exact import ExactPredictor, make_model
from llmzip.sources import read_regular
from llmzip.standalone.layout import ALIGNMENT, HEADER, HEADER_BYTES, LAYOUT_VERSION, MAGIC, TABLE_BYTES, Matrix

_LARGEST_BYTES = 1 << 30


class TokenNames:
    """What each token stands for, and no way from a text to tokens."""

    def __init__(self, token_bytes: tuple[bytes, ...]) -> None:
        self.token_bytes = token_bytes

    def tokenize(self, data: bytes) -> NDArray[np.int64]:
        """Raises ModelError: see the module."""
        raise ModelError("params.bin only decodes: name the model's folder with -m to compress")

    def detokenize(self, tokens: NDArray[np.int64]) -> bytes:
        """The bytes of the tokens."""
        return b"".join([self.token_bytes[token] for token in tokens.tolist()])


class _Sections:
    """The arrays of the file in their order."""

    def __init__(self, content: bytes, path: Path) -> None:
        self._content, self._path, self._place = content, path, HEADER_BYTES

    def take(self, kind: str, *size: int) -> NDArray[np.generic]:
        """The next array. Raises ModelError where the file ends before it."""
        start = -(-self._place // ALIGNMENT) * ALIGNMENT
        count = int(np.prod(size))
        self._place = start + count * np.dtype(kind).itemsize
        if self._place > len(self._content):
            raise _damaged(self._path)
        return np.frombuffer(self._content, kind, count, start).reshape(size)

    def matrix(self, outputs: int, inputs: int) -> Matrix:
        """The next matrix."""
        integers = self.take("i1", outputs, inputs)
        return Matrix(integers.astype(np.int8), self.take("<f4", outputs).astype(np.float32))

    def linear(self, outputs: int, inputs: int) -> Linear:
        """The next matrix for the engine; ModelError where its sums could round."""
        matrix = self.matrix(outputs, inputs)
        integers = matrix.integers.astype(np.float32)
        if np.abs(integers).sum(1, dtype=np.float64).max() * ACTIVATION_LIMIT >= EXACT_LIMIT:
            raise _damaged(self._path)
        return Linear((np.ascontiguousarray(integers.T),), matrix.scale, None)


def _damaged(path: Path) -> ModelError:
    return ModelError(f"{path} is damaged: get another copy of params.bin")


def load_params(path: Path, *, threads: int = 0) -> ExactPredictor:
    """The predictor of a ``params.bin``. Raises ModelError where it is none, is damaged, or is of another version."""
    try:
        content = read_regular(path, _LARGEST_BYTES)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): check --params") from None
    if len(content) < HEADER_BYTES or not content.startswith(MAGIC):
        raise ModelError(f"{path} is no params.bin: name the file that llmzip export wrote")
    header = np.frombuffer(content, HEADER, 1)[0]
    if (int(header["layout"]), int(header["engine"])) != (LAYOUT_VERSION, ENGINE_VERSION):
        raise ModelError(f"{path} is of another version than this llmzip: decode with the run.c beside it")
    if int(header["check"]) != zlib.crc32(content[HEADER_BYTES:]):
        raise _damaged(path)
    vocabulary, hidden, layers, heads, groups, dim, feed, window, start, byte_count = header["sizes"].tolist()
    if min(vocabulary - 2, hidden, layers, heads, groups, dim, feed, window, byte_count) < 1 or layers > 1 << 10:
        raise _damaged(path)
    shape = Shape(
        vocabulary_size=vocabulary,
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        key_value_heads=groups,
        head_dim=dim,
        feed_forward_size=feed,
        window=window,
        rope_theta=float(header["rope_theta"]),
        norm_epsilon=float(header["norm_epsilon"]),
        start_token=start,
    )
    sections = _Sections(content, path)
    for size in TABLE_BYTES:  # which follow from the specification, and are computed here
        sections.take("u1", size)
    sections.take("<f8", 24, dim)
    embedding = sections.matrix(vocabulary, hidden)
    head = sections.linear(vocabulary, hidden)
    made = tuple(
        Layer(
            sections.linear((heads + 2 * groups) * dim, hidden),
            sections.linear(hidden, heads * dim),
            sections.linear(2 * feed, hidden),
            sections.linear(hidden, feed),
        )
        for _ in range(layers)
    )
    starts = sections.take("<u4", vocabulary + 1).tolist()
    joined = sections.take("u1", byte_count).tobytes()
    if starts[0] != 0 or starts[-1] != byte_count or sorted(starts) != starts:
        raise _damaged(path)
    tokens = tuple(joined[a:b] for a, b in zip(starts, starts[1:], strict=False))
    values = embedding.integers.astype(np.float32) * embedding.scale[:, None]
    fingerprint = header["fingerprint"].tobytes()
    weights = Weights(shape, values, made, head, fingerprint)
    name = bytes(header["name"]).decode("utf-8", "replace")
    return ExactPredictor(
        make_model(weights), TokenNames(tokens), tokens, name, lambda version: fingerprint, len(content), threads
    )
