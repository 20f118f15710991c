"""``probe scaling``: the law L(N, D) = E + A/N^alpha + B/D^beta of a table of runs, and how far it reaches.

Says what the rows leave open instead of fitting it: a line D ~ N, one D, few rows. Reads rows, asks no model.
"""

import csv
import io
import json
import math
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import UsageError
from llmzip.probes import scaling_fit
from llmzip.probes.record import Figure, Finding, Plot, Series, Table, figure, read_input
from llmzip.probes.scaling_fit import Law
from llmzip.probes.statistics import Interval

Array = NDArray[np.float64]

FEWEST_ROWS = 5
FEWEST_VALUES = 3
"""Distinct N, and distinct D, below which an exponent cannot be told."""

LINE_SPREAD = 0.1
"""Rows whose ln D differ by less than this (standard deviation) from a line in ln N are on that line."""

COLUMNS = {
    "parameters": ("parameters", "params", "n", "model size"),
    "tokens": ("tokens", "training_tokens", "d"),
    "flop": ("flop", "training flop", "training_flop"),
    "loss": ("loss", "bits_per_byte", "l"),
    "run": ("run",),
}
"""What the columns may be called, in any case of letters."""

NOT_SHOWN = (
    "Where the rows end the law is a guess: no law says that it goes on. A and B alone mean nearly nothing, for they "
    "move with the exponents. Checkpoints from before a learning rate has decayed lie above the curve, repeats of data "
    "are not counted, and N with or without embeddings gives other exponents for small models."
)


@dataclass(frozen=True)
class Row:
    """One measured loss."""

    parameters: float
    tokens: float
    loss: float
    run: str
    """Rows of one run are drawn together by the bootstrap."""


def read_rows(data: bytes, where: str) -> list[Row]:
    """Rows of a CSV or TSV table with a header, of a JSON list, or of JSON lines. Raises UsageError naming the row."""
    try:
        text = data.decode("utf-8-sig")
        records = _json_records(text) if text.lstrip()[:1] in ("[", "{") else _table_records(text)
    except (UnicodeDecodeError, ValueError, csv.Error, RecursionError) as error:
        raise UsageError(f"{where} is no table of runs ({error}): use CSV with a header, or JSON") from None
    rows = [
        _row({str(key).strip().lower(): value for key, value in record.items()}, where, number)
        for number, record in enumerate(records, 1)
    ]
    return rows


def _json_records(text: str) -> list[dict[str, Any]]:
    if text.lstrip().startswith("["):
        records = json.loads(text)
    else:
        records = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(record, dict) for record in records):
        raise ValueError("a row is not an object")
    return list(records)


def _table_records(text: str) -> list[dict[str, Any]]:
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


def _row(record: dict[str, Any], where: str, number: int) -> Row:
    def value(what: str) -> float | None:
        for name in COLUMNS[what]:
            if name in record:
                try:
                    found = float(record[name])
                except (TypeError, ValueError):
                    found = math.nan
                if not math.isfinite(found) or found <= 0:
                    raise UsageError(f"{where}: row {number}: {name} is {record[name]!r}: give a positive number")
                return found
        return None

    parameters, tokens, flop, loss = (value(what) for what in ("parameters", "tokens", "flop", "loss"))
    if tokens is None and flop is not None and parameters is not None:
        tokens = flop / (6 * parameters)
    if parameters is None or tokens is None or loss is None:
        raise UsageError(f"{where}: row {number} has not all of parameters, tokens (or flop) and loss: add the column")
    run = next((str(record[name]) for name in COLUMNS["run"] if name in record), f"row {number}")
    return Row(parameters, tokens, loss, run)


