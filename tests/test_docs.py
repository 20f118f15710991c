"""What the documents say is what the code does."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from llmzip.predictors import embedded_rungs

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def command_names() -> list[str]:
    from llmzip.cli.app import app

    commands = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    return [*commands, *(group.name for group in app.registered_groups if group.name)]


def test_every_command_is_in_the_readme() -> None:
    for name in command_names():
        assert f"llmzip {name}" in README


def test_every_llmzip_line_of_the_readme_is_a_command_with_those_options() -> None:
    names = command_names()
    helps: dict[str, str] = {}
    for name, rest in re.findall(r"llmzip ([a-z]+)((?: [^\n|#`]*)?)", README):
        if name not in names:
            continue
        if name not in helps:
            arguments = [sys.executable, "-m", "llmzip", name, "--help"]
            helps[name] = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
        for option in re.findall(r"(?<=\s)--?[a-z]+", rest):
            assert option in helps[name], f"{name} {option}"


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", README, re.S), ids=["compress", "measure"])
def test_the_examples_in_python_run(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not {"nano", "small"} <= {card.name for card in embedded_rungs()}:
        pytest.skip("the embedded models are not in this checkout")
    monkeypatch.chdir(ROOT)
    exec(compile(example, "README.md", "exec"), {})


def test_the_codecs_described_in_the_documents_can_be_read(tmp_path: Path) -> None:
    from llmzip.bench.external import read_external_codecs

    (example,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "bench.md").read_text(encoding="utf-8"), re.S)
    (tmp_path / "codecs.toml").write_text(example, encoding="utf-8")
    assert [codec.description.name for codec in read_external_codecs(tmp_path / "codecs.toml")] == ["cmix", "lz4 -12"]


def test_what_rounding_costs_is_what_the_cards_say() -> None:
    said = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for rung in embedded_rungs():
        card = json.loads((rung.folder / "card.json").read_text(encoding="utf-8"))
        costs = [100 * cost for cost in card["exact_over_float"].values()]
        assert max(costs) < 0.5
        assert f"`{rung.name}` {min(costs):+.2f} to {max(costs):+.2f} %" in said, "the cards changed: correct the table"


def test_the_tables_are_those_of_the_committed_results() -> None:
    tables = runpy.run_path(str(ROOT / "benchmarks" / "readme_table.py"))
    assert tables["with_tables"](README) == README


def test_links_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_exit_codes_of_the_readme_are_those_of_the_errors() -> None:
    from llmzip import errors

    codes = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.LlmzipError)
    }
    assert codes == {1, 2, 3, 4}
    assert "0 fine, 1 failure, 2 usage, 3 not comparable, 4 a model, corpus or program is not available" in README


def test_every_embedded_model_has_a_complete_card() -> None:
    for card in embedded_rungs():
        text = (card.folder / "README.md").read_text(encoding="utf-8")
        for part in ("## Results", "## Training", "## Data", "license:", "| prose |", f"{card.parameter_count:,}"):
            assert part in text
        assert set(card.bits_per_byte) == {"prose", "web", "markup", "other-language"}
        assert card.folder.joinpath("training.json").exists()


def test_the_checks_of_ideal_bits_hold_and_are_quoted_rightly() -> None:
    quoted = " ".join((ROOT / "docs" / "report.md").read_text(encoding="utf-8").split())
    results = ROOT / "benchmarks" / "results"
    harness = json.loads((results / "lm-eval-bits.json").read_text(encoding="utf-8"))
    ours, theirs = harness["llmzip_ideal_bits_per_byte"], harness["lm_eval_bits_per_byte"]
    assert abs(ours / theirs - 1) < 1e-3
    assert f"{theirs:.5f} by the harness" in quoted and f"{ours:.5f} by the exact engine" in quoted
    document = json.loads((results / "ideal-bits.json").read_text(encoding="utf-8"))
    models = {model["model"]: model for model in document["models"]}
    assert set(models) == {"nano", "small", "base", "TinyStories-656K"}
    for model in models.values():
        assert set(model["float"]) == {"float32", "float64"}
        for found in model["float"].values():
            assert abs(found["ideal_bits"] / found["reference_bits"] - 1) < 1e-6
        assert abs(model["exact"]["ideal_bits"] / model["exact"]["reference_bits"] - 1) < 2e-3
    largest = max(abs(m["float"]["float32"]["relative_difference"]) for m in models.values())
    assert f"{largest:.1e}" in quoted
    for model in models.values():
        assert f"{model['exact']['relative_difference']:+.3%}".replace("-", "−").replace("%", " %") in quoted
    assert f"{abs(models['nano']['float']['float32']['rounding']):.3%}".replace("%", " %") in quoted


def test_the_figures_of_float_models_are_those_of_the_results() -> None:
    quoted = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").replace("−", "-").replace(" %", "%")
    results = ROOT / "benchmarks" / "results"
    models = json.loads((results / "drift.json").read_text(encoding="utf-8"))["models"]
    for pair in models["small"]["differences"]:
        cells = [pair]
        for model in ("TinyStories-656K", "small"):
            found = models[model]["differences"][pair]
            cells += [f"{found['log_odds_largest']:.1e}", f"{found['log_odds_99.99_percent']:.1e}"]
            factor = found.get("tolerance_over_largest")
            assert factor is None or factor > 3.5
            cells.append(f"{factor:.1f} x" if factor else "none")
        assert f"| {' | '.join(cells)} |".replace(" %", "%") in quoted
    for row in json.loads((results / "portable-overhead.json").read_text(encoding="utf-8")):
        start = f"| {row['model']}, {row['text']} | {row['tolerance']:.1e} | "
        assert f"{start}{row['more_bits']:.2%} | {row['corrections_per_token']:.2%} |" in quoted
    loop = json.loads((results / "float-loop-tinystories.json").read_text(encoding="utf-8"))
    assert loop["bytes"] == 1 << 20 and loop["loop"]["forward_against_loop"] < 1e-6
    for name, way in loop["llmzip"].items():
        cells = [name]
        for end in ("compress", "decompress"):
            rates = way[end]
            cells += [f"{rates['tokens_per_second']:.0f}", f"{rates['times_loop_per_second']:.1f}"]
        assert f"| {' | '.join(cells)} | {way['more_bytes_than_loop']:+.2%} |" in quoted
