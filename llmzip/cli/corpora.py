"""``llmzip corpora list`` and ``llmzip corpora fetch``. Only ``cli`` imports it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmzip.cli.command import Command
from llmzip.cli.files import for_each
from llmzip.cli.messages import shown
from llmzip.cli.options import Json, Quiet
from llmzip.cli.progress import Report, byte_bar, is_watched
from llmzip.cli.tables import print_whole
from llmzip.errors import UsageError

if TYPE_CHECKING:
    from urllib.request import Request

    from llmzip.bench.corpus import Readable

app = typer.Typer(help="Public corpora to measure on: fetched on request, verified, never part of llmzip.")


@app.command("list", cls=Command)
def list_corpora(as_json: Json = False) -> None:
    """List the corpora that can be fetched."""
    from llmzip.bench.corpus import read_manifest

    downloads = read_manifest()
    if as_json:
        rows = [{**asdict(download), "original_bytes": download.original_bytes} for download in downloads]
        typer.echo(json.dumps(rows, indent=2))
        return

    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("name", no_wrap=True)
    for heading in ("download", "files", "bytes"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("licence")
    for download in downloads:
        sizes = (download.size_bytes, len(download.members), download.original_bytes)
        table.add_row(download.name, *(f"{size:,}" for size in sizes), download.licence)
    print_whole(table, Console(markup=False, highlight=False))


@app.command("fetch", cls=Command)
def fetch_corpora(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", hidden=True)],
    folder: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the corpora go.")] = Path("corpora"),
    url: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Another address of the same download.")] = None,
    quiet: Quiet = False,
) -> None:
    """Fetch corpora and verify them; prints the paths of their files. What is there already is not fetched again."""
    if url is not None and len(names) > 1:
        raise UsageError("--url is the address of one download: name one")
    show = is_watched(quiet=quiet)

    def fetch_one(name: str) -> None:
        from llmzip.bench.corpus import fetch, open_address, read_manifest

        total_bytes = next((download.size_bytes for download in read_manifest() if download.name == name), None)
        with byte_bar(shown(name), total_bytes, show=show) as report:

            @contextmanager
            def opener(request: "Request", *, timeout: float) -> Iterator["_Metered"]:
                with open_address(request, timeout=timeout) as answer:
                    yield _Metered(answer, report)

            paths = fetch(name, folder, url=url, opener=opener)
        for path in paths:
            typer.echo(shown(str(path)))

    for_each(names, fetch_one)


class _Metered:
    """Reads on, and reports how many bytes were read."""

    def __init__(self, source: "Readable", report: Report) -> None:
        self._source, self._report, self._done_bytes = source, report, 0

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._done_bytes += len(data)
        self._report(self._done_bytes)
        return data
