"""Any tokenizer gives every byte string back, by construction and whatever it does to text."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE, write_model
from hub_material import FAMILIES, HOSTILE, tokenizer_text
from hypothesis import given
from hypothesis import strategies as st

from llmzip.codec import compress, decompress
from llmzip.errors import ModelError
from llmzip.predictor import FREQUENCY_TOTAL, ExactContext
from llmzip.predictors import load_predictor
from llmzip.predictors.exact import ExactPredictor, load_exact
from llmzip.predictors.guarded_tokenizer import GuardedTokenizer

TINY_STORIES = Path(__file__).resolve().parents[2] / "shared" / "models" / "TinyStories-656K" / "tokenizer.json"


@pytest.fixture(scope="module", params=[*FAMILIES, "tiny_stories"])
def tokenizer(request: pytest.FixtureRequest) -> GuardedTokenizer:
    if request.param != "tiny_stories":
        return GuardedTokenizer(tokenizer_text(request.param), 1 << 17, request.param)
    if not TINY_STORIES.exists():
        pytest.skip("TinyStories-656K is not beside this checkout")
    return GuardedTokenizer(TINY_STORIES.read_text(encoding="utf-8"), 2048, "TinyStories")


def check(tokenizer: GuardedTokenizer, data: bytes) -> np.ndarray:
    tokens = tokenizer.tokenize(data)
    assert tokens.dtype == np.int64 and len(tokens) <= len(data)
    assert not len(tokens) or 0 <= tokens.min() <= tokens.max() < tokenizer.size
    assert b"".join(tokenizer.token_bytes[token] for token in tokens) == data == tokenizer.detokenize(tokens)
    return tokens


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: data[:8].hex())
def test_hostile_bytes_come_back(tokenizer: GuardedTokenizer, data: bytes) -> None:
    check(tokenizer, data)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=100).map(str.encode),
        st.text("aé\u0301e \n\u2581<s>/0x41[UNK]Å\u212bＡ가ﬁ", max_size=60).map(str.encode),
    )
)
def test_anything_comes_back(tokenizer: GuardedTokenizer, data: bytes) -> None:
    check(tokenizer, data)


def test_tokens_have_one_meaning(tokenizer: GuardedTokenizer) -> None:
    assert len(tokenizer.token_bytes) == tokenizer.size
    everything = np.arange(tokenizer.size + 3)
    assert tokenizer.detokenize(everything) == b"".join(tokenizer.token_bytes)


@pytest.mark.parametrize(
    ("family", "escapes"),
    [
        ("byte_level", False),
        ("byte_level_nfc", False),
        ("sentencepiece_bpe", False),
        ("sentencepiece_without_bytes", True),
        ("unigram", True),
        ("word_piece", True),
    ],
)
def test_plain_words_become_the_tokens_of_the_family(family: str, escapes: bool) -> None:
    """The guard must not spell what the tokenizer can say."""
    tokenizer = GuardedTokenizer(tokenizer_text(family), 1 << 17, family)
    assert tokenizer.has_escapes == escapes
    tokens = check(tokenizer, b"the quick brown fox jumps over the lazy dog")
    assert len(tokens) < 32
    spelt = int((tokens >= tokenizer.model_size).sum())
    assert spelt == (8 if family == "word_piece" else 0)  # its tokens hold no spaces


def test_accents_cost_no_escape_where_every_byte_has_a_token() -> None:
    tokenizer = GuardedTokenizer(tokenizer_text("byte_level_nfc"), 1 << 17, "NFC")
    check(tokenizer, "e\u0301".encode())
    assert [tokenizer.token_bytes[token] for token in check(tokenizer, b"a    b")][1] == b"    "


def test_special_tokens_are_never_made_of_text() -> None:
    for family in FAMILIES:
        tokenizer = GuardedTokenizer(tokenizer_text(family), 1 << 17, family)
        special = {added["id"] for added in json.loads(tokenizer_text(family))["added_tokens"] if added["special"]}
        text = "".join(added["content"] for added in json.loads(tokenizer_text(family))["added_tokens"])
        assert special and not special & set(check(tokenizer, text.encode()).tolist())


def test_tokens_that_the_model_does_not_know_are_not_used() -> None:
    narrow = GuardedTokenizer(tokenizer_text("byte_level"), 280, "narrow")
    assert narrow.model_size == 280
    assert check(narrow, SAMPLE.encode()).max() < narrow.size
    cut = GuardedTokenizer(tokenizer_text("byte_level"), 100, "cut")
    assert cut.has_escapes and cut.size == 356
    check(cut, SAMPLE.encode())


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"model": {"type": "BPE", "vocab": {}}}', '{"model": {"type": "X", "vocab": {"a": -1}}}'],
)
def test_what_is_no_tokenizer_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="take the folder again"):
        GuardedTokenizer(text, 100, "here")


def test_random_text_in_long_pieces() -> None:
    """Longer than any piece a walk from mismatch to mismatch is tried on elsewhere."""
    rng = np.random.default_rng(3)
    data = ("".join(rng.choice(list("the Quick é\u0301 fox\n"), 20_000))).encode()
    for family in FAMILIES:
        check(GuardedTokenizer(tokenizer_text(family), 1 << 17, family), data)


@pytest.fixture(scope="module")
def escaped(tmp_path_factory: pytest.TempPathFactory) -> ExactPredictor:
    """The exact engine under a tokenizer that lacks most bytes."""
    folder = write_model(tmp_path_factory.mktemp("escaped"))
    (folder / "tokenizer.json").write_text(tokenizer_text("sentencepiece_without_bytes"), encoding="utf-8")
    return load_exact(folder, "escaped", engine="numpy", threads=2)


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: data[:8].hex())
@pytest.mark.parametrize("streams", [1, 16])
def test_exact_archives_through_escapes(escaped: ExactPredictor, data: bytes, streams: int) -> None:
    assert decompress(compress(data, escaped, streams=streams, memory=False), escaped) == data


def test_escapes_leave_the_exact_context_exact(escaped: ExactPredictor) -> None:
    size = escaped.vocabulary_size - 256
    tokens = np.random.default_rng(1).integers(0, size + 256, (3, 40))
    context = escaped.start(3)
    assert isinstance(context, ExactContext)
    below, own = context.intervals(tokens)

    def score(table: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return np.stack((table[np.arange(len(chosen)), chosen] >> 9, table[:, 5] >> 9), 1).astype(np.int16)

    scored = escaped.start(3).scores(tokens, score)
    plain = escaped.start(3).scores(np.minimum(tokens, size - 1), score)
    context = escaped.start(3)
    rows = np.arange(3)
    for position, column in enumerate(tokens.T):
        table = context.next_frequencies()
        assert table.min() >= 1 and (table.sum(1) == FREQUENCY_TOTAL).all()
        assert np.array_equal(own[:, position], table[rows, column])
        assert np.array_equal(below[:, position], np.cumsum(table, 1)[rows, column] - table[rows, column])
        assert np.array_equal(scored[:, position], score(table, column))
        context.append(column)
    assert plain.shape == scored.shape


@pytest.mark.skipif(not TINY_STORIES.exists(), reason="TinyStories-656K is not beside this checkout")
def test_a_real_folder_runs_exactly() -> None:
    predictor = load_predictor(str(TINY_STORIES.parent), arithmetic="exact", threads=1)
    data = "Once upon a time, there was a little girl named Élodie. She liked to play in the park.\n".encode() * 2
    packed = compress(data, predictor, memory=False)
    assert len(packed) < 110 and decompress(packed, predictor) == data
