"""How much memory a codec takes: the peak of a fresh process that does nothing else, Python included.

``python -m llmzip.bench.peak_memory`` is that process. In the process of the bench itself, nobody could tell one
codec's memory from another's. May import the rest of ``bench`` below ``measuring``; ``bench.measuring`` imports it.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from llmzip.bench.codecs import Classical, Codec, classical_codec
from llmzip.bench.external import External, run_group
from llmzip.bench.modelled import Modelled, modelled

LIMIT_BYTES = 1 << 22
"""So much of a file is compressed and decompressed at most: all of a frame, if not of zstd's largest windows."""


def peak_memory_bytes(codec: Codec, file: Path, *, threads: int = 0) -> int | None:
    """Of a process that compresses and decompresses the file; None where it cannot be had or the codec not be named."""
    recipe = _recipe(codec, threads)
    if recipe is None:
        return None
    with tempfile.TemporaryDirectory(prefix="llmzip-") as folder:
        answer = Path(folder, "bytes")
        command = [
            sys.executable,
            "-m",
            "llmzip.bench.peak_memory",
            json.dumps(recipe),
            str(file.absolute()),
            str(answer),
        ]
        result = run_group(command, subprocess.DEVNULL, None)
        return int(answer.read_text(encoding="ascii")) or None if result.returncode == 0 else None


def _recipe(codec: Codec, threads: int) -> dict[str, Any] | None:
    """How another process can make the same codec."""
    if isinstance(codec, Modelled):
        return {"model": codec.origin, "threads": threads} if codec.origin else None
    if isinstance(codec, Classical):
        return {"classical": codec.description.name}
    if isinstance(codec, External):
        return {"external": codec.description.name, "commands": codec.commands}
    return None


def _made(recipe: dict[str, Any]) -> Codec:
    if "model" in recipe:
        return modelled(**recipe["model"], threads=recipe["threads"])
    if "classical" in recipe:
        return classical_codec(recipe["classical"])
    return External(recipe["external"], *recipe["commands"])


def _peak(*, of_children: bool) -> int:
    """Of this process or of those it waited for, in bytes; 0 where the system does not say."""
    if not of_children:
        # What getrusage says of this process begins with that of the one that started it.
        try:
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) << 10
        except (OSError, StopIteration):
            pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_CHILDREN if of_children else resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def _main() -> None:
    recipe, path = json.loads(sys.argv[1]), Path(sys.argv[2])
    codec = _made(recipe)
    with path.open("rb") as file:
        data = file.read(LIMIT_BYTES)
    codec.decompress(codec.compress(data))
    # Not on standard output, where whatever Python loads at its start may print.
    Path(sys.argv[3]).write_text(str(_peak(of_children=isinstance(codec, External))), encoding="ascii")


if __name__ == "__main__":
    _main()
