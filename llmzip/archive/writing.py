"""Writes a member: its header, its frames as they come, its end. May import ``format`` beside it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

from llmzip.archive.format import (
    FINGERPRINT_BYTES,
    FORMAT_VERSION,
    ArchiveInfo,
    Frame,
    FrameInfo,
    new_digest,
    pack_end,
    pack_header,
)


class Writer:
    """One member of an archive."""

    def __init__(self, target: BinaryIO, name: str, fingerprint: bytes, settings: bytes = b"") -> None:
        """Arguments as for ``pack_header``. ``target.write`` must take all it is given."""
        self._target, self._name, self._fingerprint, self._settings = target, name, fingerprint, settings
        self._digest = new_digest()
        self._frames: list[FrameInfo] = []
        self._header = pack_header(name, fingerprint, settings)
        self._place = len(self._header)
        target.write(self._header)

    def write(self, block: bytes, frames: Sequence[Frame]) -> None:
        """The frames that code the next block of the text."""
        self._digest.update(block)
        for frame in frames:
            self._target.write(frame.record())
            self._frames.append(replace(frame.info, offset=self._place))
            self._place += frame.info.archive_bytes

    def end(self) -> ArchiveInfo:
        """Ends the member, and says what is in it."""
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