def measure(
    data: bytes,
    name: str,
    *,
    at: tuple[tuple[float, float], ...] = (),
    drop_highest: int = 0,
    draws: int = 1000,
    seed: int = 0,
) -> Finding:
    """The law of the rows and its predictions at each (N, D).

    at: where to predict; ten times the largest N and D if none is given. drop_highest: leave out so many rows of
    the highest loss, 5 in the re-fit of Chinchilla. draws: of the bootstrap over runs. Raises UsageError where
    the rows identify nothing.
    """
    rows = sorted(read_rows(data, name), key=lambda row: (row.loss, row.parameters, row.tokens, row.run))
    rows = rows[: len(rows) - drop_highest] if drop_highest else rows
    if len(rows) < FEWEST_ROWS:
        raise UsageError(f"{name} has {len(rows)} rows, which identify nothing: add runs, {FEWEST_ROWS} at least")
    parameters, tokens, losses = (
        np.array([getattr(row, what) for row in rows]) for what in ("parameters", "tokens", "loss")
    )
    sizes, amounts = len(np.unique(parameters)), len(np.unique(tokens))
    if min(sizes, amounts) >= FEWEST_VALUES and _on_a_line(parameters, tokens):
        raise UsageError(
            f"the rows of {name} lie on a line, D ~ N^k: neither exponent can be told. Add runs off the line, such as "
            "the smallest model with ten times the tokens"
        )
    settings: dict[str, str | int | float] = {"drop_highest": drop_highest, "draws": draws, "seed": seed}
    settings |= {f"at {n:g}": d for n, d in at}
    if min(sizes, amounts) < FEWEST_VALUES:
        return _one_way(rows, parameters, tokens, losses, name, data, settings, draws, seed)
    open_ends = scaling_fit.profile_edges(parameters, tokens, losses)
    (law, objective), drawn = _fitted(rows, parameters, tokens, losses, draws, seed)
    if float(law.floor[0]) < 1e-3 * losses.min():
        raise UsageError(f"the rows of {name} leave E open (it falls to 0): add runs with smaller losses")
    if any(open_ends):
        which = " and ".join(
            name for name, is_open in zip(("alpha (N)", "beta (D)"), open_ends, strict=True) if is_open
        )
        raise UsageError(f"the rows of {name} leave {which} open: add runs over a wider range of N and of D")
    figures = _parameters_of(law, drawn, objective)
    wanted = at or ((10 * parameters.max(), 10 * tokens.max()),)
    figures += [_prediction(law, drawn, n, d) for n, d in wanted]
    figures.append(_data_for_doubling(law, drawn, float(parameters.max()), float(tokens.max())))
    errors = law.loss(parameters, tokens) / losses - 1
    return Finding(
        "scaling",
        (),
        (read_input(name, data),),
        tuple(figures),
        NOT_SHOWN,
        (_row_table(rows, law.loss(parameters, tokens)),),
        (_plot(rows, law, drawn, [n for n, _ in wanted]),),
        remarks=(f"{len(rows)} rows, {sizes} N, {amounts} D; median error {np.median(np.abs(errors)):.2%}.",),
        settings=settings,
    )


def _on_a_line(parameters: Array, tokens: Array) -> bool:
    x, y = np.log(parameters), np.log(tokens)
    slope, offset = np.polyfit(x, y, 1)
    return bool(np.std(y - slope * x - offset) < LINE_SPREAD)


def _draws(rows: list[Row], draws: int, seed: int) -> Array:
    """[draws, n]: how often each row is in each draw of whole runs."""
    runs = {run: index for index, run in enumerate(dict.fromkeys(row.run for row in rows))}
    counts = np.random.default_rng(seed).multinomial(len(runs), np.full(len(runs), 1 / len(runs)), draws)
    return counts[:, [runs[row.run] for row in rows]].astype(np.float64)


def _fitted(
    rows: list[Row], parameters: Array, tokens: Array, losses: Array, draws: int, seed: int
) -> tuple[tuple[Law, float], Law]:
    law, objective = scaling_fit.fit(parameters, tokens, losses, np.ones((1, len(rows))))
    drawn, _ = scaling_fit.fit(parameters, tokens, losses, _draws(rows, draws, seed))
    return (law, float(objective[0])), drawn


