"""Reads and writes the archive format, and knows no model: see ``ARCHIVE_FORMAT.md``, which this file follows.

Everything that comes from a file is checked here before anything is allocated or decoded. May import ``errors``.
"""

import binascii
import errno
import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from llmzip.errors import ArchiveError, UnsupportedVersionError

SUFFIX = ".llmz"
MAGIC = b"\xf8lz"
FORMAT_VERSION = 3
READABLE_VERSIONS = (1, 2, 3)
FINGERPRINT_BYTES = 6

FLOAT_PREFIX = "float/"
"""Begins the names of predictors whose arithmetic depends on the machine: their headers have a field of settings."""
MAXIMUM_SETTINGS_BYTES = 1024

MODEL, ZSTD, STORED, END, END_WITH_INDEX, MODEL_AND_MEMORY, MEMORY = 1, 2, 3, 0, 4, 5, 6
GROUPED, PORTABLE = 16, 17
KINDS = {MODEL: "model", ZSTD: "zstd", STORED: "stored", MODEL_AND_MEMORY: "model+memory", MEMORY: "memory"} | {
    GROUPED: "model in groups",
    PORTABLE: "portable model",
}
TOKEN_KINDS = (MODEL, MODEL_AND_MEMORY, MEMORY, GROUPED, PORTABLE)
"""Kinds of frames whose payload codes tokens."""

MAXIMUM_FRAME_BYTES = 1 << 24
MAXIMUM_MODEL_FRAME_BYTES = 1 << 21
MAXIMUM_PAYLOAD_BYTES = MAXIMUM_FRAME_BYTES + (1 << 16)
MAXIMUM_STREAMS = 256
MAXIMUM_FRAMES = 1 << 24


@dataclass(frozen=True)
class FrameInfo:
    """Where a frame lies and what it says of itself; the last two are 0 unless its payload codes tokens."""

    kind: str
    offset: int
    header_bytes: int
    payload_bytes: int
    original_bytes: int
    token_count: int = 0
    streams: int = 0

    @property
    def archive_bytes(self) -> int:
        """Bytes of the frame in the archive."""
        return self.header_bytes + self.payload_bytes


@dataclass(frozen=True)
class Frame:
    """A frame with its payload, whose check has been made."""

    info: FrameInfo
    payload: bytes
    content_check: int


@dataclass(frozen=True)
class ArchiveInfo:
    """One member of an archive file."""

    predictor_name: str
    fingerprint: bytes
    format_version: int
    offset: int
    header_bytes: int
    trailer_bytes: int
    frames: tuple[FrameInfo, ...]
    settings: bytes = b""
    """Of a float predictor; what they mean is known to it alone."""

    @property
    def original_bytes(self) -> int:
        """Bytes that the member decodes to."""
        return sum(frame.original_bytes for frame in self.frames)

    @property
    def archive_bytes(self) -> int:
        """Bytes of the whole member."""
        return self.header_bytes + self.trailer_bytes + sum(frame.archive_bytes for frame in self.frames)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def pack_header(predictor_name: str, fingerprint: bytes, settings: bytes = b"") -> bytes:
    """The header of a member. ``fingerprint`` is cut to its first 6 bytes; ``settings``: of float predictors only."""
    name = predictor_name.encode()
    if not 1 <= len(name) <= 255:
        raise ValueError(f"a predictor name of {len(name)} bytes does not fit the format")
    head = MAGIC + bytes((FORMAT_VERSION, len(name))) + name + fingerprint[:FINGERPRINT_BYTES]
    if predictor_name.startswith(FLOAT_PREFIX):
        if len(settings) > MAXIMUM_SETTINGS_BYTES:
            raise ValueError(f"settings of {len(settings)} bytes do not fit the format")
        head += _varint(len(settings)) + settings
    return head + struct.pack("<H", binascii.crc_hqx(head, 0))


def pack_frame(kind: int, original: bytes, payload: bytes, token_count: int = 0, streams: int = 0) -> bytes:
    """A whole frame. ``kind`` is one of KINDS."""
    fields = bytes((kind,)) + _varint(len(original)) + _varint(len(payload))
    if kind in TOKEN_KINDS:
        fields += _varint(token_count) + _varint(streams)
    check = zlib.crc32(payload, zlib.crc32(fields))
    return fields + struct.pack("<II", check, zlib.crc32(original)) + payload


def pack_end(frame_sizes: list[tuple[int, int]], digest: bytes) -> bytes:
    """The end of a member. ``frame_sizes``: (archive bytes, original bytes) of every frame."""
    if len(frame_sizes) <= 1:
        return bytes((END,))
    fields = bytes((END_WITH_INDEX,)) + _varint(len(frame_sizes))
    fields += b"".join(_varint(size) for size, _ in frame_sizes) + b"".join(_varint(size) for _, size in frame_sizes)
    fields += digest
    return fields + struct.pack("<II", zlib.crc32(fields), len(fields) + 8)


