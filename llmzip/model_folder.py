"""A model's folder: which of its files are the model, by the rule of the loader, and what they hold. Loads nothing.

The rule is that of transformers' ``from_pretrained`` without pickles: the file that ``transformers_weights`` in
``config.json`` names, else ``model.safetensors``, else the shards of ``model.safetensors.index.json``. These files are
hashed, counted and run by whatever runs the model; anything else in the folder is left out. What cannot be loaded is
refused with the remedy. May import ``documents``, ``stored_tensors`` and ``errors``; ``engine``,
``predictors``, ``bench``, ``training`` and ``cli`` import it.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llmzip.documents import Name, read, read_bytes
from llmzip.errors import ModelError
from llmzip.stored_tensors import AGAIN, BLOCK_BYTES, StoredTensor, is_equal, is_learnt, read_header, refuse_pointer

WEIGHTS, INDEX, CONFIG, TOKENIZER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "config.json",
    "tokenizer.json",
)
LARGEST_VOCABULARY, MOST_LAYERS = 1 << 20, 1 << 10

READABLE_QUANTIZATION = "compressed-tensors"

OTHER_TOKENIZERS = ("tokenizer.model", "spiece.model", "vocab.json", "merges.txt", "vocab.txt", "*.tiktoken")
"""Where a folder without ``tokenizer.json`` may have its tokenizer."""

_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx", ".index.json")

_WITHOUT_EFFECT = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures", "use_cache"}
"""Entries of ``config.json`` that change no probability."""


@dataclass(frozen=True)
class _Index:
    weight_map: dict[Name, Name]


@dataclass(frozen=True)
class ModelFolder:
    """A folder that can be loaded as far as its files say."""

    path: Path
    config: dict[str, Any]
    weight_files: tuple[Path, ...]
    """What the loader reads, and nothing else does."""
    tensors: dict[str, StoredTensor]

    @property
    def weight_bytes(self) -> int:
        """Of the weight files."""
        return sum(path.stat().st_size for path in self.weight_files)

    @property
    def element_count(self) -> int:
        """Numbers in all weight files: what the model may be made of."""
        return sum(tensor.elements for tensor in self.tensors.values())

    @cached_property
    def parameter_count(self) -> int:
        """What was learnt: no buffers, no scales of integers, and a matrix that is stored twice counts once.

        Twice means what it means to the loader, which ties the input embedding and the output matrix where both are
        stored and equal.
        """
        learnt = {name: tensor for name, tensor in self.tensors.items() if is_learnt(name, tensor)}
        count = sum(tensor.elements for tensor in learnt.values())
        width = self.vocabulary_size
        wide = [tensor for tensor in learnt.values() if len(tensor.shape) == 2 and tensor.shape[0] == width]
        for index, tensor in enumerate(wide):
            if any(is_equal(tensor, other) for other in wide[:index]):
                count -= tensor.elements
        return count

    @property
    def vocabulary_size(self) -> int | None:
        """Tokens that the model knows, where its configuration says so."""
        width = self.config.get("vocab_size") or (self.config.get("text_config") or {}).get("vocab_size")
        return width if isinstance(width, int) else None

    def digest(self) -> "hashlib._Hash":
        """SHA-256 of shape and weights, to be gone on with."""
        shape = {key: value for key, value in self.config.items() if key not in _WITHOUT_EFFECT}
        hasher = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
        for path in self.weight_files:
            with path.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    hasher.update(block)
        return hasher

    @property
    def receiver_bytes(self) -> int:
        """What a receiver needs of the folder in order to decode: weights, tokenizer and shape."""
        needed = [*self.weight_files, self.path / CONFIG, *tokenizer_files(self.path)]
        return sum(path.stat().st_size for path in needed)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of what looks like weights in the folder and is not loaded."""
        loaded = {path.name for path in self.weight_files}
        if WEIGHTS not in loaded:
            loaded.add(INDEX)
        names = (path.name for path in self.path.iterdir() if path.name.endswith(_WEIGHT_SUFFIXES))
        return tuple(sorted(name for name in names if name not in loaded))


def open_model_folder(path: Path) -> ModelFolder:
    """What ``path`` holds, its sizes believed only where they fit each other. Raises ModelError."""
    config = read_config(path)
    files = _weight_files(path, config)
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        for name, tensor in read_header(file).items():
            if name in tensors:
                raise ModelError(f"{name} stands in {tensors[name].file.name} and in {file}: {AGAIN}")
            tensors[name] = tensor
    return ModelFolder(path, config, files, tensors)


def read_config(path: Path) -> dict[str, Any]:
    """``config.json`` of a folder that can hold a model. Raises ModelError, with what to do about any other folder."""
    if not (path / CONFIG).is_file():
        raise ModelError(_without_config(path))
    refuse_pointer(path / CONFIG)
    config = read(path / CONFIG, dict[str, Any], remedy=f"{AGAIN}, or name another", error=ModelError)
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"{path / CONFIG}: model_type: it names none: name a Hugging Face model folder")
    _check_sizes(config, path / CONFIG)
    if (path / "adapter_config.json").exists():
        raise ModelError(
            f"{path} holds a LoRA adapter beside a model, and which of them is meant is not clear: "
            "merge the two (merge_and_unload of peft), or take adapter_config.json away"
        )
    quantization = config.get("quantization_config")
    if quantization is not None:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else None
        if method != READABLE_QUANTIZATION:
            raise ModelError(
                f"{path} is quantised with {method}, which cannot be computed here: take the model as it was before "
                "that, or one in int8 of compressed-tensors"
            )
    return config


