"""Codings without a predictor: the bytes themselves, and zstd. ``frames`` imports it; see ``coding``."""

import zstandard

from llmzip import archive
from llmzip.archive import Frame
from llmzip.errors import ArchiveError
from llmzip.frames.coding import Limit, OpenPredictor, Piece
from llmzip.predictor import Predictor

ZSTD_LEVEL = 19


def zstd_payload(data: bytes) -> bytes:
    """The zstd coding of ``data`` without what the frame says anyway."""
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=False, write_checksum=False)
    return compressor.compress(data)


def _unzstd(payload: bytes, original_bytes: int) -> bytes:
    try:
        # A size that the zstd frame states itself would be believed before the limit below.
        if zstandard.frame_content_size(payload) not in (-1, original_bytes):
            raise ArchiveError("a zstd frame states another size than its frame does: the archive is damaged")
        # One byte of room more: longer content is an error, not a cut.
        decompressor = zstandard.ZstdDecompressor(max_window_size=archive.MAXIMUM_FRAME_BYTES)
        return decompressor.decompress(payload, max_output_size=original_bytes + 1, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ArchiveError(f"a zstd frame cannot be decoded ({error}): the archive is damaged") from None


class StoredCoding:
    """See ``FrameCoding``."""

    kind = archive.STORED

    def streams(self, piece: Piece) -> int:
        return 0

    def encode(self, piece: Piece, predictor: Predictor, limit: Limit) -> bytes | None:
        return piece.data if len(piece.data) <= limit.bytes else None

    def decode(self, frame: Frame, open_predictor: OpenPredictor) -> bytes:
        return frame.payload


class ZstdCoding:
    """See ``FrameCoding``."""

    kind = archive.ZSTD

    def streams(self, piece: Piece) -> int:
        return 0

    def encode(self, piece: Piece, predictor: Predictor, limit: Limit) -> bytes | None:
        payload = zstd_payload(piece.data)
        return payload if len(payload) <= limit.bytes else None

    def decode(self, frame: Frame, open_predictor: OpenPredictor) -> bytes:
        return _unzstd(frame.payload, frame.info.original_bytes)
