"""What totals are grouped by: the kind of a file.

In this order: what a ``manifest.toml`` in its folder says, the name of the folder below the one that was asked for,
what its suffix stands for, "other". May import ``bench.corpus``; ``bench`` imports it.
"""

import tomllib
from pathlib import Path

from llmzip.bench.corpus import MANIFEST_NAME
from llmzip.errors import CorpusError

_SUFFIXES = {
    "code": ".bash .c .cc .cpp .cs .go .h .hpp .java .js .kt .lua .php .pl .py .r .rb .rs .scala .sh .sql .swift .ts",
    "data": ".csv .json .jsonl .log .toml .tsv .yaml .yml",
    "markup": ".htm .html .md .rst .svg .tex .xhtml .xml",
    "text": ".asc .text .txt",
}
_KIND_OF_SUFFIX = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}


def kind_of(file: Path, roots: list[Path]) -> str:
    """The kind of ``file``, which lies in or is one of ``roots``. Raises CorpusError where a manifest is damaged."""
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
    try:
        kinds = tomllib.loads(path.read_text(encoding="utf-8")).get("kinds", {})
        return {name: str(kind) for kind, names in kinds.items() for name in names}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CorpusError(f"{path} is not a readable manifest ({error}): correct it or take it away") from None
