"""Stores a Llama-family folder small: every matrix as the exact engine's own integers, int8 with a scale a row.

Run as ``python -m llmzip.training.store SOURCE OUT``. The folder it writes is compressed-tensors' "int-quantized"
format: ``AutoModelForCausalLM`` loads it where that package is installed, and the engine without it. Norms are
multiplied into the rows that follow them, as the engine does at load, and stored as ones. The input embedding is
also the output matrix: it is stored without the last norm, which the engine multiplies in before it rounds again.
"""

import shutil
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from llmzip import model_folder
from llmzip.engine.weights import SMALLEST_PEAK, WEIGHT_LIMIT, load_weights, read_config, read_tensors
from llmzip.training.export import write_model

QUANTIZATION = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "dequantize": True,  # when transformers loads it: no kernels, the float model of these weights
    "config_groups": {
        "group_0": {
            "targets": ["Linear", "Embedding"],
            "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False},
        }
    },
    "ignore": ["lm_head"],
}
NORM_BEFORE = {"self_attn.q_proj": "input", "self_attn.k_proj": "input", "self_attn.v_proj": "input"}
NORM_BEFORE |= {"mlp.gate_proj": "post_attention", "mlp.up_proj": "post_attention"}
EVERYTHING_ELSE = ("tokenizer.json", "tokenizer_config.json", "card.json", "training.json", "README.md")


def rounded_rows(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """[outputs, inputs] -> integers of at most 127, and the scale of each row, [outputs, 1].

    A scale keeps the 8 leading bits that bfloat16 has. So 127 times it is exact in float32, the largest integer of
    a row is 127 all the same (127 times at most 1 + 2^-8 / 2), and the engine, which rounds the product of the two
    again, finds these integers and this scale: nothing is rounded twice.
    """
    peak = np.maximum(np.abs(matrix).max(axis=1, keepdims=True), np.float32(SMALLEST_PEAK))
    bits = (peak / np.float32(WEIGHT_LIMIT)).view(np.uint32)
    scale = ((bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)
    return np.rint(matrix / scale).astype(np.int8), scale


def small_tensors(tensors: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
    """Tensors by Hugging Face name, float32 -> int8 matrices, float32 scales, and norms and biases in float32."""
    small: dict[str, NDArray[Any]] = {}
    for name, values in tensors.items():
        if values.ndim == 1:
            folded = name.endswith("layernorm.weight")
            small[name] = np.ones_like(values) if folded else values
            continue
        layer, part = ".".join(name.split(".")[:3]), ".".join(name.split(".")[3:5])
        if part in NORM_BEFORE:
            values = values * tensors[f"{layer}.{NORM_BEFORE[part]}_layernorm.weight"]
        small[name], small[name + "_scale"] = rounded_rows(values)
    return small


def store_small(source: Path, out: Path) -> None:
    """Reads the model in ``source`` and writes it to ``out``; raises ModelError where the engine cannot run it."""
    read_config(source)
    tensors = small_tensors(read_tensors(source))
    config = {**model_folder.read_config(source), "torch_dtype": "float32", "quantization_config": QUANTIZATION}
    write_model(tensors, config, out)
    for name in EVERYTHING_ELSE:
        if (source / name).exists() and source.resolve() != out.resolve():
            shutil.copy(source / name, out / name)
    load_weights(out)


def main(
    source: Annotated[Path, typer.Argument(help="Folder of a Llama, Mistral or Qwen2 model.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; the same one replaces the weights.")],
) -> None:
    """Stores a model folder small: int8 with a scale a row."""
    store_small(source, out)
    size = (out / "model.safetensors").stat().st_size
    typer.echo(f"{out / 'model.safetensors'}: {size:,} bytes. The figures on its card are those of {source}.", err=True)


if __name__ == "__main__":
    typer.run(main)
