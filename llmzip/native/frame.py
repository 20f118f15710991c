"""Whole frames through C: tokens to a payload and back, on several threads, interruptible.

C computes, Python brings the threads: so Ctrl-C works in the middle of a frame, and whoever watches sees how far it is.
May import ``library``, ``predictor`` and ``errors``; ``predictors`` and ``memory`` import it.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ArchiveError, ModelError
from llmzip.native.library import Library, address

GROUPS_A_THREAD = 2
"""Of streams, to encode: so that a thread that is done early finds more to do."""

LOOKS_A_SECOND = 20

POSITIONS = 32
"""Of each stream, computed at once to encode."""

_FINE, _TOO_LARGE, _DAMAGED = 1, 2, 3

Progress = Callable[[int], None]
"""Told how many tokens are done."""


class Frame:
    """One frame being encoded or decoded."""

    def __init__(
        self,
        library: Library,
        model: int | None,
        memory: int | None,
        middle: NDArray[np.int32] | None,
        token_count: int,
        streams: int,
        *,
        threads: int,
    ) -> None:
        """model, memory: handles of C, one of which may be missing; middle: of the tree, where there is memory."""
        self._library, self._model, self._memory, self._middle = library, model, memory, middle
        self._token_count, self._streams, self._threads = token_count, streams, threads
        lengths = np.full(streams, token_count // streams)
        lengths[: token_count % streams] += 1
        self._lengths: list[int] = lengths.tolist()

    def encode(self, tokens: NDArray[np.int64], limit_bytes: int, progress: Progress | None = None) -> bytes | None:
        """The payload of [token_count] tokens, None where it is larger than ``limit_bytes``."""
        table = np.zeros((self._streams, self._lengths[0]), np.int32)
        first = 0
        for row, length in enumerate(self._lengths):
            table[row, :length] = tokens[first : first + length]
            first += length
        groups = min(self._streams, GROUPS_A_THREAD * self._threads if self._threads > 1 else 1)
        handle = self._create(groups, POSITIONS)
        try:
            threads = self._threads if self._model else 1
            encode = self._library.frame_encode
            self._run([partial(encode, handle, address(table), limit_bytes)] * threads, handle, progress)
            if self._library.frame_outcome(handle) == _TOO_LARGE:
                return None
            self._check(handle)
            words = ctypes.c_void_p()
            count = self._library.frame_words(handle, ctypes.byref(words))
            found = (ctypes.c_uint32 * count).from_address(words.value or 0) if count else ()
            return np.array(found, ">u4").tobytes()
        finally:
            self._library.frame_destroy(handle)

    def decode(self, payload: bytes, progress: Progress | None = None) -> NDArray[np.int64]:
        """[token_count]: the tokens of a payload. Raises ArchiveError."""
        table = np.zeros((self._streams, self._lengths[0]), np.int32)
        groups = max(1, min(self._threads, self._streams)) if self._model else 1
        handle = self._create(groups, 1)
        source = np.frombuffer(payload or b"\0", np.uint8)
        try:
            self._library.frame_open(handle, address(source), len(payload), address(table))
            decode = self._library.frame_decode
            tasks = [partial(decode, handle, group) for group in range(groups)]
            self._run(tasks, handle, progress)
            if self._library.frame_outcome(handle) == _DAMAGED:
                raise ArchiveError("the payload cannot be decoded: the archive is damaged")
            self._check(handle)
        finally:
            self._library.frame_destroy(handle)
        return np.concatenate([row[:length] for row, length in zip(table, self._lengths, strict=True)]).astype(np.int64)

    def _create(self, groups: int, positions: int) -> int:
        shape = (self._token_count, self._streams, groups, positions)
        handle = self._library.frame_create(self._model, self._memory, address(self._middle), *shape)
        if not handle:
            raise ModelError("there is not enough memory for this frame: use fewer --streams, or a smaller model")
        return int(handle)

    def _check(self, handle: int) -> None:
        if self._library.frame_outcome(handle) != _FINE:
            raise ModelError("there is not enough memory for this frame: use fewer --streams, or a smaller model")

    def _run(self, tasks: Sequence[Callable[[], Any]], handle: int, progress: Progress | None) -> None:
        """Runs C in threads of its own and waits where an interrupt can be heard."""
        from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

        with ThreadPoolExecutor(len(tasks)) as pool:
            try:
                running = {pool.submit(task) for task in tasks}
                while running:
                    done, running = wait(running, 1 / LOOKS_A_SECOND, FIRST_EXCEPTION)
                    if progress is not None:
                        progress(int(self._library.frame_done(handle)))
                    for one in done:
                        one.result()
            finally:
                self._library.frame_stop(handle)
