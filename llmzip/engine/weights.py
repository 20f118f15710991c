"""Reads a Llama-family checkpoint and turns its matrices into small integers with one scale a row.

Reads safetensors only (never pickles), checks every bound of the exact arithmetic on the actual weights, and
runs nothing. May import ``model_folder``, ``stored_tensors``, ``documents`` and ``errors``.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors
from msgspec import Meta
from numpy.typing import NDArray

from llmzip import model_folder
from llmzip.documents import Count, Size, convert
from llmzip.errors import ModelError
from llmzip.stored_tensors import AGAIN

ACTIVATION_LIMIT = 127
WEIGHT_LIMIT = 127
SMALLEST_PEAK = 1e-20
"""Stands in for the peak of an all-zero row, which would divide by zero."""

EXACT_LIMIT = 1 << 24
"""Integers up to this are exact in float32, and so are their sums as long as they stay below it."""

MAGNITUDE_LIMIT = float(1 << 17)
"""Of weights (norms folded in), biases and embeddings. Inputs are at most 2^17 wide, so a product is at most
2^17 * 2^7.5 * 2^17 < 2^42, gate * up < 2^84, a residual step < 2^118, and no float32 ever overflows."""

ENGINE_VERSION = 1
"""Part of every fingerprint: raise it with any change of the arithmetic."""

FAMILIES = {"llama", "mistral", "qwen2"}
"""``model_type`` values that are this architecture: RMSNorm, rotary positions, grouped-query attention, SwiGLU."""

LARGEST_HEAD_DIM = 1040
"""So that a score of 127 * 127 * head_dim stays exact."""

DEFAULT_WINDOW = 1024
"""Attention window in tokens for a checkpoint that states none."""


@dataclass(frozen=True)
class Linear:
    """A quantised matrix: output = (integers @ activations) * scale + bias."""

    parts: tuple[NDArray[np.float32], ...]
    """Each [inputs, outputs] float32 holding integers; split along the inputs so that no partial sum can round."""
    scale: NDArray[np.float32]
    """[outputs]"""
    bias: NDArray[np.float32] | None
    """[outputs], or None"""


@dataclass(frozen=True)
class Layer:
    """The four matrices of one layer, norms folded in."""

    query_key_value: Linear
    attention_out: Linear
    gate_up: Linear
    down: Linear


@dataclass(frozen=True)
class Shape:
    """The numbers of ``config.json`` that the arithmetic depends on."""

    vocabulary_size: int
    hidden_size: int
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    feed_forward_size: int
    window: int
    rope_theta: float
    norm_epsilon: float
    start_token: int


@dataclass(frozen=True)
class Weights:
    """A whole model, ready for the engine."""

    shape: Shape
    embedding: NDArray[np.float32]
    """[vocabulary, hidden]"""
    layers: tuple[Layer, ...]
    head: Linear
    digest: bytes
    """SHA-256 over every number above and the engine's version."""


_Token = Annotated[int, Meta(ge=0, le=(1 << 20) - 1)]
_Tokens = _Token | Annotated[list[_Token], Meta(min_length=1)]
_Base = Annotated[float, Meta(ge=1.0, le=1e12)]


@dataclass(frozen=True)
class _Rope:
    rope_theta: _Base | None = None


@dataclass(frozen=True)
class _Config:
    """What is read of ``config.json``, and within which bounds."""

    num_attention_heads: Annotated[int, Meta(ge=1, le=1 << 10)]
    hidden_size: Annotated[int, Meta(ge=1, le=1 << 15)]
    num_hidden_layers: Annotated[int, Meta(ge=1, le=1 << 10)]
    vocab_size: Annotated[int, Meta(ge=3, le=1 << 20)]
    intermediate_size: Annotated[int, Meta(ge=1, le=1 << 17)]
    max_position_embeddings: Size | None = None
    num_key_value_heads: Annotated[int, Meta(ge=1, le=1 << 10)] | None = None
    head_dim: Annotated[int, Meta(ge=2, le=LARGEST_HEAD_DIM)] | None = None
    sliding_window: Count | None = None
    use_sliding_window: bool | None = None
    rope_theta: _Base | None = None
    rms_norm_eps: Annotated[float, Meta(ge=1e-12, le=1.0)] = 1e-6
    bos_token_id: _Tokens | None = None
    eos_token_id: _Tokens | None = None


