"""A seeded random model of each family that version 2 of the exact arithmetic runs, as transformers saves it."""

from pathlib import Path
from typing import Any

from hub_material import tokenizer_text, tokenizer_width

_SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
}
_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama 3 positions": ("llama", {"rope_parameters": _LLAMA_3}),
    "linear positions": ("llama", {"rope_parameters": {**_ROPE, "rope_type": "linear", "factor": 2.0}}),
    "yarn positions": ("llama", {"rope_parameters": _YARN}),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "mistral": ("mistral", {"sliding_window": 24}),
    "qwen2": ("qwen2", {}),
    "qwen2, upper layers sliding": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", {}),
    "gemma": ("gemma", {}),
    "gemma2": ("gemma2", {"sliding_window": 24, "query_pre_attn_scalar": 24, "attn_logit_softcapping": 5.0}),
    "gemma3": (
        "gemma3_text",
        {
            "sliding_window": 24,
            "query_pre_attn_scalar": 24,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
    "phi3": ("phi3", {"rope_parameters": {**_ROPE, "partial_rotary_factor": 0.75}, "sliding_window": 30}),
    "olmo2": ("olmo2", {}),
    "smollm3": ("smollm3", {"no_rope_layer_interval": 2}),
    "granite": (
        "granite",
        {
            "embedding_multiplier": 12.0,
            "residual_multiplier": 0.22,
            "attention_multiplier": 0.0625,
            "logits_scaling": 0.5,
        },
    ),
    "stablelm": ("stablelm", {"rope_parameters": {**_ROPE, "partial_rotary_factor": 0.5}, "use_qkv_bias": True}),
}
"""Name -> model_type and what its config says besides."""


def write_family(folder: Path, name: str, *, seed: int = 1, family: str = "byte_level", **config: object) -> Path:
    """A folder with random weights about as sure of themselves as trained ones, norms and biases random too."""
    import torch
    import transformers

    torch.manual_seed(seed)
    kind, special = MODELS[name]
    width = tokenizer_width(family) + 3
    tokens = {"vocab_size": width, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    shape = transformers.AutoConfig.for_model(kind, **{**_SMALL, **tokens, **special, **config})
    model = transformers.AutoModelForCausalLM.from_config(shape)
    offset = 0.0 if kind.startswith("gemma") else 1.0
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 1.2 / parameter.shape[-1] ** 0.5)
            elif parameter_name.endswith("bias"):
                parameter.normal_(0, 0.2)
            else:
                parameter.normal_(offset, 0.3)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer_text(family), encoding="utf-8")
    return folder
