"""``llmzip bench``: models and classical codecs on the same files, in bits per byte. Only ``cli`` imports it."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmzip.cli.messages import say, shown
from llmzip.cli.options import Json, Quiet, Threads
from llmzip.cli.progress import is_watched, step_bar
from llmzip.errors import CorpusError

if TYPE_CHECKING:
    from rich.table import Table

    from llmzip.bench.codecs import Codec
    from llmzip.bench.measure import Row

Paths = Annotated[list[Path], typer.Argument(metavar="PATH", hidden=True)]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", metavar="MODEL", help="Embedded model or model folder; may be given several times."),
]


def bench(
    paths: Paths, models: Models = None, threads: Threads = 0, quiet: Quiet = False, as_json: Json = False
) -> None:
    """Measure models and classical codecs on the same files. Every size was decoded and compared first."""
    from llmzip.bench.codecs import Llmzip, classical_codecs
    from llmzip.bench.corpus import corpus_files
    from llmzip.bench.measure import total
    from llmzip.predictors import DEFAULT_RUNG, load_predictor

    files = _without_empty(corpus_files(paths))
    predictors = [load_predictor(name, threads=threads) for name in dict.fromkeys(models or [DEFAULT_RUNG])]
    codecs = [*classical_codecs(), *map(Llmzip, predictors)]
    rows = _measure_all(codecs, files, show=is_watched(quiet=quiet))
    totals = [total(rows[index :: len(codecs)], file="total") for index in range(len(codecs))]
    if as_json:
        held = [
            {"name": predictor.name, "fingerprint": predictor.fingerprint.hex(), "bytes": predictor.parameter_bytes}
            for predictor in predictors
        ]
        report = {"rows": [*map(_as_json, rows)], "totals": [*map(_as_json, totals)], "parameters": held}
        typer.echo(json.dumps(report, indent=2))
        return

    from rich.console import Console

    held_bytes = {predictor.name: predictor.parameter_bytes for predictor in predictors}
    Console(markup=False, highlight=False).print(_table(rows, totals, held_bytes))


def _without_empty(files: list[Path]) -> list[Path]:
    """Empty files have no bits per byte."""
    full = []
    for file in files:
        if file.is_file() and not file.stat().st_size:
            say(f"llmzip: {shown(str(file))}: it is empty and left out")
        else:
            full.append(file)
    if not full:
        raise CorpusError("all files are empty: name others")
    return full


def _measure_all(codecs: "list[Codec]", files: list[Path], *, show: bool) -> "list[Row]":
    """The rows of every file under every codec, file by file."""
    from llmzip.bench.measure import measure, warm_up

    rows = []
    total_bytes = sum(file.stat().st_size for file in files) * len(codecs)
    with step_bar(total_bytes, show=show) as report:
        for codec in codecs:
            report(f"{codec.name}: warming up", 0)
            warm_up(codec, files[0].read_bytes())
        for file in files:
            data = file.read_bytes()
            for codec in codecs:
                report(f"{codec.name}: {shown(file.name)}", 0)
                rows.append(measure(codec, data, file=str(file)))
                report(f"{codec.name}: done", len(data))
    return rows


def _table(rows: "list[Row]", totals: "list[Row]", held_bytes: dict[str, int]) -> "Table":
    """One group of lines a file, and one for all files together; files by their path from the folder they share."""
    from rich import box
    from rich.table import Table

    from llmzip.bench.codecs import REFERENCE

    held = "; ".join(f"{name} {size:,}" for name, size in held_bytes.items())
    table = Table(
        box=box.SIMPLE_HEAD,
        caption=f"Bytes of parameters and tokenizer, not counted above, that a receiver must already hold: {held}. "
        "Total: sum of bits / sum of bytes. Speeds: one run here, in 1,000 bytes of text a second.",
        caption_justify="left",
        pad_edge=False,
    )
    table.add_column("file, codec", overflow="fold")
    for heading in ("bytes", "bits per\nbyte", f"x {REFERENCE.name}", "compress\nKB/s", "decompress\nKB/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    files = list(dict.fromkeys(row.file for row in rows))
    groups = {
        label: [row for row in rows if row.file == file]
        for file, label in zip(files, _without_common_folder(files), strict=True)
    }
    if len(groups) > 1:
        groups[f"all {len(groups)} files"] = totals
    for file, group in groups.items():
        reference_bytes = next(row.archive_bytes for row in group if row.codec == REFERENCE.name)
        table.add_row(shown(file), f"{group[0].original_bytes:,}", style="bold")
        for row in group:
            table.add_row(
                f"  {shown(row.codec)}",
                f"{row.archive_bytes:,}",
                f"{row.bits_per_byte:.3f}",
                f"{row.archive_bytes / reference_bytes:.2f}",
                f"{row.compress_bytes_per_second / 1000:,.1f}",
                f"{row.decompress_bytes_per_second / 1000:,.1f}",
            )
        table.add_section()
    return table


def _without_common_folder(files: list[str]) -> list[str]:
    try:
        folder = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files])
    except ValueError:  # on several drives
        return files
    return [os.path.relpath(file, folder) for file in files]


def _as_json(row: "Row") -> dict[str, Any]:
    return {**asdict(row), "bits_per_byte": row.bits_per_byte}
