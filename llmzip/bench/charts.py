"""Charts of a bench as SVG text, to stand inside a page: static, in the page's own colours, with words for each mark.

Vega-Lite draws, on this machine and without a network. Colours are variables of the page's style, so one drawing serves
light and dark; marks differ in shape or place or have their name beside them, never only in colour. Needs
vl-convert-python, of the extra ``report``. May import ``bench.summary``, ``bench.results`` and ``errors``.
"""

import math
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from llmzip.bench.pages import MISSING
from llmzip.bench.results import MICROBITS, WaterfallTerm
from llmzip.bench.summary import Total
from llmzip.errors import UsageError

NARROW, WIDE = 350, 920
"""Widths in pixels: a phone, and the page at its widest."""

SERIES = 8
"""Colours that the page's style has for lines; more models than that share them."""

TERMS: dict[WaterfallTerm, str] = {
    "model": "model",
    "memory": "memory",
    "precision": "24-bit precision",
    "cold_start": "cold start",
    "coder": "coder",
    "fallback": "fallback frames",
    "framing": "framing",
}
"""What the terms of a waterfall are called in a chart."""

_LABEL = 12
_LINE_HEIGHT = 15
_NAME_WIDTH = 136

_CONFIG: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelFontSize": _LABEL,
        "titleFontSize": _LABEL,
        "titleFontWeight": "normal",
    },
    "text": {"fontSize": _LABEL, "color": "var(--ink)"},
    "legend": {
        "labelColor": "var(--ink)",
        "labelFontSize": _LABEL,
        "orient": "top",
        "title": None,
        "symbolFillColor": "var(--ink)",
        "symbolStrokeColor": "var(--ink)",
    },
}


def bars(totals: Sequence[Total], *, highest: float) -> str:
    """Bits per byte of codecs over the same files, one bar each. highest: the right end, the same in all charts."""
    values = [
        {
            "codec": total.codec.name,
            "bits": total.bits_per_byte,
            "label": figure(total),
            "side": "model" if total.codec.kind == "predictor" else "plain",
            "say": f"{total.codec.name}: {figure(total)} bits per byte",
        }
        for total in totals
    ]
    x = {"field": "bits", "type": "quantitative", "axis": None, "scale": {"domain": [0, highest * 1.3], "nice": False}}
    spec = {
        "width": NARROW,
        "height": {"step": 22},
        "autosize": {"type": "fit-x", "contains": "padding"},
        "encoding": {
            "y": _names("codec", [total.codec.name for total in totals]),
            "x": x,
        },
        "layer": [
            {
                "mark": {"type": "bar", "height": 14, "cornerRadiusEnd": 2},
                "encoding": {
                    "color": {
                        "field": "side",
                        "scale": {"domain": ["model", "plain"], "range": ["var(--model)", "var(--plain)"]},
                        "legend": None,
                    },
                    "description": {"field": "say"},
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "aria": False},
                "encoding": {"text": {"field": "label"}},
            },
        ],
    }
    return _svg(spec, values, "Bits per byte of each codec; fewer is better.")


