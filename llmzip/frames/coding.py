"""What a frame's coding is: the protocol that each follows, and what they share: pieces, limits, streams.

Imported by all of ``frames``. May import ``archive``, ``coder``, ``predictor`` and ``errors``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmzip import archive, coder
from llmzip.archive import Frame
from llmzip.errors import ArchiveError
from llmzip.predictor import FloatPredictor, ModelPredictor, PortablePredictor, Predictor

STREAM_TOKENS = 2048
"""A frame gets one stream for so many tokens: more streams are faster, and each costs about 12 bits of cold start."""

PORTABLE_STREAM_TOKENS = 6144
"""At least so many for portable frames, which are encoded all at once whatever their streams: starting in the middle of
a text costs models that may know texts from their beginning only 25 to 125 bits."""

Intervals = Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]
"""(cumulative, frequency) of what a payload codes, in order and in units of 2^-24, some of it at a time."""

OpenPredictor = Callable[[], Predictor]
"""Gives the predictor of a member; loads it when it is first asked for."""


class Limit:
    """What a payload must not exceed to be of use. It falls while several codings of a piece are tried at once."""

    def __init__(self, limit_bytes: int) -> None:
        self.bytes = limit_bytes

    def lower(self, limit_bytes: int) -> None:
        """Sets it to ``limit_bytes`` if that is less."""
        self.bytes = min(self.bytes, limit_bytes)


@dataclass(frozen=True)
class Piece:
    """What one frame codes."""

    data: bytes
    tokens: NDArray[np.int64]
    """[n] that the predictor makes of it; none where only codings without a model are asked."""
    streams: int
    """Wished for; a coding may use fewer."""


class FrameCoding(Protocol):
    """One way to code a piece of text, by its number in the format.

    A new one is a new file beside this with its line in ``frames.CODINGS`` and its number in ``archive``. Encoding and
    decoding make the same calls to the predictor in the same order.
    """

    @property
    def kind(self) -> int:
        """Its number in archives."""
        ...

    def streams(self, piece: Piece) -> int:
        """How many streams it makes of the piece's tokens; 0 where it codes no tokens."""
        ...

    def encode(self, piece: Piece, predictor: Predictor, limit: Limit) -> bytes | None:
        """The payload; None if it exceeds the limit (found out early) or the piece cannot be coded so."""
        ...

    def decode(self, frame: Frame, open_predictor: OpenPredictor) -> bytes:
        """The original bytes, not yet checked. Raises ArchiveError."""
        ...


def encode_frame(coding: FrameCoding, piece: Piece, predictor: Predictor, limit: Limit) -> Frame | None:
    """The frame of a piece; None as ``FrameCoding.encode``. It is not longer than the limit by more than its header."""
    payload = coding.encode(piece, predictor, limit)
    if payload is None:
        return None
    streams = coding.streams(piece)
    return archive.new_frame(coding.kind, piece.data, payload, len(piece.tokens) if streams else 0, streams)


def choose_streams(token_count: int, stream_tokens: int) -> int:
    """The number of streams for a frame, so that each has about ``stream_tokens``."""
    return max(1, min(archive.MAXIMUM_STREAMS, token_count // stream_tokens))


def streams_for(
    predictor: Predictor, token_count: int, *, streams: int | None = None, stream_tokens: int = STREAM_TOKENS
) -> int:
    """The number of streams for a frame of this predictor: as many as asked for, or one every ``stream_tokens``."""
    if isinstance(predictor, PortablePredictor):
        stream_tokens = max(PORTABLE_STREAM_TOKENS, stream_tokens)
    count = min(streams or choose_streams(token_count, stream_tokens), token_count)
    return min(count, predictor.most_streams) if isinstance(predictor, FloatPredictor) else count


def stream_bounds(token_count: int, streams: int) -> NDArray[np.int64]:
    """[streams + 1] int64: where each stream begins; lengths differ by at most one, longer ones first."""
    lengths = np.full(streams, token_count // streams)
    lengths[: token_count % streams] += 1
    return np.concatenate(([0], np.cumsum(lengths)))


def dealt(tokens: NDArray[np.int64], streams: int) -> NDArray[np.int64]:
    """[streams, length]: each stream's tokens. Streams that are one token shorter are padded; that is never coded."""
    bounds = stream_bounds(len(tokens), streams)
    table = np.zeros((streams, int(bounds[1])), np.int64)
    for row in range(streams):
        table[row, : bounds[row + 1] - bounds[row]] = tokens[bounds[row] : bounds[row + 1]]
    return table


def gathered(table: NDArray[np.int64], token_count: int) -> NDArray[np.int64]:
    """[token_count]: the inverse of ``dealt``."""
    bounds = stream_bounds(token_count, len(table))
    return np.concatenate([row[:length] for row, length in zip(table, np.diff(bounds), strict=True)])


def with_model(predictor: Predictor) -> ModelPredictor:
    """ArchiveError where a frame asks for a model and the predictor is a tokenizer only."""
    if not isinstance(predictor, ModelPredictor):
        raise ArchiveError(f"a frame needs a model and {predictor.name!r} has none: the archive is damaged")
    return predictor


def encode_intervals(intervals: Intervals, limit: Limit) -> bytes | None:
    """The payload of the intervals, or None as soon as it is clear that it is larger than the limit."""
    bits = 0.0
    encoder = coder.Encoder()
    for below, own in intervals:
        encoder.encode(below, own)
        bits += coder.ideal_bits(own)
        if bits > 8.0 * limit.bytes:
            return None
    return encoder.payload()
