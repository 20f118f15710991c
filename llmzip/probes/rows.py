"""The figures of all tokens of one text, as one set of arrays. Client of ``scoring``; the probes share it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import UsageError
from llmzip.predictor import Predictor
from llmzip.scoring import scorer


@dataclass(frozen=True)
class TokenRows:
    """All tokens of a text, [n] each; see ``scoring.TokenScores``."""

    tokens: NDArray[np.int64]
    byte_ends: NDArray[np.int64]
    bits: NDArray[np.float64]
    entropy: NDArray[np.float64]
    variance: NDArray[np.float64]
    rank: NDArray[np.int64]
    likeliest_bits: NDArray[np.float64]
    """[n, k]"""


def token_rows(predictor: Predictor, data: bytes, name: str, *, alternatives: int = 1) -> TokenRows:
    """Raises UsageError for a text without tokens, and as the scorer does."""
    blocks = list(scorer(predictor).score(data, alternatives=alternatives))
    if not blocks:
        raise UsageError(f"{name} is empty: name a text")
    joined = {
        field: np.concatenate([getattr(block, field) for block in blocks]) for field in TokenRows.__dataclass_fields__
    }
    return TokenRows(**joined)


def byte_chunks(rows: TokenRows, size: int) -> NDArray[np.int64]:
    """[k + 1]: bounds of runs of tokens of about ``size`` bytes each, by the token at which each begins."""
    numbers = (rows.byte_ends - 1) // size
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    return np.append(starts, len(rows.tokens))
