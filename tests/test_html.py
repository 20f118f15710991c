"""The page of a bench: complete, safe with hostile names, drawn without a network, and readable by a browser."""

import hashlib
import html
import re
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pages import browse, needs_browser, run_command, without_references

from llmzip.bench import charts, drawing, summary
from llmzip.bench.html import FILES_SHOWN, render
from llmzip.bench.results import MICROBITS, WATERFALL_TERMS, MeasuredCodec, MeasuredFile, Results, Row
from llmzip.bench.summary import ALL, totals
from llmzip.errors import UsageError

KINDS = {"prose": 4, "code": 3, "data": 3, "markup": 2, "other-language": 4}
RATES = {"zstd -3": 3.2, "zstd -19": 2.97, "xz -9e": 2.95, "llmzip nano": 1.98, "llmzip small": 1.77}
SPEEDS = {
    "zstd -3": (90_000.0, 400_000.0),
    "zstd -19": (2_100.0, 380_000.0),
    "xz -9e": (1_900.0, 52_000.0),
    "llmzip nano": (75.0, 68.0),
    "llmzip small": (19.0, 17.0),
}
RECEIVERS = {"llmzip nano": 700_000, "llmzip small": 6_000_000}
HOSTILE = "<script>alert('x')</script> & \"q\" \u202e\x1b[31m \udcff {{ 7 * 7 }} https://example.org/x.png"


