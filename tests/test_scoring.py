"""What a text costs, token by token: against formulas that are written out here, and against plain forward passes."""

from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE, CountingPredictor
from numpy.typing import NDArray

from llmzip import archive, frames, scoring
from llmzip.coder import IdealBits
from llmzip.errors import ModelError
from llmzip.predictor import FREQUENCY_TOTAL, LogitPredictor
from llmzip.predictors import load_predictor
from llmzip.predictors.exact import ExactPredictor
from llmzip.scoring import TokenScores, frame_frequencies, frame_microbits, own_bits, scorer, stream_bits

TEXT = SAMPLE.encode()


def joined(blocks: list[TokenScores], name: str) -> NDArray[np.float64]:
    return np.concatenate([getattr(block, name) for block in blocks])


def test_figures_are_what_their_formulas_say(tiny: ExactPredictor) -> None:
    tokens = tiny.tokenize(TEXT)
    ((_, _, logits),) = list(tiny.logits(tokens[None]))
    p = np.exp(logits[0].astype(np.float64))
    p /= p.sum(1, keepdims=True)
    own, cost = p[np.arange(len(tokens)), tokens], -np.log2(p)
    blocks = list(scorer(tiny).score(TEXT, alternatives=3))
    assert (joined(blocks, "tokens") == tokens).all() and [block.first for block in blocks][0] == 0
    assert np.allclose(joined(blocks, "bits"), -np.log2(own), rtol=1e-12)
    entropy = (p * cost).sum(1)
    assert np.allclose(joined(blocks, "entropy"), entropy, rtol=1e-9)
    assert np.allclose(joined(blocks, "variance"), (p * (cost - entropy[:, None]) ** 2).sum(1), rtol=1e-6)
    order = np.argsort(-logits[0], axis=1, kind="stable")
    assert (joined(blocks, "top") == order[:, 0]).all() and (joined(blocks, "likeliest") == order[:, :3]).all()
    assert np.allclose(joined(blocks, "likeliest_bits"), np.take_along_axis(cost, order[:, :3], 1))
    assert (joined(blocks, "rank") == (order == tokens[:, None]).argmax(1)).all()
    ends = joined(blocks, "byte_ends")
    assert ends[-1] == len(TEXT) and (np.diff(ends) == [len(tiny.token_bytes[token]) for token in tokens[1:]]).all()


def test_exact_bits_are_those_that_a_stream_codes_but_for_rounding(tiny: ExactPredictor) -> None:
    tokens = tiny.tokenize(TEXT)
    own = np.concatenate([own for _, own in frames.token_intervals(tokens, tiny, 1)])
    ends, bits = own_bits(tiny, TEXT)
    assert len(ends) == len(bits) == len(tokens)
    assert np.allclose(bits, -np.log2(own / FREQUENCY_TOTAL), atol=0.05)
    assert stream_bits(tokens, tiny, 1) == pytest.approx(bits.sum(), rel=1e-12)


