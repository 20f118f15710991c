"""The gate: what may be compared, what a regression is, what is found, and what other tools are told of it."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llmzip
from llmzip.bench import exports, gate
from llmzip.bench.baseline import (
    Baseline,
    BaselineCodec,
    BaselineFile,
    BaselineRow,
    baseline_of,
    identities,
    read_baseline,
)
from llmzip.bench.gate import EXACT, FLOAT, Tolerance, compare, parse_tolerance
from llmzip.bench.results import MICROBITS, WATERFALL_TERMS, MeasuredCodec, MeasuredFile, Results, Row
from llmzip.errors import DocumentError, NotComparableError, UsageError

ROOT = Path(llmzip.__file__).parents[1]
SIZES = {"a.txt": (1000, "prose"), "b.c": (3000, "code"), "d/e.md": (500, "markup")}


def results(
    archive_bytes: int = 200,
    *,
    name: str = "llmzip tiny",
    fingerprint: str = "ab" * 16,
    exact: bool = True,
    waterfall: bool = True,
    **changed: int,
) -> Results:
    """A bench of a predictor and of zstd; ``changed`` sizes of the predictor's archives by the first letter."""
    files = tuple(MeasuredFile(file, kind, size, f"{size:064x}") for file, (size, kind) in SIZES.items())
    model = MeasuredCodec(name, "predictor", {"format_version": 3}, exact, fingerprint, 10, {"weights": 40})
    rows = []
    for file in files:
        size = changed.get(file.name[0], archive_bytes)
        terms = dict.fromkeys(WATERFALL_TERMS, 0)
        terms |= {"model": 8 * MICROBITS * (size - 40) - 17, "framing": 8 * MICROBITS * 40 + 17}
        total = terms if waterfall else None
        own = terms["model"]
        row = Row(file.name, name, file.original_bytes, size, own + 9, 0.1, 0.1, None, (), total, model_microbits=own)
        rows.append(row)
        rows.append(Row(file.name, "zstd -19", file.original_bytes, 300, None, 0.1, 0.1, None))
    return Results(files, (model, MeasuredCodec("zstd -19", "classical", {"level": 19})), tuple(rows), {"time": 1.5})


def baseline(archive_bytes: int = 200, **settings: Any) -> Baseline:
    return baseline_of(results(archive_bytes, **settings))


# What may be compared.


def change_file(measured: Baseline, name: str, **changes: Any) -> Baseline:
    file = dataclasses.replace(measured.files[name], **changes)
    return dataclasses.replace(measured, files=measured.files | {name: file})


def change_codec(measured: Baseline, name: str, **changes: Any) -> Baseline:
    codec = dataclasses.replace(measured.codecs[name], **changes)
    return dataclasses.replace(measured, codecs=measured.codecs | {name: codec})


DIFFERENT = {
    "a.txt has other content": change_file(baseline(), "a.txt", sha256="f" * 64),
    "b.c has other content": change_file(baseline(), "b.c", original_bytes=3001),
    "llmzip tiny is another model or tokenizer": change_codec(baseline(), "llmzip tiny", fingerprint="cd" * 16),
    "llmzip tiny has format_version 4, before 3": change_codec(
        baseline(), "llmzip tiny", settings={"format_version": 4}
    ),
    "zstd -19 has level 18": change_codec(baseline(), "zstd -19", settings={"level": 18}),
    "zstd -19 has window_log 27, before absent": change_codec(
        baseline(), "zstd -19", settings={"level": 19, "window_log": 27}
    ),
    "llmzip tiny is not exact": change_codec(baseline(), "llmzip tiny", exact=False),
    "zstd -19 is of kind external, before classical": change_codec(baseline(), "zstd -19", kind="external"),
    "zstd -19 was measured before and is not now": Baseline(
        baseline().files, {"llmzip tiny": baseline().codecs["llmzip tiny"]}
    ),
}


