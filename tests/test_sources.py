"""Files to read: which are found, each once, and what is said of the others."""

import os
from pathlib import Path

import pytest

from llmzip.errors import CorpusError, UsageError
from llmzip.sources import IGNORE_NAME, find_sources, read_regular

posix = pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def found_in(folder: Path, exclude: tuple[str, ...] = ()) -> list[str]:
    found = find_sources([folder], exclude=exclude)
    return [path.relative_to(folder).as_posix() for path in found.files]


def test_each_file_once_however_it_is_spelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a", "inner/b")
    monkeypatch.chdir(tmp_path)
    spellings = ["a", "./a", tmp_path / "a", "inner/../a", "."]
    if os.name == "posix":
        (tmp_path / "link").symlink_to("a")
        spellings.append("link")
    found = find_sources(spellings)
    assert found.files == [Path("a"), Path("inner/b")]
    assert len(found.left_out) == len(spellings) and all("taken once" in line for line in found.left_out)


def test_what_is_excluded(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "a.png", "build/x", "docs/a.txt", "docs/b.txt", "docs/deep/c.txt", ".hidden")
    everything = ["a.png", "a.txt", "build/x", "docs/a.txt", "docs/b.txt", "docs/deep/c.txt"]
    assert found_in(tmp_path) == everything
    assert found_in(tmp_path, ("*.png", "build")) == [name for name in everything if name[-1] == "t"]
    assert found_in(tmp_path, ("docs/b.*", "deep/")) == ["a.png", "a.txt", "build/x", "docs/a.txt"]
    (tmp_path / IGNORE_NAME).write_text("# ours\n\nbuild/\n")
    (tmp_path / "docs" / IGNORE_NAME).write_text("deep/c.txt\na.txt\n")
    assert found_in(tmp_path) == ["a.png", "a.txt", "docs/b.txt"]
    assert find_sources([tmp_path / "docs" / "a.txt"]).files  # who names a file wants it
    assert not find_sources([tmp_path / "docs" / "a.txt"], exclude=["*.txt"]).files


def test_what_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a")
    for paths in ([tmp_path / "a", tmp_path / "absent"], [tmp_path / "a" / "b"], []):
        with pytest.raises(CorpusError):
            find_sources(paths).check()
    find_sources([tmp_path / "a"]).check()


@posix
def test_pipes_and_devices_are_refused_or_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UsageError, match="no regular file"):
            find_sources([path]).check()
        with pytest.raises(UsageError, match="no regular file"):
            read_regular(path)
    with pytest.raises(UsageError, match="no regular file"):
        read_regular(tmp_path)
    found = find_sources([tmp_path])
    found.check()
    assert found.files == [tmp_path / "a"] and "pipe" in found.left_out[0]


@posix
def test_what_cannot_be_read_ends_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("absent")
    found = find_sources([tmp_path, tmp_path / "loop"])
    found.check()
    assert found.files == [tmp_path / "a"]
    assert len(found.unreadable) == 3 and all("cannot be read" in line for line in found.unreadable)


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="this system has no /proc")
def test_files_without_a_size_are_refused() -> None:
    with pytest.raises(UsageError, match="copy it"):
        read_regular("/proc/version")


def test_so_much_as_is_asked_for_is_read(tmp_path: Path) -> None:
    write(tmp_path, "abc")
    assert read_regular(tmp_path / "abc") == b"abc"
    assert read_regular(tmp_path / "abc", 2) == b"ab"
    (tmp_path / "empty").touch()
    assert read_regular(tmp_path / "empty") == b""
