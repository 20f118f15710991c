"""Files to write: all that a command is to write is checked before its work, and appears whole or not at all.

Reads no file, prints nothing and asks nobody: whether an old file may be overwritten is for the caller to decide. May
import ``errors``; ``bench`` and ``cli`` import it, and whatever else writes files for users.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from llmzip.errors import UsageError

_Name = str | os.PathLike[str]

_unfinished: set[Path] = set()
"""Hidden files that are being written now."""


def check_targets(targets: Iterable[_Name], inputs: Iterable[_Name] = ()) -> None:
    """Raises UsageError for a target that cannot be written, or that must not be.

    The name is too long, its folder is missing or cannot be written, it is a folder, two targets are one file, or it
    is one of the inputs: by any spelling, symbolic or hard link. Of an input that is a folder, all files are inputs.
    """
    inputs, seen = list(inputs), list[_Name]()
    for target in targets:
        _check_place(target)
        for other in inputs:
            if is_same_file(target, other) or _is_file_below(target, other):
                raise UsageError(f"{target} is read by this command: write to another file")
        for other in seen:
            if os.path.realpath(target) == os.path.realpath(other) or is_same_file(target, other):
                raise UsageError(f"{target} is named for two outputs: give each a file of its own")
        if not is_special(target):
            seen.append(target)


def _check_place(target: _Name) -> None:
    name = os.fspath(target)
    if not name:
        raise UsageError("the name of a file to write is empty: name one")
    if os.path.isdir(name) or name.endswith(("/", os.sep)):
        raise UsageError(f"{name} is a folder: name a file in it")
    try:
        path = os.path.realpath(name)  # a link stays, what it points to is replaced
        os.lstat(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # the name is too long, a part of it is a file, or it holds a NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{name} cannot be written ({reason}): choose another name") from None
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise UsageError(f"{name} cannot be written: its folder does not exist")
    if not is_special(name) and not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{name} cannot be written: its folder does not allow it")


def _is_file_below(target: _Name, folder: _Name) -> bool:
    if not (os.path.isfile(target) and os.path.isdir(folder)):
        return False
    return Path(os.path.realpath(target)).is_relative_to(os.path.realpath(folder))


def is_same_file(one: _Name, other: _Name) -> bool:
    """Whether both names lead to one regular file."""
    try:
        return os.path.isfile(one) and os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def is_special(name: _Name) -> bool:
    """Whether it is a device, a pipe or the like: such are written as they are."""
    return os.path.exists(name) and not os.path.isfile(name) and not os.path.isdir(name)


def remove_old(targets: Iterable[_Name]) -> None:
    """Removes what an earlier run wrote, where a run that fails would leave it looking new."""
    for target in targets:
        if os.path.isfile(target):
            os.unlink(os.path.realpath(target))


@contextmanager
def writing_whole(target: _Name, *, like: _Name | None = None, overwrite: bool = True) -> Iterator[BinaryIO]:
    """A file open for writing and reading, hidden beside ``target`` until all of it is on disk.

    An exception removes it. Errors of writing name the target. Devices and pipes are written as they are.
    like: the file whose times, mode and (where allowed) owner it gets. overwrite: without it, UsageError where a file
    has appeared meanwhile.
    """
    if is_special(target):
        with naming(target), open(target, "wb") as special:
            yield cast(BinaryIO, NamedWriter(special, target))
        return
    path = Path(os.path.realpath(target))
    temporary = path.with_name(f".llmzip-{secrets.token_hex(8)}")
    mode = 0o666 if like is None else 0o600  # until it has that mode nobody else may read it
    _unfinished.add(temporary)
    try:
        with naming(target):
            raw = open(temporary, "x+b", opener=lambda name, flags: os.open(name, flags, mode))
        with _closed(raw, target):
            yield cast(BinaryIO, NamedWriter(raw, target))
            with naming(target):
                raw.flush()
                os.fsync(raw.fileno())
        if like is not None:
            _make_alike(like, temporary)
        if not overwrite and path.exists():
            raise UsageError(f"{target} has appeared meanwhile: it was not overwritten")
        with naming(target):
            os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    finally:
        _unfinished.discard(temporary)
    _sync_folder(path.parent)


@contextmanager
def _closed(file: IO[bytes], target: _Name) -> Iterator[None]:
    """Closes it; that writes what is still buffered, and where it cannot, what came before is what is raised."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            file.close()
        raise
    with naming(target):
        file.close()


def write_text(target: _Name, text: str) -> None:
    """The whole text in UTF-8, or nothing: an earlier file stays until the new one is there.

    Bytes of a file name that are no UTF-8 are written as JSON escapes them, so that every name can stand in a text.
    """
    with writing_whole(target) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def append_text(target: _Name, text: str) -> None:
    """Adds to the end of a text, as ``write_text`` would write it."""
    with naming(target), open(target, "ab") as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def discard_unfinished() -> None:
    """Removes what is half written: for a process that is about to end without coming to its exceptions."""
    for temporary in list(_unfinished):
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def naming(target: _Name) -> Iterator[None]:
    """Gives errors of the system the name of the target, whatever file the system called it by."""
    try:
        yield
    except OSError as error:
        error.filename = os.fspath(target)
        error.filename2 = None
        raise


class NamedWriter:
    """A binary file whose failures to write name it; else it is that file."""

    def __init__(self, file: IO[bytes], name: _Name) -> None:
        self._file, self._name = file, name

    def write(self, data: Any) -> int:
        """As the file's."""
        with naming(self._name):
            return self._file.write(data)

    def flush(self) -> None:
        """As the file's."""
        with naming(self._name):
            self._file.flush()

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._file, attribute)


def _make_alike(like: _Name, target: Path) -> None:
    """Owner, times and mode, as far as the system allows.

    Not set-user-id: the target may belong to someone else. Nor more than the owner's bits for a group that is another.
    """
    try:
        status = os.stat(like)
    except OSError:  # removed meanwhile
        return
    mode = stat.S_IMODE(status.st_mode) & 0o777
    if hasattr(os, "chown"):
        with suppress(OSError):
            os.chown(target, status.st_uid, -1)
        try:
            os.chown(target, -1, status.st_gid)
        except OSError:
            mode &= 0o707
    with suppress(OSError):
        shutil.copystat(like, target)
    with suppress(OSError):
        target.chmod(mode)


def _sync_folder(folder: Path) -> None:
    """Makes a rename last, where folders can be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