def speed_against_ratio(totals: Sequence[Total], width: int) -> str:
    """Bits per byte against kilobytes a second, each way; the two speeds of a codec are joined by a line."""
    height = 340 if width < WIDE else 420
    points, labels = [], []
    speeds = {total.codec.name: _speeds(total) for total in totals}
    every = [speed for pair in speeds.values() for speed in pair.values()]
    low, high = _decades(every)
    bottom, top = _padded([total.bits_per_byte for total in totals])
    for total in totals:
        ways = speeds[total.codec.name]
        for way, speed in ways.items():
            points.append(
                {
                    "codec": total.codec.name,
                    "way": way,
                    "speed": speed,
                    "bits": total.bits_per_byte,
                    "side": "model" if total.codec.kind == "predictor" else "plain",
                    "say": f"{total.codec.name}: {figure(total)} bits per byte, {way} {speed / 1000:,.1f} KB/s",
                }
            )
        # Names stand on the inner side, where there is room.
        is_fast = math.sqrt(min(ways.values()) * max(ways.values())) > math.sqrt(low * high)
        place = min(ways.values()) if is_fast else max(ways.values())
        labels.append(
            {
                "codec": total.codec.name,
                "speed": place,
                "bits": total.bits_per_byte,
                "fast": is_fast,
                "colour": "var(--model)" if total.codec.kind == "predictor" else "var(--muted)",
            }
        )
    for is_fast in (False, True):
        side = [label for label in labels if label["fast"] == is_fast]
        _spread(side, (top - bottom) / (height - 90) * _LINE_HEIGHT)
    x = {"type": "quantitative", "scale": {"type": "log", "domain": [low, high], "nice": False}}
    axis = {
        "labelExpr": "replace(format(datum.value, '~s'), 'k', 'K') + 'B/s'",
        "title": "text a second",
        "values": _powers(low, high, 4 if width < WIDE else 12),
    }
    scale = {"domain": [bottom, top], "nice": False, "zero": False}
    y = {"field": "bits", "type": "quantitative", "scale": scale, "title": "bits per byte"}
    colour = {
        "field": "side",
        "scale": {"domain": ["model", "plain"], "range": ["var(--model)", "var(--muted)"]},
        "legend": None,
    }
    spec = {
        "width": width,
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "encoding": {"x": {**x, "field": "speed", "axis": axis}, "y": y},
        "layer": [
            {"mark": {"type": "line", "aria": False}, "encoding": {"detail": {"field": "codec"}, "color": colour}},
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {
                    "shape": {
                        "field": "way",
                        "scale": {"domain": ["compress", "decompress"], "range": ["triangle-up", "circle"]},
                    },
                    "color": colour,
                    "description": {"field": "say"},
                },
            },
            *_labels([label for label in labels if not label["fast"]], "speed", "left"),
            *_labels([label for label in labels if label["fast"]], "speed", "right"),
        ],
    }
    return _svg(spec, points, "Bits per byte against speed, both ways; fewer bits and more speed are better.")


