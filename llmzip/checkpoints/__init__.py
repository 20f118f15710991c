"""A trained model wherever its files are: a Hugging Face folder, a GGUF file, what other programs keep, an adapter.

``open_checkpoint`` gives its configuration, tokenizer and tensors under the names that Hugging Face gives them; tensors
are read when they are asked for. Computes nothing but what a file's own form asks for, runs nothing. May import
``model_folder``, ``stored_tensors``, ``documents`` and ``errors``; ``predictors`` and ``cli`` import it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelError
from llmzip.model_folder import open_model_folder, read_tokenizer_text
from llmzip.stored_tensors import StoredTensor

Take = Callable[[str], NDArray[np.float32]]


@dataclass(frozen=True)
class Checkpoint:
    """A model as its files hold it."""

    where: Path
    """The folder or file, for messages and names."""
    config: dict[str, Any]
    """As in config.json."""
    names: frozenset[str]
    take: Take
    """A tensor by its name. Raises ModelError where it is of a type that is not read."""
    tokenizer: str
    """The text of a tokenizer.json."""
    receiver_bytes: int
    """What a receiver must hold: the files."""
    parameter_count: int


def open_checkpoint(path: Path) -> Checkpoint:
    """The model in a folder or GGUF file. Raises ModelError, with what to do."""
    if path.is_file():
        from llmzip.checkpoints.gguf_file import open_gguf

        return open_gguf(path)
    folder = open_model_folder(path)
    tokenizer = read_tokenizer_text(path)
    if tokenizer is None:
        raise ModelError(f"{path} has no tokenizer.json: add it, or run the model with --float")
    return Checkpoint(
        path,
        folder.config,
        frozenset(folder.tensors),
        lambda name: as_float32(name, folder.tensors[name]),
        tokenizer,
        folder.receiver_bytes,
        folder.parameter_count,
    )


def as_float32(name: str, tensor: StoredTensor) -> NDArray[np.float32]:
    """A tensor of a safetensors file: F32, F16 and BF16, each of which float32 holds exactly. Raises ModelError."""
    data = b"".join(tensor.blocks())
    if tensor.dtype == "F32":
        array = np.frombuffer(data, "<f4").astype(np.float32)
    elif tensor.dtype == "F16":
        array = np.frombuffer(data, "<f2").astype(np.float32)
    elif tensor.dtype == "BF16":
        array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        raise ModelError(
            f"tensor {name} is of type {tensor.dtype}: the exact engine reads F32, F16 and BF16; run it with --float"
        )
    return array.reshape(tensor.shape)
