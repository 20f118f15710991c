"""Headers of safetensors files: which tensors a file holds, of what type, where, and which of them were learnt.

Believes no header that does not fit its file. Loads nothing. May import ``documents`` and ``errors``; ``model_folder``
imports it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llmzip.documents import Count, decode
from llmzip.errors import ModelError

AGAIN = "take the folder again"
"""What every refusal of a damaged folder ends with."""

LARGEST_HEADER_BYTES = 100_000_000
"""What safetensors itself accepts."""

_POINTER = b"version https://git-lfs.github.com/spec/"

_ITEM_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
_ITEM_BYTES |= {"F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1}
_LEARNT = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I8"}
"""Types of parameters. Other integers are buffers, such as positions."""
_STORAGE = ("_scale", "_zero_point", "_shape", "_g_idx")
"""How integers are to be read: storage, not parameters."""
_BUFFERS = ("inv_freq", "cos_cached", "sin_cached", "masked_bias", "position_ids", "running_mean", "running_var")
BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class _Entry:
    """One of a safetensors header. What is no tensor there has none of these fields."""

    dtype: str = ""
    shape: tuple[Count, ...] = ()
    data_offsets: tuple[Count, Count] = (0, 0)


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    """First byte in the file."""
    size_bytes: int

    @property
    def elements(self) -> int:
        """How many numbers it is."""
        return math.prod(self.shape)

    def blocks(self) -> Iterator[bytes]:
        """Its bytes, some at a time."""
        with self.file.open("rb") as source:
            source.seek(self.begin)
            left = self.size_bytes
            while left and (block := source.read(min(left, BLOCK_BYTES))):
                left -= len(block)
                yield block


def refuse_pointer(path: Path) -> None:
    """ModelError where the file is what Git leaves in place of a large one."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise ModelError(f"{path} is a Git LFS pointer, not the file: run `git lfs pull` in its repository")


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file, whose header must fit its length."""
    try:
        refuse_pointer(path)
        with path.open("rb") as file:
            return dict(_tensors(path, file))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is cut short or damaged ({error}): {AGAIN}") from None


def _tensors(path: Path, file: BinaryIO) -> Iterator[tuple[str, StoredTensor]]:
    size = path.stat().st_size
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(LARGEST_HEADER_BYTES, size - 8):
        raise ValueError(f"a header of {length} bytes")
    header = decode(file.read(length), dict[str, _Entry], str(path), remedy=AGAIN, error=ModelError)
    header.pop("__metadata__", None)
    end = 0
    for name, entry in header.items():
        first, last = entry.data_offsets
        tensor = StoredTensor(path, entry.dtype, entry.shape, 8 + length + first, last - first)
        item = _ITEM_BYTES.get(entry.dtype)
        if not entry.dtype or last < first or (item is not None and tensor.elements * item != tensor.size_bytes):
            raise ValueError(
                f"{name} of type {entry.dtype or 'nothing'} and shape {entry.shape} in {last - first} bytes"
            )
        end = max(end, last)
        yield name, tensor
    if 8 + length + end != size:
        raise ValueError(f"{size} bytes where its header says {8 + length + end}")


def is_learnt(name: str, tensor: StoredTensor) -> bool:
    """Whether the tensor is parameters: no buffer, no mask, and no scale of integers."""
    is_mask = name.endswith("bias") and len(tensor.shape) > 2
    return tensor.dtype in _LEARNT and not name.endswith((*_STORAGE, *_BUFFERS)) and not is_mask


def is_equal(one: StoredTensor, other: StoredTensor) -> bool:
    """Whether two tensors have the same type, shape and bytes."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return all(mine == its for mine, its in zip(one.blocks(), other.blocks(), strict=True))
