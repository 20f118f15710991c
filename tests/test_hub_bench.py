"""Float models in the bench: rows, estimates, waterfalls and heatmaps, as for any other model."""

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE

pytest.importorskip("transformers")

from hub_material import write_hub_folder

from llmzip import archive
from llmzip.bench.estimate import estimate_row
from llmzip.bench.heatmap import measure_heatmap
from llmzip.bench.measuring import measure_row
from llmzip.bench.modelled import Modelled, modelled
from llmzip.bench.results import MICROBITS
from llmzip.bench.waterfall import waterfall
from llmzip.coder import IdealBits
from llmzip.errors import ModelError, UsageError
from llmzip.frames import Limit, encode_intervals, intervals
from llmzip.memory import first_state
from llmzip.predictor import FloatPredictor, ModelPredictor
from llmzip.predictors import Arithmetic, find_model_folder, load_predictor
from llmzip.predictors.hub import load_hub
from llmzip.scoring import frame_microbits, stream_bits

LONG, SHORT = (SAMPLE * 6).encode(), SAMPLE.encode()[:150]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hub_folder(tmp_path_factory.mktemp("bench") / "tiny-gpt2", "gpt2")


@pytest.fixture(scope="module")
def codec(folder: Path) -> Modelled:
    return modelled(str(folder), threads=1)


def test_a_float_model_is_described_as_one(codec: Modelled, folder: Path) -> None:
    description = codec.description
    assert not description.exact and description.name == "llmzip float/tiny-gpt2"
    assert description.settings["dtype"] == "float32" and description.settings["device"] == "cpu"
    held = sum((folder / name).stat().st_size for name in ("model.safetensors", "config.json", "tokenizer.json"))
    assert description.receiver_bytes["weights"] + description.receiver_bytes["tokenizer"] == held
    assert description.parameter_count > 1000
    portable = modelled(str(folder), arithmetic="portable").description
    assert portable.settings["portable"] == 1 and not portable.exact


def test_rows_with_their_waterfalls(codec: Modelled, folder: Path) -> None:
    row = measure_row(codec, SHORT, "text", explain=True)
    assert row.verified and row.waterfall_microbits is not None
    assert sum(row.waterfall_microbits.values()) == 8 * row.archive_bytes * MICROBITS
    assert row.ideal_microbits is not None and row.ideal_microbits < 8 * row.archive_bytes * MICROBITS
    precision, model = row.waterfall_microbits["precision"], row.waterfall_microbits["model"]
    assert 0 < abs(precision) < model / 100
    portable = measure_row(Modelled(load_hub(folder, "x", threads=1).made_portable()), SHORT, "text", explain=True)
    assert portable.waterfall_microbits is not None
    assert portable.waterfall_microbits["model"] == pytest.approx(model, rel=1e-3)
    rounding = portable.waterfall_microbits["precision"] - precision  # both save the share of outputs without a token
    assert 0 < rounding < model / 20


def test_the_waterfall_of_model_and_memory(folder: Path) -> None:
    predictor = load_hub(folder, "x", threads=1).fitted(len(LONG), 2)
    tokens = predictor.tokenize(LONG)
    decisions = list(intervals(archive.MODEL_AND_MEMORY, tokens, predictor, 2))
    payload = encode_intervals(iter(decisions), Limit(1 << 20))
    assert payload is not None
    packed = archive.pack_header(predictor.name, predictor.fingerprint, predictor.settings())
    packed += archive.pack_frame(archive.MODEL_AND_MEMORY, LONG, payload, len(tokens), 2) + archive.pack_end([], b"")
    terms = waterfall(packed, LONG, predictor, {})
    assert sum(terms.values()) == 8 * len(packed) * MICROBITS
    assert 0 < abs(terms["precision"]) < terms["model"] / 100 and terms["memory"] < -terms["model"] / 10
    decided = terms["model"] + terms["precision"] + terms["cold_start"] + terms["memory"]
    bits = IdealBits()
    for _, own in decisions:
        bits.add(own)
    assert decided == pytest.approx(bits.microbits, rel=1e-4)


@pytest.mark.parametrize("arithmetic", ["float", "exact"])
def test_what_rounding_costs_where_bytes_are_spelt(tmp_path: Path, arithmetic: Arithmetic) -> None:
    folder = write_hub_folder(tmp_path / "x", "llama", "unigram", extra_width=0)
    predictor = load_predictor(str(folder), arithmetic=arithmetic, threads=1)
    if isinstance(predictor, FloatPredictor):
        predictor = predictor.fitted(len(SHORT), 2)
    tokens = predictor.tokenize(SHORT)
    assert isinstance(predictor, ModelPredictor) and (tokens >= predictor.vocabulary_size - 256).any()
    rounded = frame_microbits(archive.MODEL, tokens, predictor, 2)
    unrounded = stream_bits(tokens, predictor, 2) * MICROBITS
    assert 0 < abs(rounded - unrounded) < rounded / 200


def test_a_portable_row(folder: Path) -> None:
    codec = Modelled(load_hub(folder, "x", threads=1).made_portable())
    row = measure_row(codec, SHORT, "text", explain=True)
    assert row.verified and row.ideal_microbits is not None
    with pytest.raises(UsageError, match="leave --quick out"):
        estimate_row(codec, SHORT, "text")