def break_even(totals: Sequence[Total], width: int) -> str:
    """Adjusted bits per byte against the size of the corpus, on a logarithmic axis, at the measured rates.

    A codec with receiver bytes R and b bits per byte has b + 8 R / N at N bytes.
    """
    height = 360 if width < WIDE else 440
    low, high = corpus_range(totals)
    rates = [total.bits_per_byte for total in totals]
    bottom, top = 0.0, max(rates) * 1.5
    end = high * (high / low) ** (0.5 if width < WIDE else 0.22)  # room for the names
    lines, labels, series = [], [], 0
    crossings: list[dict[str, Any]] = []
    for total in totals:
        is_model = total.receiver_bytes > 0
        colour = f"var(--s{series % SERIES})" if is_model else "var(--muted)"
        series += is_model
        # A line begins where it comes into the picture.
        first = 8 * total.receiver_bytes / (top - total.bits_per_byte) if is_model else low
        for step in range(101):
            size = max(low, first) * (high / max(low, first)) ** (step / 100)
            adjusted = total.bits_per_byte + 8 * total.receiver_bytes / size
            lines.append({"codec": total.codec.name, "size": size, "bits": adjusted, "colour": colour})
        labels.append({"codec": total.codec.name, "size": high, "bits": total.bits_per_byte, "colour": colour})
        if total.break_even_bytes is not None and total.reference_bits_per_byte is not None:
            crossing = total.break_even_bytes
            crossings.append(
                {
                    "size": crossing,
                    "bits": total.reference_bits_per_byte,
                    "label": size_in_words(crossing),
                    "say": f"{total.codec.name} breaks even at {size_in_words(crossing)} of text",
                    "colour": colour,
                }
            )
    _spread(labels, (top - bottom) / (height - 60) * _LINE_HEIGHT)
    axis = {
        "labelExpr": "replace(format(datum.value, '~s'), 'k', 'K') + 'B'",
        "title": "bytes of text",
        "values": _powers(low, high, 4 if width < WIDE else 12),
    }
    x = {
        "type": "quantitative",
        "scale": {"type": "log", "domain": [low, end], "nice": False},
        "field": "size",
        "axis": axis,
    }
    y = {
        "field": "bits",
        "type": "quantitative",
        "scale": {"domain": [bottom, top], "nice": False},
        "title": "adjusted bits per byte",
    }
    colours = {"field": "colour", "scale": None, "legend": None}
    here = [{"size": min(max(totals[0].original_bytes, low), high), "bits": top, "label": "this corpus"}]
    spec = {
        "width": width,
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "encoding": {"x": x, "y": y},
        "layer": [
            {
                "data": {"values": here},
                "mark": {"type": "rule", "strokeDash": [3, 3], "color": "var(--muted)", "aria": False},
                "encoding": {"y": {"datum": bottom}, "y2": {"datum": top}},
            },
            {
                "data": {"values": here},
                "mark": {"type": "text", "align": "left", "dx": 4, "dy": 8, "color": "var(--muted)", "aria": False},
                "encoding": {"text": {"field": "label"}},
            },
            {
                "mark": {"type": "line", "strokeWidth": 2, "description": "adjusted bits per byte by corpus size"},
                "encoding": {"detail": {"field": "codec"}, "color": colours},
            },
            {
                "data": {"values": crossings},
                "mark": {"type": "point", "shape": "diamond", "filled": True, "size": 90, "opacity": 1},
                "encoding": {"color": colours, "description": {"field": "say"}},
            },
            *(
                {
                    # By turns above and below, since two sizes may be near to each other.
                    "data": {"values": sorted(crossings, key=lambda crossing: crossing["size"])[turn::2]},
                    "mark": {"type": "text", "align": "left", "dx": 6, "dy": dy, "aria": False},
                    "encoding": {"text": {"field": "label"}},
                }
                for turn, dy in enumerate((-10, 14))
            ),
            *_labels(labels, "size", "left"),
        ],
    }
    return _svg(
        spec, lines, "Adjusted bits per byte, receiver included, against bytes of text; lines cross at break-even."
    )


def waterfall(name: str, terms: dict[WaterfallTerm, int], original_bytes: int) -> str:
    """Where an archive's bits go, in bits per byte: bars that begin where the one before ends, and their sum."""
    values, reached = [], 0
    highest = 0
    for term, label in TERMS.items():
        amount = terms.get(term, 0)
        if amount:
            values.append(_step(label, reached, reached + amount, original_bytes, "loss" if amount > 0 else "gain"))
            reached += amount
            highest = max(highest, reached)
    values.append(_step("archive", 0, reached, original_bytes, "model"))
    right = highest / MICROBITS / original_bytes * 1.55
    spec = {
        "width": NARROW,
        "height": {"step": 22},
        "autosize": {"type": "fit-x", "contains": "padding"},
        "encoding": {"y": _names("term", [value["term"] for value in values])},
        "layer": [
            {
                "mark": {"type": "bar", "height": 14},
                "encoding": {
                    "x": {
                        "field": "from",
                        "type": "quantitative",
                        "axis": None,
                        "scale": {"domain": [0, right], "nice": False},
                    },
                    "x2": {"field": "to"},
                    "color": {
                        "field": "side",
                        "scale": {
                            "domain": ["loss", "gain", "model"],
                            "range": ["var(--loss)", "var(--gain)", "var(--model)"],
                        },
                        "legend": None,
                    },
                    "description": {"field": "say"},
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "aria": False},
                "encoding": {"x": {"field": "far", "type": "quantitative"}, "text": {"field": "label"}},
            },
        ],
    }
    return _svg(spec, values, f"Where the bits of {name} go, in bits per byte.")


