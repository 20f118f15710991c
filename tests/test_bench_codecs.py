"""Classical and external codecs: they give their data back, and their sizes are those of their own programs."""

import os
import shlex
import shutil
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
import zstandard
from typer.testing import CliRunner

import llmzip
from llmzip.bench.codecs import DEFAULT_CODECS, REFERENCE, classical_codec
from llmzip.bench.external import External, read_external_codecs
from llmzip.cli.app import app
from llmzip.errors import DocumentError, ModelError, RoundTripError, UsageError

ROOT = Path(llmzip.__file__).parents[1]
TEXT = b"It was a bright cold day in the valley, and the clocks of the two churches did not agree.\n" * 7
NAMES = [*DEFAULT_CODECS, "zstd -22 --long=27", "zstd --ultra -20 --long", "xz -0", "bzip2", "gzip -9", "brotli -5"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", [TEXT, b"a", b"\0" * 5000, bytes(range(256))], ids=["text", "a", "zeros", "bytes"])
def test_every_codec_gives_its_data_back(name: str, data: bytes) -> None:
    codec = classical_codec(name)
    assert codec.decompress(codec.compress(data)) == data
    assert codec.description.name == name and codec.description.kind == "classical"
    assert not codec.description.receiver_bytes


def test_settings_say_what_can_change_a_size() -> None:
    assert REFERENCE in DEFAULT_CODECS
    long = classical_codec("zstd -22 --long=27").description.settings
    assert (long["level"], long["window_log"]) == (22, 27) and "1." in str(long["library"])
    assert classical_codec("xz -9e").description.settings["extreme"] == 1
    assert classical_codec("zstd -3").description != classical_codec("zstd -4").description


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "no codec"),
        ("zip -9", "no codec 'zip -9'"),
        ("zstd -23", "levels -1 to -22"),
        ("xz -9x", "option -9x is not known"),
        ("zstd -3 --long=40", "10 to 31"),
        ("bzip2 -0", "levels -1 to -9"),
        ("gzip --fast", "--fast is not known"),
        ('xz "', "cannot be read"),
    ],
)
def test_names_that_describe_nothing_are_refused(name: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        classical_codec(name)


def tool_version(command: str) -> str:
    result = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return result.stdout + result.stderr


TOOLS = [
    ("zstd -3", "zstd -3 --no-check --single-thread -c", 3),
    ("zstd -19", "zstd -19 --no-check --single-thread -c", 3),
    ("zstd -22 --long=27", "zstd --ultra -22 --long=27 --no-check --single-thread -c", 3),
    ("xz -9e", "xz -9e -T1 -c", 0),
    ("xz -1", "xz -1 -T1 -c", 0),
    ("bzip2 -9", "bzip2 -9 -c", 0),
    ("brotli -11", "brotli -q 11 -c", 1),
    ("gzip -6", "gzip -n -6 -c", 0),
]


@pytest.mark.parametrize(("name", "command", "container_bytes"), TOOLS, ids=[name for name, _, _ in TOOLS])
@pytest.mark.parametrize("file", ["mail.txt", "server.log"])
def test_sizes_are_those_of_the_codec_s_own_program(
    name: str, command: str, container_bytes: int, file: str, tmp_path: Path
) -> None:
    program = command.split()[0]
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    data = (ROOT / "corpora" / file).read_bytes()
    (tmp_path / file).write_bytes(data)
    theirs = subprocess.run([*command.split(), str(tmp_path / file)], capture_output=True, check=True).stdout
    ours = classical_codec(name).compress(data)
    if program == "zstd" and ".".join(map(str, zstandard.ZSTD_VERSION)) not in tool_version(program):
        container_bytes += len(theirs) // 500  # levels are tuned from version to version
    if program == "gzip":
        if "ng" in zlib.ZLIB_RUNTIME_VERSION:
            pytest.skip("zlib-ng has other levels")
        container_bytes += len(theirs) // 250  # GNU gzip is not zlib
    assert abs(len(ours) - len(theirs)) <= container_bytes


def test_ppmd_is_the_program_itself() -> None:
    if not any(map(shutil.which, ("7zz", "7z", "7za"))):
        with pytest.raises(ModelError, match="install it"):
            classical_codec("ppmd -9")
        pytest.skip("7-Zip is not installed")
    codec = classical_codec("ppmd -5")
    assert codec.decompress(codec.compress(TEXT)) == TEXT


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "brotli", None)
    with pytest.raises(ModelError, match="brotli is not installed"):
        classical_codec("brotli")


