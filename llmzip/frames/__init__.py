"""Frames: a piece of text to its coding, and any frame back to its bytes. Knows no files and no archives as a whole.

One protocol, ``coding.FrameCoding``; one registry, ``choice.CODINGS``; a coding a file: ``plain`` (stored, zstd),
``tokens`` (a model), ``memory`` (a model with memory, or memory alone), ``portable``; ``block`` goes from a block to
its frames. May import ``archive``, ``blocks``, ``coder``, ``memory``, ``parallel``, ``portable``, ``predictor`` and
``errors``; ``codec``, ``recovery`` and what is above them import the names below.
"""

from llmzip.frames.block import FRAME_BYTES, frames_at_once, frames_of_block
from llmzip.frames.choice import (
    CODINGS,
    MEMORY_TOKENS,
    choose_kind,
    decode_frame,
    intervals,
    plain_frame,
    token_frame,
)
from llmzip.frames.coding import (
    STREAM_TOKENS,
    FrameCoding,
    Intervals,
    Limit,
    OpenPredictor,
    Piece,
    choose_streams,
    encode_intervals,
    streams_for,
    with_model,
)
from llmzip.frames.memory import memory_intervals
from llmzip.frames.opening import Load, opener
from llmzip.frames.plain import zstd_payload
from llmzip.frames.tokens import group_intervals, token_intervals

__all__ = [
    "CODINGS",
    "FRAME_BYTES",
    "MEMORY_TOKENS",
    "STREAM_TOKENS",
    "FrameCoding",
    "Intervals",
    "Limit",
    "Load",
    "OpenPredictor",
    "Piece",
    "choose_kind",
    "choose_streams",
    "decode_frame",
    "encode_intervals",
    "frames_at_once",
    "frames_of_block",
    "group_intervals",
    "intervals",
    "memory_intervals",
    "opener",
    "plain_frame",
    "streams_for",
    "token_frame",
    "token_intervals",
    "with_model",
    "zstd_payload",
]
