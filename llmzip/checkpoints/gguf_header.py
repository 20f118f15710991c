"""Whether the lengths in a GGUF file's metadata fit the file, before anything that believes them reads it.

Raises ValueError; imports nothing of ours. ``gguf_file`` imports it.
"""

import mmap
import struct
from pathlib import Path

_ITEM_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_MOST_ENTRIES = 1 << 20


def check_metadata(path: Path) -> None:
    """ValueError where an entry, its name or its list is longer than what is left of the file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _Walk(data).entries()


class _Walk:
    """A place in the file that only moves forward."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._place = data, 4

    def entries(self) -> None:
        if self._data[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version, _, count = self._numbers("<IQQ")
        if version not in (2, 3) or count > _MOST_ENTRIES:
            raise ValueError(
                f"version {version} with {count} entries: little-endian files of versions 2 and 3 are read"
            )
        for _ in range(count):
            self._string()
            (kind,) = self._numbers("<I")
            if kind == _ARRAY:
                kind, length = self._numbers("<IQ")
                self._items(kind, length)
            else:
                self._items(kind, 1)

    def _items(self, kind: int, length: int) -> None:
        if kind in _ITEM_BYTES:
            self._skip(_ITEM_BYTES[kind] * length)
        elif kind == _STRING:
            if 8 * length > len(self._data) - self._place:
                raise ValueError(f"a list of {length} texts where {len(self._data) - self._place} bytes are left")
            for _ in range(length):
                self._string()
        else:
            raise ValueError(f"an entry of type {kind}")

    def _string(self) -> None:
        self._skip(*self._numbers("<Q"))

    def _numbers(self, form: str) -> tuple[int, ...]:
        size = struct.calcsize(form)
        if size > len(self._data) - self._place:
            raise ValueError("it is cut short")
        self._place += size
        return struct.unpack_from(form, self._data, self._place - size)

    def _skip(self, size: int) -> None:
        if size > len(self._data) - self._place:
            raise ValueError(f"an entry of {size} bytes where {len(self._data) - self._place} are left")
        self._place += size
