"""Memory: the tree, the tables, and that what is coded comes back, with and without a model."""

import math
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from llmzip import coder
from llmzip.errors import ArchiveError
from llmzip.memory import MEMORY_VERSION, first_state, layout
from llmzip.memory.layout import Beginning, constant_beginning
from llmzip.memory.mixing import Memory, Vocabulary
from llmzip.memory.tables import LIMIT, logarithm_table, squash_table, stretch_table
from llmzip.memory.tree import build_tree
from llmzip.predictor import FREQUENCY_TOTAL
from llmzip.predictors import load_embedded

TOKEN_BYTES = (*(bytes((i,)) for i in range(256)), b"the", b" the", b"\nand", b"", b"ab", b"abc")
VOCABULARY = Vocabulary(TOKEN_BYTES)
SIZE = len(TOKEN_BYTES)


def test_tree_leads_to_every_token() -> None:
    tree = build_tree(TOKEN_BYTES)
    assert sorted(tree.order.tolist()) == list(range(SIZE))
    for token in range(SIZE):
        node = 0
        for step in range(tree.path_start[token], tree.path_start[token + 1]):
            assert tree.path_node[step] == node
            first, middle, end = tree.path_range[step]
            place = tree.order.tolist().index(token)
            assert first <= place < end and tree.middle[node] == middle and (place >= middle) == tree.path_bit[step]
            node = int((tree.right if tree.path_bit[step] else tree.left)[node])
        assert node == ~token


def test_leaves_stand_in_the_order_of_their_bytes() -> None:
    tree = build_tree(TOKEN_BYTES)
    names = [TOKEN_BYTES[token] for token in tree.order]
    assert names == sorted(names)


def test_smallest_tree() -> None:
    tree = build_tree([b"a", b"b"])
    assert tree.path_node.tolist() == [0, 0] and tree.path_bit.tolist() == [0, 1]


def test_tables_are_the_functions_that_they_claim_to_be() -> None:
    squash = squash_table()
    for x in range(-LIMIT, LIMIT + 1, 37):
        assert abs(squash[x + LIMIT] - (1 << 24) / (1 + math.exp(-x / 256))) <= 1
    assert (squash[LIMIT:] + squash[LIMIT::-1] == 1 << 24).all() and (np.diff(squash) >= 0).all()
    for i, x in enumerate(stretch_table().tolist()):
        p = (2 * i + 1) / 8192
        assert abs(x - 256 * math.log(p / (1 - p))) <= 1.5
    for i, x in enumerate(logarithm_table().tolist()):
        assert abs(x - 1024 * math.log(1 + (2 * i + 1) / 4096)) <= 1


def rows(seed: int, count: int) -> NDArray[np.int64]:
    """[count, SIZE] frequencies with sum 2^24, from nearly uniform to nearly certain."""
    generator = np.random.default_rng(seed)
    weights = np.exp(generator.normal(size=(count, SIZE)) * generator.uniform(0.1, 8, (count, 1)))
    frequencies = (weights / weights.sum(1, keepdims=True) * ((1 << 24) - SIZE)).astype(np.int64) + 1
    frequencies[np.arange(count), frequencies.argmax(1)] += (1 << 24) - frequencies.sum(1)
    return frequencies


def test_odds_are_those_of_the_frequencies() -> None:
    tree, frequencies = VOCABULARY.tree, rows(1, SIZE)
    odds = VOCABULARY.odds(frequencies, np.arange(SIZE))
    for token in range(SIZE):
        for depth, step in enumerate(range(tree.path_start[token], tree.path_start[token + 1])):
            first, middle, end = tree.path_range[step]
            right = frequencies[token, tree.order[middle:end]].sum()
            left = frequencies[token, tree.order[first:middle]].sum()
            assert abs(odds[token, depth] - 256 * math.log(right / left)) <= 2


def encode(tokens: list[int], streams: int, chunk: int, seed: int | None) -> bytes:
    """The payload of tokens dealt to streams, ``chunk`` positions at a time; no model where ``seed`` is None."""
    memory = Memory(VOCABULARY, len(tokens), streams, alone=seed is None)
    length = -(-len(tokens) // streams)
    table = deal(tokens, streams)
    parts = []
    for first in range(0, length, chunk):
        part = table[:, first : first + chunk]
        odds = None
        if seed is not None:
            steps = [VOCABULARY.odds(rows(seed + first + t, streams), part[:, t]) for t in range(part.shape[1])]
            odds = np.stack(steps, 1)
        parts.append(memory.intervals(part, odds))
    return coder.encode(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))


