"""Writes a trained model as an ordinary Hugging Face folder (Mistral) of float16 tensors: what the card calls float.

``store`` makes the small folder that is shipped from it. Files stay below 16 MiB, so that they travel anywhere.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor

from llmzip.training.model import NORM_EPSILON, ROPE_THETA
from llmzip.training.rungs import START_TOKEN, VOCABULARY_SIZE, Rung

FILE_BYTES = 15 << 20


def hugging_face_tensors(state: dict[str, Tensor], rung: Rung) -> dict[str, NDArray[np.float16]]:
    """The trained tensors under Mistral's names, fused matrices taken apart, in float16."""
    query, key_value = rung.heads * rung.head_dim, rung.key_value_heads * rung.head_dim
    tensors = {"model.embed_tokens.weight": state["embedding"], "model.norm.weight": state["final_norm"]}
    for index in range(rung.layers):
        old, new = f"blocks.{index}.", f"model.layers.{index}."
        q, k, v = state[old + "query_key_value"].split((query, key_value, key_value))
        gate, up = state[old + "gate_up"].chunk(2)
        tensors |= {
            new + "input_layernorm.weight": state[old + "attention_norm"],
            new + "post_attention_layernorm.weight": state[old + "feed_forward_norm"],
            new + "self_attn.q_proj.weight": q,
            new + "self_attn.k_proj.weight": k,
            new + "self_attn.v_proj.weight": v,
            new + "self_attn.o_proj.weight": state[old + "attention_out"],
            new + "mlp.gate_proj.weight": gate,
            new + "mlp.up_proj.weight": up,
            new + "mlp.down_proj.weight": state[old + "down"],
        }
    return {name: tensor.detach().to("cpu", torch.float16).contiguous().numpy() for name, tensor in tensors.items()}


def hugging_face_config(rung: Rung) -> dict[str, object]:
    """``config.json`` for the rung."""
    return {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "vocab_size": VOCABULARY_SIZE,
        "hidden_size": rung.hidden_size,
        "intermediate_size": rung.feed_forward_size,
        "num_hidden_layers": rung.layers,
        "num_attention_heads": rung.heads,
        "num_key_value_heads": rung.key_value_heads,
        "head_dim": rung.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": 1 << 20,
        "sliding_window": rung.window,
        "rms_norm_eps": NORM_EPSILON,
        "rope_theta": ROPE_THETA,
        "tie_word_embeddings": True,
        "bos_token_id": START_TOKEN,
        "eos_token_id": None,
        "pad_token_id": None,
        "torch_dtype": "float16",
    }


def write_model(tensors: Mapping[str, NDArray[Any]], config: Mapping[str, object], folder: Path) -> None:
    """Writes ``config.json`` and the safetensors, in as many files as keep each below ``FILE_BYTES``."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.safetensors*"):
        old.unlink()
    parts: list[dict[str, NDArray[Any]]] = [{}]
    for name, values in tensors.items():
        if sum(other.nbytes for other in parts[-1].values()) + values.nbytes > FILE_BYTES:
            parts.append({})
        parts[-1][name] = values
    names = [f"model-{number:05}-of-{len(parts):05}.safetensors" for number in range(1, len(parts) + 1)]
    names = names if len(parts) > 1 else ["model.safetensors"]
    for name, part in zip(names, parts, strict=True):
        (folder / name).write_bytes(save(part, metadata={"format": "pt"}))
    if len(parts) > 1:
        index = {tensor: name for name, part in zip(names, parts, strict=True) for tensor in part}
        size = sum(values.nbytes for values in tensors.values())
        write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": index})
    write_json(folder / "config.json", config)


def write_json(path: Path, value: object) -> None:
    """Indented, with a last line end, the same on every system."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8", newline="\n")


def export_model(state: dict[str, Tensor], rung: Rung, folder: Path) -> None:
    """Writes the float folder; the tokenizer files are written by ``bpe.save_tokenizer``."""
    tensors = hugging_face_tensors(state, rung)
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} does not fit float16")
    write_model(tensors, hugging_face_config(rung), folder)