def read_config(folder: Path) -> Shape:
    """The shape in ``folder/config.json``; ModelError where it is missing or of another architecture."""
    config = model_folder.read_config(folder)
    if config["model_type"] not in FAMILIES:
        raise ModelError(
            f"model_type {config['model_type']!r} cannot run in the exact engine: "
            f"use one of {', '.join(sorted(FAMILIES))}"
        )
    if config.get("hidden_act", "silu") != "silu":
        raise ModelError(f"hidden_act {config['hidden_act']!r} cannot run in the exact engine: only silu can")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, dict) or rope.get("rope_type", rope.get("type", "default")) != "default":
        raise ModelError(f"rope scaling {rope} cannot run in the exact engine: only plain rotary positions can")
    where = str(folder / model_folder.CONFIG)
    stated = convert(config, _Config, where, remedy=AGAIN, error=ModelError)
    theta = convert(rope, _Rope, where, remedy=AGAIN, error=ModelError).rope_theta
    heads, window = stated.num_attention_heads, stated.sliding_window
    start = stated.bos_token_id if stated.bos_token_id is not None else stated.eos_token_id or 0
    # Qwen2 states a window that it does not use unless a second field says so.
    if not (config["model_type"] != "qwen2" if stated.use_sliding_window is None else stated.use_sliding_window):
        window = None
    shape = Shape(
        vocabulary_size=stated.vocab_size,
        hidden_size=stated.hidden_size,
        layers=stated.num_hidden_layers,
        heads=heads,
        key_value_heads=stated.num_key_value_heads or heads,
        head_dim=stated.head_dim or stated.hidden_size // heads,
        feed_forward_size=stated.intermediate_size,
        window=window or min(DEFAULT_WINDOW, stated.max_position_embeddings or 0),
        rope_theta=theta or stated.rope_theta or 10000.0,
        norm_epsilon=stated.rms_norm_eps,
        start_token=start[0] if isinstance(start, list) else start,
    )
    if not shape.start_token < shape.vocabulary_size:
        raise ModelError(
            f"start token {shape.start_token} is outside the vocabulary of {shape.vocabulary_size}: take it again"
        )
    if (
        shape.heads % shape.key_value_heads
        or shape.head_dim < 2
        or shape.head_dim % 2
        or not 1 <= shape.window <= 1 << 14
    ):
        raise ModelError(
            f"{where}: {shape.heads} heads in {shape.key_value_heads} groups of {shape.head_dim} with a window of "
            f"{shape.window} cannot run: {AGAIN}"
        )
    return shape


