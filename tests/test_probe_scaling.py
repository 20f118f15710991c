"""The scaling law: parameters that are known come back, and what rows leave open is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llmzip.errors import UsageError
from llmzip.probes.record import Finding
from llmzip.probes.scaling import measure, read_rows

TRUTH = {"E": 1.81722, "A": 477.83, "B": 2143.42, "alpha": 0.34731, "beta": 0.36717}


def table(sizes: NDArray[np.float64], tokens: NDArray[np.float64], noise: float = 0.0, seed: int = 0) -> bytes:
    losses = TRUTH["E"] + TRUTH["A"] / sizes ** TRUTH["alpha"] + TRUTH["B"] / tokens ** TRUTH["beta"]
    losses = losses * np.exp(noise * np.random.default_rng(seed).standard_normal(len(losses)))
    lines = [
        f"{n!r},{d!r},{loss!r}" for n, d, loss in zip(sizes.tolist(), tokens.tolist(), losses.tolist(), strict=True)
    ]
    return "\n".join(["parameters,tokens,loss", *lines]).encode()


def grid(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n, d = np.meshgrid(np.geomspace(1e6, 1e8, count), np.geomspace(1e8, 1e10, count))
    return n.ravel(), d.ravel()


def values(found: Finding) -> dict[str, float | None]:
    return {figure.name: figure.value for figure in found.figures}


@pytest.mark.parametrize("count", [3, 5, 8])
def test_known_parameters_come_back(count: int) -> None:
    found = values(measure(table(*grid(count)), "grid", draws=20))
    for name, value in TRUTH.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name
    assert found["objective"] == pytest.approx(0, abs=1e-20)


def test_with_noise_the_intervals_hold_the_truth_as_the_study_found() -> None:
    for seed in range(4):
        found = measure(table(*grid(5), noise=0.002, seed=seed), "grid", draws=100)
        alpha = next(figure for figure in found.figures if figure.name == "alpha")
        assert alpha.value == pytest.approx(TRUTH["alpha"], abs=0.015)
        assert alpha.low is not None and alpha.high is not None and alpha.low <= alpha.value <= alpha.high


def test_predictions_are_the_law_and_doubling_is_solved() -> None:
    found = measure(table(*grid(4)), "grid", at=((1e9, 1e12),), draws=20)
    loss = TRUTH["E"] + TRUTH["A"] / 1e9 ** TRUTH["alpha"] + TRUTH["B"] / 1e12 ** TRUTH["beta"]
    assert values(found)["loss at N 1e+09, D 1e+12"] == pytest.approx(loss, rel=1e-6)
    times = values(found)["times the data that equal doubling N"]
    assert times is not None
    gained = TRUTH["A"] * (1e8 ** -TRUTH["alpha"] - 2e8 ** -TRUTH["alpha"])
    by_data = TRUTH["B"] * (1e10 ** -TRUTH["beta"] - (times * 1e10) ** -TRUTH["beta"])
    assert by_data == pytest.approx(gained, rel=1e-4)


def test_the_order_of_rows_changes_nothing() -> None:
    head, *lines = table(*grid(4), noise=0.01).split(b"\n")
    one = measure(b"\n".join([head, *lines]), "grid", draws=20)
    other = measure(b"\n".join([head, *reversed(lines)]), "grid", draws=20)
    assert values(one) == values(other)


def test_runs_are_drawn_whole() -> None:
    """Eight checkpoints of each run are no eight runs: the interval is as wide as with one."""
    sizes, tokens = grid(4)
    head, *lines = table(sizes, tokens, noise=0.01).decode().split("\n")
    once = measure(
        "\n".join([head + ",run", *(f"{line},{i}" for i, line in enumerate(lines))]).encode(), "x", draws=200
    )
    many = measure(
        "\n".join([head + ",run", *(f"{line},{i}" for i, line in enumerate(lines) for _ in range(8))]).encode(),
        "x",
        draws=200,
    )
    widths = [next(f.high - f.low for f in found.figures if f.name == "alpha") for found in (once, many)]  # type: ignore[operator]
    assert widths[1] == pytest.approx(widths[0], rel=0.4)


def test_a_line_is_refused() -> None:
    sizes = np.geomspace(1e6, 1e9, 8)
    with pytest.raises(UsageError, match=r"on a line.*Add runs off the line"):
        measure(table(sizes, 20 * sizes), "line", draws=20)


def test_one_amount_of_data_gives_one_exponent() -> None:
    sizes = np.geomspace(1e6, 1e9, 8)
    found = measure(table(sizes, np.full(8, 3e11)), "pythia-like", draws=20)
    assert values(found)["alpha"] == pytest.approx(TRUTH["alpha"], abs=1e-4)
    beta = next(figure for figure in found.figures if figure.name == "beta")
    assert beta.value is None and "add runs of other D" in beta.note
    assert not any(name.startswith("loss at") for name in values(found))


def test_few_rows_and_few_values_are_refused() -> None:
    sizes, tokens = grid(2)
    with pytest.raises(UsageError, match="4 rows"):
        measure(table(sizes, tokens), "few", draws=20)
    with pytest.raises(UsageError, match="identify nothing"):
        measure(table(np.repeat(sizes, 2), np.repeat(tokens, 2)), "few", draws=20)


def test_noise_alone_is_refused() -> None:
    sizes, tokens = grid(4)
    rng = np.random.default_rng(5)
    rows = [f"{n!r},{d!r},{2 + rng.random()!r}" for n, d in zip(sizes.tolist(), tokens.tolist(), strict=True)]
    with pytest.raises(UsageError, match="open"):
        measure("\n".join(["parameters,tokens,loss", *rows]).encode(), "noise", draws=20)


def test_tables_of_other_forms_and_names() -> None:
    (row,) = read_rows(b"Model Size\tTraining FLOP\tloss\n100\t60000\t3", "x")
    assert (row.parameters, row.tokens, row.loss) == (100, 100, 3)
    assert read_rows(b'[{"N": 100, "D": 100, "bits_per_byte": 3}]', "x") == [row]
    assert read_rows(b'{"params": 100, "tokens": 100, "loss": 3}\n', "x") == [row]
    for wrong in (
        b"\xff\xfe",
        b"[1]",
        b"[{",
        b"parameters,tokens,loss\n1,2,nan",
        b"parameters,tokens\n1,2",
        b"parameters,tokens,loss\n1,-2,3",
        b"parameters,tokens,loss\n1,2",
        b"[" * 5000,
    ):
        with pytest.raises(UsageError, match="^x"):
            read_rows(wrong, "x")


@pytest.mark.skipif(
    "LLMZIP_CHINCHILLA_CSV" not in os.environ,
    reason="LLMZIP_CHINCHILLA_CSV names no svg_extracted_data.csv, whose repository has no licence",
)
def test_the_chinchilla_refit() -> None:
    data = Path(os.environ["LLMZIP_CHINCHILLA_CSV"]).read_bytes()
    found = measure(data, "svg_extracted_data.csv", drop_highest=5)
    for name, value in {**TRUTH, "objective": 0.001018274018}.items():
        assert values(found)[name] == pytest.approx(value, rel=2e-5 if name in TRUTH else 1e-8), name
    intervals = {figure.name: (figure.low, figure.high) for figure in found.figures}
    for name, ends in {"E": (1.771, 1.869), "alpha": (0.317, 0.372), "beta": (0.332, 0.414)}.items():
        assert intervals[name] == pytest.approx(ends, abs=0.006), name
