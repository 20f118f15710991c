"""Codecs that are other programs: commands from a file, run without a shell, with a limit of time.

The file is TOML. May import ``bench.results``, ``documents`` and ``errors``; ``bench.codecs``
and ``cli`` import it.
"""

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

from msgspec import Meta

from llmzip.bench.results import MeasuredCodec
from llmzip.documents import Positive, read
from llmzip.errors import DocumentError, ModelError, RoundTripError

TIME_LIMIT_SECONDS = 600.0
"""For one command, where the file says nothing else."""

_OWN_GROUP = 0 if os.name == "posix" else None
"""What ``Popen`` is told, so that a program and all that it starts can be ended together."""

_REMEDY = "see docs/bench.md"


class External:
    """A program that compresses and one that decompresses, each a list of arguments.

    {input} and {output} in an argument become paths of files; without them the program reads standard input and
    writes standard output. Raises ModelError where a program is missing, RoundTripError where it fails.
    """

    def __init__(
        self, name: str, compress: Sequence[str], decompress: Sequence[str], time_limit_seconds: float | None = None
    ) -> None:
        self._compress, self._decompress = tuple(compress), tuple(decompress)
        self._time_limit_seconds = time_limit_seconds or TIME_LIMIT_SECONDS
        self.commands = list(self._compress), list(self._decompress)
        settings: dict[str, str | int] = {"compress": shlex.join(compress), "decompress": shlex.join(decompress)}
        self.description = MeasuredCodec(name, "external", settings, exact=False)

    def compress(self, data: bytes) -> bytes:
        """What the first program makes of ``data``."""
        return self._run(self._compress, data)

    def decompress(self, archive: bytes) -> bytes:
        """What the second program makes of ``archive``."""
        return self._run(self._decompress, archive)

    def _run(self, command: Sequence[str], data: bytes) -> bytes:
        name = self.description.name
        with tempfile.TemporaryDirectory(prefix="llmzip-") as folder:
            # With suffixes, since some programs add one of their own to a name that has none.
            source, target = Path(folder, "input.bin"), Path(folder, "output.bin")
            source.write_bytes(data)
            paths = {"{input}": str(source), "{output}": str(target)}
            arguments = [_filled(argument, paths) for argument in command]
            reads_file, writes_file = (any(mark in part for part in command) for mark in paths)
            try:
                with source.open("rb") as file:
                    result = run_group(arguments, subprocess.DEVNULL if reads_file else file, self._time_limit_seconds)
            except (FileNotFoundError, PermissionError) as error:
                raise ModelError(f"{name}: {arguments[0]} cannot be run ({error.strerror}): install it") from None
            except subprocess.TimeoutExpired:
                limit = f"{self._time_limit_seconds:g} seconds"
                raise RoundTripError(
                    f"{name}: {arguments[0]} took longer than {limit}: raise time_limit_seconds"
                ) from None
            if result.returncode:
                said = result.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
                raise RoundTripError(f"{name}: {arguments[0]} ended with {result.returncode} ({said[0]}): correct it")
            if not writes_file:
                return result.stdout
            if not target.exists():
                raise RoundTripError(f"{name}: {arguments[0]} wrote no {{output}}: correct its arguments")
            return target.read_bytes()


def run_group(
    arguments: Sequence[str | Path], stdin: int | BinaryIO, limit_seconds: float | None
) -> "subprocess.CompletedProcess[bytes]":
    """As ``subprocess.run``; but whatever ends it, the programs that it started end with it.

    A program may be a script that starts others: they are a process group of their own.
    """
    with subprocess.Popen(
        arguments, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=_OWN_GROUP
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=limit_seconds)
        except BaseException:  # of Ctrl-C, too
            _end(process)
            raise
    return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if _OWN_GROUP is None:
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _filled(argument: str, paths: dict[str, str]) -> str:
    for mark, path in paths.items():
        argument = argument.replace(mark, path)
    return argument


@dataclass(frozen=True)
class _Described:
    """A ``[[codec]]`` table."""

    name: Annotated[str, Meta(pattern=r"\S")]
    compress: str | list[str]
    decompress: str | list[str]
    time_limit_seconds: Positive | None = None


@dataclass(frozen=True)
class _CodecFile:
    codec: tuple[_Described, ...]


def read_external_codecs(path: Path) -> list[External]:
    """The codecs of a file with a ``[[codec]]`` table each: name, compress, decompress, time_limit_seconds (optional).

    A command is a list of arguments, or one string that is split as a shell would. Raises DocumentError.
    """
    codecs = []
    for index, table in enumerate(read(path, _CodecFile, form="toml", closed=True, remedy=_REMEDY).codec):
        where = f"{path}: codec[{index}]"
        compress, decompress = _command(table.compress, where), _command(table.decompress, where)
        codecs.append(External(table.name, compress, decompress, table.time_limit_seconds))
    return codecs


def _command(value: str | list[str], where: str) -> list[str]:
    try:
        if arguments := shlex.split(value) if isinstance(value, str) else value:
            return arguments
        reason = "it is empty"
    except ValueError as error:
        reason = str(error)
    raise DocumentError(f"{where}: {value!r} is no command ({reason}): {_REMEDY}")
