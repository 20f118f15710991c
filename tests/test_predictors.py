"""One contract for every predictor: what the codec relies on, and what an archive's promise rests on."""

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE, CountingPredictor
from hypothesis import given
from hypothesis import strategies as st

from llmzip import archive, frames
from llmzip.codec import compress, decompress
from llmzip.errors import ModelError
from llmzip.memory import MEMORY_VERSION, first_state
from llmzip.memory.layout import constant_beginning
from llmzip.memory.tree import build_tree
from llmzip.predictor import FREQUENCY_TOTAL, ExactContext, ModelPredictor, Predictor, VersionedPredictor
from llmzip.predictors import ADAPTIVE, embedded_rungs, load_embedded, load_predictor, versions
from llmzip.predictors.exact import ExactPredictor, group_sizes, load_exact

RUNGS = [card.name for card in embedded_rungs()]
HOSTILE = [
    b"",
    b"\0",
    b"\xff",
    bytes(range(256)) * 3,
    b"\xed\xa0\x80\xc3",  # a surrogate and a cut character
    b"\xf0\x9f\x99" * 5,
    SAMPLE.encode(),
    b"<|start|><s></s><|endoftext|>",
    "e\u0301 \u212b \u2581\u2581 \ufeff\u200b".encode(),
    b"\r\n \t\r\r\n" * 20,
    b"a" * 5000,
    b" " * 5000,
]


MODELS = ["counting", "tiny", *RUNGS]


@pytest.fixture(scope="module")
def predictor(request: pytest.FixtureRequest, tiny: ExactPredictor, counting: CountingPredictor) -> Predictor:
    made: dict[str, Predictor] = {"tiny": tiny, "counting": counting}
    return made.get(request.param) or load_embedded(request.param, engine="numpy", threads=1)


every_predictor = pytest.mark.parametrize("predictor", [*MODELS, ADAPTIVE], indirect=True)
every_model = pytest.mark.parametrize("predictor", MODELS, indirect=True)


@pytest.fixture(scope="module")
def some_tokens(predictor: Predictor) -> Callable[[int, int], "np.ndarray"]:
    def draw(streams: int, length: int) -> np.ndarray:
        return np.random.default_rng(streams * length).integers(0, predictor.vocabulary_size, (streams, length))

    return draw


@every_predictor
@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: data[:8].hex())
def test_any_bytes_come_back_from_tokens(predictor: Predictor, data: bytes) -> None:
    tokens = predictor.tokenize(data)
    assert tokens.dtype == np.int64
    assert len(tokens) <= len(data)
    assert not len(tokens) or 0 <= tokens.min() <= tokens.max() < predictor.vocabulary_size
    assert predictor.detokenize(tokens) == data


@every_predictor
@given(st.data())
def test_random_bytes_and_text_come_back_from_tokens(predictor: Predictor, data: st.DataObject) -> None:
    raw = data.draw(st.one_of(st.binary(max_size=400), st.text(max_size=200).map(lambda t: t.encode("utf-8"))))
    assert predictor.detokenize(predictor.tokenize(raw)) == raw


@every_predictor
def test_any_tokens_have_bytes(predictor: Predictor) -> None:
    everything = np.arange(predictor.vocabulary_size)
    assert isinstance(predictor.detokenize(everything), bytes)


@every_model
def test_frequencies_are_positive_integers_of_the_agreed_sum(predictor: Predictor, some_tokens: Callable) -> None:
    context = predictor.start(3)
    for column in some_tokens(3, 40).T:
        frequencies = context.next_frequencies()
        assert frequencies.dtype == np.int64
        assert frequencies.shape == (3, predictor.vocabulary_size)
        assert frequencies.min() >= 1
        assert (frequencies.sum(axis=1) == FREQUENCY_TOTAL).all()
        context.append(column)


@every_model
def test_a_stream_does_not_feel_its_neighbours(predictor: Predictor, some_tokens: Callable) -> None:
    tokens = some_tokens(4, 30)
    together = predictor.start(4)
    alone = [predictor.start(1) for _ in range(4)]
    for column in tokens.T:
        expected = np.concatenate([context.next_frequencies() for context in alone])
        assert np.array_equal(together.next_frequencies(), expected)
        together.append(column)
        for row, context in enumerate(alone):
            context.append(column[row : row + 1])


@every_model
def test_asking_twice_changes_nothing(predictor: Predictor, some_tokens: Callable) -> None:
    context = predictor.start(2)
    for column in some_tokens(2, 5).T:
        assert np.array_equal(context.next_frequencies(), context.next_frequencies())
        context.append(column)