@pytest.mark.parametrize("message", DIFFERENT)
def test_what_differs_is_named_and_not_compared(message: str) -> None:
    with pytest.raises(NotComparableError, match=message) as caught:
        compare(baseline(), DIFFERENT[message])
    assert caught.value.exit_code == 3
    assert str(caught.value).endswith("measure the same things")


def without_file(measured: Baseline, name: str) -> Baseline:
    files = {key: file for key, file in measured.files.items() if key != name}
    codecs = {
        key: dataclasses.replace(codec, rows={file: row for file, row in codec.rows.items() if file != name})
        for key, codec in measured.codecs.items()
    }
    return Baseline(files, codecs)


def test_files_must_be_the_same() -> None:
    less = without_file(baseline(), "b.c")
    with pytest.raises(NotComparableError, match=r"b\.c was measured before and is not now"):
        compare(baseline(), less)
    with pytest.raises(NotComparableError, match=r"b\.c was not measured before"):
        compare(less, baseline())


def test_many_differences_are_counted() -> None:
    other = Baseline(
        {f"{i}.txt": BaselineFile("prose", 1, "0" * 64) for i in range(9)},
        {"zstd -19": BaselineCodec("classical", True, "", {}, {f"{i}.txt": BaselineRow(1) for i in range(9)})},
    )
    with pytest.raises(NotComparableError, match=r"and \d+ more differences"):
        compare(baseline(), other)


def test_codecs_that_are_new_are_not_checked() -> None:
    less = dataclasses.replace(baseline(), codecs={"llmzip tiny": baseline().codecs["llmzip tiny"]})
    comparison = compare(less, baseline())
    assert comparison.unchecked == ("zstd -19",)
    assert comparison.verdict == "equal"
    assert "zstd -19: not measured before, not checked" in gate.explanation(comparison)


# What a regression is.


def test_a_bench_compared_with_itself_is_equal() -> None:
    comparison = compare(baseline(), baseline())
    assert comparison.verdict == "equal"
    assert all("equal" in line for line in gate.explanation(comparison))


def test_one_byte_is_a_regression_of_an_exact_predictor() -> None:
    worse = compare(baseline(), baseline(b=201))
    assert worse.verdict == "regressed"
    (codec, other) = worse.codecs
    assert [file.file for file in codec.regressed_files] == ["b.c"]
    assert (codec.growth_bytes, codec.growth_by_kind()) == (1, {"code": 1})
    assert codec.waterfall_growth() == {"model": 8 * MICROBITS}
    assert other.verdict == "equal"
    explained = "\n".join(gate.explanation(worse))
    for part in (
        "REGRESSED (tolerance bytes:0 a file)",
        "600 -> 601 bytes (+1",
        "code +1",
        "b.c: 200 -> 201",
        "model +1.0",
    ):
        assert part in explained


def test_one_file_that_grew_is_not_paid_for_by_another() -> None:
    assert compare(baseline(), baseline(a=150, b=201)).verdict == "regressed"


def test_smaller_is_improved() -> None:
    better = compare(baseline(), baseline(a=199))
    assert better.verdict == "improved"
    assert better.codecs[0].regressed_files == ()


def test_float_models_may_grow_by_a_thousandth() -> None:
    old = baseline(20_000, exact=False)
    assert compare(old, baseline(20_000, exact=False, a=20_020)).verdict == "within tolerance"
    assert compare(old, baseline(20_000, exact=False, a=20_021)).verdict == "regressed"
    assert compare(old, baseline(20_000, exact=False, a=19_900)).verdict == "improved"


def test_without_waterfalls_there_is_no_waterfall() -> None:
    worse = compare(baseline(waterfall=False), baseline(b=201))
    assert worse.codecs[0].waterfall_growth() is None
    assert "waterfall" not in "\n".join(gate.explanation(worse))


