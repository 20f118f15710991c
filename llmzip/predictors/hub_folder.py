"""Finds a Hugging Face folder by name: a local one if there is one, else that of the hub's model. Runs nothing of it.

A name is a local folder if there is one; else, if it looks like ``organisation/name`` with or without ``@revision``, a
model of the hub, of which only safetensors, JSON and tokenizer files are fetched. Imports neither torch nor
transformers. May import ``errors`` and ``model_folder``.
"""

import os
import re
from pathlib import Path

from llmzip.errors import ModelError
from llmzip.model_folder import refuse_file

WANTED_FILES = ["*.json", "*.safetensors", "tokenizer.model", "*.tiktoken", "merges.txt", "vocab.txt"]

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")


def is_hub_name(name: str) -> bool:
    """Whether it is written as the hub writes names."""
    return bool(_HUB_NAME.fullmatch(name))


def find_folder(name: str, *, offline: bool = False) -> Path:
    """The local folder ``name``, or that of the hub's model, fetched if need be. Raises ModelError."""
    if os.path.isdir(name):
        return Path(name)
    if os.path.exists(name):
        raise refuse_file(Path(name))
    if not is_hub_name(name):
        raise ModelError(f"{name!r} is neither a folder nor a name of the hub (organisation/name): check -m")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ModelError("transformers is not installed: pip install 'llmzip[torch]'") from None
    repository, _, revision = name.partition("@")
    try:
        found = snapshot_download(
            repository, revision=revision or None, allow_patterns=WANTED_FILES, local_files_only=offline
        )
    except Exception as error:  # network, names and access rights, each in several ways
        raise ModelError(f"there is no folder {name!r}, and {_why(error, name, offline=offline)}") from None
    return Path(found)


def _why(error: Exception, name: str, *, offline: bool) -> str:
    """Why the hub did not give a model, and what to do."""
    from huggingface_hub import errors

    if offline:
        return "it was not fetched from the hub before: leave --offline out once"
    if isinstance(error, errors.GatedRepoError):
        return "on the hub it is behind terms: accept them on its page, and log in with `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the hub has the model, but not this revision: check what follows the @"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the hub has no such model, or it is private: check -m, or log in with `hf auth login`"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids to ask the hub: unset it, or name a folder"
    if isinstance(error, errors.LocalEntryNotFoundError | OSError) or "onnect" in type(error).__name__:
        return "the hub cannot be reached: check the network, or fetch the model elsewhere and name its folder"
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return f"the hub does not give it ({reason}): check -m"
