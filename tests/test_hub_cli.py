"""Float models on the command line, through real processes."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SAMPLE

pytest.importorskip("transformers")

from hub_material import write_hub_folder

from llmzip.cli.metering import metered
from llmzip.codec import compress, decompress
from llmzip.predictors.hub import load_hub


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
    assert "float/tiny-gpt2" in shown.stdout and "1;float32;cpu;1;24;1;" in shown.stdout
    text.unlink()
    done = run("decompress", "-m", folder, packed)
    assert done.returncode == 0 and text.read_bytes() == SAMPLE.encode()[:200], done.stderr


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("verify", [True, False])
def test_the_bar_shows_encoding_and_verifying(folder: Path, portable: bool, verify: bool) -> None:
    plain = load_hub(folder, "x", threads=1)
    predictor = plain.made_portable() if portable else plain
    data, reported = SAMPLE.encode()[:200], list[float]()
    archive = compress(data, metered(predictor, reported.append, verified=verify), streams=1, verify=verify)
    assert archive == compress(data, predictor, streams=1, verify=False)
    assert reported == sorted(reported) and reported[-1] == pytest.approx(len(data), rel=0.01)
    steps = [done for done in reported if done > len(data) / 2]
    assert len(steps) > 50 or portable and not verify  # a forward pass is one step
    reported.clear()
    assert decompress(archive, metered(predictor, reported.append, bytes_per_token=2.0)) == data
    assert reported[-1] == len(data) and len(reported) > 50


def test_no_model_is_opened_because_an_archive_names_it(folder: Path, tmp_path: Path) -> None:
    from llmzip import archive

    fingerprint = load_hub(folder, "x").fingerprint
    payload = archive.pack_frame(archive.MODEL, b"a", b"\1", 1, 1) + b"\0"
    for name in ("float/tiny-gpt2", "float/nano", f"float/{folder}"):
        packed = tmp_path / "hostile.llmz"
        packed.write_bytes(archive.pack_header(name, fingerprint, b"1;") + payload)
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