def test_numbers_that_one_side_lacks_are_no_change() -> None:
    plain = baseline(waterfall=False)
    assert compare(plain, baseline()).verdict == "equal" == compare(baseline(), plain).verdict
    without_ideal = Baseline(
        plain.files,
        {
            name: dataclasses.replace(
                codec, rows={file: BaselineRow(row.archive_bytes) for file, row in codec.rows.items()}
            )
            for name, codec in plain.codecs.items()
        },
    )
    assert compare(plain, without_ideal).verdict == "equal"


def test_the_kind_of_a_file_is_todays() -> None:
    renamed = change_file(baseline(b=201), "b.c", kind="source")
    assert compare(baseline(), renamed).codecs[0].growth_by_kind() == {"source": 1}


def test_what_will_be_measured_is_checked_before() -> None:
    planned = identities(results().files, results().codecs)
    assert gate.check_comparable(baseline(), planned) == {"llmzip tiny": "llmzip tiny", "zstd -19": "zstd -19"}
    with pytest.raises(NotComparableError):
        gate.check_comparable(change_file(baseline(), "a.txt", sha256="0"), planned)


def test_between_models_the_total_is_judged() -> None:
    old, new = baseline(), baseline(name="llmzip newer", fingerprint="cd" * 16, a=150, b=230)
    with pytest.raises(NotComparableError, match="is not now .--across-models compares it with llmzip newer"):
        compare(old, new)
    better = compare(old, new, across_models=True)
    assert better.verdict == "improved"
    assert (better.codecs[0].name, better.codecs[0].baseline_name) == ("llmzip newer", "llmzip tiny")
    assert [file.file for file in better.codecs[0].regressed_files] == ["b.c"]
    assert "against llmzip tiny" in gate.explanation(better)[0]
    worse = compare(new, old, across_models=True)
    assert worse.verdict == "regressed"


def test_between_models_of_one_name_only_the_fingerprint_differs() -> None:
    new = baseline(fingerprint="cd" * 16)
    assert compare(baseline(), new, across_models=True).codecs[0].verdict == "equal"
    with pytest.raises(NotComparableError, match="level"):
        compare(baseline(), change_codec(new, "zstd -19", settings={"level": 3}), across_models=True)


def test_between_models_it_must_be_clear_which_follows_which() -> None:
    new = baseline(name="llmzip x")
    two = dataclasses.replace(new, codecs=new.codecs | {"llmzip y": new.codecs["llmzip x"]})
    with pytest.raises(NotComparableError, match="measure one model on either side"):
        compare(baseline(), two, across_models=True)


# Tolerances.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes:0", Tolerance("bytes", Fraction(0), False)),
        ("bytes:12", Tolerance("bytes", Fraction(12), False)),
        ("bytes:0.1%", Tolerance("bytes", Fraction(1, 1000), True)),
        ("bpb:0.1%", FLOAT),
        ("bpb:0.002", Tolerance("bpb", Fraction(1, 500), False)),
    ],
)
def test_tolerances_are_read_exactly(text: str, expected: Tolerance) -> None:
    assert parse_tolerance(text) == expected
    assert parse_tolerance(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "bytes", "bytes:", "bytes:-1", "bpb:1e-3", "kb:1", "bpb:0.1 %", "bpb:%", "bpb:٣"]
)
def test_other_tolerances_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"write bytes:0, bpb:0\.1% or bpb:0\.002"):
        parse_tolerance(text)


sizes = st.integers(0, 10**9)


@given(before=st.integers(1, 10**9), thousandths=st.integers(0, 10**5), original=st.integers(1, 10**9))
def test_a_share_is_allowed_up_to_its_edge(before: int, thousandths: int, original: int) -> None:
    tolerance = parse_tolerance(f"bpb:{thousandths // 1000}.{thousandths % 1000:03d}%")
    edge = before + before * thousandths // 100_000
    assert tolerance.allows(before, edge, original)
    assert not tolerance.allows(before, edge + 1, original)


@given(before=sizes, milli=st.integers(0, 10**4), original=st.integers(1, 10**9))
def test_bits_per_byte_are_allowed_up_to_their_edge(before: int, milli: int, original: int) -> None:
    tolerance = parse_tolerance(f"bpb:{milli // 1000}.{milli % 1000:03d}")
    edge = before + milli * original // 8000
    assert tolerance.allows(before, edge, original)
    assert not tolerance.allows(before, edge + 1, original)


