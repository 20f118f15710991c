"""Kernels run whatever becomes of the folder for their machine code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
import sys
from llmzip.compiled import kernel

@kernel()
def twice(x):
    return 2 * x

if sys.argv[1] == "full":
    import numba.core.caching

    def refuse(*_):
        raise OSError(28, "No space left on device")

    numba.core.caching.IndexDataCacheFile._save_data = refuse
print(twice(21), sum(twice.stats.cache_hits.values()))
"""


def run(folder: Path, how: str) -> list[str]:
    script = folder / "kernels.py"
    if not script.exists():
        script.write_text(MODULE)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run([sys.executable, script, how], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("damaged", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("content", [b"", b"junk"])
def test_damaged_machine_code_is_made_anew(tmp_path: Path, damaged: str, content: bytes) -> None:
    assert run(tmp_path, "well") == ["42", "0"]
    assert run(tmp_path, "well") == ["42", "1"]
    (file,) = (tmp_path / "cache").rglob(damaged)
    file.write_bytes(content)
    assert run(tmp_path, "well") == ["42", "0"]
    assert run(tmp_path, "well") == ["42", "1"]


def test_a_full_disk_keeps_no_kernel_from_running(tmp_path: Path) -> None:
    assert run(tmp_path, "full") == ["42", "0"]
    assert run(tmp_path, "well") == ["42", "0"]
