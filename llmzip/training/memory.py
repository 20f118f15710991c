"""Learns the memory's first state: ``python -m llmzip.training.memory small nano --text DATA --work FOLDER``.

The memory reads many short documents, each from the state learnt so far, and the state moves a step towards what each
document makes of it (Reptile, arXiv 1803.02999): what documents have in common stays. Steps shrink; at first all rows
of a set of weights share them, so that rare ones start from the common ones. The file is for the tokenizer of the
models named, which take turns, so that one state serves all. Prints to standard error. Nothing imports it.
"""

import random
import sys
import sysconfig
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from llmzip.frames import STREAM_TOKENS, choose_streams, with_model
from llmzip.memory import MEMORY_VERSION, first_state, layout
from llmzip.memory.layout import Beginning
from llmzip.memory.mixing import Memory, Vocabulary
from llmzip.memory.native import Native
from llmzip.predictor import ExactContext, Predictor
from llmzip.predictors import load_predictor
from llmzip.training.structured import make_structured
from llmzip.training.text import Document, read_shard, read_standard_library, shard_paths, vary_layout

EXCERPT_BYTES = (3_000, 24_000)
"""Sizes of the documents, evenly spread over their logarithms: where a first state matters."""

FROM_EACH_SHARD = {"prose": 8, "web": 10, "markup": 10, "other-language": 10}
STRUCTURED_FROM_EACH_SHARD = 14
CODE_DOCUMENTS = 36

PASSES = ((0.3, 0.1, True), (0.1, 0.04, False), (0.04, 0.02, False))
"""First and last step of each reading of all documents, and whether the nodes share their weights."""

OWN_WEIGHT = 0.8
"""Of how often the documents have each token, against the tree's guess, in the first probabilities of the nodes."""


def sample_documents(folder: Path, shard_count: int, seed: int) -> list[Document]:
    """Short documents of all kinds, the same for the same shards, Python version and seed."""
    rng = random.Random(seed)
    documents = []
    for path in shard_paths(folder)[0][:shard_count]:
        by_kind: dict[str, list[Document]] = {}
        for document in read_shard(path):
            if len(document.text) >= EXCERPT_BYTES[0]:
                by_kind.setdefault(document.kind, []).append(document)
        for kind, count in FROM_EACH_SHARD.items():
            documents += rng.sample(by_kind[kind], count)
        texts = [document.text for document in by_kind["web"] + by_kind["other-language"]]
        for _ in range(STRUCTURED_FROM_EACH_SHARD):
            text = make_structured(rng.sample(texts, 12), EXCERPT_BYTES[1], rng)
            documents.append(Document("structured", text))
    headers = sorted(Path(sysconfig.get_paths()["include"]).rglob("*.h"))
    code = [*read_standard_library(), *(Document("code", path.read_text(encoding="utf-8")) for path in headers)]
    documents += rng.sample([document for document in code if len(document.text) >= EXCERPT_BYTES[0]], CODE_DOCUMENTS)
    rng.shuffle(documents)
    return [vary_layout(_excerpt(document, rng), rng) for document in documents]


def _excerpt(document: Document, rng: random.Random) -> Document:
    low, high = EXCERPT_BYTES
    size = int(low * (high / low) ** rng.random())
    first = rng.randrange(max(1, len(document.text) - size))
    first = document.text.rfind("\n", 0, first) + 1
    return Document(document.kind, document.text[first : first + size])


