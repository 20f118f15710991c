"""Files in and out: names, refusals, what is removed, what is left when something goes wrong."""

import io
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import (
    NOISE,
    STORED,
    TEXT,
    THREE_FRAMES,
    command,
    environment,
    invoke,
    named,
    needs_nano,
    packed,
    posix,
    run,
)

from llmzip import archive as archive_format
from llmzip import codec
from llmzip.archive import read_info
from llmzip.cli import compress as compress_command
from llmzip.codec import decompress
from llmzip.errors import RoundTripError
from llmzip.levels import LEVELS


@needs_nano
def test_file_and_back(folder: Path) -> None:
    done = run("compress", "-2", "a.txt", cwd=folder)
    assert (done.returncode, done.stdout) == (0, b"")
    assert named(folder) == {"a.txt", "a.txt.llmz"}
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
    assert named(folder) == {"a.txt", *hostile, *(f"{name}.llmz" for name in hostile)}
    assert len(done.stderr.splitlines()) == len(hostile) + 1  # a line each, whatever is in the name, and the total
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
    assert named(folder) == {"a.txt", "a.txt.llmz", "b.txt", "b.txt.llmz", "folder"}
    lines = done.stderr.decode().splitlines()
    assert lines[:2] == [
        "llmzip: absent: No such file or directory",
        "llmzip: folder: it is a folder: name the files in it",
    ]
    assert [line.split(":")[0] for line in lines[2:]] == ["a.txt", "b.txt", "2 of 4 files"]


def test_damage_is_told_and_leaves_nothing(folder: Path) -> None:
    (folder / "good.llmz").write_bytes(STORED)
    (folder / "flipped.llmz").write_bytes(STORED[:-9] + bytes([STORED[-9] ^ 1]) + STORED[-8:])
    (folder / "cut.llmz").write_bytes(STORED[:-500])
    (folder / "other.llmz").write_bytes(b"something else")
    before = named(folder)
    done = run("decompress", "--rm", "flipped.llmz", "cut.llmz", "other.llmz", "good.llmz", cwd=folder)
    assert done.returncode == 1
    assert named(folder) == before - {"good.llmz"} | {"good"}
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
    assert named(folder) == {"a.txt", "b.llmz"}
    done = run("decompress", "--recover", "b.llmz", cwd=folder)
    assert done.returncode == 1 and (folder / "b").read_bytes() == NOISE


def test_test_says_one_line_a_file(folder: Path) -> None:
    (folder / "a.llmz").write_bytes(STORED)
    (folder / "b.llmz").write_bytes(STORED * 2)
    result = invoke("test", folder / "a.llmz", folder / "b.llmz")
    assert (result.exit_code, result.stdout) == (0, "")
    assert [": fine, " in line for line in result.stderr.splitlines()] == [True, True, True]
    result = invoke("test", "-q", folder / "a.llmz")
    assert (result.exit_code, result.output) == (0, "")
    assert named(folder) == {"a.txt", "a.llmz", "b.llmz"}


def test_existing_files_are_kept_unless_forced(folder: Path) -> None:
    (folder / "a.txt.llmz").write_bytes(STORED)
    result = invoke("decompress", folder / "a.txt.llmz")
    assert result.exit_code == 2
    assert "exists: overwrite it with -f" in result.stderr
    assert (folder / "a.txt").read_bytes() == TEXT
    assert invoke("decompress", "-f", folder / "a.txt.llmz").exit_code == 0
    assert (folder / "a.txt").read_bytes() == NOISE
    assert named(folder) == {"a.txt", "a.txt.llmz"}


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
    assert named(folder) == {"a.txt", "b.llmz", "b.llmz.llmz"}


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
    assert named(folder) == {"a.txt.llmz"}
    assert invoke("decompress", "--rm", folder / "a.txt.llmz").exit_code == 0
    assert named(folder) == {"a.txt"}
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
        assert named(folder) == {"a.txt"}


@posix
@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_rm_and_a_source_that_goes_or_is_replaced_meanwhile(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """The result stays: it is whole. What has taken the name of the source stays too."""
    source = folder / ("a.txt" if command == "compress" else "b.llmz")
    target = folder / ("a.txt.llmz" if command == "compress" else "b")
    work = codec.decompress_file  # which checks, or decompresses
    for replaced in (False, True):
        source.write_bytes(TEXT if command == "compress" else STORED)

        def go_meanwhile(*arguments: Any, replaced: bool = replaced, **settings: Any) -> Any:
            source.unlink(missing_ok=True)
            if replaced:
                source.write_bytes(b"another")
            return work(*arguments, **settings)

        with monkeypatch.context() as patch:
            patch.setattr(codec, "decompress_file", go_meanwhile)
            result = invoke(command, "-f", *(["-1"] if command == "compress" else []), "--rm", source)
        assert result.exit_code == (2 if replaced else 0), result.output
        assert ("another file has taken" if replaced else "removed meanwhile") in result.stderr
        assert source.exists() == replaced and (not replaced or source.read_bytes() == b"another")
        if command == "compress":
            assert decompress(target.read_bytes()) == TEXT
        else:
            assert target.read_bytes() == NOISE


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_is_kept(folder: Path) -> None:
    os.chown(folder / "a.txt", 1234, 1235)
    assert invoke("compress", "-1", folder / "a.txt").exit_code == 0
    (folder / "a.txt").unlink()
    assert invoke("decompress", folder / "a.txt.llmz").exit_code == 0
    for name in ("a.txt", "a.txt.llmz"):
        status = (folder / name).stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 1235, 0o640)


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
    assert invoke("decompress", "--rm", archive, "-o", os.devnull).exit_code == 2
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


def test_nothing_is_left_where_nothing_can_be_recovered(folder: Path) -> None:
    whole = packed(archive_format.STORED, [NOISE])
    (folder / "b.txt.llmz").write_bytes(whole[:-30])
    done = run("decompress", "--recover", "b.txt.llmz", cwd=folder)
    assert done.returncode == 1 and b"nothing could be recovered" in done.stderr
    assert "b.txt" not in named(folder)
