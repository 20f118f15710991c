"""Weights of version 2: matrices as int8 with a scale a row, norms, and how wide each matrix's inputs may be.

Reads tensors by name from whoever has them (a folder, a GGUF file), checks every bound on the actual weights, and
runs nothing. May import ``errors`` and the modules beside it.
"""

import hashlib
from collections.abc import Callable, Container
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from llmzip.engine.families import Architecture, Folding
from llmzip.engine.weights import SMALLEST_PEAK, WEIGHT_LIMIT
from llmzip.errors import ModelError

WIDE_VERSION = 2
"""Of the arithmetic, in every fingerprint of a model that runs by it (docs/arithmetic.md)."""

INPUT_LIMIT = 32639
"""Inputs of matrices are integers of at most this: 127 * 256 + 127, two digits of int8."""

SUM_LIMIT = (1 << 31) - 1
"""No sum of products is larger, so int32 holds it."""

MATRIX_LIMIT, NORM_LIMIT, OTHER_LIMIT = 512.0, 4096.0, float(1 << 17)
"""Of weights of matrices, of norms, and of biases and embeddings. Inputs are at most 2^17 wide, so a norm gives less
than 2^20, a product less than 2^46, gate * up 2^92, a step of the residual stream 2^118, and 1,024 layers never reach
2^128: no float32 overflows whatever the weights. Trained models stay far below."""

Take = Callable[[str], NDArray[np.float32]]
"""A tensor by its name in Hugging Face's Llama."""


@dataclass(frozen=True)
class Matrix:
    """A quantised matrix: output = (integers @ inputs) * factor * scale + bias."""

    integers: NDArray[np.int8]
    """[outputs, inputs], of at most 127."""
    scale: NDArray[np.float32]
    """[outputs]"""
    bias: NDArray[np.float32] | None
    """[outputs]"""
    limit: int
    """Of the inputs' integers: as many as fit int32 with the largest sum of |integers| of a row."""


@dataclass(frozen=True)
class Norm:
    """The weights of a norm, and what LayerNorm adds at the end."""

    weights: NDArray[np.float32]
    shift: NDArray[np.float32] | None


@dataclass(frozen=True)
class WideLayer:
    """The matrices and norms of one layer."""

    before_attention: Norm | None
    query_key_value: Matrix
    query_norm: Norm | None
    key_norm: Norm | None
    attention_out: Matrix
    after_attention: Norm | None
    before_feed: Norm | None
    gate_up: Matrix
    down: Matrix
    after_feed: Norm | None


@dataclass(frozen=True)
class WideWeights:
    """A whole model, ready for the engine."""

    architecture: Architecture
    embedding: NDArray[np.float32]
    """[vocabulary, hidden]"""
    layers: tuple[WideLayer, ...]
    last: Norm
    head: Matrix
    digest: bytes
    """SHA-256 over every number above and the arithmetic's version."""


