"""Scores a text without writing an archive: what an archive would be, to within a gap that is measured beside it.

May import the codec and what lies below it, and ``bench.modelled`` and ``bench.results``; ``bench`` imports it.
"""

import time

from llmzip import archive, frames
from llmzip.bench.modelled import Modelled, interval_microbits
from llmzip.bench.results import MICROBITS, Row
from llmzip.errors import UsageError
from llmzip.frames import FRAME_BYTES
from llmzip.predictor import FloatPredictor, Predictor

SAMPLE_BYTES = 1 << 15
"""Of the beginning of the largest file: an archive of it is written and decoded, to see how far estimates are off."""


def estimate_row(codec: Modelled, data: bytes, file: str) -> Row:
    """The row of ``data``, scored: every frame as its model and memory would code it, or zstd where that is smaller."""
    started = time.perf_counter()
    predictor, settings = codec.coding, b""
    if isinstance(predictor, FloatPredictor):
        predictor = predictor.fitted(len(data), None)
        settings = predictor.settings()
    sizes, ideal = [], 0
    for first in range(0, len(data), FRAME_BYTES):
        piece = data[first : first + FRAME_BYTES]
        frame_bytes, microbits = _estimate_frame(predictor, piece)
        sizes.append((frame_bytes, len(piece)))
        ideal += microbits
    header = archive.pack_header(predictor.name, predictor.fingerprint, settings)
    framing = len(header) + len(archive.pack_end(sizes, bytes(8)))
    archive_bytes = framing + sum(size for size, _ in sizes)
    seconds = max(time.perf_counter() - started, 1e-9)
    name = codec.description.name
    return Row(
        file, name, len(data), archive_bytes, ideal, seconds, 0.0, None, tuple(sizes), verified=False, estimate=True
    )


def _estimate_frame(predictor: Predictor, piece: bytes) -> tuple[int, int]:
    """(bytes of the frame, ideal microbits)."""
    zstd = frames.zstd_payload(piece)
    best = len(archive.pack_frame(archive.ZSTD, piece, zstd)), 8 * MICROBITS * len(zstd)
    tokens = predictor.tokenize(piece)
    if not 1 <= len(tokens) <= len(piece) or predictor.detokenize(tokens) != piece:
        return best
    streams = frames.streams_for(predictor, len(tokens))
    kind = frames.choose_kind(predictor, len(tokens), memory=True)
    if kind is None or kind == archive.PORTABLE:
        raise UsageError("portable archives are not estimated: leave --quick out")
    streams = 1 if kind == archive.MEMORY else streams
    microbits = interval_microbits(frames.intervals(kind, tokens, predictor, streams))
    payload = bytes(-(-microbits // (8 * MICROBITS)))
    return min(best, (len(archive.pack_frame(kind, piece, payload, len(tokens), streams)), microbits))
