"""The waterfall of each model on a terminal: where its bits go. Only ``cli`` imports it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmzip.bench.results import MICROBITS, WATERFALL_TERMS, Results, Row, WaterfallTerm
from llmzip.cli.messages import shown
from llmzip.cli.tables import GAP, NAME_WIDTH, as_lines, fitting

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

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
    whole = {name: _columns(name, rows) for name, rows in rows_of.items()}
    if fitting([column for pair in whole.values() for column in pair], console.width) == 2 * len(whole):
        console.print(_table(list(whole.values())))
        return
    for name, pair in whole.items():  # too narrow for all side by side
        if fitting(pair, console.width) == 2:
            console.print(_table([pair]))
        else:
            console.print(f"{shown(name)}: where the bits go, in bits per byte")
            figures = as_lines([*(_label(term) for term in WATERFALL_TERMS), "archives"], pair[0][1:], indent=2)
            console.print("\n".join(figures), soft_wrap=True)


def _label(term: WaterfallTerm) -> str:
    return f"{term.replace('_', ' ')}: {MEANINGS[term]}"


def _columns(name: str, rows: list[Row]) -> tuple[list[str], list[str]]:
    """Bits per byte and bytes of each term, below their headings, and of the archives."""
    bits_per_byte, byte_counts = [f"{shown(name)}\nbits per byte"], ["\nbytes"]
    for term in WATERFALL_TERMS:
        bits = sum((row.waterfall_microbits or {})[term] for row in rows) / MICROBITS
        bits_per_byte.append(f"{bits / _original_bytes(rows):+.4f}")
        byte_counts.append(f"{bits / 8:+,.1f}")
    archive_bytes = sum(row.archive_bytes for row in rows)
    bits_per_byte.append(f"{8 * archive_bytes / _original_bytes(rows):.4f}")
    byte_counts.append(f"{archive_bytes:,}")
    return bits_per_byte, byte_counts


def _table(pairs: Sequence[tuple[list[str], list[str]]]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, GAP, 0, 0))
    table.add_column("where the bits go", overflow="fold", min_width=NAME_WIDTH)
    columns = [column for pair in pairs for column in pair]
    for heading, *_ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for number, term in enumerate(WATERFALL_TERMS, 1):
        table.add_row(_label(term), *(column[number] for column in columns))
    table.add_section()
    table.add_row("archives", *(column[-1] for column in columns), style="bold")
    return table


def _original_bytes(rows: list[Row]) -> int:
    return sum(row.original_bytes for row in rows)
