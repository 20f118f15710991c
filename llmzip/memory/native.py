"""Version 2 of the memory by ``native/memory.c``: the same integers as ``reference``, three thousand times as fast.

Only passes arrays on. Imported by ``mixing``. May import ``layout``, ``tables``, ``tree`` and ``native``.
"""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.memory.layout import Beginning
from llmzip.memory.tables import cost_table, logarithm_table, squash_table, stretch_table
from llmzip.memory.tree import TokenTree
from llmzip.native.library import Library

_COUNTS = ("vocabulary", "streams", "alone", "node_rows")
_ARRAYS = {
    "path_start": np.int32,
    "path_bit": np.int8,
    "left": np.int32,
    "right": np.int32,
    "node_row": np.int32,
    "byte_start": np.int32,
    "bytes": np.uint8,
    "squash": np.int32,
    "stretch": np.int16,
    "cost": np.uint16,
    "weights": np.int32,
    "final_weights": np.int32,
    "certainty": np.uint32,
    "hit_rate": np.uint32,
    "unigram": np.uint64,
}


class Setup(ctypes.Structure):
    """``memory_setup`` of ``memory.h``."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in _COUNTS),
        ("tokens", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in _ARRAYS),
    )


class VocabularyArrays:
    """A vocabulary in the form that the library reads, kept for all memories of it."""

    def __init__(self, tree: TokenTree, token_bytes: tuple[bytes, ...]) -> None:
        starts = np.concatenate(([0], np.cumsum([len(token) for token in token_bytes])))
        values: dict[str, Any] = {name: getattr(tree, name) for name in ("path_start", "path_bit", "left", "right")}
        values |= {"node_row": tree.node_row, "byte_start": starts}
        values["bytes"] = np.frombuffer(b"".join(token_bytes) or b"\0", np.uint8)
        values |= {"squash": squash_table(), "stretch": stretch_table(), "cost": cost_table()}
        self.arrays = {name: np.ascontiguousarray(value, _ARRAYS[name]) for name, value in values.items()}
        self.size, self.node_rows = len(token_bytes), tree.node_rows
        self.order, self.middle = (np.ascontiguousarray(value, np.int32) for value in (tree.order, tree.middle))
        self.logarithm = logarithm_table().astype(np.uint16)


def _declare(library: Library) -> None:
    pointer, integer, long = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
    library.memory_create.argtypes, library.memory_create.restype = [pointer], pointer
    library.memory_destroy.argtypes, library.memory_destroy.restype = [pointer], None
    intervals, read, learnt = library.memory_intervals, library.memory_read, library.memory_learnt
    intervals.argtypes, intervals.restype = (
        [pointer, pointer, integer, integer, pointer, integer, pointer, pointer],
        long,
    )
    read.argtypes = [pointer, pointer, integer, integer, *[pointer] * 5, long, pointer]
    read.restype = long
    learnt.argtypes, learnt.restype = [pointer] * 6, None


class Native:
    """One frame's memory in the library. Same calls as ``mixing.Stepwise``."""

    def __init__(
        self,
        library: Library,
        vocabulary: VocabularyArrays,
        token_count: int,
        streams: int,
        first: Beginning,
        *,
        alone: bool,
    ) -> None:
        """Raises MemoryError."""
        _declare(library)
        self.library, self._vocabulary, self._alone, self._first = library, vocabulary, alone, first
        arrays = vocabulary.arrays | {
            name: np.ascontiguousarray(value, _ARRAYS[name]) for name, value in first._asdict().items()
        }
        self._setup = Setup(
            vocabulary=vocabulary.size,
            streams=streams,
            alone=alone,
            node_rows=vocabulary.node_rows,
            tokens=token_count,
            **{name: value.ctypes.data for name, value in arrays.items()},
        )
        self.handle = library.memory_create(ctypes.byref(self._setup))
        if not self.handle:
            raise MemoryError("no room for the memory of a frame")

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self.library.memory_destroy(self.handle)
            self.handle = None

    def intervals(
        self, tokens: NDArray[np.int64], first: int, odds: NDArray[np.int16] | None, limit: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(cumulative, frequency) of the decisions of tokens [streams, n], at most ``limit``; first: their position."""
        tokens, found = np.ascontiguousarray(tokens, np.int64), np.empty((2, limit), np.int64)
        depth = 0
        if odds is not None:
            odds, depth = np.ascontiguousarray(odds, np.int16), odds.shape[2]
        count = self.library.memory_intervals(
            self.handle,
            tokens.ctypes.data,
            first,
            tokens.shape[1],
            None if odds is None else odds.ctypes.data,
            depth,
            found[0].ctypes.data,
            found[1].ctypes.data,
        )
        return found[0, :count], found[1, :count]

    def read(
        self,
        tokens: NDArray[np.int64],
        first: int,
        frequencies: NDArray[np.int64] | None,
        words: NDArray[np.uint32],
        coder: NDArray[np.uint64],
    ) -> bool:
        """Fills in tokens [streams, n]; False where the payload is damaged. frequencies: [streams, vocabulary]."""
        vocabulary = self._vocabulary
        if frequencies is not None:
            frequencies = np.ascontiguousarray(frequencies, np.int64)
        status = self.library.memory_read(
            self.handle,
            tokens.ctypes.data,
            first,
            tokens.shape[1],
            None if frequencies is None else frequencies.ctypes.data,
            vocabulary.order.ctypes.data,
            vocabulary.middle.ctypes.data,
            vocabulary.logarithm.ctypes.data,
            words.ctypes.data,
            words.size,
            coder.ctypes.data,
        )
        return bool(status == 0)

    def learnt(self) -> tuple[Beginning, NDArray[np.uint16]]:
        """What the parts that have a first state have become (the unigram as it began), and the uses of each row."""
        parts = {name: np.empty_like(value) for name, value in self._first._asdict().items() if name != "unigram"}
        uses = np.empty(len(self._first.weights), np.uint16)
        self.library.memory_learnt(self.handle, *(part.ctypes.data for part in parts.values()), uses.ctypes.data)
        return Beginning(**parts, unigram=self._first.unigram), uses