def test_estimates_are_near(codec: Modelled) -> None:
    for data in (LONG, SHORT):
        estimate, row = estimate_row(codec, data, "text"), measure_row(codec, data, "text")
        assert abs(estimate.archive_bytes - row.archive_bytes) < 40 or estimate.archive_bytes > row.archive_bytes


def test_heatmaps(codec: Modelled) -> None:
    shown = measure_heatmap(SHORT, codec.predictor, alternatives=2)
    assert b"".join(token.content for token in shown.tokens) == SHORT
    assert math.isfinite(shown.bits) and all(len(token.alternatives) == 2 for token in shown.tokens)


def test_the_memory_of_an_embedded_model_begins_with_what_it_learnt_in_floating_point_too() -> None:
    """So its fingerprint depends on the first state, and a receiver must hold that."""
    predictor = load_predictor("nano", arithmetic="float")
    held = first_state.stored_bytes(predictor.token_bytes)
    assert held and first_state.digest(predictor.token_bytes)
    assert predictor.parameter_bytes == load_predictor("nano").parameter_bytes
    with pytest.raises(ModelError, match="no model that could run in floating point"):
        load_predictor("adaptive", arithmetic="float")


TINY_STORIES = Path(__file__).resolve().parents[2] / "shared" / "models" / "TinyStories-656K"
STORY = (
    b"Once upon a time, there was a little girl. She had a red ball and liked to play with it in the park every day.\n"
)


@pytest.mark.parametrize("name", ["nano", "small", "base", "TinyStories-656K"])
def test_the_bench_says_what_a_plain_forward_pass_says(name: str) -> None:
    """``benchmarks/ideal_bits.py`` shows it on longer texts."""
    import torch
    import transformers

    if name == TINY_STORIES.name and not TINY_STORIES.is_dir():
        pytest.skip("TinyStories-656K is not beside this checkout")
    where = str(TINY_STORIES) if name == TINY_STORIES.name else name
    plain = transformers.AutoModelForCausalLM.from_pretrained(find_model_folder(where), dtype=torch.float64).eval()
    codec = modelled(where, arithmetic="float", threads=1)
    tokens = codec.predictor.tokenize(STORY)
    with torch.inference_mode():
        fed = torch.from_numpy(np.concatenate(([plain.config.bos_token_id], tokens[:-1])))[None]
        rows = plain(input_ids=fed).logits[0].log_softmax(-1)
    forward = -float(rows[range(len(tokens)), tokens].sum()) / math.log(2)
    row = measure_row(codec, STORY, "story", explain=True)
    assert row.ideal_microbits is not None and row.waterfall_microbits is not None
    assert row.model_microbits == row.waterfall_microbits["model"]
    assert abs(row.model_microbits / MICROBITS - forward) / len(STORY) < 1e-6
    assert row.ideal_microbits / MICROBITS == pytest.approx(forward, rel=1e-3)
    exact = measure_row(modelled(where, arithmetic="exact", threads=1), STORY, "story", own_bits=True)
    assert exact.model_microbits is not None and exact.model_microbits / MICROBITS == pytest.approx(forward, rel=0.01)


def test_the_export_of_the_command_is_a_plain_forward_pass(folder: Path, tmp_path: Path) -> None:
    """With a memory that saves bits, and in a text that fits into the window."""
    import json

    import torch
    import transformers
    from pages import run_command

    text = SAMPLE.encode()[:30]
    (tmp_path / "text").write_bytes(text)
    command = ["bench", tmp_path / "text", "-m", folder, "--float", "--codec", "zstd -19", "-T", "1", "-q"]
    for extra in ([], ["--no-memory"]):
        result = run_command(*command, *extra, "--export", f"lm-eval={tmp_path / 'x.json'}")
        assert result.returncode == 0, result.stderr
        found = json.loads((tmp_path / "x.json").read_text())["results"]
        (name,) = [name for name in found if "," not in name]
        assert name.endswith("--no-memory") == bool(extra)
        plain = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        tokens = load_hub(folder, "x", threads=1).tokenize(text)
        with torch.inference_mode():
            fed = torch.from_numpy(np.concatenate(([0], tokens[:-1])))[None]
            rows = plain(input_ids=fed).logits[0].double().log_softmax(-1)
        forward = -float(rows[range(len(tokens)), tokens].sum()) / math.log(2) / len(text)
        assert abs(found[name]["bits_per_byte,none"] - forward) < 1e-6
        assert found[name]["archive_bits_per_byte,none"] > found[name]["bits_per_byte,none"]


def test_estimates_run_over_whole_windows_also_when_somebody_watches(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmzip.cli.metering import metered

    codec, told = modelled(str(folder), threads=1), []
    followed = codec.followed(metered(codec.predictor, told.append))
    alone = estimate_row(codec, LONG, "text")

    def start(self: object, streams: int) -> object:
        raise AssertionError("token by token")

    monkeypatch.setattr("llmzip.predictors.hub.HubPredictor.settings", lambda self: b"")
    monkeypatch.setattr("llmzip.predictors.hub.HubPredictor.start", start)
    assert estimate_row(followed, LONG, "text").ideal_microbits == alone.ideal_microbits and told
