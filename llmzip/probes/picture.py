"""A finding as something to look at: its plots as SVG, and a page of one file that needs no network.

Measures nothing. Needs the extra ``report``. May import charts, drawing and pages of ``bench``; ``cli`` imports it.
"""

import re
from typing import Any

from llmzip.bench.charts import NARROW, SERIES, WIDE
from llmzip.bench.drawing import svg as draw
from llmzip.bench.heatmap import visible
from llmzip.bench.pages import fill, style
from llmzip.probes.record import Cell, Figure, Finding, Plot

_MOST_ROWS = 500
"""Of a table on a page."""


def page(finding: Finding) -> str:
    """The page. Raises UsageError without the extra ``report``."""
    return fill(
        "probe",
        finding=finding,
        figures=[(visible(one.name), in_words(one), visible(one.note), one.headline) for one in finding.figures],
        plots=[
            (visible(plot.title), [("narrow", svg(plot, NARROW)), ("wide", svg(plot, WIDE))]) for plot in finding.plots
        ],
        tables=[
            (
                visible(table.title),
                [visible(column) for column in table.columns],
                [[cell_in_words(cell) for cell in row] for row in table.rows[:_MOST_ROWS]],
                len(table.rows) - _MOST_ROWS,
            )
            for table in finding.tables
        ],
        visible=visible,
    )


def picture(finding: Finding) -> str:
    """The first plot as an SVG file that stands alone, in the colours of the pages."""
    (plot, *_) = finding.plots
    colours = "".join(re.findall(r":root \{.*?\}", style(), re.S)[:1])
    drawn = svg(plot, WIDE * 3 // 4).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    start = drawn.index(">", drawn.index("<svg ")) + 1
    ground = '<rect width="100%" height="100%" fill="var(--paper)"/>'
    return f"{drawn[:start]}<style>{' '.join(colours.split())}</style>{ground}{drawn[start:]}\n"


def in_words(one: Figure) -> str:
    """A figure as pages and terminals write it."""
    if one.value is None:
        return "–"
    text = cell_in_words(one.value)
    if one.low is not None and one.high is not None:
        text += f" ({cell_in_words(one.low)} to {cell_in_words(one.high)})"
    return f"{text} {one.unit}".rstrip()


def cell_in_words(cell: Cell) -> str:
    """A cell of a table: five digits, or the text with every character seen."""
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return visible(cell).replace("\n", "")
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:,.0f}" if 1e5 <= abs(cell) < 1e9 else f"{cell:.5g}"


def svg(plot: Plot, width: int) -> str:
    """The plot inside a page."""
    lines: list[dict[str, Any]] = []
    bands: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    for index, series in enumerate(plot.series):
        colour = f"var(--s{index % SERIES})"
        at = [
            {"name": visible(series.name), "x": x, "y": y, "order": place, "colour": colour}
            for place, (x, y) in enumerate(zip(series.x, series.y, strict=True))
        ]
        (points if series.style == "points" else lines).extend(at)
        if series.low is not None and series.high is not None:
            bands += [
                {**one, "low": low, "high": high} for one, low, high in zip(at, series.low, series.high, strict=True)
            ]
        if at and series.style == "line":
            labels.append(at[-1])
    scale: dict[str, Any] = {"type": "log", "nice": False} if plot.logarithmic else {"zero": False}
    x: dict[str, Any] = {
        "field": "x",
        "type": "quantitative",
        "title": plot.x,
        "scale": scale,
        "axis": {"format": "~g", "tickCount": 6},
    }
    if plot.logarithmic:
        x["axis"] = {"format": "~s", "tickCount": 6}
    y = {"field": "y", "type": "quantitative", "title": plot.y, "scale": {"zero": False}}
    named_colour = {"field": "colour", "scale": None, "legend": None}
    spec = {
        "width": width,
        "height": 300,
        "autosize": {"type": "fit", "contains": "padding"},
        "layer": [
            {
                "data": {"values": bands},
                "mark": {"type": "area", "opacity": 0.2, "aria": False},
                "encoding": {
                    "x": x,
                    "y": {**y, "field": "low"},
                    "y2": {"field": "high"},
                    "color": named_colour,
                    "detail": {"field": "name"},
                },
            },
            {
                "data": {"values": points},
                "mark": {"type": "point", "filled": True, "size": 24, "aria": False},
                "encoding": {"x": x, "y": y, "color": named_colour},
            },
            {
                "data": {"values": lines},
                "mark": {"type": "line", "strokeWidth": 1.5, "description": visible(plot.title)},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": named_colour,
                    "detail": {"field": "name"},
                    "order": {"field": "order"},
                },
            },
            {
                "data": {"values": labels},
                "mark": {"type": "text", "align": "right", "dy": -7, "aria": False},
                "encoding": {"x": x, "y": y, "text": {"field": "name"}, "color": named_colour},
            },
        ],
    }
    return draw(spec, [], f"{visible(plot.title)}: {plot.y} by {plot.x}.")
