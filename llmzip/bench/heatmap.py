"""What each token of a text costs under a predictor, as one frame of one stream codes it, and what else was expected.

Gives records and divides them into whole characters; draws nothing and prints nothing. May import ``frames``,
``memory``, ``predictor`` and ``errors``; ``bench.html`` and ``cli`` import it.
"""

import codecs
import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelError
from llmzip.frames import MEMORY_TOKENS, memory_intervals
from llmzip.predictor import FREQUENCY_TOTAL, ExactContext, FloatPredictor, ModelPredictor, Predictor

LIMIT_BYTES = 48 << 10
"""How much of a text is looked at unless more is asked for: even if every byte is a token, its page is below 5 MB."""

LEVEL_BITS = (1, 2, 4, 8, 12)
"""Bounds of the colours: level 0 is below 1 bit, level 5 is 12 bits and more."""

_POSITIONS = 256  # distributions held at once


@dataclass(frozen=True)
class Alternative:
    """A token that might have stood there."""

    token: int
    content: bytes
    probability: float


@dataclass(frozen=True)
class TokenCost:
    """One token of the text."""

    offset: int
    """Of its first byte."""
    token: int
    content: bytes
    bits: float
    """What coding it costs, with memory where that is on."""
    model_bits: float
    """-log2 of the model's own probability."""
    alternatives: tuple[Alternative, ...]
    """What the model, without memory, held likeliest; the likeliest first."""


@dataclass(frozen=True)
class Heatmap:
    """The tokens of a text, or of its beginning."""

    predictor: str
    fingerprint: str
    """In hexadecimal."""
    memory: bool
    """Whether ``bits`` are with memory."""
    original_bytes: int
    """Of the whole text."""
    shown_bytes: int
    """Of the part that the tokens stand for."""
    tokens: tuple[TokenCost, ...]

    @property
    def bits(self) -> float:
        """The ideal bits of the part shown."""
        return math.fsum(token.bits for token in self.tokens)

    @property
    def model_bits(self) -> float:
        """The ideal bits under the model alone."""
        return math.fsum(token.model_bits for token in self.tokens)

    @property
    def bits_per_byte(self) -> float | None:
        """Ideal bits a byte; None where there are no bytes."""
        return self.bits / self.shown_bytes if self.shown_bytes else None

    def dearest(self, count: int) -> list[int]:
        """Indices of the tokens that cost most, the dearest first."""
        return sorted(range(len(self.tokens)), key=lambda index: (-self.tokens[index].bits, index))[:count]


@dataclass(frozen=True)
class Cell:
    """The fewest tokens in a row that are whole characters. Most are one token."""

    text: str
    """May hold lone surrogates, which stand for bytes that are no UTF-8; see ``visible``."""
    first: int
    end: int
    """The tokens are ``heatmap.tokens[first:end]``."""


def measure_heatmap(
    data: bytes,
    predictor: Predictor,
    *,
    memory: bool = True,
    alternatives: int = 5,
    limit_bytes: int = LIMIT_BYTES,
) -> Heatmap:
    """The cost of every token of ``data``, or of its first ``limit_bytes``, not ending inside a UTF-8 character.

    memory: as for ``compress``; texts that a frame would code without memory are shown without it. The tokens' bits
    are those of the frequencies that a frame codes, in units of 2^-24. Raises ModelError where the predictor has no
    model, or its tokenizer does not give the bytes back.
    """
    if not isinstance(predictor, ModelPredictor):
        raise ModelError(f"{predictor.name!r} has no model whose tokens could be coloured: name another with -m")
    if limit_bytes < 1 or alternatives < 0:
        raise ValueError(f"limit_bytes is {limit_bytes} and alternatives {alternatives}: 1 and 0 are the least")
    piece = _beginning(data, limit_bytes)
    tokens = predictor.tokenize(piece)
    if predictor.detokenize(tokens) != piece:
        raise ModelError(f"the tokenizer of {predictor.name!r} does not give these bytes back: no frame would use it")
    memory = memory and len(tokens) >= MEMORY_TOKENS
    if isinstance(predictor, FloatPredictor):
        predictor = predictor.fitted(len(piece), 1)
    own, likeliest = _distributions(tokens, predictor, alternatives)
    model_bits = _bits(own)
    bits = _memory_bits(tokens, predictor) if memory else model_bits
    names = predictor.token_bytes
    costs, offset = [], 0
    for index, token in enumerate(tokens.tolist()):
        others = tuple(
            Alternative(other, names[other], frequency / FREQUENCY_TOTAL)
            for other, frequency in likeliest[index].tolist()
        )
        costs.append(TokenCost(offset, token, names[token], float(bits[index]), float(model_bits[index]), others))
        offset += len(names[token])
    return Heatmap(predictor.name, predictor.fingerprint.hex(), memory, len(data), len(piece), tuple(costs))


