"""``probe preference``: which of two answers a model writes more cheaply, and what comparing costs against writing."""

import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmzip.documents import Name, decode
from llmzip.errors import UsageError
from llmzip.predictor import Predictor
from llmzip.probes.continuations import continuation_bits
from llmzip.probes.record import Figure, Finding, Plot, Series, Table, figure, probed, read_input
from llmzip.probes.statistics import Interval, binary_entropy, mcnemar, wilson

NOT_SHOWN = (
    "A share near 50 % does not say that the model knows no difference, nor one above it that its writing would be "
    "preferred: the total favours short answers and bits per byte favour long boilerplate, which the quartiles of the "
    "difference in length show."
)

TIE_BITS = 1e-9
"""Costs that differ by less are equal: the same text, but for the last digits."""


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt."""

    prompt: str
    chosen: Name
    rejected: Name


def read_pairs(data: bytes, where: str) -> list[Pair]:
    """Of JSON lines {"prompt", "chosen", "rejected"}, sorted, so that the order of lines changes nothing."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    if not lines:
        raise UsageError(f'{where} has no pairs: give a line {{"prompt": …, "chosen": …, "rejected": …}} for each')
    pairs = [
        decode(line, Pair, f"{where}: line {number}", error=UsageError, remedy="mend the line")
        for number, line in enumerate(lines, 1)
    ]
    return sorted(pairs, key=lambda pair: (pair.prompt, pair.chosen, pair.rejected))


def measure(predictor: Predictor, data: bytes, name: str, *, reference: Predictor | None = None) -> Finding:
    """How often the chosen answer is the cheaper, by total, per byte and, with a reference, by implicit reward."""
    pairs = read_pairs(data, name)
    sizes = np.array([[len(pair.chosen.encode()), len(pair.rejected.encode())] for pair in pairs], np.float64)
    bits = _bits(predictor, pairs)
    # What is negative prefers the chosen answer.
    scores = {"total bits": bits[:, 0] - bits[:, 1], "bits per byte": (bits / sizes)[:, 0] - (bits / sizes)[:, 1]}
    if reference is not None:
        saved = bits - _bits(reference, pairs)
        scores["implicit reward"] = saved[:, 0] - saved[:, 1]
    figures: list[Figure] = []
    for score, differences in scores.items():
        share, ties = _share(differences)
        figures.append(figure(f"chosen preferred by {score}", share, note=f"{ties} ties left out", headline=True))
    figures += _against_each_other(scores)
    share, _ = _share(scores["total bits"])
    knows = 1 - binary_entropy(share.value) if share is not None else None
    figures += [
        figure("a comparison is worth", 1.0, "bit at most", note="the model supplies the next figure of it"),
        figure("of which the model supplies", knows, "bits"),
        figure("writing the chosen answer costs", float(np.median(bits[:, 0])), "bits (median)"),
    ]
    rows = tuple(
        (pair.prompt[:80], float(own[0]), float(own[1]), int(size[0]), int(size[1]))
        for pair, own, size in zip(pairs, bits, sizes, strict=True)
    )
    table = Table("Pairs", ("prompt", "chosen bits", "rejected bits", "chosen bytes", "rejected bytes"), rows)
    models = (probed(predictor), *([probed(reference)] if reference is not None else []))
    quartiles, plot = _quartiles(scores, sizes[:, 0] - sizes[:, 1])
    return Finding(
        "preference",
        models,
        (read_input(name, _canonical(pairs)),),
        tuple(figures),
        NOT_SHOWN,
        (quartiles, table),
        (plot,),
        remarks=(f"{len(pairs)} pairs; scored are the tokens of the answers, not those of the prompts.",),
    )


def _canonical(pairs: list[Pair]) -> bytes:
    """The pairs in their order, so that a document does not depend on the order of lines."""
    return "".join(json.dumps([pair.prompt, pair.chosen, pair.rejected]) + "\n" for pair in pairs).encode()


def _bits(predictor: Predictor, pairs: list[Pair]) -> NDArray[np.float64]:
    """[n, 2]: of the chosen and of the rejected answers."""
    texts = [(p.prompt.encode(), answer.encode()) for p in pairs for answer in (p.chosen, p.rejected)]
    return continuation_bits(predictor, texts).reshape(-1, 2)


def _share(differences: NDArray[np.float64]) -> tuple[Interval | None, int]:
    """The share below 0 of those that are not equal, and how many are."""
    ties = int((np.abs(differences) < TIE_BITS).sum())
    counted = len(differences) - ties
    return (wilson(int((differences <= -TIE_BITS).sum()), counted) if counted else None), ties


def _against_each_other(scores: dict[str, NDArray[np.float64]]) -> list[Figure]:
    """McNemar's p of each score against the first."""
    (first, one), *others = scores.items()
    found = []
    for name, other in others:
        counted = (np.abs(one) >= TIE_BITS) & (np.abs(other) >= TIE_BITS)
        right, wrong = (one < 0) & counted, (one > 0) & counted
        p = mcnemar(int((right & (other > 0)).sum()), int((wrong & (other < 0)).sum()))
        found.append(figure(f"{name} against {first}: McNemar's p", p))
    return found


def _quartiles(scores: dict[str, NDArray[np.float64]], longer: NDArray[np.float64]) -> tuple[Table, Plot]:
    """Shares by how many bytes the chosen answer is longer."""
    parts = [part for part in np.array_split(np.argsort(longer, kind="stable"), 4) if len(part)]
    rows, lines = [], []
    for name, differences in scores.items():
        values = []
        for part in parts:
            share, ties = _share(differences[part])
            value = share.value if share is not None else math.nan
            values.append(value)
            ends = (share.low, share.high) if share is not None else (None, None)
            rows.append((name, float(longer[part].mean()), len(part) - ties, None if share is None else value, *ends))
        known = [(float(longer[part].mean()), v) for part, v in zip(parts, values, strict=True) if math.isfinite(v)]
        lines.append(Series(name, tuple(x for x, _ in known), tuple(y for _, y in known)))
    table = Table(
        "By quartile of the difference in length",
        ("score", "bytes longer (mean)", "pairs", "preferred", "low", "high"),
        tuple(rows),
    )
    return table, Plot("Chosen preferred, by length", "bytes that the chosen is longer", "share", tuple(lines))
