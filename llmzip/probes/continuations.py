"""What a text costs after another: answers after questions. Client of ``scoring``; several probes share it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelError
from llmzip.predictor import ModelPredictor, Predictor
from llmzip.scoring import each_distribution, faithful_tokens, token_costs

_ROWS_AT_ONCE = 32


def continuation_bits(predictor: Predictor, pairs: Sequence[tuple[bytes, bytes]]) -> NDArray[np.float64]:
    """[n]: the model's own bits of each second text after its first, from the start token on.

    The two are tokenised together, for that is what a model has learnt from; a token that reaches across the seam is
    paid for as part of the second. Raises ModelError.
    """
    if not isinstance(predictor, ModelPredictor):
        raise ModelError(f"{predictor.name!r} has no model that could score a text: name another")
    sizes = np.array([len(name) for name in predictor.token_bytes], np.int64)
    texts = [faithful_tokens(predictor, first + second) for first, second in pairs]
    seams = [
        int(np.searchsorted(np.cumsum(sizes[tokens]), len(first), "right"))
        for tokens, (first, _) in zip(texts, pairs, strict=True)
    ]
    found = np.zeros(len(texts))
    order = sorted((index for index, tokens in enumerate(texts) if len(tokens)), key=lambda index: len(texts[index]))
    for start in range(0, len(order), _ROWS_AT_ONCE):
        rows = np.array(order[start : start + _ROWS_AT_ONCE])
        table = np.zeros((len(rows), len(texts[rows[-1]])), np.int64)
        counts = np.zeros(table.shape, bool)
        for place, index in enumerate(rows):
            table[place, : len(texts[index])] = texts[index]  # what follows them changes nothing before it
            counts[place, seams[index] : len(texts[index])] = True
        for part, positions, figures in each_distribution(table, predictor, token_costs):
            found[rows[part]] += np.where(counts[part, positions], figures[:, :, 0], 0.0).sum(1)
    return found
