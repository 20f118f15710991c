"""Float models on the command line, through real processes."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SAMPLE

pytest.importorskip("transformers")

from hub_material import write_hub_folder


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llmzip", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hub_folder(tmp_path_factory.mktemp("cli") / "tiny-gpt2", "gpt2")


def test_a_folder_that_only_transformers_can_run(folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(SAMPLE.encode()[:200])
    done = run("compress", "-T", 1, "-m", folder, text)
    assert done.returncode == 0 and "Traceback" not in done.stderr and "warn" not in done.stderr.lower(), done.stderr
    packed = tmp_path / "text.llmz"
    shown = run("info", packed)
    assert "float/tiny-gpt2" in shown.stdout and "2;float32;cpu;1;24;1;" in shown.stdout
    text.unlink()
    done = run("decompress", "-m", folder, packed)
    assert done.returncode == 0 and text.read_bytes() == SAMPLE.encode()[:200], done.stderr


def test_no_model_is_opened_because_an_archive_names_it(folder: Path, tmp_path: Path) -> None:
    from llmzip import archive
    from llmzip.predictors.hub import load_hub

    fingerprint = load_hub(folder, "x").fingerprint
    payload = archive.pack_frame(archive.MODEL, b"a", b"\1", 1, 1) + b"\0"
    for name in ("float/tiny-gpt2", "float/nano", f"float/{folder}"):
        packed = tmp_path / "hostile.llmz"
        packed.write_bytes(archive.pack_header(name, fingerprint, b"2;") + payload)
        done = run("decompress", "-c", packed)
        assert done.returncode == 4 and "no embedded model is called" in done.stderr and not done.stdout
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--exact",), "cannot run in the exact engine"),
        (("--dtype", "int3"), "dtype 'int3' is unknown"),
        (("--device", "nowhere"), "cannot be loaded"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    folder: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"text")
    done = run("compress", "-m", folder, *options, text)
    assert done.returncode == 4 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "text.llmz").exists()


def test_exact_and_portable_contradict(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"text")
    done = run("compress", "--exact", "--portable", tmp_path / "text")
    assert done.returncode == 2 and "--exact archives are portable" in done.stderr
