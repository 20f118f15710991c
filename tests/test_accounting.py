"""The formulas against worked numbers from the literature, and the facts of models against their cards and logs."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip.bench import accounting, known_models
from llmzip.bench.known_models import ModelFacts, account, find_model, folder_facts, published_models
from llmzip.errors import DocumentError, ModelError, UsageError
from llmzip.predictors import embedded_rungs


def published(name: str) -> known_models.ModelAccount:
    return account(find_model(name))


def test_adjusted_rate_of_chinchilla_on_enwik9() -> None:
    """Delétang et al. 2024: 8.3 % raw, 14,008.3 % adjusted."""
    rate = accounting.adjusted_bits_per_byte(83_000_000, 140 * 10**9, 10**9)
    assert rate / 8 == pytest.approx(140.083, rel=1e-12)
    assert accounting.adjusted_bits_per_byte(83_000_000, 0, 10**9) == pytest.approx(0.664)


def test_adjusted_rate_of_a_parameter_golf_model() -> None:
    """16,000,000 bytes of code and weights on 153,880,891 bytes of text add 0.83 bits per byte: 1.056 is 1.89."""
    archive_bytes = round(1.056 * 153_880_891 / 8)
    assert accounting.adjusted_bits_per_byte(archive_bytes, 16_000_000, 153_880_891) == pytest.approx(1.888, abs=5e-4)


def test_no_bytes_have_no_rate() -> None:
    with pytest.raises(UsageError, match="leave it out"):
        accounting.adjusted_bits_per_byte(1, 1, 0)


@pytest.mark.parametrize(
    ("receiver_bytes", "model", "codec", "expected"),
    [
        (169e6, 1.084, 1.707, 2.2e9),
        (269e6, 0.939, 1.989, 2.05e9),
        (500e6, 0.939, 1.989, 3.8e9),
        (430e6, 0.948, 1.989, 3.3e9),
        (140e9, 0.664, 1.707, 1.07e12),
        (140e9, 0.664, 0.853, 5.9e12),
    ],
)
def test_break_even_of_published_models(receiver_bytes: float, model: float, codec: float, expected: float) -> None:
    found = accounting.break_even_bytes(round(receiver_bytes), model, codec)
    assert found == pytest.approx(expected, rel=0.015)


@given(st.integers(1, 10**12), st.floats(0.01, 8), st.floats(0.01, 8))
def test_at_break_even_both_cost_the_same(receiver_bytes: int, model: float, codec: float) -> None:
    size = accounting.break_even_bytes(receiver_bytes, model, codec)
    if model >= codec:
        assert size is None
    else:
        assert size is not None
        assert receiver_bytes + size * model / 8 == pytest.approx(size * codec / 8, rel=1e-6)


def test_nothing_to_hold_breaks_even_at_once() -> None:
    assert accounting.break_even_bytes(0, 1.0, 2.0) == 0
    assert accounting.break_even_bytes(0, 2.0, 2.0) is None


def test_totals_of_the_hutter_prize_and_of_the_large_text_benchmark() -> None:
    assert accounting.total_bytes(110_351_665, 441_463) == 110_793_128
    assert 8 * accounting.total_bytes(110_351_665, 441_463) / 10**9 == pytest.approx(0.886, abs=5e-4)
    assert accounting.total_bytes(106_632_363, 107_261_318 - 106_632_363) == 107_261_318  # NNCP 3.2


def test_the_zip_view_of_llama_2_70b() -> None:
    """field: 10 TB -> 140 GB is 71 x; as a lossless two-part code about 15 x, weights 21 %; at most 0.3 % verbatim."""
    llama = published("llama 2 70b")
    assert llama.nominal_bytes == {"fp32": 280 * 10**9, "bf16": 140 * 10**9, "int8": 70 * 10**9}
    assert llama.training_ratio == pytest.approx(71.43, abs=0.01)
    assert llama.text_bits_per_parameter == pytest.approx(1142.9, abs=0.1)
    assert accounting.residual_bytes(2e12, 1.5) == pytest.approx(541e9, rel=1e-3)
    assert llama.two_part_bytes == pytest.approx(681e9, rel=1e-3)
    assert llama.two_part_ratio == pytest.approx(14.7, abs=0.05)
    assert llama.parameter_share == pytest.approx(0.21, abs=0.005)
    assert llama.verbatim_bytes == pytest.approx(31.5e9)
    assert llama.verbatim_share == pytest.approx(0.00315)


def test_adjusted_ts_zip_is_worse_than_xz_on_enwik9() -> None:
    rwkv = published("RWKV-4 169M")
    assert rwkv.adjusted_bits_per_byte == pytest.approx(2.44, abs=0.005)
    assert rwkv.total_bytes == 135_500_000 + 169_000_000
    assert rwkv.facts.codec_bits_per_byte is not None
    assert rwkv.adjusted_bits_per_byte > rwkv.facts.codec_bits_per_byte
    assert rwkv.break_even_bytes is not None and rwkv.break_even_bytes > 10**9


def test_prequential_bits_are_the_sum_of_the_batches() -> None:
    assert accounting.prequential_bits([900.0, 500.0, 300.0]) == 1700.0
    assert accounting.prequential_bits([]) == 0


def test_a_model_without_parameters_has_no_ratio() -> None:
    with pytest.raises(UsageError):
        accounting.training_ratio(1e9, 0)
    with pytest.raises(UsageError):
        accounting.text_bits_per_parameter(1e9, 0)
    nncp = published("NNCP 3.2")
    assert nncp.training_ratio is None
    assert nncp.adjusted_bits_per_byte == pytest.approx(0.853)


def test_zstd_squeezes_what_repeats_only() -> None:
    import numpy as np

    noise = np.random.default_rng(1).bytes(10_000)
    assert accounting.zstd_bytes(bytes(1000)) < 30
    assert accounting.zstd_bytes(noise) >= len(noise)


def test_every_published_figure_has_a_source() -> None:
    names = [facts.name for facts in published_models()]
    assert len(names) == len(set(names)) >= 5
    for facts in published_models():
        assert "parameters" in facts.sources, facts.name
        for key in ("training_bytes", "training_tokens", "nats_per_token", "bits_per_byte", "codec_bits_per_byte"):
            assert (getattr(facts, key) is None) == (key not in facts.sources), (facts.name, key)
        assert all(len(source) > 10 for source in facts.sources.values())


@pytest.mark.parametrize("rung", embedded_rungs(), ids=lambda rung: rung.name)
def test_the_facts_of_a_rung_are_those_of_its_card_and_its_log(rung: "known_models.Any") -> None:
    card = json.loads((rung.folder / "card.json").read_text(encoding="utf-8"))
    facts = find_model(rung.name)
    assert facts.parameter_count == card["parameters"]
    assert facts.parameter_bytes == (rung.folder / "model.safetensors").stat().st_size
    assert facts.receiver_bytes == rung.stored_bytes > facts.parameter_bytes
    assert facts.zstd_bytes is not None and 0.5 * facts.parameter_bytes < facts.zstd_bytes < facts.parameter_bytes
    assert (facts.training_bytes, facts.training_tokens) == (card["training_bytes"], card["training_tokens"])
    assert facts.prequential_bits == card["prequential_bits"]
    found = account(facts)
    assert found.prequential_bits_per_byte == pytest.approx(card["prequential_bits"] / card["training_bytes"])
    assert found.two_part_ratio is not None and found.training_ratio is not None
    assert found.two_part_ratio < found.training_ratio  # the lossless zip is the bigger one
    assert found.prequential_bytes is not None and found.prequential_bytes < card["training_bytes"] / 2


def _folder(tmp_path: Path, log: object) -> Path:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"a": np.zeros((3, 5), np.float16), "b": np.ones(7, np.float16)}, tmp_path / "model.safetensors")
    for name in ("tokenizer.json", "config.json"):
        (tmp_path / name).write_text('{"model_type": "llama"}', encoding="utf-8")
    (tmp_path / "training.json").write_text(json.dumps(log), encoding="utf-8")
    return tmp_path


def test_the_rate_at_the_end_is_that_of_the_last_interval(tmp_path: Path) -> None:
    log = {
        "checkpoints": [
            {"tokens": 100, "bytes": 400, "prequential_bits": 2000},
            {"tokens": 200, "bytes": 800, "prequential_bits": 2800},
        ]
    }
    facts = folder_facts(_folder(tmp_path, log), "made up")
    assert facts.parameter_count == 22
    assert facts.training_bits_per_byte == 2.0
    found = account(facts)
    assert found.two_part_bytes == facts.parameter_bytes + 200
    assert found.prequential_bits_per_byte == 3.5
    again = {"tokens": 300, "bytes": 1200, "prequential_bits": 2800, "prequential_bytes": 800}
    repeated = folder_facts(_folder(tmp_path, {"checkpoints": [*log["checkpoints"], again]}), "read twice")
    assert (repeated.training_bytes, repeated.training_bits_per_byte) == (1200, 2.0)
    assert account(repeated).prequential_bits_per_byte == 3.5  # of the text when it was new, not of all that was read
    alone = _folder(tmp_path, {"checkpoints": log["checkpoints"][:1]})
    assert folder_facts(alone, "one checkpoint").training_bits_per_byte == 5.0


LATER = {"tokens": 200, "bytes": 800, "prequential_bits": 2800}


@pytest.mark.parametrize(
    "log",
    [
        {},
        {"checkpoints": []},
        {"checkpoints": [{"tokens": 1}]},
        [],
        7,
        {"checkpoints": [LATER, {**LATER, "bytes": 400}]},
        {"checkpoints": [LATER, {**LATER, "prequential_bits": 1}]},
        {"checkpoints": [{**LATER, "prequential_bytes": 801}]},
        {"checkpoints": [{**LATER, "prequential_bits": -1}]},
    ],
)
def test_a_log_that_is_none_is_refused(tmp_path: Path, log: object) -> None:
    with pytest.raises(DocumentError, match="training.json: .*restore or delete it"):
        folder_facts(_folder(tmp_path, log), "made up")


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        folder_facts(tmp_path, "empty")
    (_folder(tmp_path, {}) / "model.safetensors").write_bytes(b"\xff" * 9)
    with pytest.raises(ModelError, match="cut short or damaged"):
        folder_facts(tmp_path, "damaged")
    with pytest.raises(ModelError, match="choose from"):
        find_model("no such model")


@given(
    count=st.integers(1, 10**12),
    size=st.sampled_from([1, 2, 4]),
    text=st.floats(1, 1e14),
    bits=st.floats(0.01, 8),
)
def test_the_shares_of_an_account_are_shares(count: int, size: int, text: float, bits: float) -> None:
    found = account(ModelFacts("m", count, size * count, training_bytes=text, training_bits_per_byte=bits))
    assert found.training_ratio is not None and found.two_part_bytes is not None
    assert found.verbatim_share is not None and 0 < found.verbatim_share <= 1
    assert found.parameter_share is not None and 0 < found.parameter_share < 1
    assert math.isclose(found.two_part_bytes, size * count + text * bits / 8)
    assert found.adjusted_bits_per_byte is None and found.break_even_bytes is None


ROOT = Path(__file__).resolve().parent.parent


def test_the_examples_of_the_document_run() -> None:
    import doctest

    failed, run = doctest.testfile(str(ROOT / "docs" / "accounting.md"), module_relative=False, encoding="utf-8")
    assert run >= 10
    assert failed == 0


def test_the_tables_of_the_document_are_those_of_the_results() -> None:
    import runpy

    document = (ROOT / "docs" / "accounting.md").read_text(encoding="utf-8")
    tables = runpy.run_path(str(ROOT / "benchmarks" / "accounting_tables.py"))
    assert tables["with_tables"](document) == document, "run benchmarks/accounting_tables.py"
