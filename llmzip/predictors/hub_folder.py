"""Finds and checks a Hugging Face folder before any of it is loaded. Runs nothing of it, reads no pickle.

A name is a local folder if there is one; else, if it looks like ``organisation/name`` with or without ``@revision``, a
model of the hub, of which only safetensors, JSON and tokenizer files are fetched. Imports neither torch nor
transformers. May import ``errors``.
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmzip.errors import ModelError

LARGEST_HEADER_BYTES = 100_000_000
"""What safetensors itself accepts."""

LARGEST_VOCABULARY, MOST_LAYERS = 1 << 20, 1 << 10

WANTED_FILES = ["*.json", "*.safetensors", "tokenizer.model", "*.tiktoken", "merges.txt", "vocab.txt"]

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")

_WITHOUT_EFFECT = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures", "use_cache"}
"""Entries of ``config.json`` that change no probability."""


@dataclass(frozen=True)
class HubFolder:
    """A folder that can be loaded as far as its files say."""

    path: Path
    config: dict[str, Any]
    weight_files: tuple[Path, ...]
    weight_bytes: int
    element_count: int
    """Numbers in all weight files: what the model may be made of."""

    def digest(self) -> "hashlib._Hash":
        """SHA-256 of shape and weights, to be gone on with."""
        shape = {key: value for key, value in self.config.items() if key not in _WITHOUT_EFFECT}
        hasher = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
        for path in self.weight_files:
            with path.open("rb") as file:
                while block := file.read(1 << 24):
                    hasher.update(block)
        return hasher


def is_hub_name(name: str) -> bool:
    """Whether it is written as the hub writes names."""
    return bool(_HUB_NAME.fullmatch(name))


def find_folder(name: str, *, offline: bool = False) -> Path:
    """The local folder ``name``, or that of the hub's model, fetched if need be. Raises ModelError."""
    if os.path.isdir(name):
        return Path(name)
    if not is_hub_name(name):
        raise ModelError(f"{name!r} is neither a folder nor a name of the hub (organisation/name): check -m")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ModelError("transformers is not installed: pip install 'llmzip[torch]'") from None
    repository, _, revision = name.partition("@")
    try:
        found = snapshot_download(
            repository, revision=revision or None, allow_patterns=WANTED_FILES, local_files_only=offline
        )
    except Exception as error:  # network, names and access rights, each in several ways
        where = "what was fetched before" if offline else "the hub"
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ModelError(f"there is no folder {name!r}, and {where} does not have it ({reason}): check -m") from None
    return Path(found)


def revision_of(path: Path) -> str:
    """The commit of a folder that came from the hub; empty for others."""
    return path.name if path.parent.name == "snapshots" and re.fullmatch("[0-9a-f]{40}", path.name) else ""


def check_folder(path: Path) -> HubFolder:
    """What ``path`` holds, its sizes believed only where they fit each other. Raises ModelError."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} has no readable config.json ({error}): name a Hugging Face model folder") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ModelError(f"{path / 'config.json'} names no model_type: name a Hugging Face model folder")
    _check_sizes(config, path)
    files = _weight_files(path)
    elements = sum(_count_elements(file) for file in files)
    return HubFolder(path, config, files, sum(file.stat().st_size for file in files), elements)


def _check_sizes(config: dict[str, Any], path: Path) -> None:
    for key, value in config.items():
        if isinstance(value, dict):
            _check_sizes(value, path)
        elif isinstance(value, int):
            limit = LARGEST_VOCABULARY if key == "vocab_size" else MOST_LAYERS if "layer" in key else 1 << 40
            if abs(value) > limit:
                raise ModelError(f"{path / 'config.json'} says {key} {value}, beyond {limit}: take the folder again")


def _weight_files(path: Path) -> tuple[Path, ...]:
    index = path / "model.safetensors.index.json"
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{index} cannot be read ({error}): take the folder again") from None
        if any(not isinstance(name, str) or Path(name).name != name for name in names):
            raise ModelError(f"{index} names files outside of its folder: take it from elsewhere")
        missing = [name for name in names if not (path / name).is_file()]
        if missing:
            raise ModelError(f"{path} lacks {', '.join(missing)}: take the folder again")
        return tuple(path / name for name in names)
    if (path / "model.safetensors").is_file():
        return (path / "model.safetensors",)
    kind = "only pickled weights, which are never loaded" if list(path.glob("*.bin")) else "no weights"
    raise ModelError(f"{path} has {kind}: convert the checkpoint to model.safetensors")


def _count_elements(file: Path) -> int:
    """Numbers in a safetensors file, whose header must fit its length."""
    size = file.stat().st_size
    try:
        with file.open("rb") as source:
            length = int.from_bytes(source.read(8), "little")
            if not 2 <= length <= min(LARGEST_HEADER_BYTES, size - 8):
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(source.read(length))
        header.pop("__metadata__", None)
        elements, end = 0, 0
        for entry in header.values():
            count = 1
            for side in entry["shape"]:
                count *= int(side)
            elements, end = elements + count, max(end, int(entry["data_offsets"][1]))
        if 8 + length + end != size:
            raise ValueError(f"{size} bytes where its header says {8 + length + end}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ModelError(f"{file} is cut short or damaged ({error}): take the folder again") from None
    return elements
