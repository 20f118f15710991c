"""Every reader of documents against thousands of damaged ones: no traceback, and nothing impossible is believed.

``LLMZIP_MUTATIONS=3000 pytest tests/test_damaged_documents.py`` tries more of them.
"""

import dataclasses
import json
import math
import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mutations import mutated

import llmzip
from llmzip import levels
from llmzip.bench import known_models
from llmzip.bench.baseline import Baseline, baseline_of, read_baseline
from llmzip.bench.corpus import read_manifest
from llmzip.bench.external import read_external_codecs
from llmzip.bench.gate import compare
from llmzip.bench.kinds import kind_of
from llmzip.bench.results import MICROBITS, MeasuredCodec, MeasuredFile, Results, Row
from llmzip.documents import read, read_lines
from llmzip.engine import families, weights
from llmzip.errors import DocumentError, LlmzipError, ModelError, NotComparableError
from llmzip.model_folder import CONFIG, INDEX, open_model_folder, read_config
from llmzip.predictors import Card, embedded_rungs
from llmzip.predictors.byte_tokenizer import ByteTokenizer, byte_alphabet
from llmzip.predictors.guarded_tokenizer import GuardedTokenizer

MUTATIONS = int(os.environ.get("LLMZIP_MUTATIONS", "150"))
ROOT = Path(llmzip.__file__).parents[1]
RUNG = Path(llmzip.__file__).parent / "embedded" / "nano"

pytestmark = pytest.mark.skipif(not embedded_rungs(), reason="this checkout lacks the embedded models")


