"""GGUF files (llama.cpp, Ollama, LM Studio): metadata to a config, tensors to float32 under Hugging Face's names.

Reads through the PyPI package ``gguf``, the extra of that name, which only this module imports. Takes back what the
converter did to the weights: rows of q and k in the order of adjacent rotation pairs, norms with 1 added. May import
``errors`` and the modules beside it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.checkpoints import Checkpoint
from llmzip.checkpoints.gguf_header import check_metadata
from llmzip.checkpoints.gguf_tokenizer import tokenizer_text
from llmzip.errors import ModelError

MODEL_TYPES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "phi3": "phi3",
    "olmo2": "olmo2",
    "smollm3": "smollm3",
    "granite": "granite",
    "stablelm": "stablelm",
}
"""``general.architecture`` -> ``model_type``."""

PERMUTED = {"llama", "smollm3", "granite"}
"""Architectures whose q and k llama.cpp rotates in adjacent pairs, so that their rows stand in that order."""

_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OWN = {
    "gemma2": {"ffn_norm": "pre_feedforward_layernorm"},
    "gemma3": {"ffn_norm": "pre_feedforward_layernorm"},
    "phi3": {"ffn_up": "mlp.gate_up_proj"},
}
_NUMBERS = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "layer_norm_eps": "attention.layer_norm_epsilon",
    "head_dim": "attention.key_length",
    "sliding_window": "attention.sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "embedding_multiplier": "embedding_scale",
    "residual_multiplier": "residual_scale",
    "attention_multiplier": "attention.scale",
    "logits_scaling": "logit_scale",
}
"""Entry of config.json -> entry below the architecture's name in the metadata."""

_FACTORS = "rope_freqs.weight"
_NO_START = ("<|endoftext|>", "<|begin_of_text|>", "<s>", "<bos>")


def open_gguf(path: Path) -> Checkpoint:
    """The model in a GGUF file; a ``tokenizer.json`` beside it is used in place of its own. Raises ModelError."""
    try:
        import gguf
    except ImportError:
        raise ModelError(
            f"{path} is a GGUF file, and the package to read it is missing: pip install 'llmzip[gguf]'"
        ) from None
    try:
        check_metadata(path)
        return _File(path, gguf.GGUFReader(path), gguf).checkpoint()
    except ModelError:
        raise
    except Exception as error:  # the reader believes what it reads, and fails in many ways
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise ModelError(f"{path} is damaged, or no GGUF file ({reason}): fetch it again") from None


