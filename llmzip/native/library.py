"""The shared library: found beside this file, its kernels tried before they are believed.

It holds the same program compiled for several processors; a function of it is asked for by its name in C and gets the
ending of the kernels in use. No Python is called from C, and calls release the interpreter's lock.
"""

import ctypes
import platform
import sys
import warnings
from ctypes import POINTER, Structure, c_double, c_float, c_int32, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATH = Path(__file__).with_name({"win32": "_native.dll", "darwin": "_native.dylib"}.get(sys.platform, "_native.so"))

PREFERRED = ("vnni", "avx2", "plain")
"""Names of kernels, the fastest first."""


class MatrixSetup(Structure):
    """``matrix_setup`` of model.h."""

    _fields_ = (
        ("outputs", c_int32),
        ("inputs", c_int32),
        ("part_count", c_int32),
        ("part_inputs", c_void_p),
        ("weights", c_void_p),
        ("scale", c_void_p),
        ("bias", c_void_p),
    )


class ModelSetup(Structure):
    """``model_setup`` of model.h."""

    _fields_ = (
        *((name, c_int32) for name in "vocabulary hidden layers heads groups dim feed window start".split()),
        ("epsilon", c_double),
        ("score_unit", c_float),
        ("value_unit", c_float),
        ("peak_unit", c_float),
        ("embedding", c_void_p),
        ("matrices", POINTER(MatrixSetup)),
        ("exp", c_void_p),
        ("sigmoid", c_void_p),
        ("rotary", c_void_p * 4),
        ("order", c_void_p),
        ("path_start", c_void_p),
        ("path_middle", c_void_p),
        ("logarithm", c_void_p),
    )


SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "runs_here": (c_int32, ()),
    "self_test": (c_int32, ()),
    "model_create": (c_void_p, (POINTER(ModelSetup),)),
    "model_destroy": (None, (c_void_p,)),
    "streams_create": (c_void_p, (c_void_p, c_int32, c_int32)),
    "streams_destroy": (None, (c_void_p,)),
    "streams_read": (None, (c_void_p, c_void_p, c_int32, c_int32)),
    "streams_logits": (None, (c_void_p, c_int32, c_void_p)),
    "streams_frequencies": (None, (c_void_p, c_int32, c_void_p)),
    "streams_intervals": (None, (c_void_p, c_void_p, c_void_p, c_void_p)),
    "frame_create": (c_void_p, (c_void_p, c_void_p, c_void_p, c_int32, c_int32, c_int32, c_int32)),
    "frame_destroy": (None, (c_void_p,)),
    "frame_encode": (None, (c_void_p, c_void_p, c_int64)),
    "frame_open": (None, (c_void_p, c_void_p, c_size_t, c_void_p)),
    "frame_decode": (None, (c_void_p, c_int32)),
    "frame_done": (c_int64, (c_void_p,)),
    "frame_stop": (None, (c_void_p,)),
    "frame_outcome": (c_int32, (c_void_p,)),
    "frame_words": (c_int64, (c_void_p, POINTER(c_void_p))),
}
"""Of every function: what it returns and what it takes."""


class Library:
    """The functions compiled with one set of kernels, by their names in C."""

    def __init__(self, loaded: ctypes.CDLL, kernels: str) -> None:
        self.kernels = kernels
        self._loaded = loaded

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._loaded, f"{name}_{self.kernels}")
        if name in SIGNATURES:
            function.restype, function.argtypes = SIGNATURES[name]
        setattr(self, name, function)
        return function


@cache
def available() -> tuple[Library, ...]:
    """The kernels that run on this processor and pass their test, the fastest first; none where none was compiled."""
    try:
        loaded = ctypes.CDLL(str(PATH))
    except OSError:
        return ()
    found = []
    for kernels in PREFERRED:
        library = Library(loaded, kernels)
        if not hasattr(loaded, f"self_test_{kernels}") or not library.runs_here():
            continue
        if library.self_test():
            found.append(library)
        else:
            warnings.warn(
                f"llmzip's {kernels!r} kernels compute wrongly on this processor ({platform.processor()}) and are not "
                "used: please report it",
                RuntimeWarning,
                stacklevel=2,
            )
    return tuple(found)


def library(kernels: str | None = None) -> Library | None:
    """The library with these kernels, or with the fastest; None where there is none."""
    return next((one for one in available() if kernels in (None, one.kernels)), None)


def address(array: NDArray[Any] | None) -> int | None:
    """Where a contiguous array lies; it must be kept as long as C uses it."""
    if array is None:
        return None
    assert array.flags.c_contiguous
    return int(array.ctypes.data)


def int32(values: NDArray[Any]) -> NDArray[np.int32]:
    """The same as contiguous int32."""
    return np.ascontiguousarray(values, np.int32)
