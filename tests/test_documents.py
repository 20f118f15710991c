"""Documents: what is believed, and that every refusal is one line that names the file and the field."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from llmzip.documents import LARGEST_WHOLE, Count, Header, Positive, Size, decode, read, read_bytes
from llmzip.errors import DocumentError, ModelError


@dataclass(frozen=True)
class Entry:
    size: Size
    checked: bool = True
    note: str | None = None


@dataclass(frozen=True)
class Record:
    entries: dict[str, Entry]
    listed: tuple[Entry, ...] = ()
    kind: Literal["one", "other"] = "one"
    rate: Positive = 1.0
    numbers: dict[str, Count] = field(default_factory=dict)


def refusal(data: bytes, *, closed: bool = False, form: Any = "json") -> str:
    with pytest.raises(DocumentError) as caught:
        decode(data, Record, "a.json", form=form, closed=closed, remedy="mend it")
    text = str(caught.value)
    assert text.startswith("a.json: ") and text.endswith(": mend it") and "\n" not in text
    assert caught.value.exit_code == 2
    return text.removeprefix("a.json: ").removesuffix(": mend it")


def test_a_document_becomes_a_record() -> None:
    data = b'{"entries": {"x": {"size": 3}}, "listed": [{"size": 1, "checked": false}], "rate": 2, "more": 1}'
    assert decode(data, Record, "a") == Record({"x": Entry(3)}, (Entry(1, False),), rate=2.0)
    assert decode(b'rate = 0.5\n[entries."a.b"]\nsize = 1', Record, "a", form="toml") == Record(
        {"a.b": Entry(1)}, rate=0.5
    )


WRONG = {
    b'{"entries": {"a.b": {"size": 1}, "c\\"[d": {"size": 0}}}': 'entries["c\\"[d"].size: expected int >= 1',
    b'{"entries": {"a": {"size": true}}}': 'entries["a"].size: expected int, got bool',
    b'{"entries": {"a": {"size": "1"}}}': 'entries["a"].size: expected int, got str',
    b'{"entries": {"a": {"size": null}}}': 'entries["a"].size: expected int, got null',
    b'{"entries": {"a": {}}}': 'entries["a"]: object missing required field size',
    b'{"entries": {}, "listed": [{"size": 1, "checked": "false"}]}': "listed[0].checked: expected bool, got str",
    b'{"entries": {}, "kind": "third"}': "kind: invalid enum value 'third'",
    b'{"entries": {}, "rate": 0}': "rate: expected float > 0.0",
    b'{"entries": {}, "numbers": {"n": -1}}': 'numbers["n"]: expected int >= 0',
    b'{"entries": {}, "kind": "\\udce9"}': "it has half of a surrogate pair where a name is expected",
    b"[]": "expected object, got array",
    b"": "it is no JSON that can be read (Expecting value: line 1 column 1 (char 0))",
    b"\xff{}": "it is not UTF-8",
    b"[" * 100_000: "it is nested too deeply",
    b'{"entries": {}, "entries": {}}': "it is no JSON that can be read ('entries' stands twice in one table)",
    b'{"entries": {}, "rate": NaN}': "it is no JSON that can be read (NaN is no number)",
    b'{"entries": {}, "rate": -Infinity}': "it is no JSON that can be read (-Infinity is no number)",
    b'{"entries": {}, "rate": 1e999}': "it is no JSON that can be read (1e999 is no finite number)",
    b'{"entries": {}, "rate": 9223372036854775808}': (
        "it is no JSON that can be read (the number 9223372036854775808 is too large)"
    ),
    b'{"entries": {}, "rate": ' + b"9" * 5000 + b"}": (
        f"it is no JSON that can be read (the number {'9' * 24} is too large)"
    ),
}


@pytest.mark.parametrize("data", WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_is_refused_with_its_field(data: bytes) -> None:
    assert refusal(data) == WRONG[data]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999"])
def test_toml_has_no_infinities_either(number: str) -> None:
    assert refusal(f"rate = {number}\n[entries]".encode(), form="toml").endswith("is no finite number)")
    assert "too deeply" in refusal(b"entries = " + b"[" * 100_000, form="toml")


def test_a_closed_document_has_the_fields_of_its_record_and_no_others() -> None:
    whole = b'{"entries": {"a": {"size": 1, "checked": true}}, "listed": [], "kind": "one", "rate": 1, "numbers": {}}'
    assert decode(whole, Record, "a", closed=True).entries == {"a": Entry(1)}  # a missing None is None
    misspelt = whole.replace(b'"checked"', b'"cheked"')
    assert decode(misspelt, Record, "a").entries == {"a": Entry(1)}
    assert refusal(misspelt, closed=True) in {
        "entries.a.cheked: is not a field of such a document",
        "entries.a.checked: is missing",
    }
    assert refusal(whole.replace(b'"listed": []', b'"listed": [{"size": 1}]'), closed=True) == (
        "listed[0].checked: is missing"
    )


def test_another_remedy_is_another_class() -> None:
    with pytest.raises(ModelError, match="^x: expected object, got array: take it again$"):
        decode(b"[]", Record, "x", error=ModelError, remedy="take it again")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_bytes(b'{"schema": "s", "version": 1}')
    assert read(tmp_path / "a.json", Header) == Header("s", 1)
    with pytest.raises(DocumentError, match=r"none\.json cannot be read \(No such file or directory\): restore it"):
        read(tmp_path / "none.json", Header)
    with pytest.raises(DocumentError, match="cannot be read"):
        read(tmp_path, Header)
    monkeypatch.setattr("llmzip.documents.LARGEST_DOCUMENT_BYTES", 9)
    with pytest.raises(DocumentError, match="larger than any such document"):
        read_bytes(tmp_path / "a.json")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no endless file here")
def test_an_endless_file_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmzip.documents.LARGEST_DOCUMENT_BYTES", 1 << 16)
    with pytest.raises(DocumentError, match="no regular file"):
        read(Path("/dev/zero"), Header)


def test_the_largest_number_is_that_of_64_bits() -> None:
    assert decode(b'{"entries": {"a": {"size": %d}}}' % LARGEST_WHOLE, Record, "a").entries["a"].size == LARGEST_WHOLE
