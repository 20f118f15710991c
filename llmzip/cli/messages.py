"""What people read on stderr: names, sizes, rates and errors, each in one line. Only ``cli`` imports it."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import typer

from llmzip.errors import LlmzipError

STANDARD = "-"
"""Standard input or output, as a file name on the command line."""

WITHOUT_DECODER = "weights, tokenizer and memory's first state, not the decoder's source, which llmzip bench counts too"
"""What a receiver must hold besides llmzip itself, in the same words wherever it is shown."""


def say(message: str) -> None:
    """Prints a line on stderr, if someone takes it: what was done does not fail for want of a reader."""
    with suppress(OSError):
        typer.echo(message, err=True)


def shown(name: str) -> str:
    """The name in one printable line: line ends, escape codes and undecodable bytes are escaped."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in name)


def title(name: str) -> str:
    """What messages call a file of the command line."""
    return "standard input" if name == STANDARD else shown(name)


@dataclass
class Total:
    """What was done to several files, together."""

    files: int = 0
    before_bytes: int = 0
    after_bytes: int = 0
    seconds: float = 0.0

    def add(self, before_bytes: int, after_bytes: int, seconds: float) -> None:
        """One more file."""
        self.files += 1
        self.before_bytes += before_bytes
        self.after_bytes += after_bytes
        self.seconds += seconds

    def title(self, of_files: int) -> str:
        """What messages call them; of_files: how many there should have been."""
        return f"{self.files:,}" + (f" of {of_files:,}" if self.files < of_files else "") + " files"


def complain(error: LlmzipError | OSError | MemoryError, name: str | None = None) -> int:
    """Says what went wrong, with which file, and returns the exit code."""
    text, code = str(error), 1
    if isinstance(error, LlmzipError):
        code = error.exit_code
    elif isinstance(error, MemoryError):
        text = "there is not enough memory: use fewer --streams, or a smaller model"
    elif error.strerror:
        elsewhere = "" if error.filename in (None, name) else f"{shown(str(error.filename))}: "
        text = elsewhere + error.strerror
    where = "" if name is None else f"{title(name)}: "
    say(f"llmzip: {where}{shown(text)}")
    return code


def counted(number: int, noun: str) -> str:
    """With its noun: 1 byte, 1,000 bytes."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def say_left_out(model: str) -> None:
    """Names what looks like weights in a model's folder and is not loaded."""
    from llmzip.model_folder import open_model_folder

    if not os.path.isdir(model):
        return
    folder = open_model_folder(Path(model))
    if names := folder.left_out:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        loaded = folder.weight_files[0].name + (" and the other shards" if len(folder.weight_files) > 1 else "")
        say(f"llmzip: {shown(model)}: its model is {loaded}; {shown(', '.join(names[:3]))}{more} are not loaded")


def bits_per_byte(archive_bytes: int, original_bytes: int) -> str:
    """How many bits of archive a byte of text takes, in words."""
    return f"{8 * archive_bytes / original_bytes:.3f} bits per byte" if original_bytes else "no bits per byte"


def kilobytes_per_second(byte_count: int, seconds: float) -> str:
    """The rate in units of 1,000 bytes."""
    return f"{byte_count / 1000 / max(seconds, 1e-9):,.1f} KB/s"
