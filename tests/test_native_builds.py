"""The native library, however it is compiled: no warnings, the same archives, and damaged payloads under sanitizers."""

import os
import platform
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llmzip.native import library

TESTS = Path(__file__).parent
BUILD = runpy.run_path(str(TESTS.parent / "hatch_build.py"))
KERNELS, SOURCES, compile_library = BUILD["KERNELS"], BUILD["SOURCES"], BUILD["compile_library"]
COMPILERS = {"gcc": ["gcc"], "clang": ["clang"], "zig": [sys.executable, "-m", "ziglang", "cc"]}
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1")
MACHINE = platform.machine().lower()
SETS = KERNELS.get(BUILD["MACHINES"].get(MACHINE, MACHINE), {"plain": ()})


def command_of(compiler: str) -> list[str]:
    """How a compiler is called; skips where it is missing."""
    command = COMPILERS[compiler]
    if shutil.which(command[0]) is None or subprocess.run([*command, "--version"], capture_output=True).returncode:
        pytest.skip(f"{compiler} is not installed")
    return command


def run(program: str, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    """One of the programs beside this file, with this llmzip."""
    path = os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, TESTS / program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path} | environment,
        check=False,
    )


def digests(path: Path, kernels: str) -> str:
    """Of the archives of a build."""
    result = run("native_digests.py", path, kernels)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def installed() -> str:
    """Of the library that is used here, with its fastest kernels."""
    if not library.available():
        pytest.skip("there is no native library here")
    return digests(library.PATH, library.available()[0].kernels)


def test_every_set_of_kernels_writes_the_same_archives(installed: str) -> None:
    for one in library.available()[1:]:
        assert digests(library.PATH, one.kernels) == installed


@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_compiler_makes_the_same_archives(compiler: str, installed: str, tmp_path: Path) -> None:
    path = tmp_path / library.PATH.name
    compile_library(command_of(compiler), path)
    assert digests(path, library.available()[0].kernels) == installed


@pytest.mark.parametrize("compiler", COMPILERS)
def test_compilers_say_nothing(compiler: str, tmp_path: Path) -> None:
    command = command_of(compiler)
    for kernels, flags in SETS.items():
        names = (f"-DKERNELS={kernels}", "-include", str(SOURCES / "names.h"))
        for source in sorted(SOURCES.glob("*.c")):
            words = [*command, "-std=c11", "-Wall", "-Wextra", "-ffp-contract=off", *names, *flags, "-c", str(source)]
            result = subprocess.run([*words, "-o", str(tmp_path / "x.o")], capture_output=True, text=True)
            assert (result.returncode, result.stderr) == (0, ""), (source.name, kernels)


def test_damaged_payloads_under_sanitizers(tmp_path: Path) -> None:
    """A few; many more by hand: ``native_fuzz.py``."""
    if sys.platform != "linux":
        pytest.skip("the sanitizers' runtime is loaded first on Linux only")
    command = command_of("gcc")
    runtimes = [
        subprocess.run([*command, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    if not all(map(os.path.isabs, runtimes)):
        pytest.skip("gcc has no sanitizers here")
    path = tmp_path / library.PATH.name
    compile_library(command, path, extra=SANITIZERS)
    result = run("native_fuzz.py", path, 200, LD_PRELOAD=" ".join(runtimes), ASAN_OPTIONS="detect_leaks=0")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("200 damaged: ")


def test_the_kernels_pass_their_test_on_another_processor(tmp_path: Path) -> None:
    """In an emulator, for ARM: the library's own test at load, whose results it computes plainly beside the kernels."""
    command, emulator = command_of("zig"), shutil.which("qemu-aarch64")
    if emulator is None:
        pytest.skip("qemu-aarch64 is not installed")
    main, program = tmp_path / "main.c", tmp_path / "main"
    main.write_text(
        "#include <stdint.h>\nint32_t runs_here_plain(void), self_test_plain(void);\n"
        "int main(void) { return !(runs_here_plain() && self_test_plain()); }\n"
    )
    names = ("-DKERNELS=plain", "-include", str(SOURCES / "names.h"))
    words = [*command, "-target", "aarch64-linux-musl", "-static", *BUILD["FLAGS"], *names, str(main)]
    subprocess.run([*words, *map(str, SOURCES.glob("*.c")), "-o", str(program), "-lm"], check=True)
    assert subprocess.run([emulator, "-cpu", "max", str(program)], check=False).returncode == 0
