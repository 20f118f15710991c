"""The heatmap: its bits are those of a frame, its cells are the text, its page is safe and complete."""

import html
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE, CountingPredictor
from hypothesis import given
from hypothesis import strategies as st
from pages import browse, needs_browser, run_command, without_references

from llmzip.bench.heatmap import (
    LIMIT_BYTES,
    Alternative,
    Heatmap,
    TokenCost,
    cells,
    level,
    measure_heatmap,
    shown_bytes,
    visible,
)
from llmzip.bench.html import level_labels, render_heatmap
from llmzip.coder import ideal_bits
from llmzip.errors import ModelError, UsageError
from llmzip.frames import MEMORY_TOKENS, memory_intervals, token_intervals
from llmzip.predictor import Predictor
from llmzip.predictors.exact import ExactPredictor
from llmzip.scoring import own_bits

LONG = (SAMPLE * 20).encode()
HOSTILE = b"<script>alert(1)</script><!--&amp;\xff\x00\x1b[31m\xe2\x80\xae\n\t\xe6\x9d\xb1"


def costs(contents: list[bytes]) -> list[TokenCost]:
    offsets = np.cumsum([0, *map(len, contents)]).tolist()
    return [TokenCost(offsets[i], 0, content, 1.0, 1.0, ()) for i, content in enumerate(contents)]


@pytest.fixture(params=["tiny", "counting"])
def predictor(request: pytest.FixtureRequest) -> Predictor:
    found: Predictor = request.getfixturevalue(request.param)
    return found


def test_bits_without_memory_are_the_models_own(predictor: Predictor) -> None:
    data = SAMPLE.encode()
    heatmap = measure_heatmap(data, predictor, memory=False)
    own = [own for _, own in token_intervals(predictor.tokenize(data), predictor, 1)]
    assert heatmap.bits == pytest.approx(sum(map(ideal_bits, own)), rel=1e-3)  # a frame rounds
    assert heatmap.bits == pytest.approx(float(own_bits(predictor, data)[1].sum()), rel=1e-12)
    assert heatmap.model_bits == heatmap.bits
    assert not heatmap.memory


