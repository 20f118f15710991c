"""The registry of codings, and which of them a piece gets. ``frames`` imports it; see ``coding``."""

import numpy as np
from numpy.typing import NDArray

from llmzip import archive
from llmzip.archive import Frame
from llmzip.errors import ArchiveError
from llmzip.frames import grouped
from llmzip.frames.coding import (
    STREAM_TOKENS,
    FrameCoding,
    Intervals,
    Limit,
    OpenPredictor,
    Piece,
    encode_frame,
    streams_for,
    with_model,
)
from llmzip.frames.look import pilot_fails
from llmzip.frames.memory import MemoryCoding, ModelAndMemoryCoding, memory_intervals
from llmzip.frames.plain import StoredCoding, ZstdCoding, zstd_payload
from llmzip.frames.portable import PortableCoding
from llmzip.frames.tokens import GroupedCoding, ModelCoding, group_intervals, token_intervals
from llmzip.parallel import begun
from llmzip.predictor import FloatPredictor, ModelPredictor, PortablePredictor, Predictor, WeightedPredictor

CODINGS: dict[int, FrameCoding] = {
    coding.kind: coding
    for coding in (
        StoredCoding(),
        ZstdCoding(),
        ModelCoding(),
        GroupedCoding(),
        ModelAndMemoryCoding(),
        MemoryCoding(),
        PortableCoding(),
    )
}
"""Every coding, by its number in archives."""

MEMORY_TOKENS = 1024
"""A model codes shorter texts without memory: they have little to learn from, and compiled code takes time to load."""


def choose_kind(predictor: Predictor, token_count: int, *, memory: bool) -> int | None:
    """The kind of frame that codes so many tokens; None where there is neither model nor memory."""
    if not isinstance(predictor, ModelPredictor):
        return archive.MEMORY if memory else None
    if isinstance(predictor, PortablePredictor):
        return archive.PORTABLE
    if memory and token_count >= MEMORY_TOKENS:
        return archive.MODEL_AND_MEMORY
    is_large = predictor.vocabulary_size > grouped.LARGEST_FLAT_VOCABULARY
    knows_weights = isinstance(predictor, FloatPredictor | WeightedPredictor)
    return archive.GROUPED if is_large and knows_weights else archive.MODEL


def plain_frame(data: bytes) -> Frame:
    """The smaller of stored and zstd."""
    stored = archive.new_frame(archive.STORED, data, data)
    zstd = archive.new_frame(archive.ZSTD, data, zstd_payload(data))
    return min(stored, zstd, key=_size)


def token_frame(
    data: bytes,
    limit_bytes: int,
    *,
    predictor: Predictor,
    memory: bool = True,
    streams: int | None = None,
    stream_tokens: int = STREAM_TOKENS,
) -> Frame | None:
    """The smallest frame of tokens; None if none is below ``limit_bytes`` (found out early) or gives the bytes back.

    ``streams``: their number, None for one every ``stream_tokens`` (see ``streams_for``).
    ``memory``: whether texts are coded with memory: any where there is no model, else those that are long enough to
    learn from. Memory alone is tried beside model and memory, in another thread where the predictor may have one; each
    gives up once it costs more than the other, which never changes which of them is the smaller.
    """
    tokens = predictor.tokenize(data)
    if not 1 <= len(tokens) <= len(data) or predictor.detokenize(tokens) != data:
        return None
    kind = choose_kind(predictor, len(tokens), memory=memory)
    if kind is None:
        return None
    piece = Piece(data, tokens, streams_for(predictor, len(tokens), streams=streams, stream_tokens=stream_tokens))
    if pilot_fails(piece, CODINGS[kind], predictor):
        return None
    limit = Limit(limit_bytes)

    def encode(kind: int) -> Frame | None:
        frame = encode_frame(CODINGS[kind], piece, predictor, limit)
        if frame is not None:
            limit.lower(_size(frame))
        return frame

    if kind != archive.MODEL_AND_MEMORY:
        return encode(kind)
    if predictor.threads == 1:
        return min(filter(None, (encode(archive.MEMORY), encode(kind))), key=_size, default=None)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as beside:
        alone = begun(beside, encode, archive.MEMORY)
        try:
            with_model = encode(kind)
            return min(filter(None, (alone.result(), with_model)), key=_size, default=None)
        finally:
            limit.lower(0)  # after an interrupt, the other ends soon


def _size(frame: Frame) -> int:
    return frame.info.archive_bytes


def intervals(kind: int, tokens: NDArray[np.int64], predictor: Predictor, streams: int) -> Intervals:
    """(cumulative, frequency) of all that a payload of this kind, which is not portable, codes, in order."""
    if kind == archive.MODEL:
        return token_intervals(tokens, with_model(predictor), streams)
    if kind == archive.GROUPED:
        return group_intervals(tokens, with_model(predictor), streams)
    return memory_intervals(tokens, predictor, streams, alone=kind == archive.MEMORY)


def decode_frame(frame: Frame, open_predictor: OpenPredictor) -> bytes:
    """The original bytes of a frame, checked. Raises ArchiveError, and what ``open_predictor`` raises."""
    info = frame.info
    data = CODINGS[archive.KIND_NUMBERS[info.kind]].decode(frame, open_predictor)
    if not frame.is_of(data):
        raise ArchiveError(f"the frame at byte {info.offset} does not decode to what was written: it is damaged")
    return data