def figure(total: Total) -> str:
    """Bits per byte as charts and tables write them."""
    return f"{'≈ ' if total.estimate else ''}{total.bits_per_byte:.3f}"


def size_in_words(byte_count: float) -> str:
    """26,400,000 -> "26.4 MB", in powers of 1,000."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if byte_count >= unit:
            return (
                f"{byte_count / unit:,.3g} {name}" if byte_count < 1000 * unit else f"{byte_count / unit:,.0f} {name}"
            )
    return f"{byte_count:,.0f} B"


def corpus_range(totals: Sequence[Total]) -> tuple[float, float]:
    """Powers of ten around the corpus and all break-even sizes."""
    sizes = [total.break_even_bytes for total in totals if total.break_even_bytes]
    receivers = [float(total.receiver_bytes) for total in totals if total.receiver_bytes]
    sizes += [float(totals[0].original_bytes), *receivers]
    low = 10.0 ** math.floor(math.log10(min(sizes)) - 0.3)
    return low, 10.0 ** math.ceil(math.log10(max(sizes)) + 1.3)


def _step(label: str, start: int, end: int, original_bytes: int, side: str) -> dict[str, Any]:
    first, last = start / MICROBITS / original_bytes, end / MICROBITS / original_bytes
    amount = last - first
    text = f"{amount:.4f}" if side == "model" else f"{amount:+.4f}".replace("-", "−")
    return {
        "term": label,
        "from": first,
        "to": last,
        "far": max(first, last),
        "label": text,
        "side": side,
        "say": f"{label}: {text} bits per byte",
    }


def _names(field: str, names: Sequence[str]) -> dict[str, Any]:
    """A vertical axis of names in the order of the data."""
    # Whoever looks may have wider letters than the program that draws, so room is reckoned, not measured.
    room = min(_NAME_WIDTH, 7 * max(map(len, names)) + 10)
    axis = {"domain": False, "ticks": False, "labelColor": "var(--ink)", "labelLimit": room - 8, "minExtent": room}
    return {"field": field, "type": "nominal", "sort": None, "title": None, "axis": axis}


def _powers(low: float, high: float, most: int) -> list[float]:
    """Powers of ten from ``low`` to ``high``, about ``most`` of them at the most."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    return [10.0**power for power in range(first, last + 1, 1 + (last - first) // most)]


def _speeds(total: Total) -> dict[str, float]:
    """Bytes of text a second by direction, of those that were measured."""
    seconds = {"compress": total.compress_seconds, "decompress": total.decompress_seconds}
    return {way: total.original_bytes / spent for way, spent in seconds.items() if spent > 0}


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """A range for a logarithmic axis with a little room at both ends."""
    return min(values) / 2, max(values) * 2


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.12 or 0.1 * high
    return max(0.0, low - room), high + room


def _spread(labels: list[dict[str, Any]], distance: float) -> None:
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


def _labels(labels: list[dict[str, Any]], x: str, align: str) -> list[dict[str, Any]]:
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
            "mark": {"type": "text", "align": align, "dx": 21 * side, "limit": _NAME_WIDTH, "aria": False},
            "encoding": {
                "y": {"field": "at", "type": "quantitative"},
                "text": {"field": "codec"},
                "color": colour,
            },
        },
    ]


def _svg(spec: dict[str, Any], values: list[dict[str, Any]], description: str) -> str:
    try:
        import vl_convert
    except ImportError:
        raise UsageError(MISSING) from None
    whole = {"data": {"values": values}, "padding": 4, "config": _CONFIG, **spec}
    # No address may be asked for, whatever a specification says.
    drawn = vl_convert.vegalite_to_svg(whole, allowed_base_urls=[])
    # Inside a page the names of the namespaces go without saying.
    drawn = re.sub(r' xmlns(:xlink)?="[^"]*"', "", drawn, count=2)
    return drawn.replace("<svg ", f'<svg role="graphics-document" aria-label="{escape(description)}" ', 1)
