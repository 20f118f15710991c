"""Where a bench comes from: versions, machine, threads, time and command. Never compared.

Imports nothing of ours; ``bench`` imports it.
"""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_LIBRARIES = (
    "brotli",
    "constriction",
    "llmzip",
    "numpy",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
    "zstandard",
)


class Clock:
    """Notes when a bench began."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)

    def provenance(self, *, threads: int, command: str = "") -> dict[str, Any]:
        """The record of a bench that ends now. command: what was typed; threads: 0 for all cores."""
        return {
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - self._started).total_seconds(), 1),
            "command": command,
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "system": f"{platform.system()} {platform.release()}",
            "machine": platform.machine(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "threads": threads or os.cpu_count(),
            "byte_order": sys.byteorder,
            "libraries": {name: number for name in _LIBRARIES if (number := _version(name))},
        }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's own name, where the system says it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
