"""What totals are grouped by: the kind of a file.

In this order: what a ``manifest.toml`` in its folder says, the name of the folder below the one that was asked for,
what its suffix stands for, "other". May import ``bench.corpus`` and ``documents``;
``bench`` imports it.
"""

from dataclasses import dataclass, field
from pathlib import Path

from llmzip.bench.corpus import MANIFEST_NAME
from llmzip.documents import read

_SUFFIXES = {
    "code": ".bash .c .cc .cpp .cs .go .h .hpp .java .js .kt .lua .php .pl .py .r .rb .rs .scala .sh .sql .swift .ts",
    "data": ".csv .json .jsonl .log .toml .tsv .yaml .yml",
    "markup": ".htm .html .md .rst .svg .tex .xhtml .xml",
    "text": ".asc .text .txt",
}
_KIND_OF_SUFFIX = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}


@dataclass(frozen=True)
class _Kinds:
    """What is read here of a folder's manifest."""

    kinds: dict[str, tuple[str, ...]] = field(default_factory=dict)


def kind_of(file: Path, roots: list[Path]) -> str:
    """The kind of ``file``, which lies in or is one of ``roots``. Raises DocumentError where a manifest is damaged."""
    listed = _listed_kinds(file.parent)
    if file.name in listed:
        return listed[file.name]
    for root in roots:
        if root.is_dir() and file.parent != root and file.is_relative_to(root):
            return file.parent.name
    return _KIND_OF_SUFFIX.get(file.suffix.lower(), "other")


def _listed_kinds(folder: Path) -> dict[str, str]:
    """File name -> kind, from the table ``kinds`` of the folder's manifest."""
    path = folder / MANIFEST_NAME
    if not path.is_file():
        return {}
    listed = read(path, _Kinds, form="toml", remedy="correct it or take it away").kinds
    return {name: kind for kind, names in listed.items() for name in names}