def waterfall(archive_bytes: int) -> dict:
    """Some terms that sum to the archive, one of them below nothing."""
    whole = 8 * archive_bytes * MICROBITS
    terms = {"model": whole * 11 // 10, "memory": -whole // 8, "precision": whole // 900, "cold_start": whole // 150}
    terms |= {"coder": 9 * MICROBITS, "fallback": 0}
    return terms | {"framing": whole - sum(terms.values())}


def example(kinds: int = len(KINDS)) -> Results:
    """A bench as it might be; the figures are made up."""
    files = tuple(
        MeasuredFile(f"{kind}/{number}.txt", kind, 12_000 + 700 * number, hashlib.sha256(kind.encode()).hexdigest())
        for kind, count in list(KINDS.items())[:kinds]
        for number in range(count)
    )
    codecs = tuple(
        MeasuredCodec(
            name,
            "predictor" if name in RECEIVERS else "classical",
            {"level": 19, "version": "1.5.7"},
            fingerprint="c0ffee" if name in RECEIVERS else "",
            parameter_count=RECEIVERS.get(name, 0) // 2,
            receiver_bytes={"weights": RECEIVERS[name], "tokenizer": 60_000} if name in RECEIVERS else {},
        )
        for name in RATES
    )
    rows = []
    for number, file in enumerate(files):
        for name, rate in RATES.items():
            archive_bytes = round(file.original_bytes * rate * (0.8 + 0.03 * number) / 8)
            rows.append(
                Row(
                    file.name,
                    name,
                    file.original_bytes,
                    archive_bytes,
                    archive_bytes * 8 * MICROBITS - 300 * MICROBITS if name in RECEIVERS else None,
                    file.original_bytes / 1000 / SPEEDS[name][0],
                    file.original_bytes / 1000 / SPEEDS[name][1],
                    150_000_000 if name in RECEIVERS else 9_000_000,
                    waterfall_microbits=waterfall(archive_bytes) if name in RECEIVERS else None,
                )
            )
    provenance = {"command": "llmzip bench corpora", "cores": 2, "libraries": {"numpy": "2.4.6", "zstandard": "0.25"}}
    return Results(files, codecs, tuple(rows), provenance)


@pytest.fixture(scope="module")
def page() -> str:
    return render(example())


def texts(page: str) -> str:
    """What a reader sees."""
    return " ".join(html.unescape(re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", page, flags=re.S)).split())


def test_the_page_has_every_part(page: str) -> None:
    tags = without_references(page)
    assert {"svg", "table", "figcaption", "details", "dl"} <= tags
    assert len(page.encode()) < 1_000_000
    # A chart a kind, two each of speed and break-even, a waterfall a model; each says what it is.
    labels = re.findall(r'<svg role="graphics-document" aria-label="([^"]+)"', page)
    assert len(labels) == page.count("<svg") == len(KINDS) + 2 + 2 + 2
    for heading in ("By kind of text", "Speed against ratio", "With the receiver counted", "Where the bits go"):
        assert f"<h2>{heading}</h2>" in page
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page


def test_the_page_says_the_totals(page: str) -> None:
    seen = texts(page)
    for total in totals(example()):
        assert f"{total.bits_per_byte:.3f}" in seen
        if total.group == ALL:
            assert f"{total.archive_bytes:,}" in seen and f"{total.adjusted_bits_per_byte:,.3f}" in seen
            if total.break_even_bytes:
                assert drawing.size_in_words(total.break_even_bytes) in seen
    assert "Every archive was decoded and compared" in seen
    assert "llmzip bench corpora" in seen and "libraries numpy" in seen
    for file in example().files:
        assert file.name in seen and file.sha256 in seen


def test_waterfalls_are_in_bytes(page: str) -> None:
    results = example()
    for name in RECEIVERS:
        rows = [row for row in results.rows if row.codec == name]
        whole = sum(8 * row.archive_bytes for row in rows) * MICROBITS
        assert f"<td>{whole // (8 * MICROBITS):,}</td>" in page
        for term in WATERFALL_TERMS:
            assert f"<td>{sum(row.waterfall_microbits[term] for row in rows) / 8 / MICROBITS:,.1f}</td>" in page


def test_words_and_units_are_plain(page: str) -> None:
    seen, results = texts(page), example()
    total = sum(file.original_bytes for file in results.files)
    assert f"over {len(results.files)} files, together {total:,} bytes" in seen
    assert "millionths" not in seen and "kB" not in page
    for word in ("models", "other codecs", "adds bits", "saves bits"):
        assert re.search(rf'<span class="key \w+"></span> {word}', page), word
    tiny = replace(results.files[0], original_bytes=1)
    rows = tuple(replace(row, original_bytes=1) for row in results.rows if row.file == tiny.name)
    assert "over 1 file, 1 byte " in texts(render(Results((tiny,), results.codecs, rows))).replace(";", " ")


def test_a_printed_page_is_light_and_whole(page: str) -> None:
    printed = re.search(r"@media print \{(.*?)\n\}", page, re.S)
    assert printed and "--paper: #ffffff" in printed[1] and "overflow: visible" in printed[1]
    screen, on_paper = (set(re.findall(r"(--\w+):", css)) for css in (page[: printed.start()], printed[1]))
    assert on_paper == screen  # no colour of the dark page is left over


def test_marks_have_words(page: str) -> None:
    assert 'aria-label="llmzip small: 1.' in page
    assert re.search(r'aria-label="llmzip small: [\d.]+ bits per byte, compress 19.0 KB/s"', page)
    assert re.search(r'aria-label="llmzip nano breaks even at [\d.]+ MB of text"', page)


def test_colours_are_the_page_s_own(page: str) -> None:
    """What a chart colours by itself would be lost in the dark."""
    style = page[page.index("<style>") : page.index("</style>")]
    defined = set(re.findall(r"(--[\w]+):", style))
    for svg in re.findall(r"<svg.*?</svg>", page, re.S):
        colours = set(re.findall(r'(?:fill|stroke)="([^"]+)"', svg))
        assert {match for colour in colours for match in re.findall(r"var\((.*?)\)", colour)} <= defined
        assert {colour for colour in colours if not colour.startswith("var(")} <= {"none", "transparent"}


def test_hostile_names_stay_text() -> None:
    results = example(1)
    old = results.codecs[-1].name
    hostile = Results(
        tuple(replace(file, name=f"{HOSTILE} {file.name}", kind=HOSTILE) for file in results.files),
        tuple(replace(c, name=HOSTILE, settings={HOSTILE: HOSTILE}) if c.name == old else c for c in results.codecs),
        tuple(
            replace(r, file=f"{HOSTILE} {r.file}", codec=HOSTILE if r.codec == old else r.codec) for r in results.rows
        ),
        {HOSTILE: {"x": [HOSTILE]}},
    )
    page = render(hostile)
    without_references(page)
    assert "<script>alert" not in page and "\u202e" not in page and "\x1b" not in page
    assert "{{ 7 * 7 }}" in page
    page.encode()  # lone surrogates would fail


def test_estimates_and_gaps_are_said() -> None:
    results = example(1)
    rows = [replace(row, estimate=True, verified=False, decompress_seconds=0.0) for row in results.rows]
    seen = texts(render(replace(results, rows=tuple(rows))))
    assert "estimates" in seen and f"{len(rows)} rows were not decoded and compared" in seen
    assert "Every archive was decoded" not in seen and "≈ 1." in seen
    seen = texts(render(replace(results, rows=results.rows[:-1])))
    assert "1 file is left out of all totals" in seen


def test_benches_with_little_in_them() -> None:
    results = example(1)
    assert "Nothing can be compared" in render(replace(results, rows=()))
    assert "Nothing can be compared" in render(Results((), (), ()))
    only = tuple(row for row in results.rows if row.codec == "xz -9e" and row.file == results.files[0].name)
    page = render(Results(results.files[:1], results.codecs[2:3], only))
    without_references(page)
    assert "Where the bits go" not in page and "–" in page


def test_a_bench_of_many_files_and_codecs_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "RESAMPLES", 2)
    results = example(1)
    codecs = [replace(results.codecs[0], name=f"codec {number}") for number in range(12)]
    files = [replace(results.files[0], name=f"a/rather/long/path/to/file-{number}.txt") for number in range(1010)]
    rows = [replace(results.rows[0], file=file.name, codec=codec.name) for file in files for codec in codecs]
    page = render(Results(tuple(files), tuple(codecs), tuple(rows)))
    assert len(page.encode()) < 5_000_000
    assert f"{len(files) - FILES_SHOWN:,} more are in the JSON only" in texts(page)


def test_pages_need_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UsageError, match=r"pip install 'llmzip\[report\]'"):
        render(example(1))


def boxes(svg: str) -> list[tuple[str, float, float, float, float]]:
    """Each line of text with left, top, right and bottom, in letters of 6.5 pixels."""
    found = []

    def walk(node: ElementTree.Element, x: float, y: float) -> None:
        if move := re.match(r"translate\(([-\d.]+),([-\d.]+)\)", node.get("transform", "")):
            x, y = x + float(move[1]), y + float(move[2])
        if node.tag == "text" and "rotate" not in node.get("transform", ""):
            lines = [node.text or ""] if node.text else [part.text or "" for part in node]
            for number, line in enumerate(lines):
                left = x - {"start": 0, "middle": 0.5, "end": 1}[node.get("text-anchor", "start")] * 6.5 * len(line)
                top = y + drawing.LINE_HEIGHT * number
                found.append((line, left, top - 9, left + 6.5 * len(line), top + 2))
        for inner in node:
            walk(inner, x, y)

    walk(ElementTree.fromstring(re.sub(r"xlink:\w+", "link", svg)), 0.0, 0.0)
    return [box for box in found if box[0]]


LONG_NAMES = {
    "zstd -3": "zstd -3",
    "zstd -19": "zstd -22 --long=27",
    "xz -9e": "xz -9e",
    "llmzip nano": "llmzip a-model-with-a-name/of-40-letters",
    "llmzip small": "llmzip small --no-memory",
}


@pytest.mark.parametrize("width", [charts.NARROW, charts.WIDE])
def test_names_in_charts_are_whole_and_do_not_touch(width: int) -> None:
    results = example()
    codecs = tuple(replace(codec, name=LONG_NAMES[codec.name]) for codec in results.codecs)
    rows = tuple(replace(row, codec=LONG_NAMES[row.codec]) for row in results.rows)
    group = [total for total in totals(replace(results, codecs=codecs, rows=rows)) if total.group == ALL]
    drawn = [charts.speed_against_ratio(group, width), charts.break_even(group, width)]
    if width == charts.NARROW:
        drawn.append(charts.bars(group, highest=4.0))
    lines = [line for name in LONG_NAMES.values() for line in drawing.in_lines(name).split("\n")]
    for svg in drawn:
        size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
        assert size
        names = [box for box in boxes(svg) if box[0] in lines]
        assert {text for text, *_ in names} == set(lines)
        for text, left, _, right, _ in names:
            assert left >= 0 and right <= float(size[1]), text
        for index, (text, left, top, right, bottom) in enumerate(names):
            for other, left2, top2, right2, bottom2 in names[:index]:
                touch = left < right2 and left2 < right and top < bottom2 and top2 < bottom
                assert not touch, (text, other)


def test_labels_keep_their_distance() -> None:
    labels = [{"codec": str(number), "bits": bits} for number, bits in enumerate((1.0, 1.0, 1.1, 5.0, 1.05))]
    drawing.spread(labels, 0.5)
    places = [label["at"] for label in labels]
    assert all(after - before >= 0.5 - 1e-9 for before, after in zip(places, places[1:], strict=False))
    assert places[-1] == 5.0
    assert sum(places[:4]) == pytest.approx(1.0 + 1.0 + 1.05 + 1.1)


def test_sizes_in_words() -> None:
    assert [drawing.size_in_words(size) for size in (12, 26_400_000, 1.4e11, 5e15)] == [
        "12 B",
        "26.4 MB",
        "140 GB",
        "5,000 TB",
    ]


def test_the_command_writes_the_page(model_folder: Path, tmp_path: Path) -> None:
    text, page = tmp_path / "a.txt", tmp_path / "page.html"
    text.write_bytes(b"It was a bright cold day. " * 20)
    result = run_command("bench", text, "-m", model_folder, "--codec", "zstd -19", "--html", page, "--json", "-q")
    assert result.returncode == 0, result.stderr
    written = page.read_text(encoding="utf-8")
    without_references(written)
    for total in totals(Results.from_json(result.stdout.decode())):
        assert f"{total.bits_per_byte:.3f}" in texts(written)


def test_the_command_measures_nothing_for_a_page_it_cannot_write(tmp_path: Path) -> None:
    result = run_command("bench", tmp_path, "--html", tmp_path / "missing" / "page.html")
    assert result.returncode == 2 and b"its folder does not exist" in result.stderr
    assert b"--html" in run_command("bench", "--help").stdout


@needs_browser
def test_a_browser_draws_it_and_has_nothing_to_complain_of(page: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    document, console = browse(path)
    assert console == ""
    assert document.count("<svg") == page.count("<svg")
    # The script has run: headings of tables have become buttons.
    assert document.count('<button type="button">') > 10