class _File:
    """An open file."""

    def __init__(self, path: Path, reader: Any, gguf: Any) -> None:
        self._path, self._reader, self._gguf = path, reader, gguf
        self._architecture = str(self._field("general.architecture"))
        if self._architecture not in MODEL_TYPES:
            raise ModelError(
                f"{path} is of architecture {self._architecture!r}, which the exact engine does not run: "
                f"use one of {', '.join(sorted(MODEL_TYPES))}, or the model's Hugging Face folder with --float"
            )
        if self._field("split.count") not in (None, 0, 1):
            raise ModelError(f"{path} is one part of several: join them with llama.cpp's llama-gguf-split --merge")
        self._stored = {tensor.name: tensor for tensor in reader.tensors}
        self._names = dict(self._renamed(self._stored))
        self._config = self._read_config()

    def checkpoint(self) -> Checkpoint:
        beside = self._path.with_name("tokenizer.json")
        if beside.is_file():
            tokenizer = beside.read_text(encoding="utf-8")
        else:
            tokenizer = tokenizer_text(self._field, str(self._path))
        size = self._path.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)
        counted = sum(int(np.prod(self._stored[stored].shape)) for stored in self._names.values())
        return Checkpoint(self._path, self._config, frozenset(self._names), self._take, tokenizer, size, counted)

    def _field(self, name: str) -> Any:
        field = self._reader.get_field(name)
        return None if field is None else field.contents()

    def _number(self, name: str) -> Any:
        """An entry of the architecture. ModelError where it differs from layer to layer."""
        value = self._field(f"{self._architecture}.{name}")
        if isinstance(value, list):
            if len(set(value)) != 1:
                raise ModelError(f"{self._path}: {name} differs from layer to layer: run its folder with --float")
            value = value[0]
        return value

    def _renamed(self, stored: Iterable[str]) -> Iterable[tuple[str, str]]:
        """(Hugging Face's name, name in the file) of every tensor that is the model."""
        inner = _INNER | _OWN.get(self._architecture, {})
        for name in stored:
            first, *rest = name.split(".")
            if first in _OUTER and len(rest) == 1:
                yield f"{_OUTER[first]}.{rest[0]}", name
            elif first == "blk" and len(rest) == 3 and rest[1] in inner:
                yield f"model.layers.{rest[0]}.{inner[rest[1]]}.{rest[2]}", name
            elif name.startswith("rope_factors_"):
                raise ModelError(
                    f"{self._path} has positions of the kind longrope, which the exact engine does not run: "
                    "run the model's folder with --float"
                )
            elif name != _FACTORS and not name.endswith(("attn_rot_embd", "rope_freqs.weight")):
                raise ModelError(f"{self._path} has a tensor {name} that its architecture should not have: use another")

    def _read_config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"model_type": MODEL_TYPES[self._architecture]}
        for key, name in _NUMBERS.items():
            value = self._number(name)
            if value is not None:
                config[key] = value
        embedding = self._stored.get("token_embd.weight")
        if embedding is None:
            raise ModelError(f"{self._path} has no token_embd.weight: fetch it again")
        config["vocab_size"] = int(embedding.shape[1])
        config["tie_word_embeddings"] = "output.weight" not in self._stored
        config["rope_parameters"] = self._rotation(config)
        if self._architecture == "gemma3":
            config["rope_local_base_freq"] = 10000.0
        config |= self._query_scalar(config)
        config["bos_token_id"] = self._start()
        return config

    def _rotation(self, config: dict[str, Any]) -> dict[str, Any]:
        scaling = self._number("rope.scaling.type")
        rope: dict[str, Any] = {"rope_theta": float(self._number("rope.freq_base") or 10000.0)}
        if scaling not in (None, "none"):
            rope |= {"rope_type": scaling, "factor": self._number("rope.scaling.factor")}
            original = self._number("rope.scaling.original_context_length")
            if original:
                rope["original_max_position_embeddings"] = original
        if _FACTORS in self._stored:
            rope |= {"rope_type": "factors", "factors": self._dequantised(_FACTORS).tolist()}
        head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        turned = self._number("rope.dimension_count")
        if turned:
            rope["partial_rotary_factor"] = turned / head
        return rope

    def _query_scalar(self, config: dict[str, Any]) -> dict[str, Any]:
        """Gemma's, which is in no metadata: the head's size, but for the largest of each generation."""
        largest = {"gemma2": 46, "gemma3": 62}.get(self._architecture)
        if config["num_hidden_layers"] != largest:
            return {}
        return {"query_pre_attn_scalar": config["hidden_size"] // config["num_attention_heads"]}

    def _start(self) -> int | None:
        """The token that begins a text: what the file says is put in front, else what separates texts."""
        start: int | None = self._field("tokenizer.ggml.bos_token_id")
        if start is None or self._field("tokenizer.ggml.add_bos_token") is False:
            tokens = self._field("tokenizer.ggml.tokens") or []
            start = next((tokens.index(name) for name in _NO_START if name in tokens), start)
        end: int | None = self._field("tokenizer.ggml.eos_token_id")
        return end if start is None else start

    def _take(self, name: str) -> NDArray[np.float32]:
        array = self._dequantised(self._names[name])
        part = name.split(".")[-2]
        if self._architecture in PERMUTED and part in ("q_proj", "k_proj"):
            heads = self._config["num_attention_heads" if part == "q_proj" else "num_key_value_heads"]
            rest = array.shape[1:]
            pairs = array.reshape(heads, len(array) // heads // 2, 2, *rest)
            array = np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(array.shape))
        if self._architecture.startswith("gemma") and part.endswith("norm"):
            array = array - np.float32(1)
        return array

    def _dequantised(self, stored: str) -> NDArray[np.float32]:
        tensor = self._stored[stored]
        try:
            values = self._gguf.dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError:
            raise ModelError(
                f"{self._path}: {stored} is of type {tensor.tensor_type.name}, which cannot be read: "
                "take the model in another one, such as Q8_0 or Q4_K_M"
            ) from None
        shape = [int(side) for side in reversed(tensor.shape)]
        result: NDArray[np.float32] = np.asarray(values, np.float32).reshape(shape)
        return result
