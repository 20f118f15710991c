"""``llmzip heatmap``: every token of a text, coloured by what it costs. Only ``cli`` imports it."""

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmzip.cli.files import open_source, open_target, size_bytes
from llmzip.cli.messages import STANDARD, counted, say, say_left_out, shown, title
from llmzip.cli.options import (
    Context,
    Device,
    Dtype,
    Exact,
    Float,
    Force,
    Json,
    Model,
    NoMemory,
    Offline,
    Threads,
    chosen_arithmetic,
)
from llmzip.errors import UsageError
from llmzip.targets import check_targets

if TYPE_CHECKING:
    from rich.console import Console

    from llmzip.bench.heatmap import Heatmap

DEAREST = 10

LONGEST_CHARACTER = 4
"""Bytes in UTF-8: so much more is read than shown, to know whether a text ends where its beginning does."""

STYLES = (
    "",
    "black on #fdf0d5",
    "black on #fbd79a",
    "black on #f5ad5b",
    "bold black on #e0752d",
    "bold underline white on #a8320f",
)
"""Of each level of bits, for the terminal; the dearest can be told without colour."""

File = Annotated[str, typer.Argument(metavar="FILE", hidden=True)]
Html = Annotated[
    str | None, typer.Option("--html", metavar="FILE", help="Write a page for a browser, and print nothing.")
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="BYTES", min=1, help="Look at so much of the beginning of the file; 48 KiB."),
]
Alternatives = Annotated[
    int, typer.Option("--alternatives", metavar="N", min=0, max=100, help="Likeliest tokens to give for each.")
]


def heatmap(
    file: File,
    model: Model = None,
    html: Html = None,
    as_json: Json = False,
    no_memory: NoMemory = False,
    limit: Limit = None,
    alternatives: Alternatives = 5,
    force: Force = False,
    exact: Exact = False,
    as_float: Float = False,
    device: Device = None,
    dtype: Dtype = None,
    offline: Offline = False,
    context: Context = None,
    threads: Threads = 0,
) -> None:
    """Colour every token of FILE (- for standard input) by the bits that it costs under a model.

    In a terminal the text in colours; elsewhere a line for each token: its first byte, bits, bits of the model alone,
    and itself.
    """
    if html is not None and as_json:
        raise UsageError("--html and --json each say what to write: leave one out")
    arithmetic = chosen_arithmetic(exact=exact, as_float=as_float)
    if html is not None:
        from llmzip.bench.pages import require

        require()
    from llmzip.bench.heatmap import LIMIT_BYTES, measure_heatmap
    from llmzip.predictors import DEFAULT_RUNG, load_predictor

    if os.path.isdir(file):
        raise UsageError(f"{shown(file)} is a folder: name one file in it")

    def measure() -> "Heatmap":
        with open_source(file) as source:
            size, wanted = size_bytes(source), limit or LIMIT_BYTES
            data = source.read(wanted + LONGEST_CHARACTER)  # a pipe may have no end
        predictor = load_predictor(
            model or DEFAULT_RUNG,
            threads=threads,
            arithmetic=arithmetic,
            dtype=dtype,
            device=device,
            offline=offline,
            context=context,
        )
        if model is not None:
            say_left_out(model)
        measured = measure_heatmap(data, predictor, memory=not no_memory, alternatives=alternatives, limit_bytes=wanted)
        if measured.shown_bytes < len(data):
            of_all = "" if size is None else f" of {size:,}"
            say(
                f"llmzip: {title(file)}: only the first {measured.shown_bytes:,}{of_all} bytes are shown "
                "(more with --limit)"
            )
        return measured if size is None else replace(measured, original_bytes=size)

    if html is not None:
        from llmzip.bench.html import render_heatmap

        check_targets([html], [*([] if file == STANDARD else [file]), *([model] if model else [])])
        with open_target(html, file, force=force) as target:
            target.write(render_heatmap(measure(), name=title(file)).encode("utf-8", "backslashreplace"))
    elif as_json:
        typer.echo(json.dumps(_as_json(measure(), file)))
    else:
        from rich.console import Console

        measured = measure()
        console = Console(markup=False, highlight=False)
        if console.is_terminal and console.color_system and not console.no_color:
            _print_colours(console, measured)
        else:
            typer.echo("\n".join(_lines(measured)))


def _summary(measured: "Heatmap") -> str:
    rate = "no bits per byte" if measured.bits_per_byte is None else f"{measured.bits_per_byte:.3f} bits per byte"
    alone = f", {measured.model_bits:,.1f} without memory" if measured.memory else ""
    return (
        f"{shown(measured.predictor)}{' with memory' if measured.memory else ''}: "
        f"{counted(len(measured.tokens), 'token')}, {counted(measured.shown_bytes, 'byte')}, "
        f"{measured.bits:,.1f} ideal bits{alone}, {rate}"
    )


def _lines(measured: "Heatmap") -> list[str]:
    """For what is no terminal: a comment, then tab-separated figures."""
    from llmzip.bench.heatmap import shown_bytes

    return ["# " + _summary(measured), "# byte\tbits\tmodel bits\ttoken"] + [
        f"{token.offset}\t{token.bits:.3f}\t{token.model_bits:.3f}\t{shown_bytes(token.content)}"
        for token in measured.tokens
    ]


def _print_colours(console: "Console", measured: "Heatmap") -> None:
    from rich.text import Text

    from llmzip.bench.heatmap import cells, level, shown_bytes, visible
    from llmzip.bench.html import level_labels

    legend = Text("bits ")
    for style, label in zip(STYLES, level_labels(), strict=True):
        legend.append(f" {label} ", style).append(" ")
    text = Text()
    for cell in cells(measured.tokens):
        tokens = measured.tokens[cell.first : cell.end]
        text.append(visible(cell.text).replace("\t", ""), STYLES[level(sum(token.bits for token in tokens))])
    console.print(_summary(measured))
    console.print(legend)
    console.print(text, soft_wrap=True)  # the terminal breaks lines where they are full, and keeps spaces
    if measured.tokens:
        console.print("\nThe dearest:")
    for index in measured.dearest(DEAREST):
        token = measured.tokens[index]
        expected = ", ".join(
            f"{shown_bytes(other.content)} {other.probability:.0%}" for other in token.alternatives[:3]
        )
        line = f"{token.bits:6.2f} bits at byte {token.offset:,}: {shown_bytes(token.content)}"
        console.print(line + (f"   (expected {expected})" if expected else ""), soft_wrap=True)


def _as_json(measured: "Heatmap", file: str) -> dict[str, Any]:
    """Tokens are given in hexadecimal: not all are text."""
    return {
        "file": file,
        "predictor": measured.predictor,
        "fingerprint": measured.fingerprint,
        "memory": measured.memory,
        "original_bytes": measured.original_bytes,
        "shown_bytes": measured.shown_bytes,
        "bits": measured.bits,
        "model_bits": measured.model_bits,
        "bits_per_byte": measured.bits_per_byte,
        "tokens": [
            {
                "offset": token.offset,
                "token": token.token,
                "hex": token.content.hex(),
                "bits": token.bits,
                "model_bits": token.model_bits,
                "alternatives": [
                    {"token": other.token, "hex": other.content.hex(), "probability": other.probability}
                    for other in token.alternatives
                ],
            }
            for token in measured.tokens
        ],
    }
