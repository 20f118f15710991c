"""What a bench calls its models: as their folders are called, made different by their paths, or as the user says.

Loads nothing. May import ``bench.modelled``; ``bench`` and ``cli`` import it.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from llmzip.bench.modelled import Modelled


def label_and_model(text: str) -> tuple[str | None, str]:
    """``NAME=PATH`` as (NAME, PATH); (None, text) where it is a folder or says no name."""
    label, separator, model = text.partition("=")
    if not separator or not label.strip() or not model or os.path.exists(text):
        return None, text
    return label.strip(), model


def without_repetitions(models: Sequence[str]) -> list[str]:
    """Each model once, however its folder is spelt."""
    known: dict[tuple[str | None, str], str] = {}
    for text in models:
        label, model = label_and_model(text)
        known.setdefault((label, os.path.realpath(model) if os.path.isdir(model) else model), text)
    return list(known.values())


def named_apart(models: Sequence[tuple[str, Modelled]]) -> list[Modelled]:
    """The models of (what was asked for, model) with names that differ, as far as paths make them.

    A label is taken as it is; models of one name get as many last components of their paths as it takes.
    """
    names = {text: model.description.name for text, model in models}
    for text in names:
        if label := label_and_model(text)[0]:
            names[text] = f"llmzip {label}"
    for name in set(names.values()):
        alike = [text for text in names if names[text] == name and label_and_model(text)[0] is None]
        if len(alike) > 1:
            names |= {text: _with_path(name, tail) for text, tail in zip(alike, _tails(alike), strict=True)}
    return [model.named(names[text]) for text, model in models]


def _with_path(name: str, tail: str) -> str:
    """The name with more of the path in place of the folder's own name: "llmzip float/final" -> "... float/a/final"."""
    option = " --no-memory" if name.endswith(" --no-memory") else ""
    prefix = "llmzip float/" if name.startswith("llmzip float/") else "llmzip "
    return f"{prefix}{tail}{option}"


def _tails(paths: list[str]) -> list[str]:
    parts = [Path(path).absolute().parts if os.path.isdir(path) else Path(path).parts for path in paths]
    for count in range(1, max(map(len, parts)) + 1):
        tails = ["/".join(part.strip("/\\") for part in own[-count:]) for own in parts]
        if len(set(tails)) == len(tails):
            return tails
    return paths
