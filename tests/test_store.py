"""Models stored small: the engine gets the stored integers, transformers the same weights, and little is lost."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from conftest import SAMPLE, write_model
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("compressed_tensors")

from llmzip.engine.weights import Linear, Weights, load_weights, quantise_rows, read_tensors  # noqa: E402
from llmzip.errors import ModelError  # noqa: E402
from llmzip.model_folder import open_model_folder  # noqa: E402
from llmzip.predictors import embedded_rungs, load_predictor  # noqa: E402
from llmzip.training import export  # noqa: E402
from llmzip.training.store import rounded_rows, store_small  # noqa: E402


@pytest.fixture(scope="module")
def stored(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "stored"
    store_small(model_folder, out)
    return out


def linears(weights: Weights) -> list[Linear]:
    layers = [(x.query_key_value, x.attention_out, x.gate_up, x.down) for x in weights.layers]
    return [linear for layer in layers for linear in layer]


@given(seed=st.integers(0, 1 << 30), size=st.floats(1e-12, 1e5))
def test_rounding_again_gives_the_stored_integers(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    matrix = (rng.standard_normal((7, 33)) * size).astype(np.float32)
    matrix[3] = 0
    integers, scale = rounded_rows(matrix)
    assert np.abs(np.delete(integers, 3, 0)).max(axis=1).tolist() == [127] * 6
    assert (np.abs(integers * scale - matrix) <= 0.501 * scale).all()
    again, same_scale = quantise_rows(integers.astype(np.float32) * scale)
    assert (again == integers).all()
    assert (np.delete(same_scale, 3) == np.delete(scale[:, 0], 3)).all()


def test_the_engine_calculates_with_the_integers_of_the_file(stored: Path) -> None:
    raw = safetensors.numpy.load_file(stored / "model.safetensors")
    for index, linear in enumerate(linears(load_weights(stored))):
        layer, part = divmod(index, 4)
        parts = (("self_attn.q", "self_attn.k", "self_attn.v"), ("self_attn.o",), ("mlp.gate", "mlp.up"), ("mlp.down",))
        names = [f"model.layers.{layer}.{name}_proj.weight" for name in parts[part]]
        assert (np.concatenate(linear.parts).T == np.concatenate([raw[name] for name in names])).all()
        assert (linear.scale == np.concatenate([raw[name + "_scale"] for name in names])[:, 0]).all()
        assert raw[names[0]].dtype == np.int8


def test_the_small_folder_is_the_same_model(model_folder: Path, stored: Path) -> None:
    """Every product a layer computes differs from the float folder's by no more than rounding, norms included."""
    for before, after in zip(linears(load_weights(model_folder)), linears(load_weights(stored)), strict=True):
        left, right = (np.concatenate(x.parts) * x.scale for x in (before, after))
        assert np.abs(left - right).max() < 1.01 * np.maximum(before.scale, after.scale).max()
    assert open_model_folder(stored).parameter_count == open_model_folder(model_folder).parameter_count
    sizes = [sum(path.stat().st_size for path in f.glob("*.safetensors")) for f in (model_folder, stored)]
    assert sizes[1] < 0.4 * sizes[0]  # from float32; rows of 48 have a scale of four bytes


@pytest.mark.parametrize("file_bytes", [export.FILE_BYTES, 20_000])
def test_transformers_loads_the_weights_that_the_engine_uses(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_bytes: int
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(export, "FILE_BYTES", file_bytes)
    store_small(model_folder, tmp_path / "small")
    assert (len(list((tmp_path / "small").glob("*.safetensors"))) > 1) == (file_bytes == 20_000)
    state = AutoModelForCausalLM.from_pretrained(tmp_path / "small", dtype=torch.float32).state_dict()
    tensors = read_tensors(tmp_path / "small")
    for name, values in tensors.items():
        assert (state[name].numpy() == values).all(), name
    assert (state["lm_head.weight"].numpy() == tensors["model.embed_tokens.weight"]).all()


def test_an_archive_of_one_is_refused_by_the_other(model_folder: Path, stored: Path) -> None:
    left, right = (load_predictor(str(folder), engine="numpy", threads=1) for folder in (model_folder, stored))
    assert left.fingerprint != right.fingerprint
    assert (left.tokenize(SAMPLE.encode()) == right.tokenize(SAMPLE.encode())).all()


def test_storing_what_is_stored_changes_nothing(stored: Path, tmp_path: Path) -> None:
    store_small(stored, tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (stored / "model.safetensors").read_bytes()


def test_untied_models_with_biases_are_stored_too(tmp_path: Path) -> None:
    store_small(write_model(tmp_path / "float", biases=True, tied=False), tmp_path / "small")
    before, after = load_weights(tmp_path / "float"), load_weights(tmp_path / "small")
    assert before.layers[0].query_key_value.bias is not None
    assert (before.layers[0].query_key_value.bias == after.layers[0].query_key_value.bias).all()


@pytest.mark.parametrize("damage", ["no scale", "a scale a column", "a zero point"])
def test_other_integers_are_refused(stored: Path, tmp_path: Path, damage: str) -> None:
    tensors = safetensors.numpy.load_file(stored / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    if damage == "no scale":
        del tensors[name + "_scale"]
    elif damage == "a scale a column":
        tensors[name + "_scale"] = np.ones((1, tensors[name].shape[1]), np.float32)
    else:
        tensors[name + "_zero_point"] = np.zeros_like(tensors[name + "_scale"])
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((stored / "config.json").read_text())
    with pytest.raises(ModelError, match="I8 without a scale a row"):
        load_weights(tmp_path)


@pytest.mark.parametrize("card", embedded_rungs(), ids=lambda card: card.name)
def test_the_embedded_models_are_stored_small(card: object) -> None:
    folder = card.folder  # type: ignore[attr-defined]
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert stored < 1.12 * open_model_folder(folder).parameter_count
    assert json.loads((folder / "config.json").read_text())["quantization_config"]["format"] == "int-quantized"
