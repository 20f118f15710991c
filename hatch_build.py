"""Compiles ``llmzip/native`` into one shared library, when a wheel or an editable install is built.

Also by hand: ``python hatch_build.py``. Uses the machine's C compiler, or that of the package ``ziglang``, which pip
brings where there is none. Where nothing compiles, the package is built without the library, and llmzip computes the
same with numpy, slower.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
SOURCES = ROOT / "llmzip" / "native"
LIBRARY = {"win32": "_native.dll", "darwin": "_native.dylib"}.get(sys.platform, "_native.so")

FLAGS = ("-std=c11", "-O3", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")

KERNELS = {
    "x86_64": {
        "plain": (),
        "avx2": ("-mavx2", "-mbmi2"),
        "vnni": (
            "-mavx2",
            "-mbmi2",
            "-mavx512f",
            "-mavx512bw",
            "-mavx512dq",
            "-mavx512vl",
            "-mavx512vnni",
            "-mprefer-vector-width=512",
        ),
    },
}
"""Compiler flags by processor and by the name of what is compiled with them; of any other processor plain only."""

MACHINES = {"amd64": "x86_64"}


def compiler() -> list[str] | None:
    """The command of a C compiler that works here, or None."""
    for command in (["cc"], ["gcc"], ["clang"], [sys.executable, "-m", "ziglang", "cc"]):
        if command[0] == sys.executable or shutil.which(command[0]):
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder) / "try.c"
                source.write_text("#include <stdlib.h>\nint main(void) { return 0; }\n")
                made = subprocess.run(
                    [*command, source, "-o", source.with_suffix("")], capture_output=True, check=False
                )
                if made.returncode == 0:
                    return command
    return None


def compile_library(command: list[str], target: Path, machine: str = "", extra: tuple[str, ...] = ()) -> None:
    """Compiles every source for every set of kernels and links them. Raises CalledProcessError.

    machine: as ``platform.machine`` names it, that of this machine if left out; extra: more flags.
    """
    machine = machine or platform.machine().lower()
    sets = KERNELS.get(MACHINES.get(machine, machine), {"plain": ()})
    if "ziglang" in command:  # it compiles for this very processor unless told not to
        extra = ("-mcpu=baseline", *extra)
    with tempfile.TemporaryDirectory() as folder:
        running, objects = [], []
        for kernels, flags in sets.items():
            for source in sorted(SOURCES.glob("*.c")):
                object_file = os.path.join(folder, f"{source.stem}-{kernels}.o")
                names = (f"-DKERNELS={kernels}", "-include", str(SOURCES / "names.h"))
                words = [*command, *FLAGS, *extra, *names, *flags, "-c", str(source), "-o", object_file]
                running.append((subprocess.Popen(words), words))
                objects.append(object_file)
                if len(running) >= (os.cpu_count() or 1):
                    _finish(*running.pop(0))
        for process, words in running:
            _finish(process, words)
        partial = os.path.join(folder, LIBRARY)
        subprocess.run([*command, *extra, "-shared", "-o", partial, *objects, "-lm"], check=True)
        shutil.copy(partial, target.with_suffix(".partial"))
    target.with_suffix(".partial").replace(target)


def _finish(process: "subprocess.Popen[bytes]", words: list[str]) -> None:
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, words)


def build() -> bool:
    """Compiles the library into the package, unless it is newer than its sources. Whether it is there."""
    target = SOURCES / LIBRARY
    sources = [*SOURCES.glob("*.[ch]"), Path(__file__)]
    if target.exists() and target.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return True
    command = compiler()
    if command is None:
        return False
    try:
        compile_library(command, target)
    except subprocess.CalledProcessError as error:
        print(f"llmzip: {error.cmd[0]} failed, so the native library is left out", file=sys.stderr)
        return False
    return True


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # by hand, outside of hatchling
    pass
else:

    class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
        """What hatchling calls."""

        PLUGIN_NAME = "custom"

        def dependencies(self) -> list[str]:
            """A compiler as a package, where the machine has none."""
            return [] if compiler() else ["ziglang>=0.14"]

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Compiles; a wheel is then for this platform, and for every Python 3."""
            if self.target_name != "wheel" or not build():
                return
            tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{tag}"
            build_data["pure_python"] = False
            build_data["artifacts"].append(f"llmzip/native/{LIBRARY}")


if __name__ == "__main__":
    sys.exit(0 if build() else "no C compiler works here: install one, or pip install ziglang")
