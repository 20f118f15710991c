"""Memory and tuning: scores against formulas, the pitfalls of others' scripts, and what must be zero."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import zstandard
from conftest import SAMPLE, write_model

from llmzip.errors import UsageError
from llmzip.predictors.exact import ExactPredictor, load_exact
from llmzip.probes import extraction, membership, memory, tuned
from llmzip.probes.record import Finding
from llmzip.probes.rows import token_rows

TEXT = (SAMPLE * 5).encode()


def value(found: Finding, name: str) -> float | None:
    (one,) = [figure.value for figure in found.figures if figure.name == name]
    return one


def test_min_k_takes_one_token_where_the_share_of_them_is_less() -> None:
    assert membership.min_k(np.array([3.0])) == -3
    assert membership.min_k(np.array([3.0, 1, 2, 5])) == -5
    assert membership.min_k(np.arange(10.0)) == -8.5


def test_min_k_plus_plus_does_not_divide_by_nothing() -> None:
    bits, entropy = np.array([0.0, 4.0]), np.array([0.0, 2.0])
    assert membership.min_k_plus_plus(bits, entropy, np.array([0.0, 4.0]), 1.0) == pytest.approx(-0.5)
    assert math.isfinite(membership.min_k_plus_plus(np.ones(9), np.zeros(9), np.zeros(9)))


def test_tries_are_those_of_the_formula_and_do_not_vanish() -> None:
    assert extraction.tries(1) == 1 and extraction.tries(0) == 1
    assert extraction.tries(10) == math.ceil(math.log(0.5) / math.log(1 - 2**-10))
    assert extraction.tries(200) == pytest.approx(math.log(2) * 2.0**200, rel=1e-9)  # 1 - 2^-200 is 1 in float64
    assert extraction.tries(1e6) == math.inf
    with pytest.raises(ValueError):
        extraction.tries(1, 1)


def test_exposure_is_the_gain_in_rank() -> None:
    others = np.arange(1.0, 1024)
    assert extraction.exposure(0, others) == 10
    assert extraction.exposure(2000, others) == 0
    assert extraction.exposure(511.5, others) == pytest.approx(1)
    assert 0 < extraction.exposure(5, np.full(7, 5.0)) < 3


def test_suffixes_are_fifty_tokens_after_fifty(tiny: ExactPredictor) -> None:
    rows = token_rows(tiny, TEXT, "text", alternatives=extraction.TOP)
    found = extraction.windows(rows)
    assert found.bits[0] == pytest.approx(rows.bits[50:100].sum())
    assert found.bits[1] == pytest.approx(rows.bits[60:110].sum())
    assert found.first_byte[0] == rows.byte_ends[49]
    assert (found.top_bits[np.isfinite(found.top_bits)] <= found.bits[np.isfinite(found.top_bits)] + 1e-9).all()
    outside = (rows.rank[50:100] >= extraction.TOP).any()
    assert math.isinf(found.top_bits[0]) == outside
    short = extraction.windows(token_rows(tiny, TEXT[:60], "text", alternatives=extraction.TOP))
    assert len(short.bits) == 0


def test_zstd_has_the_context_that_the_model_has_and_pays_no_frames() -> None:
    piece = SAMPLE.encode()
    data = piece + piece
    first, again = memory.zstd_costs(data, np.array([0, len(piece), len(data)]))
    assert again < first / 8
    framed = 8 * len(zstandard.ZstdCompressor(level=19).compress(piece))
    assert 0 < first < framed


def test_a_map_of_a_text(tiny: ExactPredictor) -> None:
    found = memory.measure(tiny, TEXT, "text", reference=tiny)
    (table,) = found.tables
    rows = token_rows(tiny, TEXT, "text")
    assert sum(row[2] for row in table.rows) == pytest.approx(rows.bits.sum())  # type: ignore[misc]
    assert value(found, "reference bits / model bits") == 1
    assert value(found, "cost") == pytest.approx(rows.bits.sum() / len(TEXT))
    assert memory.measure(tiny, b"a", "one token").figures
    with pytest.raises(UsageError, match="empty"):
        memory.measure(tiny, b"", "nothing")


def test_labels_without_a_difference_show_none_and_dates_are_seen_blind(tiny: ExactPredictor) -> None:
    rng = np.random.default_rng(0)
    words = SAMPLE.split()

    def text(year: int) -> bytes:
        return f"In {year} {' '.join(rng.choice(words, 12))} {year}".encode()

    same = [text(2020) for _ in range(40)]
    found = memory.measure(tiny, TEXT, "t", members=same[:20], others=same[20:])
    excess = [figure for figure in found.figures if figure.name.startswith("AUC of")]
    assert len(excess) == 4 and all(figure.low is not None and figure.low <= 0 for figure in excess)
    dated = memory.measure(
        tiny, TEXT, "t", members=[text(2020) for _ in range(20)], others=[text(2024) for _ in range(20)]
    )
    assert value(dated, "best blind AUC") == 1
    assert all((figure.value or 0) <= 0 for figure in dated.figures if figure.name.startswith("AUC of"))
    shuffled = memory.measure(tiny, TEXT, "t", members=same[:20][::-1], others=same[20:])
    assert shuffled == found
    with pytest.raises(UsageError, match="name both"):
        memory.measure(tiny, TEXT, "t", members=same)


def test_canaries(tiny: ExactPredictor) -> None:
    line = json.dumps({"prompt": "code ", "secret": "1234", "others": [str(n) for n in range(2000, 2020)]}).encode()
    found = memory.measure(tiny, TEXT, "t", canaries=line)
    exposed = value(found, "exposure of canary 1")
    assert exposed is not None and 0 <= exposed <= math.log2(21)
    for wrong in (b"{}", b'{"prompt": "", "secret": "a", "others": []}'):
        with pytest.raises(UsageError, match="canaries: line 1"):
            memory.measure(tiny, TEXT, "t", canaries=wrong)


def test_a_model_against_itself_has_not_changed(tiny: ExactPredictor) -> None:
    found = tuned.measure(tiny, tiny, {"a": TEXT, "b": TEXT[:100]}, before=b"User: ", after=b"\nModel:")
    change = next(figure for figure in found.figures if figure.name == "change")
    assert (change.value, change.low, change.high) == (0, 0, 0)
    assert value(found, "content inside less raw, base") == value(found, "content inside less raw, tuned")
    assert value(found, "template of base") != 0
    other_order = tuned.measure(tiny, tiny, {"b": TEXT[:100], "a": TEXT}, before=b"User: ", after=b"\nModel:")
    assert other_order == found


def test_a_change_is_the_difference_of_totals(tiny: ExactPredictor, tmp_path: Path) -> None:
    other = load_exact(write_model(tmp_path / "other", seed=2), "other", engine="numpy", threads=1)
    found = tuned.measure(tiny, other, {"a": TEXT}, kinds={"a": "prose"})
    bits = [token_rows(model, TEXT, "a").bits.sum() / len(TEXT) for model in (tiny, other)]
    assert value(found, "base") == pytest.approx(bits[0])
    assert value(found, "change") == pytest.approx(bits[1] - bits[0])
    assert found.tables[0].rows[0][:2] == ("prose", len(TEXT))
    with pytest.raises(UsageError, match="empty"):
        tuned.measure(tiny, tiny, {"a": b""})


def test_every_window_of_a_model_begins_with_its_start_token(tiny: ExactPredictor) -> None:
    """A text is scored from the start token on, once: the first token is not free, and not paid for twice."""
    rows = token_rows(tiny, TEXT, "text")
    assert len(rows.tokens) == len(tiny.tokenize(TEXT))
    context = tiny.start(1)
    assert rows.bits[0] == pytest.approx(-math.log2(context.next_frequencies()[0, rows.tokens[0]] / 2**24), abs=0.05)
