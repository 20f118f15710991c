"""Help, contradictions, and the habits of zstd, xz and tar."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT, TEXT, environment, invoke, named, needs_nano, posix, run

from llmzip.archive import FORMAT_VERSION
from llmzip.cli.habits import with_command, with_levels
from llmzip.codec import compress
from llmzip.predictors import load_predictor


def test_help_and_version(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path)
    for code in ("0    fine", "1    failure", "2    usage", "3    results", "4    a model, corpus", "130  interr"):
        assert code in done.stdout.decode()
    done = run("--version", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith(b"llmzip ")
    assert f"archive format {FORMAT_VERSION}".encode() in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("compress -c -o x a.txt", "choose one"),
        ("compress -o x a.txt a.txt", "-o names one file"),
        ("compress --output= a.txt", "-o names no file"),
        ("compress -c --rm a.txt", "--rm needs a file"),
        ("compress --rm -", "--rm needs a file"),
        ("compress -2 -m nano a.txt", "leave one out"),
        ("compress --no-such-option", "No such option"),
        ("decompress --frame 1 a.txt", "--frame takes one archive"),
        ("decompress --frame 1 -c", "go back and forth"),
        ("decompress --recover -", "go back and forth"),
        ("corpora fetch a b --url c", "--url is the address"),
    ],
)
def test_contradictions_are_usage_errors(folder: Path, arguments: str, message: str) -> None:
    done = run(*arguments.split(), cwd=folder)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr.decode()
    assert named(folder) == {"a.txt"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("-d a", "decompress a"),
        ("-dc a", "decompress -c a"),
        ("-fd a", "decompress -f a"),
        ("-9 -d", "decompress"),
        ("-m nano -d a", "decompress -m nano a"),
        ("--decompress -c a", "decompress -c a"),
        ("-t a", "test a"),
        ("-zk a", "compress -k a"),
        ("-9k a -- -d", "compress -9k a -- -d"),
        ("-T1 a", "compress -T1 a"),
        ("--rm a", "compress --rm a"),
        ("compress -d", "compress -d"),
        ("-h", "-h"),
        ("--version", "--version"),
        ("a", "a"),
    ],
)
def test_options_without_a_command(typed: str, meant: str) -> None:
    assert [word for word in with_command(typed.split(), piped=False) if word != "-"] == meant.split()


def test_no_words_at_all() -> None:
    assert with_command([], piped=False) == []
    assert with_command([], piped=True) == ["compress"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("-9", "--level=9"),
        ("-9f a", "--level=9 -f a"),
        ("-f3 -T1", "-f --level=3 -T1"),
        ("-cT2 -o -1 -4", "-c -T2 -o -1 --level=4"),
        ("--output -5 -- -6", "--output -5 -- -6"),
        ("-m 7b -fm7", "-m 7b -f -m7"),
        ("-o", "-o"),
        ("-", "-"),
        ("--level=3 --no-such-1", "--level=3 --no-such-1"),
    ],
)
def test_levels_among_letters(typed: str, meant: str) -> None:
    assert with_levels(typed.split(), {"-o", "--output", "-T", "-m"}) == meant.split()


@pytest.mark.parametrize("level", ["-22", "-0", "-19f", "-f10"])
def test_no_number_is_taken_for_another_level(folder: Path, level: str) -> None:
    result = invoke("compress", level, folder / "a.txt")
    assert result.exit_code == 2 and "levels are -1 to -9" in result.stderr
    assert named(folder) == {"a.txt"}


def test_keep_and_rm_are_one_choice_and_the_last_counts(folder: Path) -> None:
    assert invoke("compress", "-1kf", folder / "a.txt").exit_code == 0
    assert invoke("compress", "-1f", "--rm", "-k", folder / "a.txt").exit_code == 0
    assert named(folder) == {"a.txt", "a.txt.llmz"}
    assert invoke("-df", "-k", "--rm", folder / "a.txt.llmz").exit_code == 0
    assert named(folder) == {"a.txt"}


@posix
@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar here")
@pytest.mark.parametrize("program", ["llmzip", "llmzip -1"])
def test_tar_uses_it(folder: Path, program: str) -> None:
    if b"GNU tar" not in subprocess.run(["tar", "--version"], capture_output=True, check=True).stdout:
        pytest.skip("this tar is not GNU's")
    script = folder / "bin" / "llmzip"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m llmzip "$@"\n')
    script.chmod(0o755)
    path = {**environment(), "PATH": f"{script.parent}:{os.environ['PATH']}"}
    for words in ("-cf a.tar.llmz a.txt", "-xf a.tar.llmz -C bin"):
        done = subprocess.run(["tar", "-I", program, *words.split()], cwd=folder, env=path, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (folder / "bin" / "a.txt").read_bytes() == TEXT


def test_usage_shows_what_must_be_given() -> None:
    for command, usage in {
        "compress": "[FILE]...",
        "bench": "PATH...",
        "heatmap": "FILE",
        "compare": "BEFORE AFTER",
        "account": "[MODEL]...",
    }.items():
        first = invoke(command, "--help").stdout.splitlines()[0].replace("root", "llmzip")
        assert first == f"Usage: llmzip {command} [OPTIONS] {usage}"


def test_several_files_have_a_total(folder: Path) -> None:
    (folder / "b.txt").write_bytes(TEXT)
    result = invoke("compress", "-1", folder / "a.txt", folder / "b.txt")
    sizes = [(folder / name).stat().st_size for name in ("a.txt.llmz", "b.txt.llmz")]
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"2 files: {2 * len(TEXT):,} -> {sum(sizes):,} bytes, ") and "bits per byte" in last
    result = invoke("-df", folder / "a.txt.llmz", folder / "b.txt.llmz", folder / "absent.llmz")
    assert result.stderr.splitlines()[-1].startswith(f"2 of 3 files: {sum(sizes):,} -> {2 * len(TEXT):,} bytes, ")
    assert "2 files: fine, " in invoke("test", folder / "a.txt.llmz", folder / "b.txt.llmz").stderr
    assert invoke("compress", "-1fq", folder / "a.txt", folder / "b.txt").stderr == ""
    assert "files:" not in invoke("compress", "-1f", folder / "a.txt").stderr


@needs_nano
def test_without_memory(folder: Path) -> None:
    data = (ROOT / "corpora" / "prose-story.txt").read_bytes()[:9000]
    (folder / "a.txt").write_bytes(data)
    result = invoke("compress", "-m", "nano", "--no-memory", "-c", folder / "a.txt")
    assert result.stdout_bytes == compress(data, load_predictor("nano"), memory=False)
    result = invoke("compress", "-m", "adaptive", "--no-memory", "-c", folder / "a.txt")
    assert result.exit_code == 2 and "leave --no-memory out" in result.stderr
