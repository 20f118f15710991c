"""What is measured: predictors and classical codecs, behind one protocol.

Each gives whole archives, headers included, that it can decode alone. May import the codec and what lies below it;
``bench`` and ``cli`` import it.
"""

import lzma
from typing import Protocol

import zstandard

from llmzip import codec
from llmzip.predictor import Predictor


class Codec(Protocol):
    """Bytes to an archive and back."""

    @property
    def name(self) -> str:
        """What tables call it: the program and its setting."""
        ...

    def compress(self, data: bytes) -> bytes:
        """An archive of ``data``."""
        ...

    def decompress(self, archive: bytes) -> bytes:
        """The bytes that ``archive`` was made from."""
        ...


class Zstd:
    """zstd as a library, at one level."""

    def __init__(self, level: int) -> None:
        self._level = level
        self.name = f"zstd -{level}"

    def compress(self, data: bytes) -> bytes:
        """One zstd frame that says its content's size."""
        return zstandard.ZstdCompressor(level=self._level).compress(data)

    def decompress(self, archive: bytes) -> bytes:
        """The content of the frame."""
        return zstandard.ZstdDecompressor().decompress(archive)


class Xz:
    """xz at its strongest preset."""

    name = "xz -9e"

    def compress(self, data: bytes) -> bytes:
        """One xz stream with the default check."""
        return lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)

    def decompress(self, archive: bytes) -> bytes:
        """The content of the stream."""
        return lzma.decompress(archive)


class Llmzip:
    """llmzip with one predictor."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.name = f"llmzip {predictor.name}"

    def compress(self, data: bytes) -> bytes:
        """A whole llmzip archive."""
        return codec.compress(data, self._predictor)

    def decompress(self, archive: bytes) -> bytes:
        """The text of the archive, decoded with the same predictor."""
        return codec.decompress(archive, self._predictor)


REFERENCE = Zstd(19)
"""What ratios are against."""


def classical_codecs() -> list[Codec]:
    """The codecs that every bench shows, weakest first."""
    return [Zstd(3), REFERENCE, Xz()]
