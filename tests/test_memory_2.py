"""Version 2 of the memory: C equals its definition bit for bit. Version 1 in Python equals what wrote archives."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from llmzip.memory import layout
from llmzip.memory.mixing import Memory, Vocabulary
from llmzip.memory.native import Native, VocabularyArrays
from llmzip.memory.reference import Reference
from llmzip.memory.stepping import Stepwise
from llmzip.memory.tables import cost_table
from llmzip.memory.text import BYTE_CLASS, StreamText
from llmzip.memory.tree import build_tree
from llmzip.native.library import PREFERRED, Library
from llmzip.native.library import library as native_library

LETTERS = (*(bytes((i,)) for i in range(256)), b"the", b" the", b"\nand", b"", b"ab", b"12", b"<a>", b"</a>", b'": {"')
TINY = (b"a", b"b")
ODD = (b"", b"\n", b"<", b">", b"/x", b"0,", b"\xff\xfe", b"(((", b")]}", b"1" * 300)
VOCABULARIES = (LETTERS, TINY, ODD)


@pytest.fixture(scope="module", params=PREFERRED)
def library(request: pytest.FixtureRequest) -> Library:
    """Every set of kernels that runs here."""
    found = native_library(request.param)
    if found is None:
        pytest.skip(f"kernels {request.param!r} do not run here")
    return found


def deal(tokens: list[int], streams: int) -> NDArray[np.int64]:
    """[streams, length], longer streams first, padded with 0."""
    table = np.zeros((streams, -(-len(tokens) // streams)), np.int64)
    for row, part in enumerate(np.array_split(np.array(tokens, np.int64), streams)):
        table[row, : len(part)] = part
    return table


def odds_of(table: NDArray[np.int64], depth: int, seed: int) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-4300, 4300, (*table.shape, depth)).astype(np.int16)


def engines(
    library: Library, token_bytes: tuple[bytes, ...], count: int, streams: int, alone: bool
) -> tuple[Native, Stepwise]:
    tree = build_tree(token_bytes)
    first = layout.constant_beginning(len(token_bytes), tree.node_rows, alone=alone)
    native = Native(library, VocabularyArrays(tree, token_bytes), count, streams, first, alone=alone)
    definition = Reference(tree, token_bytes, count, streams, first, alone=alone)
    return native, Stepwise(definition, tree, count, streams)


def assert_equal(
    library: Library, token_bytes: tuple[bytes, ...], tokens: list[int], streams: int, seed: int | None
) -> None:
    native, stepwise = engines(library, token_bytes, len(tokens), streams, seed is None)
    tree, table = build_tree(token_bytes), deal(tokens, streams)
    odds = None if seed is None else odds_of(table, tree.depth, seed)
    limit = table.size * tree.depth
    expected = stepwise.intervals(table, 0, odds, limit)
    for found, definition in zip(native.intervals(table, 0, odds, limit), expected, strict=True):
        assert (found == definition).all()
    learnt, uses = native.learnt()
    network = stepwise.network
    assert isinstance(network, Reference)
    assert (learnt.weights == network.weights).all() and (learnt.final_weights == network.final_weights).all()
    assert (learnt.certainty == network.certainty).all() and (learnt.hit_rate == network.hit_rate).all()
    assert (uses == network.uses).all()


@settings(max_examples=20, deadline=None)
@given(data=st.data(), streams=st.integers(1, 6), seed=st.none() | st.integers(0, 9), repeats=st.integers(1, 5))
def test_c_equals_the_definition(
    library: Library, data: st.DataObject, streams: int, seed: int | None, repeats: int
) -> None:
    token_bytes = data.draw(st.sampled_from(VOCABULARIES))
    tokens = data.draw(st.lists(st.integers(0, len(token_bytes) - 1), min_size=1, max_size=25)) * repeats
    assert_equal(library, token_bytes, tokens, min(streams, len(tokens)), seed)


RECORDS = "".join(f'<row id="{i}">{{"at": "2024-01-{i % 28:02}", "n": {i * i}}}</row>\n' for i in range(4))
LOG = "".join(
    f"Jan {i % 7} 10:0{i % 10} host app[{i * 37}]: user {'ab'[i % 3 > 0]} from 10.0.0.{i % 5}\n" for i in range(5)
)
CODE = "".join(f"\tif (a[{i}] < b && f({i})) {{ return x<T>(a, {i}); }} /* </p> */\n" for i in range(3))


@pytest.mark.parametrize("seed", [None, 4])
@pytest.mark.parametrize("text", [RECORDS, LOG, CODE, "aaaa" * 30, "x" * 300 + "\n" + "y," * 70])
def test_c_equals_the_definition_on_texts(library: Library, text: str, seed: int | None) -> None:
    assert_equal(library, LETTERS, list(text.encode()), 1 if seed is None else 3, seed)


VERSION_1 = {
    (True, 1): "3f158908b52d7341e7af922d6d2c1f61f89fbb38bd6d0eee574d7a3b4162f94f",
    (True, 4): "f08f0faba0fb0beb4f7f6555ef90c9060dd2fb15de31c56bd41ba2406bcc098f",
    (False, 1): "6afca988ded97831097f4a09ea0af1948ec390510ff5720b0d8d7d68d8a1abdb",
    (False, 4): "674634084ff647e38f158743f75b64370d16ae448013d978291cd08a09cdce03",
}
"""By alone and streams: SHA-256 of the intervals that the memory of llmzip 0.1 gave."""


@pytest.mark.parametrize(("alone", "streams"), VERSION_1)
def test_version_1_is_what_wrote_archives(alone: bool, streams: int) -> None:
    table, vocabulary = deal(list((RECORDS + LOG).encode()), streams), Vocabulary(LETTERS)
    odds = None if alone else odds_of(table, vocabulary.tree.depth, 1)
    memory = Memory(vocabulary, len(RECORDS + LOG), streams, alone=alone, version=1)
    found = np.concatenate(memory.intervals(table, odds)).astype("<i8").tobytes()
    assert hashlib.sha256(found).hexdigest() == VERSION_1[alone, streams]


def test_damaged_words_never_leave_the_tables(library: Library) -> None:
    generator = np.random.default_rng(1)
    for number in range(30):
        token_bytes = VOCABULARIES[number % 3]
        streams = 1 + number % 5
        native, stepwise = engines(library, token_bytes, 20 * streams + number % 2, streams, True)
        words = generator.integers(0, 1 << 32, 6 + number, dtype=np.uint32)
        states = [np.array([0, (1 << 64) - 1, int(words[0]) << 32 | int(words[1]), 2], np.uint64) for _ in range(2)]
        tables = np.zeros((2, streams, 20 + number % 2), np.int64)
        read = [
            engine.read(table, 0, None, words, state)
            for engine, table, state in zip((native, stepwise), tables, states, strict=True)
        ]
        assert read[0] == read[1]
        if read[0]:
            assert (states[0] == states[1]).all() and (tables[0] == tables[1]).all()
            assert tables.min() >= 0 and tables.max() < len(token_bytes)


def test_rows_of_nodes_follow_their_breadth() -> None:
    tree = build_tree(LETTERS)
    rows = tree.node_row.tolist()
    assert sorted(rows) == list(range(len(LETTERS) - 1)) and rows[0] == 0
    assert rows[tree.left[0]] == 1 and rows[tree.right[0]] == 2
    large = build_tree(tuple(i.to_bytes(2, "big") for i in range(1 << 14)))
    assert large.node_rows == 8192 and np.bincount(large.node_row).min() >= 1 and large.node_row.max() == 8191


def test_costs_are_logarithms() -> None:
    i = np.arange(4096)
    assert (cost_table() == np.rint(-256 * np.log2((2 * i + 1) / 8192))).all()


def test_what_a_stream_remembers() -> None:
    text = StreamText()
    for byte in b'id,name\n17,"ab"\n23,':
        text.read(byte, byte)
    assert text.masked.to_bytes(8, "big") == b',"ab"\n0,' and text.number == 3 * 10 + 4
    assert text.three_above == int.from_bytes(b'"ab', "big") and text.token_above == ord('"') + 1
    assert text.field_number == 1 and text.equals_above and BYTE_CLASS[text.last] == 6
    brackets = StreamText()
    for byte in b"f(<b>":
        brackets.read(byte, 0)
    inner = brackets.bracket
    for byte in b"<i>x</i>":
        brackets.read(byte, 0)
    assert brackets.bracket == inner != 0
    for byte in b"</b>)":
        brackets.read(byte, 0)
    assert brackets.bracket == 0


def test_tables_are_bounded() -> None:
    assert layout.slot_bits(1) == 12 and layout.slot_bits(10**9) == layout.MAXIMUM_SLOT_BITS
    assert layout.CONTEXTS * 8 << layout.MAXIMUM_SLOT_BITS == 64 << 20
