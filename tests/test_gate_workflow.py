"""The workflow of ``docs/gate.md`` in a temporary repository: every way a gate can end, by its own commands."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

import llmzip
from llmzip.bench.baseline import baseline_of, read_baseline
from llmzip.bench.measuring import measure
from llmzip.bench.results import Results
from llmzip.predictors import embedded_rungs

ROOT = Path(llmzip.__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
RUNGS = {rung.name: rung.folder for rung in embedded_rungs()}
TEXTS = ("prose-story.txt", "code.c", "manual.md")
TEXT_BYTES = 700

pytestmark = pytest.mark.skipif("nano" not in RUNGS, reason="this checkout lacks the embedded model nano")

BREAKS = """
[[codec]]
name = "forgetful"
compress = {copy}
decompress = {forget}
"""


def gate_command() -> list[str]:
    """The gate's step in the workflow."""
    (block,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.S)
    workflow = yaml.safe_load(block)
    steps = workflow["jobs"]["gate"]["steps"]
    (command,) = [step["run"] for step in steps if step.get("name") == "Gate"]
    return shlex.split(command)


def printed_commands() -> list[list[str]]:
    """What the document shows after a prompt, comments left out."""
    return [shlex.split(line, comments=True) for line in re.findall(r"^\$ (llmzip .*)$", DOCUMENT, re.M)]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model team's repository: texts, a checkpoint, and a baseline of it."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "texts").mkdir()
    for name in TEXTS:
        text = (ROOT / "corpora" / name).read_bytes()
        (folder / "texts" / name).write_bytes(text[1000 : 1000 + TEXT_BYTES])
    shutil.copytree(RUNGS["nano"], folder / "checkpoint")
    found = run([*gate_command(), "--update-baseline", "--explain"], folder)
    assert found.returncode == 0, found.stderr
    assert found.stderr == "" and (folder / "baseline.json").is_file()  # the step asks for quiet
    return folder


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(repository, tmp_path / "clone")


def run(command: list[str], folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    assert command[0] == "llmzip"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GITHUB_")}
    environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "80", **variables}
    arguments = [sys.executable, "-m", *command]
    return subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300
    )


def worsen(checkpoint: Path) -> None:
    """Noise on all weights: deliberately a worse model."""
    path = checkpoint / "model.safetensors"
    rng = np.random.default_rng(1)
    tensors = load_file(path)
    noisy = {
        name: (tensor + 0.1 * tensor.std() * rng.standard_normal(tensor.shape)).astype(tensor.dtype)
        for name, tensor in tensors.items()
    }
    save_file(noisy, path, metadata={"format": "pt"})


def edit_baseline(folder: Path, growth_bytes: int) -> None:
    """As if the code had made one archive of the checkpoint smaller (or larger) when the baseline was made."""
    path = folder / "baseline.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    row = document["codecs"]["llmzip checkpoint"]["rows"]["code.c"]
    row["archive_bytes"] += growth_bytes
    row["waterfall_microbits"]["framing"] += 8_000_000 * growth_bytes
    path.write_text(json.dumps(document), encoding="utf-8")


def test_the_commands_of_the_document_measure_the_same_things() -> None:
    """A baseline made by the first block can be checked by the workflow."""
    told = {"--quiet": 1, "--update-baseline": 1, "--export": 2}  # options that change no size, and their words
    checks = [command for command in printed_commands() if "--check" in command]
    assert len(checks) == 2
    for command in (gate_command(), *checks):
        kept: list[str] = []
        words = iter(command)
        for word in words:
            if word not in told:
                kept.append(word)
            elif told[word] == 2:
                next(words)
        assert kept == [
            "llmzip",
            "bench",
            "texts",
            "-m",
            "./checkpoint",
            "--codec",
            "zstd -19",
            "--check",
            "baseline.json",
        ]


def test_the_verdict_is_in_the_json(repository: Path) -> None:
    found = run([*gate_command(), "--json"], repository)
    document = json.loads(found.stdout)
    assert document["comparison"]["verdict"] == "equal"
    assert {codec["codec"] for codec in document["comparison"]["codecs"]} == {"llmzip checkpoint", "zstd -19"}
    assert Results.from_json(found.stdout).rows  # a result as any other


