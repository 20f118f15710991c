"""What is measured: predictors and classical codecs, behind one protocol.

Each gives whole archives, headers included, that it can decode alone, and the bytes are those of the codec's own
command-line tool but for its container. May import the codec and what lies below it, and ``bench.results``;
``bench`` and ``cli`` import it.
"""

import bz2
import hashlib
import lzma
import re
import shlex
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from shutil import which
from typing import Any, Protocol

import zstandard

from llmzip.bench.external import External
from llmzip.bench.results import MeasuredCodec
from llmzip.errors import ModelError, UsageError
from llmzip.sources import read_regular

REFERENCE = "zstd -19"
"""What ratios and break-even sizes are against."""

DEFAULT_CODECS = ("zstd -3", REFERENCE, "xz -9e")

_LARGEST_WINDOW_LOG = 31
_SEVEN_ZIP_PROGRAMS = ("7zz", "7z", "7za")
_GZIP_WINDOW = 31  # 15 bits, and 16 for gzip's header and check


class Codec(Protocol):
    """Bytes to an archive and back."""

    @property
    def description(self) -> MeasuredCodec:
        """Its name and every setting that can change a size."""
        ...

    def compress(self, data: bytes) -> bytes:
        """An archive of ``data``."""
        ...

    def decompress(self, archive: bytes) -> bytes:
        """The bytes that ``archive`` was made from."""
        ...


@dataclass(frozen=True, eq=False)
class Classical:
    """A codec of a library: two functions, and what they are called with."""

    description: MeasuredCodec
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes], bytes]


def classical_codec(name: str) -> Codec:
    """The codec that a name such as "zstd -22 --long=27", "xz -9e", "bzip2 -9" or "ppmd -9" describes.

    Raises UsageError where there is none of this name, and ModelError where its library is not installed.
    """
    try:
        program, *options = shlex.split(name) or [""]
    except ValueError as error:
        raise UsageError(f"the codec {name!r} cannot be read ({error}): correct it") from None
    if program not in _MAKERS:
        raise UsageError(
            f"there is no codec {name!r}: use one of {', '.join(_MAKERS)}, or describe it in --codecs FILE"
        )
    lowest, highest, usual, make = _MAKERS[program]
    level, rest = usual, []
    for option in options:
        if found := re.fullmatch(r"-(\d+)(e?)", option):
            level = int(found[1])
            rest += ["e"] if found[2] else []
        else:
            rest.append(option)
    if not lowest <= level <= highest:
        raise UsageError(f"{name!r}: {program} has levels -{lowest} to -{highest}")
    return make(name, level, rest)


def _described(name: str, library: str, **settings: str | int) -> MeasuredCodec:
    return MeasuredCodec(name, "classical", {"library": library, **settings})


def _refuse(name: str, options: Sequence[str]) -> None:
    if options:
        raise UsageError(f"{name!r}: the option {options[0]} is not known here: leave it out")


def _zstd(name: str, level: int, options: list[str]) -> Classical:
    """One frame that says its content's size. With --patch-from=FILE, what a receiver who holds the file needs."""
    prefixes = [option.partition("=")[2] for option in options if option.startswith("--patch-from=")]
    if prefixes:
        _refuse(name, [option for option in options if not option.startswith("--patch-from=")])
        return primed_zstd(name, level, _held(prefixes[-1]))
    longs = [found[1] for option in options if (found := re.fullmatch(r"--long(?:=(\d+))?", option))]
    _refuse(name, [option for option in options if not option.startswith("--long") and option != "--ultra"])
    window_log = int(longs[0] or 27) if longs else 0
    if longs and not 10 <= window_log <= _LARGEST_WINDOW_LOG:
        raise UsageError(f"{name!r}: --long takes a window of 10 to {_LARGEST_WINDOW_LOG} bits")

    def compress(data: bytes) -> bytes:
        if not window_log:
            return zstandard.ZstdCompressor(level=level).compress(data)
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level, source_size=len(data), window_log=window_log, enable_ldm=True
        )
        return zstandard.ZstdCompressor(compression_params=parameters).compress(data)

    library = ".".join(map(str, zstandard.ZSTD_VERSION))
    settings = _described(name, f"zstd {library}", level=level, window_log=window_log)
    return Classical(settings, compress, lambda archive: zstandard.ZstdDecompressor().decompress(archive))


