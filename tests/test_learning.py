"""How the memory's first state is learnt: seeded, from texts that are allowed, to a state that helps."""

import bz2
import json
import random
from pathlib import Path

import numpy as np
import pytest

from llmzip.memory.mixing import Memory, Vocabulary
from llmzip.training import memory as learning
from llmzip.training.structured import KINDS, make_structured
from llmzip.training.text import Document

TEXTS = [f"the miller number {i} liked the river. It was cold in spring and nobody came; he slept." for i in range(9)]
VOCABULARY = Vocabulary([bytes((i,)) for i in range(256)])


def test_structured_text_is_the_same_for_a_seed_and_takes_many_forms() -> None:
    made = [make_structured(TEXTS, 1500, random.Random(seed)) for seed in range(60)]
    assert made == [make_structured(TEXTS, 1500, random.Random(seed)) for seed in range(60)]
    assert all(0 < len(text) <= 1500 for text in made)
    assert len(set(made)) == 60 and len({text[0] for text in made}) >= len(KINDS) // 2


def test_documents_are_the_same_for_a_seed_and_leave_out_the_last_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shard in range(3):
        with bz2.open(tmp_path / f"shard-{shard:02}.jsonl.bz2", "wt", encoding="utf-8") as lines:
            for i in range(15):
                for kind in learning.FROM_EACH_SHARD:
                    text = f"shard {shard} document {i} of {kind}. " * 150
                    lines.write(json.dumps({"text": text, "source": "made/up", "kind": kind}) + "\n")
    code = Document("code", "def f(x):\n    return x\n" * 200)
    monkeypatch.setattr(learning, "read_standard_library", lambda: iter([code] * 50))
    documents = learning.sample_documents(tmp_path, 9, seed=4)
    assert documents == learning.sample_documents(tmp_path, 9, seed=4)
    assert documents != learning.sample_documents(tmp_path, 9, seed=5)
    assert not any("shard 2" in document.text for document in documents)
    assert {document.kind for document in documents} == {*learning.FROM_EACH_SHARD, "structured", "code"}


@pytest.mark.parametrize("with_model", [False, True])
def test_a_learnt_state_serves_other_documents_of_the_kind(with_model: bool) -> None:
    def sample(seed: int) -> tuple[np.ndarray, np.ndarray | None]:
        text = make_structured(TEXTS, 800, random.Random(seed)).encode()[:800]
        tokens = np.frombuffer(text, np.uint8).astype(np.int64)[None]
        even = np.full((1, VOCABULARY.size), (1 << 24) // VOCABULARY.size)
        odds = np.stack([VOCABULARY.odds(even, token) for token in tokens.T], 1) if with_model else None
        return tokens, odds

    state = learning.learn_state([sample(seed) for seed in range(8)], VOCABULARY, seed=1)
    again = learning.learn_state([sample(seed) for seed in range(8)], VOCABULARY, seed=1)
    assert all((a == b).all() for a, b in zip(state, again, strict=True))

    def bits(first: object) -> float:
        total = 0.0
        for seed in range(100, 104):
            tokens, odds = sample(seed)
            memory = Memory(VOCABULARY, tokens.size, 1, alone=odds is None, first=first)  # type: ignore[arg-type]
            total -= float(np.log2(memory.intervals(tokens, odds)[1] / 2.0**24).sum())
        return total

    assert bits(state) < 0.97 * bits(None)
