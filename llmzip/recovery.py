"""What can still be read of a damaged archive. May import ``frames``, ``archive``, ``predictor`` and ``errors``."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from llmzip import archive
from llmzip.archive import ByteReader, Frame
from llmzip.errors import ArchiveError, LlmzipError
from llmzip.frames import Load, decode_frame, opener
from llmzip.predictor import Predictor


@dataclass(frozen=True)
class LostRange:
    """A piece of a damaged archive that could not be decoded."""

    archive_start: int
    archive_end: int
    original_bytes: int | None
    """How much text is missing there, where the archive still says so."""
    reason: str


@dataclass(frozen=True)
class Decoded:
    """What decompressing did."""

    original_bytes: int
    archive_bytes: int
    lost: tuple[LostRange, ...] = ()


def recover_file(source: BinaryIO, target: BinaryIO, load: Load) -> Decoded:
    """Writes every frame that is whole and whose model is at hand, and lists the rest.

    After damage it goes on where the index of the last member, or the damaged frame itself, says that the next frame
    lies; only where neither leads to one is every byte tried, so that an archive inside a stored frame is not taken
    for a part of this one.
    """
    size = source.seek(0, io.SEEK_END)
    indexed = archive.find_index(source, size)
    lost: list[LostRange] = []
    original_bytes, offset, found = 0, 0, False
    open_predictor: Callable[[], Predictor] | None = None  # None before a header
    while offset < size:
        source.seek(offset)
        reader = ByteReader(source, offset)
        record: Frame | None = None
        try:
            if open_predictor is None:
                open_predictor = opener(archive.read_header(reader), load)
            else:
                read = archive.read_record(reader)
                record = read if isinstance(read, Frame) else None
                if record is None:
                    open_predictor = None
                else:
                    target.write(data := decode_frame(record, open_predictor))
                    original_bytes += len(data)
            offset, found = reader.position, True
        except LlmzipError as error:
            end = reader.position if record is not None else _next_record(source, offset, size, indexed)
            missing = record.info.original_bytes if record is not None else None
            if missing is None and offset in indexed:
                missing = sum(indexed[place] for place in indexed if offset <= place < end)
            lost.append(LostRange(offset, end, missing, str(error)))
            if record is None:
                source.seek(end)
                at_header = source.read(len(archive.MAGIC)) == archive.MAGIC
                open_predictor = None if at_header else open_predictor or _unknown_predictor
            offset = end
    if open_predictor is not None and not (lost and lost[-1].archive_end == size):
        lost.append(LostRange(size, size, None, "the archive is cut short: its end is missing"))
    if not found:
        raise ArchiveError(f"nothing can be recovered: {lost[0].reason if lost else 'the file is empty'}")
    return Decoded(original_bytes, size, tuple(lost))


def _unknown_predictor() -> Predictor:
    raise ArchiveError("the header before it is damaged, so its model is unknown")


def _next_record(source: BinaryIO, offset: int, size: int, indexed: dict[int, int]) -> int:
    """Where to go on after the record at ``offset`` could not be read."""
    if indexed and offset >= min(indexed):
        return min((place for place in indexed if place > offset), default=size)
    source.seek(offset)
    reader = ByteReader(source, offset)
    try:
        archive.skip_frame(reader)
    except ArchiveError:
        pass
    else:
        if reader.position > offset + 1 and archive.is_record_at(source, reader.position):
            return reader.position
    return archive.find_next_record(source, offset + 1, size)