def primed_zstd(name: str, level: int, prefix: bytes) -> Classical:
    """zstd with ``prefix`` in its window before the text begins: the bytes of ``zstd --patch-from``, but its check."""

    @cache
    def held(window_log: int) -> tuple[zstandard.ZstdCompressionDict, zstandard.ZstdCompressionParameters]:
        parameters = zstandard.ZstdCompressionParameters.from_level(level, source_size=1 << window_log)
        prepared = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        prepared.precompute_compress(compression_params=parameters)  # once for all files, with the same result
        return prepared, parameters

    def compress(data: bytes) -> bytes:
        # The window must reach from the end of the text to the beginning of the prefix.
        prepared, parameters = held((len(prefix) + len(data) - 1).bit_length())
        return zstandard.ZstdCompressor(dict_data=prepared, compression_params=parameters).compress(data)

    library = ".".join(map(str, zstandard.ZSTD_VERSION))
    settings: dict[str, str | int] = {
        "library": f"zstd {library}",
        "level": level,
        "prefix_sha256": hashlib.sha256(prefix).hexdigest(),
    }
    description = MeasuredCodec(name, "classical", settings, receiver_bytes={"prefix": len(prefix)})
    raw = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    decompressor = zstandard.ZstdDecompressor(dict_data=raw, max_window_size=1 << _LARGEST_WINDOW_LOG)
    return Classical(description, compress, decompressor.decompress)


def _held(name: str) -> bytes:
    try:
        if prefix := read_regular(name):
            return prefix
        raise UsageError(f"--patch-from: {name} is empty: name another file")
    except OSError as error:
        raise UsageError(f"--patch-from: {name} cannot be read ({error.strerror}): name another file") from None


def _xz(name: str, level: int, options: list[str]) -> Classical:
    """One stream with a 64-bit check, the tool's default."""
    extreme = "e" in options
    _refuse(name, [option for option in options if option != "e"])
    preset = level | (lzma.PRESET_EXTREME if extreme else 0)
    settings = _described(name, "liblzma", level=level, extreme=int(extreme))
    return Classical(settings, lambda data: lzma.compress(data, preset=preset), lzma.decompress)


def _bzip2(name: str, level: int, options: list[str]) -> Classical:
    _refuse(name, options)
    return Classical(_described(name, "libbz2", level=level), lambda data: bz2.compress(data, level), bz2.decompress)


def _gzip(name: str, level: int, options: list[str]) -> Classical:
    """What zlib makes of it, as the gzip of macOS and pigz do; GNU gzip has a deflate of its own."""
    _refuse(name, options)

    def compress(data: bytes) -> bytes:
        compressor = zlib.compressobj(level, zlib.DEFLATED, _GZIP_WINDOW)
        return compressor.compress(data) + compressor.flush()

    settings = _described(name, f"zlib {zlib.ZLIB_RUNTIME_VERSION}", level=level)
    return Classical(settings, compress, lambda archive: zlib.decompress(archive, _GZIP_WINDOW))


def _brotli(name: str, level: int, options: list[str]) -> Classical:
    """With the smallest window that holds all of the data, as the tool has it."""
    _refuse(name, options)
    brotli = _library("brotli")

    def compress(data: bytes) -> bytes:
        window_log = min(24, max(10, (len(data) + 15).bit_length()))
        compressed: bytes = brotli.compress(data, quality=level, lgwin=window_log)
        return compressed

    return Classical(_described(name, f"brotli {version('brotli')}", level=level), compress, brotli.decompress)


def _ppmd(name: str, level: int, options: list[str]) -> External:
    """7-Zip's PPMd by the program itself, with its container of some 130 bytes; the library for it has lost data."""
    _refuse(name, options)
    program = next((found for found in _SEVEN_ZIP_PROGRAMS if which(found)), None)
    if program is None:
        raise ModelError(f"{name!r} needs 7-Zip, and no {' or '.join(_SEVEN_ZIP_PROGRAMS)} is on the path: install it")
    compress = (program, "a", "-t7z", "-m0=PPMd", f"-mx={level}", "-bd", "{output}", "{input}")
    return External(name, compress, (program, "e", "-so", "{input}"))


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise ModelError(f"{name} is not installed: pip install 'llmzip[bench]'") from None


_MAKERS: dict[str, tuple[int, int, int, Callable[[str, int, list[str]], Codec]]] = {
    "zstd": (1, 22, 3, _zstd),
    "xz": (0, 9, 6, _xz),
    "bzip2": (1, 9, 9, _bzip2),
    "gzip": (1, 9, 6, _gzip),
    "brotli": (0, 11, 11, _brotli),
    "ppmd": (1, 9, 9, _ppmd),
}
"""Program -> lowest and highest level, the tool's default, and what makes the codec."""
