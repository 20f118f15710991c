"""Ctrl-C and requests to end: the process is gone within half a second, and nothing half-written is left.

The main thread gets an exception and ends in order. Where it cannot, because it waits for compiled code or for threads
that it has started, a thread that waits for signals removes what is half written and ends the process. Only
``cli.main`` imports it: a library changes no signals.
"""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType

from llmzip.targets import discard_unfinished

PATIENCE_SECONDS = 0.3
"""For the main thread to end in order."""

_ending_in_order = threading.Event()


def end_on_signals() -> None:
    """Sets both up, but leaves alone what someone has asked to ignore, as nohup does."""
    watched = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
    watched = [number for number in watched if signal.getsignal(number) == signal.SIG_DFL]
    for number in watched:
        signal.signal(number, _end)
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        watched.append(signal.SIGINT)
    if os.name == "posix" and watched:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        with suppress(RuntimeError):  # no more threads for this user: the exception has to do
            threading.Thread(target=_watch, args=(reading, watched), daemon=True).start()


def take_time() -> None:
    """For a command that was interrupted and has something left to save or say: it is not ended after its patience.

    A second signal ends it as any other.
    """
    _ending_in_order.set()


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def _watch(reading: int, watched: list[int]) -> None:
    while True:
        numbers = os.read(reading, 1)
        if numbers and numbers[0] in watched:
            time.sleep(PATIENCE_SECONDS)
            if not _ending_in_order.is_set():
                discard_unfinished()
                os._exit(128 + numbers[0])
            _ending_in_order.clear()
