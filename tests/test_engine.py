"""The exact engine: bounds, tables that never change, and one result however it is computed."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import write_model
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from llmzip.engine.model import CHUNK_POSITIONS, ExactModel, ExactStreams
from llmzip.engine.tables import EXP_LENGTH, Rotary, exp_table, sigmoid_table
from llmzip.engine.weights import EXACT_LIMIT, load_weights, make_linear, quantise_rows
from llmzip.errors import ModelError
from llmzip.native.library import available
from llmzip.predictors.exact import make_model

ENGINES = ["numpy", *(one.kernels for one in available()), "torch"]
SHAPES = {
    "grouped": {},
    "one-group": {"heads": 3, "groups": 1},
    "biases": {"biases": True, "tied": False},
    "half": {"dtype": np.float16},
    "long-window": {"window": 100, "head_dim": 32},
    "split-sums": {"feed_forward": 4000},
}


def test_the_tables_are_the_same_for_ever() -> None:
    """Every archive rests on these bits."""
    cosine, sine = Rotary(64, 10000.0).at(0, 5000)
    joined = b"".join(table.tobytes() for table in (exp_table(), sigmoid_table(), cosine, sine))
    assert hashlib.sha256(joined).hexdigest()[:16] == "fe98a78e5c2a4181"


def test_the_tables_are_right() -> None:
    exact = 2.0**24 * np.exp(-np.arange(EXP_LENGTH) / 64)
    assert np.abs(exp_table() - exact).max() <= 0.5 + 1e-6
    assert exp_table()[-1] == 0
    x = np.arange(-1024, 1025) / 64
    assert np.abs(sigmoid_table() - 1 / (1 + np.exp(-x))).max() < 1e-7
    cosine, sine = Rotary(32, 10000.0).at(4_000_000, 100)
    angles = np.arange(4_000_000, 4_000_100)[:, None] * 10000.0 ** (-np.arange(16) / 16)
    assert np.abs(cosine - np.cos(angles)).max() < 1e-6
    assert np.abs(sine - np.sin(angles)).max() < 1e-6


@given(st.integers(0, 2**32), st.integers(1, 3000), st.sampled_from([1e-8, 1.0, 1e4]))
def test_no_sum_of_products_can_round(seed: int, inputs: int, size: float) -> None:
    matrix = (np.random.default_rng(seed).standard_normal((3, inputs)) * size).astype(np.float32)
    linear = make_linear(matrix)
    for part in linear.parts:
        assert np.abs(part).sum(axis=0).max() * 127 < EXACT_LIMIT
    assert sum(len(part) for part in linear.parts) == inputs


def test_rows_of_zeros_and_the_largest_weight_quantise() -> None:
    integers, scale = quantise_rows(np.array([[0, 0], [1, -2]], np.float32))
    assert np.array_equal(integers, [[0, 0], [64, -127]])
    assert np.isfinite(scale).all()


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("shapes") / request.param, **SHAPES[request.param])


def run(folder: Path, engine: str, tokens: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intervals of the tokens, ``step`` positions at a time, and the distribution after them."""
    streams = make_model(load_weights(folder), engine).streams(len(tokens))
    parts = [streams.intervals(tokens[:, first : first + step]) for first in range(0, tokens.shape[1], step)]
    joined = (np.concatenate([part[k] for part in parts], axis=1) for k in (0, 1))
    return (*joined, streams.next_frequencies())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("step", [1, 17, 1000])
def test_every_engine_and_step_gives_the_same_bits(folder: Path, engine: str, step: int) -> None:
    size = load_weights(folder).shape.vocabulary_size
    tokens = np.random.default_rng(3).integers(0, size, (3, 5 * CHUNK_POSITIONS + 3))
    expected = run(folder, "numpy", tokens, 64)
    for one, other in zip(expected, run(folder, engine, tokens, step), strict=True):
        assert np.array_equal(one, other)


