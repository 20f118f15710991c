"""Pages to look at: a bench with its charts, and the heatmap of a text. Each is one file that opens without a network.

Puts together what was measured elsewhere and measures nothing. May import the rest of ``bench``; ``cli`` imports it.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from llmzip.bench import charts, drawing
from llmzip.bench.codecs import REFERENCE
from llmzip.bench.heatmap import LEVEL_BITS, Heatmap, cells, level, shown_bytes, visible
from llmzip.bench.pages import data_block, fill
from llmzip.bench.results import WATERFALL_TERMS, MeasuredCodec, Results, Row, WaterfallTerm
from llmzip.bench.summary import ALL, Total, totals

FILES_SHOWN = 1000
"""Rows in the table of files, so that a page stays small."""

DEAREST = 25


def render(results: Results) -> str:
    """The page of a bench. Raises UsageError without the extra ``report``."""
    results = _printable(results)
    groups: dict[str, list[Total]] = {}
    for total in totals(results):
        groups.setdefault(total.group, []).append(total)
    all_files = groups.pop(ALL, [])
    kinds = groups if len(groups) > 1 else ({next(iter(groups)): all_files} if all_files else {})
    highest = max((total.bits_per_byte for group in kinds.values() for total in group), default=0.0)
    receivers = [total for total in all_files if total.receiver_bytes]
    rows = {(row.file, row.codec): row for row in results.rows}
    used = {row.codec for row in results.rows}
    compared = [file.name for file in results.files if all((file.name, codec) in rows for codec in used)]
    has_speeds = any(total.compress_seconds or total.decompress_seconds for total in all_files)
    return fill(
        "report",
        figure=charts.figure,
        size_in_words=drawing.size_in_words,
        speed=_kilobytes_per_second,
        reference=REFERENCE,
        all_files=all_files,
        all_verified=bool(results.rows) and all(row.verified and not row.estimate for row in results.rows),
        has_estimates=any(row.estimate for row in results.rows),
        unverified=sum(not row.verified for row in results.rows),
        left_out=len(results.files) - len(compared),
        bars=[
            (
                {"name": name, "files": group[0].file_count, "bytes": group[0].original_bytes},
                charts.bars(group, highest=highest),
            )
            for name, group in kinds.items()
        ],
        speed_charts=_both_widths(charts.speed_against_ratio, all_files) if has_speeds else [],
        even_charts=_both_widths(charts.break_even, all_files),
        crossings=any(total.break_even_bytes for total in all_files),
        receivers=receivers,
        receiver_parts=list(dict.fromkeys(part for total in receivers for part in total.codec.receiver_bytes)),
        waterfalls=list(_waterfalls(all_files, compared, rows)),
        terms=[charts.TERMS[term] for term in WATERFALL_TERMS],
        codecs=results.codecs,
        files=[
            {
                "name": file.name,
                "kind": file.kind,
                "bytes": file.original_bytes,
                "sha256": file.sha256,
                "rates": _rates(file.name, results.codecs, rows),
            }
            for file in results.files[:FILES_SHOWN]
        ],
        files_hidden=max(0, len(results.files) - FILES_SHOWN),
        provenance=list(_flat(results.provenance)),
    )


def _printable(results: Results) -> Results:
    """The same with names that cannot steer what shows them."""
    return Results(
        tuple(replace(file, name=visible(file.name), kind=visible(file.kind)) for file in results.files),
        tuple(
            replace(
                codec,
                name=visible(codec.name),
                settings={visible(key): visible(str(value)) for key, value in codec.settings.items()},
                fingerprint=visible(codec.fingerprint),
                receiver_bytes={visible(part): size for part, size in codec.receiver_bytes.items()},
            )
            for codec in results.codecs
        ),
        tuple(replace(row, file=visible(row.file), codec=visible(row.codec)) for row in results.rows),
        results.provenance,
    )


def _both_widths(chart: Any, group: list[Total]) -> list[tuple[str, str]]:
    return [("narrow", chart(group, charts.NARROW)), ("wide", chart(group, charts.WIDE))] if group else []


def _kilobytes_per_second(total: Total, seconds: float) -> float | None:
    return total.original_bytes / 1000 / seconds if seconds > 0 else None


def _rates(file: str, codecs: tuple[MeasuredCodec, ...], rows: dict[tuple[str, str], Row]) -> list[Any]:
    """(bits per byte or None, whether it is the best of the file, whether it is an estimate) of each codec."""
    found = [rows.get((file, codec.name)) for codec in codecs]
    best = min((row.archive_bytes for row in found if row), default=0)
    return [
        (row.bits_per_byte, row.archive_bytes == best, row.estimate) if row else (None, False, False) for row in found
    ]


def _waterfalls(group: list[Total], files: list[str], rows: dict[tuple[str, str], Row]) -> Iterator[dict[str, Any]]:
    """Of each codec whose rows all say where their bits went."""
    for total in group:
        name = total.codec.name
        parts = [rows[file, name].waterfall_microbits for file in files]
        if not parts or None in parts:
            continue
        sums: dict[WaterfallTerm, int] = {
            term: sum(part.get(term, 0) for part in parts if part is not None) for term in WATERFALL_TERMS
        }
        yield {
            "name": name,
            "svg": charts.waterfall(name, sums, total.original_bytes),
            "amounts": [sums[term] for term in WATERFALL_TERMS],
        }


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Provenance as names and printable values; what is inside of what is joined by a space."""
    for key, inner in value.items():
        name = f"{prefix}{visible(str(key))}"
        if isinstance(inner, dict):
            yield from _flat(inner, f"{name} ")
        else:
            yield name, visible(", ".join(map(str, inner)) if isinstance(inner, list | tuple) else str(inner))


