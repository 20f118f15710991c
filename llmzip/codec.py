"""Bytes to archives and back: reads in blocks, cuts them into frames, and lets every frame choose its coding.

Prints nothing and has no callbacks: to follow progress, wrap the predictor. May import ``frames``, ``recovery``,
``archive``, ``predictor``, ``predictors`` (only to find an embedded rung by name) and ``errors``.
"""

import io
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import BinaryIO

from llmzip import archive
from llmzip.archive import ArchiveInfo, ByteReader, Frame, FrameInfo
from llmzip.errors import ArchiveError, PredictorMismatchError, RoundTripError
from llmzip.frames import Load, decode_frame, encode_token_frame, opener, zstd_payload
from llmzip.predictor import FloatPredictor, Predictor
from llmzip.recovery import Decoded, recover_file

FRAME_BYTES = 1 << 20
"""Original bytes of a frame that a model codes: the unit of random access and of recovery."""

SMALL_FRAME_BYTES = 1 << 16
"""Original bytes of the frames that a piece is cut into where the model as a whole loses to zstd."""

BLOCK_BYTES = 1 << 24
"""Original bytes read at once. zstd may take a whole block as one frame, so that it can use its own long window."""

_CUT_SEARCH_BYTES = 256


def compress(
    data: bytes,
    predictor: Predictor,
    *,
    streams: int | None = None,
    frame_bytes: int = FRAME_BYTES,
    memory: bool = True,
    verify: bool = True,
) -> bytes:
    """The archive of ``data``.

    streams: token sequences of a frame that advance together, None to choose by size; memory: whether the codec learns
    from what a frame has shown so far; verify: whether the frames of a float predictor are decoded before they count.
    """
    target, source = io.BytesIO(), io.BytesIO(memoryview(data))
    compress_file(source, target, predictor, streams=streams, frame_bytes=frame_bytes, memory=memory, verify=verify)
    return target.getvalue()


def decompress(data: bytes, predictor: Predictor | None = None) -> bytes:
    """The bytes of an archive. Without a predictor, the embedded rung that the archive names is loaded.

    Raises ArchiveError, UnsupportedVersionError, PredictorMismatchError, ModelError.
    """

    @cache
    def load(name: str) -> Predictor:
        from llmzip.predictors import load_embedded

        return load_embedded(name) if predictor is None else predictor

    target = io.BytesIO()
    decompress_file(io.BytesIO(data), target, load)
    return target.getvalue()


def compress_file(
    source: BinaryIO,
    target: BinaryIO,
    predictor: Predictor,
    *,
    streams: int | None = None,
    frame_bytes: int = FRAME_BYTES,
    memory: bool = True,
    verify: bool = True,
) -> ArchiveInfo:
    """Reads ``source`` to its end and writes one member to ``target``. Needs no seeking; memory stays bounded.

    verify: whether each frame of a float predictor is decoded before it is written (RoundTripError if that fails).
    ``target.write`` must take all it is given, as buffered files do and raw ones do not.
    """
    if not 1 <= frame_bytes <= archive.MAXIMUM_MODEL_FRAME_BYTES:
        raise ValueError(f"frame_bytes is {frame_bytes}, outside 1 to {archive.MAXIMUM_MODEL_FRAME_BYTES}")
    if streams is not None and not 1 <= streams <= archive.MAXIMUM_STREAMS:
        raise ValueError(f"streams is {streams}, outside 1 to {archive.MAXIMUM_STREAMS}")
    block, settings = _read_up_to(source, BLOCK_BYTES), b""
    if isinstance(predictor, FloatPredictor):
        predictor = predictor.fitted(len(block), streams)
        settings = predictor.settings()
    header = archive.pack_header(predictor.name, predictor.fingerprint, settings)
    target.write(header)
    frames: list[FrameInfo] = []
    offset, digest = len(header), archive.new_digest()
    while block:
        digest.update(block)
        place = 0
        for frame in _encode_block(block, predictor, streams, frame_bytes, memory):
            record = archive.read_record(ByteReader(io.BytesIO(frame)))
            assert isinstance(record, Frame)
            end_place = place + record.info.original_bytes
            if verify and isinstance(predictor, FloatPredictor):
                _verify(record, block[place:end_place], predictor)
            place = end_place
            target.write(frame)
            frames.append(replace(record.info, offset=offset))
            offset += len(frame)
        block = _read_up_to(source, BLOCK_BYTES)
    sizes = [(frame.archive_bytes, frame.original_bytes) for frame in frames]
    end = archive.pack_end(sizes, digest.digest())
    target.write(end)
    fingerprint = predictor.fingerprint[: archive.FINGERPRINT_BYTES]
    version = archive.FORMAT_VERSION
    return ArchiveInfo(predictor.name, fingerprint, version, 0, len(header), len(end), tuple(frames), settings)


