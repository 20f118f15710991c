"""The one home for reading documents: JSON and TOML into typed records that hold no value that cannot be.

A record is a frozen dataclass whose annotations say what a field may be (``Count``, ``Size``, ... below); msgspec
compares them. Refused with one line that names the file and the field: text for a number, NaN and infinities, numbers
beyond 64 bits, negative sizes, a key that stands twice, nesting without end, bytes that are not UTF-8, and, where
``closed``, a field that the record does not know or lacks. What contradicts what is for each record's own module to
say. Writes nothing. May import ``errors``; every other module may import it.
"""

import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec
from msgspec import Meta

from llmzip.errors import DocumentError, LlmzipError, UsageError
from llmzip.sources import read_regular

Record = TypeVar("Record")

LARGEST_WHOLE = (1 << 63) - 1
"""Of whole numbers: what 64 bits hold."""
LARGEST_DOCUMENT_BYTES = 1 << 28
"""Of a file; more is not read."""
MOST_LEVELS = 64
"""Of lists and tables in each other."""

Count = Annotated[int, Meta(ge=0, le=LARGEST_WHOLE)]
Size = Annotated[int, Meta(ge=1, le=LARGEST_WHOLE)]
Whole = Annotated[int, Meta(ge=-LARGEST_WHOLE, le=LARGEST_WHOLE)]
NotNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Name = Annotated[str, Meta(min_length=1)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Header:
    """What the documents of llmzip begin with: their kind, and which form of it."""

    schema: str
    version: int

    def __str__(self) -> str:
        return f"{self.schema} {self.version}"


RESTORE = "restore it, or make it again"


def decode(
    data: bytes,
    record_type: type[Record],
    where: str,
    *,
    form: Literal["json", "toml"] = "json",
    closed: bool = False,
    remedy: str = RESTORE,
    error: type[LlmzipError] = DocumentError,
) -> Record:
    """A document as a record. Raises ``error``: "WHERE: FIELD: what is wrong: REMEDY".

    where: what the message calls the document, such as its path; closed: whether a field that ``record_type`` does
    not know is refused, and one that the document lacks although it would not be None; remedy: what to do about it.
    """
    try:
        return _as_record(_parsed(data, form), record_type, closed)
    except _WrongError as wrong:
        raise error(f"{where}: {wrong}: {remedy}") from None


def convert(
    tree: Any,
    record_type: type[Record],
    where: str,
    *,
    remedy: str = RESTORE,
    error: type[LlmzipError] = DocumentError,
) -> Record:
    """What ``decode`` makes of a document whose tree is there already, such as a table of another one."""
    try:
        return _as_record(tree, record_type, closed=False)
    except _WrongError as wrong:
        raise error(f"{where}: {wrong}: {remedy}") from None


def read(
    path: Path,
    record_type: type[Record],
    *,
    form: Literal["json", "toml"] = "json",
    closed: bool = False,
    remedy: str = RESTORE,
    error: type[LlmzipError] = DocumentError,
) -> Record:
    """The file as a record, as ``decode`` has it. Raises ``error``, also where it cannot be read."""
    data = read_bytes(path, remedy=remedy, error=error)
    return decode(data, record_type, str(path), form=form, closed=closed, remedy=remedy, error=error)


def read_lines(path: Path, record_type: type[Record], *, remedy: str = RESTORE) -> list[Record]:
    """A file with a JSON document on every line. Raises DocumentError, which names the line."""
    lines = read_bytes(path, remedy=remedy).splitlines()
    return [decode(line, record_type, f"{path}, line {n}", remedy=remedy) for n, line in enumerate(lines, 1)]


def read_bytes(path: Path, *, remedy: str = RESTORE, error: type[LlmzipError] = DocumentError) -> bytes:
    """What a regular file holds, up to ``LARGEST_DOCUMENT_BYTES``: a pipe would be waited for."""
    try:
        data = read_regular(path, LARGEST_DOCUMENT_BYTES + 1)
    except OSError as problem:
        raise error(f"{path} cannot be read ({problem.strerror}): {remedy}") from None
    except UsageError as problem:
        raise error(f"{path} cannot be read ({problem})") from None
    if len(data) > LARGEST_DOCUMENT_BYTES:
        raise error(f"{path} is larger than any such document ({LARGEST_DOCUMENT_BYTES:,} bytes): {remedy}")
    return data


class _WrongError(Exception):
    """What is wrong with a document, and in which field."""


def _parsed(data: bytes, form: str) -> Any:
    """The tree of a document, without what none should hold."""
    try:
        text = data.decode("utf-8")
        if form == "toml":
            tree = tomllib.loads(text, parse_float=_finite)
        else:
            tree = json.loads(
                text, object_pairs_hook=_once, parse_int=_whole, parse_float=_finite, parse_constant=_refuse_constant
            )
    except UnicodeDecodeError:
        raise _WrongError("it is not UTF-8") from None
    except RecursionError:
        raise _WrongError("it is nested too deeply") from None
    except ValueError as problem:
        raise _WrongError(f"it is no {form.upper()} that can be read ({problem})") from None
    if _levels(tree) > MOST_LEVELS:
        raise _WrongError("it is nested too deeply")
    return tree


def _levels(tree: Any) -> int:
    """How deep the tree is, as far as MOST_LEVELS and one more."""
    level, count = [tree], 0
    while level and count <= MOST_LEVELS:
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        count += 1
    return count


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} stands twice in one table")
    return found


