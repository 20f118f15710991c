"""Training text: documents from the shards and the Python standard library, varied as real files are.

Yields documents only; knows no tokenizer and no model. The last shard is the validation part: it is what
every choice (tokenizer, mixture, schedule) is made on. The held-out files are never read here.
"""

import bz2
import random
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmzip.documents import decode

HELD_OUT_PACKAGES = {"asyncio", "email", "json", "http", "unittest"}
"""Packages of the standard library kept out of training: they are the held-out source code."""


@dataclass(frozen=True)
class Document:
    """One text with its kind ("prose", "web", "markup", "other-language", "code")."""

    kind: str
    text: str


def shard_paths(folder: Path) -> tuple[list[Path], Path]:
    """The training shards in order, and the validation shard."""
    shards = sorted(folder.glob("shard-*.jsonl.bz2"))
    if len(shards) < 2:
        raise FileNotFoundError(f"{folder} needs at least two files named shard-*.jsonl.bz2")
    return shards[:-1], shards[-1]


def read_shard(path: Path) -> Iterator[Document]:
    """The documents of one shard, in file order."""
    with bz2.open(path) as lines:
        for number, line in enumerate(lines, 1):
            yield decode(line, Document, f"{path}, line {number}")


def read_standard_library() -> Iterator[Document]:
    """The Python sources of the running interpreter, without the held-out packages."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        parts = set(path.relative_to(root).parts)
        if parts & (HELD_OUT_PACKAGES | {"site-packages", "lib2to3"}):
            continue
        if any(f"test_{package}" in str(path) for package in HELD_OUT_PACKAGES):
            continue
        try:
            yield Document("code", path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            continue  # a few test files are in other encodings on purpose


def vary_layout(document: Document, rng: random.Random) -> Document:
    """One document as it might lie on a disk: a tenth with CRLF, some with tabs, trailing spaces, no last line end.

    Real files have these; a model that never saw CRLF paid 37 % more bits on a novel with CRLF line ends.
    """
    text = document.text
    if document.kind == "code" and rng.random() < 0.15:
        text = text.replace("    ", "\t")
    if rng.random() < 0.02:
        text = "\n".join(line + " " * rng.choice((0, 0, 1, 2)) for line in text.split("\n"))
    if rng.random() < 0.10:
        text = text.replace("\n", "\r\n")
    if rng.random() < 0.30:
        text = text.rstrip("\r\n")
    return Document(document.kind, text)


def training_documents(folder: Path, shard_count: int, seed: int) -> list[Document]:
    """The documents of the first ``shard_count`` shards and the code, varied and shuffled by ``seed``."""
    rng = random.Random(seed)
    shards, _ = shard_paths(folder)
    documents = [document for path in shards[:shard_count] for document in read_shard(path)]
    documents += read_standard_library()
    rng.shuffle(documents)
    return [vary_layout(document, rng) for document in documents]


def validation_texts(folder: Path, bytes_per_kind: int) -> dict[str, str]:
    """From the validation shard, about ``bytes_per_kind`` of text for each kind, as one string each."""
    _, path = shard_paths(folder)
    texts: dict[str, str] = {}
    for document in read_shard(path):
        text = texts.get(document.kind, "")
        if len(text) < bytes_per_kind:
            texts[document.kind] = text + document.text[: bytes_per_kind // 8] + "\n\n"
    return {kind: text[:bytes_per_kind] for kind, text in sorted(texts.items())}