COMPRESS = "import sys, zlib; sys.stdout.buffer.write(zlib.compress(sys.stdin.buffer.read()))"
DECOMPRESS = "import sys, zlib; open(sys.argv[2], 'wb').write(zlib.decompress(open(sys.argv[1], 'rb').read()))"


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def test_programs_are_codecs(tmp_path: Path) -> None:
    file = tmp_path / "codecs.toml"
    lists = f"compress = {python(COMPRESS)!r}\ndecompress = {python(DECOMPRESS, '{input}', '{output}')!r}\n"
    file.write_text(f"[[codec]]\nname = 'zlib; rm -rf'\ntime_limit_seconds = 60\n{lists}", encoding="utf-8")
    (codec,) = read_external_codecs(file)
    assert codec.decompress(codec.compress(TEXT)) == TEXT
    assert codec.description.name == "zlib; rm -rf" and codec.description.kind == "external"
    assert not codec.description.exact and shlex.quote(COMPRESS) in str(codec.description.settings["compress"])


def test_commands_may_be_strings_and_never_meet_a_shell(tmp_path: Path) -> None:
    file, witness = tmp_path / "codecs.toml", tmp_path / "witness"
    code = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    command = f'"{Path(sys.executable).as_posix()}" -c "{code}" ; touch {witness.as_posix()}'
    file.write_text(f"[[codec]]\nname='copy'\ncompress='''{command}'''\ndecompress='''{command}'''", encoding="utf-8")
    (codec,) = read_external_codecs(file)
    assert codec.decompress(codec.compress(TEXT)) == TEXT
    assert not witness.exists()


def test_programs_that_fail_say_how() -> None:
    def failing(code: str, *arguments: str, seconds: float = 60) -> External:
        return External("bad", python(code, *arguments), python("pass"), seconds)

    with pytest.raises(RoundTripError, match=r"bad: .* ended with 3 \(no luck\)"):
        failing("import sys; print('no luck', file=sys.stderr); sys.exit(3)").compress(TEXT)
    with pytest.raises(RoundTripError, match="longer than 0.2 seconds"):
        failing("import time; time.sleep(60)", seconds=0.2).compress(TEXT)
    with pytest.raises(RoundTripError, match="wrote no {output}"):
        failing("pass", "{output}").compress(TEXT)
    with pytest.raises(ModelError, match="cannot be run"):
        External("bad", ["/no/such/program"], ["x"]).compress(TEXT)


@pytest.mark.skipif(os.name != "posix", reason="process groups are a matter of POSIX")
def test_what_a_program_started_ends_with_it(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/shell; sh -c 'echo $$ > {tmp_path}/inner; exec sleep 60'; cat"
    slow = External("slow", ["sh", "-c", script], ["cat"], 0.5)
    with pytest.raises(RoundTripError, match="longer than 0.5 seconds"):
        slow.compress(TEXT)
    for name in ("shell", "inner"):
        process = int((tmp_path / name).read_text())
        for _ in range(50):  # what was killed may wait for its parent for a moment
            if not _runs(process):
                break
            time.sleep(0.1)
        assert not _runs(process)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_program_that_is_not_there_is_not_available(tmp_path: Path) -> None:
    """Exit code 4, not 1: a gate must not take it for a size that grew."""
    (tmp_path / "text").write_bytes(TEXT)
    (tmp_path / "codecs.toml").write_text('[[codec]]\nname = "a"\ncompress = "/no/such"\ndecompress = "/no/such"\n')
    command = ["bench", str(tmp_path / "text"), "--codecs", str(tmp_path / "codecs.toml"), "--codec", "zstd -3"]
    found = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*command, "-m", "adaptive", "-q"])
    assert found.exit_code == 4
    assert "/no/such cannot be run" in found.stderr
    assert found.stdout == ""
    found = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*command, "-m", "adaptive"])
    assert "zstd -3" in found.stdout  # the others go on


@pytest.mark.parametrize(
    "text",
    [
        "",
        "codec = 3",
        "[[codec]]\nname = 'a'\ncompress = 'x'",
        "[[codec]]\nname = ''\ncompress = 'x'\ndecompress = 'x'",
        "[[codec]]\nname = 'a'\ncompress = []\ndecompress = 'x'",
        "[[codec]]\nname = 'a'\ncompress = [1]\ndecompress = 'x'",
        "[[codec]]\nname = 'a'\ncompress = 'x'\ndecompress = 'x'\nshell = true",
        "[[codec]]\nname = 'a'\ncompress = 'x'\ndecompress = 'x'\ntime_limit_seconds = 0",
        "[[codec]",
    ],
)
def test_files_that_describe_no_codecs_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "codecs.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DocumentError, match="codecs.toml: .*: see docs/bench.md$"):
        read_external_codecs(tmp_path / "codecs.toml")
    with pytest.raises(DocumentError, match="cannot be read"):
        read_external_codecs(tmp_path / "absent.toml")