def finite(value: Any) -> bool:
    """Whether no number in a record is beyond 64 bits, infinite or none."""
    if dataclasses.is_dataclass(value):
        return all(finite(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, dict):
        return all(map(finite, value.values())) and all(isinstance(key, str) for key in value)
    if isinstance(value, list | tuple):
        return all(map(finite, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) < 1 << 63


def whole(value: object, least: int = 0) -> bool:
    return type(value) is int and least <= value < 1 << 63


# Results and baselines.


def some_results() -> Results:
    files = (MeasuredFile("a.txt", "prose", 1000, "0" * 64), MeasuredFile("b/c.txt", "code", 50, "1" * 64))
    codecs = (
        MeasuredCodec("llmzip tiny", "predictor", {"version": 3, "x": "y"}, True, "ab" * 32, 10, {"weights": 40}),
        MeasuredCodec("zstd -19", "classical", {"level": 19}),
    )
    rows = []
    for file in files:
        size = file.original_bytes // 4
        terms = {"model": 8 * MICROBITS * (size - 4), "framing": 32 * MICROBITS}
        frames = ((size - 4, file.original_bytes),)
        rows.append(Row(file.name, "llmzip tiny", file.original_bytes, size, 100, 0.5, 0.2, 99, frames, terms))  # type: ignore[arg-type]
        rows.append(Row(file.name, "zstd -19", file.original_bytes, size + 3, None, 0.1, 0.1, None))
    gaps = {"llmzip tiny": {"sample_bytes": 9, "estimated_bytes": 8, "archive_bytes": 7}}
    return Results(files, codecs, tuple(rows), {"cores": 2, "libraries": {"numpy": "2"}, "estimate_gaps": gaps})


def believable_results(results: Results) -> None:
    from llmzip.cli.bench_table import as_markdown, comma_separated, gap_lines

    names = {file.name: file for file in results.files}
    assert len(names) == len(results.files)
    assert all(whole(file.original_bytes, 1) and len(file.sha256) == 64 for file in results.files)
    assert len({(row.file, row.codec) for row in results.rows}) == len(results.rows)
    for row in results.rows:
        assert row.original_bytes == names[row.file].original_bytes
        assert whole(row.archive_bytes, 1) and row.compress_seconds > 0 and row.decompress_seconds > 0
        assert row.ideal_microbits is None or whole(row.ideal_microbits)
        assert row.verified is True and row.estimate is False
        if row.waterfall_microbits is not None:
            assert sum(row.waterfall_microbits.values()) == 8 * MICROBITS * row.archive_bytes
        if row.frame_bytes:
            assert sum(size for _, size in row.frame_bytes) == row.original_bytes
            assert 0 <= sum(size for size, _ in row.frame_bytes) <= row.archive_bytes
    as_markdown(results), comma_separated(results), gap_lines(results)
    Results.from_json(results.to_json())


def believable_baseline(baseline: Baseline) -> None:
    for codec in baseline.codecs.values():
        assert set(codec.rows) == set(baseline.files) and type(codec.exact) is bool
        assert all(whole(row.archive_bytes, 1) for row in codec.rows.values())
    assert all(whole(file.original_bytes, 1) and len(file.sha256) == 64 for file in baseline.files.values())
    try:
        compare(baseline_of(some_results()), baseline)
    except NotComparableError:
        pass
    assert read_baseline(baseline.to_json()) == baseline


# The others.


def believable_card(card: Card) -> None:
    assert whole(card.parameters, 1) and all(bits > 0 for bits in card.held_out_bits_per_byte.values())


def believable_log(facts: Any) -> None:
    assert whole(facts.training_bytes, 1) and 0 <= facts.training_bits_per_byte < 1e18
    assert known_models.account(facts).prequential_bits_per_byte >= 0


def believable_log_rows(rows: Any) -> None:
    assert all(whole(row.tokens, 1) and row.bits >= 0 and row.seconds >= 0 for row in rows)


def believable_manifest(downloads: Any) -> None:
    for download in downloads:
        for name in (download.corpus, *(member.name for member in download.members)):
            assert Path(name).name == name not in ("..", ".")
        assert whole(download.size_bytes) and all(whole(member.size_bytes) for member in download.members)


def believable_folder(folder: Any) -> None:
    assert all(path.parent == folder.path for path in folder.weight_files)
    assert whole(folder.parameter_count, 1) and whole(folder.weight_bytes, 1)
    folder.digest(), folder.left_out


def believable_shape(shape: weights.Shape) -> None:
    assert all(whole(getattr(shape, name)) for name in vars(shape) if name not in ("rope_theta", "norm_epsilon"))
    assert shape.start_token < shape.vocabulary_size <= 1 << 20 and 0 < shape.head_dim and 0 < shape.window
    assert 0 < shape.norm_epsilon <= 1 <= shape.rope_theta
    assert shape.heads % shape.key_value_heads == 0


def believable_architecture(pair: Any) -> None:
    shape, folding = pair
    assert all(whole(getattr(shape, name), 1) for name in ("hidden_size", "heads", "key_value_heads", "head_dim"))
    assert all(rule.window >= 1 for rule in shape.layers) and shape.heads % shape.key_value_heads == 0
    assert 0 <= shape.start_token < shape.vocabulary_size <= 1 << 20 and 0 < shape.norm_epsilon <= 1


def believable_codecs(codecs: Any) -> None:
    assert all(codec.description.name.strip() and all(codec.commands) for codec in codecs)


def read_folder(path: Path) -> Any:
    return open_model_folder(path.parent)


def read_shape(path: Path) -> Any:
    return weights.read_config(path.parent)


def believable_tokenizer(tokenizer: Any) -> None:
    for data in (b"", b"the cat sat\n", bytes(range(256)), "é <x> \u2581".encode()):
        try:
            tokens = tokenizer.tokenize(data)
        except ModelError:  # the library fails on this text, and says so in a line
            continue
        assert all(0 <= token < tokenizer.size for token in tokens.tolist())
        assert tokenizer.detokenize(tokens) == data


def read_guarded(path: Path) -> Any:
    return GuardedTokenizer(path.read_text(encoding="utf-8", errors="replace"), 400, str(path))


def read_architecture(path: Path) -> Any:
    return families.read_architecture(read_config(path.parent))


def read_log(path: Path) -> Any:
    return known_models.folder_facts(path.parent, "x")


def read_levels(path: Path) -> Any:
    return read(path, levels.Report, closed=True)


def read_published(path: Path) -> Any:
    return read(path, list[known_models.ModelFacts])


def believable_published(models: Any) -> None:
    for facts in models:
        known_models.account(facts)


def read_log_rows(path: Path) -> Any:
    from llmzip.training.records import LogRow

    return read_lines(path, LogRow)


def json_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


CODECS = {"codec": [{"name": "a", "compress": "x -c", "decompress": ["x", "-d"], "time_limit_seconds": 5.0}]}
LOG_ROW = {"tokens": 5, "step": 1, "bytes": 9, "bits": 7.5, "new_bytes": 9, "seconds": 1.5, "validation": {"a": 1.0}}
PLAIN_CONFIG = {
    "model_type": "gemma3_text",
    "vocab_size": 4096,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "intermediate_size": 128,
    "max_position_embeddings": 512,
    "sliding_window": 64,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "rms_norm_eps": 1e-6,
    "bos_token_id": 0,
    "eos_token_id": [1, 2],
    "query_pre_attn_scalar": 12,
    "rope_parameters": {
        "full_attention": {"rope_theta": 1e6, "rope_type": "linear", "factor": 8.0},
        "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
    },
    "tie_word_embeddings": True,
}
CHARACTERS = sorted(byte_alphabet())
TOKENIZER = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [
        {
            "id": 258, "content": "<x>", "special": False,
            **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
        }
    ],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "post_processor": None,
    "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "model": {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
        "vocab": {**{character: token for token, character in enumerate(CHARACTERS)}, "th": 256, "the": 257},
        "merges": [["t", "h"], ["th", "e"]],
    },
}  # fmt: skip
SHARD = "model.safetensors"