@pytest.mark.parametrize("damage", ["no baseline", "damaged baseline", "other text"])
def test_what_was_not_compared_is_told_everywhere(clone: Path, tmp_path: Path, damage: str) -> None:
    if damage == "no baseline":
        (clone / "baseline.json").unlink()
    elif damage == "damaged baseline":
        (clone / "baseline.json").write_text("{", encoding="utf-8")
    else:
        (clone / "texts" / "code.c").write_text("int x;", encoding="utf-8")
    (clone / "bits-per-byte.xml").write_text("<green/>", encoding="utf-8")
    summary = tmp_path / "summary.md"
    found = run([*gate_command(), "--json"], clone, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    verdict = "not comparable" if damage == "other text" else "not checked"
    assert found.returncode == (3 if damage == "other text" else 2)
    told = json.loads(found.stdout)
    assert told["verdict"] == verdict and told["reason"] in found.stderr
    assert f"**{verdict}**" in summary.read_text(encoding="utf-8")
    assert f"::error title=bits per byte%3A {verdict}::" in found.stderr
    assert not (clone / "bits-per-byte.xml").exists()  # an old one would look as if all was well


def test_nothing_has_changed(repository: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    found = run(gate_command(), repository, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert found.returncode == 0 and found.stderr == ""  # the step asks for quiet
    loud = [word for word in gate_command() if word != "--quiet"]
    assert "llmzip checkpoint: equal" in run(loud, repository).stderr
    assert "| llmzip checkpoint |" in summary.read_text(encoding="utf-8")
    assert not ElementTree.parse(repository / "bits-per-byte.xml").findall(".//failure")


def test_one_byte_more(clone: Path) -> None:
    edit_baseline(clone, -1)
    found = run([*gate_command(), "--explain"], clone, GITHUB_ACTIONS="true")
    assert found.returncode == 1
    assert "llmzip checkpoint: REGRESSED (tolerance bytes:0 a file)" in found.stderr
    assert "by kind: code +1" in found.stderr
    assert "waterfall, in bytes: framing +1.0" in found.stderr
    assert "undo that, or accept it with --update-baseline" in found.stderr
    assert "::error title=bits per byte%3A llmzip checkpoint::" in found.stderr
    (failure,) = ElementTree.parse(clone / "bits-per-byte.xml").findall(".//failure")
    assert "(+1)" in str(failure.get("message"))
    assert run([*gate_command(), "--tolerance", "bytes:1"], clone).returncode == 0


def test_one_byte_less(clone: Path) -> None:
    edit_baseline(clone, 1)
    loud = [word for word in gate_command() if word != "--quiet"]
    found = run(loud, clone)
    assert found.returncode == 0
    assert "keep that with --update-baseline" in found.stderr
    assert run([*gate_command(), "--update-baseline"], clone).returncode == 0
    assert "equal" in run(loud, clone).stderr


def test_another_model_and_a_worse_one(clone: Path) -> None:
    worsen(clone / "checkpoint")
    found = run(gate_command(), clone)
    assert found.returncode == 3
    assert "llmzip checkpoint is another model or tokenizer" in found.stderr
    assert "--across-models" in found.stderr
    found = run([*gate_command(), "--across-models"], clone)
    assert found.returncode == 1
    assert "REGRESSED" in found.stderr and "of the total" in found.stderr
    assert "ideal bits: +" in found.stderr


def test_a_checkpoint_and_its_predecessor(clone: Path) -> None:
    before, after, comparing = [command for command in printed_commands() if "checkpoint-" in str(command)] + [
        command for command in printed_commands() if "--across-models" in command
    ]
    (clone / "checkpoint").rename(clone / "checkpoint-2000")
    shutil.copytree(clone / "checkpoint-2000", clone / "checkpoint-1000")
    worsen(clone / "checkpoint-1000")
    for command in (before, after):
        assert run([*command, "--codec", "zstd -3"], clone).returncode == 0
    found = run(comparing, clone)
    assert found.returncode == 0, found.stderr
    assert "llmzip checkpoint-2000: against llmzip checkpoint-1000, improved" in found.stdout
    (clone / "before.json").rename(clone / "first.json")
    (clone / "after.json").rename(clone / "before.json")
    (clone / "first.json").rename(clone / "after.json")
    assert run(comparing, clone).returncode == 1


def test_another_text(clone: Path) -> None:
    with (clone / "texts" / "code.c").open("ab") as file:
        file.write(b"\n")
    found = run(gate_command(), clone)
    assert found.returncode == 3
    assert "code.c has other content" in found.stderr
    assert found.stdout == ""  # refused before it was measured


def test_no_baseline(clone: Path) -> None:
    (clone / "baseline.json").unlink()
    found = run(gate_command(), clone)
    assert found.returncode == 2
    assert "there is no baseline baseline.json: --update-baseline makes it" in found.stderr


def test_a_damaged_baseline(clone: Path) -> None:
    path = clone / "baseline.json"
    path.write_text("<<<<<<< HEAD\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    found = run(gate_command(), clone)
    assert found.returncode == 2
    assert "baseline.json: it is no JSON that can be read" in found.stderr
    assert "--update-baseline" in found.stderr
    assert run([*gate_command(), "--update-baseline"], clone).returncode == 0


def test_a_codec_that_does_not_give_its_text_back(clone: Path) -> None:
    copy = [sys.executable, "-c", "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"]
    forget = [sys.executable, "-c", "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()[1:])"]
    (clone / "codecs.toml").write_text(
        BREAKS.format(copy=json.dumps(copy), forget=json.dumps(forget)), encoding="utf-8"
    )
    baseline = (clone / "baseline.json").read_bytes()
    for extra in ([], ["--update-baseline"]):
        found = run([*gate_command(), "--codecs", "codecs.toml", *extra], clone)
        assert found.returncode == 1
        assert "forgetful does not give" in found.stderr
        assert "was not compared" in found.stderr
    assert (clone / "baseline.json").read_bytes() == baseline


@pytest.mark.parametrize(
    "options",
    [["--update-baseline"], ["--tolerance", "bytes:0"], ["--check", "baseline.json", "--quick"],
     ["--check", "baseline.json", "--resume", "baseline.json"]],
)  # fmt: skip
def test_options_that_contradict_each_other(repository: Path, options: list[str]) -> None:
    found = run(["llmzip", "bench", "texts", "-m", "./checkpoint", *options], repository)
    assert found.returncode == 2
    assert len(found.stderr.splitlines()) == 1


def test_our_own_workflow_checks_our_own_baseline() -> None:
    """The sizes of models are the workflow's to check; here it is that the baseline is of these texts."""
    (update,) = re.findall(r"```sh\n(llmzip bench corpora .*?)\n```", DOCUMENT, re.S)
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert update.removesuffix(" --update-baseline") in workflow
    committed = read_baseline((ROOT / "benchmarks" / "baseline.json").read_text(encoding="utf-8"))
    assert set(committed.codecs) == {"zstd -19", "llmzip nano"}
    now = baseline_of(measure([ROOT / "corpora"], models=[], codecs=["zstd -19"]))
    assert now.files == committed.files, f"run: {update}"
