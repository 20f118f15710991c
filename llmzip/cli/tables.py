"""Tables whose figures are never cut: as many columns as fit, and where none does, rows of ``name: figure``.

Rich folds names and cuts nothing here. Only ``cli`` imports it.
"""

from collections.abc import Sequence

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
