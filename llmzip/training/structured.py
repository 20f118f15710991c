"""Structured text made by rule: records of random words as JSON, CSV, logs, markup, settings and SQL.

The shards hold hardly any. Words and sentences are taken from given texts, everything else from ``rng``, so that the
same seed gives the same text. Used for the memory's first state only, never for a model. Imports nothing of ours.
"""

import datetime
import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

KINDS = ("json", "json-lines", "csv", "tsv", "log", "xml", "html", "ini", "sql")

Record = dict[str, Any]


def make_structured(texts: list[str], size: int, rng: random.Random) -> str:
    """About ``size`` characters of records or log lines of one layout."""
    words = [word for text in texts for word in re.findall(r"[^\W\d_]{2,14}", text[:20_000])[:600]] or ["word"]
    sentences = [part.strip() for text in texts for part in re.split(r"[.\n]", text[:20_000]) if 10 < len(part) < 120]
    kind = rng.choice(KINDS)
    records = _records(words, sentences or words, rng)
    if kind == "json":
        indent = rng.choice([None, 1, 2, 4])
        return _document(records, size, lambda rows: json.dumps(rows, indent=indent, ensure_ascii=len(rows) % 2 == 0))
    lines = _log_lines(words, rng) if kind == "log" else (_line(kind, record) for record in records)
    kept: list[str] = []
    while sum(map(len, kept)) < size:
        kept.append(next(lines))
    if kind in ("csv", "tsv"):
        kept.insert(0, _line(kind, {key: key for key in next(records)}))
    return "\n".join(kept)[:size]


def _document(records: Iterator[Record], size: int, render: Callable[[list[Record]], str]) -> str:
    kept, length = [], 0
    while length < size:
        kept.append(next(records))
        length += len(json.dumps(kept[-1]))
    return render(kept)[:size]


def _records(words: list[str], sentences: list[str], rng: random.Random) -> Iterator[Record]:
    """Records of three to eight fields; a field has one kind of value throughout."""
    names = sorted({rng.choice(words).lower() + rng.choice(["", "_id", "_name", "Type", "At"]) for _ in range(8)})
    names = rng.sample(names, rng.randrange(min(3, len(names)), len(names) + 1))
    kinds = [rng.choice(["number", "choice", "word", "sentence", "date", "real", "hex", "flag", "serial", "time"])
             for _ in names]  # fmt: skip
    choices = [rng.sample(words, min(len(words), rng.randrange(2, 9))) for _ in names]
    moment = datetime.datetime(2000 + rng.randrange(26), rng.randrange(1, 13), rng.randrange(1, 28))
    scale, digits, step, serial = 10 ** rng.randrange(1, 6), rng.choice([4, 8, 16, 32]), rng.choice([9, 600, 40_000]), 1
    separator, nested = rng.choice(" T"), rng.random() < 0.3
    while True:
        moment += datetime.timedelta(seconds=rng.randrange(1, step))
        serial += rng.choice([1, 1, 1, 2])
        make: dict[str, Callable[[int], Any]] = {
            "number": lambda i: rng.randrange(scale),
            "choice": lambda i: rng.choice(choices[i]),
            "word": lambda i: rng.choice(words),
            "sentence": lambda i: rng.choice(sentences),
            "date": lambda i, moment=moment: str((moment + datetime.timedelta(days=rng.randrange(400))).date()),  # type: ignore[misc]
            "real": lambda i: round(rng.random() * scale, 2),
            "hex": lambda i: f"{rng.getrandbits(4 * digits):0{digits}x}",
            "flag": lambda i: rng.random() < 0.3,
            "serial": lambda i, serial=serial: serial,  # type: ignore[misc]
            "time": lambda i, moment=moment: moment.isoformat(sep=separator),  # type: ignore[misc]
        }
        record = {name: make[kind](i) for i, (name, kind) in enumerate(zip(names, kinds, strict=True))}
        yield {"id": serial, "value": record, "tags": rng.sample(words, rng.randrange(4))} if nested else record


def _line(kind: str, record: Record) -> str:
    if kind in ("csv", "tsv"):
        mark = "," if kind == "csv" else "\t"
        return mark.join(f'"{value}"' if mark in str(value) else str(value) for value in record.values())
    if kind == "xml":
        return "<row>\n" + "".join(f"  <{key}>{value}</{key}>\n" for key, value in record.items()) + "</row>"
    if kind == "html":
        return "<tr>" + "".join(f"<td>{value}</td>" for value in record.values()) + "</tr>"
    if kind == "ini":
        return f"[{next(iter(record.values()))}]\n" + "".join(f"{key} = {value}\n" for key, value in record.items())
    if kind == "sql":
        values = ", ".join(f"'{value}'" if isinstance(value, str) else str(value) for value in record.values())
        return f"INSERT INTO t ({', '.join(record)}) VALUES ({values});"
    return json.dumps(record, ensure_ascii=False)


def _log_lines(words: list[str], rng: random.Random) -> Iterator[str]:
    """A server's log: time, level, service, one of a few messages with numbers in it."""
    services = [rng.choice(words).lower() + rng.choice(["", "d", "-service"]) for _ in range(4)]
    messages = [" ".join(rng.choice(words).lower() for _ in range(rng.randrange(2, 7))) for _ in range(12)]
    moment = datetime.datetime(2000 + rng.randrange(26), rng.randrange(1, 13), rng.randrange(1, 28))
    style, step, host = rng.randrange(4), rng.choice([3, 60, 3600]), rng.choice(words).lower()
    while True:
        moment += datetime.timedelta(seconds=rng.randrange(step), milliseconds=rng.randrange(1000))
        level = rng.choices(["INFO", "DEBUG", "WARN", "ERROR"], [8, 4, 2, 1])[0]
        service, address = rng.choice(services), f"10.{rng.randrange(3)}.{rng.randrange(5)}.{rng.randrange(256)}"
        message = rng.choice(messages) + rng.choice(
            [f" id={rng.randrange(100_000)}", f" {rng.choice(words)}", "", f" took {rng.randrange(500)} ms"]
        )
        if style == 0:
            yield f"{moment:%Y-%m-%d %H:%M:%S} {level} [{service}] {host}: {message}"
        elif style == 1:
            yield f"{moment:%b %d %H:%M:%S} {host} {service}[{rng.randrange(300, 330)}]: {message} from {address}"
        elif style == 2:
            page, code = rng.choice(words[:60]).lower(), rng.choice([200, 200, 200, 304, 404, 500])
            request = f'"GET /{service}/{page} HTTP/1.1" {code} {rng.randrange(9999)}'
            yield f"{address} - - [{moment:%d/%b/%Y:%H:%M:%S} +0000] {request}"
        else:
            yield f'{moment.isoformat()}Z level={level.lower()} component={service} msg="{message}"'