def read_by_model(
    text: bytes, predictor: Predictor, vocabulary: Vocabulary
) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """([streams, n] tokens of a document, [streams, n, depth] the model's log-odds), as the codec would have them."""
    tokens = predictor.tokenize(text)
    streams = choose_streams(len(tokens), STREAM_TOKENS)
    table = tokens[: len(tokens) // streams * streams].reshape(streams, -1)
    context = with_model(predictor).start(streams)
    assert isinstance(context, ExactContext)
    return table, context.scores(table, vocabulary.odds)


def first_unigram(tables: list[NDArray[np.int64]], vocabulary: Vocabulary) -> NDArray[np.uint64]:
    """[vocabulary]: slots with the probability of "right" at each node in an average document."""
    tree, size = vocabulary.tree, vocabulary.size
    shares = np.mean([np.bincount(table.ravel(), minlength=size) / table.size for table in tables], axis=0)
    guess = 1.0 / (np.arange(size) + 50)
    shares = OWN_WEIGHT * shares + (1 - OWN_WEIGHT) * guess / guess.sum()
    visits = np.repeat(shares, np.diff(tree.path_start))
    reached = np.bincount(tree.path_node, visits, size)
    right = np.bincount(tree.path_node, visits * tree.path_bit, size)
    probability = np.rint(65536 * right / np.maximum(reached, 1e-12)).clip(64, 65536 - 64)
    probability[size - 1] = 32768  # there is no such node
    return layout.unigram_slots(probability.astype(np.int64) << (layout.PROBABILITY_BITS - 16))


LEARNT = ("weights", "final_weights", "certainty", "hit_rate")


def learn_state(
    samples: list[tuple[NDArray[np.int64], NDArray[np.int16] | None]], vocabulary: Vocabulary, seed: int
) -> Beginning:
    """The first state for documents like the samples: (tokens, log-odds of a model, or None where there is none)."""
    alone = samples[0][1] is None
    unigram = first_unigram([table for table, _ in samples], vocabulary)
    constants = layout.constant_beginning(vocabulary.size, vocabulary.tree.node_rows, alone=alone)
    average = {name: getattr(constants, name).astype(np.float64) for name in LEARNT}
    order = np.random.default_rng(seed)
    for number, (first_step, last_step, tied) in enumerate(PASSES):
        bits = 0.0
        for place, index in enumerate(order.permutation(len(samples))):
            step = first_step * (last_step / first_step) ** (place / len(samples))
            table, odds = samples[index]
            memory = Memory(vocabulary, table.size, len(table), alone=alone, first=_rounded(average, unigram))
            bits -= float(np.log2(memory.intervals(table, odds)[1] / 2.0**24).sum()) / table.size
            assert isinstance(memory.network, Native)  # the definition would take days
            learnt, uses = memory.network.learnt()
            for name in LEARNT:
                move = getattr(learnt, name) - average[name]
                if tied and name == "weights":
                    for rows in first_state.set_rows(len(move)):
                        move[rows] = uses[rows] @ move[rows] / max(1, uses[rows].sum())
                average[name] += step * move
        name = "alone" if alone else "with a model"
        print(f"{name}, reading {number + 1}: {bits / len(samples):.4f} bits a token", file=sys.stderr)
    return _rounded(average, unigram)


def _rounded(average: dict[str, NDArray[np.float64]], unigram: NDArray[np.uint64]) -> Beginning:
    weights, final = (np.rint(average[name]).astype(np.int32) for name in LEARNT[:2])
    certainty, hits = (np.rint(average[name]).astype(np.uint32) for name in LEARNT[2:])
    return Beginning(weights, final, certainty, hits, unigram)


def main(
    models: Annotated[list[str], typer.Argument(help="Rungs or folders with one tokenizer, which take turns.")],
    text: Annotated[Path, typer.Option(help="Folder of shard-*.jsonl.bz2; the last shard is not read.")],
    work: Annotated[Path, typer.Option(help="Folder that keeps what the models say of the documents.")],
    out: Annotated[Path, typer.Option(help="The file to write.")] = first_state.PATHS[MEMORY_VERSION],
    shards: Annotated[int, typer.Option(help="How many shards to read.")] = 3,
    seed: Annotated[int, typer.Option(help="For the choice and order of the documents.")] = 1,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 for all.")] = 0,
) -> None:
    """Learns the memory's first state from training text and writes it."""
    predictors = [load_predictor(name, threads=threads) for name in models]
    vocabulary = Vocabulary(predictors[0].token_bytes)
    if any(predictor.token_bytes != predictors[0].token_bytes for predictor in predictors):
        raise typer.BadParameter("the models have different tokenizers")
    kept = work / "read.npz"
    if not kept.exists():
        work.mkdir(parents=True, exist_ok=True)
        documents = sample_documents(text, shards, seed)
        found: dict[str, Any] = {}
        for index, document in enumerate(documents):
            table, odds = read_by_model(document.text.encode(), predictors[index % len(predictors)], vocabulary)
            found[f"tokens{index:04}"], found[f"odds{index:04}"] = table, odds
            if index % 20 == 0:
                print(f"read {index} of {len(documents)} documents", file=sys.stderr)
        np.savez(kept, allow_pickle=False, **found)
    with np.load(kept) as read:
        count = len(read.files) // 2
        samples = [(read[f"tokens{index:04}"], read[f"odds{index:04}"]) for index in range(count)]
    print(f"{count} documents, {sum(table.size for table, _ in samples):,} tokens", file=sys.stderr)
    states = {
        "model": learn_state(list(samples), vocabulary, seed),
        "alone": learn_state([(table.reshape(1, -1), None) for table, _ in samples], vocabulary, seed),
    }
    first_state.write(states, predictors[0].token_bytes, out)
    print(f"{out}: {out.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    typer.run(main)
