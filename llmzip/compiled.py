"""Numba's compiler, with machine code kept on disk. Imports numba (0.4 s), so import it late; imports nothing of ours.

May be imported by whatever has kernels: ``engine``, ``memory``, ``portable`` and ``predictors``.
"""

from collections.abc import Callable
from typing import Any

import numba

Kernel = Callable[..., Any]


def kernel(**options: Any) -> Callable[[Kernel], Kernel]:
    """A decorator: compiles on first use, for all threads at once, with numba's ``options``.

    The machine code is kept where a folder for it can be written. Numba then knows when the kernel's own file changes
    but not when another does: constants of a kernel stand in its file.
    """

    def compile_late(function: Kernel) -> Kernel:
        try:
            compiled: Kernel = numba.njit(function, nogil=True, cache=True, **options)
        except RuntimeError:  # no folder for the cache: compile anew in every process
            compiled = numba.njit(function, nogil=True, **options)
        return compiled

    return compile_late