def _whole(text: str) -> int:
    if len(text) > 20 or abs(number := int(text)) > LARGEST_WHOLE:
        raise ValueError(f"the number {text[:24]} is too large")
    return number


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"{text[:24]} is no finite number")
    return number


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _as_record(tree: Any, record_type: type[Record], closed: bool) -> Record:
    try:
        record = msgspec.convert(tree, record_type)
        field, what = _difference(tree, asdict(cast(Any, record))) if closed else ("", "")
    except msgspec.ValidationError as problem:
        what, _, path = _plain(problem).partition(" - at ")
        field = _named(tree, record_type, path, what)
    except UnicodeEncodeError:  # msgspec compares names as UTF-8
        raise _WrongError("it has half of a surrogate pair where a name is expected") from None
    except RecursionError:
        raise _WrongError("it is nested too deeply") from None
    if what:
        raise _WrongError(f"{field}: {what}" if field else what)
    return record


def _plain(problem: msgspec.ValidationError) -> str:
    text = str(problem).replace("`", "")
    return text[:1].lower() + text[1:]


def _named(tree: Any, record_type: Any, path: str, what: str) -> str:
    """The field that msgspec means: it writes ``[...]`` for a key of a table, which is found by leaving others out."""
    path = path.removeprefix("key in ").removeprefix("$")
    while "[...]" in path:
        before, _, after = path.partition("[...]")
        key = next((key for key in _at(tree, before) if _is_wrong(tree, record_type, before, key, what)), "?")
        path = f"{before}[{json.dumps(key, ensure_ascii=False)}]{after}"
        if key == "?":
            break
    return path.removeprefix(".")


def _steps(path: str) -> list[Any]:
    """``.a[0]["b"]`` as ["a", 0, "b"]."""
    steps: list[Any] = []
    decoder = json.JSONDecoder()
    while path:
        if path.startswith("."):
            end = min((place for place in (path.find(".", 1), path.find("[")) if place > 0), default=len(path))
            steps.append(path[1:end])
        else:
            step, end = decoder.raw_decode(path, 1)
            steps.append(step)
            end += 1
        path = path[end:]
    return steps


def _at(tree: Any, path: str) -> Any:
    for step in _steps(path):
        tree = tree[step]
    return tree


def _is_wrong(tree: Any, record_type: Any, path: str, key: str, what: str) -> bool:
    """Whether the document with only this key in the table at ``path`` is wrong in the same way."""
    only = _replaced(tree, _steps(path), key)
    try:
        msgspec.convert(only, record_type)
    except msgspec.ValidationError as problem:
        return _plain(problem).partition(" - at ")[0] == what
    except UnicodeEncodeError:
        pass
    return False


def _replaced(tree: Any, steps: list[Any], key: str) -> Any:
    """A copy in which the table at ``steps`` has this key alone."""
    if not steps:
        return {key: tree[key]}
    first, *rest = steps
    changed = tree.copy()
    changed[first] = _replaced(tree[first], rest, key)
    return changed


def _difference(tree: Any, record: Any, path: str = "") -> tuple[str, str]:
    """Where a document has a field that its record does not know, or lacks one that is not None: (field, what)."""
    if isinstance(tree, dict) and isinstance(record, dict):
        for key in tree.keys() | record.keys():
            place = f"{path}.{key}".removeprefix(".")
            if key not in record:
                return place, "is not a field of such a document"
            if key not in tree and record[key] is not None:
                return place, "is missing"
            if key in tree and (found := _difference(tree[key], record[key], place))[1]:
                return found
    if isinstance(tree, list) and isinstance(record, list | tuple):
        for index, (entry, own) in enumerate(zip(tree, record, strict=True)):
            if (found := _difference(entry, own, f"{path}[{index}]"))[1]:
                return found
    return "", ""