def _verify(frame: Frame, piece: bytes, predictor: Predictor) -> None:
    """Decodes a frame that was made of ``piece``. Raises RoundTripError."""
    try:
        decoded = decode_frame(frame, lambda: predictor)
    except (ArchiveError, PredictorMismatchError):
        decoded = None
    if decoded != piece:
        raise RoundTripError(
            f"{predictor.name!r} does not compute the same twice here, so its archive would be lost: use one thread "
            "(-T 1) or another --device"
        )


def _read_up_to(source: BinaryIO, size: int) -> bytes:
    """``size`` bytes, or all that are left: a pipe gives less at a time."""
    parts, missing = [], size
    while missing and (part := archive.read_some(source, missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _encode_block(
    block: bytes, predictor: Predictor, streams: int | None, frame_bytes: int, memory: bool
) -> list[bytes]:
    """The frames of a block: a model, zstd or stored frame for each piece, or one zstd frame if that is smaller."""
    whole, pieces = _zstd_frame(block), list(_cut(block, frame_bytes))
    frames = []
    for piece in pieces:
        frames += _encode_piece(piece, whole if len(pieces) == 1 else _zstd_frame(piece), predictor, streams, memory)
    index_bytes = len(archive.pack_end([(len(frame), frame_bytes) for frame in frames], bytes(8))) - 1
    return [whole] if len(whole) < sum(map(len, frames)) + index_bytes else frames


def _zstd_frame(piece: bytes) -> bytes:
    return archive.pack_frame(archive.ZSTD, piece, zstd_payload(piece))


def _encode_piece(
    piece: bytes, zstd_frame: bytes, predictor: Predictor, streams: int | None, memory: bool
) -> list[bytes]:
    """One frame, or several small ones where the model does not suit all of the piece: files change their language."""
    fallback = min(archive.pack_frame(archive.STORED, piece, piece), zstd_frame, key=len)
    modelled = encode_token_frame(piece, predictor, streams, len(fallback), memory=memory)
    if modelled is not None and len(modelled) < len(fallback):
        return [modelled]
    if len(piece) > SMALL_FRAME_BYTES:
        parts = []
        for part in _cut(piece, SMALL_FRAME_BYTES):
            parts += _encode_piece(part, _zstd_frame(part), predictor, streams, memory)
        if sum(map(len, parts)) < len(fallback):
            return parts
    return [fallback]


def _cut(block: bytes, frame_bytes: int) -> Iterator[bytes]:
    """Pieces of at most ``frame_bytes``, ending after a line or at least not inside a UTF-8 character."""
    start = 0
    while start < len(block):
        end = min(start + frame_bytes, len(block))
        if end < len(block):
            line_end = block.rfind(b"\n", max(start, end - _CUT_SEARCH_BYTES), end)
            back = end
            while back > max(start, end - 3) and block[back] & 0xC0 == 0x80:
                back -= 1
            end = line_end + 1 if line_end >= 0 else back if back > start else end
        yield block[start:end]
        start = end


def decompress_file(source: BinaryIO, target: BinaryIO, load: Load, *, recover: bool = False) -> Decoded:
    """Decodes every member of ``source`` to ``target``, frame by frame.

    ``load`` is called with the predictor's name when the first frame of a model is met. A frame is written only
    after all its checks. With ``recover`` (which needs a seekable source) damage ends nothing: the frames that are
    whole are written and the rest is listed. Raises ArchiveError, UnsupportedVersionError, PredictorMismatchError,
    and what ``load`` raises.
    """
    if recover:
        return recover_file(source, target, load)
    reader, original_bytes = ByteReader(source), 0
    while True:
        header = archive.read_header(reader)
        open_predictor = opener(header, load)
        frames, digest = [], archive.new_digest()
        while isinstance(record := archive.read_record(reader), Frame):
            data = decode_frame(record, open_predictor)
            digest.update(data)
            target.write(data)
            frames.append(record.info)
            original_bytes += len(data)
        record.check(frames, digest.digest())
        if reader.at_end():
            return Decoded(original_bytes, reader.position)


def read_frame(source: BinaryIO, index: int, load: Load) -> bytes:
    """The original bytes of frame ``index``, counted from 0 over the whole file.

    Reads ``source``, which must be seekable, up to that frame; checks and decodes no other. Raises ArchiveError (also
    where there is no such frame) and what ``load`` raises.
    """
    source.seek(0)
    reader, count = ByteReader(source), 0
    while True:
        header = archive.read_header(reader)
        while True:
            offset = reader.position
            info = archive.skip_frame(reader)
            if info is None:
                break
            if count == index:
                source.seek(offset)
                record = archive.read_record(ByteReader(source, offset))
                assert isinstance(record, Frame)
                return decode_frame(record, opener(header, load))
            count += 1
        source.seek(offset)
        reader = ByteReader(source, offset)
        archive.read_record(reader)
        if reader.at_end():
            raise ArchiveError(f"there is no frame {index}: the archive has {count}, counted from 0")
