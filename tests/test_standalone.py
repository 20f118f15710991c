"""A model as two files: what is in params.bin, that run.c decodes with it as llmzip does, and what both refuse."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import llmzip
from llmzip.errors import ModelError
from llmzip.predictors import find_model_folder
from llmzip.standalone.layout import HEADER_BYTES
from llmzip.standalone.reading import load_params
from llmzip.standalone.writing import PROGRAM, params_of

CORPORA = Path(__file__).parents[1] / "corpora"
COMPILERS = {
    "gcc": ["gcc"],
    "clang": ["clang"],
    "zig": [sys.executable, "-m", "ziglang", "cc"],
}
TEXTS = {
    "prose": (CORPORA / "prose-story.txt").read_bytes()[:9000],
    "log": (CORPORA / "server.log").read_bytes()[:9000],
    "short": b"It was the best of times, it was the worst of times.",
    "noise": hashlib.shake_128(b"noise").digest(600),
    "empty": b"",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nano as two files."""
    path = tmp_path_factory.mktemp("nano")
    result = subprocess.run([sys.executable, "-m", "llmzip", "export", "-q", "nano", str(path)], check=False)
    assert result.returncode == 0
    return path


@pytest.fixture(scope="module")
def run(folder: Path) -> Callable[[bytes], "subprocess.CompletedProcess[bytes]"]:
    """Decodes an archive with the program."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler here")
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", "run", "run.c", "-lm"], cwd=folder, check=True)

    def decode(archive: bytes) -> "subprocess.CompletedProcess[bytes]":
        (folder / "archive").write_bytes(archive)
        return subprocess.run([folder / "run", folder / "params.bin", folder / "archive"], capture_output=True)

    return decode


def test_the_program_is_short_and_is_what_is_exported(folder: Path) -> None:
    assert (folder / "run.c").read_bytes() == PROGRAM.read_bytes()
    assert len(PROGRAM.read_text().splitlines()) <= 1000


@pytest.mark.parametrize("name", ["nano", "adaptive"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_program_decodes(
    name: str, text: bytes, run: Callable[[bytes], "subprocess.CompletedProcess[bytes]"]
) -> None:
    archive = llmzip.compress(text, llmzip.load_predictor(name))
    result = run(archive + archive)
    assert (result.returncode, result.stdout, result.stderr) == (0, text + text, b"")


def test_the_program_refuses_what_is_damaged(run: Callable[[bytes], "subprocess.CompletedProcess[bytes]"]) -> None:
    archive = llmzip.compress(TEXTS["short"], llmzip.load_predictor("nano"))
    for place in range(len(archive)):
        damaged = archive[:place] + bytes((archive[place] ^ 1,)) + archive[place + 1 :]
        result = run(damaged)
        assert result.returncode == 1 and result.stderr.startswith(b"run: ") and result.stderr.count(b"\n") == 1
    assert run(archive[:-1]).returncode == 1
    other = run(llmzip.compress(TEXTS["short"], llmzip.load_predictor("small")))
    assert b"another model" in other.stderr


def test_the_program_says_what_it_does_not_decode(run: Callable[[bytes], "subprocess.CompletedProcess[bytes]"]) -> None:
    result = run(llmzip.compress(bytes(range(256)) * 4, llmzip.load_predictor("nano")))
    assert (result.returncode, result.stdout) == (1, b"") and b"zstd" in result.stderr


@pytest.mark.parametrize("compiler", COMPILERS)
def test_compilers_say_nothing(compiler: str, tmp_path: Path) -> None:
    command = COMPILERS[compiler]
    if shutil.which(command[0]) is None or subprocess.run([*command, "--version"], capture_output=True).returncode:
        pytest.skip(f"{compiler} is not installed")
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-o", str(tmp_path / "run")]
    result = subprocess.run([*command, *flags, str(PROGRAM), "-lm"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_llmzip_reads_params(folder: Path) -> None:
    predictor, shipped = load_params(folder / "params.bin"), llmzip.load_predictor("nano")
    assert (predictor.name, predictor.fingerprint) == ("nano", shipped.fingerprint)
    assert llmzip.decompress(llmzip.compress(TEXTS["prose"], shipped), predictor) == TEXTS["prose"]
    with pytest.raises(ModelError, match="only decodes"):
        llmzip.compress(b"text", predictor)


def test_the_command_decodes_with_params(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "text.llmz"
    archive.write_bytes(llmzip.compress(TEXTS["prose"], llmzip.load_predictor("nano")))
    command = [sys.executable, "-m", "llmzip", "decompress", "-q", "--params", str(folder / "params.bin"), str(archive)]
    assert subprocess.run(command, check=False).returncode == 0
    assert (tmp_path / "text").read_bytes() == TEXTS["prose"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1] + b"?", "damaged"),
        (lambda content: content[:HEADER_BYTES], "damaged"),
        (lambda content: content[:100], "no params.bin"),
        (lambda content: b"", "no params.bin"),
        (lambda content: content[:8] + b"\x02" + content[9:], "another version"),
        (lambda content: content[:24] + b"\xff" * 8 + content[32:], "damaged"),
        (lambda content: content[:36] + b"\x01" + content[37:], "damaged"),
    ],
)
def test_damaged_params_are_refused(
    damage: Callable[[bytes], bytes], message: str, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "params.bin"
    path.write_bytes(damage((folder / "params.bin").read_bytes()))
    with pytest.raises(ModelError, match=message):
        load_params(path)


def test_what_run_c_does_not_do_is_refused(tmp_path: Path) -> None:
    folder = Path(__file__).parent / "golden" / "model"
    with pytest.raises(ModelError, match="int8"):
        params_of(folder, "golden")
    assert params_of(find_model_folder("nano"), "nano").startswith(b"LLMZPARM")
