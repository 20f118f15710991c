"""The command line as people and scripts meet it: pipes, files, signals, terminals, exit codes."""

import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SAMPLE, CountingPredictor
from typer.testing import CliRunner, Result

import llmzip
from llmzip import archive as archive_format
from llmzip import codec
from llmzip.archive import read_info
from llmzip.bench.codecs import DEFAULT_CODECS
from llmzip.bench.results import Results
from llmzip.cli import compress as compress_command
from llmzip.cli.app import app
from llmzip.cli.metering import bytes_per_token, metered
from llmzip.codec import compress, decompress
from llmzip.errors import RoundTripError, UsageError
from llmzip.levels import DEFAULT_LEVEL, LEVELS
from llmzip.predictors import DEFAULT_RUNG, RungCard, embedded_rungs, load_predictor

ROOT = Path(llmzip.__file__).parents[1]
TEXT = (ROOT / "corpora" / "prose-story.txt").read_bytes()[:1500]
NOISE = np.random.default_rng(1).bytes(3000)

needs_nano = pytest.mark.skipif(
    "nano" not in {card.name for card in embedded_rungs()}, reason="this checkout lacks the embedded model nano"
)
posix = pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "llmzip", *map(str, arguments)]


def after(statement: str, arguments: list[str]) -> list[str]:
    """The same command in a process that first does something to itself."""
    code = f"import os, resource, signal, sys; {statement}; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    return [sys.executable, "-c", code, *arguments[1:]]


def environment() -> dict[str, str]:
    """The same package, wherever the command runs, and a terminal of a known width."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "TERM": "xterm"}


def run(*arguments: str | Path, cwd: Path, **settings: Any) -> "subprocess.CompletedProcess[bytes]":
    settings = {"input": b"", "capture_output": True, "timeout": 120} | settings
    return subprocess.run(command(*arguments), cwd=cwd, env=environment(), **settings)


def invoke(*arguments: str | Path) -> Result:
    """The command in this process, where the model is compiled already."""
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, [str(argument) for argument in arguments])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def packed(kind: int, pieces: list[bytes]) -> bytes:
    """An archive of the predictor "count" with these payloads; to read stored ones needs no model."""
    counting, digest = CountingPredictor(), archive_format.new_digest()
    frames = [
        archive_format.pack_frame(kind, piece, piece, *((len(piece), 1) if kind == archive_format.MODEL else ()))
        for piece in pieces
    ]
    digest.update(b"".join(pieces))
    sizes = [(len(frame), len(piece)) for frame, piece in zip(frames, pieces, strict=True)]
    header = archive_format.pack_header(counting.name, counting.fingerprint)
    return header + b"".join(frames) + archive_format.pack_end(sizes, digest.digest())


STORED = packed(archive_format.STORED, [NOISE])
THREE_FRAMES = packed(archive_format.STORED, [NOISE[:1000], NOISE[1000:2000], NOISE[2000:]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one text, which has a time and a mode of its own."""
    (tmp_path / "a.txt").write_bytes(TEXT)
    (tmp_path / "a.txt").chmod(0o640)
    os.utime(tmp_path / "a.txt", (1e9, 1e9))
    return tmp_path


# -- Files ----------------------------------------------------------------------------------------------------


