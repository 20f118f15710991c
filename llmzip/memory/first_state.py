"""What the memory knows before a text begins, where that was learnt: a small file for one tokenizer.

All embedded rungs share that tokenizer, and this file; it changes probabilities, so ``digest`` belongs in a predictor's
fingerprint. Any other tokenizer starts from the constants in ``layout``. Each version of the memory has a file of its
own, so that what an old one began with stays. Integers only. May import the rest of ``memory`` but ``mixing``, and
``errors``; imported by ``mixing``, ``predictors`` and ``training``.
"""

import hashlib
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import safetensors
import zstandard
from numpy.typing import NDArray
from safetensors.numpy import save

from llmzip.errors import ModelError
from llmzip.memory import MEMORY_VERSION, READABLE_MEMORY_VERSIONS, layout, version1
from llmzip.memory.layout import Beginning

PATHS = {version: Path(__file__).with_name(f"first_state_{version}.safetensors.zst") for version in (1, 2)}
"""Made by ``python -m llmzip.training.memory``; see ``docs/training.md``. Compressed, since a receiver must hold it."""

FOLDER_NAMES = {version: f"memory-{version}.safetensors.zst" for version in (1, 2)}
"""What the file is called in a model's own folder, so that the folder decodes its archives for ever."""

_MAXIMUM_BYTES = 1 << 22

WEIGHT_UNIT, MEAN_UNIT, FINAL_UNIT, PROBABILITY_UNIT = 1 << 22, 1 << 14, 1 << 8, 1 << 6
"""Of the numbers in the file of version 2, in the units of ``layout``: of what a row of weights differs by from the
mean of its set, of that mean, of final weights, and of probabilities."""

_TYPES = {"I8": "<i1", "U8": "<u1", "I16": "<i2", "U16": "<u2"}


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
    """The folder of a model, where it holds a first state of its own; None where the shipped one counts."""
    return folder if any((folder / name).is_file() for name in FOLDER_NAMES.values()) else None


def _path(version: int, folder: Path | None) -> Path:
    own = None if folder is None else folder / FOLDER_NAMES[version]
    return own if own is not None and own.is_file() else PATHS[version]


@lru_cache(maxsize=8)
def _is_for(token_bytes: tuple[bytes, ...], path: Path) -> bool:
    return _tensors(path)["tokens"].tobytes() == _token_digest(token_bytes)


def digest(token_bytes: Sequence[bytes], version: int = MEMORY_VERSION, folder: Path | None = None) -> bytes:
    """SHA-256 of the first state of a tokenizer with these tokens; nothing where it is not learnt but constant.

    folder: of the model, where it has one of its own. ModelError where the file there is none.
    """
    path = _path(version, folder)
    return hashlib.sha256(_content(path)).digest() if _is_for(tuple(token_bytes), path) else b""


def identity(token_bytes: Sequence[bytes], version: int = MEMORY_VERSION, folder: Path | None = None) -> bytes:
    """What of the memory belongs in a fingerprint: its version and first state. Version 1 did not say its number."""
    known = version if version in READABLE_MEMORY_VERSIONS else MEMORY_VERSION
    return (b"" if version == 1 else f"memory {version} ".encode()) + digest(token_bytes, known, folder)


def stored_bytes(token_bytes: Sequence[bytes], folder: Path | None = None) -> int:
    """What a receiver must hold of a learnt first state for these tokens."""
    path = _path(MEMORY_VERSION, folder)
    return path.stat().st_size if _is_for(tuple(token_bytes), path) else 0


def _learnt(
    token_bytes: Sequence[bytes], version: int, alone: bool, folder: Path | None
) -> dict[str, NDArray[np.int64]]:
    """The tensors of one of the two states; none where nothing was learnt for these tokens."""
    path, prefix = _path(version, folder), "alone." if alone else "model."
    if not _is_for(tuple(token_bytes), path):
        return {}
    found = _tensors(path).items()
    return {name.removeprefix(prefix): value.astype(np.int64) for name, value in found if name.startswith(prefix)}


