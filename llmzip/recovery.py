"""What can still be read of a damaged archive. May import ``frames``, ``archive``, ``predictor`` and ``errors``."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from llmzip import archive
from llmzip.archive import ByteReader, Frame
from llmzip.errors import ArchiveError, UnsupportedVersionError
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
    """Writes every frame that is whole; over what is not, goes on at the next frame of the index, or searches one."""
    size = source.seek(0, io.SEEK_END)
    indexed = archive.find_index(source, size)
    lost: list[LostRange] = []
    original_bytes, offset, ended = 0, 0, True
    open_predictor: Callable[[], Predictor] | None = None
    while offset < size:
        source.seek(offset)
        reader = ByteReader(source)
        try:
            if ended:
                open_predictor = opener(archive.read_header(reader), load)
                ended = False
            else:
                assert open_predictor is not None
                record = archive.read_record(reader)
                if isinstance(record, Frame):
                    target.write(data := decode_frame(record, open_predictor))
                    original_bytes += len(data)
                else:
                    ended = True
            offset += reader.position
        except (ArchiveError, UnsupportedVersionError) as error:
            if open_predictor is None:
                raise ArchiveError(f"nothing can be recovered without the header: {error}") from None
            end = min((place for place in indexed if place > offset), default=None)
            if end is None:
                end = archive.find_next_record(source, offset + 1, size)
            missing = sum(indexed[place] for place in indexed if offset <= place < end) if offset in indexed else None
            lost.append(LostRange(offset, end, missing, str(error)))
            source.seek(end)
            ended = source.read(len(archive.MAGIC)) == archive.MAGIC
            offset = end
    if not ended and not (lost and lost[-1].archive_end == size):
        lost.append(LostRange(size, size, None, "the archive is cut short: its end is missing"))
    if open_predictor is None:
        raise ArchiveError("the archive is empty: nothing can be recovered")
    return Decoded(original_bytes, size, tuple(lost))
