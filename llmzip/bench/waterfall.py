"""Where an archive's bits go: the terms of ``results.WATERFALL_TERMS``, each measured, with the archive as their sum.

Evaluates the model again, about as long as compression takes. May import the codec and what lies below it, and the rest
of ``bench``; ``bench`` and ``cli`` import it.
"""

import numpy as np
from numpy.typing import NDArray

from llmzip import frames
from llmzip.archive import Frame
from llmzip.bench.modelled import as_it_wrote, frames_of, ideal_microbits, interval_microbits
from llmzip.bench.results import MICROBITS, WATERFALL_TERMS, WaterfallTerm
from llmzip.coder import IdealBits
from llmzip.predictor import LogitPredictor, ModelPredictor, Predictor
from llmzip.scoring import stream_bits

COLD_TOKENS = 512
"""Tokens at the beginning of a stream whose cost is compared with and without a past, which is as long."""

_BYTE = 8 * MICROBITS


def waterfall(archive: bytes, text: bytes, predictor: Predictor, known: dict[bytes, int]) -> dict[WaterfallTerm, int]:
    """Microbits by term; their sum is 8 * len(archive) * MICROBITS exactly.

    ``text``: what the archive decodes to, so that it need not be decoded once more. ``known``: ideal
    microbits by payload, as ``coder.watched_payloads`` collects them.
    """
    predictor = as_it_wrote(archive, predictor)
    terms = dict.fromkeys(WATERFALL_TERMS, 0)
    terms["framing"] = _BYTE * len(archive)
    end = 0
    for frame in frames_of(archive):
        first, end = end, end + frame.info.original_bytes
        payload = _BYTE * frame.info.payload_bytes
        terms["framing"] -= payload
        if not frame.info.token_count:
            terms["fallback"] += payload
            continue
        ideal = ideal_microbits(frame, predictor, known)
        terms["coder"] += payload - ideal
        for term, microbits in _terms_of_model(frame, text[first:end], predictor, ideal).items():
            terms[term] += microbits
    return terms


def _terms_of_model(frame: Frame, piece: bytes, predictor: Predictor, ideal: int) -> dict[WaterfallTerm, int]:
    """What the ``ideal`` microbits of a frame of tokens, made of ``piece``, consist of."""
    if frame.info.kind == "memory":
        return {"memory": ideal}
    streams, model_predictor = frame.info.streams, frames.with_model(predictor)
    tokens = predictor.tokenize(piece)
    rounded = ideal
    if frame.info.kind == "model+memory":
        rounded = interval_microbits(frames.token_intervals(tokens, model_predictor, streams))
    cold_start = cold_start_microbits(tokens, model_predictor, streams)
    unrounded = unrounded_microbits(tokens, model_predictor, streams)
    precision = 0 if unrounded is None else rounded - unrounded
    model = rounded - precision - cold_start
    return {"model": model, "memory": ideal - rounded, "precision": precision, "cold_start": cold_start}


def cold_start_microbits(tokens: NDArray[np.int64], predictor: ModelPredictor, streams: int) -> int:
    """What the first COLD_TOKENS tokens of each stream but the first would save with as many tokens before them."""
    parts = np.array_split(tokens, streams)  # as ``frames`` cuts them
    if streams == 1:
        return 0
    reach = min(COLD_TOKENS, len(parts[-1]))
    cold = np.stack([part[:reach] for part in parts[1:]])
    pasts = np.stack([part[len(part) - reach :] for part in parts[:-1]])
    return _cost(predictor, cold, 0) - _cost(predictor, np.concatenate([pasts, cold], axis=1), reach)


def _cost(predictor: ModelPredictor, table: NDArray[np.int64], first: int) -> int:
    """Microbits of the columns from ``first`` on of tokens [streams, n], under the model alone, as coded."""
    intervals = frames.token_intervals(table.ravel(), predictor, len(table))
    frequencies = np.concatenate([own for _, own in intervals])  # position by position
    bits = IdealBits()
    bits.add(frequencies[first * len(table) :])
    return bits.microbits


def unrounded_microbits(tokens: NDArray[np.int64], predictor: ModelPredictor, streams: int) -> int | None:
    """What the tokens would cost under probabilities that were not rounded; None where the predictor cannot say."""
    if not isinstance(predictor, LogitPredictor):
        return None
    return round(stream_bits(tokens, predictor, streams) * MICROBITS)
