"""Work on threads: in order, late, bounded, and errors come through."""

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip.parallel import ahead, in_order, usable_cores


@given(items=st.lists(st.integers(0, 3), max_size=20), at_once=st.integers(0, 5))
def test_results_stand_in_the_order_of_the_items(items: list[int], at_once: int) -> None:
    def work(item: int) -> int:
        time.sleep(item / 5000)
        return item * 2

    assert list(in_order(work, items, at_once)) == [item * 2 for item in items]
    assert list(ahead(items)) == items


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_items_are_taken_late(at_once: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(50):
            taken += 1
            yield item

    for done, item in enumerate(in_order(lambda item: item, items(), at_once)):
        assert done == item and taken <= item + 1 + 2 * at_once


def test_as_many_work_at_once_as_are_allowed() -> None:
    barrier = threading.Barrier(2, timeout=30)
    assert list(in_order(lambda item: barrier.wait() * 0 + item, range(4), 2)) == [0, 1, 2, 3]


@pytest.mark.parametrize("at_once", [1, 3])
def test_errors_come_through(at_once: int) -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    found = []
    with pytest.raises(ValueError, match="two"):
        for result in in_order(work, range(9), at_once):
            found.append(result)
    assert found == [0, 1]

    def items() -> Iterator[int]:
        yield 1
        raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        list(ahead(items()))


def test_there_is_a_core() -> None:
    assert usable_cores() >= 1


def test_work_goes_on_where_the_system_gives_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert list(in_order(lambda item: item * 2, range(9), 3)) == [item * 2 for item in range(9)]
    assert list(ahead(range(9))) == list(range(9))
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda item: 1 // item, range(3), 2))
