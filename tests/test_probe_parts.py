"""Ablation, reversal and sweeps: invariants that need no reference."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SAMPLE, write_model
from pages import run_command

from llmzip.errors import DocumentError, ModelError, UsageError
from llmzip.predictors import load_predictor
from llmzip.predictors.exact import ExactPredictor, load_exact
from llmzip.predictors.hub import HubPredictor
from llmzip.probes import ablation, facts, reversal, sweep
from llmzip.probes.record import Finding
from llmzip.probes.rows import token_rows

pytest.importorskip("torch")
pytest.importorskip("transformers")

TEXT = (SAMPLE * 2).encode()


def value(found: Finding, name: str) -> float | None:
    (one,) = [figure.value for figure in found.figures if figure.name == name]
    return one


def hub(folder: Path) -> HubPredictor:
    predictor = load_predictor(str(folder), arithmetic="float", threads=1)
    assert isinstance(predictor, HubPredictor)
    return predictor


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> HubPredictor:
    return hub(write_model(tmp_path_factory.mktemp("parts") / "model"))


@pytest.fixture(scope="module")
def hollow(tmp_path_factory: pytest.TempPathFactory) -> HubPredictor:
    """A model whose second layer adds nothing: both of its output matrices are zero."""
    from safetensors.numpy import load_file, save_file

    folder = write_model(tmp_path_factory.mktemp("parts") / "hollow")
    tensors = load_file(folder / "model.safetensors")
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        tensors[f"model.layers.1.{name}.weight"] *= 0
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return hub(folder)


def digest(predictor: HubPredictor) -> str:
    hasher = hashlib.sha256()
    state: dict[str, Any] = predictor.model.module.state_dict()
    for name, tensor in sorted(state.items()):
        hasher.update(name.encode() + tensor.numpy().tobytes())
    return hasher.hexdigest()


@pytest.mark.parametrize("replacement", ablation.REPLACEMENTS)
@pytest.mark.parametrize("part", ablation.PARTS)
def test_what_adds_nothing_holds_nothing_and_weights_stay(
    hollow: HubPredictor, part: ablation.Part, replacement: ablation.Replacement
) -> None:
    before = digest(hollow)
    found = ablation.measure(hollow, TEXT, "text", part=part, replacement=replacement)
    assert digest(hollow) == before
    rows = {row[0]: row[1:] for row in found.tables[0].rows}
    name = {"layer": "layer", "attention": "attention", "mlp": "mlp", "head": "head"}[part]
    count = 8 if part == "head" else 2
    assert len(rows) == count
    for key, row in rows.items():
        if key.split()[1].startswith("1"):
            assert row == (0, 0, 0), (name, key)
    assert any(row != (0, 0, 0) for row in rows.values())
    # The model is as it was.
    again = token_rows(hollow, TEXT, "text").bits.sum() / len(TEXT)
    assert value(found, "cost") == pytest.approx(again, rel=1e-12)


def test_the_lens_ends_at_the_model_and_telescopes(whole: HubPredictor) -> None:
    found = ablation.measure(whole, TEXT, "text")
    lens = [row[1] for row in found.tables[1].rows]
    assert lens[-1] == value(found, "cost") == token_rows(whole, TEXT, "text").bits.sum() / len(TEXT)
    assert value(found, "lens: sum of the layers") == pytest.approx(
        value(found, "lens: embedding less last layer"), abs=1e-12
    )


def test_all_heads_of_a_layer_are_its_attention(whole: HubPredictor) -> None:
    anatomy = ablation.Anatomy(whole)
    tokens = whole.tokenize(TEXT)
    from contextlib import ExitStack

    with ExitStack() as stack:
        for head in [one for one in anatomy.components("head") if one.name.startswith("head 0.")]:
            stack.enter_context(ablation.changed(head, lambda x: x * 0))
        heads = ablation.costs(anatomy, tokens)
    (attention, *_) = anatomy.components("attention")
    with ablation.changed(attention, lambda x: x * 0):
        assert np.allclose(ablation.costs(anatomy, tokens), heads, rtol=0, atol=1e-6)


def test_a_hook_is_taken_off_when_something_fails(whole: HubPredictor) -> None:
    anatomy = ablation.Anatomy(whole)
    tokens = whole.tokenize(TEXT)
    before = ablation.costs(anatomy, tokens)

    def failing(_: Any) -> Any:
        raise RuntimeError("on purpose")

    for component in (next(anatomy.components("mlp")), next(anatomy.components("head"))):
        with pytest.raises((RuntimeError, ModelError)), ablation.changed(component, failing):
            ablation.costs(anatomy, tokens)
    assert (ablation.costs(anatomy, tokens) == before).all()


def test_an_exact_model_is_no_model_of_transformers(tiny: ExactPredictor) -> None:
    with pytest.raises(ModelError, match="cannot be taken apart"):
        ablation.measure(tiny, TEXT, "text")


def test_facts_are_unlike_and_their_groups_are_told_one_way(tiny: ExactPredictor) -> None:
    made = facts.made_up(20, seed=3)
    assert made == facts.made_up(20, seed=3) and len({fact.forward[1] for fact in made}) == 60
    told = facts.sentences(made)
    assert len(told) == 20 * (3 + 6 + 3)
    one = next(fact for fact in made if fact.group == "forward only")
    answer = one.reverse[0].split(" is the work")[0]
    assert all(not line.startswith(answer) for line in told)
    assert reversal.read_facts(reversal.as_lines(made), "facts") == sorted(
        made, key=lambda fact: (fact.group, fact.forward, fact.reverse)
    )


def test_random_weights_know_no_fact_and_the_order_of_facts_is_nothing(tiny: ExactPredictor) -> None:
    made = reversal.read_facts(reversal.as_lines(facts.made_up(12)), "facts")
    found = reversal.measure(tiny, made, "facts")
    for group in facts.GROUPS:
        for way in ("forward", "reverse"):
            (gain,) = [figure for figure in found.figures if figure.name == f"{way} gain, {group}"]
            assert gain.low is not None and gain.high is not None and gain.value is not None
            assert abs(gain.value) < 4
    mixed = b"\n".join(reversed(reversal.as_lines(made).split(b"\n")))
    assert reversal.measure(tiny, reversal.read_facts(mixed, "facts"), "facts") == found


def test_controls_are_answers_of_others(tiny: ExactPredictor) -> None:
    """With one answer for all, true and control are the same: the gain is exactly 0."""
    same = [facts.Fact((f"{n} says", " yes"), ("yes is said by", " all")) for n in range(6)]
    found = reversal.measure(tiny, same, "same")
    assert value(found, "forward gain, all") == pytest.approx(0, abs=1e-12)
    assert value(found, "curse index, all") is None


def test_published_tables_and_nonsense() -> None:
    table = b",child,parent,parent_type\n0,Ann Li,Bo Li,father\n1,Cy Wu,Di Wu,mother\n"
    (one, _) = reversal.read_facts(table, "pairs")
    assert one.forward == ("Ann Li's father is", " Bo Li") and one.reverse == ("A child of Bo Li is", " Ann Li")
    for wrong in (b"a,b\n1,2", b"\xff", b'{"forward": 1}', b"{}"):
        with pytest.raises(UsageError, match="^pairs"):
            reversal.read_facts(wrong, "pairs")


def test_a_sweep_goes_on_where_it_ended(tmp_path: Path) -> None:
    folders = [str(write_model(tmp_path / f"step-{n}", seed=n)) for n in (200, 50)]
    loaded: list[str] = []

    def load(folder: str) -> ExactPredictor:
        loaded.append(folder)
        return load_exact(Path(folder), "model", engine="numpy", threads=1)

    kept: list[sweep.Checkpoint] = []
    found = sweep.measure(folders, load, TEXT, "text", keep=kept.append)
    assert [row[1] for row in found.tables[0].rows] == [50, 200]
    again: list[sweep.Checkpoint] = []
    assert sweep.measure(folders[::-1], load, TEXT, "text", known=kept, keep=again.append) == found
    assert again == []
    changed = sweep.measure(folders, load, TEXT + b"!", "text", known=kept, keep=again.append)
    assert len(again) == 2 and changed != found
    with pytest.raises(UsageError, match="two checkpoints"):
        sweep.measure(folders[:1], load, TEXT, "text")


def test_the_file_of_a_sweep_survives_a_cut(tmp_path: Path) -> None:
    state = tmp_path / "sweep.jsonl"
    text = tmp_path / "text"
    text.write_bytes(TEXT)
    folders = [write_model(tmp_path / f"step-{n}", seed=n) for n in (1, 2)]
    first = run_command("sweep", *folders, "--text", text, "--resume", state, "--json")
    assert first.returncode == 0, first.stderr
    lines = state.read_bytes()
    assert len(sweep.read_lines(lines, "x")) == 2
    state.write_bytes(lines[:-20])
    second = run_command("sweep", *folders, "--text", text, "--resume", state, "--json")
    assert second.stdout == first.stdout and state.read_bytes() == lines
    with pytest.raises(DocumentError, match="x: line 1"):
        sweep.read_lines(b"{}\n", "x")
    assert json.loads(first.stdout)["probe"] == "sweep"


def test_a_model_is_taught(tmp_path: Path) -> None:
    """A few steps: the folder is one that the probe reads. The whole demonstration is in ``docs/probes.md``."""
    from llmzip.training.reversal import teach

    teach(tmp_path / "model", facts_per_group=3, steps=30)
    found = reversal.read_facts((tmp_path / "model" / "facts.jsonl").read_bytes(), "facts")
    assert len(found) == 9
    model = load_exact(tmp_path / "model", "facts", threads=1)
    assert reversal.measure(model, found, "facts").figures


def test_commands_run_and_say_what_is_missing() -> None:
    for words in (["reversal", "nano"], ["ablation", "nano"]):
        result = run_command("probe", *words, "--json")
        assert result.returncode == 0, result.stderr
        assert Finding.from_json(result.stdout).probe == words[0]
    assert run_command("probe", "ablation", "nano", "--part", "nose").returncode == 2
    assert run_command("sweep", "nano").returncode == 2
