"""The predictors that ship with llmzip, found by name.

May import ``documents``, ``model_folder``, ``engine``, ``memory`` (for what a receiver must hold of it), ``predictor``,
``parallel`` and ``errors``.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llmzip.documents import Positive, Size, read
from llmzip.errors import ModelError, UsageError
from llmzip.memory import MEMORY_VERSION, first_state
from llmzip.model_folder import open_model_folder
from llmzip.predictor import Predictor

DEFAULT_RUNG = "small"

ADAPTIVE = "adaptive"
"""The name of the predictor without a model, whose memory alone predicts."""

_EMBEDDED = Path(__file__).resolve().parent.parent / "embedded"

ADAPTIVE_TOKENIZER = _EMBEDDED / "nano" / "tokenizer.json"
"""All embedded models have this tokenizer; it is not stored once more for ``adaptive``."""


@dataclass(frozen=True)
class Card:
    """What is read of a rung's ``card.json``."""

    parameters: Size
    held_out_bits_per_byte: dict[str, Positive]
    """By kind of held-out text."""
    decompress_kb_per_second: Positive
    """On the machine of the model card, 1,000 bytes of text a second: a class of speed, not a promise."""


@dataclass(frozen=True)
class RungCard:
    """What ``llmzip models`` shows of an embedded model."""

    name: str
    parameter_count: int
    stored_bytes: int
    """Of weights, tokenizer, shape and the memory's first state: what a receiver must hold."""
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
        card = read(folder / "card.json", Card, remedy="install llmzip again")
        # One tokenizer, so one first state.
        stored_bytes = open_model_folder(folder).receiver_bytes + first_state.PATHS[MEMORY_VERSION].stat().st_size
        bits, speed = card.held_out_bits_per_byte, card.decompress_kb_per_second
        cards.append(RungCard(name, card.parameters, stored_bytes, bits, speed, folder))
    return sorted(cards, key=lambda card: card.parameter_count)


def archive_name(folder: Path) -> str:
    """What archives call the model in a folder: short and printable. The fingerprint, not the name, identifies it."""
    name = "".join(character for character in folder.resolve().name if character.isascii() and character.isprintable())
    return name[:32] or "model"


def load_embedded(name: str, *, engine: str = "auto", threads: int = 0) -> Predictor:
    """The embedded rung called ``name``, or ``adaptive``. Looks at no path, so that an archive may say the name."""
    if name == ADAPTIVE:
        from llmzip.predictors.adaptive import AdaptivePredictor

        return AdaptivePredictor(ADAPTIVE_TOKENIZER, name, threads)
    if name not in _embedded_names():
        raise ModelError(f"no embedded model is called {name!r} (there are: {_known()}): name a model folder with -m")
    from llmzip.predictors.exact import load_exact

    return load_exact(_EMBEDDED / name, name, engine=engine, threads=threads)


def _known() -> str:
    return ", ".join([ADAPTIVE, *_embedded_names()])


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
    dtype: str | None = None,
    device: str | None = None,
    offline: bool = False,
    context: int | None = None,
) -> Predictor:
    """The embedded rung called ``name``, or the model in a Hugging Face folder or GGUF file, or that of the hub.

    name: also smollm2, ollama:NAME, lmstudio:NAME (see ``checkpoints.places``), and base+adapter.

    engine: "auto", "native", "numpy", "torch" or "torch:DEVICE" for exact arithmetic; threads: 0 for all cores.
    Neither changes a bit of the output of an exact model. dtype, device: of a float model, float32 and the processor
    if left out. offline: of the hub, use only what was fetched before. context: positions that full attention sees, of
    models that run by version 2 of the exact arithmetic, 1,024 if left out; not needed to decode. Raises ModelError,
    and UsageError where dtype is unknown, device is empty, or an option is given for a model that has no use for it.
    """
    if threads < 0:
        raise ValueError(f"threads is {threads}: 0 for all cores, or a positive number")
    name = str(name)
    if dtype is not None:
        from llmzip.predictors.hub import check_dtype

        check_dtype(dtype)
    if device == "":
        raise UsageError("--device names no device: leave it out, or say which, such as cpu")
    if arithmetic == "exact":
        _refuse_float_options(name, dtype, device)
    if name == ADAPTIVE and arithmetic in ("float", "portable"):
        raise ModelError(f"{ADAPTIVE!r} has no model that could run in floating point: name another with -m")
    if name == ADAPTIVE or name in _embedded_names():
        _refuse_context(name, context)
        if arithmetic in ("auto", "exact"):
            _refuse_float_options(name, dtype, device)
            return load_embedded(name, engine=engine, threads=threads)
        folder, label = _EMBEDDED / name, name
    else:
        folder, adapter = find_parts(name, offline=offline)
        label = archive_name(Path(name.partition("@")[0]))
        if arithmetic == "exact" or arithmetic == "auto" and _runs_exactly(folder, adapter):
            _refuse_float_options(name, dtype, device)
            return _load_exactly(folder, adapter, label, engine=engine, threads=threads, context=context)
        if adapter is not None or folder.is_file():
            raise ModelError(f"{name} runs in exact arithmetic only: leave --float and --portable out")
    _refuse_context(name, context)
    from llmzip.predictors.hub import load_hub

    made = load_hub(folder, label, dtype=dtype or "float32", device=device, threads=threads)
    return made.made_portable() if arithmetic == "portable" else made