def _between(values: Array) -> tuple[float, float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def _parameters_of(law: Law, drawn: Law, objective: float) -> list[Figure]:
    names = {
        "E": "floor",
        "A": "parameter_scale",
        "B": "data_scale",
        "alpha": "parameter_exponent",
        "beta": "data_exponent",
    }
    found = [
        figure(
            name,
            Interval(float(getattr(law, what)[0]), *_between(getattr(drawn, what))),
            headline=name in ("alpha", "beta"),
        )
        for name, what in names.items()
    ]
    return [*found, figure("objective", objective, note="Huber's loss of ln L, summed over rows")]


def _prediction(law: Law, drawn: Law, parameters: float, tokens: float) -> Figure:
    n, d = np.array([parameters]), np.array([tokens])
    return figure(
        f"loss at N {parameters:.3g}, D {tokens:.3g}",
        Interval(float(law.loss(n, d)[0]), *_between(drawn.loss(n, d))),
        "as the rows",
        headline=True,
    )


def _data_for_doubling(law: Law, drawn: Law, parameters: float, tokens: float) -> Figure:
    """How many times the tokens gain as much as twice the parameters, for the largest N and D."""

    def times(one: Law) -> Array:
        gained = one.parameter_scale * parameters**-one.parameter_exponent * (1 - 2.0**-one.parameter_exponent)
        left = one.data_scale * tokens**-one.data_exponent
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.where(gained < left, (1 - gained / left) ** (-1 / one.data_exponent), np.inf)

    value, (low, high) = (
        float(times(law)[0]),
        _between(times(drawn)) if np.isfinite(times(drawn)).all() else (math.nan,) * 2,
    )
    note = "" if math.isfinite(value) else "no amount of data gains as much"
    return figure("times the data that equal doubling N", Interval(value, low, high), "x", note=note, headline=True)


def _one_way(
    rows: list[Row],
    parameters: Array,
    tokens: Array,
    losses: Array,
    name: str,
    data: bytes,
    settings: dict[str, str | int | float],
    draws: int,
    seed: int,
) -> Finding:
    """One of N and D hardly varies: the law of the other at one value of the first."""
    along_n = len(np.unique(parameters)) >= len(np.unique(tokens))
    varied, fixed = (parameters, tokens) if along_n else (tokens, parameters)
    values, counts = np.unique(fixed, return_counts=True)
    kept = fixed == values[counts.argmax()]
    x, y = varied[kept], losses[kept]
    there, other = ("N", "D") if along_n else ("D", "N")
    if len(np.unique(x)) < 4:
        raise UsageError(
            f"{name} has {len(np.unique(x))} values of {there} at one {other}, which identify nothing: add runs of "
            f"other N and other D, 3 of each at least"
        )
    law, objective, is_open = scaling_fit.fit_one(x, y, np.ones((1, len(x))))
    if is_open or float(law.floor[0]) < 1e-3 * y.min():
        raise UsageError(f"the rows of {name} leave the exponent of {there} open: add runs over a wider range of it")
    chosen = [row for row, keep in zip(rows, kept, strict=True) if keep]
    drawn, _, _ = scaling_fit.fit_one(x, y, _draws(chosen, draws, seed))
    exponent, missing = ("alpha", "beta") if along_n else ("beta", "alpha")
    figures = (
        figure(f"E' at {other} {values[counts.argmax()]:.3g}", Interval(float(law.floor[0]), *_between(drawn.floor))),
        figure("A" if along_n else "B", Interval(float(law.parameter_scale[0]), *_between(drawn.parameter_scale))),
        figure(
            exponent, Interval(float(law.parameter_exponent[0]), *_between(drawn.parameter_exponent)), headline=True
        ),
        figure(missing, None, note=f"not identifiable: add runs of other {other}, 3 values at least", headline=True),
        figure("objective", float(objective[0]), note="Huber's loss of ln L, summed over rows"),
    )
    grid = np.geomspace(x.min(), x.max(), 40)
    ones = np.ones_like(grid)
    plot = Plot(
        f"Loss by {there}",
        there,
        "loss",
        (
            Series("runs", tuple(x.tolist()), tuple(y.tolist()), style="points"),
            Series("law", tuple(grid.tolist()), tuple(law.loss(grid, ones).tolist())),
        ),
        logarithmic=True,
    )
    return Finding(
        "scaling",
        (),
        (read_input(name, data),),
        figures,
        NOT_SHOWN,
        (_row_table(chosen, law.loss(x, np.ones_like(x))),),
        (plot,),
        settings=settings,
        remarks=(
            f"The rows have {len(values)} values of {other}: only the law along {there} can be told, at one {other}, "
            f"and nothing beyond the rows is predicted. Add runs of 3 values of {other} at least.",
        ),
    )


def _row_table(rows: list[Row], predicted: Array) -> Table:
    return Table(
        "Rows and what the law says of them",
        ("run", "N", "D", "loss", "law"),
        tuple(
            (row.run, row.parameters, row.tokens, row.loss, float(value))
            for row, value in zip(rows, predicted, strict=True)
        ),
    )


def _plot(rows: list[Row], law: Law, drawn: Law, beyond: list[float]) -> Plot:
    """Loss by N, a curve for up to five amounts of data, and the band of the largest."""
    series: list[Series] = []
    by_tokens = sorted(rows, key=lambda row: (row.tokens, row.parameters))
    amounts = [tokens for tokens, _ in groupby(by_tokens, key=lambda row: row.tokens)]
    shown = amounts if len(amounts) <= 5 else [amounts[round(i * (len(amounts) - 1) / 4)] for i in range(5)]
    sizes = [row.parameters for row in rows] + beyond
    grid = np.geomspace(min(sizes), max(sizes), 40)
    series.append(
        Series("runs", tuple(row.parameters for row in rows), tuple(row.loss for row in rows), style="points")
    )
    for tokens in shown:
        curve = law.loss(grid, np.full_like(grid, tokens))
        low = high = None
        if tokens == shown[-1]:
            band = np.stack([_band(drawn, n, tokens) for n in grid], 1)
            low, high = (tuple(part.tolist()) for part in band)
        series.append(Series(f"D {tokens:.3g}", tuple(grid.tolist()), tuple(curve.tolist()), low, high))
    return Plot("Loss by N, a curve for each D", "parameters N", "loss", tuple(series), logarithmic=True)


def _band(drawn: Law, parameters: float, tokens: float) -> Array:
    return np.percentile(drawn.loss(np.array(parameters), np.array(tokens)), (2.5, 97.5))
