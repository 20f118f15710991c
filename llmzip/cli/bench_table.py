"""The tables of a bench for people: on a terminal, as Markdown, as CSV. Only ``cli`` imports it."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmzip.bench.results import Results
from llmzip.bench.summary import ALL, Total, total_of, totals
from llmzip.cli.messages import counted, shown
from llmzip.cli.tables import GAP, NAME_WIDTH, as_lines, fitting

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MILLION = 1_000_000


@dataclass(frozen=True)
class Column:
    """A heading, how a cell is written, and the width of terminal from which it is worth its place."""

    heading: str
    cell: Callable[[Total], str]
    from_width: int = 0
    need: int = 0
    """Where there is no room for all, those with the least stay."""


def _optional(figure: float | None, form: str, otherwise: str = "–") -> str:
    return otherwise if figure is None else format(figure, form)


def _break_even(total: Total) -> str:
    if not total.receiver_bytes or total.reference_bits_per_byte is None:
        return "–"
    size = total.break_even_bytes
    return "never" if size is None else f"{size / MILLION:,.1f} MB"


def _label(total: Total) -> str:
    return shown(total.codec.name) + (" (estimate)" if total.estimate else "")


def _speed(total: Total, seconds: float) -> str:
    rate = total.original_bytes / 1000 / seconds if seconds else None
    return _optional(rate, ",.0f" if rate and rate >= 1000 else ".1f")


def _interval(total: Total) -> str:
    return "–" if total.interval is None else "{:.3f}-{:.3f}".format(*total.interval)


def _verified(total: Total) -> str:
    return "estimate" if total.estimate else "yes" if total.verified else "NO"


COLUMNS = (
    Column("bytes", lambda t: f"{t.archive_bytes:,}", need=1),
    Column("bits per\nbyte", lambda t: f"{t.bits_per_byte:.3f}"),
    Column("95 %\ninterval", _interval, 110),
    Column("mean of\nfiles", lambda t: f"{t.macro_bits_per_byte:.3f}", 125),
    Column("ideal", lambda t: _optional(t.ideal_bits_per_byte, ".3f"), 96),
    Column("x zstd\n-19", lambda t: _optional(t.reference_ratio, ".2f"), need=2),
    Column("adjusted", lambda t: f"{t.adjusted_bits_per_byte:,.2f}", need=5),
    Column("break-\neven", _break_even, 140),
    Column("compress\nKB/s", lambda t: _speed(t, t.compress_seconds), need=4),
    Column("decomp.\nKB/s", lambda t: _speed(t, t.decompress_seconds), need=3),
    Column("peak\nMB", lambda t: _optional(t.peak_memory_bytes and t.peak_memory_bytes / MILLION, ",.0f"), 150),
    Column("verified", _verified, 90),
)

PARTS = {"memory": "memory's first state", "decoder": "decoder's source"}
"""How what a receiver holds is called, where its name in the document is shorter."""

EXPLANATION = (
    "Bits per byte: 8 x archive / original; of several files, sum of bits / sum of bytes. Ideal: what a coder without "
    "loss would need. Adjusted: with all that the receiver must already hold. Break-even: the corpus size from which "
    "that is paid for, against zstd -19. Speeds: one run here, in 1,000 bytes of text a second."
)


def print_table(results: Results, console: "Console", *, files: bool) -> None:
    """Groups by kind, all files last; ``files``: whether every file has its lines as well."""
    columns = _fitting_columns(results, console.width, files=files)
    if columns:
        console.print(_table(results, columns, files=files))
    else:
        console.print("\n".join(_lines(results, files=files)), soft_wrap=True)
    for line in _notes(results):
        console.print(line)


def _notes(results: Results) -> list[str]:
    return [verification(results), *gap_lines(results), *receiver_lines(results)]


def verification(results: Results) -> str:
    """How many rows were decoded, in a sentence."""
    verified, estimates = (sum(getattr(row, name) for row in results.rows) for name in ("verified", "estimate"))
    said = f"{verified} of {len(results.rows)} rows were decoded and are equal to their originals."
    return said + (f" {estimates} are estimates: scored, no archive was written." if estimates else "")


def gap_lines(results: Results) -> list[str]:
    """How far the estimates of each model are off, where it was measured."""
    lines = []
    for name, gap in results.provenance.get("estimate_gaps", {}).items():
        off = gap["estimated_bytes"] / gap["archive_bytes"] - 1
        lines.append(
            f"{shown(name)}: on a sample of {counted(gap['sample_bytes'], 'byte')}, "
            f"estimated at {gap['estimated_bytes']:,}, the archive had {counted(gap['archive_bytes'], 'byte')}: "
            f"the estimate was off by {off:+.2%}"
        )
    return lines


def groups(results: Results, *, files: bool) -> dict[str, list[Total]]:
    """Title -> totals: of each file (where asked for) below its kind, then of the kind; of everything at the end."""
    by_group: dict[str, list[Total]] = {}
    for total in totals(results):
        by_group.setdefault(total.group, []).append(total)
    everything = by_group.pop(ALL, [])
    found: dict[str, list[Total]] = {}
    for kind in dict.fromkeys(sorted(file.kind for file in results.files)):
        names = [file.name for file in results.files if file.kind == kind]
        if files or len(results.files) == 1:
            found |= {name: of_file for name in names if (of_file := _file_totals(results, name))}
        if kind in by_group and len(results.files) > len(names) and (len(names) > 1 or not files):
            found[_title(kind, by_group[kind])] = by_group[kind]
    if len(results.files) > 1 and everything:
        found[_title(ALL, everything)] = everything
    return found


def _title(group: str, of_group: list[Total]) -> str:
    count = of_group[0].file_count
    return f"{group} ({count} file{'s' if count > 1 else ''})"


def _file_totals(results: Results, name: str) -> list[Total]:
    rows = {row.codec: row for row in results.rows if row.file == name}
    reference = rows["zstd -19"].bits_per_byte if "zstd -19" in rows else None
    found = [total_of([rows[c.name]], c, name, reference) for c in results.codecs if c.name in rows]
    return sorted(found, key=lambda total: (total.bits_per_byte, total.codec.name))


def _fitting_columns(results: Results, width: int, *, files: bool) -> list[Column]:
    """The columns that this width has room for, whole, in their order."""
    found = groups(results, files=files).values()

    def cells(column: Column) -> list[str]:
        sums = [f"{group[0].original_bytes:,}" for group in found] if column is COLUMNS[0] else []
        return [column.heading, *sums, *(column.cell(total) for group in found for total in group)]

    worth_it = [column for column in COLUMNS if width >= column.from_width]
    by_need = sorted(worth_it, key=lambda column: (column.from_width, column.need))
    kept = by_need[: fitting([cells(column) for column in by_need], width)]
    return [column for column in COLUMNS if column in kept]


def _table(results: Results, columns: list[Column], *, files: bool) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD, caption=EXPLANATION, caption_justify="left", pad_edge=False, padding=(0, GAP, 0, 0)
    )
    table.add_column("", overflow="fold", min_width=NAME_WIDTH)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for title, group in groups(results, files=files).items():
        sums = [f"{group[0].original_bytes:,}" if column is COLUMNS[0] else "" for column in columns]
        table.add_row(Text(shown(title)), *sums, style="bold")
        for place, total in enumerate(group):
            cells = [Text(column.cell(total)) for column in columns]
            style = "green" if place == 0 else "" if total.verified or total.estimate else "red"
            table.add_row(Text(f"  {_label(total)}"), *cells, style=style)
        table.add_section()
    return table


def _lines(results: Results, *, files: bool) -> list[str]:
    """For terminals that no column fits into."""
    columns, lines = [column for column in COLUMNS if not column.from_width], []
    for title, group in groups(results, files=files).items():
        lines.append(f"{shown(title)}: {counted(group[0].original_bytes, 'byte')}")
        for total in group:
            cells = [column.cell(total) for column in columns]
            lines += [f"  {_label(total)}", *as_lines([column.heading for column in columns], cells, indent=4)]
    return lines


def receiver_lines(results: Results) -> list[str]:
    """What a receiver must already hold for each model, by part."""
    lines = []
    for codec in results.codecs:
        if codec.receiver_bytes:
            sizes = codec.receiver_bytes.items()
            parts = " + ".join(f"{PARTS.get(part, part)} {size:,}" for part, size in sizes)
            whole = sum(codec.receiver_bytes.values())
            count = f", {codec.parameter_count:,} parameters" if codec.parameter_count else ""
            lines.append(f"{shown(codec.name)}: a receiver holds {counted(whole, 'byte')} ({parts}){count}")
    return lines


def as_markdown(results: Results) -> str:
    """The table of groups in Markdown, every column."""
    headings = ["group", "codec", "bytes", *(column.heading.replace("\n", " ") for column in COLUMNS)]
    lines = ["| " + " | ".join(headings) + " |", "|---|---|" + "--:|" * (len(headings) - 2)]
    for title, group in groups(results, files=True).items():
        for total in group:
            cells = [title, _label(total), f"{total.original_bytes:,}", *(column.cell(total) for column in COLUMNS)]
            lines.append("| " + " | ".join(shown(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, "", EXPLANATION, "", *(f"- {line}" for line in _notes(results))]) + "\n"


_ROW_FIELDS = (
    "file kind codec original_bytes archive_bytes bits_per_byte ideal_bits_per_byte adjusted_bits_per_byte "
    "break_even_bytes compress_seconds decompress_seconds peak_memory_bytes verified estimate"
).split()


def comma_separated(results: Results) -> str:
    """One line for each row of the bench, figures unrounded."""
    target = io.StringIO()
    writer = csv.DictWriter(target, _ROW_FIELDS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for file in results.files:
        for total in _file_totals(results, file.name):
            row = {field: getattr(total, field, None) for field in _ROW_FIELDS}
            writer.writerow({**row, "file": file.name, "kind": file.kind, "codec": total.codec.name})
    return target.getvalue()
