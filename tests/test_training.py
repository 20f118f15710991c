"""The training pipeline end to end on a few kilobytes: it learns, resumes to the same weights, and ships what runs."""

import bz2
import itertools
import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from llmzip.predictors import load_predictor  # noqa: E402
from llmzip.training import __main__ as command  # noqa: E402
from llmzip.training import card as card_command  # noqa: E402
from llmzip.training import overlap, parts  # noqa: E402
from llmzip.training import text as training_text  # noqa: E402
from llmzip.training import train as training  # noqa: E402
from llmzip.training.grow import grown_state  # noqa: E402
from llmzip.training.model import TrainedModel, attend_fused, attend_products  # noqa: E402
from llmzip.training.muon import orthogonalise  # noqa: E402
from llmzip.training.overlap import ALLOWANCE, KeptOut, kept_out_texts  # noqa: E402
from llmzip.training.rungs import RUNGS, START_TOKEN, Rung  # noqa: E402
from llmzip.training.text import Document, vary_layout  # noqa: E402

WORDS = "the mill stood by a river that nobody had named and the miller liked it so".split()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two shards of made-up sentences, a held-out text, and a standard library of one function."""
    rng = random.Random(1)
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    for shard in range(2):
        with bz2.open(folder / f"shard-{shard:02}.jsonl.bz2", "wt", encoding="utf-8") as lines:
            for _ in range(40):
                text = ". ".join(" ".join(rng.choices(WORDS, k=9)).capitalize() for _ in range(30))
                lines.write(json.dumps({"text": text + ".\n", "source": "made/up", "kind": "prose"}) + "\n")
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "prose.txt").write_text(" ".join(rng.choices(WORDS, k=3000)) + "\n")
    code = Document("code", "def f(x):\n    return x\n" * 50)
    monkeypatch.setattr(training_text, "read_standard_library", lambda: iter([code]))
    return folder


TINY = Rung("nano", 32, 2, 2, 1, 16, 64, training_tokens=20 * 1024, batch_tokens=1024, window=64)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rung that is trained in seconds."""
    monkeypatch.setitem(RUNGS, "nano", TINY)
    monkeypatch.setattr(training, "WARM_UP_STEPS", 2)
    monkeypatch.setattr(command, "VALIDATION_BYTES", 6000)


def words(data: Path, work: str, *more: str) -> list[str]:
    """The command line: with ``--out`` unless it is stopped before."""
    root = data.parent.parent
    line = ["nano", "--text", str(data), "--held-out", str(root / "held"), "--work", str(root / work)]
    line += ["--shards", "1", "--threads", "1", "--no-compiled", *more]
    return line if "--stop-after" in more else [*line, "--out", str(root / f"out-{work}")]


