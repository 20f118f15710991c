"""What a bench calls its models, and that a model is in it once."""

import shutil
from pathlib import Path

import pytest

from llmzip.bench.measuring import all_codecs
from llmzip.bench.naming import label_and_model
from llmzip.errors import UsageError
from llmzip.predictors import embedded_rungs

RUNGS = {rung.name: rung.folder for rung in embedded_rungs()}

pytestmark = pytest.mark.skipif("nano" not in RUNGS, reason="this checkout lacks the embedded model nano")


def names(*models: str | Path) -> list[str]:
    return [codec.description.name for codec in all_codecs(list(map(str, models)), [])]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints of one name."""
    folder = tmp_path_factory.mktemp("runs")
    for run in ("a", "b"):
        shutil.copytree(RUNGS["nano"], folder / run / "final")
    return folder


def test_folders_of_one_name_are_told_apart_by_their_paths(runs: Path) -> None:
    assert names(runs / "a" / "final") == ["llmzip final"]
    assert names(runs / "a" / "final", runs / "b" / "final", "nano") == [
        "llmzip a/final",
        "llmzip b/final",
        "llmzip nano",
    ]


def test_a_label_is_the_name(runs: Path) -> None:
    assert names(f"before={runs / 'a' / 'final'}", f"after={runs / 'b' / 'final'}") == ["llmzip before", "llmzip after"]
    with pytest.raises(UsageError, match="as -m NAME=MODEL does"):
        names(f"x={runs / 'a' / 'final'}", f"x={runs / 'b' / 'final'}")


def test_a_folder_is_measured_once_however_it_is_spelt(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    (runs / "link").symlink_to(runs / "a")
    spelt = ["a/final", "./a/final", "b/../a/final", str(runs / "a" / "final"), "link/final"]
    assert names(*spelt) == ["llmzip final"]


def test_a_folder_with_an_equals_sign_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x=y").mkdir()
    assert label_and_model(str(tmp_path / "x=y")) == (None, str(tmp_path / "x=y"))
    assert label_and_model("x=y=z") == ("x", "y=z")
    assert label_and_model("=y") == (None, "=y") and label_and_model("x=") == (None, "x=")


def test_whatever_changes_a_size_is_in_the_identity(runs: Path) -> None:
    import zstandard

    (codec,) = all_codecs([str(runs / "a" / "final")], [])
    settings = codec.description.settings
    assert settings["zstd"] == ".".join(map(str, zstandard.ZSTD_VERSION))
    assert {"stream_tokens", "frame_bytes", "format_version", "tokenizer"} <= set(settings)
    (adaptive,) = all_codecs(["adaptive"], [])
    assert adaptive.description.settings["tokenizer"] == settings["tokenizer"]
    tokenizer = runs / "b" / "final" / "tokenizer.json"  # the same tokens, chosen otherwise
    tokenizer.write_text(tokenizer.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    (other,) = all_codecs([str(runs / "b" / "final")], [])
    assert other.description.fingerprint == codec.description.fingerprint
    assert other.description.settings["tokenizer"] != settings["tokenizer"]


def test_what_is_not_loaded_is_said_once(runs: Path, tmp_path: Path) -> None:
    """By bench and compress, with the file that is the model."""
    from typer.testing import CliRunner

    from llmzip.cli.app import app

    folder = shutil.copytree(runs / "a" / "final", tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"not read")
    (tmp_path / "a.txt").write_bytes(b"some words, and some more words\n")
    expected = f"{folder}: its model is model.safetensors; pytorch_model.bin are not loaded"
    for command in (["compress"], ["bench", "--codec", "zstd -3", "--quick"]):
        arguments = [*command, "-m", str(folder), str(tmp_path / "a.txt")]
        said = CliRunner().invoke(app, arguments)
        assert said.exit_code == 0 and said.stderr.count(expected) == 1, said.stderr
        assert (
            expected
            not in CliRunner().invoke(app, [*arguments, "-q", *(["-f"] if command == ["compress"] else [])]).stderr
        )
