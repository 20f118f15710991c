"""Files to read: regular ones only, each once however it is spelt, and one that cannot be read ends nothing.

Finds them in folders, leaves out what was asked to be left out, and says what is missing and why. Decides on no exit
code, prints nothing. May import ``errors``; ``bench`` and ``cli`` import it.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

from llmzip.errors import CorpusError, LlmzipError, UsageError

IGNORE_NAME = ".llmzipignore"
"""Of a file with patterns, one a line, of what is left out of its folder; # begins a comment."""


@dataclass
class Sources:
    """What was found: ``files`` in order, each once. Sentences say what was left out, and what could not be read."""

    named: tuple[Path, ...]
    """What was asked for: files and folders."""
    files: list[Path] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """If there are any, the run fails at its end."""
    refused: LlmzipError | None = None

    def check(self) -> None:
        """Raises what was found first that makes no sense to begin with: UsageError or CorpusError."""
        if self.refused is not None:
            raise self.refused
        if not self.files:
            listed = ", ".join(map(str, self.named)) or "the request"
            reason = self.unreadable[0] if self.unreadable else f"no files in {listed}"
            raise CorpusError(f"{reason}: name a folder that holds some, or fetch a corpus first")


def find_sources(paths: Iterable[str | Path], *, exclude: Sequence[str] = ()) -> Sources:
    """Each path itself, or every file below it, sorted by name. Raises nothing: see ``Sources.check``.

    exclude: patterns of the shell (``*.png``, ``build``, ``docs/*``), for the name of a file or folder or for its path
    below the named one. Below a folder, hidden entries and links to folders are left out, and so is what its
    ``.llmzipignore`` says, by the same patterns.
    """
    found, seen = Sources(tuple(Path(path) for path in paths)), set[str]()
    for path in found.named:
        for file in _expanded(path, tuple(exclude), found):
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                found.files.append(file)
            else:
                found.left_out.append(f"{file}: it is taken once, though it is named more than once")
    return found


def open_regular(path: str | Path) -> BinaryIO:
    """The file, open for reading. Waits for nobody; raises UsageError for a device, a pipe or a folder, and OSError."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _not_regular(path)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | Path, limit_bytes: int | None = None) -> bytes:
    """What the file holds, or its first ``limit_bytes``: never more than the size that it had when it was opened.

    Raises as ``open_regular`` does, and UsageError for a file of the system whose size says nothing (``/proc``) and for
    one that is cut short while it is read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        wanted = size if limit_bytes is None else min(size, limit_bytes)
        data = file.read(wanted)
        if len(data) < wanted or not size and file.read(1):
            raise UsageError(f"{path} holds more or less than its size says: copy it, and name the copy")
        return data


_Rule = tuple[Path, tuple[str, ...]]
"""Patterns, and the folder whose contents they are for."""


def _expanded(path: Path, exclude: tuple[str, ...], found: Sources) -> Iterator[Path]:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        found.refused = found.refused or CorpusError(f"{path} does not exist: name files or folders that do")
    except (OSError, ValueError) as error:
        found.unreadable.append(f"{path}: it cannot be read ({_reason(error)})")
    else:
        if stat.S_ISDIR(mode):
            yield from _below(path, [(path, exclude)], found)
        elif not stat.S_ISREG(mode):
            found.refused = found.refused or _not_regular(path)
        elif not _is_excluded(path, [(path.parent, exclude)]):
            yield path


def _below(folder: Path, rules: list[_Rule], found: Sources) -> Iterator[Path]:
    try:
        rules = [*rules, (folder, _ignored(folder))]
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        found.unreadable.append(f"{folder}: it cannot be read ({_reason(error)})")
        return
    for entry in entries:
        if entry.name.startswith(".") or _is_excluded(entry, rules):
            continue
        try:
            mode = entry.stat().st_mode
        except OSError as error:  # a link to nothing, or to itself
            found.unreadable.append(f"{entry}: it cannot be read ({_reason(error)})")
            continue
        if stat.S_ISREG(mode):
            yield entry
        elif not stat.S_ISDIR(mode):
            found.left_out.append(f"{entry}: it is no regular file, and left out")
        elif not entry.is_symlink():
            yield from _below(entry, rules, found)


def _ignored(folder: Path) -> tuple[str, ...]:
    try:
        text = read_regular(folder / IGNORE_NAME).decode("utf-8", "surrogateescape")
    except (FileNotFoundError, UsageError):
        return ()
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def _is_excluded(path: Path, rules: list[_Rule]) -> bool:
    for folder, patterns in rules:
        place = path.relative_to(folder).as_posix()
        for pattern in patterns:
            pattern = pattern.rstrip("/")
            if fnmatchcase(path.name, pattern) or fnmatchcase(place, pattern):
                return True
    return False


def _not_regular(path: str | Path) -> UsageError:
    return UsageError(f"{path} is no regular file: copy what it gives into one, and name that")


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