def _refuse_float_options(name: str, dtype: str | None, device: str | None) -> None:
    for option, value in (("--dtype", dtype), ("--device", device)):
        if value is not None:
            raise UsageError(f"{option} is for float models, and {name!r} is exact: leave it out, or choose --float")


def _refuse_context(name: str, context: int | None) -> None:
    if context is not None:
        raise UsageError(
            f"--context is for models that run in exact arithmetic, version 2, and {name!r} does not: leave it out"
        )


def find_parts(name: str, *, offline: bool = False) -> tuple[Path, Path | None]:
    """The folder or file of the model ``name``, and the folder of an adapter after a +. Raises ModelError."""
    base, plus, adapter = name.rpartition("+")
    if plus and base and not os.path.exists(name):
        return find_model_folder(base, offline=offline), find_model_folder(adapter, offline=offline)
    return find_model_folder(name, offline=offline), None


def _runs_exactly(path: Path, adapter: Path | None) -> bool:
    """Whether exact arithmetic is what a model gets by itself: wherever it runs, and where loading says why not."""
    if adapter is not None or path.is_file():
        return True
    from llmzip.model_folder import TOKENIZER, read_config
    from llmzip.predictors.exact import suits_exact
    from llmzip.predictors.wide import is_for_version_1, suits_wide

    try:
        config = read_config(path)
    except ModelError:
        return True
    if is_for_version_1(config):
        return suits_exact(path)
    return suits_wide(config) and (path / TOKENIZER).is_file()


def _load_exactly(
    path: Path, adapter: Path | None, label: str, *, engine: str, threads: int, context: int | None
) -> Predictor:
    """The model in version 1 of the arithmetic if its integers were made for that, else in version 2."""
    from llmzip.checkpoints import open_checkpoint
    from llmzip.model_folder import read_config
    from llmzip.predictors.wide import is_for_version_1, load_wide_predictor

    if path.is_dir() and is_for_version_1(read_config(path)):
        if adapter is not None:
            raise ModelError(f"{path} holds integers, to which no adapter can be added: name the base it was made of")
        _refuse_context(label, context)
        from llmzip.predictors.exact import load_exact

        return load_exact(path, label, engine=engine, threads=threads)
    checkpoint = open_checkpoint(path)
    if adapter is not None:
        from llmzip.checkpoints.adapter import merged

        checkpoint = merged(checkpoint, adapter)
    return load_wide_predictor(checkpoint, label, context=context)


def find_model_folder(name: str, *, offline: bool = False) -> Path:
    """Where the parameters of the model ``name`` lie: embedded, a folder, a GGUF file, or of the hub. ModelError."""
    from llmzip.checkpoints.places import find_place, is_place
    from llmzip.predictors.hub_folder import find_folder, is_hub_name

    if name in _embedded_names():
        return _EMBEDDED / name
    if is_place(name):
        return find_place(name)
    if name.endswith(".gguf") and os.path.isfile(name):
        return Path(name)
    if name and (os.path.exists(name) or is_hub_name(name)):
        return find_folder(name, offline=offline)
    raise ModelError(f"{name!r} is neither an embedded model ({_known()}), a folder nor a GGUF file: check -m")