def test_blocks_are_bounded_and_change_nothing(tiny: ExactPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(scorer(tiny).score(TEXT))
    monkeypatch.setattr("llmzip.predictors.exact.LOGITS_AT_ONCE", 7 * tiny.vocabulary_size)
    parts = list(scorer(tiny).score(TEXT))
    assert len(whole) == 1 < len(parts) and max(len(part.tokens) for part in parts) == 7
    assert [part.first for part in parts] == list(range(0, len(whole[0].tokens), 7))
    assert np.allclose(joined(parts, "bits"), whole[0].bits, rtol=1e-12)


@pytest.mark.parametrize("prompt", [b"The two churches: ", b"\xff\x00 x"])
def test_a_prompt_is_seen_and_not_scored(tiny: ExactPredictor, prompt: bytes) -> None:
    with_prompt = list(scorer(tiny).score(TEXT, prompt=prompt, memory=True))
    tokens = np.concatenate((tiny.tokenize(prompt), tiny.tokenize(TEXT)))
    own = np.concatenate([own for _, own in frames.token_intervals(tokens, tiny, 1)])
    count = len(tiny.tokenize(TEXT))
    assert joined(with_prompt, "byte_ends")[-1] == len(TEXT) and with_prompt[0].first == 0
    assert np.allclose(joined(with_prompt, "bits"), -np.log2(own[-count:] / FREQUENCY_TOTAL), atol=0.05)
    assert len(joined(with_prompt, "memory_bits")) == count


def test_memory_bits_are_those_of_a_frame_of_one_stream(tiny: ExactPredictor) -> None:
    blocks = list(scorer(tiny).score(TEXT * 3, memory=True))
    bits = IdealBits()
    for _, own in frames.memory_intervals(tiny.tokenize(TEXT * 3), tiny, 1, alone=False):
        bits.add(own)
    assert joined(blocks, "memory_bits").sum() * 1e6 == pytest.approx(bits.microbits, rel=1e-9)
    assert blocks[0].memory_bits is not None and list(scorer(tiny).score(TEXT))[0].memory_bits is None


def test_a_predictor_without_logits_is_asked_step_by_step(counting: CountingPredictor) -> None:
    assert not isinstance(counting, LogitPredictor)
    ends, bits = own_bits(counting, TEXT)
    own = np.concatenate([own for _, own in frames.token_intervals(counting.tokenize(TEXT), counting, 1)])
    assert np.allclose(bits, -np.log2(own / FREQUENCY_TOTAL)) and (ends == np.arange(1, len(TEXT) + 1)).all()


def test_what_cannot_be_scored_is_said(counting: CountingPredictor) -> None:
    with pytest.raises(ModelError, match="'adaptive' has no model"):
        scorer(load_predictor("adaptive", threads=1))
    with pytest.raises(ValueError, match="alternatives is 0"):
        list(scorer(counting).score(b"a", alternatives=0))
    assert list(scorer(counting).score(b"")) == [] and own_bits(counting, b"")[0].size == 0


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("kind", [archive.MODEL, archive.MODEL_AND_MEMORY, archive.MEMORY])
def test_what_a_frame_would_code(tiny: ExactPredictor, kind: int, streams: int) -> None:
    tokens = tiny.tokenize(TEXT)
    payload = frames.encode_intervals(frames.intervals(kind, tokens, tiny, streams), frames.Limit(1 << 20))
    microbits = frame_microbits(kind, tokens, tiny, streams)
    assert payload is not None and -8 < 8 * len(payload) - microbits / 1e6 < 64
    assert sum(map(len, frame_frequencies(kind, tokens, tiny, streams))) >= len(tokens)


@pytest.mark.parametrize("size", [25, len(TEXT)])
def test_float_models_are_scored_as_a_plain_forward_pass(tmp_path: Path, size: int) -> None:
    """In one pass where the window holds the text, else over windows that are cut to their newer halves."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from hub_material import write_hub_folder

    from llmzip.predictors.hub import load_hub

    folder, text = write_hub_folder(tmp_path / "x", "llama", "byte_level", extra_width=5), TEXT[:size]
    predictor = load_hub(folder, "x", threads=1)
    tokens, window = predictor.tokenize(text), predictor.model.window
    assert (len(tokens) < window) == (size == 25)
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    seen, done, expected = [predictor.model.start_token], 0, 0.0
    while done < len(tokens):
        fresh = tokens[done : done + window - len(seen) + 1].tolist()
        with torch.inference_mode():
            logits = plain(torch.tensor([seen + fresh[:-1]])).logits[0].double()
        rows = logits.log_softmax(-1)[-len(fresh) :]
        expected -= float(rows[torch.arange(len(fresh)), torch.tensor(fresh)].sum()) / np.log(2)
        done += len(fresh)
        seen = [seen[0], *(seen + fresh)[-(window // 2) :]]
    _, bits = own_bits(predictor, text)
    assert abs(bits.sum() - expected) / len(text) < 1e-6


@pytest.mark.parametrize("kind", [archive.MODEL, archive.MODEL_AND_MEMORY, archive.GROUPED])
@pytest.mark.parametrize("tokenizer", ["byte_level", "unigram"])
def test_float_models_by_passes_are_what_steps_code(tmp_path: Path, kind: int, tokenizer: str) -> None:
    pytest.importorskip("transformers")
    from hub_material import write_hub_folder

    from llmzip.predictors.hub import load_hub

    folder = write_hub_folder(tmp_path / "x", "llama", tokenizer, extra_width=3)
    predictor = load_hub(folder, "x", threads=1).fitted(len(TEXT), 3)
    tokens, bits = predictor.tokenize(TEXT), IdealBits()
    for _, own in frames.intervals(kind, tokens, predictor, 3):
        bits.add(own)
    assert frame_microbits(kind, tokens, predictor, 3) == pytest.approx(bits.microbits, rel=1e-5)


def test_what_an_escape_costs_is_one_number() -> None:
    """It stands in four modules, since compiled and lazily imported ones cannot share it."""
    from llmzip.predictors import escapes, float_tables, hub

    assert scoring.ESCAPE_BITS == -np.log2(escapes.ESCAPE_SHARE / FREQUENCY_TOTAL)
    assert float_tables.ESCAPE_SHARE == escapes.ESCAPE_SHARE and float_tables.TOTAL == FREQUENCY_TOTAL
    assert hub._ESCAPE_NATS == pytest.approx(scoring.ESCAPE_BITS * np.log(2), rel=1e-15)
