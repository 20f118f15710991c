"""LoRA adapters (Hu et al. 2021, arXiv 2106.09685) in PEFT's form, merged into the tensors of their base.

The merged weights are the same bits on every machine: products of a low rank are added one by one. What is more than
plain LoRA is refused with the remedy. May import ``documents``, ``model_folder``, ``stored_tensors`` and ``errors``.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.checkpoints import Checkpoint, as_float32
from llmzip.documents import read
from llmzip.errors import ModelError
from llmzip.stored_tensors import AGAIN, StoredTensor, read_header

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PLAIN: dict[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": ([], None),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
}
"""Entry of the configuration -> what plain LoRA has there."""


def merged(base: Checkpoint, folder: Path) -> Checkpoint:
    """The base with the adapter in ``folder`` added to its matrices. Raises ModelError."""
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{folder} has no {CONFIG}: after the + name the folder of a LoRA adapter")
    config = read(folder / CONFIG, dict[str, Any], remedy=AGAIN, error=ModelError)
    scale = _scale(config, folder)
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"{folder} has no {WEIGHTS} (pickled adapters are never loaded): save it as safetensors")
    stored = read_header(folder / WEIGHTS)
    pairs = _pairs(stored, base, folder)

    def take(name: str) -> NDArray[np.float32]:
        weights = base.take(name)
        if name not in pairs:
            return weights
        down, up = (as_float32(stored_name, stored[stored_name]) for stored_name in pairs[name])
        if down.ndim != 2 or up.ndim != 2 or (len(up), down.shape[1]) != weights.shape or up.shape[1] != len(down):
            raise ModelError(f"{folder}: {pairs[name][0]} does not fit {name} of {base.where}: name its own base")
        change = np.zeros(weights.shape)
        for row, column in zip(down.astype(np.float64), up.T.astype(np.float64), strict=True):
            change += column[:, None] * row
        return weights + (change * scale).astype(np.float32)

    files = [folder / CONFIG, folder / WEIGHTS]
    return replace(
        base,
        take=take,
        receiver_bytes=base.receiver_bytes + sum(file.stat().st_size for file in files),
        parameter_count=base.parameter_count + sum(tensor.elements for tensor in stored.values()),
    )


def _scale(config: dict[str, Any], folder: Path) -> float:
    for key, plain in _PLAIN.items():
        if config.get(key, plain[-1]) not in plain:
            raise ModelError(
                f"{folder / CONFIG}: {key}: {config.get(key)!r} is more than plain LoRA: merge it with peft "
                "(merge_and_unload, then save_pretrained) and name the folder of that"
            )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank < 1:
        raise ModelError(f"{folder / CONFIG}: r, lora_alpha: {rank!r} and {alpha!r} are no numbers: {AGAIN}")
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _pairs(stored: dict[str, StoredTensor], base: Checkpoint, folder: Path) -> dict[str, tuple[str, str]]:
    """Matrix of the base -> the names of its two factors."""
    pairs = {}
    for name in stored:
        matrix, found, _ = name.removeprefix(_PREFIX).partition(".lora_A.")
        target, up = matrix + ".weight", name.replace(".lora_A.", ".lora_B.")
        if found and up in stored and target in base.names:
            pairs[target] = (name, up)
    if 2 * len(pairs) != len(stored):
        strange = next(name for name in stored if not any(name in pair for pair in pairs.values()))
        raise ModelError(f"{folder}: {strange} belongs to no matrix of {base.where}: name the adapter's own base")
    return pairs