def deal(tokens: list[int], streams: int) -> NDArray[np.int64]:
    """[streams, length], longer streams first, padded with 0."""
    shortest, longer = divmod(len(tokens), streams)
    table, first = np.zeros((streams, shortest + (longer > 0)), np.int64), 0
    for stream in range(streams):
        size = shortest + (stream < longer)
        table[stream, :size] = tokens[first : first + size]
        first += size
    return table


def decode(payload: bytes, count: int, streams: int, seed: int | None, chunk: int = 5) -> list[NDArray[np.int64]]:
    reader = Memory(VOCABULARY, count, streams, alone=seed is None).reader(payload)
    length = -(-count // streams)
    if seed is not None:
        return [reader.next_tokens(rows(seed + t, streams)) for t in range(length)]
    shortest, longer = divmod(count, streams)
    parts = [reader.next_positions(min(chunk, length - t)) for t in range(0, length, chunk)]
    table = np.concatenate(parts, 1)
    return [table[: streams if t < shortest else longer, t] for t in range(length)]


@settings(max_examples=60, deadline=None)
@given(
    tokens=st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=120),
    repeats=st.integers(1, 4),
    streams=st.integers(1, 9),
    chunk=st.integers(1, 200),
    seed=st.none() | st.integers(0, 1000),
)
def test_tokens_come_back_however_they_are_grouped(
    tokens: list[int], repeats: int, streams: int, chunk: int, seed: int | None
) -> None:
    tokens = tokens * repeats
    streams = min(streams, len(tokens))
    payload = encode(tokens, streams, chunk, seed)
    assert payload == encode(tokens, streams, 1, seed)
    table = deal(tokens, streams)
    for position, found in enumerate(decode(payload, len(tokens), streams, seed, chunk)):
        assert found.tolist() == table[: len(found), position].tolist()


def test_memory_learns_what_repeats() -> None:
    generator = np.random.default_rng(5)
    line = generator.integers(0, SIZE, 40).tolist()
    once, often = encode(line, 1, 64, None), encode(line * 50, 1, 64, None)
    assert len(often) < 4 * len(once)


def test_streams_share_what_they_have_seen() -> None:
    line = np.random.default_rng(6).integers(0, SIZE, 64).tolist()
    together = encode(line * 32, 16, 64, None)
    alone = sum(len(encode(line * 2, 1, 64, None)) for _ in range(16))
    assert len(together) < 0.6 * alone


def test_surest_text_costs_next_to_nothing() -> None:
    assert len(encode([7] * 4000, 1, 4000, None)) < 60


@pytest.mark.parametrize("seed", [None, 3])
def test_damaged_payload_gives_tokens_or_an_error(seed: int | None) -> None:
    tokens = np.random.default_rng(8).integers(0, SIZE, 90).tolist()
    payload = encode(tokens, 3, 30, seed)
    for place in range(len(payload)):
        damaged = bytearray(payload)
        damaged[place] ^= 0x55
        try:
            found = np.concatenate(decode(bytes(damaged), len(tokens), 3, seed))
        except ArchiveError:
            continue
        assert found.min() >= 0 and found.max() < SIZE
    for length in (0, 1, 3, 4, 7):
        try:
            decode(payload[:length], len(tokens), 3, seed)
        except ArchiveError:
            pass


def constants(vocabulary: Vocabulary, *, alone: bool) -> Beginning:
    return constant_beginning(vocabulary.size, vocabulary.tree.node_rows, alone=alone)


@pytest.fixture(scope="module")
def shared() -> Vocabulary:
    """The tokenizer of the embedded rungs, whose first state was learnt."""
    return Vocabulary(load_embedded("nano", engine="numpy", threads=1).token_bytes)


