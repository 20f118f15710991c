"""The commands, gathered into one Typer app. Only ``cli.main`` imports it."""

from typing import Annotated

import typer

from llmzip.archive import FORMAT_VERSION
from llmzip.cli import account, bench, compare, compress, corpora, decompress, export, heatmap, info, models

EXIT_CODES = """\b
Exit codes, of several files the worst:
  0    fine
  1    failure: damage, a check that failed, a full disk
  2    usage
  3    results that cannot be compared
  4    a model, corpus or program that is not available
  130  interrupted
"""

app = typer.Typer(
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
app.command(short_help="Decompress archives.")(decompress.decompress)
app.command(short_help="Decode and check, write nothing.")(decompress.test)
app.command(short_help="Show where an archive's bytes went.")(info.info)
app.command(short_help="List the embedded models.")(models.models)
app.command(short_help="Write a model as two files.")(export.export)
app.command(short_help="Measure models and classical codecs.")(bench.bench)
app.command(short_help="Compare two results of bench.")(compare.compare)
app.command(short_help="Show what models cost, and what training amounts to.")(account.account)
app.command(short_help="Colour a text by what each token costs.")(heatmap.heatmap)
app.add_typer(corpora.app, name="corpora", short_help="List and fetch public corpora.")
