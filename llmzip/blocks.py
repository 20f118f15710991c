"""A source to blocks, and a block to pieces: bytes only, nothing is coded here. Imports nothing of ours.

``codec`` reads blocks with it, ``frames.block`` cuts them.
"""

import errno
from collections.abc import Iterator
from typing import BinaryIO

BLOCK_BYTES = 1 << 24
"""Original bytes read at once. zstd may take a whole block as one frame, so that it can use its own long window."""

_CUT_SEARCH_BYTES = 256


def read_some(source: BinaryIO, size: int) -> bytes:
    """Up to ``size`` bytes, none only at the end. BlockingIOError where a source that does not wait has nothing yet."""
    data: bytes | None = source.read(size)
    if data is None:
        raise BlockingIOError(errno.EAGAIN, "the source is not ready and does not wait: make it a blocking one")
    return data


def read_blocks(source: BinaryIO) -> Iterator[bytes]:
    """All of a source, ``BLOCK_BYTES`` at a time, though a pipe gives less at once; no block is empty."""
    while True:
        parts, missing = [], BLOCK_BYTES
        while missing and (part := read_some(source, missing)):
            parts.append(part)
            missing -= len(part)
        if not parts:
            return
        yield b"".join(parts)


def cut(block: bytes, piece_bytes: int) -> Iterator[bytes]:
    """Pieces of at most ``piece_bytes``, ending after a line or at least not inside a UTF-8 character."""
    start = 0
    while start < len(block):
        end = min(start + piece_bytes, len(block))
        if end < len(block):
            line_end = block.rfind(b"\n", max(start, end - _CUT_SEARCH_BYTES), end)
            back = end
            while back > max(start, end - 3) and block[back] & 0xC0 == 0x80:
                back -= 1
            end = line_end + 1 if line_end >= 0 else back if back > start else end
        yield block[start:end]
        start = end