def quantised(matrix: NDArray[np.float32], bias: NDArray[np.float32] | None = None) -> Matrix:
    """Rows to integers: scale = peak / 127, integer = rint(weight / scale); and the limit that int32 leaves inputs."""
    check_magnitude(matrix, MATRIX_LIMIT)
    if bias is not None:
        check_magnitude(bias, OTHER_LIMIT)
    integers = np.empty(matrix.shape, np.int8)
    scale = np.empty(len(matrix), np.float32)
    largest = 1
    for first in range(0, len(matrix), 4096):
        rows = matrix[first : first + 4096]
        peak = np.maximum(np.abs(rows).max(axis=1), np.float32(SMALLEST_PEAK))
        scale[first : first + 4096] = peak / np.float32(WEIGHT_LIMIT)
        part = np.rint(rows / scale[first : first + 4096, None])
        integers[first : first + 4096] = part
        largest = max(largest, int(np.abs(part).sum(axis=1, dtype=np.float64).max()))
    return Matrix(integers, scale, bias, min(INPUT_LIMIT, SUM_LIMIT // largest))


def check_magnitude(values: NDArray[np.float32], limit: float) -> None:
    """ModelError where something is beyond the limit or no number."""
    if not np.abs(values).max(initial=0) <= limit:  # written so that NaN fails too
        raise ModelError(f"weights or biases reach beyond {limit:.0f}: this checkpoint is broken")


def load_wide(architecture: Architecture, folding: Folding, take: Take, names: Container[str]) -> WideWeights:
    """Reads, checks, folds and quantises a model. Raises ModelError.

    take: gives the tensors named in ``names``, by Hugging Face's names for the architecture's family.
    """
    return _Loader(architecture, folding, take, names).load()


class _Loader:
    """One load: what is needed of each tensor."""

    def __init__(self, architecture: Architecture, folding: Folding, take: Take, names: Container[str]) -> None:
        self._architecture, self._folding, self._take, self._names = architecture, folding, take, names

    def load(self) -> WideWeights:
        a = self._architecture
        layers = tuple(self._layer(f"model.layers.{index}.") for index in range(len(a.layers)))
        own, shared = "lm_head.weight", "model.embed_tokens.weight"
        stored = self._tensor(shared if shared in self._names else own, a.vocabulary_size, a.hidden_size)
        untied = own in self._names and not (self._folding.tied and shared in self._names)
        output = self._tensor(own, a.vocabulary_size, a.hidden_size) if untied else stored
        head = quantised(output, self._bias(["lm_head"], [a.vocabulary_size]))
        if self._folding.logits != 1.0:
            divisor = np.float32(self._folding.logits)
            bias = None if head.bias is None else head.bias / divisor
            head = replace(head, scale=head.scale / divisor, bias=bias)
        last = self._norm("model.norm", a.hidden_size)
        embedding = stored * np.float32(self._folding.embedding) if self._folding.embedding != 1.0 else stored
        check_magnitude(embedding, OTHER_LIMIT)
        return WideWeights(a, embedding, layers, last, head, _digest(a, embedding, layers, last, head))

    def _layer(self, prefix: str) -> WideLayer:
        a, attention, feed = self._architecture, prefix + "self_attn.", prefix + "mlp."
        query, key_value, inner = a.heads * a.head_dim, a.key_value_heads * a.head_dim, a.feed_forward_size
        if self._folding.fused:
            joined = {attention + "qkv_proj": query + 2 * key_value}, {feed + "gate_up_proj": 2 * inner}
        else:
            joined = (
                {attention + "q_proj": query, attention + "k_proj": key_value, attention + "v_proj": key_value},
                {feed + "gate_proj": inner, feed + "up_proj": inner},
            )
        heads = (a.heads, a.key_value_heads) if a.query_key_norm == "whole" else (1, 1)
        query_norm, key_norm = (
            self._norm(f"{attention}{part}_norm", a.head_dim * count) if a.query_key_norm else None
            for part, count in zip("qk", heads, strict=True)
        )
        before_feed = "pre_feedforward_layernorm" if a.norms == "both" else "post_attention_layernorm"
        before, after = a.norms != "after", a.norms != "before"
        return WideLayer(
            self._norm(prefix + "input_layernorm", a.hidden_size) if before else None,
            self._joined(joined[0], a.hidden_size),
            query_norm,
            key_norm,
            self._out(attention + "o_proj", a.hidden_size, query),
            self._norm(prefix + "post_attention_layernorm", a.hidden_size) if after else None,
            self._norm(prefix + before_feed, a.hidden_size) if before else None,
            self._joined(joined[1], a.hidden_size),
            self._out(feed + "down_proj", a.hidden_size, inner),
            self._norm(prefix + "post_feedforward_layernorm", a.hidden_size) if after else None,
        )

    def _joined(self, sizes: dict[str, int], inputs: int) -> Matrix:
        matrix = np.concatenate([self._tensor(name + ".weight", rows, inputs) for name, rows in sizes.items()])
        return quantised(matrix, self._bias(list(sizes), list(sizes.values())))

    def _out(self, name: str, outputs: int, inputs: int) -> Matrix:
        matrix, bias = self._tensor(name + ".weight", outputs, inputs), self._bias([name], [outputs])
        if self._folding.residual != 1.0:
            factor = np.float32(self._folding.residual)
            matrix, bias = matrix * factor, None if bias is None else bias * factor
        return quantised(matrix, bias)

    def _norm(self, name: str, size: int) -> Norm:
        weights, shift = self._tensor(name + ".weight", size), name + ".bias"
        if self._folding.norm_offset:
            weights = weights + np.float32(self._folding.norm_offset)
        norm = Norm(weights, self._tensor(shift, size) if shift in self._names else None)
        check_magnitude(norm.weights, NORM_LIMIT)
        if norm.shift is not None:
            check_magnitude(norm.shift, OTHER_LIMIT)
        return norm

    def _bias(self, names: list[str], sizes: list[int]) -> NDArray[np.float32] | None:
        names = [name + ".bias" for name in names]
        found = [self._tensor(name, size) for name, size in zip(names, sizes, strict=True) if name in self._names]
        if found and len(found) != len(names):
            raise ModelError(f"the model has some of the biases {', '.join(names)} but not all: take it again")
        return np.concatenate(found) if found else None

    def _tensor(self, name: str, *size: int) -> NDArray[np.float32]:
        if name not in self._names:
            raise ModelError(f"the model lacks the tensor {name}: take it again")
        tensor = self._take(name)
        if tensor.shape != size:
            raise ModelError(f"tensor {name} is {tensor.shape}, config.json says {size}: they do not belong together")
        return tensor


def _digest(
    architecture: Architecture,
    embedding: NDArray[np.float32],
    layers: tuple[WideLayer, ...],
    last: Norm,
    head: Matrix,
) -> bytes:
    hasher = hashlib.sha256(f"{WIDE_VERSION} {architecture}".encode())
    hasher.update(embedding.astype("<f4").tobytes())

    def add(array: NDArray[np.float32] | None) -> None:
        hasher.update(b"\0" if array is None else b"\1" + array.astype("<f4").tobytes())

    for part in [value for layer in layers for value in vars(layer).values()] + [last, head]:
        if isinstance(part, Matrix):
            hasher.update(f"{part.integers.shape} {part.limit}".encode() + part.integers.tobytes())
            add(part.scale)
            add(part.bias)
        else:
            add(None if part is None else part.weights)
            add(None if part is None else part.shift)
    return hasher.digest()
