"""``llmzip account`` as people and scripts meet it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import llmzip
from llmzip.bench.known_models import published_models
from llmzip.cli.account import _count, _size
from llmzip.cli.app import app
from llmzip.cli.messages import WITHOUT_DECODER
from llmzip.cli.numbers import parse_bytes, parse_count
from llmzip.errors import UsageError
from llmzip.predictors import embedded_rungs

ROOT = Path(llmzip.__file__).parents[1]
LLAMA = ("--parameters", "70e9", "--training-bytes", "10e12", "--training-tokens", "2e12", "--loss", "1.5")


def invoke(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, ["account", *arguments])


def test_a_published_model_fits_eighty_columns() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    names = ["Llama 2 70B", "rwkv-4 169m"]
    command = [sys.executable, "-m", "llmzip", "account", *names]
    found = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, timeout=60)
    assert (found.returncode, found.stderr) == (0, "")
    assert max(map(len, found.stdout.splitlines())) <= 80
    words = " ".join(found.stdout.split())
    for part in (
        "140 GB",
        "71.4 x",
        "1143",
        "681 GB",
        "14.7 x",
        "31.5 GB",
        "0.32%",
        "2.436",
        "2.17 GB",
        "figure 5 of Touvron",
    ):
        assert part in words, part


def test_without_names_everything_is_shown() -> None:
    found = json.loads(invoke("--json").stdout)
    names = [entry["facts"]["name"] for entry in found]
    assert names == [*(rung.name for rung in embedded_rungs()), *(facts.name for facts in published_models())]


def test_a_model_by_numbers_is_accounted_for_like_the_published_one() -> None:
    (given,) = json.loads(invoke(*LLAMA, "--json").stdout)
    (published,) = json.loads(invoke("Llama 2 70B", "--json").stdout)
    given.pop("facts"), published.pop("facts")
    assert given == published


def test_tokens_and_their_size_give_the_text() -> None:
    text = ("--training-tokens", "1e8", "--bytes-per-token", "4", "--original-bytes", "1e6")
    model = ("--parameters", "1e6", "--bytes-per-parameter", "4", "--receiver-bytes", "5e6")
    (found,) = json.loads(invoke(*text, *model, "--bpb", "1.0", "--codec-bpb", "2.0", "--json").stdout)
    assert found["training_ratio"] == 100.0
    assert found["two_part_bytes"] == 4e6 + 4e8 / 8
    assert found["break_even_bytes"] == 8 * 5e6
    assert found["adjusted_bits_per_byte"] == 8 * (125_000 + 5e6) / 1e6
    never = invoke("--parameters", "1e6", "--bpb", "2.0", "--codec-bpb", "2.0")
    assert "never" in never.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bpb", "1"), "give its --parameters too"),
        (("--parameters", "0"), "give a number above 0"),
        (("--parameters", "1e6", "--loss", "-1"), "--loss is -1"),
        (("--parameters", "nan"), "give a number above 0"),
        (("--parameters", "inf"), "give a number above 0"),
        (("--parameters", "1e31"), "give a number from 1e-30 to 1e+30"),
        (("--parameters", "1e6", "--bytes-per-parameter", "1e-31"), "give a number from 1e-30 to 1e+30"),
        (("--parameters", "1.5"), "--parameters is 1.5: give a whole number"),
        (("--parameters", "1e6", "--receiver-bytes", "0.5"), "--receiver-bytes is 0.5: give a whole number"),
        (("--bytes-per-parameter", "1"), "give its --parameters too"),
        (("--parameters", "9", "--training-tokens", "1e9"), "give --loss or --bytes-per-token too"),
        (("--parameters", "9", "--training-bytes", "9", "--bytes-per-token", "4"), "give --training-tokens too"),
        (("--parameters", "9", "--loss", "1.5"), "give --training-tokens too"),
        (("--parameters", "9", "--bpb", "1.5"), "nothing follows from --bpb alone"),
        (("--parameters", "9", "--codec-bpb", "1.5"), "give --bpb too"),
        (("--parameters", "9", "--original-bytes", "1e9"), "give --bpb too"),
        (("--parameters", "9", "--training-bytes", "8", "--training-tokens", "2", "--bytes-per-token", "4"),
         "both say how large the text is"),
    ],
)  # fmt: skip
def test_numbers_that_make_no_sense_are_refused(arguments: tuple[str, ...], message: str) -> None:
    found = invoke(*arguments)
    assert found.exit_code == 2
    assert message in found.stderr


NUMBERS = ("--parameters", "--training-bytes", "--training-tokens", "--original-bytes")
RATES = ("--loss", "--bpb", "--codec-bpb", "--bytes-per-parameter")


@pytest.mark.parametrize("number", ["1", "123456789", "1e15", "1e30"])
@pytest.mark.parametrize("rate", ["1e-30", "0.5", "12345.678", "1e30"])
@pytest.mark.parametrize("large", [NUMBERS[:1], NUMBERS[1:2], NUMBERS[3:], NUMBERS])
def test_no_number_is_too_large_for_eighty_columns(number: str, rate: str, large: tuple[str, ...]) -> None:
    arguments = [word for name in NUMBERS for word in (name, number if name in large else "7")]
    found = invoke(*arguments, *(word for name in RATES for word in (name, rate)))
    assert found.exit_code == 0
    assert max(map(len, found.stdout.splitlines())) <= 80
    assert "…" not in found.stdout
    json.loads(invoke(*arguments, *(word for name in RATES for word in (name, rate)), "--json").stdout)


def test_what_a_receiver_holds_is_said_in_the_same_words() -> None:
    for command in (["account", "nano"], ["models"], ["models", "--pareto"]):
        said = " ".join(CliRunner(env={"COLUMNS": "80"}).invoke(app, command).stdout.split())
        assert WITHOUT_DECODER in said, command


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (999.6, "1.00 KB"), (1234, "1.23 KB"), (99_950, "100 KB"),
     (140e9, "140 GB"), (999_900_000, "1.00 GB"), (2.5e12, "2.50 TB"),
     (999e12, "999 TB"), (9996e11, "1.0e+15"), (1e30, "1.0e+30")],
)  # fmt: skip
def test_sizes_have_three_digits(value: float | None, shown: str) -> None:
    assert _size(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (12, "12"), (350e6, "350 M"), (7e9, "7.00 B"), (2e12, "2.00 T")]
)
def test_counts_are_in_thousands_millions_and_so_on(value: float | None, shown: str) -> None:
    assert _count(value) == shown


@pytest.mark.parametrize(
    ("text", "value"),
    [("7B", 7e9), ("7b", 7e9), ("1.1B", 1_100_000_000), ("350M", 350e6), ("10 k", 1e4), ("2T", 2e12), ("7e9", 7e9),
     ("7_000", 7000), ("+3", 3), (".5K", 500)],
)  # fmt: skip
def test_counts_are_read_with_the_usual_suffixes(text: str, value: float) -> None:
    assert parse_count(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("14GB", 14e9), ("14 gb", 14e9), ("14G", 14e9), ("1KB", 1000), ("1kB", 1000), ("1KiB", 1024),
     ("1.5GiB", 1.5 * 2**30), ("2Mi", 2**21), ("7B", 7), ("10TB", 10e12), ("1e9", 1e9)],
)  # fmt: skip
def test_bytes_are_read_with_the_usual_units(text: str, value: float) -> None:
    assert parse_bytes(text) == value


@pytest.mark.parametrize("parse", [parse_count, parse_bytes])
@pytest.mark.parametrize("text", ["", "B", "7Q", "x7", "7 7", "1,5", "--", "7BB", "0x10", "7.7.7"])
def test_what_is_no_number_is_refused(text: str, parse: Callable[[str], float]) -> None:
    with pytest.raises(UsageError, match="is not a number: write it such as"):
        parse(text)


def test_suffixes_reach_the_account() -> None:
    words = ("--parameters", "70B", "--training-bytes", "10TB", "--training-tokens", "2T", "--loss", "1.5", "--json")
    assert json.loads(invoke(*words).stdout) == json.loads(invoke(*LLAMA, "--json").stdout)


def test_a_receiver_holds_at_least_the_parameters() -> None:
    refused = invoke("--parameters", "7B", "--receiver-bytes", "1")
    assert refused.exit_code == 2
    assert "less than the parameters alone, 14,000,000,000" in refused.stderr
    assert invoke("--parameters", "7B", "--receiver-bytes", "14GB").exit_code == 0
    assert invoke("--parameters", "7B", "--bytes-per-parameter", "0.5", "--receiver-bytes", "3.6GB").exit_code == 0
