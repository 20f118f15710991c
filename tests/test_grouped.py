"""Two symbols a token: exact both ways, for any weights, and close to what the weights say."""

import io

import numpy as np
import pytest
from conftest import CountingPredictor
from hypothesis import given
from hypothesis import strategies as st

from llmzip import archive, coder, frames
from llmzip.errors import ArchiveError
from llmzip.frames import grouped
from llmzip.predictor import FREQUENCY_TOTAL


@given(
    size=st.sampled_from([5, 17, 100, 16385]),
    rows=st.integers(1, 5),
    largest=st.sampled_from([0, 1, 1 << 20, 1 << 36, 1 << 44]),
    seed=st.integers(0, 1 << 20),
)
def test_tokens_come_back_under_any_weights(size: int, rows: int, largest: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, largest + 1, (rows, size)) * (rng.random((rows, size)) < 0.5)
    tokens = rng.integers(0, size, rows)
    below, own = grouped.intervals(weights, tokens)
    assert own.min() >= 1 and below.min() >= 0 and (below + own).max() <= FREQUENCY_TOTAL
    payload = coder.encode(below.ravel(), own.ravel())
    assert grouped.decode(coder.Decoder(payload), weights).tolist() == tokens.tolist()


def test_a_likely_token_of_a_large_vocabulary_costs_what_it_should() -> None:
    size = 151_936
    weights = np.full((1, size), 1)
    weights[0, 77] = 1 << 36
    _, own = grouped.intervals(weights, np.array([77]))
    assert coder.ideal_bits(own) < 2e-4
    assert -np.log2(1 - size / FREQUENCY_TOTAL) > 0.013  # in one symbol


def test_the_frequencies_are_those_of_the_specification() -> None:
    weights = np.array([[5, 0, 1 << 40, 3]])
    shifted = [w >> 3 for w in (5, 0, 1 << 40, 3)]  # the sum has 41 bits
    expected = [1 + w * (FREQUENCY_TOTAL - 4) // sum(shifted) for w in shifted]
    expected[2] += FREQUENCY_TOTAL - sum(expected)
    assert grouped._frequencies(weights).tolist() == [expected]
    assert (
        grouped.group_size(50_257) == 256 and grouped.group_size(151_936) == 512 and grouped.group_size(16_385) == 256
    )


def test_a_token_beyond_the_vocabulary_is_refused() -> None:
    weights = np.ones((1, 5), np.int64)
    below, own = grouped.intervals(np.array([[1, 1, 1, 1, 1, 0]]), np.array([5]))
    with pytest.raises(ArchiveError, match="does not exist"):
        grouped.decode(coder.Decoder(coder.encode(below.ravel(), own.ravel())), weights)


def test_a_predictor_without_weights_cannot_read_such_a_frame(counting: CountingPredictor) -> None:
    packed = archive.pack_frame(archive.GROUPED, b"abc", bytes(20), 3, 1)
    record = archive.read_record(archive.ByteReader(io.BytesIO(packed)))
    assert isinstance(record, archive.Frame)
    with pytest.raises(ArchiveError, match="another kind of model"):
        frames.decode_frame(record, lambda: counting)