def read_tensors(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Every tensor of the files that the loader would read, as float32, by name; int8 times the scale of each row.

    Int8 is compressed-tensors' "int-quantized" format with a scale a row: ``X.weight`` and ``X.weight_scale``.
    """
    tensors: dict[str, NDArray[np.float32]] = {}
    integers: list[str] = []
    for path in model_folder.open_model_folder(folder).weight_files:
        try:
            entries = safetensors.deserialize(path.read_bytes())
        except (OSError, safetensors.SafetensorError) as error:
            raise ModelError(f"{path} is damaged ({error}): take the folder again") from None
        for name, entry in entries:
            tensors[name] = _as_float32(name, entry)
            if entry["dtype"] == "I8":
                integers.append(name)
    for name in integers:
        scale = tensors.pop(name + "_scale", None)
        if scale is None or scale.shape != (*tensors[name].shape[:1], 1) or name + "_zero_point" in tensors:
            raise ModelError(f"tensor {name} is of type I8 without a scale a row: the exact engine reads no other I8")
        tensors[name] *= scale
    return tensors


def _as_float32(name: str, entry: dict[str, Any]) -> NDArray[np.float32]:
    kind, data = entry["dtype"], entry["data"]
    if kind == "F32":
        array = np.frombuffer(data, "<f4").astype(np.float32)
    elif kind == "F16":
        array = np.frombuffer(data, "<f2").astype(np.float32)
    elif kind == "BF16":
        array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    elif kind == "I8":
        array = np.frombuffer(data, np.int8).astype(np.float32)
    else:
        raise ModelError(f"tensor {name} is of type {kind}: the exact engine reads F32, F16, BF16 and I8")
    return array.reshape(entry["shape"])


def quantise_rows(matrix: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """[outputs, inputs] -> integers of at most 127 as float32, and the scale of each row."""
    peak = np.maximum(np.abs(matrix).max(axis=1), np.float32(SMALLEST_PEAK))
    scale = peak / np.float32(WEIGHT_LIMIT)
    integers = matrix / scale[:, None]
    return np.rint(integers, out=integers), scale  # peak / (peak / 127) rounds to 127 at most


def make_linear(matrix: NDArray[np.float32], bias: NDArray[np.float32] | None = None) -> Linear:
    """Quantises and splits along the inputs wherever a sum of products could reach 2^24."""
    _check_magnitude(matrix)
    integers, scale = quantise_rows(matrix)
    worst = np.abs(integers).sum(axis=1, dtype=np.float64).max() * ACTIVATION_LIMIT
    pieces = math.ceil((worst + 1) / EXACT_LIMIT)
    while True:
        parts = np.array_split(integers, pieces, axis=1)
        if all(np.abs(part).sum(axis=1, dtype=np.float64).max() * ACTIVATION_LIMIT < EXACT_LIMIT for part in parts):
            break
        pieces += 1
    return Linear(tuple(np.ascontiguousarray(part.T) for part in parts), scale, bias)


def _check_magnitude(values: NDArray[np.float32]) -> None:
    if not np.abs(values).max(initial=0) <= MAGNITUDE_LIMIT:  # written so that NaN fails too
        raise ModelError(f"weights or biases reach beyond {MAGNITUDE_LIMIT:.0f}: this checkpoint is broken")


def load_weights(folder: Path) -> Weights:
    """Reads, checks and quantises the model in ``folder``. Raises ModelError, never runs anything."""
    shape = read_config(folder)
    tensors = read_tensors(folder)

    def take(name: str, *size: int) -> NDArray[np.float32]:
        if name not in tensors:
            raise ModelError(f"{folder} lacks the tensor {name}: take the folder again")
        if tensors[name].shape != size:
            raise ModelError(
                f"tensor {name} is {tensors[name].shape}, config.json says {size}: they do not belong together"
            )
        _check_magnitude(tensors[name])
        return tensors[name]

    def bias(sizes: dict[str, int]) -> NDArray[np.float32] | None:
        found = [take(name, size) for name, size in sizes.items() if name in tensors]
        if found and len(found) != len(sizes):
            raise ModelError(f"{folder} has some of the biases {', '.join(sizes)} but not all: take it again")
        return np.concatenate(found) if found else None

    hidden, feed_forward = shape.hidden_size, shape.feed_forward_size
    query, key_value = shape.heads * shape.head_dim, shape.key_value_heads * shape.head_dim
    layers = []
    for index in range(shape.layers):
        prefix = f"model.layers.{index}."
        attention, feed = prefix + "self_attn.", prefix + "mlp."
        before_attention = take(prefix + "input_layernorm.weight", hidden)
        before_feed = take(prefix + "post_attention_layernorm.weight", hidden)
        query_key_value = np.concatenate(
            (
                take(attention + "q_proj.weight", query, hidden),
                take(attention + "k_proj.weight", key_value, hidden),
                take(attention + "v_proj.weight", key_value, hidden),
            )
        )
        gate_up = np.concatenate(
            (take(feed + "gate_proj.weight", feed_forward, hidden), take(feed + "up_proj.weight", feed_forward, hidden))
        )
        layers.append(
            Layer(
                make_linear(
                    query_key_value * before_attention,
                    bias({f"{attention}{p}_proj.bias": query if p == "q" else key_value for p in "qkv"}),
                ),
                make_linear(
                    take(attention + "o_proj.weight", hidden, query), bias({attention + "o_proj.bias": hidden})
                ),
                make_linear(
                    gate_up * before_feed,
                    bias({feed + "gate_proj.bias": feed_forward, feed + "up_proj.bias": feed_forward}),
                ),
                make_linear(
                    take(feed + "down_proj.weight", hidden, feed_forward), bias({feed + "down_proj.bias": hidden})
                ),
            )
        )
    # A matrix that is both, input and output, is stored under either name.
    name = "model.embed_tokens.weight"
    embedding = take(name if name in tensors else "lm_head.weight", shape.vocabulary_size, hidden)
    output = take("lm_head.weight", shape.vocabulary_size, hidden) if "lm_head.weight" in tensors else embedding
    head = make_linear(output * take("model.norm.weight", hidden), bias({"lm_head.bias": shape.vocabulary_size}))
    digest = _digest(shape, embedding, [*layers], head)
    return Weights(shape, embedding, tuple(layers), head, digest)


def _digest(shape: Shape, embedding: NDArray[np.float32], layers: list[Layer], head: Linear) -> bytes:
    hasher = hashlib.sha256(f"{ENGINE_VERSION} {shape}".encode())
    hasher.update(embedding.astype("<f4").tobytes())
    linears = [getattr(layer, name) for layer in layers for name in Layer.__dataclass_fields__] + [head]
    for linear in linears:
        for part in linear.parts:
            hasher.update(part.astype(np.int8).tobytes())
        hasher.update(linear.scale.astype("<f4").tobytes())
        hasher.update(b"\0" if linear.bias is None else b"\1" + linear.bias.astype("<f4").tobytes())
    return hasher.digest()
