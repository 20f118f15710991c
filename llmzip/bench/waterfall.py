"""Where an archive's bits go: the terms of ``results.WATERFALL_TERMS``, each measured, with the archive as their sum.

Evaluates the model again, two or three times as long as compression takes. May import the codec, ``scoring`` and what
lies below them, and the rest of ``bench``; ``bench`` and ``cli`` import it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llmzip import frames
from llmzip.archive import Frame
from llmzip.bench.modelled import as_it_wrote, frames_of, ideal_microbits
from llmzip.bench.results import MICROBITS, WATERFALL_TERMS, WaterfallTerm
from llmzip.errors import ModelError
from llmzip.predictor import ModelPredictor, Predictor
from llmzip.scoring import frame_microbits, own_bits, stream_bits

_BYTE = 8 * MICROBITS


def own_microbits(text: bytes, predictor: Predictor, ends: Sequence[int] = ()) -> list[int] | None:
    """The model's own bits of the parts of ``text`` that end at each of ``ends``, then of all of it together.

    A token belongs to the part in which it ends. None where there is no model, or its tokenizer does not give the text
    back, so that no frame uses it.
    """
    if not isinstance(predictor, ModelPredictor):
        return None
    try:
        token_ends, bits = own_bits(predictor, text)
    except ModelError:
        if predictor.detokenize(predictor.tokenize(text)) == text:
            raise
        return None
    sums = np.concatenate(([0.0], np.cumsum(bits)))
    upto = [round(float(sums[place]) * MICROBITS) for place in np.searchsorted(token_ends, [*ends, len(text)], "right")]
    return [end - start for start, end in zip([0, *upto], upto[:-1], strict=False)] + [upto[-1]]


def waterfall(archive: bytes, text: bytes, predictor: Predictor, known: dict[bytes, int]) -> dict[WaterfallTerm, int]:
    """Microbits by term; their sum is 8 * len(archive) * MICROBITS exactly.

    ``text``: what the archive decodes to, so that it need not be decoded once more. ``known``: ideal
    microbits by payload, as ``coder.watched_payloads`` collects them.
    """
    predictor = as_it_wrote(archive, predictor)
    terms = dict.fromkeys(WATERFALL_TERMS, 0)
    terms["framing"] = _BYTE * len(archive)
    parts = list(frames_of(archive))
    ends = np.cumsum([frame.info.original_bytes for frame in parts]).tolist()
    own = own_microbits(text, predictor, ends)
    for index, (frame, end) in enumerate(zip(parts, ends, strict=True)):
        payload = _BYTE * frame.info.payload_bytes
        terms["framing"] -= payload
        piece = text[end - frame.info.original_bytes : end]
        for term, microbits in _terms(frame, piece, predictor, known, None if own is None else own[index]).items():
            terms[term] += microbits
    return terms


def _terms(
    frame: Frame, piece: bytes, predictor: Predictor, known: dict[bytes, int], own: int | None
) -> dict[WaterfallTerm, int]:
    """What the payload of a frame, made of ``piece``, consists of. own: microbits of the piece in the whole text."""
    payload, model = _BYTE * frame.info.payload_bytes, own or 0
    if not frame.info.token_count:
        return {"model": model, "fallback": payload - model}
    ideal = ideal_microbits(frame, piece, predictor, known)
    if frame.info.kind == "memory":
        return {"model": model, "memory": ideal - model, "coder": payload - ideal}
    streams, model_predictor, rounded = frame.info.streams, frames.with_model(predictor), ideal
    tokens = predictor.tokenize(piece)
    if frame.info.kind == "model+memory":
        rounded = _without_memory(tokens, predictor, streams)
    unrounded = round(stream_bits(tokens, model_predictor, streams) * MICROBITS)
    model = unrounded if own is None else own
    return {
        "model": model,
        "memory": ideal - rounded,
        "precision": rounded - unrounded,
        "cold_start": unrounded - model,
        "coder": payload - ideal,
    }


def _without_memory(tokens: NDArray[np.int64], predictor: Predictor, streams: int) -> int:
    kind = frames.choose_kind(predictor, len(tokens), memory=False)
    assert kind is not None
    return frame_microbits(kind, tokens, predictor, streams)
