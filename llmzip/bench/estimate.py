"""Scores a text without writing an archive: what an archive would be, to within a gap that is measured beside it.

May import the codec and what lies below it, and ``bench.modelled`` and ``bench.results``; ``bench`` imports it.
"""

import time

from llmzip import archive, frames
from llmzip.bench.modelled import Modelled, interval_microbits
from llmzip.bench.results import MICROBITS, Row
from llmzip.codec import FRAME_BYTES
from llmzip.predictor import ModelPredictor

SAMPLE_BYTES = 1 << 15
"""Of the beginning of the largest file: an archive of it is written and decoded, to see how far estimates are off."""


def estimate_row(codec: Modelled, data: bytes, file: str) -> Row:
    """The row of ``data``, scored: every frame as its model and memory would code it, or zstd where that is smaller."""
    started = time.perf_counter()
    sizes, ideal = [], 0
    for first in range(0, len(data), FRAME_BYTES):
        piece = data[first : first + FRAME_BYTES]
        frame_bytes, microbits = _estimate_frame(codec, piece)
        sizes.append((frame_bytes, len(piece)))
        ideal += microbits
    predictor = codec.predictor
    framing = len(archive.pack_header(predictor.name, predictor.fingerprint)) + len(archive.pack_end(sizes, bytes(8)))
    archive_bytes = framing + sum(size for size, _ in sizes)
    seconds = max(time.perf_counter() - started, 1e-9)
    name = codec.description.name
    return Row(
        file, name, len(data), archive_bytes, ideal, seconds, 0.0, None, tuple(sizes), verified=False, estimate=True
    )


def _estimate_frame(codec: Modelled, piece: bytes) -> tuple[int, int]:
    """(bytes of the frame, ideal microbits)."""
    predictor = codec.coding
    zstd = frames.zstd_payload(piece)
    best = len(archive.pack_frame(archive.ZSTD, piece, zstd)), 8 * MICROBITS * len(zstd)
    tokens = predictor.tokenize(piece)
    if not 1 <= len(tokens) <= len(piece) or predictor.detokenize(tokens) != piece:
        return best
    streams = frames.choose_streams(len(tokens), frames.STREAM_TOKENS)
    if not isinstance(predictor, ModelPredictor):
        kind, streams, intervals = archive.MEMORY, 1, frames.memory_intervals(tokens, predictor, 1, alone=True)
    elif len(tokens) < frames.MEMORY_TOKENS:
        kind, intervals = archive.MODEL, frames.token_intervals(tokens, predictor, streams)
    else:
        kind, intervals = archive.MODEL_AND_MEMORY, frames.memory_intervals(tokens, predictor, streams, alone=False)
    microbits = interval_microbits(intervals)
    payload = bytes(-(-microbits // (8 * MICROBITS)))
    return min(best, (len(archive.pack_frame(kind, piece, payload, len(tokens), streams)), microbits))
