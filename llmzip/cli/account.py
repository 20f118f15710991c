"""``llmzip account``: what models cost, and what their training amounts to as compression. Only ``cli`` imports it."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from llmzip.cli.messages import WITHOUT_DECODER, shown
from llmzip.cli.numbers import parse_bytes, parse_count
from llmzip.cli.options import Json
from llmzip.cli.tables import print_whole
from llmzip.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from llmzip.bench.known_models import ModelAccount, ModelFacts

MODEL_BY_NUMBERS = "this model"

LONGEST_FIGURE = 9
"""Characters, so that every table fits 80 columns, whatever numbers it is made of."""


def _number(help: str, parser: Callable[[str], float] = parse_count) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(metavar="X", help=help, parser=parser)
    return option


Names = Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", hidden=True)]
Parameters = Annotated[float | None, _number("Account for a model of so many parameters, such as 7B.")]
BytesPerParameter = Annotated[
    float | None, _number("Bytes that a parameter takes as stored; 2 unless given.", parse_bytes)
]
ReceiverBytes = Annotated[
    float | None, _number("All that a receiver must hold, if more than the parameters, such as 15GB.", parse_bytes)
]
TrainingBytes = Annotated[float | None, _number("Bytes of training text, such as 10TB.", parse_bytes)]
TrainingTokens = Annotated[float | None, _number("Tokens of training text; with --bytes-per-token its size.")]
BytesPerToken = Annotated[float | None, _number("Bytes of text that a token stands for, on average.", parse_bytes)]
Loss = Annotated[float | None, _number("Nats a token of the training text; with --training-tokens its coded size.")]
Bpb = Annotated[float | None, _number("Bits per byte under the model: of the training text, and for break-even.")]
CodecBpb = Annotated[float | None, _number("Bits per byte of the codec to break even with.")]
OriginalBytes = Annotated[
    float | None, _number("Bytes of the text to compress, such as 1GB; with --bpb the adjusted rate.", parse_bytes)
]


def account(
    names: Names = None,
    parameters: Parameters = None,
    bytes_per_parameter: BytesPerParameter = None,
    receiver_bytes: ReceiverBytes = None,
    training_bytes: TrainingBytes = None,
    training_tokens: TrainingTokens = None,
    bytes_per_token: BytesPerToken = None,
    loss: Loss = None,
    bpb: Bpb = None,
    codec_bpb: CodecBpb = None,
    original_bytes: OriginalBytes = None,
    as_json: Json = False,
) -> None:
    """Show what models cost to hold, and what their training amounts to as compression.

    MODEL is an embedded model, a model folder or a published model; without any, all that llmzip knows. A model that
    it does not know is given by numbers: --parameters, and what else is known.
    """
    from llmzip.bench.known_models import ModelFacts, find_model, known_models
    from llmzip.bench.known_models import account as account_for

    numbers = {
        "--parameters": parameters,
        "--bytes-per-parameter": bytes_per_parameter,
        "--receiver-bytes": receiver_bytes,
        "--training-bytes": training_bytes,
        "--training-tokens": training_tokens,
        "--bytes-per-token": bytes_per_token,
        "--loss": loss,
        "--bpb": bpb,
        "--codec-bpb": codec_bpb,
        "--original-bytes": original_bytes,
    }
    _check({name: value for name, value in numbers.items() if value is not None})
    facts = [find_model(name) for name in names or []]
    if parameters is not None:
        if training_bytes is None and training_tokens is not None and bytes_per_token is not None:
            training_bytes = training_tokens * bytes_per_token
        facts.append(
            ModelFacts(
                MODEL_BY_NUMBERS,
                round(parameters),
                round(parameters * (2.0 if bytes_per_parameter is None else bytes_per_parameter)),
                receiver_bytes=_rounded(receiver_bytes),
                training_bytes=training_bytes,
                training_tokens=_rounded(training_tokens),
                nats_per_token=loss,
                training_bits_per_byte=bpb,
                file=None if bpb is None else "given",
                original_bytes=_rounded(original_bytes),
                bits_per_byte=bpb,
                codec=None if codec_bpb is None else "given",
                codec_bits_per_byte=codec_bpb,
            )
        )
    for model in facts:
        if model.receiver_bytes is not None and model.receiver_bytes < model.parameter_bytes:
            raise UsageError(
                f"--receiver-bytes is {model.receiver_bytes:,}, less than the parameters alone, "
                f"{model.parameter_bytes:,}: count them too, or say how small they are with --bytes-per-parameter"
            )
    accounts = [account_for(model) for model in facts or known_models()]
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in accounts], indent=2))
        return

    from rich.console import Console

    console = Console(markup=False, highlight=False)
    for table in _tables(accounts):
        print_whole(table, console)
    for entry in accounts:
        if entry.facts.sources:
            typer.echo(fill(_sources(entry.facts), console.width, break_long_words=False, break_on_hyphens=False))


WHOLE = ("--parameters", "--receiver-bytes", "--training-tokens", "--original-bytes")

SMALLEST, LARGEST = 1e-30, 1e30
"""Of a number: beyond them is no model, and figures that follow would not fit a float."""

NEEDS = {
    "--training-tokens": ("--loss", "--bytes-per-token"),
    "--bytes-per-token": ("--training-tokens",),
    "--loss": ("--training-tokens",),
    "--bpb": ("--codec-bpb", "--original-bytes", "--training-bytes", "--bytes-per-token"),
    "--codec-bpb": ("--bpb",),
    "--original-bytes": ("--bpb",),
}
"""Option -> options of which it needs one: nothing would follow from it alone."""


def _check(given: dict[str, float]) -> None:
    for name, value in given.items():
        if not 0 < value < float("inf"):
            raise UsageError(f"{name} is {value}: give a number above 0")
        if not SMALLEST <= value <= LARGEST:
            raise UsageError(f"{name} is {value}: give a number from {SMALLEST} to {LARGEST}")
        if name in WHOLE and value != int(value):
            raise UsageError(f"{name} is {value}: give a whole number")
    if given and "--parameters" not in given:
        raise UsageError(f"{next(iter(given))} describes a model by numbers: give its --parameters too")
    for name, others in NEEDS.items():
        if name in given and not any(other in given for other in others):
            raise UsageError(f"nothing follows from {name} alone: give {' or '.join(others)} too, or leave it out")
    if "--training-bytes" in given and "--bytes-per-token" in given:
        raise UsageError("--training-bytes and --bytes-per-token both say how large the text is: leave one out")


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


Column = tuple[str, "Callable[[ModelAccount], str]"]


def _tables(accounts: "list[ModelAccount]") -> "Iterable[Table]":
    """Those of the four tables that have something to show."""

    def has(key: str) -> "list[ModelAccount]":
        return [entry for entry in accounts if getattr(entry, key) is not None]

    yield _table(
        "Parameters",
        [entry for entry in accounts if entry.facts.parameter_count],
        ("number", lambda a: _count(a.facts.parameter_count)),
        *((name, lambda a, name=name: _size(a.nominal_bytes[name])) for name in ("fp32", "bf16", "int8")),
        ("as\nstored", lambda a: _size(a.facts.parameter_bytes)),
        ("after\nzstd -19", lambda a: _size(a.facts.zstd_bytes)),
        ("receiver\nholds", lambda a: _size(_held(a.facts))),
        caption=f"receiver holds: {WITHOUT_DECODER}.",
    )
    if trained := has("training_ratio"):
        yield _table(
            "Training as a zip file",
            trained,
            ("text", lambda a: _size(a.facts.training_bytes)),
            ("/ para-\nmeters", lambda a: _ratio(a.training_ratio)),
            ("bits a\nparam.", lambda a: _figure(a.text_bits_per_parameter, ".0f")),
            ("lossless", lambda a: _size(a.two_part_bytes)),
            ("text /\nlossless", lambda a: _ratio(a.two_part_ratio)),
            ("word for\nword", lambda a: _size(a.verbatim_bytes)),
            ("of the\ntext", lambda a: _figure(a.verbatim_share, ".2%")),
            caption="lossless: parameters, and the training text coded with them. word for word: the most that the "
            "parameters can hold, at 3.6 bits each.",
        )
    if logged := has("prequential_bytes"):
        yield _table(
            "Training as a prequential code",
            logged,
            ("text", lambda a: _size(_coded_once(a.facts))),
            ("coded", lambda a: _size(a.prequential_bytes)),
            ("bits per\nbyte", lambda a: _figure(a.prequential_bits_per_byte, ".3f")),
            ("text /\ncoded", lambda a: _ratio(_quotient(_coded_once(a.facts), a.prequential_bytes))),
            caption="Every batch coded before it was learnt. No parameters are sent: a receiver repeats the training.",
        )
    measured = [entry for entry in accounts if entry.facts.bits_per_byte is not None]
    measured = [entry for entry in measured if entry.adjusted_bits_per_byte or entry.facts.codec_bits_per_byte]
    if measured:
        yield _table(
            "On a text, parameters counted",
            measured,
            ("text", lambda a: f"{shown(a.facts.file or '-')}"),
            ("bits per\nbyte", lambda a: _figure(a.facts.bits_per_byte, ".3f")),
            ("total", lambda a: _size(a.total_bytes)),
            ("adjusted", lambda a: _figure(a.adjusted_bits_per_byte, ",.3f")),
            ("codec", _codec),
            ("break-\neven", _break_even),
            caption="total, adjusted: with what the receiver holds. break-even: from that many bytes of such text "
            "on the model is smaller than the codec, what it holds counted.",
        )


def _table(heading: str, accounts: "list[ModelAccount]", *columns: Column, caption: str | None = None) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(
        title=heading,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        caption=caption,
        caption_justify="left",
        pad_edge=False,
        padding=(0, 0, 0, 1),
    )
    table.add_column("model", overflow="fold", min_width=8)
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for entry in accounts:
        table.add_row(shown(entry.facts.name), *(show(entry) for _, show in columns))
    return table


def _sources(facts: "ModelFacts") -> str:
    """Where a published model's figures are from."""
    return f"{shown(facts.name)}: " + "; ".join(f"{name}: {source}" for name, source in facts.sources.items())


