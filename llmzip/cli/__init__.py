"""The command line: parses, calls the library, prints and sets the exit code. Nothing imports it.

``main`` is where every error ends: one line on stderr and an exit code, never a traceback for what a user, a file
or a disk may cause. Each command has a module; what they need of numpy, models or tables is imported when they run.
"""

import os
import signal
import sys
from types import FrameType

from llmzip.cli.messages import complain
from llmzip.errors import LlmzipError

INTERRUPTED = 130


def main() -> None:
    """Runs the command line and ends the process with one of the exit codes that ``llmzip --help`` lists."""
    _clean_up_on_signals()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file name must not fail for the terminal's encoding
    code: int | str | None
    try:
        from llmzip.cli.app import app

        app(prog_name="llmzip")
        code = 0
    except SystemExit as end:
        code = end.code
    except (LlmzipError, OSError, MemoryError) as error:
        code = complain(error)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(_flush_stdout(code))


def _clean_up_on_signals() -> None:
    """Makes a request to end an exception, so that half-written files are removed. Ctrl-C is one already."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Not where someone has asked to ignore it, as nohup does.
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def _flush_stdout(code: int | str | None) -> int | str | None:
    """Writes the last of the output. Returns the exit code: ``code``, unless that was fine and this fails."""
    stdout = sys.__stdout__
    try:
        if stdout is not None and not stdout.closed:
            stdout.flush()
    except OSError as error:
        assert stdout is not None
        # What is still buffered goes nowhere; without this, the interpreter would try again and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
        if not code:
            # Nothing to say to a reader that has gone; anything else nobody has heard of yet.
            return 1 if isinstance(error, BrokenPipeError) else complain(error, "standard output")
    return code
