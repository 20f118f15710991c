"""A cheap look before a model works: is there anything to win? ``choice`` and ``block`` ask; see ``docs/decisions.md``.

What it takes to be worth a model is told from counts of bytes, from zstd's result and from a pilot, a few slices that
are coded in full. Whole numbers only, so that every machine chooses alike. May import ``predictor`` and the modules
beside it.
"""

import numpy as np
import zstandard
from numpy.typing import NDArray

from llmzip.frames.coding import FrameCoding, Limit, Piece
from llmzip.frames.plain import zstd_payload
from llmzip.predictor import FloatPredictor, Predictor

NOISE_BYTES = 1 << 16
"""Noise is looked for in chunks of so many bytes; a smaller block is not looked at."""

LEAST_SQUARES, MOST_SQUARES = (1 << 24) + (1 << 14), (1 << 24) + (1 << 17)
"""Of the counts in a chunk of noise: 2^24 + 2^16 are expected, and 5,800 is one standard deviation."""

_SAMPLE_BYTES, _SAMPLES = 4096, 16
"""Of a piece whose bytes may be spread evenly: their sum of squared counts is within 6/5 of the least possible, which
is a collision entropy of 7.74 bits a byte."""

_TRIVIAL = 512
"""zstd makes so many bytes one: a model would have nothing to win that matters."""

PILOT_STREAMS, PILOT_TOKENS = 16, 512
"""So many slices of a piece, of so many tokens each."""


def is_noise(block: bytes) -> bool:
    """Whether nothing makes the block smaller, which zstd -19 takes long to find out: see ``ARCHIVE_FORMAT.md``."""
    if len(block) < NOISE_BYTES:
        return False
    values = np.frombuffer(block, np.uint8)
    for first in range(0, len(values) - NOISE_BYTES + 1, NOISE_BYTES):
        if not LEAST_SQUARES < _squares(values[first : first + NOISE_BYTES]) < MOST_SQUARES:
            return False
    level = zstandard.ZstdCompressionParameters.from_level(1, window_log=24, enable_ldm=True)
    return len(zstandard.ZstdCompressor(compression_params=level).compress(block)) >= len(block)


def _squares(values: NDArray[np.uint8]) -> int:
    """The sum of the squared counts of byte values."""
    counts = np.bincount(values, minlength=256).astype(np.int64)
    return int((counts * counts).sum())


def is_hopeless(data: bytes, plain_bytes: int) -> bool:
    """Whether no model can win anything: zstd has nearly all of it already, or its bytes are spread too evenly.

    ``plain_bytes``: what zstd, or storing, makes of it.
    """
    if plain_bytes * _TRIVIAL < len(data):
        return True
    if 20 * plain_bytes < 19 * len(data):
        return False
    values = np.frombuffer(data, np.uint8)
    if len(values) > _SAMPLE_BYTES * _SAMPLES:
        starts = [(len(values) - _SAMPLE_BYTES) * number // (_SAMPLES - 1) for number in range(_SAMPLES)]
        values = np.concatenate([values[start : start + _SAMPLE_BYTES] for start in starts])
    return len(values) >= _SAMPLE_BYTES and 5 * 256 * _squares(values) < 6 * len(values) ** 2


def pilot_fails(piece: Piece, coding: FrameCoding, predictor: Predictor) -> bool:
    """Whether the coding loses to zstd on slices of a piece that is much work for a model: its tokens are short.

    Ordinary text, whose tokens are longer than two bytes, has no pilot.
    """
    count = len(piece.tokens)
    if 2 * count < len(piece.data) or count < 2 * PILOT_STREAMS * PILOT_TOKENS:
        return False
    starts = [(count - PILOT_TOKENS) * number // (PILOT_STREAMS - 1) for number in range(PILOT_STREAMS)]
    tokens = np.concatenate([piece.tokens[start : start + PILOT_TOKENS] for start in starts])
    data = predictor.detokenize(tokens)
    most = predictor.most_streams if isinstance(predictor, FloatPredictor) else PILOT_STREAMS
    plain_bytes = min(len(data), len(zstd_payload(data)))
    pilot = coding.encode(Piece(data, tokens, min(PILOT_STREAMS, most)), predictor, Limit(plain_bytes))
    return pilot is None or len(pilot) >= plain_bytes
