"""Reads records: everything that comes from a file is checked here before anything is allocated or decoded.

May import ``blocks``, ``errors`` and ``format`` beside it.
"""

import binascii
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from llmzip.archive.format import (
    END,
    END_WITH_INDEX,
    FINGERPRINT_BYTES,
    FLOAT_PREFIX,
    FORMAT_VERSION,
    KINDS,
    MAGIC,
    MAXIMUM_FRAME_BYTES,
    MAXIMUM_FRAMES,
    MAXIMUM_MODEL_FRAME_BYTES,
    MAXIMUM_PAYLOAD_BYTES,
    MAXIMUM_SETTINGS_BYTES,
    MAXIMUM_SHORT_BYTES,
    MAXIMUM_STREAMS,
    READABLE_VERSIONS,
    SHORT_FINGERPRINT_BYTES,
    SHORT_KINDS,
    SHORT_MAGIC,
    SHORT_PREDICTORS,
    STORED,
    TOKEN_KINDS,
    ArchiveInfo,
    Frame,
    FrameInfo,
    FrameSizes,
    short_info,
)
from llmzip.blocks import read_some
from llmzip.errors import ArchiveError, UnsupportedVersionError


class ByteReader:
    """A source read in order, that knows its position and turns a short read into an error."""

    def __init__(self, source: BinaryIO, position: int = 0, end: int | None = None) -> None:
        """``position``: where in the file the source stands, for messages and offsets.

        ``end``: of the file, where it is known, so that nothing is read for what does not fit into it.
        """
        self._source, self._ahead, self._end = source, b"", end
        self.position = position

    def take(self, size: int) -> bytes:
        """Exactly ``size`` bytes, or ArchiveError."""
        if self._end is not None and self.position + size > self._end:
            raise ArchiveError(f"the archive is cut short at byte {self._end}: get a whole copy")
        data = self._ahead[:size]
        self._ahead = self._ahead[size:]
        while len(data) < size:
            more = read_some(self._source, size - len(data))
            if not more:
                raise ArchiveError(f"the archive is cut short at byte {self.position + len(data)}: get a whole copy")
            data += more
        self.position += size
        return data

    def peek(self) -> bytes:
        """The next byte, which stays; nothing where none is left."""
        if not self._ahead:
            self._ahead = read_some(self._source, 1)
        return self._ahead

    def at_end(self) -> bool:
        """Whether no byte is left."""
        return not self.peek()

    def varint(self, raw: bytearray, low: int, high: int, what: str) -> int:
        """A varint from ``low`` to ``high``; its bytes are appended to ``raw``."""
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            raw.append(byte)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift >= 35:
                raise ArchiveError(f"{what} at byte {self.position} is not a number: the archive is damaged")
        if (shift > 7 and byte == 0) or not low <= value <= high:
            raise ArchiveError(f"{what} is {value}, outside {low} to {high}: the archive is damaged")
        return value


def read_header(reader: ByteReader) -> ArchiveInfo:
    """The header at the reader's position, with no frames yet."""
    offset = reader.position
    if any(reader.take(1)[0] != byte for byte in MAGIC):  # one by one: what is no archive may be shorter
        if offset == 0:
            raise ArchiveError("this is not an llmzip archive: check the file name")
        raise ArchiveError(
            f"the archive ends at byte {offset}, and what follows is not another: cut the file there, or use --recover"
        )
    raw = MAGIC + reader.take(1)
    if raw[3] not in READABLE_VERSIONS:
        if raw[3] > FORMAT_VERSION:
            raise UnsupportedVersionError(f"format version {raw[3]} is newer than this llmzip: upgrade llmzip")
        raise ArchiveError(f"format version {raw[3]} does not exist: the archive is damaged")
    length = reader.take(1)
    if not length[0]:
        raise ArchiveError("the predictor has no name: the archive is damaged")
    rest = reader.take(length[0] + FINGERPRINT_BYTES)
    fields, settings = bytearray(raw + length + rest), b""
    if raw[3] >= 3 and rest.startswith(FLOAT_PREFIX.encode()):
        settings = reader.take(reader.varint(fields, 0, MAXIMUM_SETTINGS_BYTES, "the size of the settings"))
    (check,) = struct.unpack("<H", reader.take(2))
    if check != binascii.crc_hqx(bytes(fields) + settings, 0):
        raise ArchiveError("the header is damaged: get another copy")
    try:
        name = rest[: length[0]].decode()
    except UnicodeDecodeError:
        raise ArchiveError("the predictor name is not text: the archive is damaged") from None
    return ArchiveInfo(name, rest[length[0] :], raw[3], offset, reader.position - offset, 0, (), settings)


