"""Thousands of random command lines over a folder of awkward files: no traceback, and no input changes.

``LLMZIP_COMMAND_LINES=2000 pytest tests/test_command_lines.py`` tries more of them.
"""

import os
import random
from pathlib import Path

import pytest
from commands import NOISE, STORED, TEXT, invoke, needs_nano, posix

COMMAND_LINES = int(os.environ.get("LLMZIP_COMMAND_LINES", "120"))

COMMANDS = {
    "compress": ("-c", "-k", "-f", "-q", "-v", "-1", "-3", "-T", "1", "-m", "adaptive", "nano", "--rm", "--no-memory"),
    "decompress": ("-c", "-k", "-f", "-q", "--recover", "--frame", "0", "7", "-m", "nano", "--params", "--rm"),
    "test": ("-q", "-v", "-m", "nano", "-T", "1"),
    "info": ("--json",),
    "bench": ("-m", "adaptive", "--codec", "zstd -1", "--quick", "--json", "--csv", "--quiet", "--check", "--output"),
    "heatmap": ("-m", "nano", "--limit", "40", "--html", "--json", "--no-memory"),
    "compare": ("--json",),
    "account": ("--parameters", "7B", "--receiver-bytes", "-3"),
    "corpora": ("list", "verify", "path"),
    "models": ("--json", "--pareto"),
    "export": ("nano", "-f", "-q"),
}
"""By command: words that may stand in its line, in any order and number."""

READ_PIPES = ("compress", "decompress", "test", "info")

ODD_WORDS = ("-", "--", "", " ", "-o", "--nothing", "-22", "=", "\udce9", "a\nb", "0", "-1", "nan", "x" * 300)


def awkward_folder(folder: Path) -> list[Path]:
    """Files of many kinds, and what only looks like one; all of them are inputs."""
    contents = {
        "text.txt": TEXT,
        "noise": NOISE,
        "empty": b"",
        "stored.llmz": STORED,
        "cut.llmz": STORED[:40],
        "not.llmz": b"no archive",
        "-dash": b"a name like an option\n",
        " space .txt": b"spaces\n" * 9,
        "line\nend.txt": b"a name of two lines\n",
        "report.json": b'{"version": 1}',
        "params.bin": b"LLMZPARM" + bytes(300),
    }
    made = []
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        made.append(folder / name)
    undecodable = folder / os.fsdecode(b"caf\xe9.txt")
    undecodable.write_bytes(TEXT[:200])
    (folder / "folder").mkdir()
    (folder / "folder" / "inner.txt").write_bytes(TEXT[:300])
    (folder / "link.txt").symlink_to("text.txt")
    (folder / "nowhere.txt").symlink_to("missing")
    (folder / "loop").symlink_to("loop")
    os.link(folder / "noise", folder / "twin")
    os.mkfifo(folder / "fifo")
    return [*made, undecodable, folder / "folder" / "inner.txt"]


@posix
@needs_nano
def test_no_command_line_ends_in_a_traceback_or_changes_an_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = awkward_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in inputs}
    names = [os.path.relpath(path) for path in inputs] + [
        "folder",
        ".",
        "link.txt",
        "nowhere.txt",
        "loop",
        "fifo",
        "twin",
    ]
    made_up = ["missing.txt", "new", "folder/new.llmz", "no/such/folder/x", "/dev/null", "..", "fifo/x"]
    generator = random.Random(5)
    for number in range(COMMAND_LINES):
        command = generator.choice(list(COMMANDS))
        words = [generator.choice(COMMANDS[command]) for _ in range(generator.randrange(5))]
        words += [generator.choice(names) for _ in range(generator.randrange(3))]
        if command in READ_PIPES:
            words = [word for word in words if word != "fifo"]  # they would wait for whoever writes, as cat does
        words += [generator.choice([*made_up, *ODD_WORDS]) for _ in range(generator.randrange(2))]
        generator.shuffle(words)
        if "--rm" in words:
            words = [word for word in words if word != "--rm"]  # which is told to remove inputs
        line = [command, *words]
        found = invoke(*line)
        said = f"{number}: {line}"
        assert found.exit_code in (0, 1, 2, 3, 4), said
        assert found.exception is None or isinstance(found.exception, SystemExit), f"{said}: {found.exception!r}"
        assert "Traceback" not in found.output, said
        for path, content in before.items():
            if "-f" not in words or path.name not in str(words):  # who forces may overwrite an archive's own text
                assert path.read_bytes() == content, said
        for path, content in before.items():
            path.write_bytes(content)
