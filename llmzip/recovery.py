"""What can still be read of a damaged archive. May import ``frames``, ``archive``, ``predictor`` and ``errors``."""

import io
from dataclasses import dataclass
from typing import BinaryIO

from llmzip import archive
from llmzip.archive import ByteReader, Frame, Index, Search
from llmzip.errors import ArchiveError, LlmzipError
from llmzip.frames import Load, OpenPredictor, decode_frame, opener
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
    for a part of this one. Takes time in proportion to the file.
    """
    size = source.seek(0, io.SEEK_END)
    index, search = Index(source, size), Search(source, size)
    lost: list[LostRange] = []
    original_bytes, offset, found = 0, 0, False
    open_predictor: OpenPredictor | None = None  # None before a member
    while offset < size:
        source.seek(offset)
        reader = ByteReader(source, offset, size)
        frame: Frame | None = None
        try:
            if open_predictor is not None:
                record = archive.read_record(reader, offset // archive.LEAST_FRAME_BYTES)
                if isinstance(record, Frame):
                    frame = record
                    piece = decode_frame(frame, open_predictor)
                else:
                    open_predictor, piece = None, b""
            elif reader.peek() == archive.SHORT_MAGIC:
                header, frame = archive.read_short(reader)
                piece = decode_frame(frame, opener(header, load)) if frame else b""
            else:
                open_predictor, piece = opener(archive.read_header(reader), load), b""
            target.write(piece)
            original_bytes += len(piece)
            offset, found = reader.position, True
        except LlmzipError as error:
            end = reader.position if frame is not None else _next_record(source, offset, size, index, search)
            missing = index.original_bytes(offset, end) if frame is None else frame.info.original_bytes
            lost.append(LostRange(offset, end, missing, str(error)))
            if frame is None:
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


def _next_record(source: BinaryIO, offset: int, size: int, index: Index, search: Search) -> int:
    """Where to go on after the record at ``offset`` could not be read."""
    if index.covers(offset):
        return index.next_after(offset)
    source.seek(offset)
    reader = ByteReader(source, offset, size)
    try:
        claimed = archive.read_record(reader, offset // archive.LEAST_FRAME_BYTES, checked=False)
    except ArchiveError:
        pass
    else:
        if isinstance(claimed, Frame) and search.is_record_at(reader.position):
            return reader.position
    return search.next_record(offset + 1)
