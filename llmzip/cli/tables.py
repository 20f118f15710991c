"""Tables whose figures are never cut: as many columns as fit, and where none does, rows of ``name: figure``.

Rich folds names and cuts nothing here. Only ``cli`` imports it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NAME_WIDTH = 14
"""Letters that the column of names gets at least; longer names are folded."""

GAP = 1
"""Spaces after a column, besides the one that divides it from the next."""

_EDGES = 2


def fitting(columns: Sequence[Sequence[str]], width: int) -> int:
    """How many of the columns fit beside the names, whole. Each is its heading and its cells; the most needed first."""
    used = _EDGES + NAME_WIDTH + GAP
    for count, cells in enumerate(columns):
        used += max((len(line) for cell in cells for line in cell.split("\n")), default=0) + GAP + 1
        if used > width:
            return count
    return len(columns)


def as_lines(names: Sequence[str], cells: Sequence[str], *, indent: int) -> list[str]:
    """``name: figure`` of each cell, where not even one column fits."""
    return [f"{' ' * indent}{name.replace(chr(10), ' ')}: {cell}" for name, cell in zip(names, cells, strict=True)]


def print_whole(table: "Table", console: "Console") -> None:
    """Prints the table if the console is wide enough for all of it, else each row as ``as_lines`` gives it.

    The first column is of names, and columns of figures are not to be wrapped (``no_wrap``).
    """
    from rich.measure import Measurement

    for column in table.columns:
        if column.no_wrap:  # Rich takes the longest word for what such a cell needs
            cells = [str(cell) for cell in [column.header, *column.cells]]
            column.min_width = max(len(line) for cell in cells for line in cell.split("\n"))
    if Measurement.get(console, console.options.update(width=_UNBOUNDED), table).minimum <= console.width:
        console.print(table)
        return
    names, *others = ([str(cell) for cell in column.cells] for column in table.columns)
    headings = [str(column.header) for column in table.columns[1:]]
    lines = [str(table.title)] if table.title else []
    for name, *cells in zip(names, *others, strict=True):
        lines += ["", name, *as_lines(headings, cells, indent=2)]
    console.print("\n".join(lines), soft_wrap=True)  # the terminal breaks what is longer, nothing is cut
    if table.caption:
        console.print(f"\n{table.caption}")


_UNBOUNDED = 1 << 16
