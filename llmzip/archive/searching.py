"""Finds records in a damaged archive, for ``recovery``. May import ``errors`` and the modules beside it.

All of it together takes time in proportion to the file, however often it is damaged, and however it was made.
"""

import re
import struct
from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import BinaryIO

from llmzip.archive.format import END, END_WITH_INDEX, KINDS, LEAST_FRAME_BYTES, MAGIC, SHORT_MAGIC, FrameSizes
from llmzip.archive.reading import ByteReader, End, read_header, read_record
from llmzip.errors import ArchiveError, UnsupportedVersionError

_CHUNK_BYTES = 1 << 16
_BEGINNINGS = re.compile(b"[" + re.escape(bytes((*KINDS, END_WITH_INDEX, MAGIC[0]))) + b"]")
_WORK_PER_BYTE = 64
_LEAST_WORK = 1 << 28


class Index:
    """Where the frames of the last member lie, by its index; nothing where that is not whole."""

    def __init__(self, source: BinaryIO, size: int) -> None:
        """``size``: of ``source``, which is seekable."""
        self.end, self._sizes = size, FrameSizes()
        found = _last_index(source, size)
        if found is not None:
            self.end, self._sizes = size - found.record_bytes, found.sizes
        start = self.end - sum(self._sizes.archive)
        self._starts = list(accumulate(self._sizes.archive[:-1], initial=start)) if self._sizes.archive else []

    def covers(self, offset: int) -> bool:
        """Whether the index speaks of what lies there."""
        return bool(self._starts) and self._starts[0] <= offset < self.end

    def next_after(self, offset: int) -> int:
        """Where the next frame, or the index itself, begins."""
        place = bisect_right(self._starts, offset)
        return self._starts[place] if place < len(self._starts) else self.end

    def original_bytes(self, start: int, end: int) -> int | None:
        """Of the frames from ``start``, where one must begin, to ``end``; None where none does."""
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        if first == len(self._starts) or self._starts[first] != start:
            return None
        return sum(self._sizes.original[first:last])


def _last_index(source: BinaryIO, size: int) -> End | None:
    if size < 4:
        return None
    source.seek(size - 4)
    (length,) = struct.unpack("<I", source.read(4))
    if not 1 <= length <= size:
        return None
    source.seek(size - length)
    try:
        end = read_record(ByteReader(source), (size - length) // LEAST_FRAME_BYTES)
    except ArchiveError:
        return None
    is_whole = isinstance(end, End) and end.digest and sum(end.sizes.archive) <= size - length
    return end if is_whole and isinstance(end, End) else None


class Search:
    """For the next record where nothing says where it lies."""

    def __init__(self, source: BinaryIO, size: int) -> None:
        self._source, self._size = source, size
        self._work = _WORK_PER_BYTE * size + _LEAST_WORK  # bytes that may be read before it gives up

    def is_record_at(self, place: int) -> bool:
        """Whether a whole header, frame or end record lies there; a short end only before a member or nothing."""
        self._source.seek(place)
        short_end, beginning = bytes((END,)), self._source.read(1 + len(MAGIC))
        if beginning[:1] in (b"", short_end):
            return beginning in (short_end, short_end + MAGIC) or beginning[1:2] == SHORT_MAGIC
        return self._is_whole(place, beginning[0])

    def next_record(self, start: int) -> int:
        """The first offset from ``start`` at which a whole frame, index or header lies; the size if there is none.

        Gives up (the size) where it has read 64 times the file in all, which only an archive made for that brings
        about.
        """
        while start < self._size:
            self._source.seek(start)
            chunk = self._source.read(_CHUNK_BYTES)
            for found in _BEGINNINGS.finditer(chunk):
                if self._work < 0:
                    return self._size
                if self._is_whole(start + found.start(), chunk[found.start()]):
                    return start + found.start()
            start += len(chunk) or self._size
        return self._size

    def _is_whole(self, place: int, first_byte: int) -> bool:
        """Whether a header, frame or index with that first byte lies whole at that place."""
        self._source.seek(place)
        reader = ByteReader(self._source, place, self._size)
        try:
            if first_byte == MAGIC[0]:
                read_header(reader)
            else:
                read_record(reader, place // LEAST_FRAME_BYTES)
        except (ArchiveError, UnsupportedVersionError):
            return False
        finally:
            self._work -= reader.position - place
        return True