@given(before=sizes, bytes_allowed=sizes, original=st.integers(1, 10**9))
def test_bytes_are_allowed_up_to_their_edge(before: int, bytes_allowed: int, original: int) -> None:
    tolerance = parse_tolerance(f"bytes:{bytes_allowed}")
    assert tolerance.allows(before, before + bytes_allowed, original)
    assert not tolerance.allows(before, before + bytes_allowed + 1, original)


def test_the_defaults_are_what_the_documents_say() -> None:
    assert (str(EXACT), str(FLOAT)) == ("bytes:0", "bpb:0.1%")


# The file.

DIGESTS = st.text("0f", min_size=64, max_size=64)


@st.composite
def baselines(draw: st.DrawFn) -> Baseline:
    names = draw(
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=3, unique=True)
    )
    files = {
        name: BaselineFile(draw(st.sampled_from(["prose", "code"])), draw(st.integers(1, 10**12)), draw(DIGESTS))
        for name in names
    }
    codecs = {}
    for name in draw(st.lists(st.text("abc -19", min_size=1), min_size=1, max_size=2, unique=True)):
        rows = {}
        for file in files:
            size = draw(st.integers(1, 10**9))
            ideal = draw(st.none() | st.integers(0, 10**15))
            model = draw(st.integers(-(10**9), 10**9))
            waterfall: Any = draw(st.none() | st.just({"model": model, "coder": 8 * MICROBITS * size - model}))
            rows[file] = BaselineRow(size, ideal, waterfall)
        kind = draw(st.sampled_from(["predictor", "classical"]))
        codecs[name] = BaselineCodec(kind, draw(st.booleans()), draw(DIGESTS), {"level": 3, "of": "x"}, rows)
    return Baseline(files, codecs)


@given(baselines())
def test_a_baseline_survives_its_file_and_is_equal_to_itself(one: Baseline) -> None:
    assert read_baseline(one.to_json()) == one
    assert compare(one, read_baseline(one.to_json())).verdict == "equal"


def integers(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a document whole numbers are."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        if isinstance(value, int) and not isinstance(value, bool):
            yield (*path, key)
        yield from integers(value, (*path, key))


@given(baselines(), st.data())
def test_any_change_of_one_integer_is_found(one: Baseline, data: st.DataObject) -> None:
    document = json.loads(one.to_json())
    path = data.draw(st.sampled_from(sorted(integers(document), key=str)))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] += data.draw(st.integers(-3, 3).filter(bool))
    try:
        comparison = compare(one, read_baseline(json.dumps(document)))
    except (DocumentError, NotComparableError):
        return
    assert comparison.verdict != "equal"