def test_bits_are_those_of_a_frame_with_memory(predictor: Predictor) -> None:
    tokens = predictor.tokenize(LONG)
    heatmap = measure_heatmap(LONG, predictor)
    assert heatmap.memory
    assert heatmap.bits == pytest.approx(
        sum(ideal_bits(own) for _, own in memory_intervals(tokens, predictor, 1, alone=False)), rel=1e-12
    )
    assert heatmap.bits < heatmap.model_bits / 2
    # A repeat costs nearly nothing, token by token, where the sums were divided rightly.
    later = [token.bits for token in heatmap.tokens[len(tokens) * 3 // 4 :]]
    assert max(later) < 4


def test_short_texts_are_shown_without_memory_as_a_frame_codes_them(counting: CountingPredictor) -> None:
    assert not measure_heatmap(bytes(MEMORY_TOKENS - 1), counting).memory
    assert measure_heatmap(bytes(MEMORY_TOKENS), counting).memory


def test_alternatives_are_the_likeliest_tokens(predictor: Predictor) -> None:
    data = SAMPLE.encode()[:60]
    tokens = predictor.tokenize(data)
    context = predictor.start(1)
    heatmap = measure_heatmap(data, predictor, alternatives=4)
    for cost, token in zip(heatmap.tokens, tokens, strict=True):
        frequencies = context.next_frequencies()[0]
        expected = np.sort(frequencies)[:-5:-1] / 2**24  # rounded, so that equals may stand in another order
        assert [other.probability for other in cost.alternatives] == pytest.approx(expected, rel=0.01)
        assert [frequencies[other.token] / 2**24 for other in cost.alternatives] == pytest.approx(expected, rel=0.01)
        assert cost.model_bits == pytest.approx(-np.log2(frequencies[token] / 2**24), abs=0.02)
        context.append(np.array([token]))


def test_no_alternatives_and_more_than_there_are(counting: CountingPredictor) -> None:
    assert measure_heatmap(b"ab", counting, alternatives=0).tokens[1].alternatives == ()
    assert len(measure_heatmap(b"ab", counting, alternatives=999).tokens[1].alternatives) == 256


def test_tokens_are_the_text(tiny: ExactPredictor) -> None:
    heatmap = measure_heatmap(HOSTILE, tiny)
    assert b"".join(token.content for token in heatmap.tokens) == HOSTILE
    for token in heatmap.tokens:
        assert HOSTILE[token.offset :].startswith(token.content)


def test_a_long_text_is_cut_between_characters(counting: CountingPredictor) -> None:
    heatmap = measure_heatmap("aé東🙂".encode(), counting, limit_bytes=5)
    assert (heatmap.original_bytes, heatmap.shown_bytes) == (10, 3)
    assert measure_heatmap(b"\x80" * 9, counting, limit_bytes=5).shown_bytes in range(1, 6)
    assert measure_heatmap("é".encode(), counting, limit_bytes=1).shown_bytes == 1


def test_an_empty_text_has_no_rate(counting: CountingPredictor) -> None:
    heatmap = measure_heatmap(b"", counting)
    assert (heatmap.tokens, heatmap.bits, heatmap.bits_per_byte) == ((), 0, None)
    assert "there is nothing to colour" in render_heatmap(heatmap, name="empty")


def test_a_tokenizer_that_loses_bytes_is_refused(counting: CountingPredictor) -> None:
    class Losing(CountingPredictor):
        def detokenize(self, tokens: object) -> bytes:
            return b""

    with pytest.raises(ModelError, match="does not give these bytes back"):
        measure_heatmap(b"abc", Losing())


def test_dearest_first(counting: CountingPredictor) -> None:
    heatmap = measure_heatmap(b"aaaaaaaaXaaa", counting)
    assert heatmap.dearest(1) == [8]
    order = [heatmap.tokens[index].bits for index in heatmap.dearest(99)]
    assert order == sorted(order, reverse=True) and len(order) == 12


@given(st.lists(st.binary(min_size=1, max_size=5), max_size=12))
def test_cells_divide_the_text_between_characters(contents: list[bytes]) -> None:
    found = list(cells(costs(contents)))
    assert "".join(cell.text for cell in found).encode("utf-8", "surrogateescape") == b"".join(contents)
    assert [cell.first for cell in found] == [0, *(cell.end for cell in found)][: len(found)]
    assert (found[-1].end if found else 0) == len(contents)
    assert all(cell.text for cell in found)


def test_a_character_of_several_tokens_is_one_cell() -> None:
    found = list(cells(costs([b"a", b"\xe6", b"\x9d", b"\xb1b", b"\xff"])))
    assert [(cell.text, cell.first, cell.end) for cell in found] == [("a", 0, 1), ("東b", 1, 4), ("\udcff", 4, 5)]


@given(st.text())
def test_visible_text_holds_nothing_that_steers_a_terminal(text: str) -> None:
    shown = visible(text)
    assert not any(character < " " and character not in "\n\t" for character in shown)
    assert not set(shown) & set("\x7f\x9b\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200e\u200f\ufeff")


def test_what_is_not_seen_gets_a_sign() -> None:
    assert visible("a\n\t\x1b\u202e\udcff 東\u3000") == "a↵\n⇥\t\\x1b\\u202e\\xff 東\u3000"
    assert shown_bytes(b" the\n") == "␣the↵"


def test_levels_have_a_label_each() -> None:
    assert [level(bits) for bits in (0, 0.99, 1, 2, 4, 8, 12, 99)] == [0, 0, 1, 2, 3, 4, 5, 5]
    assert level_labels() == ["0–1", "1–2", "2–4", "4–8", "8–12", "≥ 12"]


def test_the_page_says_the_text_and_the_bits(tiny: ExactPredictor) -> None:
    heatmap = measure_heatmap(HOSTILE + SAMPLE.encode(), tiny)
    page = render_heatmap(heatmap, name="<img src=x onerror=alert(1)>.txt")
    assert "<img" not in page and "alert(1)</script>" not in page
    (text,) = re.findall(r'<div class="text".*?>(.*?)</div>', page, re.S)
    spans = re.findall(r"<span class=\"b[0-5]\"(?: id=\"c\d+\")?>(.*?)</span>", text, re.S)
    assert html.unescape("".join(spans)) == "".join(visible(cell.text) for cell in cells(heatmap.tokens))
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data = json.loads(block)
    assert len(data["cells"]) == len(spans)
    assert sum(token[2] for token in data["tokens"]) == pytest.approx(heatmap.bits, abs=0.005 * len(heatmap.tokens))
    assert f"{heatmap.bits:,.1f} bits" in page
    assert set(re.findall(r'href="#(c\d+)"', page)) <= set(re.findall(r'id="(c\d+)"', page))
    without_references(page)


@needs_browser
def test_a_browser_shows_what_was_expected_of_a_token(counting: CountingPredictor, tmp_path: Path) -> None:
    heatmap = measure_heatmap(HOSTILE + b"aaaaaaaa", counting)
    page = render_heatmap(heatmap, name="text")
    # The browser begins at the token that the address names, as a link in the list of the dearest does.
    first = re.findall(r'href="#c(\d+)"', page)[0]
    path = tmp_path / "heatmap.html"
    path.write_text(page, encoding="utf-8")
    document, console = browse(path, fragment=f"c{first}")
    assert console == ""
    (details,) = re.findall(r'<div class="details"[^>]*>(.*?)</div>', document, re.S)
    cell = list(cells(heatmap.tokens))[int(first)]
    for token in heatmap.tokens[cell.first : cell.end]:
        assert f"at byte {token.offset:,}: {token.bits:.2f} bits" in html.unescape(details)
    assert details.count("<tr>") == 5 * (cell.end - cell.first)
    assert '"b' in document and re.search(r'class="b\d on"', document)


def test_a_page_of_the_default_limit_is_small_enough() -> None:
    """Even where every byte is a token."""
    others = tuple(Alternative(token, bytes([token]), 0.123456) for token in range(5))
    tokens = [TokenCost(i, i % 256, bytes([i % 256]), i % 13 + 0.123, 12.345, others) for i in range(LIMIT_BYTES)]
    heatmap = Heatmap("tiny", "c0ffee", True, LIMIT_BYTES, LIMIT_BYTES, tuple(tokens))
    assert len(render_heatmap(heatmap, name="noise").encode()) < 5_000_000


def test_pages_need_the_extra(counting: CountingPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UsageError, match=r"pip install 'llmzip\[report\]'"):
        render_heatmap(measure_heatmap(b"a", counting), name="a")


def test_the_command_prints_numbers_where_nobody_looks(model_folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(HOSTILE)
    result = run_command("heatmap", text, "-m", model_folder)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.decode().splitlines()
    assert lines[0].startswith("# tiny: ") and lines[1] == "# byte\tbits\tmodel bits\ttoken"
    assert b"\x1b" not in result.stdout
    total = sum(float(line.split("\t")[1]) for line in lines[2:])
    (said,) = re.findall(r"([\d,.]+) ideal bits", lines[0])
    assert total == pytest.approx(float(said.replace(",", "")), abs=0.1)


def test_the_command_gives_json_and_says_what_it_cut(model_folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(HOSTILE)
    result = run_command("heatmap", text, "-m", model_folder, "--json", "--limit", "20", "--alternatives", "2")
    document = json.loads(result.stdout)
    assert bytes.fromhex("".join(token["hex"] for token in document["tokens"])) == HOSTILE[:20]
    assert document["bits"] == pytest.approx(sum(token["bits"] for token in document["tokens"]))
    assert {len(token["alternatives"]) for token in document["tokens"]} == {2}
    assert b"only the first 20 of" in result.stderr


def test_the_command_takes_one_file(tmp_path: Path) -> None:
    result = run_command("heatmap", tmp_path)
    assert (result.returncode, result.stdout) == (2, b"")
    assert f"{tmp_path} is a folder: name one file in it".encode() in result.stderr


def test_the_command_writes_a_page_and_spares_existing_files(model_folder: Path, tmp_path: Path) -> None:
    text, page = tmp_path / "text", tmp_path / "page.html"
    text.write_bytes(HOSTILE)
    result = run_command("heatmap", text, "-m", model_folder, "--html", page)
    assert (result.returncode, result.stdout) == (0, b"")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    again = run_command("heatmap", text, "-m", model_folder, "--html", page)
    assert again.returncode == 2 and b"overwrite it with -f" in again.stderr
    assert run_command("heatmap", text, "-m", model_folder, "--html", page, "-f").returncode == 0
    both = run_command("heatmap", text, "-m", model_folder, "--html", page, "--json")
    assert both.returncode == 2 and b"leave one out" in both.stderr


def test_colours_in_a_terminal(counting: CountingPredictor) -> None:
    from rich.console import Console

    from llmzip.cli.heatmap import _print_colours

    heatmap: Heatmap = measure_heatmap("aaaa東\x1b\n".encode() * 40, counting)
    for width in (80, 200):
        console = Console(force_terminal=True, color_system="256", width=width, markup=False, highlight=False)
        with console.capture() as capture:
            _print_colours(console, heatmap)
        output = capture.get()
        assert "\x1b[" in output and "\\x1b" in output
        plain = re.sub(r"\x1b\[[\d;]*m", "", output)
        assert "\x1b" not in plain
        assert "東" in plain and f"{heatmap.bits:,.1f} ideal bits" in plain


def test_help_names_every_option() -> None:
    text = run_command("heatmap", "--help").stdout.decode()
    for option in ("--model", "--html", "--json", "--no-memory", "--limit", "--alternatives", "--force", "--threads"):
        assert option in text
    assert f"{LIMIT_BYTES >> 10} KiB" in text
