"""What a probe finds, as one record for all of them: figures with intervals, tables, curves, and what it does not show.

The same record is printed, drawn, written as a document and read back, so a probe is one function that returns it.
Measures and prints nothing. May import ``documents``, ``predictor`` and ``errors``; the rest of ``probes`` and ``cli``
import it.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Literal

from llmzip.documents import Count, Header, Name, Sha256, decode
from llmzip.errors import DocumentError, NotComparableError
from llmzip.predictor import Predictor
from llmzip.probes.statistics import Interval

HEADER = Header("llmzip-probe", 1)

REMEDY = "run the probe again"

Cell = str | int | float | None
"""Of a table; None is what could not be said."""


@dataclass(frozen=True)
class Probed:
    """A model that was asked."""

    name: Name
    fingerprint: str
    """In hexadecimal."""


@dataclass(frozen=True)
class Input:
    """A text, a table or a set of pairs that was read."""

    name: Name
    original_bytes: Count
    sha256: Sha256


@dataclass(frozen=True)
class Figure:
    """A number that a probe stands for."""

    name: Name
    value: float | None
    """None where the input does not say."""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    """Ends of the 95 % interval; None where there is none."""
    note: str = ""
    headline: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells below their columns."""

    title: Name
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Series:
    """Some points with one name, in order."""

    name: Name
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    """A band around y."""
    style: Literal["line", "points"] = "line"


@dataclass(frozen=True)
class Plot:
    """A picture of some series over one pair of axes."""

    title: Name
    x: str
    y: str
    series: tuple[Series, ...]
    logarithmic: bool = False
    """The x axis."""


@dataclass(frozen=True)
class Finding:
    """What one run of a probe found."""

    probe: Name
    models: tuple[Probed, ...]
    inputs: tuple[Input, ...]
    figures: tuple[Figure, ...]
    not_shown: Name
    """What nobody may conclude from it."""
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    passages: tuple[tuple[str, str], ...] = ()
    """(heading, text) of texts to read."""
    remarks: tuple[str, ...] = ()
    settings: dict[str, str | int | float] = field(default_factory=dict)
    """All that can change a figure."""

    def to_json(self) -> str:
        """The document, with a line end."""
        return json.dumps({**vars(HEADER), **asdict(self)}, indent=1, allow_nan=False) + "\n"

    @staticmethod
    def from_json(data: bytes, where: str = "the document") -> "Finding":
        """What ``to_json`` wrote. Raises DocumentError for anything else, and for what contradicts itself."""
        header = decode(data, Header, where, remedy=REMEDY)
        if header != HEADER:
            raise DocumentError(f"{where}: schema: it is {header}, not {HEADER}: {REMEDY}")
        document = decode(data, _Document, where, closed=True, remedy=REMEDY)
        if wrong := next(_contradictions(document), None):
            raise DocumentError(f"{where}: {wrong}: {REMEDY}")
        return Finding(**{name: getattr(document, name) for name in Finding.__dataclass_fields__})


@dataclass(frozen=True)
class _Document(Finding):
    schema: str = HEADER.schema
    version: int = HEADER.version


def _contradictions(finding: Finding) -> Iterator[str]:
    names = [figure.name for figure in finding.figures]
    if len(set(names)) < len(names):
        yield "figures: one name stands twice"
    for index, figure in enumerate(finding.figures):
        if (figure.low is None) != (figure.high is None):
            yield f"figures[{index}]: an interval has two ends"
        elif figure.low is not None and figure.high is not None and figure.low > figure.high:
            yield f"figures[{index}].low: it is above the other end"
    for index, table in enumerate(finding.tables):
        if any(len(row) != len(table.columns) for row in table.rows):
            yield f"tables[{index}].rows: a row has not one cell for each column"
    for index, plot in enumerate(finding.plots):
        for series in plot.series:
            lengths = {len(part) for part in (series.x, series.y, series.low, series.high) if part is not None}
            if len(lengths) > 1:
                yield f"plots[{index}]: {series.name} has not as many values on each axis"


def probed(predictor: Predictor) -> Probed:
    """The entry of a model."""
    return Probed(predictor.name, predictor.fingerprint.hex())


def read_input(name: str, data: bytes) -> Input:
    """The entry of what was read."""
    return Input(name, len(data), hashlib.sha256(data).hexdigest())


def figure(
    name: str, value: float | Interval | None, unit: str = "", *, note: str = "", headline: bool = False
) -> Figure:
    """A figure, with the interval where there is one; what is not a finite number becomes None."""
    low = high = None
    if isinstance(value, Interval):
        value, low, high = value
        low, high = (low, high) if math.isfinite(low) and math.isfinite(high) else (None, None)
    if value is not None and not math.isfinite(value):
        value = low = high = None
    return Figure(name, None if value is None else float(value), unit, low, high, note, headline)


@dataclass(frozen=True)
class Change:
    """One figure of two findings."""

    name: str
    unit: str
    before: float | None
    after: float | None
    apart: bool
    """Whether their intervals do not meet, or the values differ where there are none."""


def changes(before: Finding, after: Finding) -> list[Change]:
    """Figure by figure. Raises NotComparableError where the probes, their inputs or their settings differ."""
    for what in ("probe", "inputs", "settings"):
        if getattr(before, what) != getattr(after, what):
            raise NotComparableError(f"the two findings differ in {what}: run the same probe on the same input")
    then = {figure.name: figure for figure in before.figures}
    return [
        Change(now.name, now.unit, then[now.name].value, now.value, _apart(then[now.name], now))
        for now in after.figures
        if now.name in then
    ]


def _apart(one: Figure, other: Figure) -> bool:
    if None in (one.low, one.high, other.low, other.high):
        return one.value != other.value
    assert one.low is not None and one.high is not None and other.low is not None and other.high is not None
    return one.high < other.low or other.high < one.low