def _without_config(path: Path) -> str:
    """Why a folder without ``config.json`` is no model, and what to do."""
    if (path / "adapter_config.json").exists():
        base = read(path / "adapter_config.json", dict[str, Any], remedy=AGAIN, error=ModelError).get(
            "base_model_name_or_path", "its base"
        )
        return f"{path} is a LoRA adapter, not a whole model: name BASE+{path}, where BASE is the folder of {base}"
    if files := sorted(path.glob("*.gguf")):
        return f"{path} holds GGUF files, without a config.json: name one of them, such as {files[0]}"
    if any(path.glob("consolidated.*")) or (path / "params.json").exists():
        return f"{path} is a checkpoint in Meta's own form: convert it with transformers, or take its Hugging Face form"
    return f"{path} has no config.json: name a Hugging Face model folder"


def refuse_file(path: Path) -> ModelError:
    """Why a file is no model folder."""
    if path.suffix == ".gguf":
        return ModelError(f"{path} is a GGUF file, not a folder: name it with -m, or the folder that it was made of")
    if path.suffix == ".safetensors":
        return ModelError(f"{path} is a file of a model: name the folder that holds it, with its config.json")
    if path.suffix in (".bin", ".pt", ".pth", ".ckpt"):
        return ModelError(f"{path} is pickled, and pickles are never loaded: convert it to model.safetensors")
    return ModelError(f"{path} is a file: name a model folder")


def tokenizer_files(path: Path) -> list[Path]:
    """The files of the folder's tokenizer: ``tokenizer.json``, else what it can be converted from."""
    if (path / TOKENIZER).is_file():
        return [path / TOKENIZER]
    return sorted(file for pattern in OTHER_TOKENIZERS for file in path.glob(pattern) if file.is_file())


def read_tokenizer_text(path: Path) -> str | None:
    """``tokenizer.json`` of the folder; None where there is none. Raises ModelError."""
    file = path / TOKENIZER
    if not file.is_file():
        return None
    refuse_pointer(file)
    try:
        return read_bytes(file, remedy=AGAIN, error=ModelError).decode("utf-8")
    except UnicodeDecodeError:
        raise ModelError(f"{file}: it is not UTF-8: {AGAIN}") from None


def _check_sizes(config: dict[str, Any], where: Path) -> None:
    for key, value in config.items():
        if isinstance(value, dict):
            _check_sizes(value, where)
        elif isinstance(value, int):
            limit = LARGEST_VOCABULARY if key == "vocab_size" else MOST_LAYERS if "layer" in key else 1 << 40
            if abs(value) > limit:
                raise ModelError(f"{where}: {key}: {value} is beyond {limit}: {AGAIN}")


def _weight_files(path: Path, config: dict[str, Any]) -> tuple[Path, ...]:
    """By the loader's own rule."""
    asked = config.get("transformers_weights")
    if asked is not None:
        if not isinstance(asked, str) or Path(asked).name != asked or not asked.endswith((WEIGHTS, INDEX)):
            raise ModelError(f"{path / CONFIG}: transformers_weights: {asked!r} is no file of the folder: {AGAIN}")
        single, index = (None, path / asked) if asked.endswith(INDEX) else (path / asked, path / asked)
    else:
        single, index = path / WEIGHTS, path / INDEX
    if single is not None and single.is_file():
        return (single,)
    if index.is_file():
        return _shards(path, index)
    raise ModelError(f"{path} {_without_weights(path)}")


def _without_weights(path: Path) -> str:
    others = sorted(file.name for file in path.glob("*.safetensors"))
    if others:
        return f"has {others[0]}, but neither {WEIGHTS} nor {INDEX}: {AGAIN}, or give its only file that name"
    if any(path.glob("*.gguf")):
        return "has its weights as GGUF: name one of its .gguf files"
    if any(path.glob("*.bin")) or any(path.glob("*.pt*")):
        return f"has only pickled weights, which are never loaded: convert the checkpoint to {WEIGHTS}"
    return f"has no weights: convert the checkpoint to {WEIGHTS}"


def _shards(path: Path, index: Path) -> tuple[Path, ...]:
    refuse_pointer(index)
    found: _Index = read(index, _Index, remedy=AGAIN, error=ModelError)
    names = sorted(set(found.weight_map.values()))
    if not names or any(Path(name).name != name for name in names):
        raise ModelError(f"{index}: weight_map: it names files outside of its folder: take it from elsewhere")
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        raise ModelError(f"{path} lacks {', '.join(missing[:3])}: {AGAIN}")
    return tuple(path / name for name in names)
