"""Model folders: which files are the model, what counts as a parameter, and what is said of the others."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from llmzip.errors import ModelError
from llmzip.model_folder import INDEX, open_model_folder, tokenizer_files
from llmzip.predictors import find_model_folder, load_predictor

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def write(folder: Path, name: str, **tensors: np.ndarray) -> None:
    save_file(tensors, folder / name)


def write_shards(folder: Path, **tensors: np.ndarray) -> None:
    """One tensor a file, and the index of them."""
    names = {tensor: f"model-{tensor}.safetensors" for tensor in tensors}
    for tensor, name in names.items():
        write(folder, name, **{tensor: tensors[tensor]})
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}))


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole one: a matrix for input, the same for output, a layer."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 5}))
    (tmp_path / "tokenizer.json").write_text("{}")
    embedding = np.arange(15, dtype=np.float16).reshape(5, 3)
    write(tmp_path, "model.safetensors", embed=embedding, head=embedding.copy(), layer=np.zeros((3, 3), np.float16))
    return tmp_path


def test_the_single_file_comes_before_the_index(folder: Path) -> None:
    """As in transformers; what is left of another model is neither hashed nor counted, and said."""
    alone = open_model_folder(folder)
    assert alone.left_out == ()
    write_shards(folder, embed=np.ones((5, 3), np.float16), more=np.ones((9, 9), np.float16))
    for stray in ("old.safetensors", "pytorch_model.bin", "x.gguf"):
        (folder / stray).write_bytes(b"not read")
    found = open_model_folder(folder)
    assert [path.name for path in found.weight_files] == ["model.safetensors"]
    assert found.digest().digest() == alone.digest().digest()
    assert (found.weight_bytes, found.parameter_count, found.receiver_bytes) == (
        alone.weight_bytes,
        alone.parameter_count,
        alone.receiver_bytes,
    )
    assert set(found.left_out) == {
        INDEX, "model-embed.safetensors", "model-more.safetensors", "old.safetensors", "pytorch_model.bin", "x.gguf"
    }  # fmt: skip


def test_shards_are_those_of_the_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    write_shards(folder, embed=np.ones((5, 3), np.float16), layer=np.zeros((3, 3), np.float16))
    write(folder, "model-00009-of-00009.safetensors", other=np.ones((4, 4), np.float16))
    found = open_model_folder(folder)
    assert [path.name for path in found.weight_files] == ["model-embed.safetensors", "model-layer.safetensors"]
    assert found.parameter_count == 24
    assert found.left_out == ("model-00009-of-00009.safetensors",)


def test_the_configuration_may_name_the_file(folder: Path) -> None:
    write(folder, "special-model.safetensors", a=np.ones(7, np.float32))
    change_config(folder, transformers_weights="special-model.safetensors")
    assert open_model_folder(folder).parameter_count == 7
    for name in ("../x/model.safetensors", "model.bin", 5):
        change_config(folder, transformers_weights=name)
        with pytest.raises(ModelError, match="transformers_weights"):
            open_model_folder(folder)


def test_what_is_stored_twice_or_was_not_learnt_is_no_parameter(folder: Path) -> None:
    matrix = np.arange(15, dtype=np.float32).reshape(5, 3)
    buffers = {
        "rotary.inv_freq": np.ones(4, np.float32),
        "h.0.attn.bias": np.ones((1, 1, 4, 4), np.float32),
        "h.0.attn.masked_bias": np.ones(1, np.float32),
        "embeddings.position_ids": np.arange(9),
        "mask": np.ones(9, np.bool_),
        "lm_head.weight": matrix,
    }
    write(folder, "model.safetensors", embed=matrix, bias=np.ones(2, np.float32), **buffers)
    assert open_model_folder(folder).parameter_count == 15 + 2
    buffers["lm_head.weight"] = matrix + 1  # another matrix: the loader does not tie it either
    write(folder, "model.safetensors", embed=matrix, bias=np.ones(2, np.float32), **buffers)
    assert open_model_folder(folder).parameter_count == 15 + 2 + 15


def test_scales_of_integers_are_no_parameters(folder: Path) -> None:
    write(folder, "model.safetensors", w=np.ones((4, 6), np.int8), w_scale=np.ones((4, 1), np.float32))
    assert open_model_folder(folder).parameter_count == 24


def test_parameters_are_those_that_torch_counts(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from hub_material import write_hub_folder

    for kind in ("gpt2", "llama", "gpt_neox", "opt"):
        path = write_hub_folder(tmp_path / kind, kind)
        model = transformers.AutoModelForCausalLM.from_pretrained(path)
        assert open_model_folder(path).parameter_count == sum(p.numel() for p in model.parameters()), kind


def test_the_files_are_those_that_transformers_loads(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from hub_material import write_hub_folder

    path = write_hub_folder(tmp_path / "one", "llama", extra_width=0)
    exact, own = load_predictor(str(path)).fingerprint, load_predictor(str(path), arithmetic="float").fingerprint
    other = transformers.AutoModelForCausalLM.from_pretrained(write_hub_folder(tmp_path / "two", "llama", seed=2))
    before = transformers.AutoModelForCausalLM.from_pretrained(path).lm_head.weight
    other.save_pretrained(tmp_path / "shards", max_shard_size="4KB")
    for shard in (tmp_path / "shards").glob("model*"):
        (path / shard.name).write_bytes(shard.read_bytes())
    assert len(open_model_folder(path).left_out) > 2
    assert (transformers.AutoModelForCausalLM.from_pretrained(path).lm_head.weight == before).all()
    assert load_predictor(str(path)).fingerprint == exact
    assert load_predictor(str(path), arithmetic="float").fingerprint == own


def test_a_tokenizer_is_one_file_or_what_it_is_made_from(folder: Path) -> None:
    (folder / "merges.txt").write_text("")
    (folder / "vocab.json").write_text("{}")
    assert [path.name for path in tokenizer_files(folder)] == ["tokenizer.json"]
    (folder / "tokenizer.json").unlink()
    assert [path.name for path in tokenizer_files(folder)] == ["merges.txt", "vocab.json"]


def _adapter(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "some/base"}')


def _gguf(folder: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink()
    (folder / "model-q4.gguf").write_bytes(b"GGUF")


def _only(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "model.safetensors").rename(folder / name)


def _index(text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / INDEX).write_text(text)

    return change


def _twice(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    write(folder, "a.safetensors", x=np.ones(2, np.float32))
    write(folder, "b.safetensors", x=np.ones(2, np.float32), y=np.ones(2, np.float32))
    (folder / INDEX).write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))


def _pointer(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(POINTER)

    return change


def _quantized(method: str) -> Callable[[Path], None]:
    return lambda folder: change_config(folder, quantization_config={"quant_method": method, "bits": 4})


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "adapter": (_adapter, "is a LoRA adapter, not a whole model: name BASE.*some/base"),
    "adapter beside a model": (
        lambda folder: (folder / "adapter_config.json").write_text("{}"),
        "holds a LoRA adapter beside a model, .*: merge the two",
    ),
    "gguf": (_gguf, "holds GGUF files, without a config.json: name one of them, such as .*gguf"),
    "gptq": (_quantized("gptq"), "is quantised with gptq, which cannot be computed here: take the model as it was"),
    "awq": (_quantized("awq"), "is quantised with awq"),
    "bitsandbytes": (_quantized("bitsandbytes"), "is quantised with bitsandbytes"),
    "weights pointer": (_pointer("model.safetensors"), "is a Git LFS pointer, not the file: run `git lfs pull`"),
    "config pointer": (_pointer("config.json"), "config.json is a Git LFS pointer"),
    "pickle": (_only("pytorch_model.bin"), "only pickled weights, which are never loaded: convert"),
    "other name": (_only("weights.safetensors"), "has weights.safetensors, but neither model.safetensors nor"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "has no weights: convert"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "has no config.json: name a Hugging Face"),
    "missing shard": (_index('{"weight_map": {"a": "model-1.safetensors"}}'), r"lacks model-1\.safetensors: take"),
    "outside": (_index('{"weight_map": {"a": "../model.safetensors"}}'), "files outside of its folder"),
    "empty index": (_index('{"weight_map": {}}'), "weight_map"),
    "index of numbers": (_index('{"weight_map": {"a": 1}}'), r'weight_map\["a"\]: expected str, got int'),
    "index of nothing": (_index("[]"), "expected object, got array: take the folder again"),
    "one tensor twice": (_twice, "x stands in a.safetensors and in .*b.safetensors"),
    "no model type": (lambda folder: (folder / "config.json").write_text("{}"), "model_type: it names none"),
    "huge": (lambda folder: change_config(folder, num_hidden_layers=10**9), "num_hidden_layers: 1000000000 is beyond"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_loaded_is_refused_with_the_remedy(folder: Path, kind: str) -> None:
    change, words = REFUSED[kind]
    change(folder)
    with pytest.raises(ModelError, match=words) as caught:
        open_model_folder(folder)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.safetensors", "is a file of a model: name the folder"),
        ("pytorch_model.bin", "pickles are never loaded"),
        ("notes.txt", "is a file: name a model folder"),
    ],
)
def test_a_file_is_no_folder(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=words):
        find_model_folder(str(tmp_path / name))


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [1 << 62, 4], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}},
        {"a": {"shape": [2], "data_offsets": [0, 8]}},
        {"a": 7},
        [],
    ],
)
def test_a_header_that_does_not_fit_its_file_is_refused(folder: Path, header: object) -> None:
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(ModelError, match="take the folder again"):
        open_model_folder(folder)
