"""What the memory knows before a text begins, where that was learnt: a small file for one tokenizer.

All embedded rungs share that tokenizer, and this file; it changes probabilities, so ``digest`` belongs in a predictor's
fingerprint. Any other tokenizer starts from the constants in ``mixing``. Integers only. Does not load compiled code.
May import ``errors``; imported by ``mixing``, ``predictors`` and ``training``.
"""

import hashlib
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import zstandard
from numpy.typing import NDArray
from safetensors.numpy import save

from llmzip.errors import ModelError
from llmzip.memory import MEMORY_VERSION

PATH = Path(__file__).with_suffix(".safetensors.zst")
"""Made by ``python -m llmzip.training.memory``; see ``docs/training.md``. Compressed, since a receiver must hold it."""

FOLDER_NAME = "memory.safetensors.zst"
"""What the file is called in a model's own folder, so that the folder decodes its archives for ever."""

_MAXIMUM_BYTES = 1 << 22

UNIT = 16
"""Of weights and probabilities in the file, in the units of ``kernels.State``."""

NODE_UNIT = 256
"""Of what each node's weights differ by from those of the mean node."""

UNIGRAM_COUNT = 2
"""How many observations the learnt probability of each node stands for."""

_TYPES = {"I8": "<i1", "U8": "<u1", "I16": "<i2", "U16": "<u2"}


class FirstState(NamedTuple):
    """The arrays of ``kernels.State`` that do not start from nothing, with the same shapes and units."""

    weights: NDArray[np.int32]
    final_weights: NDArray[np.int32]
    certainty: NDArray[np.int32]
    hit_rate: NDArray[np.int32]
    unigram: NDArray[np.uint64]


def add_tokens(hasher: "hashlib._Hash", token_bytes: Sequence[bytes]) -> "hashlib._Hash":
    """The hasher, gone on with what each token stands for: so are tokenizers told apart, also in fingerprints."""
    for token in token_bytes:
        hasher.update(len(token).to_bytes(4, "little") + token)
    return hasher


def _token_digest(token_bytes: Sequence[bytes]) -> bytes:
    return add_tokens(hashlib.sha256(), token_bytes).digest()


@cache
def _content(path: Path) -> bytes:
    try:
        return zstandard.ZstdDecompressor().decompress(path.read_bytes(), max_output_size=_MAXIMUM_BYTES)
    except (OSError, zstandard.ZstdError):
        raise _unusable(path) from None


@cache
def _tensors(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        found = {
            name: np.frombuffer(entry["data"], _TYPES[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in safetensors.deserialize(_content(path))
        }
    except (safetensors.SafetensorError, KeyError, ValueError):
        raise _unusable(path) from None
    if "tokens" not in found:
        raise _unusable(path)
    return found


def _unusable(path: Path) -> ModelError:
    return ModelError(f"{path} is not a memory's first state: take the model's folder again, or remove the file")


def in_folder(folder: Path) -> Path | None:
    """The first state that lies in a model's folder; None where there is none, and the shipped one counts."""
    path = folder / FOLDER_NAME
    return path if path.is_file() else None


@lru_cache(maxsize=8)
def _is_for(token_bytes: tuple[bytes, ...], path: Path) -> bool:
    return _tensors(path)["tokens"].tobytes() == _token_digest(token_bytes)


def digest(token_bytes: Sequence[bytes], path: Path | None = None) -> bytes:
    """SHA-256 of the first state of a tokenizer with these tokens; nothing where it is not learnt but constant.

    path: where it lies, the shipped one if left out. ModelError where the file there is none.
    """
    path = path or PATH
    return hashlib.sha256(_content(path)).digest() if _is_for(tuple(token_bytes), path) else b""


def identity(token_bytes: Sequence[bytes], version: int = MEMORY_VERSION, path: Path | None = None) -> bytes:
    """What of the memory belongs in a fingerprint: its version and first state. Version 1 did not say its number."""
    return (b"" if version == 1 else f"memory {version} ".encode()) + digest(token_bytes, path)


def stored_bytes(token_bytes: Sequence[bytes], path: Path | None = None) -> int:
    """What a receiver must hold of a learnt first state for these tokens."""
    path = path or PATH
    return path.stat().st_size if _is_for(tuple(token_bytes), path) else 0


def learnt_state(token_bytes: Sequence[bytes], *, alone: bool, path: Path | None = None) -> FirstState | None:
    """The first state learnt for these tokens, with a model or without (``alone``); None where there is none."""
    path = path or PATH
    if not _is_for(tuple(token_bytes), path):
        return None
    prefix = "alone." if alone else "model."
    file = {name.removeprefix(prefix): value for name, value in _tensors(path).items() if name.startswith(prefix)}
    sets, nodes = file["weights"].astype(np.int32) * UNIT, file["nodes"].astype(np.int32) * NODE_UNIT
    weights = np.zeros((2, len(nodes), sets.shape[1]), np.int32)
    weights[0, : len(sets) - 1] = sets[:-1]
    weights[1] = sets[-1] + nodes
    return FirstState(
        weights,
        file["final_weights"].astype(np.int32) * UNIT,
        file["certainty"].astype(np.int32) * UNIT,
        file["hit_rate"].astype(np.int32) * UNIT,
        (file["unigram"].astype(np.uint64) << np.uint64(48)) | (np.uint64(UNIGRAM_COUNT) << np.uint64(16)),
    )


def write(states: dict[str, FirstState], token_bytes: Sequence[bytes], set_count: int, path: Path) -> None:
    """Writes the file of ``tensors_of``."""
    content = save(
        {name: np.ascontiguousarray(value) for name, value in tensors_of(states, token_bytes, set_count).items()}
    )
    path.write_bytes(zstandard.ZstdCompressor(level=19).compress(content))


def tensors_of(
    states: dict[str, FirstState], token_bytes: Sequence[bytes], set_count: int
) -> dict[str, NDArray[np.generic]]:
    """The file's tensors for the states "model" and "alone", rounded to its units: the inverse of ``learnt_state``.

    set_count: the weight sets of the first mixer.
    """
    tensors: dict[str, NDArray[np.generic]] = {"tokens": np.frombuffer(_token_digest(token_bytes), "u1")}
    for name, state in states.items():
        mean = state.weights[1].mean(axis=0, keepdims=True)
        sets = np.concatenate((state.weights[0, :set_count], mean)) / UNIT
        tensors[f"{name}.weights"] = np.rint(sets).clip(-32768, 32767).astype("<i2")
        nodes = state.weights[1] - np.rint(mean / UNIT) * UNIT
        tensors[f"{name}.nodes"] = np.rint(nodes / NODE_UNIT).clip(-128, 127).astype("<i1")
        tensors[f"{name}.final_weights"] = np.rint(state.final_weights / UNIT).astype("<i2")
        for part in ("certainty", "hit_rate"):
            tensors[f"{name}.{part}"] = np.rint(getattr(state, part) / UNIT).clip(0, 65535).astype("<u2")
        tensors[f"{name}.unigram"] = (state.unigram >> np.uint64(48)).astype("<u2")
    return tensors
