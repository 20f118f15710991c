"""Starts a rung from a smaller finished one: more layers that do nothing yet, so that no compute is lost.

A layer whose output matrices are zero is the identity, so the grown model begins with exactly the smaller one's
loss (Net2Net, Chen et al. 2016, arXiv 1511.05641; for depth, LLaMA Pro, Wu et al. 2024, arXiv 2401.02415).
"""

from pathlib import Path

import torch
from torch import Tensor

from llmzip.engine.weights import read_config, read_tensors
from llmzip.training.rungs import Rung


def grown_state(folder: Path, rung: Rung) -> dict[str, Tensor]:
    """The first state of a ``TrainedModel`` of ``rung``, from a Hugging Face folder that ``export`` wrote.

    Widths must agree; layers may be fewer. Each old layer is followed by copies of itself whose outputs are zero.
    """
    shape = read_config(folder)
    widths = (shape.hidden_size, shape.heads, shape.key_value_heads, shape.head_dim, shape.feed_forward_size)
    if widths != (rung.hidden_size, rung.heads, rung.key_value_heads, rung.head_dim, rung.feed_forward_size):
        raise ValueError(f"{folder} has other widths than {rung.name}: only layers can be added")
    if shape.layers > rung.layers:
        raise ValueError(f"{folder} has {shape.layers} layers, more than the {rung.layers} of {rung.name}")
    tensors = {name: torch.from_numpy(values.copy()) for name, values in read_tensors(folder).items()}
    state = {"embedding": tensors["model.embed_tokens.weight"], "final_norm": tensors["model.norm.weight"]}
    previous = -1
    for index in range(rung.layers):
        source = index * shape.layers // rung.layers
        old, new = f"model.layers.{source}.", f"blocks.{index}."
        attention, mlp = old + "self_attn.", old + "mlp."
        fused = [tensors[f"{attention}{name}_proj.weight"] for name in "qkv"]
        gate_up = [tensors[f"{mlp}{name}_proj.weight"] for name in ("gate", "up")]
        own = float(source != previous)  # 0 for a copy, which begins as the identity
        state |= {
            new + "attention_norm": tensors[old + "input_layernorm.weight"].clone(),
            new + "feed_forward_norm": tensors[old + "post_attention_layernorm.weight"].clone(),
            new + "query_key_value": torch.cat(fused),
            new + "attention_out": own * tensors[attention + "o_proj.weight"],
            new + "gate_up": torch.cat(gate_up),
            new + "down": own * tensors[mlp + "down_proj.weight"],
        }
        previous = source
    return state
