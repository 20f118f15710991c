"""The command line: parses, calls the library, prints and sets the exit code. Nothing imports it.

``main`` is where every error ends: one line on stderr and an exit code, never a traceback for what a user, a file
or a disk may cause. Each command has a module; what they need of numpy, models or tables is imported when they run.
"""

import os
import signal
import sys

from llmzip.cli.messages import complain, say, shown
from llmzip.cli.signals import end_on_signals
from llmzip.errors import LlmzipError
from llmzip.targets import discard_unfinished

INTERRUPTED = 130


def main() -> None:
    """Runs the command line and ends the process with one of the exit codes that ``llmzip --help`` lists."""
    end_on_signals()
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
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        say("llmzip: no more threads can be started: allow more processes, or use -T 1")
        code = 1
    except BaseException as panic:  # what compiled libraries in Rust raise is no Exception
        if type(panic).__name__ != "PanicException":
            raise
        say(f"llmzip: a library gave up ({shown(str(panic))}): use another model, or allow more processes")
        code = 1
    code = _flush_stdout(code)
    if isinstance(code, int) and code >= INTERRUPTED - signal.SIGINT:
        discard_unfinished()
        os._exit(code)  # threads that are still at work would be waited for
    sys.exit(code)


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
