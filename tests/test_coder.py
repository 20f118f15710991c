"""The coder: intervals come back, cost what they should, and the words are the same for ever."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip.coder import Decoder, encode, ideal_bits
from llmzip.errors import ArchiveError
from llmzip.predictor import FREQUENCY_TOTAL


def table(rng: np.random.Generator, rows: int, symbols: int, sharpness: float) -> np.ndarray:
    """Frequencies of ``rows`` random distributions, from flat to almost certain."""
    weights = rng.random((rows, symbols)) ** sharpness + 1e-300
    free = FREQUENCY_TOTAL - symbols
    shares = np.floor(weights / weights.sum(axis=1, keepdims=True) * free * 0.999).astype(np.int64)
    shares[:, -1] += free - shares.sum(axis=1)
    return shares + 1


def intervals(frequencies: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(len(tokens))
    own = frequencies[rows, tokens]
    return np.cumsum(frequencies, axis=1)[rows, tokens] - own, own


@given(st.integers(0, 2**32), st.sampled_from([3, 4, 256, 4096]), st.sampled_from([0.0, 1.0, 30.0, 800.0]))
def test_tokens_come_back(seed: int, symbols: int, sharpness: float) -> None:
    rng = np.random.default_rng(seed)
    frequencies = table(rng, 40, symbols, sharpness)
    tokens = rng.integers(0, symbols, 40)
    tokens[:3] = 0, symbols - 1, symbols // 2  # the ends are special in ``encode``
    cumulative, own = intervals(frequencies, tokens)
    payload = encode(cumulative, own)
    assert np.array_equal(Decoder(payload).decode(frequencies), tokens)
    assert len(payload) * 8 <= 1.001 * ideal_bits(own) + 64


def test_row_by_row_equals_all_rows() -> None:
    rng = np.random.default_rng(5)
    frequencies, tokens = table(rng, 30, 50, 20.0), rng.integers(0, 50, 30)
    decoder = Decoder(encode(*intervals(frequencies, tokens)))
    assert [int(decoder.decode(frequencies[row : row + 1])[0]) for row in range(30)] == tokens.tolist()


def test_the_words_never_change() -> None:
    """Exact bytes: a new version of the coder's library that codes otherwise must not pass unseen."""
    frequencies = np.full((4, 4), FREQUENCY_TOTAL // 4)
    frequencies[2] = 1, FREQUENCY_TOTAL - 3, 1, 1
    payload = encode(*intervals(frequencies, np.array([3, 0, 1, 2])))
    assert payload.hex() == "c7fffff8"
    assert Decoder(payload).decode(frequencies).tolist() == [3, 0, 1, 2]


def test_a_payload_is_never_much_shorter_than_its_tokens_cost() -> None:
    """Even where every token is the first one and the coder's number is nothing but zeros."""
    own = np.full(4000, FREQUENCY_TOTAL // 2)
    payload = encode(np.zeros(4000, np.int64), own)
    assert ideal_bits(own) / 8 - 4 <= len(payload) <= ideal_bits(own) / 8 + 8
    rows = np.repeat(np.array([[FREQUENCY_TOTAL // 2, FREQUENCY_TOTAL // 4, FREQUENCY_TOTAL // 4]]), 4000, axis=0)
    assert not Decoder(payload).decode(rows).any()


def test_no_symbols_take_no_bytes() -> None:
    empty = np.empty(0, np.int64)
    assert encode(empty, empty) == b""


@given(st.binary(max_size=60))
def test_any_payload_decodes_or_is_refused(payload: bytes) -> None:
    frequencies = table(np.random.default_rng(0), 50, 300, 10.0)
    try:
        tokens = Decoder(payload).decode(frequencies)
    except ArchiveError:
        return
    assert tokens.min() >= 0 and tokens.max() < 300


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """constriction prints a warning to stdout unless it is told how precise to be."""
    frequencies = table(np.random.default_rng(1), 5, 10, 1.0)
    Decoder(encode(*intervals(frequencies, np.arange(5)))).decode(frequencies)
    assert capfd.readouterr() == ("", "")