@every_model
def test_positions_at_once_equal_positions_one_by_one(predictor: Predictor, some_tokens: Callable) -> None:
    """Long enough to slide the window and to move the cache several times for the tiny model."""
    tokens = some_tokens(3, 400 if predictor.vocabulary_size < 1000 else 90)
    context = predictor.start(3)
    if not isinstance(context, ExactContext):
        pytest.skip("this predictor promises no such thing")
    at_once = [context.intervals(tokens[:, :7]), context.intervals(tokens[:, 7:])]
    cumulative, frequency = (np.concatenate([part[k] for part in at_once], axis=1) for k in (0, 1))
    after_at_once = context.next_frequencies()
    context = predictor.start(3)
    for position, column in enumerate(tokens.T):
        frequencies = context.next_frequencies()
        rows = np.arange(3)
        assert np.array_equal(frequency[:, position], frequencies[rows, column])
        below = np.cumsum(frequencies, axis=1)[rows, column] - frequencies[rows, column]
        assert np.array_equal(cumulative[:, position], below)
        context.append(column)
    assert np.array_equal(after_at_once, context.next_frequencies())


@given(st.integers(1, 300), st.integers(1, 40))
def test_threads_share_the_streams_evenly(streams: int, threads: int) -> None:
    sizes = group_sizes(streams, threads)
    assert sum(sizes) == streams and len(sizes) <= threads and min(sizes) >= 1 and max(sizes) - min(sizes) <= 1


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(ModelError, match="neither an embedded model"):
        load_predictor("no-such-model")
    with pytest.raises(ModelError, match="name a model folder with -m"):
        load_embedded(".")


def test_adaptive_is_the_tokenizer_of_the_embedded_models_and_no_model() -> None:
    adaptive = load_predictor(ADAPTIVE, threads=3)
    assert not isinstance(adaptive, ModelPredictor)
    assert adaptive.name == ADAPTIVE and adaptive.threads == 3
    for card in embedded_rungs():
        rung = load_embedded(card.name)
        assert isinstance(rung, ModelPredictor)
        assert rung.token_bytes == adaptive.token_bytes and rung.fingerprint != adaptive.fingerprint
        held = (card.folder / "tokenizer.json").stat().st_size + first_state.PATHS[MEMORY_VERSION].stat().st_size
        assert adaptive.parameter_bytes == held < rung.parameter_bytes


def test_adaptive_loads_no_weights() -> None:
    program = (
        "import sys; from llmzip.predictors import load_predictor; load_predictor('adaptive'); "
        "assert not {'torch', 'llmzip.engine.model'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_folder_with_its_own_first_state_decodes_its_archives_for_ever(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a later llmzip would be: what it ships has changed, the folder has not."""
    own = tmp_path / "own"
    shutil.copytree(model_folder, own)
    tokens = load_exact(own, "own", threads=1).token_bytes
    states = {}
    for name, alone in (("model", False), ("alone", True)):
        state = constant_beginning(len(tokens), build_tree(tokens).node_rows, alone=alone)
        states[name] = state._replace(final_weights=state.final_weights + 65536)
    first_state.write(states, tokens, own / first_state.FOLDER_NAMES[MEMORY_VERSION])
    predictor = load_exact(own, "own", threads=1)
    data = SAMPLE.encode() * 20
    packed = compress(data, predictor)
    assert predictor.fingerprint != load_exact(model_folder, "own", threads=1).fingerprint
    assert packed != compress(data, load_exact(model_folder, "own", threads=1))
    shipped = tmp_path / "shipped.zst"
    first_state.write(states, (*tokens, b"other"), shipped)
    monkeypatch.setitem(first_state.PATHS, MEMORY_VERSION, shipped)
    later = load_exact(own, "own", threads=1)
    assert later.fingerprint == predictor.fingerprint
    assert decompress(packed, later) == data


def test_the_version_of_the_memory_is_in_every_fingerprint(model_folder: Path) -> None:
    tokens = load_exact(model_folder, "tiny", threads=1).token_bytes
    assert len({first_state.identity(tokens, version) for version in (1, 2, 3)}) == 3
    assert first_state.identity(tokens, 1) == first_state.digest(tokens, 1)  # archives of then did not say it


def test_a_predictor_can_be_what_it_was(monkeypatch: pytest.MonkeyPatch, model_folder: Path) -> None:
    monkeypatch.setattr(versions, "READABLE_MEMORY_VERSIONS", (1, 77))
    monkeypatch.setattr(versions.Versioned, "memory_version", 77)
    for now in (load_exact(model_folder, "tiny", threads=1), load_predictor("adaptive", threads=1)):
        assert isinstance(now, VersionedPredictor) and now.memory_version == 77
        known = dict(now._fingerprints)
        then = now.as_of(known[1][:6])
        assert isinstance(then, VersionedPredictor) and then.memory_version == 1 and then.fingerprint == known[1]
        assert now.fingerprint == known[77] != known[1] and now.as_of(b"nobody") is None
        header = archive.read_header(archive.ByteReader(io.BytesIO(archive.pack_header(now.name, known[1]))))
        assert frames.opener(header, lambda name, now=now: now)().fingerprint == known[1]  # type: ignore[misc]