@dataclasses.dataclass
class Reader:
    """A document, where it lies, what reads it, and what must hold of whatever was believed."""

    document: Callable[[], Any]
    name: str
    read: Callable[[Path], Any]
    believable: Callable[[Any], None]
    form: str = "json"


READERS = {
    "results": Reader(
        lambda: json.loads(some_results().to_json()),
        "results.json",
        lambda path: Results.from_json(path.read_bytes(), str(path)),
        believable_results,
    ),
    "baseline": Reader(
        lambda: json.loads(baseline_of(some_results()).to_json()),
        "baseline.json",
        lambda path: read_baseline(path.read_bytes(), str(path)),
        believable_baseline,
    ),
    "card": Reader(lambda: json_of(RUNG / "card.json"), "card.json", lambda path: read(path, Card), believable_card),
    "training log": Reader(lambda: json_of(RUNG / "training.json"), "training.json", read_log, believable_log),
    "log rows": Reader(lambda: LOG_ROW, "log.jsonl", read_log_rows, believable_log_rows),
    "manifest": Reader(
        lambda: tomllib.loads((ROOT / "corpora" / "manifest.toml").read_text(encoding="utf-8")),
        "manifest.toml",
        read_manifest,
        believable_manifest,
        "toml",
    ),
    "kinds": Reader(
        lambda: {"kinds": {"prose": ["a.txt"], "code": ["b.c"]}},
        "manifest.toml",
        lambda path: kind_of(path.with_name("a.txt"), [path.parent]),
        lambda kind: None if isinstance(kind, str) else pytest.fail(repr(kind)),
        "toml",
    ),
    "codecs": Reader(lambda: CODECS, "codecs.toml", read_external_codecs, believable_codecs, "toml"),
    "index": Reader(lambda: {"metadata": {}, "weight_map": {"a": SHARD}}, INDEX, read_folder, believable_folder),
    "configuration": Reader(lambda: json_of(RUNG / CONFIG), CONFIG, read_folder, believable_folder),
    "shape": Reader(lambda: json_of(RUNG / CONFIG), CONFIG, read_shape, believable_shape),
    "architecture": Reader(lambda: PLAIN_CONFIG, CONFIG, read_architecture, believable_architecture),
    "byte tokenizer": Reader(
        lambda: TOKENIZER | {"added_tokens": []}, "tokenizer.json", ByteTokenizer, believable_tokenizer
    ),
    "any tokenizer": Reader(lambda: TOKENIZER, "tokenizer.json", read_guarded, believable_tokenizer),
    "levels": Reader(lambda: json_of(levels.MEASURED), "levels.json", read_levels, lambda report: None),
    "published models": Reader(
        lambda: json_of(Path(known_models.__file__).with_name("published_models.json")),
        "published_models.json",
        read_published,
        believable_published,
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_documents_are_refused_or_read_as_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(known_models, "SQUEEZED_UP_TO", 0)  # zstd -19 takes its time
    reader = READERS[name]
    for file in ("config.json", "tokenizer.json", "model.safetensors"):
        shutil.copy(RUNG / file, tmp_path / file)
    if name == "index":
        (tmp_path / "model.safetensors").rename(tmp_path / "model-1.safetensors")
        shutil.copy(tmp_path / "model-1.safetensors", tmp_path / "other.bin")
    document, path = reader.document(), tmp_path / reader.name
    if name == "index":
        document["weight_map"]["a"] = "model-1.safetensors"
    refused = 0
    for seed in range(MUTATIONS):
        path.write_bytes(mutated(document, seed, form=reader.form))
        try:
            found = reader.read(path)
        except LlmzipError as error:
            refused += 1
            assert isinstance(error, DocumentError | ModelError | NotComparableError), (seed, error)
            assert "\n" not in str(error) and len(str(error)) < 1000 and ": " in str(error), seed
            continue
        assert finite(found), seed
        reader.believable(found)
    assert refused > MUTATIONS / 5