def test_the_float_model_of_transformers_agrees(folder: Path) -> None:
    """An independent implementation of the architecture: the integers may cost a little, the shape must be the same."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    shape = load_weights(folder).shape
    tokens = np.random.default_rng(5).integers(0, shape.vocabulary_size, (2, 300))  # longer than most windows
    streams = ExactStreams(ExactModel(load_weights(folder), "numpy"), 2)
    exact = -np.log(streams.intervals(tokens)[1] / 2.0**24)
    inputs = torch.from_numpy(np.concatenate((np.full((2, 1), shape.start_token), tokens[:, :-1]), axis=1))
    with torch.no_grad():
        logits = model(inputs).logits.double()
    expected = -torch.log_softmax(logits, -1).gather(-1, torch.from_numpy(tokens)[..., None])[..., 0].numpy()
    assert abs(exact.mean() - expected.mean()) < 0.03  # random weights feel int8 activations more than trained ones do
    assert np.corrcoef(exact.ravel(), expected.ravel())[0, 1] > 0.995


MATRIX = {
    "Prescott": {"OPENBLAS_CORETYPE": "Prescott"},
    "Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "SkylakeX": {"OPENBLAS_CORETYPE": "SkylakeX"},
    "two BLAS threads": {"OPENBLAS_NUM_THREADS": "2"},
    "no numpy SIMD": {"NPY_DISABLE_CPU_FEATURES": "AVX512F AVX2 FMA3 AVX512_SKX"},
    "torch default": {"ATEN_CPU_CAPABILITY": "default", "ENGINE": "torch"},
    "torch avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ENGINE": "torch"},
}
PROGRAM = """
import sys, warnings, hashlib
warnings.simplefilter("ignore")
from pathlib import Path
import llmzip
from llmzip.predictors.exact import load_exact
from test_engine import wide_digest
for engine in sys.argv[3].split(","):
    for threads in (1, 2):
        predictor = load_exact(Path(sys.argv[1]), "tiny", engine=engine, threads=threads)
        archive = llmzip.compress(Path(sys.argv[2]).read_bytes(), predictor, streams=19)
        print(hashlib.sha256(archive).hexdigest())
        if threads == 2:
            assert llmzip.decompress(archive, predictor) == Path(sys.argv[2]).read_bytes()
print(wide_digest(sys.argv[1]))
"""


def wide_digest(folder: str) -> str:
    """Of what version 2 of the arithmetic gives for some tokens, longer than its windows."""
    from llmzip.predictors import load_predictor
    from llmzip.predictors.wide import WidePredictor

    predictor = load_predictor(folder)
    assert isinstance(predictor, WidePredictor)
    streams = predictor.start(3)
    tokens = np.random.default_rng(1).integers(0, 300, (3, 70))
    hasher = hashlib.sha256(np.stack(streams.intervals(tokens)).tobytes())
    hasher.update(streams.next_weights().tobytes())
    return hasher.hexdigest()


@pytest.mark.parametrize("name", MATRIX)
def test_the_same_archive_from_other_instructions_and_threads(name: str, model_folder: Path, tmp_path: Path) -> None:
    """Each run is a process of its own, told to use other machine instructions, on 1 and on 2 threads."""
    if "torch" in name:
        pytest.importorskip("torch")
    text = tmp_path / "text"
    text.write_bytes(("Numbers such as 3,141 and names such as Köln.\n" * 9).encode() + bytes(range(256)))
    variables = dict(MATRIX[name])
    engine = variables.pop("ENGINE", "numpy,native")
    command = [sys.executable, "-c", PROGRAM, str(model_folder), str(text), engine]
    variables["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
    if result.returncode and "NPY_DISABLE" in result.stderr:
        pytest.skip("this numpy was built with those instructions as its baseline")
    assert result.returncode == 0, result.stderr
    from llmzip import compress
    from llmzip.predictors.exact import load_exact

    here = compress(text.read_bytes(), load_exact(model_folder, "tiny", engine="numpy", threads=1), streams=19)
    assert set(result.stdout.split()) == {hashlib.sha256(here).hexdigest(), wide_digest(str(model_folder))}


def test_reduced_precision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user may have told torch to multiply in bfloat16 or TF32: that must be an error, not another archive."""
    torch = pytest.importorskip("torch")
    from llmzip.engine.backends import TorchBackend

    TorchBackend("cpu")
    exact = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: exact(a.bfloat16(), b.bfloat16()).float())
    with pytest.raises(ModelError, match="reduced precision"):
        TorchBackend("cpu")


def test_the_fingerprint_changes_with_every_weight_and_setting(tmp_path: Path) -> None:
    from llmzip.predictors.exact import load_exact

    folder = write_model(tmp_path / "model")
    first = load_exact(folder, "x").fingerprint
    assert load_exact(folder, "y").fingerprint == first
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sliding_window": 25}))
    second = load_exact(folder, "x").fingerprint
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 3] += 0.5
    save_file(tensors, folder / "model.safetensors")
    third = load_exact(folder, "x").fingerprint
    assert len({first, second, third}) == 3


