"""Intervals of integer frequencies to payload bytes and back: the only importer of constriction.

Knows no tokens, streams or files. May import ``errors`` and ``predictor``.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ArchiveError
from llmzip.predictor import FREQUENCY_TOTAL, PRECISION_BITS

_queue = constriction.stream.queue
# Given weights f - 1 in float64, this model's intervals are exactly f: its scale factor becomes 1.0.
# ``perfect=False`` is always stated: without it constriction prints a warning to stdout and takes a second a token.
_model: Any = constriction.stream.model.Categorical(perfect=False)

_watchers: list[dict[bytes, int]] = []

MICROBITS = 1_000_000
"""Units in one bit."""


@contextmanager
def watched_payloads() -> Iterator[dict[bytes, int]]:
    """While it is open, every payload that any thread encodes is put in here, with the microbits it costs at best."""
    payloads: dict[bytes, int] = {}
    _watchers.append(payloads)
    try:
        yield payloads
    finally:
        _watchers[:] = [watcher for watcher in _watchers if watcher is not payloads]


def encode(cumulative: NDArray[np.int64], frequency: NDArray[np.int64]) -> bytes:
    """The payload that codes the intervals [cumulative, cumulative + frequency) of 2^24, in order; both [n] int64."""
    encoder = Encoder()
    encoder.encode(cumulative, frequency)
    return encoder.payload()


def _table(cumulative: NDArray[np.int64], frequency: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Symbols and their tables of three frequencies.

    Only the interval matters to the coder, so a table of three symbols (what lies below, the interval, what lies
    above) gives the same words as the whole table of frequencies.
    """
    below, own = cumulative, frequency
    above = FREQUENCY_TOTAL - below - own
    # The model has no empty symbols: where nothing lies on one side, the other side is cut in two.
    first, last = below == 0, above == 0
    table = np.stack(
        (
            np.where(first, own, np.where(last, below - 1, below)),
            np.where(first, above - 1, np.where(last, 1, own)),
            np.where(first, 1, np.where(last, own, above)),
        ),
        axis=1,
    )
    return np.where(first, 0, np.where(last, 2, 1)).astype(np.int32), table


class Encoder:
    """Takes intervals, in order, and gives the payload that codes them."""

    def __init__(self) -> None:
        self._encoder = _queue.RangeEncoder()
        self._watchers = tuple(_watchers)
        self._ideal = IdealBits()

    def encode(self, cumulative: NDArray[np.int64], frequency: NDArray[np.int64]) -> None:
        """Adds the intervals [cumulative, cumulative + frequency) of 2^24; both [n] int64."""
        symbols, table = _table(cumulative, frequency)
        self._encoder.encode(symbols, _model, (table - 1).astype(np.float64))
        if self._watchers:
            self._ideal.add(frequency)

    def payload(self) -> bytes:
        """The payload of everything so far."""
        words: NDArray[np.uint32] = self._encoder.get_compressed()
        payload = shortened(words.astype(">u4").tobytes())
        for watcher in self._watchers:
            watcher[payload] = self._ideal.microbits
        return payload


_STATE = (1 << 64) - 1


class Decoder:
    """Reads tokens from a payload, given the frequencies of each."""

    def __init__(self, payload: bytes) -> None:
        padded = payload + bytes(-len(payload) % 4)
        self._decoder = _queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))

    def decode(self, frequencies: NDArray[np.int64]) -> NDArray[np.int64]:
        """The next token of each row. frequencies: [n, vocabulary] int64; returns [n] int64. Raises ArchiveError."""
        weights = (frequencies - 1).astype(np.float64)
        tokens = np.empty(len(weights), np.int64)
        try:
            for row in range(len(weights)):
                tokens[row] = self._decoder.decode(_model, weights[row : row + 1])[0]
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # constriction's own panics are not Exceptions
            raise ArchiveError(f"the payload cannot be decoded ({error}): the archive is damaged") from None
        return tokens


def shortened(payload: bytes) -> bytes:
    """Without up to three zeros at its end, which decoders read anyway.

    Not more, so that a payload is never much shorter than its tokens cost: ``frames`` checks that it is not.
    """
    return payload[: max(len(payload) - 3, len(payload.rstrip(b"\0")))]


class IntervalReader:
    """Reads intervals of 2^24 whose bounds follow from what was read before: the same decoder, in plain integers."""

    def __init__(self, payload: bytes) -> None:
        words, state = begin_decoding(payload)
        self._words, self._next = words.tolist(), int(state[3])
        self._lower, self._range, self._point = (int(value) for value in state[:3])

    def place(self) -> int:
        """The number in 0 .. 2^24 - 1 whose interval comes next. Raises ArchiveError."""
        place = ((self._point - self._lower) & _STATE) // (self._range >> PRECISION_BITS)
        if place >= FREQUENCY_TOTAL:
            raise ArchiveError("the payload cannot be decoded: the archive is damaged")
        return place

    def take(self, below: int, own: int) -> None:
        """Goes on behind the interval [below, below + own), which holds ``place()``."""
        scale = self._range >> PRECISION_BITS
        self._lower, self._range = (self._lower + scale * below) & _STATE, scale * own
        if self._range >> 32 == 0:
            word = self._words[self._next] if self._next < len(self._words) else 0
            self._next += 1
            self._lower, self._range = self._lower << 32 & _STATE, self._range << 32
            self._point = (self._point << 32 | word) & _STATE


def begin_decoding(payload: bytes) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """A payload's words, and where constriction's range decoder stands before it: for compiled code that decodes.

    Returns words [n] and lower, range, point, next word [4].
    """
    padded = payload.ljust(8, b"\0") + bytes(-len(payload) % 4)
    words = np.frombuffer(padded, ">u4", len(padded) // 4).astype(np.uint32)
    first = words[:2].tolist()
    return words, np.array([0, (1 << 64) - 1, (first[0] << 32) | first[1], 2], np.uint64)


def ideal_bits(frequency: NDArray[np.int64]) -> float:
    """What the intervals cost at best: the sum of -log2(frequency / 2^24)."""
    return float(-np.log2(frequency / FREQUENCY_TOTAL).sum())


class IdealBits:
    """The sum of -log2(frequency / 2^24), as the logarithm of one product: the same number on every machine.

    Only multiplications in a fixed order and one logarithm round: a library's vectorised log2 differs between machines.
    The error is below a microbit for a billion frequencies.
    """

    def __init__(self) -> None:
        self._count, self._mantissa, self._exponent = 0, 1.0, 0

    def add(self, frequency: NDArray[np.int64]) -> None:
        """Adds frequencies of intervals, [n] int64 from 1 to 2^24."""
        self._count += len(frequency)
        factors = np.append(frequency.astype(np.float64), self._mantissa)
        while len(factors) > 1:
            half = len(factors) // 2
            products, exponents = np.frexp(factors[:half] * factors[half : 2 * half])
            self._exponent += int(exponents.sum(dtype=np.int64))
            factors = np.append(products, factors[2 * half :])
        self._mantissa = float(factors[0])

    @property
    def microbits(self) -> int:
        """The sum so far, in millionths of a bit."""
        whole_bits = PRECISION_BITS * self._count - self._exponent
        return whole_bits * MICROBITS - round(math.log2(self._mantissa) * MICROBITS)
