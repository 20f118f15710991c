"""Charts of a bench as SVG text, to stand inside a page: static, in the page's own colours, with words for each mark.

Marks differ in shape or place or have their name beside them, never only in colour. May import ``bench.drawing``,
``bench.summary`` and ``bench.results``; ``bench.html`` imports it.
"""

import math
from collections.abc import Sequence
from typing import Any

from llmzip.bench.drawing import (
    LINE_HEIGHT,
    bar_step,
    decades,
    in_lines,
    labels_beside,
    most_lines,
    name_axis,
    name_room,
    padded,
    powers_of_ten,
    size_in_words,
    spread,
    svg,
)
from llmzip.bench.results import MICROBITS, WaterfallTerm
from llmzip.bench.summary import Total

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


def bars(totals: Sequence[Total], *, highest: float) -> str:
    """Bits per byte of codecs over the same files, one bar each. highest: the right end, the same in all charts."""
    values = [
        {
            "codec": in_lines(total.codec.name),
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
        "height": {"step": bar_step([total.codec.name for total in totals])},
        "autosize": {"type": "fit-x", "contains": "padding"},
        "encoding": {
            "y": name_axis("codec", [in_lines(total.codec.name) for total in totals]),
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
    return svg(spec, values, "Bits per byte of each codec; fewer is better.")


def speed_against_ratio(totals: Sequence[Total], width: int) -> str:
    """Bits per byte against kilobytes a second, each way; the two speeds of a codec are joined by a line."""
    height = 340 if width < WIDE else 420
    points, labels = [], []
    speeds = {total.codec.name: _speeds(total) for total in totals}
    every = [speed for pair in speeds.values() for speed in pair.values()]
    low, high = decades(every)
    bottom, top = padded([total.bits_per_byte for total in totals])
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
        # A name stands on the side with more room.
        slowest, fastest = min(ways.values()), max(ways.values())
        to_the_left = slowest / low > high / fastest
        labels.append(
            {
                "codec": in_lines(total.codec.name),
                "speed": slowest if to_the_left else fastest,
                "bits": total.bits_per_byte,
                "left": to_the_left,
                "colour": "var(--model)" if total.codec.kind == "predictor" else "var(--muted)",
            }
        )
    # On a phone there is no room for two names side by side, from the left and from the right.
    distance = (top - bottom) / (height - 90) * LINE_HEIGHT * most_lines([total.codec.name for total in totals])
    sides = [labels]
    if width >= WIDE:
        sides = [[label for label in labels if label["left"] is to_the_left] for to_the_left in (True, False)]
    for side in sides:
        spread(side, distance)
    x = {"type": "quantitative", "scale": {"type": "log", "domain": [low, high], "nice": False}}
    axis = {
        "labelExpr": "replace(format(datum.value, '~s'), 'k', 'K') + 'B/s'",
        "title": "text a second",
        "values": powers_of_ten(low, high, 4 if width < WIDE else 12),
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
            *labels_beside([label for label in labels if not label["left"]], "speed", "left"),
            *labels_beside([label for label in labels if label["left"]], "speed", "right"),
        ],
    }
    return svg(spec, points, "Bits per byte against speed, both ways; fewer bits and more speed are better.")


def break_even(totals: Sequence[Total], width: int) -> str:
    """Adjusted bits per byte against the size of the corpus, on a logarithmic axis, at the measured rates.

    A codec with receiver bytes R and b bits per byte has b + 8 R / N at N bytes.
    """
    height = 360 if width < WIDE else 440
    low, high = corpus_range(totals)
    rates = [total.bits_per_byte for total in totals]
    bottom, top = 0.0, max(rates) * 1.5
    room = name_room([total.codec.name for total in totals])
    end = high * (high / low) ** (room / (width - 70 - room))  # where the names end
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
        labels.append(
            {"codec": in_lines(total.codec.name), "size": high, "bits": total.bits_per_byte, "colour": colour}
        )
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
    lines_of_names = most_lines([total.codec.name for total in totals])
    spread(labels, (top - bottom) / (height - 60) * LINE_HEIGHT * lines_of_names)
    axis = {
        "labelExpr": "replace(format(datum.value, '~s'), 'k', 'K') + 'B'",
        "title": "bytes of text",
        "values": powers_of_ten(low, high, 4 if width < WIDE else 12),
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
            *labels_beside(labels, "size", "left"),
        ],
    }
    return svg(
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
        "height": {"step": bar_step([value["term"] for value in values])},
        "autosize": {"type": "fit-x", "contains": "padding"},
        "encoding": {"y": name_axis("term", [value["term"] for value in values])},
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
    return svg(spec, values, f"Where the bits of {name} go, in bits per byte.")


def figure(total: Total) -> str:
    """Bits per byte as charts and tables write them."""
    return f"{'≈ ' if total.estimate else ''}{total.bits_per_byte:.3f}"


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


def _speeds(total: Total) -> dict[str, float]:
    """Bytes of text a second by direction, of those that were measured."""
    seconds = {"compress": total.compress_seconds, "decompress": total.decompress_seconds}
    return {way: total.original_bytes / spent for way, spent in seconds.items() if spent > 0}
