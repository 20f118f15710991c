"""Files to write: what is refused before work, and what is left when it fails."""

import os
import stat
from pathlib import Path

import pytest

from llmzip.errors import UsageError
from llmzip.targets import append_text, check_targets, discard_unfinished, remove_old, write_text, writing_whole

posix = pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")


def spellings(file: Path) -> list[str]:
    """Other names of a file: relative ones, links, hard links."""
    folder = file.parent
    found = [str(file), os.path.relpath(file), f"{folder}/../{folder.name}/./{file.name}"]
    if os.name == "posix":
        (folder / "link").symlink_to(file.name)
        (folder / "link to link").symlink_to("link")
        os.link(file, folder / "hard")
        (folder / "folder link").symlink_to(folder)
        found += [str(folder / name) for name in ("link", "link to link", "hard", f"folder link/{file.name}")]
    return found


def test_no_target_is_an_input_by_any_name(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"in")
    for name in spellings(tmp_path / "in"):
        with pytest.raises(UsageError, match="is read by this command"):
            check_targets([tmp_path / "out", name], [tmp_path / "in"])
    check_targets([tmp_path / "out", os.devnull, os.devnull], [tmp_path / "in", tmp_path / "absent"])


def test_no_two_targets_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"in")
    for name in spellings(tmp_path / "in"):
        with pytest.raises(UsageError, match="two outputs"):
            check_targets([tmp_path / "in", name])
    with pytest.raises(UsageError, match="two outputs"):
        check_targets([tmp_path / "new", f"{tmp_path}/./new"])


def test_targets_that_cannot_be_written_are_refused_before_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("", ".", "absent/", "absent/x", "file/x", "n" * 252 + ".llmz", "nul\0"):
        with pytest.raises(UsageError):
            check_targets([f"{tmp_path}/{name}" if name else name])
    assert os.listdir(tmp_path) == ["file"]


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everywhere")
def test_folders_that_allow_nothing_are_refused_before_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="does not allow it"):
        check_targets([tmp_path / "x"])


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(KeyError), writing_whole(tmp_path / "a") as file:
        file.write(b"new")
        raise KeyError
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"old"
    with writing_whole(tmp_path / "a") as file:
        file.write(b"new")
        file.seek(0)
        assert file.read() == b"new"
        assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"new"
    with pytest.raises(UsageError, match="meanwhile"), writing_whole(tmp_path / "b", overwrite=False):
        (tmp_path / "b").write_bytes(b"of another")
    assert (tmp_path / "b").read_bytes() == b"of another"


@posix
def test_what_is_half_written_can_be_discarded(tmp_path: Path) -> None:
    with writing_whole(tmp_path / "a", overwrite=True) as file:
        assert len(os.listdir(tmp_path)) == 1
        discard_unfinished()
        assert os.listdir(tmp_path) == []
        (tmp_path / os.path.basename(file.name)).touch()


@posix
def test_times_mode_and_owner_are_those_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "a").touch(0o640)
    os.utime(tmp_path / "a", (1e9, 1e9))
    if os.geteuid() == 0:
        os.chown(tmp_path / "a", 1234, 1235)
    (tmp_path / "a").chmod(0o4640)
    with writing_whole(tmp_path / "b", like=tmp_path / "a"):
        pass
    like, found = (tmp_path / "a").stat(), (tmp_path / "b").stat()
    assert (found.st_uid, found.st_gid, found.st_mtime) == (like.st_uid, like.st_gid, 1e9)
    assert stat.S_IMODE(found.st_mode) == 0o640


@posix
def test_a_group_that_cannot_be_kept_is_given_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refused)
    (tmp_path / "a").touch()
    (tmp_path / "a").chmod(0o674)
    with writing_whole(tmp_path / "b", like=tmp_path / "a"):
        pass
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o604


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_names_the_target(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, writing_whole("/dev/full") as file:
        file.write(bytes(1 << 20))
    assert caught.value.filename == "/dev/full"


def test_every_name_can_stand_in_a_text(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "caf\udce9, café\n")
    append_text(tmp_path / "a", "caf\udce9\n")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "caf\\udce9, café\ncaf\\udce9\n"


def test_old_outputs_are_removed_but_no_folders_and_devices(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "folder").mkdir()
    remove_old([tmp_path / "a", tmp_path / "folder", tmp_path / "absent", os.devnull])
    assert os.listdir(tmp_path) == ["folder"] and os.path.exists(os.devnull)
