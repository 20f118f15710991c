"""``probe reversal``: is what a model knows one way round known the other way? Gains over controls, in bits."""

import csv
import io
import json
import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from llmzip.documents import Name, decode
from llmzip.errors import UsageError
from llmzip.predictor import Predictor
from llmzip.probes.continuations import continuation_bits
from llmzip.probes.facts import Fact
from llmzip.probes.record import Cell, Figure, Finding, Plot, Series, Table, figure, probed, read_input
from llmzip.probes.statistics import Interval, ratio_interval

Array = NDArray[np.float64]

CONTROLS = 5
"""Answers of other items of the group that each true answer is compared with."""

NOT_SHOWN = (
    "Raw bits do not separate what is unknown from a rare name, so only gains over controls count. Where neither way "
    "is known there is no index. Relations between people are not alike in fame, and shared surnames give answers away."
)


@dataclass(frozen=True)
class _Question:
    prompt: str
    completion: Name


@dataclass(frozen=True)
class _Line:
    forward: _Question
    reverse: _Question
    group: str = "all"


def read_facts(data: bytes, where: str) -> list[Fact]:
    """Of JSON lines {"forward": {"prompt", "completion"}, "reverse": {...}}, or of a CSV table with the columns child,
    parent and parent_type, as the published pairs have them; sorted. Raises UsageError."""
    if data.lstrip()[:1] == b"{":
        lines = [line for line in data.split(b"\n") if line.strip()]
        facts = []
        for number, line in enumerate(lines, 1):
            one = decode(line, _Line, f"{where}: line {number}", error=UsageError, remedy="mend the line")
            pairs = [(question.prompt, question.completion) for question in (one.forward, one.reverse)]
            facts.append(Fact(pairs[0], pairs[1], one.group))
    else:
        facts = _published(data, where)
    return sorted(set(facts), key=lambda fact: (fact.group, fact.forward, fact.reverse))


def _published(data: bytes, where: str) -> list[Fact]:
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
        return [
            Fact(
                (f"{row['child']}'s {row['parent_type']} is", f" {row['parent']}"),
                (f"A child of {row['parent']} is", f" {row['child']}"),
            )
            for row in rows
        ]
    except (UnicodeDecodeError, csv.Error, KeyError) as error:
        raise UsageError(
            f"{where} holds no facts ({error}): give JSON lines, or CSV with child, parent, parent_type"
        ) from None


def as_lines(facts: list[Fact]) -> bytes:
    """What ``read_facts`` reads."""
    lines = []
    for fact in facts:
        questions = [asdict(_Question(*question)) for question in (fact.forward, fact.reverse)]
        lines.append(json.dumps({"forward": questions[0], "reverse": questions[1], "group": fact.group}))
    return ("\n".join(lines) + "\n").encode()


def measure(predictor: Predictor, facts: list[Fact], name: str, *, seed: int = 0) -> Finding:
    """Bits of true answers and of controls both ways, by group. Raises UsageError for a group of one fact."""
    groups = sorted({fact.group for fact in facts})
    if not facts:
        raise UsageError(f"{name} has no facts: give some")
    figures: list[Figure] = []
    rows: list[tuple[Cell, ...]] = []
    gains: dict[str, tuple[Array, Array]] = {}
    for group in groups:
        some = [fact for fact in facts if fact.group == group]
        if len(some) < 2:
            raise UsageError(f"the group {group!r} of {name} has one fact: a control needs another, so add some")
        found = []
        for way, questions in (("forward", [f.forward for f in some]), ("reverse", [f.reverse for f in some])):
            true, control = _bits(predictor, questions, seed)
            gain = ratio_interval(control - true, np.ones_like(true), seed=seed)
            rows.append((group, way, len(some), float(true.mean()), float(control.mean()), *gain))
            figures.append(figure(f"{way} gain, {group}", gain, "bits", headline=True))
            found.append(control - true)
        gains[group] = (found[0], found[1])
        figures.append(_index(group, *gains[group], seed))
    columns = ("group", "way", "facts", "true bits", "control bits", "gain", "low", "high")
    series = tuple(
        Series(group, tuple(pair[0].tolist()), tuple(pair[1].tolist()), style="points") for group, pair in gains.items()
    )
    return Finding(
        "reversal",
        (probed(predictor),),
        (read_input(name, as_lines(facts)),),
        tuple(figures),
        NOT_SHOWN,
        (Table("Bits of answers", columns, tuple(rows)),),
        (
            Plot(
                "What the question tells about the answer, each fact a point",
                "forward gain, bits",
                "reverse gain, bits",
                series,
            ),
        ),
        settings={"seed": seed, "controls": CONTROLS},
    )


def _bits(predictor: Predictor, questions: list[tuple[str, str]], seed: int) -> tuple[Array, Array]:
    """Of each true answer, and the mean of those of CONTROLS other items: [n] each."""
    shuffled = np.random.default_rng(seed).permutation(len(questions))
    turns = range(1, min(CONTROLS, len(questions) - 1) + 1)
    pairs = [(prompt.encode(), answer.encode()) for prompt, answer in questions]
    for turn in turns:  # a derangement: everybody gets the answer of another
        other = np.empty(len(questions), int)
        other[shuffled] = np.roll(shuffled, turn)
        pairs += [(questions[i][0].encode(), questions[int(other[i])][1].encode()) for i in range(len(questions))]
    bits = continuation_bits(predictor, pairs).reshape(-1, len(questions))
    return bits[0], bits[1:].mean(0)


def _index(group: str, forward: Array, reverse: Array, seed: int) -> Figure:
    """1 - reverse gain / forward gain: 0 where both ways are known alike, 1 where nothing is known in reverse."""
    name = f"curse index, {group}"
    known = ratio_interval(forward, np.ones_like(forward), seed=seed)
    if not known.low > 0:
        return figure(name, None, note="the forward way is not known, so there is nothing to compare with")
    value, low, high = ratio_interval(reverse, forward, seed=seed)
    return figure(name, Interval(1 - value, 1 - high, 1 - low) if math.isfinite(low) else 1 - value)
