"""Probes of one model: against formulas written out, and against invariants that need no reference."""

import json
import math

import numpy as np
import pytest
from conftest import SAMPLE, CountingPredictor

from llmzip.errors import ModelError, UsageError
from llmzip.predictors.exact import ExactPredictor
from llmzip.probes import calibration, preference, rate
from llmzip.probes.continuations import continuation_bits
from llmzip.probes.record import Finding
from llmzip.probes.sample import sample
from llmzip.scoring import own_bits

TEXT = (SAMPLE * 3).encode()


def value(found: Finding, name: str) -> float:
    (one,) = [figure.value for figure in found.figures if figure.name == name]
    assert one is not None
    return one


def test_continuations_cost_what_the_joined_text_does(tiny: ExactPredictor) -> None:
    pairs = [(TEXT[:40], TEXT[40:90]), (b"", TEXT[:30]), (TEXT[:10], b""), (TEXT[:17], TEXT[17:200])]
    found = continuation_bits(tiny, pairs)
    for (first, second), bits in zip(pairs, found, strict=True):
        ends, own = own_bits(tiny, first + second)
        assert bits == pytest.approx(own[ends > len(first)].sum(), abs=1e-9)
    assert found[2] == 0
    # Nothing is lost or counted twice at a seam between tokens.
    ends, own = own_bits(tiny, TEXT)
    seam = int(ends[20])
    assert continuation_bits(tiny, [(TEXT[:seam], TEXT[seam:])])[0] == pytest.approx(own[21:].sum(), rel=1e-9)


def test_calibration_is_what_its_formulas_say(tiny: ExactPredictor) -> None:
    tokens = tiny.tokenize(TEXT)
    ((_, _, logits),) = list(tiny.logits(tokens[None]))
    z = logits[0].astype(np.float64)

    def bits_at(temperature: float) -> float:
        p = np.exp(z / temperature - (z / temperature).max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        return float(-np.log2(p[np.arange(len(tokens)), tokens]).sum() / len(TEXT))

    found = calibration.measure(tiny, TEXT, "text")
    assert value(found, "cost") == pytest.approx(bits_at(1), rel=1e-9)
    best = min(bits_at(t) for t in np.geomspace(0.5, 2, 400))
    assert value(found, "lost to temperature") == pytest.approx(bits_at(1) - best, abs=0.002)
    assert value(found, "z") > 3  # random weights are far too sure
    with pytest.raises(UsageError, match="too few"):
        calibration.measure(tiny, b"short", "text")


def test_a_model_is_calibrated_on_its_own_writing(counting: CountingPredictor) -> None:
    """Where its tokens are bytes, for what is written is read as the same tokens."""
    own = sample(counting, tokens=3000, seed=5).text
    found = calibration.measure(counting, own, "its own")
    assert abs(value(found, "z")) < 4
    assert value(found, "lost to temperature") < 0.01
    assert value(found, "calibration error of the likeliest token") < 0.05


def test_preferences_by_length_ties_and_shuffles(tiny: ExactPredictor) -> None:
    rng = np.random.default_rng(1)
    words = SAMPLE.split()
    pairs = []
    for _ in range(120):
        one, other = (" ".join(rng.choice(words, rng.integers(3, 6))) for _ in range(2))
        pairs.append({"prompt": "say: ", "chosen": one, "rejected": other})
    pairs += [{"prompt": "", "chosen": "same", "rejected": "same"}] * 3
    data = "\n".join(map(json.dumps, pairs)).encode()
    found = preference.measure(tiny, data, "shuffled", reference=tiny)
    total = next(figure for figure in found.figures if figure.name.endswith("total bits"))
    assert total.low is not None and total.high is not None and total.low < 0.5 < total.high
    assert total.note == "3 ties left out"
    against_itself = next(figure for figure in found.figures if figure.name.endswith("implicit reward"))
    assert against_itself.value is None and against_itself.note == "123 ties left out"
    backwards = "\n".join(map(json.dumps, reversed(pairs))).encode()
    assert preference.measure(tiny, backwards, "shuffled", reference=tiny) == found
    swapped = [{**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]} for pair in pairs]
    mirrored = preference.measure(tiny, "\n".join(map(json.dumps, swapped)).encode(), "swapped")
    assert value(mirrored, total.name) == pytest.approx(1 - value(found, total.name))


@pytest.mark.parametrize("wrong", [b"{}", b'{"prompt": "a", "chosen": "", "rejected": "b"}', b"[]", b"\xff", b"\n\n"])
def test_pairs_that_are_none_are_refused(tiny: ExactPredictor, wrong: bytes) -> None:
    with pytest.raises(UsageError, match="^pairs"):
        preference.measure(tiny, wrong, "pairs")


def test_samples_are_seeded_and_their_bits_are_those_of_the_tokens(tiny: ExactPredictor) -> None:
    one = sample(tiny, tokens=80, seed=4, prompt=b"It was")
    assert sample(tiny, tokens=80, seed=4, prompt=b"It was") == one
    assert sample(tiny, tokens=80, seed=5, prompt=b"It was").text != one.text
    assert one.bits > 80 and one.text
    with pytest.raises(UsageError):
        sample(tiny, tokens=0)


def test_samples_have_the_model_s_own_frequencies(counting: CountingPredictor) -> None:
    """The first byte of a uniform model is any of 256: random bits come out as they went in."""
    assert sample(counting, tokens=1).bits == pytest.approx(8, abs=0.01)
    firsts = {sample(counting, tokens=1, seed=seed).text for seed in range(60)}
    assert len(firsts) > 45


def test_rate_ends_at_the_text_and_at_a_dream(tiny: ExactPredictor) -> None:
    text = TEXT[:300]
    found = rate.measure(tiny, text, "text")
    tokens = tiny.tokenize(text)
    context, bits, dream = tiny.start(1), 0.0, []
    for token in tokens:
        bits -= math.log2(context.next_frequencies()[0, token] / 2**24)
        context.append(np.array([token]))
    context = tiny.start(1)
    for _ in tokens:
        dream.append(int(context.next_frequencies()[0].argmax()))
        context.append(np.array(dream[-1:]))
    assert value(found, "lossless") * len(text) == pytest.approx(bits, rel=1e-9)
    (table,) = found.tables
    rows = {row[0]: row for row in table.rows}
    assert rows["0"][2] == 0 and rows["0"][5] == 1 and rows["0"][3] == len(tokens)
    assert rows["∞"][1] == 0 and rows["∞"][3] == 0
    assert found.passages[0][1] == text.decode()
    assert found.passages[-1][1] == tiny.detokenize(np.array(dream)).decode("utf-8", "backslashreplace")
    for row in table.rows:
        assert isinstance(row[1], float) and isinstance(row[2], float) and row[2] <= row[1] + 1e-9


def test_what_has_no_model_is_refused() -> None:
    from llmzip.predictors import load_predictor

    adaptive = load_predictor("adaptive")
    for ask in (
        lambda: calibration.measure(adaptive, TEXT, "x"),
        lambda: rate.measure(adaptive, TEXT, "x"),
        lambda: sample(adaptive, tokens=1),
        lambda: continuation_bits(adaptive, []),
    ):
        with pytest.raises(ModelError, match="no model"):
            ask()
