"""Writes a member: its header, its frames as they come, its end; or its short form. May import ``format`` beside it."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

from llmzip.archive.format import (
    FINGERPRINT_BYTES,
    FORMAT_VERSION,
    KIND_NUMBERS,
    MAXIMUM_SHORT_BYTES,
    SHORT_KINDS,
    SHORT_PREDICTORS,
    STORED,
    ArchiveInfo,
    Frame,
    FrameInfo,
    new_digest,
    new_frame,
    pack_end,
    pack_header,
    short_fields,
    short_info,
)


class Writer:
    """One member of an archive."""

    def __init__(self, target: BinaryIO, name: str, fingerprint: bytes, settings: bytes = b"") -> None:
        """Arguments as for ``pack_header``. ``target.write`` must take all it is given."""
        self._target, self._name, self._fingerprint, self._settings = target, name, fingerprint, settings
        self._digest = new_digest()
        self._header = pack_header(name, fingerprint, settings)
        self._held: Frame | None = None
        self._frames: list[FrameInfo] = []
        self._place = 0

    def write(self, block: bytes, frames: Sequence[Frame]) -> None:
        """The frames that code the next block of the text."""
        self._digest.update(block)
        for frame in frames:
            if self._held is None and not self._place:
                self._held = frame  # until it is known whether it is the only one
            else:
                self._write_held()
                self._write(frame)

    def _write_held(self) -> None:
        """The header, and the first frame if there is one."""
        if not self._place:
            self._target.write(self._header)
            self._place = len(self._header)
            if self._held is not None:
                self._write(self._held)

    def _write(self, frame: Frame) -> None:
        self._target.write(frame.record())
        self._frames.append(replace(frame.info, offset=self._place))
        self._place += frame.info.archive_bytes

    def end(self) -> ArchiveInfo:
        """Ends the member, and says what is in it."""
        if not self._place and self._suits_short_form():
            return self._write_short()
        self._write_held()
        end = pack_end([(frame.archive_bytes, frame.original_bytes) for frame in self._frames], self._digest.digest())
        self._target.write(end)
        return ArchiveInfo(
            self._name,
            self._fingerprint[:FINGERPRINT_BYTES],
            FORMAT_VERSION,
            0,
            len(self._header),
            len(end),
            tuple(self._frames),
            self._settings,
        )

    def _suits_short_form(self) -> bool:
        if self._name not in SHORT_PREDICTORS or self._settings:
            return False
        info = self._held.info if self._held else _NOTHING.info
        is_small = max(info.original_bytes, info.payload_bytes) <= MAXIMUM_SHORT_BYTES
        return is_small and info.streams <= 1 and KIND_NUMBERS[info.kind] in SHORT_KINDS

    def _write_short(self) -> ArchiveInfo:
        frame = self._held or _NOTHING
        fields = short_fields(self._name, self._fingerprint, frame.info)
        check = zlib.crc32(fields + frame.payload, frame.content_check)
        self._target.write(fields + struct.pack("<I", check) + frame.payload)
        return short_info(self._name, self._fingerprint, 0, frame.info, len(fields) + 4)


_NOTHING = new_frame(STORED, b"", b"")
"""What a short form says of an empty text."""
