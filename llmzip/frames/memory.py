"""Codings with memory: beside a model, or alone. ``frames`` imports it; see ``coding``.

The memory itself is ``llmzip.memory``. Compiled code is imported when it runs: short texts need not wait for it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmzip import archive
from llmzip.archive import Frame
from llmzip.coder import shortened
from llmzip.frames.coding import (
    Intervals,
    Limit,
    OpenPredictor,
    Piece,
    dealt,
    encode_intervals,
    gathered,
    stream_bounds,
    with_model,
)
from llmzip.frames.tokens import SCORE_POSITIONS, detokenized
from llmzip.memory import MEMORY_VERSION
from llmzip.parallel import ahead
from llmzip.predictor import Context, ExactContext, FrameEngine, ModelPredictor, Predictor, Score, VersionedPredictor

if TYPE_CHECKING:
    from llmzip.memory.mixing import Memory, Vocabulary

_ALONE_POSITIONS = 4096


def _vocabulary(predictor: Predictor) -> "Vocabulary":
    from llmzip.memory.mixing import vocabulary_of

    folder = predictor.first_state if isinstance(predictor, VersionedPredictor) else None
    return vocabulary_of(predictor.token_bytes, folder)


def _memory(predictor: Predictor, token_count: int, streams: int, *, alone: bool) -> "Memory":
    from llmzip.memory.mixing import Memory

    version = predictor.memory_version if isinstance(predictor, VersionedPredictor) else MEMORY_VERSION
    return Memory(_vocabulary(predictor), token_count, streams, alone=alone, version=version)


def memory_intervals(tokens: NDArray[np.int64], predictor: Predictor, streams: int, *, alone: bool) -> Intervals:
    """(cumulative, frequency) of every decision in coding order, some positions at a time."""
    table, memory = dealt(tokens, streams), _memory(predictor, len(tokens), streams, alone=alone)
    if alone:
        for first in range(0, table.shape[1], _ALONE_POSITIONS):
            yield memory.intervals(table[:, first : first + _ALONE_POSITIONS])
        return
    context, score = with_model(predictor).start(streams), _vocabulary(predictor).odds
    scored = _model_odds(context, score, table)
    for part, odds in scored if predictor.threads == 1 else ahead(scored):
        yield memory.intervals(part, odds)


def _model_odds(
    context: Context, score: Score, table: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int16]]]:
    """(tokens, the model's log-odds on the way to each), some positions of all streams at a time."""
    for first in range(0, table.shape[1], SCORE_POSITIONS):
        part = table[:, first : first + SCORE_POSITIONS]
        if isinstance(context, ExactContext):
            yield part, context.scores(part, score)
            continue
        columns = []
        for position in range(part.shape[1]):
            columns.append(score(context.next_frequencies(), part[:, position]))
            context.append(part[:, position])
        yield part, np.stack(columns, 1)


class ModelAndMemoryCoding:
    """See ``FrameCoding``."""

    kind = archive.MODEL_AND_MEMORY

    def streams(self, piece: Piece) -> int:
        return piece.streams

    def encode(self, piece: Piece, predictor: Predictor, limit: Limit) -> bytes | None:
        if isinstance(predictor, FrameEngine) and predictor.codes_with_memory:
            return predictor.encode_tokens(piece.tokens, piece.streams, memory=True, limit_bytes=limit.bytes)
        return encode_intervals(memory_intervals(piece.tokens, predictor, piece.streams, alone=False), limit)

    def decode(self, frame: Frame, open_predictor: OpenPredictor) -> bytes:
        predictor, info = with_model(open_predictor()), frame.info

        def tokens() -> NDArray[np.int64]:
            if isinstance(predictor, FrameEngine) and predictor.codes_with_memory:
                return predictor.decode_tokens(frame.payload, info.token_count, info.streams, memory=True)
            return _step_by_step(frame, predictor)

        return detokenized(frame, predictor, tokens)


def _step_by_step(frame: Frame, predictor: ModelPredictor) -> NDArray[np.int64]:
    info = frame.info
    reader = _memory(predictor, info.token_count, info.streams, alone=False).reader(frame.payload)
    tokens = np.empty(info.token_count, np.int64)
    bounds = stream_bounds(info.token_count, info.streams)
    context = predictor.start(info.streams)
    padded = np.zeros(info.streams, np.int64)
    for position in range(int(bounds[1])):
        newest = reader.next_tokens(context.next_frequencies())
        tokens[bounds[: len(newest)] + position] = padded[: len(newest)] = newest
        if position + 1 < bounds[1]:
            context.append(padded)
    return tokens


class MemoryCoding:
    """See ``FrameCoding``: no model, and one stream, since streams only help a model."""

    kind = archive.MEMORY

    def streams(self, piece: Piece) -> int:
        return 1

    def encode(self, piece: Piece, predictor: Predictor, limit: Limit) -> bytes | None:
        memory = _memory(predictor, len(piece.tokens), 1, alone=True)
        frame = memory.frame()
        if frame is None:
            return encode_intervals(memory_intervals(piece.tokens, predictor, 1, alone=True), limit)
        payload = frame.encode(piece.tokens, limit.bytes)
        return None if payload is None else shortened(payload)

    def decode(self, frame: Frame, open_predictor: OpenPredictor) -> bytes:
        predictor, info = open_predictor(), frame.info
        memory = _memory(predictor, info.token_count, info.streams, alone=True)
        in_c = memory.frame()
        if in_c is not None:
            return predictor.detokenize(in_c.decode(frame.payload))
        reader = memory.reader(frame.payload)
        length = int(stream_bounds(info.token_count, info.streams)[1])
        counts = [min(_ALONE_POSITIONS, length - first) for first in range(0, length, _ALONE_POSITIONS)]
        table = np.concatenate([reader.next_positions(count) for count in counts], 1)
        return predictor.detokenize(gathered(table, info.token_count))