@needs_nano
def test_file_and_back(folder: Path) -> None:
    done = run("compress", "-2", "a.txt", cwd=folder)
    assert (done.returncode, done.stdout) == (0, b"")
    assert names(folder) == {"a.txt", "a.txt.llmz"}
    size = (folder / "a.txt.llmz").stat().st_size
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"a.txt: {len(TEXT):,} -> {size:,} bytes, {8 * size / len(TEXT):.3f} bits per byte, ")
    (folder / "a.txt").unlink()

    done = run("decompress", "-q", "a.txt.llmz", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (folder / "a.txt").read_bytes() == TEXT
    for name in ("a.txt", "a.txt.llmz"):
        status = (folder / name).stat()
        assert status.st_mtime == 1e9
        if os.name == "posix":
            assert stat.S_IMODE(status.st_mode) == 0o640


@needs_nano
def test_pipes_carry_data_only(folder: Path) -> None:
    archive = run("compress", "-q9", cwd=folder, input=TEXT)
    assert archive.stderr == b""
    assert read_info(io.BytesIO(archive.stdout))[0].predictor_name == LEVELS[9].predictor
    text = run("decompress", cwd=folder, input=archive.stdout)
    assert (text.returncode, text.stdout, text.stderr) == (0, TEXT, b"")


def test_unbuffered_pipes_are_written_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    done = run("decompress", cwd=folder, input=packed(archive_format.STORED, [NOISE * 200] * 2))
    assert done.stdout == NOISE * 400


@needs_nano
def test_hostile_names(folder: Path) -> None:
    hostile = ["two words.txt", "-x.txt", "ünïcode.txt"] + (["new\nline.txt"] if os.name == "posix" else [])
    for name in hostile:
        (folder / name).write_bytes(TEXT)
    done = run("compress", "-2", "--", *hostile, cwd=folder)
    assert done.returncode == 0
    assert names(folder) == {"a.txt", *hostile, *(f"{name}.llmz" for name in hostile)}
    assert len(done.stderr.splitlines()) == len(hostile)  # a line each, whatever is in the name
    for name in hostile:
        (folder / name).unlink()
    assert run("decompress", "--", *(f"{name}.llmz" for name in hostile), cwd=folder).returncode == 0
    assert [(folder / name).read_bytes() for name in hostile] == [TEXT] * len(hostile)


@needs_nano
def test_one_bad_file_does_not_stop_the_others(folder: Path) -> None:
    (folder / "b.txt").write_bytes(b"")
    (folder / "folder").mkdir()
    done = run("compress", "-2", "absent", "folder", "a.txt", "b.txt", cwd=folder)
    assert done.returncode == 2  # the folder; the absent file alone would be 1
    assert names(folder) == {"a.txt", "a.txt.llmz", "b.txt", "b.txt.llmz", "folder"}
    lines = done.stderr.decode().splitlines()
    assert lines[:2] == [
        "llmzip: absent: No such file or directory",
        "llmzip: folder: it is a folder: name the files in it",
    ]
    assert [line.split(":")[0] for line in lines[2:]] == ["a.txt", "b.txt"]


def test_damage_is_told_and_leaves_nothing(folder: Path) -> None:
    (folder / "good.llmz").write_bytes(STORED)
    (folder / "flipped.llmz").write_bytes(STORED[:-9] + bytes([STORED[-9] ^ 1]) + STORED[-8:])
    (folder / "cut.llmz").write_bytes(STORED[:-500])
    (folder / "other.llmz").write_bytes(b"something else")
    before = names(folder)
    done = run("decompress", "--rm", "flipped.llmz", "cut.llmz", "other.llmz", "good.llmz", cwd=folder)
    assert done.returncode == 1
    assert names(folder) == before - {"good.llmz"} | {"good"}
    assert (folder / "good").read_bytes() == NOISE
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 4
    assert "damaged" in lines[0] and "cut short" in lines[1] and "not an llmzip archive" in lines[2]

    done = run("test", "cut.llmz", cwd=folder)
    assert (done.returncode, done.stdout) == (1, b"")


@pytest.mark.parametrize("junk", [b"\n", b"\xf8l", b"something else"])
def test_what_follows_an_archive_is_told_apart_from_it(folder: Path, junk: bytes) -> None:
    (folder / "b.llmz").write_bytes(STORED + junk)
    done = run("decompress", "b.llmz", cwd=folder)
    words = (
        "is cut short" if b"\xf8lz".startswith(junk) else f"ends at byte {len(STORED)}, and what follows is not another"
    )
    assert done.returncode == 1 and words in done.stderr.decode() and done.stderr.count(b"\n") == 1
    assert names(folder) == {"a.txt", "b.llmz"}
    done = run("decompress", "--recover", "b.llmz", cwd=folder)
    assert done.returncode == 1 and (folder / "b").read_bytes() == NOISE


def test_test_says_one_line_a_file(folder: Path) -> None:
    (folder / "a.llmz").write_bytes(STORED)
    (folder / "b.llmz").write_bytes(STORED * 2)
    result = invoke("test", folder / "a.llmz", folder / "b.llmz")
    assert (result.exit_code, result.stdout) == (0, "")
    assert [": fine, " in line for line in result.stderr.splitlines()] == [True, True]
    result = invoke("test", "-q", folder / "a.llmz")
    assert (result.exit_code, result.output) == (0, "")
    assert names(folder) == {"a.txt", "a.llmz", "b.llmz"}


def test_existing_files_are_kept_unless_forced(folder: Path) -> None:
    (folder / "a.txt.llmz").write_bytes(STORED)
    result = invoke("decompress", folder / "a.txt.llmz")
    assert result.exit_code == 2
    assert "exists: overwrite it with -f" in result.stderr
    assert (folder / "a.txt").read_bytes() == TEXT
    assert invoke("decompress", "-f", folder / "a.txt.llmz").exit_code == 0
    assert (folder / "a.txt").read_bytes() == NOISE
    assert names(folder) == {"a.txt", "a.txt.llmz"}


@needs_nano
def test_compress_names_and_refusals(folder: Path) -> None:
    source = folder / "a.txt"
    result = invoke("compress", "-2", "-f", "-o", source, source)
    assert result.exit_code == 2 and "same file" in result.stderr
    assert invoke("compress", "-2", "-o", folder, source).exit_code == 2
    (folder / "b.llmz").write_bytes(b"not read")
    result = invoke("compress", "-2", folder / "b.llmz")
    assert result.exit_code == 2 and "already ends in .llmz" in result.stderr
    assert invoke("compress", "-1f", folder / "b.llmz").exit_code == 0
    result = invoke("compress", "-2", "-o", folder / "absent" / "x", source)
    assert result.exit_code == 2 and f"{folder / 'absent' / 'x'} cannot be written: its folder" in result.stderr
    assert source.read_bytes() == TEXT
    assert names(folder) == {"a.txt", "b.llmz", "b.llmz.llmz"}


def test_decompress_names(folder: Path) -> None:
    for name in ("archive", ".llmz"):
        (folder / name).write_bytes(STORED)
        result = invoke("decompress", folder / name)
        assert result.exit_code == 2 and "say where to write with -o" in result.stderr
    assert invoke("decompress", folder / "archive", "-o", folder / "text").exit_code == 0
    assert (folder / "text").read_bytes() == NOISE
    assert invoke("decompress", "-c", folder / "archive", folder / "archive").stdout_bytes == NOISE * 2


@needs_nano
def test_rm_removes_the_source_after_success(folder: Path) -> None:
    assert invoke("compress", "-2", "--rm", folder / "a.txt").exit_code == 0
    assert names(folder) == {"a.txt.llmz"}
    assert invoke("decompress", "--rm", folder / "a.txt.llmz").exit_code == 0
    assert names(folder) == {"a.txt"}
    assert (folder / "a.txt").read_bytes() == TEXT


@needs_nano
def test_rm_keeps_what_the_archive_does_not_hold(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text changes, or grows, between compressing and checking."""
    check = compress_command._check
    for changed in (TEXT[:-1] + b"?", TEXT + b"more", TEXT[:-1]):

        def change_and_check(*arguments: Any, changed: bytes = changed, **settings: Any) -> None:
            (folder / "a.txt").write_bytes(changed)
            check(*arguments, **settings)

        (folder / "a.txt").write_bytes(TEXT)
        monkeypatch.setattr(compress_command, "_check", change_and_check)
        result = invoke("compress", "-2", "--rm", folder / "a.txt")
        assert result.exit_code == RoundTripError.exit_code and "nothing was removed" in result.stderr
        assert (folder / "a.txt").read_bytes() == changed
        assert names(folder) == {"a.txt"}


@posix
def test_links_devices_and_modes(folder: Path) -> None:
    archive = folder / "b.txt.llmz"
    archive.write_bytes(STORED)
    (folder / "link").symlink_to("a.txt")
    assert invoke("decompress", "-f", archive, "-o", folder / "link").exit_code == 0
    assert (folder / "link").is_symlink() and (folder / "a.txt").read_bytes() == NOISE
    (folder / "dangling").symlink_to("nowhere")
    assert invoke("decompress", archive, "-o", folder / "dangling").exit_code == 2
    assert not (folder / "nowhere").exists()

    assert invoke("decompress", archive, "-o", os.devnull).exit_code == 0
    assert isinstance(invoke("decompress", "--rm", archive, "-o", os.devnull).exception, UsageError)
    assert archive.exists()
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)

    archive.chmod(0o4755)
    assert invoke("decompress", archive).exit_code == 0
    assert stat.S_IMODE((folder / "b.txt").stat().st_mode) == 0o755  # whoever runs this lends nobody their rights


def test_several_files_reach_an_unbuffered_standard_output(folder: Path) -> None:
    (folder / "a.llmz").write_bytes(THREE_FRAMES)
    unbuffered = [sys.executable, "-u", "-m", "llmzip", "decompress", "-c", "a.llmz", "a.llmz"]
    result = subprocess.run(unbuffered, cwd=folder, env=environment(), capture_output=True)
    assert (result.returncode, result.stdout) == (0, NOISE * 2), result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="these names are of Unix")
def test_the_names_of_standard_input_and_output(folder: Path) -> None:
    (folder / "a.llmz").write_bytes(THREE_FRAMES)
    with (folder / "log").open("wb") as log:
        log.write(b"kept")
        log.flush()
        arguments = command("decompress", "-f", "/dev/stdin", "-o", "/dev/stdout")
        with (folder / "a.llmz").open("rb") as archive:
            done = subprocess.run(arguments, cwd=folder, env=environment(), stdin=archive, stdout=log)
        assert done.returncode == 0
    assert (folder / "log").read_bytes() == b"kept" + NOISE


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of Windows always wait")
def test_standard_input_that_does_not_wait(folder: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    process = subprocess.Popen(
        command("decompress"),
        cwd=folder,
        env=environment(),
        stdin=reading,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        pipe.write(THREE_FRAMES[:1000])
        time.sleep(1.5)
        pipe.write(THREE_FRAMES[1000:])
    os.close(reading)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, NOISE), errors


def test_recover_and_single_frames(folder: Path) -> None:
    damaged = bytearray(THREE_FRAMES)
    path = folder / "a.llmz"
    path.write_bytes(damaged)
    result = invoke("decompress", "-c", "--frame", "1", path)
    assert (result.exit_code, result.stdout_bytes) == (0, NOISE[1000:2000])
    assert invoke("decompress", "-c", "--frame", "3", path).exit_code == 1

    damaged[1500] ^= 1
    path.write_bytes(damaged)
    result = invoke("decompress", "--recover", "--rm", path)
    assert result.exit_code == 1
    assert (folder / "a").read_bytes() == NOISE[:1000] + NOISE[2000:]
    first, second = result.stderr.splitlines()
    assert "lost bytes" in first and "1,000 bytes of text" in first
    assert "nothing was removed" in second and path.exists()


@needs_nano
def test_threads_do_not_change_the_archive_and_levels_choose_the_model(folder: Path) -> None:
    data = (ROOT / "corpora" / "prose-story.txt").read_bytes()[:12000]
    (folder / "b.txt").write_bytes(data)
    for threads in ("1", "2"):
        target = folder / threads
        assert invoke("compress", "-m", "nano", "-T", threads, folder / "b.txt", "-o", target).exit_code == 0
    assert (folder / "1").read_bytes() == (folder / "2").read_bytes()
    for option, number in (("-1", 1), ("-f3", 3), ("-4", 4), ("--level=9", 9), ("-q", DEFAULT_LEVEL)):
        way = LEVELS[number]
        result = invoke("compress", option, "-cqf", folder / "b.txt")
        predictor = load_predictor(way.predictor)
        assert result.stdout_bytes == codec.compress(data, predictor, stream_tokens=way.stream_tokens)


@needs_nano
def test_without_a_model(folder: Path) -> None:
    data = (ROOT / "corpora" / "server.log").read_bytes()[:9000]
    (folder / "a.txt").write_bytes(data)
    assert run("compress", "-m", "adaptive", "--rm", "a.txt", cwd=folder).returncode == 0
    assert names(folder) == {"a.txt.llmz"}
    (described,) = map(json.loads, invoke("info", "--json", folder / "a.txt.llmz").stdout.splitlines())
    assert described["members"][0]["predictor_name"] == "adaptive"
    assert [frame["kind"] for frame in described["members"][0]["frames"]] == ["memory"]
    assert run("test", "a.txt.llmz", cwd=folder).returncode == 0
    assert run("decompress", "a.txt.llmz", cwd=folder).returncode == 0
    assert (folder / "a.txt").read_bytes() == data
    result = invoke("bench", "-m", "adaptive", "--json", folder / "a.txt")
    report = json.loads(result.stdout)
    assert [row["codec"] for row in report["rows"]][-1] == "llmzip adaptive"
    held = report["codecs"][-1]["receiver_bytes"]
    assert held["tokenizer"] + held["memory"] == load_predictor("adaptive").parameter_bytes


@needs_nano
def test_verbose_tells_frames(folder: Path) -> None:
    for arguments in (("compress", "-2v", "a.txt"), ("decompress", "-vf", "a.txt.llmz"), ("test", "-v", "a.txt.llmz")):
        result = invoke(*arguments[:-1], folder / arguments[-1])
        assert result.exit_code == 0
        first, second = result.stderr.splitlines()
        assert second.startswith("  frame 0: model, ") and second.endswith(" tokens, 1 streams")


# -- Models ---------------------------------------------------------------------------------------------------


@needs_nano
def test_models_that_are_not_there(folder: Path) -> None:
    (folder / "a.llmz").write_bytes(packed(archive_format.MODEL, [TEXT]))
    result = invoke("decompress", folder / "a.llmz")
    assert result.exit_code == 4 and "name a model folder with -m" in result.stderr
    result = invoke("decompress", "-m", "nano", folder / "a.llmz")
    assert result.exit_code == 4 and "was made with 'count'" in result.stderr
    assert names(folder) == {"a.txt", "a.llmz"}
    done = run("compress", "-m", "no-such-model", "a.txt", cwd=folder)
    assert done.returncode == 4
    assert done.stderr.startswith(b"llmzip: 'no-such-model' is neither an embedded model")


@needs_nano
def test_metered_predictor_changes_nothing_and_reports_all() -> None:
    data = (ROOT / "corpora" / "prose-story.txt").read_bytes()[:9000]
    for predictor in (load_predictor("nano"), load_predictor("adaptive", threads=2), CountingPredictor()):
        reported: list[float] = []
        archive = compress(data, metered(predictor, reported.append), frame_bytes=4000)
        assert archive == compress(data, predictor, frame_bytes=4000)
        assert reported == sorted(reported)
        frames = [frame for member in read_info(io.BytesIO(archive)) for frame in member.frames]
        coded = [frame.original_bytes for frame in frames if frame.token_count]
        if predictor.name == "nano":
            assert 0.99 * len(data) < reported[-1] < 1.01 * len(data)
        if predictor.name == "adaptive":
            assert reported[-1] == sum(coded[:-1]) > 0
        reported.clear()
        checked = metered(predictor, reported.append, bytes_per_token=bytes_per_token(frames))
        assert decompress(archive, checked) == data
        assert not coded or reported[-1] == sum(coded)


# -- Output for machines and for people -----------------------------------------------------------------------


def test_info_accounts_for_every_byte(folder: Path) -> None:
    (folder / "a.llmz").write_bytes(THREE_FRAMES + packed(archive_format.STORED, []))
    (folder / "empty.llmz").write_bytes(packed(archive_format.STORED, []))
    result = invoke("info", "--json", folder / "a.llmz", folder / "empty.llmz")
    assert result.exit_code == 0
    several, empty = map(json.loads, result.stdout.splitlines())
    assert several["archive_bytes"] == (folder / "a.llmz").stat().st_size == sum(several["parts"].values())
    assert several["parts"]["stored"] == several["original_bytes"] == len(NOISE)
    assert several["bits_per_byte"] == 8 * several["archive_bytes"] / len(NOISE)
    assert [len(member["frames"]) for member in several["members"]] == [3, 0]
    assert empty["bits_per_byte"] is None
    member = several["members"][0]
    assert (member["predictor_name"], member["format_version"]) == ("count", archive_format.FORMAT_VERSION)
    assert member["fingerprint"] == CountingPredictor.fingerprint[:6].hex()

    result = invoke("info", "-v", folder / "a.llmz")
    for expected in ("count, fingerprint", "3 stored", "3,000 bytes", "frame 2: stored, 1,000 ->", "trailer"):
        assert expected in result.stdout
    (folder / "cut.llmz").write_bytes(STORED[:-1])
    assert invoke("info", folder / "cut.llmz").exit_code == 1


@needs_nano
def test_models_as_they_are() -> None:
    rungs = json.loads(invoke("models", "--json").stdout)
    assert [rung["parameter_count"] for rung in rungs] == sorted(rung["parameter_count"] for rung in rungs)
    assert [rung["name"] for rung in rungs if rung["default"]] == [DEFAULT_RUNG]
    assert f"{DEFAULT_RUNG} *" in invoke("models").stdout


def test_models_fit_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"prose": 1.9, "web": 2.1, "markup": 2.0, "other-language": 2.5}
    card = RungCard(DEFAULT_RUNG, 12_345_678, 23_456_789, kinds, 12.3, Path())
    monkeypatch.setattr("llmzip.predictors.embedded_rungs", lambda: [card])
    table = invoke("models").stdout
    for expected in ("12,345,678", "23,456,789", "12.3", "prose", "web", "markup", "other-", "language", "2.50"):
        assert expected in table
    assert max(map(len, table.splitlines())) <= 80


def test_levels_are_shown_from_fast_to_strong() -> None:
    table = invoke("models", "--pareto").stdout
    assert max(map(len, table.splitlines())) <= 80
    shown = [
        int(word)
        for line in table.splitlines()
        if line.startswith(" -")
        for word in re.findall(r"^-\d|(?<= )-\d", line)
    ]
    assert shown and set(shown) <= {-number for number in LEVELS}
    for heading in ("level", "model", "memory", "bits per", "receiver"):
        assert heading in table
    rows = json.loads(invoke("models", "--pareto", "--json").stdout)["measurements"]
    assert [number for row in rows for number in row["levels"]] == [-number for number in shown]
    assert any(row["on_front"] for row in rows)


@needs_nano
def test_bench(folder: Path) -> None:
    (folder / "empty.txt").write_bytes(b"")
    data = (ROOT / "corpora" / "deutsch.txt").read_bytes()[:4000]
    (folder / "inner").mkdir()
    (folder / "inner" / "[b].txt").write_bytes(data)
    output = folder.parent / "results.json"
    result = invoke("bench", "-m", "nano", "--json", "--output", output, folder)
    assert result.exit_code == 0
    assert "empty.txt: it is empty and left out" in result.stderr
    results = Results.from_json(result.stdout)
    assert output.read_text(encoding="utf-8") == result.stdout
    assert [codec.name for codec in results.codecs] == ["zstd -3", "zstd -19", "xz -9e", "llmzip nano"]
    assert {row.file for row in results.rows} >= {"inner/[b].txt"}
    assert len(results.rows) == 8 and all(row.verified for row in results.rows)
    assert sum(file.original_bytes for file in results.files) == len(data) + len(TEXT)
    assert results.provenance["command"].startswith("llmzip")

    result = invoke("bench", "-m", "nano", "--resume", output, "--files", folder)
    assert "8 of 8 earlier rows are kept" in result.stderr
    for expected in ("inner/[b].txt", "all (2 files)", "llmzip nano", "x zstd", "a receiver holds"):
        assert expected in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert invoke("bench", "-m", "nano", "--resume", output, "--csv", folder).stdout.startswith("file,kind,codec")
    assert "| llmzip nano |" in invoke("bench", "-m", "nano", "--resume", output, "--markdown", folder).stdout


def test_bench_refuses_what_it_cannot_do(folder: Path) -> None:
    assert run("bench", "absent", cwd=folder).returncode == 4
    for arguments in (
        ["--json", "--csv"],
        ["--quick", "--explain"],
        ["--output", "absent/results.json"],
        ["--resume", "absent.json"],
        ["--codec", "zip"],
        ["--codecs", "absent.toml"],
    ):
        result = run("bench", *arguments, ".", cwd=folder)
        assert result.returncode == 2 and result.stderr.count(b"\n") == 1, result.stderr
    (folder / "old.json").write_text("{}")
    assert run("bench", "--resume", "old.json", ".", cwd=folder).returncode == 2


@needs_nano
def test_bench_goes_on_after_a_codec_that_loses_data(folder: Path) -> None:
    copy = f"[{sys.executable!r}, '-c', 'import sys; sys.stdout.write(sys.stdin.read()[1:])']"
    codecs = folder.parent / "codecs.toml"
    codecs.write_text(f"[[codec]]\nname = 'lossy'\ncompress = {copy}\ndecompress = {copy}\n", encoding="utf-8")
    result = invoke("bench", "-m", "nano", "--codecs", codecs, "--json", folder)
    assert result.exit_code == 1
    assert "lossy does not give" in result.stderr
    assert {row.codec for row in Results.from_json(result.stdout).rows} == {*DEFAULT_CODECS, "llmzip nano"}


@needs_nano
def test_bench_keeps_what_is_finished_when_it_is_interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmzip.bench.modelled import Modelled

    def interrupted(self: Modelled, data: bytes) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(Modelled, "decompress", interrupted)
    monkeypatch.setattr("llmzip.cli.bench_progress.warm_up", lambda codec, data: None)
    output = folder.parent / "results.json"
    result = invoke("bench", "-m", "nano", "--output", output, folder)
    assert result.exit_code == 130
    assert "interrupted: 3 rows are finished" in result.stderr
    assert [row.codec for row in Results.from_json(output.read_text()).rows] == list(DEFAULT_CODECS)


def test_corpora(folder: Path) -> None:
    downloads = json.loads(invoke("corpora", "list", "--json").stdout)
    table = invoke("corpora", "list").stdout
    assert downloads and all(download["name"] in table for download in downloads)
    assert max(map(len, table.splitlines())) <= 80
    result = invoke("corpora", "fetch", "no-such-corpus", "--to", folder)
    assert result.exit_code == 4 and "no corpus is called" in result.stderr


# -- Usage ----------------------------------------------------------------------------------------------------


def test_help_and_version(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path)
    for code in ("0    fine", "1    failure", "2    usage", "3    results", "4    a model, corpus", "130  interr"):
        assert code in done.stdout.decode()
    done = run("--version", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith(b"llmzip ") and b"archive format 3" in done.stdout
    assert run(cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("compress -c -o x a.txt", "choose one"),
        ("compress -o x a.txt a.txt", "-o names one file"),
        ("compress --output= a.txt", "-o names no file"),
        ("compress -c --rm a.txt", "--rm needs a file"),
        ("compress --rm -", "--rm needs a file"),
        ("compress -2 -m nano a.txt", "leave one out"),
        ("compress --no-such-option", "No such option"),
        ("decompress --frame 1 a.txt", "--frame takes one archive"),
        ("decompress --frame 1 -c", "go back and forth"),
        ("decompress --recover -", "go back and forth"),
        ("corpora fetch a b --url c", "--url is the address"),
    ],
)
def test_contradictions_are_usage_errors(folder: Path, arguments: str, message: str) -> None:
    done = run(*arguments.split(), cwd=folder)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr.decode()
    assert names(folder) == {"a.txt"}


# -- Signals, full disks, closed pipes ------------------------------------------------------------------------


@posix
@needs_nano
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_interruption_leaves_nothing_half_done(folder: Path, number: signal.Signals, code: int) -> None:
    words = np.random.default_rng(1).choice(SAMPLE.split(" "), 300_000)
    data = " ".join(words).encode()  # minutes of work
    (folder / "big.txt").write_bytes(data)

    # Whoever runs the tests in the background may ignore what is to be tested.
    arguments = after("signal.signal(signal.SIGINT, signal.SIG_DFL)", command("compress", "-2", "--rm", "big.txt"))
    with subprocess.Popen(arguments, cwd=folder, env=environment(), stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while not any(name.startswith(".llmzip-") for name in names(folder)):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == code
    assert b"Traceback" not in errors
    assert names(folder) == {"a.txt", "big.txt"}
    assert (folder / "big.txt").read_bytes() == data


@posix
def test_full_disk(folder: Path) -> None:
    (folder / "a.llmz").write_bytes(STORED)
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    arguments = after(limit, command("decompress", "--rm", "a.llmz"))
    done = subprocess.run(arguments, cwd=folder, env=environment(), capture_output=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().splitlines() == ["llmzip: a.llmz: a: File too large"]
    assert names(folder) == {"a.txt", "a.llmz"}


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", ["decompress -c a.llmz", "decompress a.llmz -o /dev/full", "info a.llmz"])
def test_full_device(folder: Path, arguments: str) -> None:
    (folder / "a.llmz").write_bytes(STORED)
    with open("/dev/full", "wb") as full:
        done = run(*arguments.split(), cwd=folder, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("llmzip: ") and "No space left on device" in line


@posix
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_reader_that_goes_away(folder: Path, monkeypatch: pytest.MonkeyPatch, unbuffered: str) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    (folder / "a.llmz").write_bytes(packed(archive_format.STORED, [NOISE * 200]))
    arguments = command("decompress", "-c", "a.llmz")
    with subprocess.Popen(
        arguments, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.read(10) == NOISE[:10]
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


# -- Terminals ------------------------------------------------------------------------------------------------


class Terminal:
    """A pseudo-terminal: what a person types and sees."""

    def __init__(self) -> None:
        import pty

        self._own, self.end = pty.openpty()
        self._parts: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while part := os.read(self._own, 65536):
                self._parts.append(part)
        except OSError:
            pass  # how some systems say that the other end is closed

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    def seen(self) -> str:
        """All that was shown; the terminal is gone afterwards."""
        os.close(self.end)
        self._reader.join()
        os.close(self._own)
        return b"".join(self._parts).decode()


@pytest.fixture
def terminal() -> Terminal:
    if os.name != "posix":
        pytest.skip("there are no pseudo-terminals")
    return Terminal()


def test_archives_do_not_go_to_or_come_from_terminals(folder: Path, terminal: Terminal) -> None:
    for arguments in ("compress -c a.txt", "compress", "compress -o - a.txt"):
        done = run(*arguments.split(), cwd=folder, capture_output=False, stdout=terminal.end, stderr=subprocess.PIPE)
        assert done.returncode == 2
        assert b"not written to a terminal" in done.stderr
    settings = {"capture_output": False, "stdout": terminal.end, "stderr": subprocess.PIPE}
    assert b"terminal" not in run("compress", "absent", "-o", "with-hyphen", cwd=folder, **settings).stderr
    for arguments, message in (("compress", "name a file"), ("decompress", "name a file"), ("test -", "not read from")):
        done = run(*arguments.split(), cwd=folder, input=None, stdin=terminal.end)
        assert (done.returncode, done.stdout) == (2, b"")
        assert message in done.stderr.decode()
    assert terminal.seen() == ""


@pytest.mark.parametrize(("answer", "code"), [("n", 2), ("y", 0)])
def test_people_are_asked_before_overwriting(folder: Path, terminal: Terminal, answer: str, code: int) -> None:
    (folder / "a.txt.llmz").write_bytes(STORED)
    terminal.type(f"{answer}\n")
    settings = {"input": None, "capture_output": False, "stdin": terminal.end, "stderr": terminal.end}
    done = run("decompress", "-q", "a.txt.llmz", cwd=folder, **settings)
    assert "a.txt exists. Overwrite it? [y/N]" in terminal.seen()
    assert done.returncode == code
    assert (folder / "a.txt").read_bytes() == (TEXT if code else NOISE)


@needs_nano
def test_progress_is_shown_to_people_only(folder: Path, terminal: Terminal) -> None:
    settings = {"capture_output": False, "stdout": subprocess.PIPE, "stderr": terminal.end}
    done = run("compress", "-1c", "a.txt", cwd=folder, **settings)
    shown = terminal.seen()
    assert decompress(done.stdout) == TEXT
    assert "a.txt" in shown and "━" in shown and "bits per byte" in shown


def test_nothing_is_left_where_nothing_can_be_recovered(folder: Path) -> None:
    whole = packed(archive_format.STORED, [NOISE])
    (folder / "b.txt.llmz").write_bytes(whole[:-30])
    done = run("decompress", "--recover", "b.txt.llmz", cwd=folder)
    assert done.returncode == 1 and b"nothing could be recovered" in done.stderr
    assert "b.txt" not in names(folder)
