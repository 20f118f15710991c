"""Bytes to archives and back: reads in blocks, cuts them into frames, and lets every frame choose its coding.

Prints nothing and has no callbacks: to follow progress, wrap the predictor. May import ``frames``, ``recovery``,
``archive``, ``parallel``, ``predictor``, ``predictors`` (only to find an embedded rung by name) and ``errors``.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import groupby
from typing import BinaryIO

from llmzip import archive
from llmzip.archive import ArchiveInfo, ByteReader, Frame, FrameInfo
from llmzip.errors import ArchiveError, PredictorMismatchError, RoundTripError
from llmzip.frames import STREAM_TOKENS, Load, decode_frame, encode_token_frame, opener, zstd_payload
from llmzip.parallel import in_order
from llmzip.predictor import FloatPredictor, ModelPredictor, Predictor
from llmzip.recovery import Decoded, recover_file

FRAME_BYTES = 1 << 20
"""Original bytes of a frame that a model codes: the unit of random access and of recovery."""

SMALL_FRAME_BYTES = 1 << 16
"""Original bytes of the frames that a piece is cut into where the model as a whole loses to zstd."""

BLOCK_BYTES = 1 << 24
"""Original bytes read at once. zstd may take a whole block as one frame, so that it can use its own long window."""

Encode = Callable[[bytes, int], bytes | None]
"""From a piece of text and the bytes that a frame must stay below to a frame of tokens, or None."""

FRAMES_AT_ONCE = 8
"""At most so many frames are coded by memory alone at the same time: each takes up to 100 MB."""

_CUT_SEARCH_BYTES = 256


def compress(
    data: bytes,
    predictor: Predictor,
    *,
    streams: int | None = None,
    stream_tokens: int = STREAM_TOKENS,
    frame_bytes: int = FRAME_BYTES,
    memory: bool = True,
    verify: bool = True,
) -> bytes:
    """The archive of ``data``.

    streams: token sequences of a frame that advance together, None for one every ``stream_tokens``; memory: whether the
    codec learns from what a frame has shown so far; verify: whether the frames of a float predictor are decoded before
    they count.
    """
    target = io.BytesIO()
    compress_file(
        io.BytesIO(memoryview(data)),
        target,
        predictor,
        streams=streams,
        stream_tokens=stream_tokens,
        frame_bytes=frame_bytes,
        memory=memory,
        verify=verify,
    )
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
    stream_tokens: int = STREAM_TOKENS,
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
    if stream_tokens < 1:
        raise ValueError(f"stream_tokens is {stream_tokens}: a stream has at least one token")
    block, settings = _read_up_to(source, BLOCK_BYTES), b""
    if isinstance(predictor, FloatPredictor):
        predictor = predictor.fitted(len(block), streams)
        settings = predictor.settings()
    header = archive.pack_header(predictor.name, predictor.fingerprint, settings)
    target.write(header)

    def encode(piece: bytes, limit_bytes: int) -> bytes | None:
        return encode_token_frame(piece, predictor, streams, limit_bytes, memory=memory, stream_tokens=stream_tokens)

    # A model uses the threads itself; frames without one are coded side by side.
    at_once = 1 if isinstance(predictor, ModelPredictor) else _frames_at_once(predictor)
    frames: list[FrameInfo] = []
    offset, digest = len(header), archive.new_digest()
    while block:
        digest.update(block)
        place = 0
        for frame in _encode_block(block, frame_bytes, encode, at_once):
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


def _encode_block(block: bytes, frame_bytes: int, encode: Encode, at_once: int) -> list[bytes]:
    """The frames of a block: a model, zstd or stored frame for each piece, or one zstd frame if that is smaller."""
    pieces = list(_cut(block, frame_bytes))
    if len(pieces) == 1:
        return _encode_piece(block, encode)
    tasks: list[Callable[[], list[bytes]]] = [lambda: [_zstd_frame(block)]]
    tasks += [partial(_encode_piece, piece, encode) for piece in pieces]
    [whole], *coded = in_order(lambda task: task(), tasks, at_once)
    frames = [frame for some in coded for frame in some]
    index_bytes = len(archive.pack_end([(len(frame), frame_bytes) for frame in frames], bytes(8))) - 1
    return [whole] if len(whole) < sum(map(len, frames)) + index_bytes else frames


def _frames_at_once(predictor: Predictor) -> int:
    return min(predictor.threads, FRAMES_AT_ONCE)


def _zstd_frame(piece: bytes) -> bytes:
    return archive.pack_frame(archive.ZSTD, piece, zstd_payload(piece))


def _encode_piece(piece: bytes, encode: Encode) -> list[bytes]:
    """One frame, or several small ones where the model does not suit all of the piece: files change their language."""
    fallback = min(archive.pack_frame(archive.STORED, piece, piece), _zstd_frame(piece), key=len)
    modelled = encode(piece, len(fallback))
    if modelled is not None and len(modelled) < len(fallback):
        return [modelled]
    if len(piece) > SMALL_FRAME_BYTES:
        parts = []
        for part in _cut(piece, SMALL_FRAME_BYTES):
            parts += _encode_piece(part, encode)
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
        open_predictor = opener(archive.read_header(reader), load)
        member, infos, digest = _Member(reader), [], archive.new_digest()
        for info, data in _decode_frames(member, open_predictor):
            digest.update(data)
            target.write(data)
            infos.append(info)
            original_bytes += len(data)
        member.end.check(infos, digest.digest())
        if reader.at_end():
            return Decoded(original_bytes, reader.position)


class _Member:
    """The frames of a member as they are read; then ``end`` is its end record."""

    end: archive.End

    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader

    def __iter__(self) -> Iterator[Frame]:
        while isinstance(record := archive.read_record(self._reader), Frame):
            yield record
        self.end = record


def _decode_frames(
    frames: Iterable[Frame], open_predictor: Callable[[], Predictor]
) -> Iterator[tuple[FrameInfo, bytes]]:
    """What each frame says of itself and its bytes, in order; frames of memory alone are decoded side by side."""
    for is_alone, some in groupby(frames, lambda frame: frame.info.kind == "memory"):
        at_once = _frames_at_once(open_predictor()) if is_alone else 1
        yield from in_order(lambda frame: (frame.info, decode_frame(frame, open_predictor)), some, at_once)


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
