"""Files as a compressor treats them: names, refusals, standard streams, one failure not stopping the others.

Knows nothing of models and archives but the suffix; ``targets`` writes. Only ``cli`` imports it.
"""

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, NoReturn, cast

import typer

from llmzip.archive import SUFFIX
from llmzip.cli.messages import STANDARD, complain, say, shown, title
from llmzip.errors import LlmzipError, UsageError
from llmzip.targets import NamedWriter, check_targets, is_same_file, is_special, naming, writing_whole

_STANDARD_INPUT = ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_STANDARD_OUTPUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
"""Opened by these names, a file that output is appended to would be cut to nothing first."""


def common_target(*, stdout: bool, output: str | None) -> str | None:
    """Where everything goes, if -c or -o says so."""
    return STANDARD if stdout or output in _STANDARD_OUTPUT else output


def named_or_standard(names: list[str] | None) -> list[str]:
    """The named sources, or standard input unless someone would have to type it."""
    if names:
        return [STANDARD if name in _STANDARD_INPUT else name for name in names]
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("name a file, or - for standard input")
    return [STANDARD]


def for_each(names: list[str], action: Callable[[str], None]) -> NoReturn:
    """Does the action to each file, whatever becomes of the others, and ends with the worst exit code."""
    raise typer.Exit(worst_of_each(names, action))


def worst_of_each(names: list[str], action: Callable[[str], None]) -> int:
    """Does the action to each file, whatever becomes of the others. Returns the worst exit code."""
    codes = [0]
    for name in names:
        try:
            action(name)
        except BrokenPipeError:
            raise  # nobody reads the output any more: quietly no more of it
        except (LlmzipError, OSError, MemoryError) as error:
            codes.append(complain(error, name))
    return max(codes)


def check_options(names: list[str], *, stdout: bool, output: str | None, remove: bool) -> None:
    """Refuses options that contradict each other."""
    if stdout and output is not None:
        raise UsageError("-c and -o name two targets: choose one")
    if output == "":
        raise UsageError("-o names no file: name one, or - for standard output")
    if output is not None and len(names) > 1:
        raise UsageError("-o names one file for several sources: leave it out, or use -c")
    if remove and (stdout or output == STANDARD or STANDARD in names):
        raise UsageError("--rm needs a file to remove and a file to keep: leave it out, or name them")
    if remove and any(map(is_special, [*names, output or ""])):
        raise UsageError("--rm is for regular files, not for devices and pipes: leave it out")


def archive_name(source: str, *, force: bool) -> str:
    """Where the archive of a file goes."""
    _refuse_special(source)
    if source.endswith(SUFFIX) and not force:
        raise UsageError(f"it already ends in {SUFFIX}: -f compresses it again")
    return source + SUFFIX


def original_name(source: str) -> str:
    """Where the text of an archive goes."""
    _refuse_special(source)
    name = source.removesuffix(SUFFIX)
    if name == source or not os.path.basename(name):
        raise UsageError(f"the name does not end in {SUFFIX}: say where to write with -o, or use -c")
    return name


def _refuse_special(source: str) -> None:
    if is_special(source):
        raise UsageError("it is no regular file, so no name follows from it: say where to write with -o, or use -c")


def remove_source(source: str, opened: os.stat_result) -> None:
    """Removes a file whose result is on disk. opened: what was read; another file that has taken its name stays."""
    try:
        if not os.path.samestat(os.stat(source), opened):
            raise UsageError("another file has taken this name meanwhile: nothing was removed")
        os.unlink(source)
    except FileNotFoundError:
        say(f"llmzip: {title(source)}: it was removed meanwhile by someone else")


def stdout_is_terminal() -> bool:
    """Whether someone looks at standard output."""
    return sys.stdout is not None and sys.stdout.isatty()


def size_bytes(file: BinaryIO) -> int | None:
    """The size of a regular file; None for what is no such."""
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


@contextmanager
def open_source(source: str) -> Iterator[BinaryIO]:
    """The file, or standard input, to read from."""
    if source == STANDARD:
        if sys.stdin is None:
            raise UsageError("standard input is closed: name a file")
        with suppress(OSError):
            os.set_blocking(sys.stdin.fileno(), True)  # ssh and others leave it so that reading does not wait
        yield sys.stdin.buffer
        return
    if os.path.isdir(source):
        raise UsageError("it is a folder: name the files in it")
    with open(source, "rb") as file:
        yield file


@contextmanager
def open_target(target: str, source: str, *, force: bool) -> Iterator[BinaryIO]:
    """The file, or standard output, to write to. A file can also be read back, and has the source's time and mode.

    Devices and pipes are written as they are, files appear whole or not at all. Raises UsageError where something
    is in the way.
    """
    if target == STANDARD:
        with _standard_output() as stdout:
            yield cast(BinaryIO, NamedWriter(stdout, "standard output"))
        return
    if is_same_file(target, source):
        raise UsageError("source and target are the same file: choose another target")
    check_targets([target])
    may_overwrite = is_special(target) or _may_overwrite(target, force=force)
    like = source if source != STANDARD and os.path.isfile(source) else None
    with writing_whole(target, like=like, overwrite=may_overwrite) as file:
        yield file


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    if sys.stdout is None:
        raise UsageError("standard output is closed: say where to write with -o")
    stdout = sys.stdout.buffer
    if not isinstance(stdout, io.RawIOBase):
        yield stdout
        with naming("standard output"):
            stdout.flush()
        return
    # Python was asked not to buffer: such a file may write a part of what it is given, and only return how much.
    buffered = io.BufferedWriter(stdout)
    try:
        yield cast(BinaryIO, buffered)
        with naming("standard output"):
            buffered.flush()
    finally:
        with suppress(OSError):
            buffered.detach()  # or standard output would be closed with it, before the next file


def _may_overwrite(target: str, *, force: bool) -> bool:
    """Whether a file may be overwritten: nothing is there (False), or it may go (True). Raises UsageError."""
    if not os.path.lexists(target):
        return False
    if not force and not _agreed(f"{shown(target)} exists. Overwrite it? [y/N] "):
        raise UsageError(f"{shown(target)} exists: overwrite it with -f, or name another target with -o")
    return True


def _agreed(question: str) -> bool:
    """Asks where someone is there to answer; elsewhere the answer is no."""
    if sys.stdin is None or sys.stderr is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    typer.echo(question, err=True, nl=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
