"""The predictor of version 2: what it decodes of earlier versions, other contexts, and large vocabularies."""

from pathlib import Path

import numpy as np
import pytest
from commands import run
from conftest import SAMPLE, write_model
from family_material import write_family
from hub_material import FAMILIES, HOSTILE_MIX

from llmzip import compress, decompress, load_predictor
from llmzip.archive import Frame
from llmzip.archive.format import KIND_NUMBERS
from llmzip.errors import ModelError, UsageError
from llmzip.frames.choice import CODINGS, token_frame
from llmzip.predictor import (
    FloatPredictor,
    LogitPredictor,
    Predictor,
    VersionedPredictor,
    WeightedExactContext,
    WeightedPredictor,
)
from llmzip.predictors.exact import ExactPredictor, load_exact
from llmzip.predictors.wide import WidePredictor

DATA = SAMPLE.encode() * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("wide") / "model", model_type="llama")


def test_models_that_were_not_made_for_eight_bits_run_by_version_2(folder: Path) -> None:
    assert isinstance(load_predictor(str(folder)), WidePredictor)
    assert isinstance(load_predictor("nano"), ExactPredictor)
    assert not isinstance(load_predictor("nano"), WeightedPredictor)


def coded(predictor: Predictor, data: bytes, streams: int = 1) -> Frame:
    """A frame of tokens, however large: random weights foresee little."""
    made = token_frame(data, 1 << 20, predictor=predictor, memory=False, streams=streams)
    assert made is not None
    return made


def decoded(frame: Frame, predictor: Predictor | None) -> bytes:
    assert predictor is not None
    return CODINGS[KIND_NUMBERS[frame.info.kind]].decode(frame, lambda: predictor)


def test_what_version_1_coded_decodes(folder: Path) -> None:
    """The opener asks for the predictor of an archive's fingerprint: here that of llmzip 0.1.0."""
    old, new = load_exact(folder, "model", engine="numpy"), load_predictor(str(folder))
    assert isinstance(new, VersionedPredictor)
    frames = coded(old, DATA), coded(new, DATA)
    assert frames[0].payload != frames[1].payload
    found = new.as_of(old.fingerprint[:6])
    assert isinstance(found, ExactPredictor) and found.fingerprint == old.fingerprint
    assert decoded(frames[0], found) == decoded(frames[1], new.as_of(new.fingerprint[:6])) == DATA


def test_the_context_is_part_of_the_fingerprint_and_found_by_it(folder: Path) -> None:
    short, usual = load_predictor(str(folder), context=40), load_predictor(str(folder))
    assert isinstance(usual, VersionedPredictor)
    frame = coded(short, DATA)
    assert frame.payload != coded(usual, DATA).payload
    assert decoded(frame, usual.as_of(short.fingerprint[:6])) == DATA
    archive = compress(DATA, short)
    assert decompress(archive, usual) == DATA
    longest = [load_predictor(str(folder), context=context).fingerprint for context in (4096, 1 << 14)]
    assert longest[0] == longest[1]  # the model knows 4,096 positions


def test_another_model_is_none_of_these(folder: Path, tmp_path: Path) -> None:
    other = load_predictor(str(write_model(tmp_path / "other", model_type="llama", seed=2)))
    here = load_predictor(str(folder))
    assert isinstance(here, VersionedPredictor) and here.as_of(other.fingerprint[:6]) is None


def test_a_context_for_a_model_without_use_for_it_is_refused(folder: Path) -> None:
    for name, arithmetic in (("nano", "auto"), ("adaptive", "auto"), (str(folder), "float")):
        with pytest.raises(UsageError, match="--context"):
            load_predictor(name, arithmetic=arithmetic, context=512)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="context"):
        load_predictor(str(folder), context=1)


@pytest.mark.parametrize("family", ["byte_level", "sentencepiece_without_bytes"])
def test_large_vocabularies_are_coded_in_two_symbols(tmp_path: Path, family: str) -> None:
    """Written many positions at once, read one by one; with bytes that the tokenizer has no token for."""
    pytest.importorskip("transformers")
    model = write_family(tmp_path / "model", "llama", family=family, vocab_size=20_000)
    predictor = load_predictor(str(model))
    assert isinstance(predictor, WeightedPredictor) and not isinstance(predictor, FloatPredictor)
    data = SAMPLE.encode()[:150] + bytes(range(0, 256, 9))
    for streams in (1, 3):
        frame = coded(predictor, data, streams)
        assert frame.info.kind == "model in groups"
        assert decoded(frame, predictor) == data
    tokens = predictor.tokenize(data)[None]
    once, steps = predictor.start(1), predictor.start(1)
    assert isinstance(once, WeightedExactContext) and isinstance(steps, WeightedExactContext)
    weights = once.weighed(tokens, lambda table, own: table[np.arange(len(own)), own][:, None])[0, :, 0]
    for token, weight in zip(tokens[0], weights, strict=True):
        assert steps.next_weights()[0, token] == weight
        steps.append(np.array([token]))


@pytest.mark.parametrize("family", FAMILIES)
def test_hostile_text_comes_back_through_every_family_of_tokenizers(tmp_path: Path, family: str) -> None:
    pytest.importorskip("transformers")
    predictor = load_predictor(str(write_family(tmp_path / "model", "qwen3", family=family)))
    assert isinstance(predictor, WidePredictor)
    for streams in (1, 4):
        assert decoded(coded(predictor, HOSTILE_MIX, streams), predictor) == HOSTILE_MIX


def test_logits_are_those_that_are_coded(folder: Path) -> None:
    predictor = load_predictor(str(folder))
    assert isinstance(predictor, LogitPredictor) and isinstance(predictor, WeightedPredictor)
    tokens = predictor.tokenize(DATA)[None]
    coded = predictor.start(1).intervals(tokens)[1][0] / 2.0**24  # type: ignore[attr-defined]
    shown = np.concatenate([logits[0] for _, _, logits in predictor.logits(tokens)]).astype(np.float64)
    shares = np.exp(shown - shown.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    assert np.abs(np.log(coded / shares[np.arange(len(shares)), tokens[0]])).max() < 0.05


def test_what_run_c_does_not_know_is_not_exported(folder: Path, tmp_path: Path) -> None:
    done = run("export", folder, tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 4 and b"version 2" in done.stderr and not (tmp_path / "out").exists()
