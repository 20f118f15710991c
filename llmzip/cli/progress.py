"""Progress bars on stderr, where someone looks. Only ``cli`` imports it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[float], None]
"""Is told the number of bytes done so far."""


def is_watched(*, quiet: bool) -> bool:
    """Whether someone looks at stderr."""
    return not quiet and sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def byte_bar(label: str, total_bytes: int | None, *, show: bool) -> Iterator[Report]:
    """A bar with rate and time left; it is gone afterwards. total_bytes: None where nobody knows."""
    if not show:
        yield lambda done_bytes: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total_bytes)
        limit = float("inf") if total_bytes is None else total_bytes
        yield lambda done_bytes: progress.update(task, completed=min(done_bytes, limit))


@contextmanager
def step_bar(total: int, *, show: bool) -> Iterator[Callable[[str, int], None]]:
    """A bar over work of ``total`` parts: is told what comes next, and how much was done since it was last told."""
    if not show:
        yield lambda label, done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda label, done: progress.update(task, description=label, advance=done)
