"""Version 2 of the exact arithmetic: each family against transformers, one result however it is computed, bounds."""

import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from family_material import MODELS, write_family
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from llmzip.engine import wide_ops
from llmzip.engine.families import FAMILIES, SINKS, read_architecture
from llmzip.engine.rope_scaling import rotary_rule
from llmzip.engine.tables import cap_table, gelu_table, octave_table
from llmzip.engine.wide_model import WideModel, WideStreams
from llmzip.engine.wide_weights import (
    INPUT_LIMIT,
    MATRIX_LIMIT,
    NORM_LIMIT,
    OTHER_LIMIT,
    SUM_LIMIT,
    WideWeights,
    load_wide,
    quantised,
)
from llmzip.errors import ModelError

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 2048,
}


def load(folder: Path, context: int = 1024) -> WideWeights:
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    architecture, folding = read_architecture(config, context=context)
    return load_wide(architecture, folding, lambda name: tensors[name].astype(np.float32), tensors)


@pytest.fixture(scope="module", params=MODELS, ids=str)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers")
    return write_family(tmp_path_factory.mktemp("family") / "model", request.param)


def test_every_family_has_a_model_in_the_tests() -> None:
    assert {kind for kind, _ in MODELS.values()} == set(FAMILIES)


def test_transformers_computes_the_same(folder: Path) -> None:
    """Float32 and integers: the same bits within 0.3 percent in all, and nearly the same for each token."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    weights = load(folder)
    size, start = weights.architecture.vocabulary_size, weights.architecture.start_token
    tokens = np.random.default_rng(5).integers(0, size, (2, 300))
    inputs = torch.from_numpy(np.concatenate((np.full((2, 1), start), tokens[:, :-1]), axis=1))
    with torch.no_grad():
        bits = -torch.log_softmax(model(inputs).logits.double(), -1) / np.log(2)
    expected = bits.gather(-1, torch.from_numpy(tokens)[..., None])[..., 0].numpy()
    exact_bits = -torch.log_softmax(torch.from_numpy(WideStreams(WideModel(weights), 2).logits(tokens)).double(), -1)
    exact = exact_bits.gather(-1, torch.from_numpy(tokens)[..., None])[..., 0].numpy() / np.log(2)
    assert abs(exact.sum() / expected.sum() - 1) < 0.003
    assert np.abs(exact - expected).mean() < 0.1
    assert np.corrcoef(exact.ravel(), expected.ravel())[0, 1] > 0.995


@pytest.mark.parametrize("step", [1, 37])
def test_positions_at_once_and_one_by_one_give_the_same_bits(folder: Path, step: int) -> None:
    """Longer than windows and context, so that positions are forgotten in the middle of steps of any size."""
    model = WideModel(load(folder, context=40))
    tokens = np.random.default_rng(3).integers(0, model.architecture.vocabulary_size, (3, 150))
    whole = WideStreams(model, 3)
    below, own = whole.intervals(tokens)
    parts = WideStreams(model, 3)
    pieces = [parts.intervals(tokens[:, first : first + step]) for first in range(0, 150, step)]
    assert np.array_equal(below, np.concatenate([piece[0] for piece in pieces], 1))
    assert np.array_equal(own, np.concatenate([piece[1] for piece in pieces], 1))
    steps = WideStreams(model, 3)
    for position in range(0 if step == 1 else 150, 150):
        assert np.array_equal(steps.next_frequencies()[range(3), tokens[:, position]], own[:, position])
        steps.append(tokens[:, position])
    assert np.array_equal(whole.next_weights(), parts.next_weights())


def test_streams_do_not_hear_each_other(folder: Path) -> None:
    model = WideModel(load(folder))
    tokens = np.random.default_rng(4).integers(0, model.architecture.vocabulary_size, (3, 50))
    together = WideStreams(model, 3).intervals(tokens)[1]
    alone = [WideStreams(model, 1).intervals(tokens[row : row + 1])[1][0] for row in range(3)]
    assert np.array_equal(together, alone)


def test_the_tables_are_the_same_for_ever() -> None:
    joined = b"".join(
        table.tobytes()
        for table in (octave_table(24).astype("<i8"), octave_table(36).astype("<i8"), gelu_table(), cap_table())
    )
    assert hashlib.sha256(joined).hexdigest()[:16] == "4467a42df1194918"


def test_the_tables_are_right() -> None:
    steps = np.arange(2305)
    octaves = octave_table(36)[steps & 63] >> (steps >> 6)
    assert np.abs(octaves - 2.0 ** (36 - steps / 64)).max() <= 1
    assert octaves[-1] == 1
    x = np.arange(-1024, 1025) / 64
    assert np.abs(gelu_table() - (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2).max() < 1e-7
    values = np.random.default_rng(0).normal(0, 100, 1000).astype(np.float32)
    for cap in (1.0, 30.0, 500.0):
        assert np.abs(wide_ops.capped(values, cap) - cap * np.tanh(values / cap)).max() < 5e-5 * cap
    assert wide_ops.capped(np.float32([-3e38, 0, 3e38]), 30.0).tolist() == [-30, 0, 30]


@given(st.integers(0, 2**32), st.integers(1, 3000), st.sampled_from([1e-8, 1.0, 100.0]), st.booleans())
def test_no_sum_of_products_leaves_int32(seed: int, inputs: int, size: float, flat: bool) -> None:
    rng = np.random.default_rng(seed)
    matrix = np.full((3, inputs), size) if flat else rng.standard_normal((3, inputs)) * size
    made = quantised(matrix.astype(np.float32))
    worst = int(np.abs(made.integers.astype(np.int64)).sum(axis=1).max()) * made.limit
    assert worst <= SUM_LIMIT and 127 <= made.limit <= INPUT_LIMIT
    q = made.limit * np.sign(made.integers[:1].astype(np.float32))
    exact = q.astype(np.int64) @ made.integers.T.astype(np.int64)
    assert np.array_equal(wide_ops.product(q, made), exact.astype(np.float32))


def test_a_matrix_as_wide_as_can_be_still_has_a_limit() -> None:
    made = quantised(np.ones((1, 1 << 17), np.float32))
    assert made.limit == SUM_LIMIT // (127 << 17) >= 127


@given(st.integers(0, 2**32), st.sampled_from([3, 300, 50_000]), st.sampled_from([0.0, 1.0, 30.0]))
def test_weights_and_frequencies_of_any_logits(seed: int, size: int, spread: float) -> None:
    logits = (np.random.default_rng(seed).standard_normal((2, size)) * spread).astype(np.float32)
    weights, best = wide_ops.token_weights(logits)
    assert weights.min() >= 1 and weights.max() == 1 << 36
    table = wide_ops.frequencies(weights, best)
    assert table.min() >= 1 and (table.sum(axis=1) == 1 << 24).all()
    likeliest = np.exp(logits - logits.max(axis=1, keepdims=True))
    likeliest = (likeliest / likeliest.sum(axis=1, keepdims=True)).max(axis=1)
    assert np.abs(weights.max(axis=1) / weights.sum(axis=1) / likeliest - 1).max() < 0.02


def test_the_sinks_stay_and_the_rest_slides() -> None:
    """A token outside of window and sinks changes nothing, one within does."""
    model = WideModel(random_weights(context=16, num_hidden_layers=1))
    tokens = np.random.default_rng(6).integers(0, 300, (1, 60))
    for position, matters in ((1, True), (30, False), (43, False), (50, True)):
        changed = tokens.copy()
        changed[0, position] = (changed[0, position] + 1) % 300
        same = [WideStreams(model, 1) for _ in range(2)]
        same[0].intervals(tokens)
        same[1].intervals(changed)
        assert np.array_equal(same[0].next_weights(), same[1].next_weights()) != matters


def test_no_sink_is_farther_away_than_the_model_knows() -> None:
    """Past its positions, what the sinks say depends on themselves only: the distance stands still."""
    weights = random_weights(context=16, num_hidden_layers=1, max_position_embeddings=24)
    model = WideModel(weights)
    token = np.full((1, 1), 7)
    streams = WideStreams(model, 1)
    seen = []
    for _ in range(60):
        streams.intervals(token)
        seen.append(streams.next_weights())
    assert not np.array_equal(seen[18], seen[22])
    assert np.abs(np.log(seen[40] / seen[59])).max() < 0.05  # the same tokens at the same distances, turned anew


def random_weights(*, context: int = 1024, limit: bool = False, **config: object) -> WideWeights:
    """A Llama without transformers; limit: with weights as large as they may be."""
    architecture, folding = read_architecture(CONFIG | config, context=context)
    rng = np.random.default_rng(1)
    names: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (300, 64), "model.norm.weight": (64,)}
    for index in range(len(architecture.layers)):
        prefix = f"model.layers.{index}."
        names |= {f"{prefix}self_attn.{part}_proj.weight": (64, 64) for part in "qkvo"}
        names |= {f"{prefix}mlp.{part}_proj.weight": (96, 64) for part in ("gate", "up")}
        names |= {f"{prefix}mlp.down_proj.weight": (64, 96)}
        names |= {f"{prefix}{norm}_layernorm.weight": (64,) for norm in ("input", "post_attention")}
    tensors = {
        name: (rng.standard_normal(size) * (1.5 / size[-1] ** 0.5 if len(size) > 1 else 1)).astype(np.float32)
        for name, size in names.items()
    }
    if limit:
        for name, tensor in tensors.items():
            most = NORM_LIMIT if "norm" in name else OTHER_LIMIT if "embed" in name else MATRIX_LIMIT
            tensors[name] = np.copysign(np.float32(most), tensor)
        tensors["lm_head.weight"] = np.copysign(np.float32(MATRIX_LIMIT), tensors["model.embed_tokens.weight"])
    return load_wide(architecture, folding, tensors.__getitem__, tensors)


PINNED: dict[str, tuple[dict[str, Any], str]] = {
    "llama": ({"num_key_value_heads": 2, "max_position_embeddings": 40}, "cd98e9cab1a3c0dc"),
    "qwen2": ({"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 2}, "9690acbae12870e7"),
    "gemma2": (
        {"sliding_window": 9, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 2.0, "num_hidden_layers": 2},
        "fb94b44a6912b54f",
    ),
    "qwen3": (
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}},
        "5a7a99167feec5ab",
    ),
    "olmo2": ({"rope_scaling": {"rope_type": "linear", "factor": 4.0}}, "9c6dd8c7d7d62269"),
    "stablelm": ({"partial_rotary_factor": 0.5, "layer_norm_eps": 1e-5}, "3c3aef2b17d0ba71"),
    "smollm3": ({"no_rope_layer_interval": 2}, "d7914ffd96225324"),
    "granite": ({"embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 0.5}, "8dc49b05a3e87d62"),
}
"""model_type -> what its config says besides, and a digest of what any implementation must give."""


@pytest.mark.parametrize("kind", PINNED)
def test_the_arithmetic_is_the_same_for_ever(kind: str) -> None:
    """Archives rest on these bits, and a faster engine is held to them. The weights are made of whole numbers."""
    change, expected = PINNED[kind]
    architecture, folding = read_architecture(CONFIG | {"model_type": kind} | change, context=16)
    a = architecture
    heads, groups = a.heads * a.head_dim, a.key_value_heads * a.head_dim
    whole = a.query_key_norm == "whole"
    sizes: dict[str, tuple[int, ...]] = {
        "embed_tokens": (300, 64),
        "q_proj": (heads, 64),
        "k_proj": (groups, 64),
        "v_proj": (groups, 64),
        "o_proj": (64, heads),
        "gate_proj": (96, 64),
        "up_proj": (96, 64),
        "down_proj": (64, 96),
        "q_norm": (heads if whole else a.head_dim,),
        "k_norm": (groups if whole else a.head_dim,),
    }

    class Names:
        def __contains__(self, name: str) -> bool:
            is_shift = name.endswith("norm.bias") and kind == "stablelm"
            is_bias = name.endswith(("q_proj.bias", "k_proj.bias", "v_proj.bias")) and kind in ("qwen2", "stablelm")
            return "lm_head" not in name and (name.endswith("weight") or is_bias or is_shift)

    def take(name: str) -> np.ndarray:
        part, suffix = name.split(".")[-2:]
        size = sizes.get(part, (64,))
        size = size if suffix == "weight" else size[:1]
        numbers = np.arange(int(np.prod(size)), dtype=np.uint64) + np.uint64(sum(name.encode()))
        numbers = (numbers * np.uint64(2654435761) >> np.uint64(7)) % np.uint64(2001)
        values = (numbers.astype(np.float32) - np.float32(1000)) / np.float32(1024)
        return (values * np.float32(0.25) if len(size) > 1 else values + np.float32(0.5)).reshape(size)

    streams = WideStreams(WideModel(load_wide(architecture, folding, take, Names())), 2)  # type: ignore[arg-type]
    tokens = np.arange(2 * 70).reshape(2, 70) * 7 % 300
    hasher = hashlib.sha256(np.stack(streams.intervals(tokens)).astype("<i8").tobytes())
    hasher.update(streams.next_weights().astype("<i8").tobytes())
    assert hasher.hexdigest()[:16] == expected


@pytest.mark.parametrize("kind", ["llama", "granite"])
def test_the_largest_weights_that_are_taken_overflow_nothing(kind: str) -> None:
    """Warnings are errors; a number that is none would be one of the warnings."""
    made = random_weights(model_type=kind, num_hidden_layers=2, limit=True, attention_multiplier=16.0)
    model = WideModel(made)
    tokens = np.random.default_rng(2).integers(0, 300, (2, 90))
    assert (WideStreams(model, 2).intervals(tokens)[1] >= 1).all()
    assert np.isfinite(WideStreams(model, 2).logits(tokens)).all()


def test_the_rule_for_windows() -> None:
    def windows(**config: object) -> list[tuple[int, int]]:
        context = int(config.pop("context", 1024))  # type: ignore[call-overload]
        return [(rule.window, rule.sinks) for rule in read_architecture(CONFIG | config, context=context)[0].layers]

    assert windows() == [(1024, SINKS)] * 4
    assert windows(max_position_embeddings=512) == [(512, SINKS)] * 4
    assert windows(context=4096) == [(2048, SINKS)] * 4
    assert windows(model_type="mistral", sliding_window=4096) == [(4096, 0)] * 4
    assert windows(model_type="llama", sliding_window=77) == [(1024, SINKS)] * 4
    assert windows(model_type="qwen2", sliding_window=77) == [(1024, SINKS)] * 4
    assert windows(model_type="qwen2", sliding_window=77, use_sliding_window=True, max_window_layers=3) == [
        *[(1024, SINKS)] * 3,
        (77, 0),
    ]
    assert (
        windows(model_type="gemma2", sliding_window=77, hidden_activation="gelu_pytorch_tanh")
        == [
            (77, 0),
            (1024, SINKS),
        ]
        * 2
    )


def test_everything_that_changes_a_probability_is_in_the_fingerprint() -> None:
    digests = {
        random_weights(**change).digest
        for change in (
            {},
            {"context": 512},
            {"rope_theta": 20000.0},
            {"rms_norm_eps": 1e-5},
            {"bos_token_id": 3},
            {"max_position_embeddings": 1500},
            {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
            {"model_type": "mistral", "sliding_window": 50},
        )
    }
    assert len(digests) == 8


def test_positions_as_models_state_them() -> None:
    plain = rotary_rule({"rope_theta": 10000.0}, 8, 64).frequencies
    assert [float(frequency) for frequency in plain] == pytest.approx([1, 0.1, 0.01, 0.001])
    linear = rotary_rule({"rope_theta": 10000.0, "rope_type": "linear", "factor": 4}, 8, 64).frequencies
    assert linear[1] * 4 == pytest.approx(plain[1], rel=Decimal("1e-20"))
    factors = rotary_rule({"rope_theta": 10000.0, "rope_type": "factors", "factors": [1, 2, 4, 8]}, 8, 64).frequencies
    assert float(factors[3]) == pytest.approx(0.001 / 8)


REFUSED = {
    "another family": ({"model_type": "gpt2"}, "gpt2.*--float"),
    "an encoder": ({"model_type": "bert"}, "bert"),
    "no family": ({"model_type": None}, "None"),
    "another activation": ({"hidden_act": "relu"}, "relu.*--float"),
    "positions of another kind": ({"rope_scaling": {"rope_type": "longrope", "factor": 4}}, "longrope.*--float"),
    "a ramp without a factor": ({"rope_scaling": {"rope_type": "yarn"}}, "factor"),
    "a factor of nothing": ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, "factor"),
    "awq": ({"quantization_config": {"quant_method": "awq"}}, "awq.*original checkpoint"),
    "parallel residuals": ({"model_type": "stablelm", "use_parallel_residual": True}, "use_parallel_residual"),
    "zero layers": ({"num_hidden_layers": 0}, "num_hidden_layers"),
    "a huge vocabulary": ({"vocab_size": 1 << 40}, "vocab_size"),
    "not a number": ({"hidden_size": "many"}, "many"),
    "nothing stated": ({"intermediate_size": None}, "not usable"),
    "heads that do not divide": ({"num_key_value_heads": 3}, "heads"),
    "an odd head": ({"head_dim": 17}, "heads"),
    "a wide head": ({"head_dim": 2048}, "head_dim"),
    "a start token outside": ({"bos_token_id": 100000}, "start token"),
    "a negative epsilon": ({"rms_norm_eps": -1.0}, "epsilon"),
    "a tiny theta": ({"rope_theta": 1e-9}, "rope_theta"),
    "rotation in a list": ({"rope_scaling": [1]}, "rope parameters"),
    "layers of another kind": ({"model_type": "mistral", "sliding_window": 9, "layer_types": ["x"] * 4}, "layer_types"),
    "a window of nothing": ({"model_type": "mistral", "sliding_window": -5}, "sliding_window"),
    "an endless window": ({"model_type": "mistral", "sliding_window": float("inf")}, "not usable"),
}


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_row_is_refused_by_name(change: dict[str, object], reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as raised:
        read_architecture(CONFIG | change)
    assert "\n" not in str(raised.value)


def test_contexts_that_cannot_be_had_are_refused() -> None:
    for context in (0, 1, 1 << 20):
        with pytest.raises(ModelError, match="context"):
            read_architecture(CONFIG, context=context)


def test_tensors_that_are_missing_or_do_not_fit_are_refused() -> None:
    architecture, folding = read_architecture(CONFIG)
    with pytest.raises(ModelError, match="lacks the tensor"):
        load_wide(architecture, folding, lambda name: np.zeros(3, np.float32), set[str]())
    names = {"model.layers.0.input_layernorm.weight"}
    with pytest.raises(ModelError, match="do not belong together"):
        load_wide(architecture, folding, lambda name: np.zeros(3, np.float32), names)
    with pytest.raises(ModelError, match="beyond"):
        quantised(np.full((2, 2), np.nan, np.float32))
