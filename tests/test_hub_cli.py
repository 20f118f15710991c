"""Float models on the command line, through real processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SAMPLE

pytest.importorskip("transformers")

from hub_material import write_hub_folder
from typer.testing import CliRunner

from llmzip.bench import measuring
from llmzip.cli.app import app
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
    assert "float/tiny-gpt2" in shown.stdout and "2;float32;cpu;1;24;1;" in shown.stdout
    text.unlink()
    done = run("decompress", "-m", folder, packed)
    assert done.returncode == 0 and text.read_bytes() == SAMPLE.encode()[:200], done.stderr


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("verify", [True, False])
def test_the_bar_shows_encoding_and_verifying(folder: Path, portable: bool, verify: bool) -> None:
    plain = load_hub(folder, "x", threads=1)
    predictor = plain.made_portable() if portable else plain
    data, reported = SAMPLE.encode()[:200], list[float]()
    followed = metered(predictor, reported.append, verified=verify)
    archive = compress(data, followed, streams=1, verify=verify)
    assert archive == compress(data, predictor, streams=1, verify=False)
    assert reported == sorted(reported) and reported[-1] == pytest.approx(len(data), rel=0.01)
    steps = [done for done in reported if done > len(data) / 2]
    assert len(steps) > 50 or portable and not verify  # a forward pass is one step
    assert decompress(archive, followed) == data  # as the bench does
    assert reported == sorted(reported) and reported[-1] == pytest.approx(2 * len(data), rel=0.01)
    reported.clear()
    assert decompress(archive, metered(predictor, reported.append, bytes_per_token=2.0)) == data
    assert reported[-1] == len(data) and len(reported) > 50


def test_no_model_is_opened_because_an_archive_names_it(folder: Path, tmp_path: Path) -> None:
    from llmzip import archive

    fingerprint = load_hub(folder, "x").fingerprint
    payload = archive.pack_frame(archive.MODEL, b"a", b"\1", 1, 1) + b"\0"
    for name in ("float/tiny-gpt2", "float/nano", f"float/{folder}"):
        packed = tmp_path / "hostile.llmz"
        packed.write_bytes(archive.pack_header(name, fingerprint, b"2;") + payload)
        done = run("decompress", "-c", packed)
        assert done.returncode == 4 and "no embedded model is called" in done.stderr and not done.stdout
        assert "Traceback" not in done.stderr


CONTRADICTIONS = [
    (("--dtype", "int3"), 2, "dtype 'int3' is unknown"),
    (("--exact", "--float"), 2, "--exact and --float both choose"),
    (("--exact", "--dtype", "bfloat16"), 2, "--dtype is for float models"),
    (("--device", ""), 2, "--device names no device"),
    (("-m", "nano", "--device", "cpu"), 2, "'nano' is exact: leave it out, or choose --float"),
]


@pytest.mark.parametrize(
    ("command", "options", "code", "words"),
    [
        ("compress", ("--exact",), 4, "cannot run in the exact engine"),
        ("compress", ("--device", "nowhere"), 4, "torch has no device 'nowhere' here"),
        ("bench", ("--device", "nowhere"), 4, "torch has no device 'nowhere' here"),
        ("compress", ("--exact", "--portable"), 2, "--exact archives are portable"),
        ("bench", ("--quick", "--portable"), 2, "--quick does not estimate"),
        *((command, *case) for command in ("compress", "bench", "heatmap") for case in CONTRADICTIONS),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    folder: Path, tmp_path: Path, command: str, options: tuple[str, ...], code: int, words: str
) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"text")
    model = () if "-m" in options else ("-m", folder)
    done = run(command, *model, *options, text)
    assert done.returncode == code and words in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "text.llmz").exists()


def test_threads_change_what_a_float_model_writes_and_help_says_so(folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"some text")
    done = [run("compress", "-q", "-m", folder, "-T", threads, text, "-o", tmp_path / threads) for threads in "12"]
    assert [one.returncode for one in done] == [0, 0]
    assert (tmp_path / "1").read_bytes() != (tmp_path / "2").read_bytes()
    assert "Never changes what an exact model writes." in " ".join(run("compress", "--help").stdout.split())


def test_the_bench_runs_a_model_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text"
    text.write_bytes(SAMPLE.encode()[:120])
    folder = write_hub_folder(tmp_path / "llama", "llama", extra_width=0)

    def arguments(*options: str) -> list[str]:
        return ["bench", "-m", str(folder), *options, "--codec=zstd -3", "--measure-memory", "--json", "-T1", str(text)]

    def row(output: str, **settings: object) -> int:
        results = json.loads(output)
        (codec,) = [codec for codec in results["codecs"] if codec["kind"] == "predictor"]
        (row,) = [row for row in results["rows"] if row["codec"] == codec["name"]]
        assert row["verified"] and codec["exact"] == (not settings)
        assert {
            key: codec["settings"].get(key) for key in ("dtype", "device", "portable") if key in codec["settings"]
        } == settings
        return int(row["ideal_microbits"])

    ideal = []
    for options, settings in (
        (("--exact",), {}),
        (("--float", "--dtype", "float64"), {"dtype": "float64", "device": "cpu"}),
    ):
        done = run(*arguments(*options))
        assert done.returncode == 0 and not done.stderr, done.stderr
        assert json.loads(done.stdout)["rows"][1]["peak_memory_bytes"] or sys.platform == "win32"
        ideal.append(row(done.stdout, **settings))
    monkeypatch.setattr(measuring, "peak_memory_bytes", lambda *_, **__: None)  # another process with torch
    result = CliRunner().invoke(app, arguments("--portable"))
    ideal.append(row(result.stdout, dtype="float32", device="cpu", portable=1))
    assert len(set(ideal)) == 3 and all(bits == pytest.approx(ideal[1], rel=0.1) for bits in ideal)


def test_the_heatmap_of_a_float_model(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(SAMPLE.encode()[:60])
    outputs = [run("heatmap", "-m", "nano", *options, text).stdout for options in ((), ("--float",))]
    assert [output.split()[1] for output in outputs] == ["nano:", "float/nano:"]
    bits = [[float(line.split("\t")[1]) for line in output.splitlines()[2:]] for output in outputs]
    assert sum(bits[0]) == pytest.approx(sum(bits[1]), rel=0.02) and bits[0] != bits[1]
