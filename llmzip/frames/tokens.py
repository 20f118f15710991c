"""Codings with a model: one symbol a token, or two for large vocabularies. ``frames`` imports it; see ``coding``."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from llmzip import archive, coder
from llmzip.archive import Frame
from llmzip.errors import ArchiveError, PredictorMismatchError
from llmzip.frames import grouped
from llmzip.frames.coding import (
    Intervals,
    Limit,
    OpenPredictor,
    Piece,
    dealt,
    encode_intervals,
    stream_bounds,
    with_model,
)
from llmzip.predictor import (
    FREQUENCY_TOTAL,
    Context,
    ExactContext,
    FloatPredictor,
    FrameEngine,
    ModelPredictor,
    Predictor,
    WeightedContext,
    WeightedExactContext,
)

SCORE_POSITIONS = 64
"""Scored by the model while memory codes those before, and between looks at what they cost."""


class ModelCoding:
    """See ``FrameCoding``."""

    kind = archive.MODEL

    def streams(self, piece: Piece) -> int:
        return piece.streams

    def encode(self, piece: Piece, predictor: Predictor, limit: Limit) -> bytes | None:
        if isinstance(predictor, FrameEngine):
            return predictor.encode_tokens(piece.tokens, piece.streams, memory=False, limit_bytes=limit.bytes)
        return encode_intervals(token_intervals(piece.tokens, with_model(predictor), piece.streams), limit)

    def decode(self, frame: Frame, open_predictor: OpenPredictor) -> bytes:
        predictor, info = with_model(open_predictor()), frame.info
        _check_length(frame, predictor.vocabulary_size)

        def tokens() -> NDArray[np.int64]:
            if isinstance(predictor, FrameEngine):
                return predictor.decode_tokens(frame.payload, info.token_count, info.streams, memory=False)
            return _step_by_step(frame, predictor, _read_flat)

        return detokenized(frame, predictor, tokens)


class GroupedCoding:
    """See ``FrameCoding``: two symbols a token, for contexts that are a ``WeightedContext``."""

    kind = archive.GROUPED

    def streams(self, piece: Piece) -> int:
        return piece.streams

    def encode(self, piece: Piece, predictor: Predictor, limit: Limit) -> bytes | None:
        return encode_intervals(group_intervals(piece.tokens, with_model(predictor), piece.streams), limit)

    def decode(self, frame: Frame, open_predictor: OpenPredictor) -> bytes:
        predictor = with_model(open_predictor())
        size = predictor.vocabulary_size
        _check_length(frame, -(-size // grouped.group_size(size)))
        return detokenized(frame, predictor, lambda: _step_by_step(frame, predictor, _read_groups))


def detokenized(frame: Frame, predictor: Predictor, tokens: Callable[[], NDArray[np.int64]]) -> bytes:
    """The bytes of the tokens that a model decodes. ArchiveError, or PredictorMismatchError where it rounds.

    The payload is whole, its check was made: where it gives another text, this machine computes otherwise.
    """
    try:
        data = predictor.detokenize(tokens())
        if isinstance(predictor, FloatPredictor) and not frame.is_of(data):
            raise ArchiveError("another text")
    except ArchiveError as error:
        if not isinstance(predictor, FloatPredictor):
            raise
        raise PredictorMismatchError(
            f"the frame at byte {frame.info.offset} does not decode with {predictor.name!r} here ({error}): this "
            "machine computes otherwise than the one that made it; decompress it there"
        ) from None
    return data


def _check_length(frame: Frame, symbols: int) -> None:
    """ArchiveError where a payload cannot hold so many tokens: a hostile one would keep a model busy.

    No token is free, not even the likeliest: all others have at least one unit of the 2^24.
    """
    least_bits = -math.log2(1 - (symbols - 1) / FREQUENCY_TOTAL)
    if frame.info.token_count * least_bits > 8 * (frame.info.payload_bytes + 8):
        offset = frame.info.offset
        raise ArchiveError(f"the payload at byte {offset} is too short for its tokens: the archive is damaged")


def token_intervals(tokens: NDArray[np.int64], predictor: ModelPredictor, streams: int) -> Intervals:
    """(cumulative, frequency) of every token in coding order, some positions at a time."""
    shortest, longer = divmod(len(tokens), streams)
    table = dealt(tokens, streams)
    for first, below, own in _scores(predictor.start(streams), table):
        if longer and first + below.shape[1] > shortest:
            yield below[:, :-1].T.ravel(), own[:, :-1].T.ravel()
            yield below[:longer, -1], own[:longer, -1]
        else:
            yield below.T.ravel(), own.T.ravel()


def _scores(context: Context, tokens: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """(first position, cumulative, frequency [streams, positions]): at once where that is exact, else step by step."""
    for first in range(0, tokens.shape[1], SCORE_POSITIONS):
        part = tokens[:, first : first + SCORE_POSITIONS]
        if isinstance(context, ExactContext):
            yield first, *context.intervals(part)
            continue
        below, own = np.empty_like(part), np.empty_like(part)
        rows = np.arange(len(part))
        for step in range(part.shape[1]):
            frequencies = context.next_frequencies()
            own[:, step] = frequencies[rows, part[:, step]]
            below[:, step] = np.cumsum(frequencies, axis=1)[rows, part[:, step]] - own[:, step]
            context.append(part[:, step])
        yield first, below, own


def group_intervals(tokens: NDArray[np.int64], predictor: ModelPredictor, streams: int) -> Intervals:
    """(cumulative, frequency) of the two symbols of every token in coding order, some positions at a time."""
    shortest, longer = divmod(len(tokens), streams)
    context, table = _weighted(predictor.start(streams)), dealt(tokens, streams)
    if isinstance(context, WeightedExactContext):
        yield from _groups_at_once(context, table, shortest, longer)
        return
    for position, column in enumerate(table.T):
        active = streams if position < shortest else longer
        below, own = grouped.intervals(context.next_weights()[:active], column[:active])
        yield below.ravel(), own.ravel()
        context.append(column)


def _groups_at_once(context: WeightedExactContext, table: NDArray[np.int64], shortest: int, longer: int) -> Intervals:
    for first in range(0, table.shape[1], SCORE_POSITIONS):
        part = table[:, first : first + SCORE_POSITIONS]
        both = context.weighed(part, lambda weights, own: np.concatenate(grouped.intervals(weights, own), 1))
        for position in range(part.shape[1]):
            active = both[: len(table) if first + position < shortest else longer, position]
            yield active[:, :2].ravel(), active[:, 2:].ravel()


def _weighted(context: Context) -> WeightedContext:
    if not isinstance(context, WeightedContext):
        raise ArchiveError("a frame of another kind of model than this one: the archive is damaged")
    return context


def _read_flat(decoder: coder.Decoder, context: Context, active: int) -> NDArray[np.int64]:
    return decoder.decode(context.next_frequencies()[:active])


def _read_groups(decoder: coder.Decoder, context: Context, active: int) -> NDArray[np.int64]:
    return grouped.decode(decoder, _weighted(context).next_weights()[:active])


def _step_by_step(
    frame: Frame, predictor: ModelPredictor, read: Callable[[coder.Decoder, Context, int], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """``read`` gives the next token of each active stream."""
    info, decoder = frame.info, coder.Decoder(frame.payload)
    tokens = np.empty(info.token_count, np.int64)
    bounds = stream_bounds(info.token_count, info.streams)
    shortest, longer = divmod(info.token_count, info.streams)
    context = predictor.start(info.streams)
    newest = np.zeros(info.streams, np.int64)
    for position in range(int(bounds[1])):
        active = info.streams if position < shortest else longer
        newest[:active] = read(decoder, context, active)
        tokens[bounds[:active] + position] = newest[:active]
        if position + 1 < bounds[1]:
            context.append(newest)
    return tokens
