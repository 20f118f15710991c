"""Packs documents into one flat file of 16-bit tokens, each document preceded by the start token."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from llmzip.training.rungs import START_TOKEN
from llmzip.training.text import Document

_BATCH = 512


def pack_documents(documents: Iterable[Document], tokenizer: Tokenizer, path: Path) -> dict[str, int]:
    """Writes the tokens as little-endian uint16 and returns the UTF-8 bytes of text by kind."""
    byte_counts: dict[str, int] = {}
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        batch: list[Document] = []
        for document in documents:
            batch.append(document)
            byte_counts[document.kind] = byte_counts.get(document.kind, 0) + len(document.text.encode())
            if len(batch) == _BATCH:
                _write_batch(batch, tokenizer, file)
                batch = []
        _write_batch(batch, tokenizer, file)
    partial.replace(path)
    return byte_counts


def _write_batch(batch: list[Document], tokenizer: Tokenizer, file: object) -> None:
    for encoding in tokenizer.encode_batch_fast([document.text for document in batch]):
        np.array([START_TOKEN, *encoding.ids], dtype="<u2").tofile(file)  # type: ignore[arg-type]


def token_byte_lengths(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """[vocabulary] int64: the bytes each token stands for (one character of a ByteLevel token is one byte)."""
    lengths = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for name, token in tokenizer.get_vocab().items():
        lengths[token] = len(name)
    lengths[START_TOKEN] = 0
    return lengths
