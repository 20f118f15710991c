"""The waterfall of each model on a terminal: where its bits go. Only ``cli`` imports it."""

from typing import TYPE_CHECKING

from llmzip.bench.results import MICROBITS, WATERFALL_TERMS, Results, Row
from llmzip.cli.messages import shown

if TYPE_CHECKING:
    from rich.console import Console

MEANINGS = {
    "model": "the model alone, of all tokens",
    "memory": "what memory adds or saves",
    "precision": "rounding of probabilities",
    "cold_start": "frames and streams that begin without a past",
    "coder": "whole words of the coder",
    "fallback": "what frames of zstd or plain bytes add or save",
    "framing": "headers, checks, index",
}


def print_waterfall(results: Results, console: "Console") -> None:
    """One table of all rows that say where their bits go; nothing where there are none."""
    rows_of = {
        codec.name: rows
        for codec in results.codecs
        if (rows := [row for row in results.rows if row.codec == codec.name and row.waterfall_microbits])
    }
    if not rows_of:
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("where the bits go", overflow="fold")
    for name in rows_of:
        table.add_column(f"{shown(name)}\nbits per byte", justify="right")
        table.add_column("bytes", justify="right")
    for term in WATERFALL_TERMS:
        cells = []
        for rows in rows_of.values():
            bits = sum((row.waterfall_microbits or {})[term] for row in rows) / MICROBITS
            cells += [f"{bits / _original_bytes(rows):+.4f}", f"{bits / 8:+,.1f}"]
        table.add_row(f"{term.replace('_', ' ')}: {MEANINGS[term]}", *cells)
    table.add_section()
    sums = []
    for rows in rows_of.values():
        archive_bytes = sum(row.archive_bytes for row in rows)
        sums += [f"{8 * archive_bytes / _original_bytes(rows):.4f}", f"{archive_bytes:,}"]
    table.add_row("archives", *sums, style="bold")
    console.print(table)


def _original_bytes(rows: list[Row]) -> int:
    return sum(row.original_bytes for row in rows)
