"""Damaged documents: a seeded mutator of JSON and TOML texts, for every reader to refuse or to read as what it is."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

AWKWARD = [
    None, True, False, "", "x", "false", "true", "1", "-1", "NaN", "\udce9", "\0", "../x", 0, 1, -1, 2, 0.5, -0.5,
    1e308, -1e308, float("nan"), float("inf"), -float("inf"), 2**31, 2**53 + 1, 2**63 - 1, 2**63, 10**30, [], {}, [[]],
    {"": 0}, [1, 2, 3], {"x": None},
]  # fmt: skip
"""Values that stand where another was."""
TWICE = "\ue000"
"""Ends a key that is written a second time."""


def mutated(tree: Any, seed: int, *, form: str = "json") -> bytes:
    """The document with one to three faults."""
    rng = random.Random(seed)
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        tree = _changed(tree, rng)
    text = (_toml(tree) if form == "toml" else json.dumps(tree, indent=rng.choice((None, 1)))).replace(TWICE, "")
    data = text.replace("\\ue000", "").encode("utf-8", "surrogatepass")
    if rng.random() < 0.15:
        data = _damaged(data, rng)
    return data


def _places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from _places(value, (*path, key))


def _awkward(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(AWKWARD))


def _changed(tree: Any, rng: random.Random) -> Any:
    path = rng.choice(list(_places(tree)))
    if not path:
        return tree if rng.random() < 0.7 else _awkward(rng)
    at = tree
    for key in path[:-1]:
        at = at[key]
    key, value = path[-1], at[path[-1]]
    kind = rng.randrange(8)
    if kind == 0:
        del at[key]
    elif kind == 1 and isinstance(at, dict):
        at[f"{key}{TWICE}"] = rng.choice([value, _awkward(rng)])
    elif kind == 2 and isinstance(at, dict):
        at[rng.choice(["", "x", f"{key}s", "verifed", "\udce9"])] = at.pop(key)
    elif kind == 3 and isinstance(at, list):
        at.insert(rng.randrange(len(at) + 1), copy.deepcopy(rng.choice(at)))
    elif kind == 4 and isinstance(value, int | float) and not isinstance(value, bool):
        at[key] = rng.choice([-value, value + 1, value - 1, value * 2, value // 2, value / 3, str(value)])
    elif kind == 5:
        for _ in range(rng.choice((1, 50, 200)) if rng.random() < 0.3 else 1):
            value = [value] if rng.random() < 0.5 else {"x": value}
        at[key] = value
    else:
        at[key] = _awkward(rng)
    return tree


def _damaged(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return rng.choice(
        [
            data[:place],
            data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :],
            data[:place] + b"\xff" + data[place:],
            b"\xef\xbb\xbf" + data,
            data + data,
            b"[" * 50_000,
            b'{"a":' * 50_000,
            b"",
        ]
    )


def _toml(tree: Any) -> str:
    """As TOML as the tree allows: inline tables below the first."""
    if not isinstance(tree, dict):
        return _inline(tree)
    return "\n".join(f"{json.dumps(key)} = {_inline(value)}" for key, value in tree.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_inline(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, float) and value - value != 0:
        return "nan" if value != value else "inf" if value > 0 else "-inf"
    return json.dumps(value)