def test_the_file_is_sorted_and_has_whole_numbers_only() -> None:
    text = baseline().to_json()
    assert json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n" == text

    def refuse(number: str) -> None:
        raise AssertionError(number)

    json.loads(text, parse_float=refuse, parse_constant=refuse)
    changed = baseline(b=201).to_json()
    different = [pair for pair in zip(text.splitlines(), changed.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(different) == 4  # archive, ideal bits, the model's own, one term of the waterfall: a line each


def test_a_whole_result_document_can_be_compared_too() -> None:
    assert read_baseline(results().to_json()) == baseline()


DAMAGED = {
    "not JSON": "<<<<<<< HEAD\n",
    "empty": "",
    "a number": "7",
    "a list": "[]",
    "nested": "[" * 100_000,
    "other schema": baseline().to_json().replace("llmzip-baseline", "else"),
    "other version": baseline().to_json().replace('"version": 1', '"version": 2'),
    "cut short": baseline().to_json()[:-40],
    "fraction": baseline().to_json().replace('"archive_bytes": 200', '"archive_bytes": 200.5'),
    "negative": baseline().to_json().replace('"archive_bytes": 300', '"archive_bytes": -300'),
    "text": baseline().to_json().replace('"archive_bytes": 300', '"archive_bytes": "300"'),
    "truth": baseline().to_json().replace('"original_bytes": 1000', '"original_bytes": true'),
    "waterfall": baseline().to_json().replace('"archive_bytes": 200', '"archive_bytes": 199'),
    "no rows": baseline().to_json().replace('"rows"', '"lines"'),
    "no files": Baseline({}, baseline().codecs).to_json(),
    "no codecs": Baseline(baseline().files, {}).to_json(),
    "a file too many": change_file(baseline(), "a.txt").to_json().replace('"b.c": {\n   "kind"', '"c.c": {\n   "kind"'),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_baseline_is_refused_with_the_remedy(damage: str) -> None:
    assert DAMAGED[damage] != baseline().to_json()
    with pytest.raises(DocumentError) as caught:
        read_baseline(DAMAGED[damage], "b.json")
    assert str(caught.value).startswith("b.json: ") and str(caught.value).endswith("measure again")
    assert caught.value.exit_code == 2


def test_estimates_and_unfinished_benches_are_no_baselines() -> None:
    whole = results()
    estimate = dataclasses.replace(whole.rows[0], estimate=True, verified=False)
    with pytest.raises(NotComparableError, match="measure without --quick"):
        baseline_of(dataclasses.replace(whole, rows=(estimate, *whole.rows[1:])))
    with pytest.raises(NotComparableError, match="to the end"):
        baseline_of(dataclasses.replace(whole, rows=whole.rows[1:]))


# What other tools are told.


@pytest.mark.parametrize("archive_bytes", [200, 201])
def test_junit_has_a_case_a_file_and_codec(archive_bytes: int) -> None:
    measured = baseline(b=archive_bytes)
    text = exports.junit(measured, compare(baseline(), measured))
    root = ElementTree.fromstring(text)
    cases = root.findall("testsuite/testcase")
    assert {(case.get("classname"), case.get("name")) for case in cases} == {
        (codec, file) for codec in measured.codecs for file in SIZES
    }
    failures = root.findall(".//failure")
    assert len(failures) == archive_bytes - 200
    assert [suite.get("failures") for suite in root] == [str(archive_bytes - 200), "0"]
    if failures:
        assert failures[0].get("message") == "200 -> 201 bytes (+1), tolerance bytes:0"


def test_junit_of_names_that_xml_cannot_hold() -> None:
    files = {'<&">\x00\x1b.txt': BaselineFile("prose", 1, "0")}
    rows = {name: BaselineRow(1) for name in files}
    codec = BaselineCodec("classical", True, "", {}, rows)
    (case,) = ElementTree.fromstring(exports.junit(Baseline(files, {"zstd": codec}))).iter("testcase")
    assert case.get("name") == '<&">??.txt'


def test_charts_get_bits_per_byte() -> None:
    rate = 8 * 600 / 4500
    (entry, _) = json.loads(exports.github_benchmark(baseline()))
    assert entry == {
        "name": "llmzip tiny",
        "unit": "bits per byte",
        "value": pytest.approx(rate),
        "extra": "600 bytes of 4500",
    }
    entries = json.loads(exports.bencher(baseline()))
    assert entries["llmzip tiny"] == {"bits_per_byte": {"value": pytest.approx(rate)}, "archive_bytes": {"value": 600}}
    assert set(entries) == {"llmzip tiny", "zstd -19"}


def test_lm_eval_gets_the_models_own_bits_under_its_names() -> None:
    document = json.loads(exports.lm_eval(baseline()))
    assert set(document["results"]) == {"llmzip tiny", *(f"llmzip tiny, {kind}" for _, kind in SIZES.values())}
    own = 3 * (8 * 160 - 17 / MICROBITS) / 4500
    result = document["results"]["llmzip tiny"]
    assert result["bits_per_byte,none"] == pytest.approx(own, rel=1e-12)
    assert result["byte_perplexity,none"] == pytest.approx(2**own)
    assert result["archive_bits_per_byte,none"] == 8 * 600 / 4500
    assert document["results"]["llmzip tiny, code"]["bits_per_byte,none"] == pytest.approx((8 * 160 - 17e-6) / 3000)
    assert document["higher_is_better"]["llmzip tiny"]["bits_per_byte"] is False
    unmeasured = change_codec(baseline(), "llmzip tiny", rows=baseline().codecs["zstd -19"].rows)
    with pytest.raises(UsageError, match="no row says a model's own bits"):
        exports.lm_eval(unmeasured)


def test_github_is_told_in_its_own_words() -> None:
    worse = baseline(b=201)
    comparison = compare(baseline(), worse)
    (line,) = exports.annotations(comparison)
    assert line.startswith("::error title=bits per byte%3A llmzip tiny::REGRESSED")
    assert "+0.167%25" in line
    summary = exports.step_summary(worse, comparison)
    assert "| llmzip tiny | 601 | 1.0684 | **regressed**, +1 bytes |" in summary
    assert "b.c: 200 -> 201" in summary
    (line,) = exports.annotations(compare(baseline(), baseline(b=199)))
    assert line.startswith("::notice")
    assert exports.annotations(compare(baseline(), baseline())) == []
    assert "not checked" in exports.step_summary(worse)


# llmzip compare, as a process.


def run(*arguments: str | Path, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GITHUB_")}
    environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "80", **variables}
    command = [sys.executable, "-m", "llmzip", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, encoding="utf-8"
    )


def test_compare(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(baseline().to_json(), encoding="utf-8")
    (tmp_path / "b.json").write_text(results(b=201).to_json(), encoding="utf-8")
    worse = run(
        "compare", "a.json", "b.json", "--export", "junit=junit.xml", "--export", "bencher=bmf.json", cwd=tmp_path,
        GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"),
    )  # fmt: skip
    assert worse.returncode == 1
    assert "REGRESSED" in worse.stdout
    assert "llmzip: b.json is worse than a.json\n" in worse.stderr
    assert "::error title=" in worse.stderr
    assert "**regressed**" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert ElementTree.parse(tmp_path / "junit.xml").findall(".//failure")
    assert json.loads((tmp_path / "bmf.json").read_text(encoding="utf-8"))

    assert run("compare", "a.json", "b.json", "--tolerance", "bytes:1", cwd=tmp_path).returncode == 0
    better = run("compare", "b.json", "a.json", "--json", cwd=tmp_path)
    assert better.returncode == 0
    assert better.stderr == "llmzip: a.json is better than b.json\n"
    assert json.loads(better.stdout)["verdict"] == "improved"


def test_compare_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(baseline().to_json(), encoding="utf-8")
    (tmp_path / "cut.json").write_text(baseline().to_json()[:99], encoding="utf-8")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    other = change_file(baseline(), "a.txt", sha256="f" * 64)
    (tmp_path / "other.json").write_text(other.to_json(), encoding="utf-8")
    for arguments, code, message in (
        (("a.json", "none.json"), 2, "llmzip bench --output none.json makes a result"),
        (("a.json", "cut.json"), 2, "cut.json: it is no JSON that can be read"),
        (("bytes.json", "a.json"), 2, "bytes.json: it is not UTF-8"),
        (("a.json", "other.json"), 3, "a.txt has other content"),
        (("a.json", "a.json", "--tolerance", "x"), 2, "not a tolerance"),
        (("a.json", "a.json", "--export", "junit"), 2, "write FORMAT=FILE"),
        (("a.json", "a.json", "--export", "csv=x"), 2, "write FORMAT=FILE"),
    ):
        found = run("compare", *arguments, cwd=tmp_path)
        assert (found.returncode, found.stdout) == (code, ""), arguments
        assert message in found.stderr
        assert "--update-baseline" not in found.stderr  # compare has no such option
        assert len(found.stderr.splitlines()) == 1
