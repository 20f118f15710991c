"""What a predictor was in earlier versions of llmzip: the same model and tokens with an earlier memory.

May import ``memory``. The predictors beside it are ``Versioned``.
"""

from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Self

from llmzip.memory import MEMORY_VERSION, READABLE_MEMORY_VERSIONS


class Versioned:
    """See ``llmzip.predictor.VersionedPredictor``."""

    memory_version = MEMORY_VERSION

    def __init__(self, fingerprint_of: Callable[[int], bytes], first_state: Path | None = None) -> None:
        """``fingerprint_of``: from a version of the memory; ``first_state``: the model's folder, where it holds one."""
        self._fingerprints = {version: fingerprint_of(version) for version in READABLE_MEMORY_VERSIONS}
        self.first_state = first_state

    @property
    def fingerprint(self) -> bytes:
        return self._fingerprints[self.memory_version]

    def as_of(self, fingerprint: bytes) -> Self | None:
        for version, known in self._fingerprints.items():
            if known.startswith(fingerprint):
                made = copy(self)
                made.memory_version = version
                return made
        return None