@dataclass(frozen=True)
class End:
    """The end record of a member."""

    record_bytes: int
    sizes: FrameSizes = field(default_factory=FrameSizes)
    digest: bytes = b""

    def check(self, sizes: FrameSizes, digest: bytes | None) -> None:
        """ArchiveError unless the record fits the frames; ``digest`` is None where they were not all decoded."""
        if not self.digest:
            if len(sizes.archive) > 1:
                raise ArchiveError("the index is missing: the archive is damaged")
            return
        if self.sizes != sizes:
            raise ArchiveError("the index does not fit the frames: a frame is missing or out of place")
        if digest is not None and self.digest != digest:
            raise ArchiveError("the digest of the whole text is wrong: frames are missing or out of place")


def read_record(reader: ByteReader, most_frames: int = MAXIMUM_FRAMES, *, checked: bool = True) -> Frame | End:
    """The frame or the end record at the reader's position, its check made.

    most_frames: an index that names more is refused before anything is allocated for them; checked: whether the check
    of a frame counts.
    """
    offset = reader.position
    raw = bytearray(reader.take(1))
    kind = raw[0]
    if kind == END:
        return End(1)
    if kind == END_WITH_INDEX:
        return _read_index(reader, most_frames)
    if kind not in KINDS:
        raise ArchiveError(f"byte {offset} begins no frame: the archive is damaged")
    info, check, content_check = _read_fields(reader, raw, offset)
    payload = reader.take(info.payload_bytes)
    if checked and check != zlib.crc32(payload, zlib.crc32(raw)):
        raise ArchiveError(f"the frame at byte {offset} is damaged: get another copy, or save the rest with --recover")
    return Frame(info, payload, content_check)


def _read_fields(reader: ByteReader, raw: bytearray, offset: int) -> tuple[FrameInfo, int, int]:
    """What a frame says of itself after its kind, which ``raw`` holds, and its two checks."""
    kind = raw[0]
    original_bytes = reader.varint(raw, 1, MAXIMUM_FRAME_BYTES, "the size of a frame")
    payload_bytes = reader.varint(raw, 0, MAXIMUM_PAYLOAD_BYTES, "the size of a payload")
    tokens = streams = 0
    if kind in TOKEN_KINDS:
        if original_bytes > MAXIMUM_MODEL_FRAME_BYTES:
            raise ArchiveError(f"a frame of tokens of {original_bytes} bytes is too large: the archive is damaged")
        tokens = reader.varint(raw, 1, original_bytes, "the token count")
        streams = reader.varint(raw, 1, min(tokens, MAXIMUM_STREAMS), "the number of streams")
    check, content_check = struct.unpack("<II", reader.take(8))
    info = FrameInfo(KINDS[kind], offset, reader.position - offset, payload_bytes, original_bytes, tokens, streams)
    return info, check, content_check


def reread(source: BinaryIO, frame: Frame) -> Frame:
    """A frame that ``Member.unchecked`` gave, its check made."""
    if frame.checked_after:  # of a short form, which has no other check than that of the text
        return frame
    source.seek(frame.info.offset)
    record = read_record(ByteReader(source, frame.info.offset))
    assert isinstance(record, Frame)
    return record


