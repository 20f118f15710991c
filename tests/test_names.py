"""Names that are no text: every output of a bench takes a file whose name has bytes that are not UTF-8."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import llmzip
from llmzip.bench.baseline import read_baseline
from llmzip.bench.results import Results
from llmzip.predictors import embedded_rungs

ROOT = Path(llmzip.__file__).parents[1]
NAME = os.fsdecode(b"caf\xe9 <a&b>|`x`.txt")

pytestmark = [
    pytest.mark.skipif(not embedded_rungs(), reason="this checkout lacks the embedded models"),
    pytest.mark.skipif(sys.platform != "linux", reason="names are not bytes here"),
]


def run(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[bytes]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GITHUB_")}
    environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "80", **variables}
    command = [sys.executable, "-m", "llmzip", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = tmp_path_factory.mktemp("names") / os.fsdecode(b"kind\xff") / "texts"
    texts.mkdir(parents=True)
    for sub in (texts, texts / os.fsdecode(b"sub\xfe")):
        sub.mkdir(exist_ok=True)
        (sub / NAME).write_bytes(b"A text of some words, and of some more words than that.\n" * 9)
    return texts.parent


def test_every_output_takes_every_name(folder: Path) -> None:
    outputs = {form: f"{form}.out" for form in ("junit", "github-benchmark", "bencher", "lm-eval")}
    exports = [word for form, name in outputs.items() for word in ("--export", f"{form}={name}")]
    bench = ["bench", "texts", "-m", "nano", "--codec", "zstd -3", "--check", "b.json"]
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    made = run(folder, *bench, "--update-baseline", "--output", "r.json", "--html", "p.html", *exports, **github)
    assert made.returncode == 0, made.stderr
    again = run(folder, *bench, *exports, "--json", **github)
    assert again.returncode == 0, again.stderr
    for name in (*outputs.values(), "b.json", "r.json", "p.html", "summary.md"):
        assert (folder / name).read_bytes().decode("utf-8"), name  # each is text
    names = {NAME, f"{os.fsdecode(bytes([115, 117, 98, 254]))}/{NAME}"}
    assert set(read_baseline((folder / "b.json").read_bytes()).files) == names
    assert {file.name for file in Results.from_json((folder / "r.json").read_bytes()).files} == names
    assert {file.name for file in Results.from_json(again.stdout).files} == names
    for form in ("github-benchmark", "bencher", "lm-eval"):
        assert json.loads((folder / outputs[form]).read_bytes())
    assert ElementTree.fromstring((folder / outputs["junit"]).read_bytes()).findall("testsuite/testcase")
    for form in ("--csv", "--markdown", "--files"):
        found = run(folder, *bench[:6], form)
        assert found.returncode == 0 and found.stdout.decode("utf-8"), found.stderr


def test_what_grew_is_told_by_every_name(folder: Path) -> None:
    made = run(
        folder, "bench", "texts", "-m", "adaptive", "--codec", "zstd -3", "--check", "before.json", "--update-baseline"
    )
    assert made.returncode == 0, made.stderr
    document = json.loads((folder / "before.json").read_bytes())
    row = document["codecs"]["zstd -3"]["rows"][NAME]
    row["archive_bytes"] -= 1
    (folder / "smaller.json").write_text(json.dumps(document), encoding="utf-8")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(folder / "grew.md")}
    found = run(folder, "compare", "smaller.json", "before.json", "--export", "junit=grew.xml", **github)
    assert found.returncode == 1, found.stderr
    assert b"::error" in found.stderr and b"caf\\udce9" in found.stdout
    assert "caf\\udce9" in (folder / "grew.md").read_text(encoding="utf-8")
    assert ElementTree.parse(folder / "grew.xml").findall(".//failure")
