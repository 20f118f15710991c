"""The predictors that ship with llmzip, found by name. May import ``engine``, ``predictor`` and ``errors``."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llmzip.errors import ModelError
from llmzip.predictor import Predictor

DEFAULT_RUNG = "small"

_EMBEDDED = Path(__file__).resolve().parent.parent / "embedded"


@dataclass(frozen=True)
class RungCard:
    """What ``llmzip models`` shows of an embedded model."""

    name: str
    parameter_count: int
    stored_bytes: int
    """Of weights, tokenizer and shape: what a receiver must hold."""
    bits_per_byte: dict[str, float]
    """By kind of held-out text, from the model card."""
    decompress_kb_per_second: float
    """On the machine of the model card, 1,000 bytes of text a second: a class of speed, not a promise."""
    folder: Path


def _embedded_names() -> list[str]:
    return sorted(path.parent.name for path in _EMBEDDED.glob("*/card.json"))


def embedded_rungs() -> list[RungCard]:
    """The embedded models, smallest first."""
    cards = []
    for name in _embedded_names():
        folder = _EMBEDDED / name
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        bits, speed = card["held_out_bits_per_byte"], card["decompress_kb_per_second"]
        cards.append(RungCard(name, card["parameters"], receiver_bytes(folder), bits, speed, folder))
    return sorted(cards, key=lambda card: card.parameter_count)


def receiver_bytes(folder: Path) -> int:
    """Bytes of what a receiver needs of a model's folder in order to decode: weights, tokenizer and shape."""
    needed = [*folder.glob("*.safetensors"), folder / "tokenizer.json", folder / "config.json"]
    return sum(path.stat().st_size for path in needed)


def _archive_name(folder: Path) -> str:
    """What archives call the model in a folder: short and printable. The fingerprint, not the name, identifies it."""
    name = "".join(character for character in folder.resolve().name if character.isascii() and character.isprintable())
    return name[:32] or "model"


def load_embedded(name: str, *, engine: str = "auto", threads: int = 0) -> Predictor:
    """The embedded rung called ``name``. Never looks at a path, so that an archive may say the name."""
    from llmzip.predictors.exact import load_exact

    if name not in _embedded_names():
        raise ModelError(
            f"no embedded model is called {name!r} (there are: {', '.join(_embedded_names())}): "
            "name a model folder with -m"
        )
    return load_exact(_EMBEDDED / name, name, engine=engine, threads=threads)


Arithmetic = Literal["auto", "exact", "float", "portable"]
"""How a model is computed: in integers that cannot round, so that its archives decode on any machine; or in floating
point by transformers; or so, and coded so that archives decode wherever nearly the same is computed. "auto" is exact
for embedded models and for the folders that ``suits_exact``."""


def load_predictor(
    name: str,
    *,
    engine: str = "auto",
    threads: int = 0,
    arithmetic: Arithmetic = "auto",
    dtype: str = "float32",
    device: str | None = None,
    offline: bool = False,
) -> Predictor:
    """The embedded rung called ``name``, or the model in the Hugging Face folder ``name``, or that of the hub.

    engine: "auto", "numpy", "compiled", "torch" or "torch:DEVICE" for exact arithmetic; threads: 0 for all cores.
    Neither changes a bit of the output of an exact model. dtype, device: of a float model. offline: of the hub, use
    only what was fetched before. Raises ModelError.
    """
    from llmzip.predictors.exact import load_exact, suits_exact

    if threads < 0:
        raise ValueError(f"threads is {threads}: 0 for all cores, or a positive number")
    name = str(name)
    if name in _embedded_names():
        if arithmetic in ("auto", "exact"):
            return load_embedded(name, engine=engine, threads=threads)
        folder, label = _EMBEDDED / name, name
    else:
        folder = _find_folder(name, offline)
        label = _archive_name(Path(name.partition("@")[0]))
        if arithmetic == "exact" or arithmetic == "auto" and suits_exact(folder):
            return load_exact(folder, label, engine=engine, threads=threads)
    from llmzip.predictors.hub import load_hub

    made = load_hub(folder, label, dtype=dtype, device=device, threads=threads)
    return made.made_portable() if arithmetic == "portable" else made


def _find_folder(name: str, offline: bool) -> Path:
    from llmzip.predictors.hub_folder import find_folder, is_hub_name

    if name and (os.path.isdir(name) or is_hub_name(name)):
        return find_folder(name, offline=offline)
    known = ", ".join(_embedded_names())
    raise ModelError(f"{name!r} is neither an embedded model ({known}) nor a folder: check -m")