def _read_index(reader: ByteReader, most_frames: int) -> End:
    start = reader.position - 1
    raw = bytearray((END_WITH_INDEX,))
    count = reader.varint(raw, 2, MAXIMUM_FRAMES, "the number of frames")
    if count > most_frames:
        raise ArchiveError(f"the index names {count} frames, there are {most_frames}: the archive is damaged")
    check, sizes = zlib.crc32(raw), FrameSizes()
    for numbers, largest in (
        (sizes.archive, MAXIMUM_PAYLOAD_BYTES + 64),
        (sizes.original, MAXIMUM_FRAME_BYTES),
    ):
        for _ in range(count):
            raw = bytearray()
            numbers.append(reader.varint(raw, 1, largest, "the size of a frame"))
            check = zlib.crc32(raw, check)
    digest = reader.take(8)
    stated, length = struct.unpack("<II", reader.take(8))
    if stated != zlib.crc32(digest, check) or length != reader.position - start:
        raise ArchiveError("the index is damaged: get another copy, or save the frames with --recover")
    return End(length, sizes, digest)


def read_short(reader: ByteReader) -> tuple[ArchiveInfo, Frame | None]:
    """The member in the short form at the reader's position, and its frame if it has one, its check not yet made."""
    offset = reader.position
    raw = bytearray(reader.take(2 + SHORT_FINGERPRINT_BYTES))
    code, kind = divmod(raw[1], 8)
    if raw[:1] != SHORT_MAGIC or kind not in SHORT_KINDS or code >= len(SHORT_PREDICTORS):
        raise ArchiveError("this is not an llmzip archive: check the file name")
    original_bytes = reader.varint(raw, 0 if kind == STORED else 1, MAXIMUM_SHORT_BYTES, "the size of the text")
    payload_bytes = reader.varint(raw, 0, MAXIMUM_SHORT_BYTES, "the size of the payload")
    has_tokens = kind in TOKEN_KINDS
    tokens = reader.varint(raw, 1, original_bytes, "the token count") if has_tokens else 0
    (check,) = struct.unpack("<I", reader.take(4))
    said = FrameInfo(KINDS[kind], 0, 0, payload_bytes, original_bytes, tokens, int(has_tokens))
    name = SHORT_PREDICTORS[code]
    info = short_info(name, bytes(raw[2 : 2 + SHORT_FINGERPRINT_BYTES]), offset, said, reader.position - offset)
    payload = reader.take(payload_bytes)
    if not original_bytes:
        if payload or check != zlib.crc32(raw):
            raise ArchiveError("the archive is damaged: get another copy")
        return info, None
    return info, Frame(info.frames[0], payload, check, bytes(raw) + payload)


class Member:
    """One member as it is read in order: its ``header``, its frames, which are iterated over once, and its end."""

    def __init__(self, reader: ByteReader) -> None:
        self._reader, self._sizes = reader, FrameSizes()
        self._only: Frame | None = None
        self.end: End | None = None
        self.is_short = reader.peek() == SHORT_MAGIC
        if self.is_short:
            self.header, self._only = read_short(reader)
        else:
            self.header = read_header(reader)

    def __iter__(self) -> Iterator[Frame]:
        """Each frame, its check made."""
        return self._frames(checked=True)

    def unchecked(self) -> Iterator[Frame]:
        """Each frame, damaged or not."""
        return self._frames(checked=False)

    def _frames(self, *, checked: bool) -> Iterator[Frame]:
        if self.is_short:
            yield from filter(None, (self._only,))
            return
        while isinstance(record := read_record(self._reader, len(self._sizes.archive), checked=checked), Frame):
            self._sizes.add(record.info)
            yield record
        self.end = record

    def check(self, digest: bytes | None) -> None:
        """After the frames: ArchiveError where the end does not fit them. ``digest``: as for ``End.check``."""
        if self.end is not None:
            self.end.check(self._sizes, digest)


def read_members(source: BinaryIO) -> Iterator[ArchiveInfo]:
    """Each member of an archive file, its frames read and checked but not decoded."""
    reader = ByteReader(source)
    while True:
        member = Member(reader)
        frames = tuple(frame.info for frame in member)
        member.check(None)
        trailer_bytes = member.end.record_bytes if member.end else 0
        yield replace(member.header, frames=frames, trailer_bytes=trailer_bytes)
        if reader.at_end():
            return


def read_info(source: BinaryIO) -> list[ArchiveInfo]:
    """What is in an archive file, one entry a member. Loads no model. Raises ArchiveError, UnsupportedVersionError."""
    return list(read_members(source))