def _held(facts: "ModelFacts") -> int:
    return facts.parameter_bytes if facts.receiver_bytes is None else facts.receiver_bytes


def _coded_once(facts: "ModelFacts") -> float | None:
    """The text that the prequential code is of."""
    return facts.prequential_text_bytes or facts.training_bytes


def _break_even(entry: "ModelAccount") -> str:
    if entry.facts.bits_per_byte is None or entry.facts.codec_bits_per_byte is None:
        return "-"
    return "never" if entry.break_even_bytes is None else _size(entry.break_even_bytes)


def _codec(entry: "ModelAccount") -> str:
    """With its bits per byte."""
    rate = _figure(entry.facts.codec_bits_per_byte, ".3f")
    return rate if rate == "-" else f"{shown(entry.facts.codec or '')} {rate}"


def _quotient(dividend: float | None, divisor: float | None) -> float | None:
    return dividend / divisor if dividend is not None and divisor else None


def _size(value: float | None) -> str:
    """Bytes with three digits and a decimal prefix: 140 GB."""
    return _short(value, ("TB", "GB", "MB", "KB", "B"))


def _count(value: float | None) -> str:
    """How many, likewise: 7.00 B are seven thousand millions."""
    return _short(value, ("T", "B", "M", "K", ""))


def _short(value: float | None, units: tuple[str, str, str, str, str]) -> str:
    if value is None:
        return "-"
    for unit, prefix in zip((1e12, 1e9, 1e6, 1e3), units, strict=False):
        if value >= 0.9995 * unit:
            scaled = value / unit
            if scaled >= 999.5:
                return f"{value:.1e}"
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {prefix}"
    return f"{value:.0f} {units[-1]}".rstrip()


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{_figure(value, ',.1f')} x"


def _figure(value: float | None, form: str) -> str:
    """Of at most nine characters: what would be longer is written as a power of ten."""
    if value is None:
        return "-"
    text = format(value, form)
    return text if len(text) <= LONGEST_FIGURE else f"{value:.1e}"
