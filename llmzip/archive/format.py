"""The format's numbers and records, and how they are written: see ``ARCHIVE_FORMAT.md``, which this package follows.

Imports nothing of ours; the other modules of ``archive`` import it.
"""

import binascii
import hashlib
import struct
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

SUFFIX = ".llmz"
MAGIC = b"\xf8lz"
SHORT_MAGIC = b"\xf9"
FORMAT_VERSION = 4
READABLE_VERSIONS = (1, 2, 3, 4)
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
LEAST_FRAME_BYTES = 12
"""A stored byte with its fields and checks."""

SHORT_PREDICTORS = ("adaptive", "nano", "small", "base", "large")
"""Those that have a code for the short form: their place here."""
SHORT_KINDS = (MODEL, ZSTD, STORED, MODEL_AND_MEMORY, MEMORY)
SHORT_FINGERPRINT_BYTES = 2
MAXIMUM_SHORT_BYTES = (1 << 16) - 1


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
    """A frame with its payload: as it was read, its check made, or as it will be written."""

    info: FrameInfo
    payload: bytes
    content_check: int
    checked_after: bytes = b""
    """What the content check covers after the text: fields and payload of a short form, else nothing."""

    def is_of(self, data: bytes) -> bool:
        """Whether these are the original bytes, by their number and the content check."""
        check = zlib.crc32(self.checked_after, zlib.crc32(data))
        return len(data) == self.info.original_bytes and check == self.content_check

    def record(self) -> bytes:
        """The frame as it stands in an archive."""
        fields = _frame_fields(self.info)
        check = zlib.crc32(self.payload, zlib.crc32(fields))
        return fields + struct.pack("<II", check, self.content_check) + self.payload


KIND_NUMBERS = {name: number for number, name in KINDS.items()}


def _frame_fields(info: FrameInfo) -> bytes:
    """What a frame says of itself before its two checks."""
    kind = KIND_NUMBERS[info.kind]
    fields = bytes((kind,)) + varint(info.original_bytes) + varint(info.payload_bytes)
    return fields + varint(info.token_count) + varint(info.streams) if kind in TOKEN_KINDS else fields


def new_frame(kind: int, original: bytes, payload: bytes, token_count: int = 0, streams: int = 0) -> Frame:
    """The frame that codes ``original`` as ``payload``, not yet at a place. ``kind`` is one of KINDS."""
    info = FrameInfo(KINDS[kind], 0, 0, len(payload), len(original), token_count, streams)
    return Frame(replace(info, header_bytes=len(_frame_fields(info)) + 8), payload, zlib.crc32(original))


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


def varint(value: int) -> bytes:
    """Unsigned LEB128 in its shortest form."""
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
        head += varint(len(settings)) + settings
    return head + struct.pack("<H", binascii.crc_hqx(head, 0))


def pack_frame(kind: int, original: bytes, payload: bytes, token_count: int = 0, streams: int = 0) -> bytes:
    """The record of ``new_frame``."""
    return new_frame(kind, original, payload, token_count, streams).record()


def short_fields(predictor_name: str, fingerprint: bytes, info: FrameInfo) -> bytes:
    """What a short form says before its check."""
    kind = KIND_NUMBERS[info.kind]
    fields = SHORT_MAGIC + bytes((8 * SHORT_PREDICTORS.index(predictor_name) + kind,))
    fields += fingerprint[:SHORT_FINGERPRINT_BYTES] + varint(info.original_bytes) + varint(info.payload_bytes)
    return fields + varint(info.token_count) if kind in TOKEN_KINDS else fields


def indexed_bytes(frame: FrameInfo) -> int:
    """Bytes of a frame and of its two sizes in the index."""
    return frame.archive_bytes + len(varint(frame.archive_bytes)) + len(varint(frame.original_bytes))


def pack_end(frame_sizes: Sequence[tuple[int, int]], digest: bytes) -> bytes:
    """The end of a member. ``frame_sizes``: (archive bytes, original bytes) of every frame."""
    if len(frame_sizes) <= 1:
        return bytes((END,))
    fields = bytes((END_WITH_INDEX,)) + varint(len(frame_sizes))
    fields += b"".join(varint(size) for size, _ in frame_sizes) + b"".join(varint(size) for _, size in frame_sizes)
    fields += digest
    return fields + struct.pack("<II", zlib.crc32(fields), len(fields) + 8)


@dataclass(frozen=True)
class FrameSizes:
    """Bytes in the archive and of the text of the frames of a member, in order; 8 bytes of memory a frame."""

    archive: "array[int]" = field(default_factory=lambda: array("I"))
    original: "array[int]" = field(default_factory=lambda: array("I"))

    def add(self, frame: FrameInfo) -> None:
        """The next frame."""
        self.archive.append(frame.archive_bytes)
        self.original.append(frame.original_bytes)


def new_digest() -> "hashlib.blake2b":
    """The running digest of a member's original bytes."""
    return hashlib.blake2b(digest_size=8)


def short_info(name: str, fingerprint: bytes, offset: int, frame: FrameInfo, fields_bytes: int) -> ArchiveInfo:
    """A member in the short form; all before its payload counts as its header. ``fields_bytes``: with the check."""
    frames = () if not frame.original_bytes else (replace(frame, offset=offset + fields_bytes, header_bytes=0),)
    short = fingerprint[:SHORT_FINGERPRINT_BYTES]
    return ArchiveInfo(name, short, FORMAT_VERSION, offset, fields_bytes, 0, frames)