def test_one_command_makes_a_model_that_compresses(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(words(data, "work", "--tokens", str(40 * 1024), "--remarks", "A test."))
    out = data.parent.parent / "out-work"
    card = json.loads((out / "card.json").read_text())
    assert json.loads(capsys.readouterr().out) == card
    predictor = load_predictor(str(out), engine="numpy", threads=1)
    assert predictor.detokenize(predictor.tokenize(b"\xffthe <|start|>")) == b"\xffthe <|start|>"
    assert START_TOKEN not in predictor.tokenize(b"<|start|>")
    log = json.loads((out / "training.json").read_text())["checkpoints"]
    first, last = log[0]["validation_bits_per_byte"]["prose"], log[-1]["validation_bits_per_byte"]["prose"]
    assert last < 0.85 * first
    assert len(log) >= 12 and set(log[0]) >= {"tokens", "bytes", "flop", "prequential_bits"}
    assert [row["tokens"] for row in log] == sorted({row["tokens"] for row in log})
    assert abs(card["exact_over_float"]["prose"]) < 0.005
    assert card["training_tokens"] == 40 * 1024
    readme = (out / "README.md").read_text()
    for part in ("| prose |", "compressed-tensors", "A test. 0 documents were left out", "Apache-2.0", "Seed 1:"):
        assert part in readme
    card_command.main(out, out.parent / "held", out.parent / "work" / "nano" / "float-model")
    again = json.loads(capsys.readouterr().out)
    assert {key: value for key, value in again.items() if "second" not in key or "training" in key} == {
        key: value for key, value in card.items() if "second" not in key or "training" in key
    }


def test_slices_make_the_same_files_as_one_run(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And so does the same seed, and a machine that gets the prepared tokens only and sends back small parts."""
    monkeypatch.setattr(parts, "PART_BYTES", 100_000)
    command.main(words(data, "whole"))
    root = data.parent.parent
    command.main(words(data, "sliced", "--stop-after", "0s"))
    assert (root / "sliced" / "train.u16").exists() and not list((root / "sliced" / "nano").glob("final-*"))
    bare = root / "bare"
    bare.mkdir()
    for name in ("train.u16", "validation.npz"):
        shutil.copy(root / "sliced" / name, bare / name)
    # A clock that moves a second when it is looked at: a slice ends after a few steps.
    clock = itertools.count()
    monkeypatch.setattr(training.time, "monotonic", lambda: float(next(clock)))
    slices = 0
    while not list((bare / "nano").glob("final-*")):
        slices += 1
        command.main(["nano", "--work", str(bare), "--threads", "1", "--no-compiled", "--stop-after", "30s"])
    assert slices > 2 and len(list((bare / "nano").glob("final-*"))) > 1
    monkeypatch.undo()
    monkeypatch.setitem(RUNGS, "nano", TINY)
    for path in (bare / "nano").iterdir():
        shutil.copy(path, root / "sliced" / "nano" / path.name)
    command.main(words(data, "sliced"))
    capsys.readouterr()
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (root / "out-whole" / name).read_bytes() == (root / "out-sliced" / name).read_bytes()
    logs = [json.loads((root / f"out-{work}" / "training.json").read_text()) for work in ("whole", "sliced")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--out", "somewhere"], "--out needs --held-out"),
        ([], "is not prepared: name --text and --held-out"),
        (["--stop-after", "soon"], "invalid seconds value"),
    ],
)
def test_what_is_missing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(["nano", "--work", str(tmp_path), *more])
    assert stopped.value.code == 2 and says in capsys.readouterr().err


def test_the_middle_stage_needs_only_numpy_and_torch() -> None:
    """A machine with a GPU may have nothing else."""
    code = "import sys, llmzip.training.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) & {"tokenizers", "safetensors", "transformers", "typer", "constriction", "zstandard"} == set()


def test_text_that_is_measured_on_is_left_out(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = data.parent.parent
    held_out = (root / "held" / "prose.txt").read_text()
    planted = "Nothing to see here. " + held_out[5000:6000].replace(" ", "\n").upper()
    with bz2.open(data / "shard-00.jsonl.bz2", "at", encoding="utf-8") as lines:
        lines.write(json.dumps({"text": planted, "source": "made/up", "kind": "web"}) + "\n")
    command.main(words(data, "work", "--stop-after", "0s"))
    record = json.loads((root / "work" / "sizes.json").read_text())
    assert record["documents_left_out"] == 1 and "web" not in record["bytes"]
    assert "left out 1 of 42 documents" in capsys.readouterr().err


def test_passages_are_found_wherever_they_begin_and_chance_is_not() -> None:
    rng = random.Random(3)
    text = "".join(rng.choices("abcdefghij klmnop, qrstuvwxyz", k=40_000))
    kept_out = KeptOut([text])
    for start in rng.sample(range(38_000), 20):
        assert kept_out.shared_characters("x" * rng.randrange(99) + text[start : start + 1500]) > ALLOWANCE
    assert kept_out.shared_characters("".join(rng.choices("abcdefghij klmnop, qrstuvwxyz", k=40_000))) == 0
    assert kept_out.shared_characters(text[:100]) <= ALLOWANCE
    assert kept_out.shared_characters("") == 0 == KeptOut([]).shared_characters(text)


def test_long_texts_are_read_in_blocks_that_hide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(random.Random(4).choices("abcdefghijklmnopqrstuvwxyz", k=20_000))
    whole = overlap.sampled_passages(text)
    monkeypatch.setattr(overlap, "_BLOCK", 777)
    assert (overlap.sampled_passages(text) == whole).all()
    assert abs(len(whole) * overlap.SAMPLED / 20_000 - 1) < 0.15


def test_a_folder_without_texts_to_keep_out_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="check its name"):
        list(kept_out_texts([tmp_path / "nothing"]))


def test_both_ways_to_attend_agree() -> None:
    torch.manual_seed(1)
    query, key, value = torch.randn(2, 12, 6, 8), torch.randn(2, 12, 2, 8), torch.randn(2, 12, 2, 8)
    mask = torch.zeros(12, 12).masked_fill(torch.ones(12, 12).triu(1).bool(), -1e9)
    left, right = (attend(query, key, value, mask) for attend in (attend_products, attend_fused))
    assert torch.allclose(left, right, atol=1e-5)


def test_a_grown_model_begins_as_the_smaller_one(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(words(data, "work", "--tokens", "2048"))
    small = data.parent.parent / "out-work"
    losses = []
    for layers in (2, 4):
        rung = replace(TINY, layers=layers)
        model = TrainedModel(rung)
        model.load_state_dict(grown_state(small, rung))
        tokens = torch.arange(1, 65)[None]
        losses.append(float(model(tokens, tokens + 1).detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_batches_cover_the_text_once_and_predict_the_next_token() -> None:
    window, size = 128, 8192
    tokens = np.arange(4 * size + 1).astype(np.uint16)
    seen = []
    for inputs, targets in training.batches(tokens, 0, 3 * size, size, window, seed=1):
        assert inputs.shape == targets.shape and inputs.size == size
        begun = inputs[:, 0] == START_TOKEN
        assert (targets[~begun] == inputs[~begun] + 1).all()
        assert (targets[begun][:, :-1] == inputs[begun][:, 1:]).all()
        seen.append(targets.ravel())
    everything = np.concatenate(seen)
    assert len(np.unique(everything)) == len(everything)


def test_text_that_is_read_again_comes_in_another_order() -> None:
    tokens = np.arange(1, 10 * 64 + 2).astype(np.uint16)  # 10 blocks, batches of 4: the third goes on into the next
    firsts = [t[::2, 0] for _, t in training.batches(tokens, 0, 30 * 64, 4 * 64, 32, seed=1)]
    order = np.concatenate(firsts)[:20].tolist()
    assert sorted(order[:10]) == sorted(order[10:20]) and order[:10] != order[10:20]
    later = [t[::2, 0] for _, t in training.batches(tokens, 12 * 64, 30 * 64, 4 * 64, 32, seed=1)]
    assert (np.concatenate(later[:2]) == np.concatenate(firsts[3:5])).all()


def test_the_schedule_warms_up_holds_and_decays() -> None:
    assert training.learning_rate(0.0, 0) == pytest.approx(1 / training.WARM_UP_STEPS)
    assert training.learning_rate(0.3, 1000) == 1
    assert training.learning_rate(0.8, 2000) == pytest.approx(0.2 / training.DECAY_FRACTION)
    assert training.learning_rate(1.0, 3000) == 0


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(1)
    for rows, columns in ((20, 30), (40, 10)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(3, rows, columns)))
        assert 0.5 < values.min() and values.max() < 1.4


def test_real_files_have_other_line_ends_and_the_texts_get_them() -> None:
    rng = random.Random(2)
    texts = [vary_layout(Document("code", "a\n    b\n" * 3), rng).text for _ in range(500)]
    crlf = sum("\r\n" in text for text in texts)
    assert 30 < crlf < 70
    assert any("\t" in text for text in texts) and any(not text.endswith("\n") for text in texts)


def test_every_rung_fits_the_exact_engine() -> None:
    for rung in RUNGS.values():
        assert rung.heads % rung.key_value_heads == 0 and rung.head_dim % 2 == 0
        assert rung.hidden_size <= 1040
