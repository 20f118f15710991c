"""The training pipeline end to end on a few kilobytes: it learns, resumes to the same weights, and ships what runs."""

import bz2
import json
import random
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from llmzip.predictors import load_predictor  # noqa: E402
from llmzip.training import __main__ as command  # noqa: E402
from llmzip.training import text as training_text  # noqa: E402
from llmzip.training import train as training  # noqa: E402
from llmzip.training.muon import orthogonalise  # noqa: E402
from llmzip.training.rungs import RUNGS, START_TOKEN  # noqa: E402
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


def run(data: Path, work: str, tokens: int) -> Path:
    root = data.parent.parent
    out = root / f"out-{work}"
    command.main(
        "nano",
        data,
        root / "held",
        root / work,
        out,
        tokens=tokens,
        shards=1,
        threads=1,
        compiled=False,
        remarks="A test.",
    )
    return out


def test_one_command_makes_a_model_that_compresses(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "WARM_UP_STEPS", 2)
    out = run(data, "work", 8 * training.BATCH_TOKENS)
    card = json.loads((out / "card.json").read_text())
    assert json.loads(capsys.readouterr().out) == card
    predictor = load_predictor(str(out), engine="numpy", threads=1)
    assert predictor.detokenize(predictor.tokenize(b"\xffthe <|start|>")) == b"\xffthe <|start|>"
    assert START_TOKEN not in predictor.tokenize(b"<|start|>")
    log = json.loads((out / "training.json").read_text())["checkpoints"]
    first, last = log[0]["validation_bits_per_byte"]["prose"], log[-1]["validation_bits_per_byte"]["prose"]
    assert last < 0.85 * first
    assert abs(card["exact_over_float"]["prose"]) < 0.005
    assert card["training_tokens"] == 8 * training.BATCH_TOKENS
    assert "| prose |" in (out / "README.md").read_text()


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    whole = run(data, "whole", 4 * training.BATCH_TOKENS)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)
    steps = 0

    class Stop(Exception):
        pass

    real = training.bits_per_byte

    def stopping(*arguments: object) -> dict[str, float]:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise Stop
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "bits_per_byte", stopping)
    with pytest.raises(Stop):
        run(data, "parts", 4 * training.BATCH_TOKENS)
    monkeypatch.setattr(training, "bits_per_byte", real)
    parts = run(data, "parts", 4 * training.BATCH_TOKENS)
    assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()


def test_batches_cover_the_text_once_and_predict_the_next_token() -> None:
    window = 128
    tokens = np.arange(4 * training.BATCH_TOKENS + 1).astype(np.uint16)
    seen = []
    for inputs, targets in training.batches(tokens, 0, 3 * training.BATCH_TOKENS, window, seed=1):
        assert inputs.shape == targets.shape and inputs.size == training.BATCH_TOKENS
        begun = inputs[:, 0] == START_TOKEN
        assert (targets[~begun] == inputs[~begun] + 1).all()
        assert (targets[begun][:, :-1] == inputs[begun][:, 1:]).all()
        seen.append(targets.ravel())
    everything = np.concatenate(seen)
    assert len(np.unique(everything)) == len(everything)


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
