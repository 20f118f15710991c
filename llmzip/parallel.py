"""Work spread over threads, with results in order: how many threads there are shows in nothing but the time.

Worth it for work that leaves Python's lock alone: compiled kernels, zstd, the tokenizer. Imports nothing of ours;
everything may import it.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(function: Callable[[Item], Result], items: Iterable[Item], at_once: int) -> Iterator[Result]:
    """``function`` of every item, in the order of the items, ``at_once`` of them at the same time.

    Items are taken late: never more than twice ``at_once`` are at work or wait for one before them.
    """
    if at_once <= 1:
        yield from map(function, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor  # 10 ms that a small file need not wait for

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            for item in items:
                if len(waiting) == 2 * at_once:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items; each is made in another thread while the one before it is in use."""
    from concurrent.futures import ThreadPoolExecutor

    iterator = iter(items)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(lambda: list(islice(iterator, 1)))
        while found := following.result():
            following = pool.submit(lambda: list(islice(iterator, 1)))
            yield found[0]