BAD_CONFIGS = {
    "no such architecture": {"model_type": "gpt2"},
    "another activation": {"hidden_act": "gelu"},
    "scaled positions": {"rope_scaling": {"rope_type": "yarn", "factor": 4}},
    "zero layers": {"num_hidden_layers": 0},
    "a huge vocabulary": {"vocab_size": 1 << 40},
    "not a number": {"hidden_size": "many"},
    "heads that do not divide": {"num_key_value_heads": 3},
    "no groups": {"num_key_value_heads": -1},
    "an odd head": {"head_dim": 17},
    "a wide head": {"head_dim": 2048},
    "another width": {"hidden_size": 49},
    "a start token outside": {"bos_token_id": 100000},
    "more layers than tensors": {"num_hidden_layers": 3},
    "a smaller vocabulary": {"vocab_size": 200},
    "a window of nothing": {"sliding_window": -5},
    "an endless window": {"sliding_window": float("inf")},
    "a negative epsilon": {"rms_norm_eps": -1.0},
    "no epsilon": {"rms_norm_eps": 0.0},
    "a negative theta": {"rope_theta": -5.0},
    "a tiny theta": {"rope_theta": 1e-9},
    "theta in a list": {"rope_scaling": [1]},
}


@pytest.mark.parametrize("change", BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_a_config_that_cannot_run_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    from llmzip.predictors.exact import load_exact

    folder = write_model(tmp_path / "model", **change)
    with pytest.raises(ModelError) as raised:
        load_exact(folder, "bad")
    assert ": " in str(raised.value) and "\n" not in str(raised.value)


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    from llmzip.predictors.exact import load_exact

    folder = write_model(tmp_path / "model")
    weights, tokenizer = folder / "model.safetensors", folder / "tokenizer.json"
    whole, text = weights.read_bytes(), tokenizer.read_text()
    for damaged in (b"", whole[:1000], whole[:-100], b"\xff" * 100):
        weights.write_bytes(damaged)
        with pytest.raises(ModelError):
            load_exact(folder, "bad")
    broken = load_file_from(whole)
    broken["model.norm.weight"][0] = np.inf
    save_file(broken, weights)
    with pytest.raises(ModelError, match="beyond"):
        load_exact(folder, "bad")
    weights.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="never loaded"):
        load_exact(folder, "bad")
    weights.write_bytes(whole)
    for damaged_text in ("", "{}", text[:500], text.replace('"a"', '"aa?"')):
        tokenizer.write_text(damaged_text)
        with pytest.raises(ModelError):
            load_exact(folder, "bad")
    tokenizer.unlink()
    with pytest.raises(ModelError, match="missing"):
        load_exact(folder, "bad")


def load_file_from(data: bytes) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    return load(data)


HOSTILE_TENSORS = {
    "huge biases": ("model.layers.0.self_attn.q_proj.bias", lambda x: x - 5e36),
    "huge queries": ("model.layers.0.self_attn.q_proj.weight", lambda x: x * 1e25),
    "huge gates": ("model.layers.1.mlp.up_proj.weight", lambda x: x * 3e37),
    "huge norms": ("model.layers.1.input_layernorm.weight", lambda x: x * 1e38),
    "a huge embedding": ("model.embed_tokens.weight", lambda x: x * 1e30),
    "not a number": ("lm_head.weight", lambda x: x * np.nan),
    "a bias of another size": ("model.layers.0.self_attn.v_proj.bias", lambda x: x[:1]),
    "a bias for the norm of nothing": ("model.layers.0.mlp.down_proj.bias", lambda x: np.zeros(3, np.float32)),
}


@pytest.mark.parametrize(("name", "change"), HOSTILE_TENSORS.values(), ids=HOSTILE_TENSORS)
def test_tensors_that_would_overflow_or_not_fit_are_refused(name: str, change: Callable, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", biases=True, tied=False)
    tensors = load_file(folder / "model.safetensors")
    with np.errstate(all="ignore"):
        tensors[name] = np.ascontiguousarray(change(tensors.get(name)).astype(np.float32))
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError):
        load_weights(folder)


def test_the_largest_weights_that_are_taken_give_the_same_bits(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", biases=True, tied=False)
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        tensors[name] = (tensor / np.abs(tensor).max() * (1.0 if "norm" in name else 65504.0)).astype(np.float32)
    save_file(tensors, folder / "model.safetensors")
    tokens = np.random.default_rng(9).integers(0, 300, (2, 90))
    expected = run(folder, "numpy", tokens, 90)
    for engine in ENGINES[1:]:
        for one, other in zip(expected, run(folder, engine, tokens, 7), strict=True):
            assert np.array_equal(one, other)


def test_streams_that_would_fill_the_memory_are_refused(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmzip.engine.model.CACHE_LIMIT_BYTES", 100_000)
    with pytest.raises(ModelError, match="fewer"):
        ExactStreams(ExactModel(load_weights(model_folder), "numpy"), 256)


def test_an_unknown_engine_is_refused(model_folder: Path) -> None:
    with pytest.raises(ModelError, match="unknown"):
        ExactModel(load_weights(model_folder), "abacus")