@pytest.mark.parametrize("alone", [False, True])
def test_a_learnt_state_fits_the_memory(shared: Vocabulary, alone: bool) -> None:
    state, constant = shared.beginning(alone=alone), constants(shared, alone=alone)
    for name, learnt, other in zip(state._fields, state, constant, strict=True):
        assert learnt.shape == other.shape and learnt.dtype == other.dtype, name
    assert np.abs(state.weights).max() <= layout.WEIGHT_LIMIT
    for part in (state.certainty, state.hit_rate):
        assert part.max() < 1 << layout.PROBABILITY_BITS
    assert (state.unigram & np.uint64((1 << 42) - 1) == layout.UNIGRAM_COUNT << 16).all()


def test_the_learnt_state_is_used_for_its_tokenizer_only(shared: Vocabulary) -> None:
    assert (shared.beginning(alone=True).weights != constants(shared, alone=True).weights).any()
    assert (VOCABULARY.beginning(alone=True).weights == constants(VOCABULARY, alone=True).weights).all()
    assert first_state.digest(TOKEN_BYTES) == b"" and first_state.stored_bytes(TOKEN_BYTES) == 0


def test_the_file_of_a_state_gives_the_state(shared: Vocabulary, tmp_path: Path) -> None:
    states = {"alone" if alone else "model": shared.beginning(alone=alone) for alone in (False, True)}
    path = tmp_path / first_state.FOLDER_NAMES[MEMORY_VERSION]
    first_state.write(states, shared.token_bytes, path)
    assert path.stat().st_size < 150_000
    again = first_state.learnt_state(shared.token_bytes, alone=True, folder=tmp_path)
    assert again is not None
    for name in ("final_weights", "certainty", "hit_rate", "unigram"):
        assert (getattr(again, name) == getattr(states["alone"], name)).all(), name
    # The mean of a set is computed anew, and its rows are rounded to it.
    assert np.abs(again.weights.astype(np.int64) - states["alone"].weights).max() <= first_state.WEIGHT_UNIT


@pytest.mark.parametrize("alone", [False, True])
@settings(max_examples=5)
@given(tokens=st.lists(st.integers(0, 4095), min_size=1, max_size=40), streams=st.integers(1, 5))
def test_tokens_come_back_from_a_learnt_state(shared: Vocabulary, tokens: list[int], streams: int, alone: bool) -> None:
    tokens, streams = tokens * 3, min(streams, len(tokens))
    table = deal(tokens, streams)
    rows_at = [np.full((streams, shared.size), (1 << 24) // shared.size) for _ in range(table.shape[1])]
    odds = np.stack([shared.odds(row, table[:, t]) for t, row in enumerate(rows_at)], 1)
    memory = Memory(shared, len(tokens), streams, alone=alone)
    payload = coder.encode(*memory.intervals(table, None if alone else odds))
    reader = Memory(shared, len(tokens), streams, alone=alone).reader(payload)
    if alone:
        assert (reader.next_positions(table.shape[1]) == table).all()
        return
    for position, row in enumerate(rows_at):
        found = reader.next_tokens(row)
        assert found.tolist() == table[: len(found), position].tolist()


def test_what_was_learnt_helps(shared: Vocabulary) -> None:
    predictor = load_embedded("nano", engine="numpy", threads=1)
    text = "".join(f'{{"id": {i}, "name": "item {i * 7 % 13}", "done": {i % 3 > 0}}},\n' for i in range(60))
    tokens = predictor.tokenize(text.encode())[None]
    learnt, constant = (
        -np.log2(Memory(shared, tokens.size, 1, alone=True, first=first).intervals(tokens)[1] / FREQUENCY_TOTAL).sum()
        for first in (None, constants(shared, alone=True))
    )
    assert learnt < 0.98 * constant


def test_the_fingerprint_covers_the_first_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = load_embedded("nano", engine="numpy", threads=1)
    shipped = first_state.PATHS[MEMORY_VERSION]
    changed = bytearray(first_state._content(shipped))
    changed[-1] ^= 1
    (tmp_path / "other").write_bytes(zstandard.compress(changed))
    monkeypatch.setitem(first_state.PATHS, MEMORY_VERSION, tmp_path / "other")
    after = load_embedded("nano", engine="numpy", threads=1)
    assert before.fingerprint != after.fingerprint and before.token_bytes == after.token_bytes
