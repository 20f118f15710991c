"""Writes a trained model as an ordinary Hugging Face folder (Mistral), which ``AutoModelForCausalLM`` loads."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from llmzip.training.model import NORM_EPSILON, ROPE_THETA
from llmzip.training.rungs import START_TOKEN, VOCABULARY_SIZE, Rung


def hugging_face_tensors(state: dict[str, Tensor], rung: Rung) -> dict[str, Tensor]:
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
    return {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in tensors.items()}


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


def export_model(state: dict[str, Tensor], rung: Rung, folder: Path) -> None:
    """Writes ``config.json`` and ``model.safetensors``; the tokenizer files are written by ``bpe.save_tokenizer``."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = hugging_face_tensors(state, rung)
    for name, tensor in tensors.items():
        if not np.isfinite(tensor.numpy()).all():
            raise ValueError(f"{name} does not fit float16")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.dumps(hugging_face_config(rung), indent=2) + "\n"
    (folder / "config.json").write_text(config, encoding="utf-8", newline="\n")
