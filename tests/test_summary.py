"""Totals, kinds and tables: what people read of a bench."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from llmzip.bench.accounting import adjusted_bits_per_byte, break_even_bytes
from llmzip.bench.kinds import kind_of
from llmzip.bench.results import MICROBITS, WATERFALL_TERMS, MeasuredCodec, MeasuredFile, Results, Row
from llmzip.bench.summary import bootstrap_interval, totals
from llmzip.cli.bench_table import as_markdown, comma_separated, groups, print_table
from llmzip.cli.bench_waterfall import print_waterfall
from llmzip.errors import DocumentError

FILES = (
    MeasuredFile("a.c", "code", 1000, "00"),
    MeasuredFile("b.c", "code", 3000, "01"),
    MeasuredFile("c.txt", "text", 2000, "02"),
)
CODECS = (
    MeasuredCodec("zstd -19", "classical", {"level": 19}),
    MeasuredCodec("llmzip tiny", "predictor", {}, receiver_bytes={"weights": 700, "decoder": 300}),
)
WATERFALL = {"model": 3, "memory": -1, "precision": 0, "cold_start": 0, "coder": 0, "fallback": 0, "framing": 0}
ROWS = tuple(
    Row(file, codec, original, size, ideal, 0.5, 2.0, memory, ((size, original),))
    for file, codec, original, size, ideal, memory in (
        ("a.c", "zstd -19", 1000, 500, None, 5_000_000),
        ("b.c", "zstd -19", 3000, 900, None, None),
        ("c.txt", "zstd -19", 2000, 1000, None, None),
        ("a.c", "llmzip tiny", 1000, 250, 1900 * MICROBITS, None),
        ("b.c", "llmzip tiny", 3000, 450, 3500 * MICROBITS, None),
        ("c.txt", "llmzip tiny", 2000, 500, 3900 * MICROBITS, None),
    )
)
RESULTS = Results(FILES, CODECS, ROWS)


def test_totals_are_micro_averages_by_kind_best_first() -> None:
    found = totals(RESULTS)
    assert [(total.group, total.codec.name) for total in found] == [
        (group, codec) for group in ("code", "text", "all") for codec in ("llmzip tiny", "zstd -19")
    ]
    tiny, zstd = found[0], found[1]
    assert (tiny.original_bytes, tiny.archive_bytes, tiny.file_count) == (4000, 700, 2)
    assert tiny.bits_per_byte == 1.4 and tiny.macro_bits_per_byte == (2.0 + 1.2) / 2  # not the mean of the files
    assert tiny.ideal_bits_per_byte == 5400 / 4000 and zstd.ideal_bits_per_byte is None
    assert tiny.reference_ratio == 0.5 and zstd.reference_ratio == 1.0
    assert tiny.adjusted_bits_per_byte == adjusted_bits_per_byte(700, 1000, 4000) == 3.4
    assert tiny.break_even_bytes == break_even_bytes(1000, 1.4, 2.8) and zstd.break_even_bytes is None
    assert zstd.peak_memory_bytes == 5_000_000 and tiny.peak_memory_bytes is None


def test_totals_count_only_files_that_every_codec_has() -> None:
    found = totals(Results(FILES, CODECS, ROWS[:4]))
    assert {total.original_bytes for total in found} == {1000}
    assert totals(Results(FILES, CODECS, ())) == []


def test_break_even_is_never_for_a_model_that_does_not_save() -> None:
    assert break_even_bytes(1000, 2.0, 2.0) is None
    assert break_even_bytes(6_000_000, 1.8, 3.0) == pytest.approx(40_000_000)


def test_intervals_are_over_files_or_the_frames_of_one() -> None:
    interval = bootstrap_interval(ROWS[:3])
    assert interval is not None and 2.4 <= interval[0] < 3.2 < interval[1] <= 4.0
    assert bootstrap_interval(ROWS[:3]) == interval  # the same every time
    one = Row("f", "c", 2000, 600, None, 1.0, 1.0, None, ((200, 1000), (400, 1000)))
    assert bootstrap_interval([one]) == (1.6, 3.2)
    assert bootstrap_interval(ROWS[:1]) is None


@pytest.mark.parametrize("width", [20, 27, 34, 40, 45, 50, 55, 60, 68, 75, 90, 120])
def test_figures_are_never_cut(width: int) -> None:
    row = replace(RESULTS.rows[-1], waterfall_microbits=dict.fromkeys(WATERFALL_TERMS, 1_234_567_890_123))
    results = replace(RESULTS, rows=(*RESULTS.rows[:-1], row))
    target = io.StringIO()
    console = Console(file=target, width=width, markup=False)
    print_table(results, console, files=True)
    print_waterfall(results, console)
    text = target.getvalue()
    assert "…" not in text
    for total in totals(results):
        assert f"{total.bits_per_byte:.3f}" in text
    assert f"{1_234_567.890123 / row.original_bytes:+.4f}" in text


@pytest.mark.parametrize("width", [80, 120, 200])
def test_tables_fit_the_terminal(width: int) -> None:
    target = io.StringIO()
    print_table(RESULTS, Console(file=target, width=width, markup=False), files=True)
    assert max(map(len, target.getvalue().splitlines())) <= width  # the lines below the table too
    text = " ".join(target.getvalue().split())
    for expected in ("code (2 files)", "all (3 files)", "a.c", "1.400", "3.40", "weights 700 + decoder's source 300"):
        assert expected in text
    assert ("0.0 MB" in text) == (width == 200)
    assert "never" not in text


def test_one_file_is_shown_as_a_file() -> None:
    rows = tuple(row for row in ROWS if row.file == "a.c")
    assert list(groups(Results(FILES[:1], CODECS, rows), files=False)) == ["a.c"]
    assert list(groups(RESULTS, files=False)) == ["code (2 files)", "text (1 file)", "all (3 files)"]


def test_estimates_are_labelled_in_every_form() -> None:
    row = Row("a.c", "llmzip tiny", 1000, 250, 0, 0.5, 0.0, None, verified=False, estimate=True)
    gap = {"sample_bytes": 100, "estimated_bytes": 99, "archive_bytes": 100}
    results = Results(FILES[:1], CODECS, (ROWS[0], row), {"estimate_gaps": {"llmzip tiny": gap}})
    target = io.StringIO()
    print_table(results, Console(file=target, width=80, markup=False), files=False)
    for text in (" ".join(target.getvalue().split()), as_markdown(results)):
        assert "llmzip tiny (estimate)" in text and "off by -1.00%" in text
        assert "1 of 2 rows were decoded" in text
    assert "False,True" in comma_separated(results).splitlines()[1]


def test_comma_separated_values_are_unrounded() -> None:
    rows = list(csv.DictReader(io.StringIO(comma_separated(RESULTS))))
    assert len(rows) == 6
    assert float(rows[0]["bits_per_byte"]) == 2.0 and rows[0]["codec"] == "llmzip tiny" and rows[0]["kind"] == "code"
    assert rows[1]["ideal_bits_per_byte"] == ""


def test_markdown_has_a_line_for_each_group_and_codec() -> None:
    lines = as_markdown(RESULTS).splitlines()
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert sum(line.startswith("| code (2 files) |") for line in lines) == 2


def test_waterfalls_are_shown_where_there_are_some() -> None:
    target = io.StringIO()
    console = Console(file=target, width=80, markup=False)
    print_waterfall(RESULTS, console)
    assert target.getvalue() == ""
    terms = {term: 8 * MICROBITS * share for term, share in WATERFALL.items()}
    row = Row("a.c", "llmzip tiny", 1000, 2, 0, 0.5, 0.5, None, (), terms)
    print_waterfall(Results(FILES, CODECS, (row,)), console)
    for expected in ("+0.0240", "-0.0080", "+3.0", "0.0160"):
        assert expected in target.getvalue()
    assert max(map(len, target.getvalue().splitlines())) <= 80


def test_kinds_come_from_a_manifest_a_folder_or_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "manifest.toml").write_text("[kinds]\nmail = ['b.txt']\n", encoding="utf-8")
    for name, kind in {"b.txt": "mail", "c.txt": "text", "d.PY": "code", "e": "other", "inner/b.txt": "inner"}.items():
        assert kind_of(tmp_path / name, [tmp_path]) == kind
    assert kind_of(tmp_path / "inner" / "b.txt", [tmp_path / "inner" / "b.txt"]) == "text"
    (tmp_path / "inner" / "manifest.toml").write_text("kinds = 3", encoding="utf-8")
    with pytest.raises(DocumentError, match="manifest"):
        kind_of(tmp_path / "inner" / "b.txt", [tmp_path])
