"""Runs commands as people and scripts do: in a process of their own, or in this one where that is enough."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CountingPredictor
from typer.testing import CliRunner, Result

import llmzip
from llmzip import archive as archive_format
from llmzip.cli.app import app
from llmzip.predictors import embedded_rungs

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


def invoke(*arguments: str | Path, columns: int = 80) -> Result:
    """The command in this process, where the model is compiled already; errors end as they do in ``main``."""
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, [str(argument) for argument in arguments])


def named(folder: Path) -> set[str]:
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
