"""Scores a text without writing an archive: what an archive would be, to within a gap that is measured beside it.

May import the codec and what lies below it, and ``bench.modelled`` and ``bench.results``; ``bench`` imports it.
"""

import time

from llmzip import archive, frames
from llmzip.bench.modelled import Modelled
from llmzip.bench.results import MICROBITS, Row
from llmzip.bench.waterfall import own_microbits
from llmzip.errors import UsageError
from llmzip.frames import FRAME_BYTES
from llmzip.predictor import FloatPredictor, Predictor
from llmzip.scoring import frame_microbits

SAMPLE_BYTES = 1 << 15
"""Of the beginning of the largest file: an archive of it is written and decoded, to see how far estimates are off."""


def estimate_row(codec: Modelled, data: bytes, file: str, *, own_bits: bool = False) -> Row:
    """The row of ``data``, scored: every frame as its model and memory would code it, or zstd where that is smaller.

    own_bits: whether the row says what the model's own bits are.
    """
    started = time.perf_counter()
    predictor, settings = codec.coding, b""
    if isinstance(predictor, FloatPredictor):
        predictor = predictor.fitted(len(data), None)
        settings = predictor.settings()
    sizes, ideal = [], 0
    for first in range(0, len(data), FRAME_BYTES):
        piece = data[first : first + FRAME_BYTES]
        frame_bytes, microbits = _estimate_frame(predictor, piece, memory=codec.memory)
        sizes.append((frame_bytes, len(piece)))
        ideal += microbits
    header = archive.pack_header(predictor.name, predictor.fingerprint, settings)
    framing = len(header) + len(archive.pack_end(sizes, bytes(8)))
    archive_bytes = framing + sum(size for size, _ in sizes)
    seconds = max(time.perf_counter() - started, 1e-9)
    own = own_microbits(data, codec.predictor) if own_bits else None
    return Row(
        file,
        codec.description.name,
        len(data),
        archive_bytes,
        ideal,
        seconds,
        0.0,
        None,
        tuple(sizes),
        verified=False,
        estimate=True,
        model_microbits=None if own is None else own[-1],
    )


def _estimate_frame(predictor: Predictor, piece: bytes, *, memory: bool) -> tuple[int, int]:
    """(bytes of the frame, ideal microbits)."""
    zstd = frames.zstd_payload(piece)
    best = len(archive.pack_frame(archive.ZSTD, piece, zstd)), 8 * MICROBITS * len(zstd)
    tokens = predictor.tokenize(piece)
    if not 1 <= len(tokens) <= len(piece) or predictor.detokenize(tokens) != piece:
        return best
    streams = frames.streams_for(predictor, len(tokens))
    kind = frames.choose_kind(predictor, len(tokens), memory=memory)
    if kind is None or kind == archive.PORTABLE:
        raise UsageError("portable archives are not estimated: leave --quick out")
    streams = 1 if kind == archive.MEMORY else streams
    microbits = frame_microbits(kind, tokens, predictor, streams)
    payload = bytes(-(-microbits // (8 * MICROBITS)))
    return min(best, (len(archive.pack_frame(kind, piece, payload, len(tokens), streams)), microbits))
