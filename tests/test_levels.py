"""The levels: complete, in order, and what ``llmzip models --pareto`` says of them."""

from pathlib import Path

import pytest

from llmzip.levels import DEFAULT_LEVEL, LEVELS, Level, Measurement, is_on_front, read_measurements
from llmzip.predictors import ADAPTIVE, DEFAULT_RUNG, embedded_rungs

EMBEDDED = {ADAPTIVE, *(card.name for card in embedded_rungs())}


def test_there_are_nine_levels_and_the_default_is_the_default_model() -> None:
    assert list(LEVELS) == list(range(1, 10))
    assert LEVELS[DEFAULT_LEVEL] == Level(DEFAULT_RUNG)
    assert LEVELS[1] == Level(ADAPTIVE)


def test_levels_name_embedded_models_from_small_to_large() -> None:
    if len(EMBEDDED) < 3:
        pytest.skip("the embedded models are not in this checkout")
    assert {level.predictor for level in LEVELS.values()} <= EMBEDDED
    sizes = {ADAPTIVE: 0} | {card.name: card.parameter_count for card in embedded_rungs()}
    order = [(sizes[level.predictor], level.stream_tokens) for level in LEVELS.values()]
    assert order == sorted(order)


def test_every_level_was_measured_and_stronger_ones_are_smaller() -> None:
    report = read_measurements()
    by_level = {number: one for one in report.measurements for number in one.levels}
    assert set(by_level) == {number for number, level in LEVELS.items() if level.predictor in EMBEDDED}
    sizes = [by_level[number].bits_per_byte for number in sorted(by_level)]
    assert sizes == sorted(sizes, reverse=True)
    assert report.texts and report.machine and report.python and report.numpy
    assert not any("/" in name for name in report.texts)


def test_measurements_begin_with_the_fastest() -> None:
    speeds = [one.decompress_kb_per_second for one in read_measurements().measurements]
    assert speeds == sorted(speeds, reverse=True)


def test_the_front_holds_what_nothing_beats() -> None:
    def made(bits: float, speed: float) -> Measurement:
        return Measurement(Level("x"), bits, 1.0, speed, 0)

    fast, strong, beaten = made(3.0, 100.0), made(1.0, 1.0), made(2.0, 1.0)
    assert [is_on_front(one, [fast, strong, beaten]) for one in (fast, strong, beaten)] == [True, True, False]


def test_the_measurements_ship_with_the_package() -> None:
    import llmzip

    assert (Path(llmzip.__file__).parent / "levels.json").exists()
