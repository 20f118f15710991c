"""The process and its surroundings: signals, full disks, closed pipes, terminals."""

import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from commands import NOISE, STORED, TEXT, Terminal, after, command, environment, named, needs_nano, packed, posix, run
from conftest import SAMPLE

from llmzip import archive as archive_format
from llmzip.codec import decompress


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
        while not any(name.startswith(".llmzip-") for name in named(folder)):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == code
    assert b"Traceback" not in errors
    assert named(folder) == {"a.txt", "big.txt"}
    assert (folder / "big.txt").read_bytes() == data


@posix
def test_full_disk(folder: Path) -> None:
    (folder / "a.llmz").write_bytes(STORED)
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    arguments = after(limit, command("decompress", "--rm", "a.llmz"))
    done = subprocess.run(arguments, cwd=folder, env=environment(), capture_output=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().splitlines() == ["llmzip: a.llmz: a: File too large"]
    assert named(folder) == {"a.txt", "a.llmz"}


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


@posix
@pytest.mark.parametrize("level", ["-1", "-6"])
def test_ctrl_c_ends_within_half_a_second(folder: Path, level: str) -> None:
    """Whatever compiled code is at work: zstd over 16 MB, a model, memory alone."""
    words = np.random.default_rng(1).choice(SAMPLE.split(" "), 3_000_000)
    (folder / "big.txt").write_bytes(" ".join(words).encode())
    arguments = after("signal.signal(signal.SIGINT, signal.default_int_handler)", command("compress", level, "big.txt"))
    with subprocess.Popen(arguments, cwd=folder, env=environment(), stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not any(name.startswith(".llmzip-") for name in named(folder)):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(1.5)
        assert process.poll() is None
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        seconds = time.monotonic() - started
    assert process.returncode == 130 and errors == b""
    assert named(folder) == {"a.txt", "big.txt"}
    assert seconds < 1.0  # half of that where nobody else uses the machine
