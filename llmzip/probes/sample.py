"""``sample``: random bits decoded into text, which is what the zip of a corpus holds wherever one opens it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmzip.coder import Decoder
from llmzip.errors import ModelError, UsageError
from llmzip.predictor import FREQUENCY_TOTAL, FloatPredictor, ModelPredictor, Predictor
from llmzip.scoring import faithful_tokens

LABEL = "decoded from random bits: nobody wrote this text"

_SPARE_BYTES = 64
_WORD_BYTES = 4
_MOST_BITS = 24


@dataclass(frozen=True)
class Sample:
    """A text that was decoded, and what it cost."""

    text: bytes
    """Without the prompt."""
    tokens: int
    bits: float
    """The sum of -log2 p of the tokens: about so many random bits were used."""
    seed: int


def sample(predictor: Predictor, *, tokens: int, seed: int = 0, prompt: bytes = b"") -> Sample:
    """So many tokens, decoded by the range coder of archives from the bits of a generator with this seed.

    The bits are PCG64's, so an exact model gives the same text on every machine. Raises ModelError where there is no
    model, UsageError where ``tokens`` is no number of tokens.
    """
    if not isinstance(predictor, ModelPredictor):
        raise ModelError(f"{predictor.name!r} has no model that could be sampled: name another")
    if tokens < 1:
        raise UsageError(f"{tokens} tokens are no text: ask for 1 or more")
    before = faithful_tokens(predictor, prompt)
    if isinstance(predictor, FloatPredictor):
        predictor = predictor.fitted(len(prompt) + tokens, 1)
    context = predictor.start(1)
    for token in before:
        context.append(np.array([token]))
    random = np.random.Generator(np.random.PCG64(seed)).bytes(_payload_bytes(tokens))
    decoder = Decoder(random)
    chosen, bits = list[int](), 0.0
    for _ in range(tokens):
        frequencies = context.next_frequencies()
        token = decoder.decode(frequencies)
        bits -= math.log2(int(frequencies[0, token[0]]) / FREQUENCY_TOTAL)
        chosen.append(int(token[0]))
        context.append(token)
    found: NDArray[np.int64] = np.array(chosen)
    return Sample(predictor.detokenize(found), tokens, bits, seed)


def _payload_bytes(tokens: int) -> int:
    """Enough for the dearest tokens there could be, in whole words."""
    return (tokens * _MOST_BITS // 8 + _SPARE_BYTES) // _WORD_BYTES * _WORD_BYTES
