"""What all probes share: statistics against what is known of them, the record, its pages, and the commands."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import run_command, without_references

from llmzip.errors import DocumentError, NotComparableError
from llmzip.probes import statistics
from llmzip.probes.demonstrations import demonstration
from llmzip.probes.picture import page, picture
from llmzip.probes.record import Figure, Finding, Plot, Series, Table, changes, figure, read_input
from llmzip.probes.statistics import Interval


def finding(**changed: object) -> Finding:
    made = Finding(
        "made up",
        (),
        (read_input("<b>text</b>", b"abc"),),
        (figure("rate", Interval(1.0, 0.9, 1.2), "bits", headline=True), figure("none", math.nan)),
        "anything",
        (Table("rows", ("a", "b"), ((1, "<script>"), (2.5, None))),),
        (Plot("curve", "x", "y", (Series("s<", (1.0, 2.0), (3.0, 4.0), (2.0, 3.0), (4.0, 5.0)),)),),
        settings={"seed": 0},
    )
    return dataclasses.replace(made, **changed)


def test_wilson_is_what_wilson_wrote() -> None:
    assert statistics.wilson(9, 10)[1:] == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert statistics.wilson(0, 10)[1] == 0 and statistics.wilson(10, 10)[2] == 1
    for wrong in ((1, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError):
            statistics.wilson(*wrong)


@given(st.integers(1, 400), st.data())
def test_wilson_holds_the_share_and_widens_with_fewer(trials: int, data: st.DataObject) -> None:
    value, low, high = statistics.wilson(data.draw(st.integers(0, trials)), trials)
    assert 0 <= low <= value <= high <= 1


def test_mcnemar_is_the_exact_binomial() -> None:
    assert statistics.mcnemar(0, 0) == 1 and statistics.mcnemar(5, 5) == 1
    assert statistics.mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)
    assert statistics.mcnemar(9, 1) == statistics.mcnemar(1, 9)


def test_auc_counts_pairs_and_halves_ties() -> None:
    members, others = np.array([3.0, 2, 2]), np.array([1.0, 2, 0])
    pairs = [(m > o) + 0.5 * (m == o) for m in members for o in others]
    assert statistics.auc(members, others) == pytest.approx(np.mean(pairs))
    assert statistics.true_positive_rate(np.array([5.0, 1]), np.arange(4.0), 0.25) == 0.5
    value, low, high = statistics.auc_interval(np.arange(50.0), np.arange(50.0), draws=200)
    assert value == 0.5 and low < 0.5 < high and high - low == pytest.approx(4 * 0.058, abs=0.05)


def test_rank_correlation_is_that_of_ranks() -> None:
    x = np.array([1.0, 5, 2, 9])
    assert statistics.rank_correlation(x, x**3) == pytest.approx(1)
    assert statistics.rank_correlation(x, -x) == pytest.approx(-1)
    assert math.isnan(statistics.rank_correlation(x, np.ones(4)))
    assert statistics.ranks(np.array([2.0, 1, 2])).tolist() == [2.5, 1, 2.5]


def test_bootstraps_are_of_totals_and_the_same_for_a_seed() -> None:
    parts, wholes = np.array([1.0, 2, 30]), np.array([1.0, 1, 10])
    value, low, high = statistics.ratio_interval(parts, wholes, seed=3)
    assert value == 33 / 12 and 1 <= low < value < high <= 3
    assert statistics.ratio_interval(parts, wholes, seed=3) == (value, low, high)
    assert statistics.ratio_interval(np.zeros(9), np.ones(9)) == (0, 0, 0)
    assert statistics.chunk_sums(np.arange(5.0), 2).tolist() == [1, 5, 4]


def test_bins_have_equal_mass_and_calibrated_confidence_a_small_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(6000)
    bins = statistics.reliability(confidence, rng.random(6000) < confidence)
    assert {part.count for part in bins} == {400} and len(bins) == 15
    assert statistics.expected_calibration_error(bins) < 0.03
    sure = statistics.reliability(np.full(300, 0.9), np.arange(300) % 2 == 0)
    assert statistics.expected_calibration_error(sure) == pytest.approx(0.4)
    assert statistics.binary_entropy(0.5) == 1 and statistics.binary_entropy(1) == 0


def test_documents_come_back_and_nonsense_does_not() -> None:
    made = finding()
    assert Finding.from_json(made.to_json().encode()) == made
    assert "NaN" not in made.to_json()
    document = json.loads(made.to_json())
    for path, wrong in (
        (("figures", 0, "low"), None),
        (("figures", 0, "low"), 7.0),
        (("figures", 1, "name"), "rate"),
        (("tables", 0, "rows", 0), [1]),
        (("plots", 0, "series", 0, "x"), [1.0]),
        (("version",), 2),
        (("probe",), ""),
        (("inputs", 0, "sha256"), "0"),
    ):
        changed = json.loads(made.to_json())
        at = changed
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = wrong
        with pytest.raises(DocumentError, match="run the probe again"):
            Finding.from_json(json.dumps(changed).encode())
    with pytest.raises(DocumentError):
        Finding.from_json(json.dumps({**document, "more": 1}).encode())


def test_a_finding_against_itself_has_not_changed() -> None:
    made = finding()
    assert [(change.before, change.apart) for change in changes(made, made)] == [(1.0, False), (None, False)]
    far = finding(figures=(figure("rate", Interval(2.0, 1.9, 2.1)),))
    assert [change.apart for change in changes(made, far)] == [True]
    for other in (finding(probe="another"), finding(settings={"seed": 1}), finding(inputs=())):
        with pytest.raises(NotComparableError):
            changes(made, other)


def test_pages_are_whole_and_trust_no_name() -> None:
    made = finding(passages=(("read <i>", "a\x1b[31m<b>"),))
    tags = without_references(page(made))
    assert "svg" in tags and "b" in tags and "i" not in tags
    drawn = picture(made)
    assert drawn.startswith("<svg xmlns=") and "--paper" in drawn and "url(" not in drawn.replace("url(#", "")
    assert figure("x", Interval(1.0, math.nan, 2.0)) == Figure("x", 1.0)


def test_commands_run_on_their_demonstrations(tmp_path: Path) -> None:
    """As typed, on the smallest model, and what they write is what their own reader takes."""
    for words in (
        ["probe", "scaling", "--draws", "50"],
        ["probe", "calibration", "nano"],
        ["probe", "preference", "nano"],
        ["probe", "memory", "nano"],
        ["probe", "tuned", "small"],
        ["rate", "nano", "--limit", "200"],
    ):
        result = run_command(*words, "--json")
        assert result.returncode == 0, result.stderr
        read = Finding.from_json(result.stdout)
        assert read.figures and read.plots and read.not_shown
    target = tmp_path / "page.html"
    assert run_command("probe", "calibration", "nano", "--html", target).returncode == 0
    without_references(target.read_text(encoding="utf-8"))
    assert run_command("probe", "calibration", "nano", "--svg", target).returncode == 2
    shown = run_command("probe", "preference", "nano").stdout.decode()
    assert "What this does not show" in shown and "* chosen preferred by total bits" in shown


def test_commands_say_what_is_missing(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    for words, sentence in (
        (["probe", "calibration", "nano", empty], "empty"),
        (["probe", "preference", "nano", empty], "has no pairs"),
        (["probe", "scaling", empty], "0 rows"),
        (["probe", "scaling", "--at", "1"], "no N,D"),
        (["rate", "nano", empty], "empty"),
        (["probe", "calibration", "nano", "--json", "--html", tmp_path / "x"], "leave two out"),
    ):
        result = run_command(*words)
        assert result.returncode == 2, (words, result.stderr)
        assert sentence in result.stderr.decode() and "Traceback" not in result.stderr.decode()
    assert run_command("probe", "calibration", "adaptive").returncode == 4


def test_compare_reads_documents_of_probes(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one", "other", "third")]
    made = finding()
    changed = finding(figures=(figure("rate", Interval(2.0, 1.9, 2.1), "bits"),))
    for file, document in zip(files, (made, changed, finding(probe="another")), strict=True):
        file.write_text(document.to_json(), encoding="utf-8")
    result = run_command("compare", files[0], files[1])
    assert result.returncode == 0 and "* rate: 1 -> 2 bits" in result.stdout.decode()
    same = json.loads(run_command("compare", files[0], files[0], "--json").stdout)
    assert [change["apart"] for change in same["changes"]] == [False, False]
    assert run_command("compare", files[0], files[2]).returncode == 3
    files[1].write_text("{}", encoding="utf-8")
    assert run_command("compare", files[0], files[1]).returncode == 2
    assert b"Traceback" not in run_command("compare", files[1], files[0]).stderr


def test_demonstrations_are_there() -> None:
    for name in ("text.txt", "preference.jsonl", "scaling.csv"):
        assert demonstration(name)[1]
