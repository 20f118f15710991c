"""The commands, gathered into one Typer app. Only ``cli.main`` imports it."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from llmzip.archive import FORMAT_VERSION
from llmzip.cli import (
    account,
    bench,
    compare,
    compress,
    corpora,
    decompress,
    dream,
    export,
    heatmap,
    info,
    models,
    probe,
    sweep,
)
from llmzip.cli.command import Command
from llmzip.cli.habits import with_command
from llmzip.cli.messages import complain
from llmzip.errors import LlmzipError

EXIT_CODES = """\b
Exit codes, of several files the worst:
  0    fine
  1    failure: damage, a check that failed, a full disk
  2    usage
  3    results that cannot be compared
  4    a model, corpus or program that is not available
  130  interrupted
"""


class Program(TyperGroup):
    """All commands: finds out which is meant, and ends each with its exit code and one line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As usual, with the command that was left out."""
        piped = not any(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
        return super().parse_args(ctx, with_command(args, piped=piped))

    def invoke(self, ctx: Any) -> Any:
        """As usual; an error becomes a line and an exit code."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # nobody reads any more: nothing is said
        except (LlmzipError, OSError, MemoryError) as error:
            raise typer.Exit(complain(error)) from None


app = typer.Typer(
    cls=Program,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("llmzip")
        except PackageNotFoundError:
            number = "(not installed)"
        typer.echo(f"llmzip {number}, archive format {FORMAT_VERSION}")
        raise typer.Exit


@app.callback()
def llmzip(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Compress text with a language model, and measure models and codecs in bits per byte."""


app.command(cls=compress.LevelCommand, short_help="Compress files.")(compress.compress)
app.command(cls=Command, short_help="Decompress archives.")(decompress.decompress)
app.command(cls=Command, short_help="Decode and check, write nothing.")(decompress.test)
app.command(cls=Command, short_help="Show where an archive's bytes went.")(info.info)
app.command(cls=Command, short_help="List the embedded models.")(models.models)
app.command(cls=Command, short_help="Write a model as two files.")(export.export)
app.command(cls=Command, short_help="Measure models and classical codecs.")(bench.bench)
app.command(cls=Command, short_help="Compare two results of bench.")(compare.compare)
app.command(cls=Command, short_help="Show what models cost, and what training amounts to.")(account.account)
app.command(cls=Command, short_help="Colour a text by what each token costs.")(heatmap.heatmap)
app.command(cls=Command, short_help="Decode random bits into text.")(dream.sample)
app.command(cls=Command, short_help="Draw the curve from dream to lossless.")(dream.rate)
app.command(cls=Command, short_help="Measure the checkpoints of a run.")(sweep.sweep)
app.add_typer(probe.app, name="probe", short_help="Measure what a model knows, in bits.")
app.add_typer(corpora.app, name="corpora", short_help="List and fetch public corpora.")
