"""Work spread over threads, with results in order: how many threads there are shows in nothing but the time.

Worth it for work that leaves Python's lock alone: compiled kernels, zstd, the tokenizer. Imports nothing of ours;
everything may import it.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(function: Callable[[Item], Result], items: Iterable[Item], at_once: int) -> Iterator[Result]:
    """``function`` of every item, in the order of the items, ``at_once`` of them at the same time.

    Items are taken late: never more than twice ``at_once`` are at work or wait for one before them. Where the system
    gives no threads, it goes on without.
    """
    if at_once <= 1:
        yield from map(function, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor  # 10 ms that a small file need not wait for

    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(at_once)
    try:
        for item in items:
            if len(waiting) == 2 * at_once:
                yield waiting.popleft().result()
            waiting.append(begun(pool, function, item))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # an exception, such as Ctrl-C, waits for nobody


def begun(pool: "Executor", function: Callable[[Item], Result], item: Item) -> "Future[Result]":
    """The work given to the pool, or done here where the system gives no thread."""
    from concurrent.futures import Future

    try:
        return pool.submit(function, item)
    except RuntimeError:
        done: Future[Result] = Future()
        try:
            done.set_result(function(item))
        except Exception as error:
            done.set_exception(error)
        return done


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items; each is made in another thread while the one before it is in use."""
    from concurrent.futures import ThreadPoolExecutor

    iterator = iter(items)
    with ThreadPoolExecutor(1) as pool:
        try:
            following = pool.submit(lambda: list(islice(iterator, 1)))
        except RuntimeError:  # the system gives no thread
            yield from iterator
            return
        while found := following.result():
            following = pool.submit(lambda: list(islice(iterator, 1)))
            yield found[0]
