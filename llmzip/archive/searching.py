"""Finds records in a damaged archive, for ``recovery``. May import ``errors`` and the modules beside it."""

import io
import struct
from typing import BinaryIO

from llmzip.archive.format import END, END_WITH_INDEX, KINDS, MAGIC, MAXIMUM_PAYLOAD_BYTES
from llmzip.archive.reading import ByteReader, End, read_header, read_record
from llmzip.errors import ArchiveError, UnsupportedVersionError


def find_index(source: BinaryIO, size: int) -> dict[int, int]:
    """For recovery: original bytes of every frame of the last member, by offset; empty if its index is not whole."""
    if size < 4:
        return {}
    source.seek(size - 4)
    (length,) = struct.unpack("<I", source.read(4))
    if not 1 <= length <= size:
        return {}
    source.seek(size - length)
    try:
        end = read_record(ByteReader(source))
    except ArchiveError:
        return {}
    if not isinstance(end, End) or not end.digest:
        return {}
    offset, offsets = size - length - sum(end.archive_sizes), {}
    for archive_size, original_size in zip(end.archive_sizes, end.original_sizes, strict=True):
        offsets[offset] = original_size
        offset += archive_size
    return {**offsets, size - length: 0}


def _is_whole(reader: ByteReader, first_byte: int) -> bool:
    """Whether a header, frame or index with that first byte lies whole at the reader's position."""
    try:
        if first_byte == MAGIC[0]:
            read_header(reader)
        else:
            read_record(reader)
    except (ArchiveError, UnsupportedVersionError):
        return False
    return True


def is_record_at(source: BinaryIO, place: int) -> bool:
    """Whether a whole header, frame or end record lies there; a short end counts only before a header or nothing."""
    source.seek(place)
    short_end, beginning = bytes((END,)), source.read(1 + len(MAGIC))
    if beginning[:1] in (b"", short_end):
        return beginning in (short_end, short_end + MAGIC)
    source.seek(place)
    return _is_whole(ByteReader(source, place), beginning[0])


def find_next_record(source: BinaryIO, start: int, size: int) -> int:
    """The first offset from ``start`` at which a whole frame, end record or header lies; ``size`` if there is none.

    For recovery where no index helps: tries every byte. Gives up (``size``) once it has read
    64 times the file, which only an archive made for that purpose brings about.
    """
    reach = MAXIMUM_PAYLOAD_BYTES + 64
    budget = 64 * (size + reach)
    while start < size:
        source.seek(start)
        data = source.read(2 * reach)
        view = io.BytesIO(data)
        # A record that begins in the first half lies whole in what was read, or the file ends before it does.
        for offset in range(min(reach, len(data))):
            if data[offset] not in (*KINDS, END_WITH_INDEX, MAGIC[0]):
                continue
            view.seek(offset)
            reader = ByteReader(view, start + offset)
            if _is_whole(reader, data[offset]):
                return start + offset
            budget -= reader.position - start - offset
            if budget < 0:
                return size
        start += reach
    return size