def new_digest() -> "hashlib.blake2b":
    """The running digest of a member's original bytes."""
    return hashlib.blake2b(digest_size=8)


def read_some(source: BinaryIO, size: int) -> bytes:
    """Up to ``size`` bytes, none only at the end. BlockingIOError where a source that does not wait has nothing yet."""
    data: bytes | None = source.read(size)
    if data is None:
        raise BlockingIOError(errno.EAGAIN, "the source is not ready and does not wait: make it a blocking one")
    return data


class ByteReader:
    """A source read in order, that knows its position and turns a short read into an error."""

    def __init__(self, source: BinaryIO, position: int = 0) -> None:
        """``position``: where in the file the source stands, for messages and offsets."""
        self._source, self._ahead = source, b""
        self.position = position

    def take(self, size: int) -> bytes:
        """Exactly ``size`` bytes, or ArchiveError."""
        data = self._ahead[:size]
        self._ahead = self._ahead[size:]
        while len(data) < size:
            more = read_some(self._source, size - len(data))
            if not more:
                raise ArchiveError(f"the archive is cut short at byte {self.position + len(data)}: get a whole copy")
            data += more
        self.position += size
        return data

    def at_end(self) -> bool:
        """Whether no byte is left."""
        if not self._ahead:
            self._ahead = read_some(self._source, 1)
        return not self._ahead

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
    archive_sizes: tuple[int, ...] = ()
    original_sizes: tuple[int, ...] = ()
    digest: bytes = b""

    def check(self, frames: list[FrameInfo], digest: bytes | None) -> None:
        """ArchiveError unless the record fits the frames; ``digest`` is None where they were not all decoded."""
        if not self.digest:
            if len(frames) > 1:
                raise ArchiveError("the index is missing: the archive is damaged")
            return
        if self.archive_sizes != tuple(frame.archive_bytes for frame in frames) or self.original_sizes != tuple(
            frame.original_bytes for frame in frames
        ):
            raise ArchiveError("the index does not fit the frames: a frame is missing or out of place")
        if digest is not None and self.digest != digest:
            raise ArchiveError("the digest of the whole text is wrong: frames are missing or out of place")


def read_record(reader: ByteReader) -> Frame | End:
    """The frame or the end record at the reader's position, its check made."""
    offset = reader.position
    raw = bytearray(reader.take(1))
    kind = raw[0]
    if kind == END:
        return End(1)
    if kind == END_WITH_INDEX:
        return _read_index(reader)
    if kind not in KINDS:
        raise ArchiveError(f"byte {offset} begins no frame: the archive is damaged")
    info, check, content_check = _read_fields(reader, raw, offset)
    payload = reader.take(info.payload_bytes)
    if check != zlib.crc32(payload, zlib.crc32(raw)):
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


def skip_frame(reader: ByteReader) -> FrameInfo | None:
    """What the frame at the reader's position says of itself, unchecked, its payload passed over; None at an end."""
    offset = reader.position
    raw = bytearray(reader.take(1))
    if raw[0] not in KINDS:
        return None
    info, _, _ = _read_fields(reader, raw, offset)
    reader.take(info.payload_bytes)
    return info


def _read_index(reader: ByteReader) -> End:
    start = reader.position - 1
    raw = bytearray((END_WITH_INDEX,))
    count = reader.varint(raw, 2, MAXIMUM_FRAMES, "the number of frames")
    limit = MAXIMUM_PAYLOAD_BYTES + 64
    sizes = tuple(reader.varint(raw, 1, limit, "the size of a frame") for _ in range(count))
    original_sizes = tuple(reader.varint(raw, 1, MAXIMUM_FRAME_BYTES, "the size of a frame") for _ in range(count))
    digest = reader.take(8)
    check, length = struct.unpack("<II", reader.take(8))
    if check != zlib.crc32(raw + digest) or length != reader.position - start:
        raise ArchiveError("the index is damaged: get another copy, or save the frames with --recover")
    return End(length, sizes, original_sizes, digest)


def read_members(source: BinaryIO) -> Iterator[ArchiveInfo]:
    """Each member of an archive file, its frames read and checked but not decoded."""
    reader = ByteReader(source)
    while True:
        info = read_header(reader)
        frames: list[FrameInfo] = []
        while isinstance(record := read_record(reader), Frame):
            frames.append(record.info)
        record.check(frames, None)
        yield replace(info, frames=tuple(frames), trailer_bytes=record.record_bytes)
        if reader.at_end():
            return


def read_info(source: BinaryIO) -> list[ArchiveInfo]:
    """What is in an archive file, one entry a member. Loads no model. Raises ArchiveError, UnsupportedVersionError."""
    return list(read_members(source))


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
