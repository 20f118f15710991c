"""Numba's compiler, with machine code kept on disk. Imports numba (0.4 s), so import it late; imports nothing of ours.

May be imported by whatever has kernels: ``engine``, ``memory``, ``portable`` and ``predictors``.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba
from numba.core.caching import FunctionCache

Kernel = Callable[..., Any]


class _SpareCache(FunctionCache):
    """Numba's cache on disk, whose failures cost only time: a damaged file is begun anew, a full disk left."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:  # what a damaged pickle raises has many types
            with suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


def kernel(**options: Any) -> Callable[[Kernel], Kernel]:
    """A decorator: compiles on first use, for all threads at once, with numba's ``options``.

    The machine code is kept where a folder for it can be written. Numba then knows when the kernel's own file changes
    but not when another does: constants of a kernel stand in its file.
    """

    def compile_late(function: Kernel) -> Kernel:
        compiled: Any = numba.njit(function, nogil=True, **options)
        with suppress(RuntimeError):  # no folder for the cache: compile anew in every process
            compiled._cache = _SpareCache(function)  # type: ignore[no-untyped-call]  # as ``cache=True`` does with numba's own
        kept: Kernel = compiled
        return kept

    return compile_late
