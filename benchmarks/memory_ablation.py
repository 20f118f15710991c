"""What each part of the memory is worth: ``python benchmarks/memory_ablation.py DATA/train [MODEL] > RESULT.json``.

Codes texts of the validation shard (the last in DATA/train), the interpreter's own sources and records made by rule
with each part left out in turn, and writes the bits of each text, with a model and without one. A part is left out by
setting its inputs of the mixers to zero, in a copy of the kernels that has one more loop. Nothing here is held out or
in ``corpora``.
"""

import importlib.util
import json
import math
import random
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np

from llmzip.frames import STREAM_TOKENS, choose_streams
from llmzip.memory import kernels, mixing
from llmzip.memory.mixing import Memory, Vocabulary, constant_state
from llmzip.predictors import load_predictor
from llmzip.training.structured import make_structured
from llmzip.training.text import read_shard, read_standard_library, shard_paths

CONTEXTS = {
    "one token": 0,
    "two tokens": 1,
    "word and word before": 2,
    "token above and one token": 3,
    "field, its text, line's beginning": 4,
    "word so far": 5,
    "stream | three tokens": 6,
    "stream and word so far | tokens 2, 3": 7,
    "no context": 8,
}
"""Those with a model | without one where they differ."""

FIRST_PREDICTION = 1 + kernels.COUNTERS
FIRST_CORRECTION = FIRST_PREDICTION + kernels.PREDICTIONS

PARTS = {
    "counters": list(range(1, FIRST_PREDICTION)),
    "corrections of the model": list(range(FIRST_CORRECTION, kernels.INPUTS)),
    "tokens after 4 and 6": [FIRST_PREDICTION, FIRST_PREDICTION + 1],
    "matches": [FIRST_PREDICTION + 2, FIRST_PREDICTION + 3],
    **{f"context: {name}": [1 + k, FIRST_CORRECTION + k] for name, k in CONTEXTS.items()},
    "weights a node": [kernels.INPUTS],
}
"""Name -> inputs; the number after the last stands for the second mixer's choice of weights."""

ADDED = (
    (
        "    known = (candidate[0, 0] >= 0)",
        "    for i in range(INPUTS):\n        if state.counts[1 + i]:\n            inputs[i] = 0\n",
    ),
    ("    final = 0\n", "    if state.counts[1 + INPUTS]:\n        state.mixed[1, 1] = 0\n"),
)
"""(line of ``_predict``, what is put before it)"""


def patched_kernels(folder: Path) -> ModuleType:
    """The kernels with a switch for every input, in ``counts`` after its first number."""
    source = Path(kernels.__file__).read_text(encoding="utf-8")
    for line, added in ADDED:
        if source.count(line) != 1:
            raise RuntimeError(f"kernels.py has changed: bring ADDED up to date ({line.strip()!r})")
        source = source.replace(line, added + line)
    (folder / "patched_kernels.py").write_text(source, encoding="utf-8")
    specification = importlib.util.spec_from_file_location("patched_kernels", folder / "patched_kernels.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules["patched_kernels"] = module
    specification.loader.exec_module(module)
    return module


def texts(folder: Path) -> dict[str, bytes]:
    """A short and a longer text of each kind."""
    rng, found = random.Random(5), {}
    documents = list(read_shard(shard_paths(folder)[1]))
    by_kind = {kind: [d.text for d in documents if d.kind == kind] for kind in sorted({d.kind for d in documents})}
    by_kind["python"] = [document.text for document in read_standard_library()]
    for kind, pool in by_kind.items():
        found[f"{kind}, 12 KB"] = rng.choice([text for text in pool if len(text) > 12_000])[:12_000].encode()
        found[f"{kind}, 30 KB"] = rng.choice([text for text in pool if len(text) > 30_000])[:30_000].encode()
    for number in range(4):
        found[f"records {number + 1}"] = make_structured(rng.sample(by_kind["web"], 12), 16_000, rng).encode()
    return found


def main(folder: Path, model: str) -> None:
    predictor = load_predictor(model, threads=1)
    vocabulary = Vocabulary(predictor.token_bytes)
    read = {}
    for name, text in texts(folder).items():
        tokens = predictor.tokenize(text)
        streams = choose_streams(len(tokens), STREAM_TOKENS)
        table = tokens[: len(tokens) // streams * streams].reshape(streams, -1)
        read[name] = table, predictor.start(streams).scores(table, vocabulary.odds)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        mixing.kernels = patched_kernels(Path(scratch))
        for alone in (False, True):
            for part in ("nothing", "learnt first state", *PARTS):
                first = constant_state(vocabulary.size, alone=alone) if part == "learnt first state" else None
                bits = {}
                for name, (table, odds) in read.items():
                    table = table.reshape(1, -1) if alone else table
                    memory = Memory(vocabulary, table.size, len(table), alone=alone, first=first)
                    off = np.zeros(1 + kernels.INPUTS + 1, np.int64)
                    off[[1 + place for place in PARTS.get(part, [])]] = 1
                    memory._state = memory._state._replace(counts=off)
                    own = memory.intervals(table, None if alone else odds)[1]
                    bits[name] = round(float(-np.log2(own / 2.0**24).sum()))
                rows.append({"model": None if alone else model, "without": part, "bits": bits})
                whole = next(row["bits"] for row in rows if row["model"] == rows[-1]["model"])
                more = [math.log(bits[name] / whole[name]) for name in bits]
                rows[-1]["mean"] = round(math.exp(sum(more) / len(more)) - 1, 5)
                print(rows[-1]["model"], part, f"{rows[-1]['mean']:+.2%}", file=sys.stderr)
    json.dump({"rows": rows}, sys.stdout, indent=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "small")
