"""What the charts of a bench share: sizes and colours, names that are never cut, labels that do not touch, and drawing.

Vega-Lite draws, on this machine and without a network. Colours are variables of the page's style, so one drawing serves
light and dark. Needs vl-convert-python, of the extra ``report``. May import ``bench.pages`` and ``errors``;
``bench.charts`` imports it.
"""

import math
import re
from collections.abc import Sequence
from html import escape
from textwrap import wrap
from typing import Any

from llmzip.bench.pages import MISSING
from llmzip.errors import UsageError

LABEL = 12
LINE_HEIGHT = 15
NAME_LETTERS = 20
"""Of a line of a name; longer names take several."""

LETTER_WIDTH = 7
"""In pixels, reckoned: whoever looks may have wider letters than the program that draws."""

CONFIG: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelFontSize": LABEL,
        "titleFontSize": LABEL,
        "titleFontWeight": "normal",
    },
    "text": {"fontSize": LABEL, "color": "var(--ink)"},
    "legend": {
        "labelColor": "var(--ink)",
        "labelFontSize": LABEL,
        "orient": "top",
        "title": None,
        "symbolFillColor": "var(--ink)",
        "symbolStrokeColor": "var(--ink)",
    },
}


def size_in_words(byte_count: float) -> str:
    """26,400,000 -> "26.4 MB", in powers of 1,000."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if byte_count >= unit:
            return (
                f"{byte_count / unit:,.3g} {name}" if byte_count < 1000 * unit else f"{byte_count / unit:,.0f} {name}"
            )
    return f"{byte_count:,.0f} B"


def in_lines(name: str) -> str:
    """The name with line ends, so that it is whole on a phone, too."""
    return "\n".join(wrap(name, NAME_LETTERS, break_on_hyphens=False)) or name


def most_lines(names: Sequence[str]) -> int:
    """How many lines the longest of these names takes."""
    return max((in_lines(name).count("\n") + 1 for name in names), default=1)


def name_room(names: Sequence[str]) -> int:
    """Pixels from a mark to the end of its name beside it."""
    return 27 + LETTER_WIDTH * max(len(line) for name in names for line in in_lines(name).split("\n"))


def name_axis(field: str, names: Sequence[str]) -> dict[str, Any]:
    """A vertical axis of names, which are ``in_lines``, in the order of the data."""
    room = LETTER_WIDTH * max(len(line) for name in names for line in name.split("\n")) + 10
    axis = {
        "domain": False,
        "ticks": False,
        "labelColor": "var(--ink)",
        "labelExpr": "split(datum.label, '\\n')",
        "labelLimit": 0,
        "labelLineHeight": LINE_HEIGHT,
        "minExtent": room,
    }
    return {"field": field, "type": "nominal", "sort": None, "title": None, "axis": axis}


def bar_step(names: Sequence[str]) -> int:
    """Pixels from bar to bar, so that names of several lines do not touch."""
    return 22 + LINE_HEIGHT * (most_lines(names) - 1)


def powers_of_ten(low: float, high: float, most: int) -> list[float]:
    """Powers of ten from ``low`` to ``high``, about ``most`` of them at the most."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    return [10.0**power for power in range(first, last + 1, 1 + (last - first) // most)]


def decades(values: Sequence[float]) -> tuple[float, float]:
    """A range for a logarithmic axis with a little room at both ends."""
    return min(values) / 2, max(values) * 2


def padded(values: Sequence[float]) -> tuple[float, float]:
    """A range for a linear axis with a little room at both ends."""
    low, high = min(values), max(values)
    room = (high - low) * 0.12 or 0.1 * high
    return max(0.0, low - room), high + room


def spread(labels: list[dict[str, Any]], distance: float) -> None:
    """Gives each label a place "at" near its "bits", no two nearer to each other than ``distance``."""
    labels.sort(key=lambda label: (label["bits"], label["codec"]))
    groups: list[list[float]] = []  # [sum of the wished first places, number of labels]
    for label in labels:
        groups.append([label["bits"], 1])
        # Labels that would touch become one block, in the middle of what its labels wish.
        while len(groups) > 1 and _first(groups[-2]) + groups[-2][1] * distance > _first(groups[-1]):
            wished, count = groups.pop()
            groups[-1][0] += wished - count * groups[-1][1] * distance
            groups[-1][1] += count
    places = [_first(group) + index * distance for group in groups for index in range(int(group[1]))]
    for label, place in zip(labels, places, strict=True):
        label["at"] = place


def _first(group: list[float]) -> float:
    return group[0] / group[1]


def labels_beside(labels: list[dict[str, Any]], x: str, align: str) -> list[dict[str, Any]]:
    """Names beside their marks, and a thin line to those that had to move."""
    side = 1 if align == "left" else -1
    colour = {"field": "colour", "scale": None, "legend": None}
    return [
        {
            "data": {"values": labels},
            "mark": {"type": "rule", "xOffset": 6 * side, "x2Offset": 18 * side, "aria": False},
            "encoding": {"y": {"field": "bits"}, "y2": {"field": "at"}, "x2": {"field": x}, "color": colour},
        },
        {
            "data": {"values": labels},
            "mark": {
                "type": "text",
                "align": align,
                "dx": 21 * side,
                "lineBreak": "\n",
                "lineHeight": LINE_HEIGHT,
                "baseline": "middle",
                "aria": False,
            },
            "encoding": {
                "y": {"field": "at", "type": "quantitative"},
                "text": {"field": "codec"},
                "color": colour,
            },
        },
    ]


def svg(spec: dict[str, Any], values: list[dict[str, Any]], description: str) -> str:
    """The drawing. Raises UsageError without the extra ``report``."""
    try:
        import vl_convert
    except ImportError:
        raise UsageError(MISSING) from None
    whole = {"data": {"values": values}, "padding": 4, "config": CONFIG, **spec}
    # No address may be asked for, whatever a specification says.
    drawn = vl_convert.vegalite_to_svg(whole, allowed_base_urls=[])
    # Inside a page the names of the namespaces go without saying.
    drawn = re.sub(r' xmlns(:xlink)?="[^"]*"', "", drawn, count=2)
    return drawn.replace("<svg ", f'<svg role="graphics-document" aria-label="{escape(description)}" ', 1)
