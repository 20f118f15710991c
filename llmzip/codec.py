"""Bytes to archives and back, as one line of stages: see the picture in ``docs/architecture.md``.

    source -> blocks -> pieces -> choice of coding -> frames -> records -> target
    source -> records -> frames -> coding -> pieces -> target

Prints nothing and has no callbacks: to follow progress, wrap the predictor. May import ``blocks``, ``frames``,
``recovery``, ``archive``, ``parallel``, ``predictor``, ``predictors`` (only to find an embedded rung by name) and
``errors``.
"""

import io
from collections.abc import Iterable, Iterator
from functools import cache, partial
from itertools import chain, groupby
from typing import BinaryIO

from llmzip import archive
from llmzip.archive import ArchiveInfo, ByteReader, Frame, Member
from llmzip.blocks import read_blocks
from llmzip.errors import ArchiveError, PredictorMismatchError, RoundTripError
from llmzip.frames import (
    FRAME_BYTES,
    STREAM_TOKENS,
    Load,
    OpenPredictor,
    decode_frame,
    frames_at_once,
    frames_of_block,
    opener,
    token_frame,
)
from llmzip.parallel import in_order
from llmzip.predictor import FloatPredictor, Predictor
from llmzip.recovery import Decoded, recover_file


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
    blocks, settings = read_blocks(source), b""
    if isinstance(predictor, FloatPredictor):
        first = next(blocks, b"")
        predictor = predictor.fitted(len(first), streams)
        settings, blocks = predictor.settings(), chain([first] if first else [], blocks)
    encode = partial(token_frame, predictor=predictor, streams=streams, memory=memory, stream_tokens=stream_tokens)
    writer = archive.Writer(target, predictor.name, predictor.fingerprint, settings)
    for block in blocks:
        frames = frames_of_block(block, predictor, encode, frame_bytes)
        if verify and isinstance(predictor, FloatPredictor):
            _verify(block, frames, predictor)
        writer.write(block, frames)
    return writer.end()


def _verify(block: bytes, frames: list[Frame], predictor: Predictor) -> None:
    """Decodes the frames that were made of ``block``. Raises RoundTripError."""
    try:
        is_same = b"".join(decode_frame(frame, lambda: predictor) for frame in frames) == block
    except (ArchiveError, PredictorMismatchError):
        is_same = False
    if not is_same:
        raise RoundTripError(
            f"{predictor.name!r} does not compute the same twice here, so its archive would be lost: use one thread "
            "(-T 1) or another --device"
        )


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
        member, digest = Member(reader), archive.new_digest()
        for piece in _decode_frames(member, opener(member.header, load)):
            digest.update(piece)
            target.write(piece)
            original_bytes += len(piece)
        member.check(digest.digest())
        if reader.at_end():
            return Decoded(original_bytes, reader.position)


def _decode_frames(frames: Iterable[Frame], open_predictor: OpenPredictor) -> Iterator[bytes]:
    """The piece of each frame, in order; frames of memory alone are decoded side by side."""
    for is_alone, some in groupby(frames, lambda frame: frame.info.kind == "memory"):
        at_once = frames_at_once(open_predictor()) if is_alone else 1
        yield from in_order(lambda frame: decode_frame(frame, open_predictor), some, at_once)


def read_frame(source: BinaryIO, index: int, load: Load) -> bytes:
    """The original bytes of frame ``index``, counted from 0 over the whole file.

    Reads ``source``, which must be seekable, up to that frame; checks and decodes no other. Raises ArchiveError (also
    where there is no such frame) and what ``load`` raises.
    """
    source.seek(0)
    reader, count = ByteReader(source), 0
    while True:
        member = Member(reader)
        for frame in member.unchecked():
            if count == index:
                return decode_frame(archive.reread(source, frame), opener(member.header, load))
            count += 1
        if reader.at_end():
            raise ArchiveError(f"there is no frame {index}: the archive has {count}, counted from 0")
