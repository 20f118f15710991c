"""``probe tuned``: what tuning changed, in bits per byte of the same bytes; a template's own bits stand apart."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import UsageError
from llmzip.predictor import Predictor
from llmzip.probes.continuations import continuation_bits
from llmzip.probes.record import Cell, Figure, Finding, Plot, Series, Table, figure, probed, read_input
from llmzip.probes.rows import TokenRows, token_rows
from llmzip.probes.statistics import ratio_interval

CHUNK_BYTES = 512

NOT_SHOWN = (
    "More bits on raw text after tuning are no loss of skill, and fewer no gain of one: tuned models are made for text "
    "inside their template. With two models no trend can be told; elasticity needs a series of checkpoints. "
    "That tuning lowers entropy and raises cost at once is usual."
)


def measure(
    base: Predictor,
    tuned: Predictor,
    texts: Mapping[str, bytes],
    *,
    kinds: Mapping[str, str] | None = None,
    before: bytes = b"",
    after: bytes = b"",
    seed: int = 0,
) -> Finding:
    """Tuned less base on each text and kind, paired by chunks of the same bytes. Every token of a text is scored, and
    each window of a model begins with its start token, as the predictors have it.

    kinds: of each text, what rows of the table group by. before, after: a template around each text, as ordinary
    text. Raises UsageError for an empty text.
    """
    if not texts or not all(texts.values()):
        raise UsageError("a text is empty: name texts that hold something")
    names = sorted(texts)
    parts: dict[str, list[NDArray[np.float64]]] = {}
    series, at = [], 0
    for name in names:
        data = texts[name]
        pair = [token_rows(model, data, name) for model in (base, tuned)]
        edges = np.append(np.arange(0, len(data), CHUNK_BYTES), len(data))
        costs = [_between(rows, rows.bits, edges) for rows in pair]
        entropies = [_between(rows, rows.entropy, edges) for rows in pair]
        table = np.stack((*costs, *entropies, np.diff(edges).astype(np.float64)))
        parts.setdefault((kinds or {}).get(name, "text"), []).append(table)
        for place, change in enumerate((costs[1] - costs[0]) / np.diff(edges)):
            series.append((float(at + edges[place]), float(change)))
        at += len(data)
    whole = np.concatenate([table for tables in parts.values() for table in tables], 1)
    figures = _figures("", whole, seed)
    rows: list[tuple[Cell, ...]] = []
    for kind, tables in sorted(parts.items()):
        joined = np.concatenate(tables, 1)
        change = ratio_interval(joined[1] - joined[0], joined[4], seed=seed)
        rows.append((kind, int(joined[4].sum()), *(float(joined[k].sum() / joined[4].sum()) for k in (0, 1)), *change))
    remark = "Scored are all tokens of the texts, from the start token on; nothing is masked."
    if before or after:
        figures += _template(base, tuned, [texts[name] for name in names], before, after)
        remark += " Of templated texts the template's tokens and the content's are summed apart."
    columns = ("kind", "bytes", "base", "tuned", "change", "low", "high")
    plot = Plot(
        "Change of bits per byte",
        "byte",
        "bits per byte, tuned less base",
        (Series("change", tuple(x for x, _ in series), tuple(y for _, y in series)),),
    )
    return Finding(
        "tuned",
        (probed(base), probed(tuned)),
        tuple(read_input(name, texts[name]) for name in names),
        tuple(figures),
        NOT_SHOWN,
        (Table("By kind, bits per byte", columns, tuple(rows)),),
        (plot,),
        remarks=(remark,),
        settings={
            "seed": seed,
            "chunk_bytes": CHUNK_BYTES,
            "before": before.decode("utf-8", "replace"),
            "after": after.decode("utf-8", "replace"),
        },
    )


def _between(rows: TokenRows, values: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums between bytes; a token across an edge is shared in proportion, so that tokenizers may differ."""
    ends = np.concatenate(([0.0], rows.byte_ends.astype(np.float64)))
    sums = np.concatenate(([0.0], np.cumsum(values)))
    found: NDArray[np.float64] = np.diff(np.interp(edges, ends, sums))
    return found


def _figures(prefix: str, table: NDArray[np.float64], seed: int) -> list[Figure]:
    base, tuned, base_entropy, tuned_entropy, sizes = table
    return [
        figure(f"{prefix}change", ratio_interval(tuned - base, sizes, seed=seed), "bits per byte", headline=True),
        figure(f"{prefix}base", float(base.sum() / sizes.sum()), "bits per byte"),
        figure(f"{prefix}tuned", float(tuned.sum() / sizes.sum()), "bits per byte"),
        figure(
            f"{prefix}change of entropy",
            ratio_interval(tuned_entropy - base_entropy, sizes, seed=seed),
            "bits per byte",
        ),
        figure(f"{prefix}bytes where tuned is cheaper", 100 * float(sizes[tuned < base].sum() / sizes.sum()), "%"),
    ]


def _template(base: Predictor, tuned: Predictor, texts: list[bytes], before: bytes, after: bytes) -> list[Figure]:
    """Of each model: the template's own bits, and what the content costs inside of it less what it costs raw."""
    found = []
    size = sum(map(len, texts))
    for who, model in (("base", base), ("tuned", tuned)):
        raw = continuation_bits(model, [(b"", text) for text in texts]).sum()
        inside = continuation_bits(model, [(before, text) for text in texts]).sum()
        own = continuation_bits(model, [(b"", before), *((before + text, after) for text in texts)])
        found += [
            figure(f"template of {who}", float(own[0] * len(texts) + own[1:].sum()) / len(texts), "bits a text"),
            figure(f"content inside less raw, {who}", float(inside - raw) / size, "bits per byte", headline=True),
        ]
    return found