def level_labels() -> list[str]:
    """What each colour of a heatmap stands for, in bits."""
    bounds = ["0", *map(str, LEVEL_BITS)]
    return [f"{low}–{high}" for low, high in zip(bounds, bounds[1:], strict=False)] + [f"≥ {bounds[-1]}"]


def render_heatmap(heatmap: Heatmap, *, name: str) -> str:
    """The page of a heatmap; ``name`` is what it calls the text. Raises UsageError without the extra ``report``."""
    tokens, places = heatmap.tokens, list(cells(heatmap.tokens))
    cell_of = [index for index, cell in enumerate(places) for _ in range(cell.first, cell.end)]
    dearest = heatmap.dearest(DEAREST)
    anchors = {cell_of[index] for index in dearest}
    pieces: dict[bytes, int] = {}  # every text is said once
    records = []
    for token in tokens:
        others: list[int | float] = []
        for other in token.alternatives:
            others += (pieces.setdefault(other.content, len(pieces)), float(f"{other.probability:.3g}"))
        piece = pieces.setdefault(token.content, len(pieces))
        records.append([piece, token.offset, round(token.bits, 2), round(token.model_bits, 2), others])
    data = {
        "memory": heatmap.memory,
        "pieces": [shown_bytes(piece) for piece in pieces],
        "cells": [cell.first for cell in places],
        "tokens": records,
    }
    return fill(
        "heatmap",
        name=visible(name),
        heatmap=heatmap,
        levels=level_labels(),
        cells=[
            {
                "index": index,
                "text": visible(cell.text),
                "level": level(sum(token.bits for token in tokens[cell.first : cell.end])),
                "anchor": index in anchors,
            }
            for index, cell in enumerate(places)
        ],
        dearest=[
            {
                "cell": cell_of[index],
                "text": shown_bytes(tokens[index].content),
                "bits": tokens[index].bits,
                "model_bits": tokens[index].model_bits,
                "offset": tokens[index].offset,
                "expected": [
                    (shown_bytes(other.content), f"{other.probability:.1%}") for other in tokens[index].alternatives[:3]
                ],
            }
            for index in dearest
        ],
        data=data_block(data),
    )
