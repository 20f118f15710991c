"""What each token of a text costs under a predictor, as ``scoring`` says, and what else was expected.

Gives records and divides them into whole characters; draws nothing and prints nothing. May import ``scoring``,
``frames`` and ``predictor``; ``bench.html`` and ``cli`` import it.
"""

import codecs
import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from llmzip.frames import MEMORY_TOKENS
from llmzip.predictor import Predictor
from llmzip.scoring import TokenScores, scorer

LIMIT_BYTES = 48 << 10
"""How much of a text is looked at unless more is asked for: even if every byte is a token, its page is below 5 MB."""

LEVEL_BITS = (1, 2, 4, 8, 12)
"""Bounds of the colours: level 0 is below 1 bit, level 5 is 12 bits and more."""


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
    """With memory where that is on, as a frame of one stream would code it; else the model's own."""
    model_bits: float
    """-log2 of the model's own probability; see ``scoring``."""
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

    memory: as for ``compress``; texts that a frame would code without memory are shown without it. Raises ModelError
    where the predictor has no model, or its tokenizer does not give the bytes back.
    """
    if limit_bytes < 1 or alternatives < 0:
        raise ValueError(f"limit_bytes is {limit_bytes} and alternatives {alternatives}: 1 and 0 are the least")
    shown = _beginning(data, limit_bytes)
    memory = memory and len(predictor.tokenize(shown)) >= MEMORY_TOKENS
    costs: list[TokenCost] = []
    for block in scorer(predictor).score(shown, memory=memory, alternatives=max(1, alternatives)):
        costs += _costs(block, predictor.token_bytes, alternatives)
    return Heatmap(predictor.name, predictor.fingerprint.hex(), memory, len(data), len(shown), tuple(costs))


def _costs(block: TokenScores, names: Sequence[bytes], alternatives: int) -> Iterator[TokenCost]:
    bits = block.bits if block.memory_bits is None else block.memory_bits
    for index, token in enumerate(block.tokens.tolist()):
        likeliest = zip(block.likeliest[index].tolist(), block.likeliest_bits[index].tolist(), strict=True)
        others = tuple(Alternative(other, names[other], 2.0**-cost) for other, cost in islice(likeliest, alternatives))
        content, offset = names[token], int(block.byte_ends[index]) - len(names[token])
        yield TokenCost(offset, token, content, float(bits[index]), float(block.bits[index]), others)


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
