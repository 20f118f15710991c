"""No command writes over what it reads, finds out late where it cannot write, or leaves an old report looking new."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import TEXT, invoke, named, needs_nano, posix, run

from llmzip.bench.results import Results

OUTPUTS: dict[str, list[str]] = {
    "compress": ["compress", "-1", "-f", "IN", "-o", "OUT"],
    "decompress": ["decompress", "-f", "IN", "-o", "OUT"],
    "bench --output": ["bench", "IN", "-m", "adaptive", "--output", "OUT"],
    "bench --html": ["bench", "IN", "-m", "adaptive", "--html", "OUT"],
    "bench --export": ["bench", "IN", "-m", "adaptive", "--export", "junit=OUT"],
    "bench --update-baseline": ["bench", "IN", "-m", "adaptive", "--check", "OUT", "--update-baseline"],
    "bench --codecs": ["bench", "TEXT", "-m", "adaptive", "--codecs", "IN", "--output", "OUT"],
    "bench --check": ["bench", "TEXT", "-m", "adaptive", "--check", "IN", "--output", "OUT"],
    "heatmap --html": ["heatmap", "IN", "-f", "--html", "OUT"],
    "compare --export": ["compare", "IN", "IN", "--export", "junit=OUT"],
}
"""Every way to name a file that is written, beside one that is read."""

ways = pytest.mark.parametrize("way", OUTPUTS)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str, str], list[str]]:
    """The words of a way, with these names for input and output."""
    (tmp_path / "text").write_bytes(TEXT)

    def words(way: str, target: str) -> list[str]:
        names = {"IN": str(tmp_path / "in.llmz"), "TEXT": str(tmp_path / "text")}
        found = [names.get(word, word.replace("OUT", target)) for word in OUTPUTS[way]]
        return found

    (tmp_path / "in.llmz").write_bytes(TEXT)
    return words


@posix
@ways
def test_no_input_is_written_over_by_any_of_its_names(
    tmp_path: Path, way: str, written: Callable[[str, str], list[str]]
) -> None:
    source = tmp_path / "in.llmz"
    (tmp_path / "link").symlink_to(source)
    os.link(source, tmp_path / "hard")
    before = named(tmp_path)
    for name in (source, os.path.relpath(source), f"{tmp_path}/./in.llmz", tmp_path / "link", tmp_path / "hard"):
        result = invoke(*written(way, str(name)))
        assert result.exit_code == 2, (way, name, result.output)
        assert source.read_bytes() == TEXT and named(tmp_path) == before


@ways
@pytest.mark.parametrize("target", ["absent/x", "folder", "folder/", "new/", "n" * 252 + ".llmz", "text/x"])
def test_what_cannot_be_written_is_said_before_any_work(
    tmp_path: Path, way: str, target: str, written: Callable[[str, str], list[str]]
) -> None:
    (tmp_path / "folder").mkdir()
    before = named(tmp_path)
    result = invoke(*written(way, f"{tmp_path}/{target}"))
    assert result.exit_code == 2, result.output
    assert "cannot be written" in result.stderr or "is a folder" in result.stderr
    assert result.stderr.count("\n") == 1 and named(tmp_path) == before


@needs_nano
def test_no_target_is_a_file_of_the_model(tmp_path: Path) -> None:
    import shutil

    from llmzip.predictors import embedded_rungs

    folder = tmp_path / "model"
    shutil.copytree(next(card.folder for card in embedded_rungs() if card.name == "nano"), folder)
    (tmp_path / "text").write_bytes(TEXT)
    config, text = (folder / "config.json").read_bytes(), str(tmp_path / "text")
    for words in (["compress", "-f", text, "-o"], ["bench", text, "--output"], ["heatmap", "-f", text, "--html"]):
        assert invoke(*words, folder / "config.json", "-m", folder).exit_code == 2
        assert (folder / "config.json").read_bytes() == config


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--check", "absent.json"], 2),
        (["--check", "absent.json", "--quick"], 2),
        (["--codec", "no-such-codec"], 2),
        (["--check", "broken.json"], 2),
        (["-m", "no-such-model"], 4),
        (["absent"], 4),
    ],
)
def test_an_old_report_does_not_outlive_a_run_that_fails(tmp_path: Path, words: list[str], code: int) -> None:
    (tmp_path / "text").write_bytes(TEXT)
    (tmp_path / "broken.json").write_text("{}")
    (tmp_path / "junit.xml").write_text("all is well")
    done = run("bench", "text", "--export", "junit=junit.xml", *words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert not (tmp_path / "junit.xml").exists()


def test_an_old_report_does_not_outlive_a_comparison_that_fails(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "junit.xml").write_text("all is well")
    done = run("compare", "a.json", "absent.json", "--export", "junit=junit.xml", cwd=tmp_path)
    assert done.returncode == 2 and not (tmp_path / "junit.xml").exists()


@posix
def test_every_output_takes_every_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    try:
        (tmp_path / name).write_bytes(TEXT)
    except OSError:
        pytest.skip("this file system takes no such names")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    exports = [word for form in ("junit", "github-benchmark", "bencher") for word in ("--export", f"{form}={form}.out")]
    words = ["bench", name, "-m", "adaptive", "--codec", "zstd -3", "--check", "base", "--update-baseline", *exports]
    for output in ([], ["--csv"], ["--markdown"], ["--json"], ["--files"]):
        done = run(*words, "--output", "results.json", "--html", "page.html", *output, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
    assert Results.from_json((tmp_path / "results.json").read_text(encoding="utf-8")).files[0].name == name
    assert run(*words[:-7], cwd=tmp_path).returncode == 0  # the baseline knows it again
    done = run("heatmap", name, "-m", "nano", "--html", "map.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@posix
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "/dev/zero", "/dev/null"):
        done = run("bench", name, "-m", "adaptive", cwd=tmp_path, timeout=30)
        assert (done.returncode, done.stdout) == (2, b"") and b"no regular file" in done.stderr
    if os.path.exists("/proc/version"):
        done = run("bench", "/proc/version", "-m", "adaptive", cwd=tmp_path, timeout=30)
        assert done.returncode == 2 and b"copy it" in done.stderr


@posix
@needs_nano
def test_a_heatmap_reads_what_it_shows(tmp_path: Path) -> None:
    with open("/dev/zero", "rb") as endless:
        done = run("heatmap", "-m", "nano", "--limit", "200", "-", cwd=tmp_path, input=None, stdin=endless)
    assert done.returncode == 0 and b"only the first 200 bytes" in done.stderr
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    done = run("heatmap", "-m", "nano", "--limit", "200", "huge", "--json", cwd=tmp_path)
    assert done.returncode == 0 and b"only the first 200 of 1,099,511,627,776 bytes" in done.stderr


@posix
def test_one_file_that_cannot_be_read_does_not_end_a_bench(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT)
    (tmp_path / "gone.txt").symlink_to("absent")
    done = run("bench", "-m", "adaptive", "--codec", "zstd -3", ".", cwd=tmp_path)
    assert done.returncode == 1 and b"zstd -3" in done.stdout
    first, *_, last = done.stderr.decode().splitlines()
    assert "gone.txt: it cannot be read" in first and "could not be read and is in no figure" in last
    done = run("bench", "-m", "adaptive", "--codec", "zstd -3", "--exclude", "gone*", ".", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
