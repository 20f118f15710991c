"""Keeps texts that llmzip is measured on out of training: finds documents that share passages with them.

A passage is 50 letters and digits in a row, whatever case, spaces and punctuation lie between (bytes beyond ASCII
count as letters). Of all passages one in 16 is looked at, chosen by its hash, so that both sides choose the same ones:
a copy of a paragraph is seen wherever it begins. Knows no tokenizer and no model; may import ``text``.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmzip.training.text import Document

PASSAGE = 50
SAMPLED = 16  # one passage in
ALLOWANCE = 320
"""Characters in shared passages that a document may have: quotations, licences and other boilerplate."""

_LETTERS = bytes(b + 32 if 65 <= b <= 90 else b for b in range(256))
_OTHERS = bytes(b for b in range(128) if not chr(b).isalnum())
_MULTIPLIER = 0x9E3779B97F4A7C15
_BLOCK = 1 << 20
_POWERS = np.multiply.accumulate(np.full(_BLOCK + PASSAGE, _MULTIPLIER, np.uint64))
_INVERSES = np.multiply.accumulate(np.full(_BLOCK + PASSAGE, pow(_MULTIPLIER, -1, 1 << 64), np.uint64))


def sampled_passages(text: str) -> NDArray[np.uint64]:
    """Sorted hashes of the different sampled passages of a text, uint64."""
    letters = np.frombuffer(text.encode().translate(_LETTERS, _OTHERS), np.uint8)
    found = []
    for start in range(0, len(letters) - PASSAGE + 1, _BLOCK):
        # The hash of letters[i : i + 50] is the sum of letter * m^(k - i), from running sums, modulo 2^64.
        block = letters[start : start + _BLOCK + PASSAGE - 1]
        sums = np.cumsum(block * _POWERS[: len(block)], dtype=np.uint64)
        hashes = sums[PASSAGE - 1 :].copy()
        hashes[1:] -= sums[:-PASSAGE]
        hashes *= _INVERSES[: len(hashes)]
        hashes ^= hashes >> np.uint64(32)  # the low bits of a product depend on low bits only
        hashes *= np.uint64(_MULTIPLIER)
        found.append(hashes[hashes >> np.uint64(60) == 0])
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.uint64)


class KeptOut:
    """The passages of the texts that must not be trained on."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._hashes = np.unique(np.concatenate([np.zeros(0, np.uint64), *map(sampled_passages, texts)]))

    def shared_characters(self, text: str) -> int:
        """About how many letters and digits of ``text`` lie in passages of the kept-out texts (each counted once)."""
        passages = sampled_passages(text)
        if not len(self._hashes) or not len(passages):
            return 0
        places = np.searchsorted(self._hashes, passages).clip(max=len(self._hashes) - 1)
        return SAMPLED * int((self._hashes[places] == passages).sum())


def kept_out_texts(folders: Iterable[Path]) -> Iterator[str]:
    """The files of the folders as text, whatever their encoding, without the two that only describe the others."""
    for folder in folders:
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        if not paths:
            raise FileNotFoundError(f"{folder} has no files to keep out of training: check its name")
        for path in paths:
            if path.name not in {"manifest.toml", "sources.json"}:
                yield path.read_bytes().decode("utf-8", errors="replace")


def without_overlap(documents: Iterable[Document], kept_out: KeptOut, dropped: list[Document]) -> Iterator[Document]:
    """The documents that share no more than ``ALLOWANCE``; the others are appended to ``dropped``."""
    for document in documents:
        if kept_out.shared_characters(document.text) > ALLOWANCE:
            dropped.append(document)
        else:
            yield document