def level(bits: float) -> int:
    """0 for the cheapest tokens to ``len(LEVEL_BITS)`` for the dearest."""
    return sum(bits >= bound for bound in LEVEL_BITS)


def cells(tokens: Sequence[TokenCost]) -> Iterator[Cell]:
    """All tokens, grouped so that no character is divided. Bytes that are no UTF-8 become surrogates (PEP 383)."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    first, text = 0, ""
    for index, token in enumerate(tokens):
        is_last = index + 1 == len(tokens)
        text += decoder.decode(token.content, is_last)
        if is_last or not decoder.getstate()[0]:
            yield Cell(text, first, index + 1)
            first, text = index + 1, ""


def visible(text: str) -> str:
    """The text with a sign for everything that is not seen or would change how the rest is shown.

    Tabs and line ends get an arrow and stay. Other control characters, marks of direction and bytes that are no UTF-8
    are escaped.
    """
    return "".join(map(_visible, text))


def shown_bytes(content: bytes) -> str:
    """A token's bytes in one line in which every byte is seen."""
    text = visible(content.decode("utf-8", "surrogateescape"))
    return text.replace("\n", "").replace("\t", "").replace(" ", "␣")


_JOINERS = "\u200c\u200d"  # part of how words and emoji are written


def _visible(character: str) -> str:
    if character in "\n\t":
        return {"\n": "↵\n", "\t": "⇥\t"}[character]
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs":
        return character
    return ascii(character)[1:-1]


def _beginning(data: bytes, limit_bytes: int) -> bytes:
    end = limit_bytes
    if end < len(data):
        while end > max(1, limit_bytes - 3) and data[end] & 0xC0 == 0x80:
            end -= 1
    return data[:end]


def _bits(frequency: NDArray[np.int64]) -> NDArray[np.float64]:
    return -np.log2(frequency / FREQUENCY_TOTAL)


def _memory_bits(tokens: NDArray[np.int64], predictor: Predictor) -> NDArray[np.float64]:
    """[n]: the bits of each token's decisions in a frame of one stream with model and memory."""
    from llmzip.memory.mixing import Vocabulary

    starts = Vocabulary(predictor.token_bytes).tree.path_start
    decisions = (starts[tokens + 1] - starts[tokens]).astype(np.int64)
    bits = np.concatenate([_bits(own) for _, own in memory_intervals(tokens, predictor, 1, alone=False)])
    assert len(bits) == decisions.sum()
    return np.add.reduceat(bits, np.cumsum(decisions) - decisions)


def _distributions(
    tokens: NDArray[np.int64], predictor: ModelPredictor, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Under the model alone: the frequency of each token [n], and the likeliest tokens with theirs [n, count, 2]."""
    count = min(count, predictor.vocabulary_size)

    def score(frequencies: NDArray[np.int64], actual: NDArray[np.int64]) -> NDArray[np.int16]:
        rows = np.arange(len(actual))
        # Of equal frequencies the smaller token comes first, so that the choice is the same everywhere.
        order = frequencies * predictor.vocabulary_size - np.arange(frequencies.shape[1])
        top = np.argpartition(-order, count - 1, axis=1)[:, :count] if count else np.zeros((len(actual), 0), np.int64)
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(order, top, 1), axis=1), 1)
        pairs = np.stack((top, np.take_along_axis(frequencies, top, 1)), 2).reshape(len(actual), -1)
        figures = np.concatenate((frequencies[rows, actual][:, None], pairs), 1)
        # Contexts pass figures of 16 bits: all of these fit in 32, which are two of them.
        return np.ascontiguousarray(figures, np.int32).view(np.int16)

    found = [np.zeros((0, 2 * (1 + 2 * count)), np.int16)]
    context = predictor.start(1)
    for first in range(0, len(tokens), _POSITIONS):
        part = tokens[None, first : first + _POSITIONS]
        if isinstance(context, ExactContext):
            found.append(context.scores(part, score)[0])
            continue
        for position in range(part.shape[1]):
            found.append(score(context.next_frequencies(), part[:, position]))
            context.append(part[:, position])
    figures = np.ascontiguousarray(np.concatenate(found)).view(np.int32).astype(np.int64)
    return figures[:, 0], figures[:, 1:].reshape(len(tokens), count, 2)