def learnt_state(token_bytes: Sequence[bytes], *, alone: bool, folder: Path | None = None) -> Beginning | None:
    """The first state learnt for these tokens, with a model or without (``alone``); None where there is none."""
    file = _learnt(token_bytes, 2, alone, folder)
    if not file:
        return None
    weights = file["weights"] * WEIGHT_UNIT
    for mean, rows in zip(file["means"] * MEAN_UNIT, set_rows(len(weights)), strict=True):
        weights[rows] += mean
    return Beginning(
        weights.clip(-layout.WEIGHT_LIMIT, layout.WEIGHT_LIMIT).astype(np.int32),
        (file["final_weights"] * FINAL_UNIT).astype(np.int32),
        (file["certainty"] * PROBABILITY_UNIT).astype(np.uint32),
        (file["hit_rate"] * PROBABILITY_UNIT).astype(np.uint32),
        layout.unigram_slots(file["unigram"] * PROBABILITY_UNIT),
    )


def set_rows(row_count: int) -> list[slice]:
    """The rows of weights of each set: those of a set have a mean that the file holds once."""
    begins = (layout.SEEN_ROW, layout.COSTS_ROW, layout.TOP_ROW, layout.BYTE_ROW, layout.CLASSES_ROW)
    bounds = [*begins, layout.FIELD_ROW, layout.ABOVE_ROW, layout.NODE_ROW, row_count]
    return [slice(first, end) for first, end in zip(bounds, bounds[1:], strict=False)]


def learnt_state_of_version_1(
    token_bytes: Sequence[bytes], *, alone: bool, folder: Path | None = None
) -> version1.Beginning | None:
    """The same for version 1 of the memory, whose file has other tensors."""
    file = _learnt(token_bytes, 1, alone, folder)
    if not file:
        return None
    sets, nodes = file["weights"] * 16, file["nodes"] * 256
    weights = np.zeros((2, len(nodes), sets.shape[1]), np.int32)
    weights[0, : len(sets) - 1] = sets[:-1]
    weights[1] = sets[-1] + nodes
    return version1.Beginning(
        weights,
        (file["final_weights"] * 16).astype(np.int32),
        (file["certainty"] * 16).astype(np.int32),
        (file["hit_rate"] * 16).astype(np.int32),
        (file["unigram"].astype(np.uint64) << np.uint64(48)) | np.uint64(2 << 16),
    )


def write(states: dict[str, Beginning], token_bytes: Sequence[bytes], path: Path) -> None:
    """Writes the file of ``tensors_of``."""
    content = save({name: np.ascontiguousarray(value) for name, value in tensors_of(states, token_bytes).items()})
    path.write_bytes(zstandard.ZstdCompressor(level=19).compress(content))


def tensors_of(states: dict[str, Beginning], token_bytes: Sequence[bytes]) -> dict[str, NDArray[np.generic]]:
    """The file's tensors for the states "model" and "alone", rounded to its units: the inverse of ``learnt_state``."""
    tensors: dict[str, NDArray[np.generic]] = {"tokens": np.frombuffer(_token_digest(token_bytes), "u1")}
    for name, state in states.items():
        weights = state.weights.astype(np.float64)
        means = np.rint(np.stack([weights[rows].mean(0) for rows in set_rows(len(weights))]) / MEAN_UNIT)
        for mean, rows in zip(means * MEAN_UNIT, set_rows(len(weights)), strict=True):
            weights[rows] -= mean
        tensors[f"{name}.weights"] = np.rint(weights / WEIGHT_UNIT).clip(-128, 127).astype("<i1")
        tensors[f"{name}.means"] = means.clip(-32768, 32767).astype("<i2")
        tensors[f"{name}.final_weights"] = np.rint(state.final_weights / FINAL_UNIT).clip(-32768, 32767).astype("<i2")
        for part in ("certainty", "hit_rate"):
            tensors[f"{name}.{part}"] = np.rint(getattr(state, part) / PROBABILITY_UNIT).clip(0, 65535).astype("<u2")
        tensors[f"{name}.unigram"] = (state.unigram >> np.uint64(42 + 6)).astype("<u2")
    return tensors
