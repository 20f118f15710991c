"""How far apart one float model computes the same text in several ways: ``python benchmarks/drift.py MODEL...``.

Portable archives decode where log-odds differ by less than a tolerance. This measures the difference for

- one forward pass over a text, as an encoder computes it, against a token a step, as a decoder does;
- steps on one thread against two;
- steps with this processor's instructions against others (``ATEN_CPU_CAPABILITY``, in processes of their own);
- the widest of these: a forward pass here against steps with the plainest instructions;
- the same for weights that are rounded to bfloat16, computed in float32; and, to compare, computed in bfloat16.

Each for the log-odds of all decisions on the way to the text's tokens, which are what is rounded and coded, and for all
logits, less what is common to those of a position. The tolerance is what ``--portable`` chooses for 1 MiB on this
machine, with one thread. MODEL is an embedded model or a folder. Writes one JSON object to stdout; the committed one is
``benchmarks/results/drift.json``.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from llmzip.memory.odds import path_odds, tree_of
from llmzip.predictors import load_predictor
from llmzip.predictors.hub import HubPredictor, PortableHubPredictor

ROOT = Path(__file__).resolve().parent.parent
TEXT = ROOT / "corpora" / "prose-story.txt"
ROWS, LENGTH = 8, 600
"""Of the text; longer than the window of TinyStories-656K."""

WAYS = {
    "pass": (1, None, "", "float32"),
    "steps": (1, None, "", "float32"),
    "steps, 2 threads": (2, None, "", "float32"),
    "steps, avx2": (1, "avx2", "", "float32"),
    "steps, default": (1, "default", "", "float32"),
    "pass, rounded": (1, None, "bfloat16", "float32"),
    "steps, rounded, default": (1, "default", "bfloat16", "float32"),
    "steps, rounded, in bfloat16": (1, None, "bfloat16", "bfloat16"),
}
"""Name -> threads, instructions, type that weights are rounded to, type of the arithmetic."""

PAIRS = {
    "one pass, steps": ("pass", "steps"),
    "steps: 1 thread, 2": ("steps", "steps, 2 threads"),
    "steps: AVX-512, AVX2": ("steps", "steps, avx2"),
    "steps: AVX-512, plain": ("steps", "steps, default"),
    "one pass AVX-512, steps plain": ("pass", "steps, default"),
    "the same, bfloat16 weights": ("pass, rounded", "steps, rounded, default"),
    "bfloat16 arithmetic": ("pass, rounded", "steps, rounded, in bfloat16"),
}


def portable_predictor(model: str, threads: int, dtype: str) -> PortableHubPredictor:
    predictor = load_predictor(model, arithmetic="float", threads=threads, dtype=dtype)
    assert isinstance(predictor, HubPredictor)
    return predictor.made_portable()


def compute(model: str, way: str, target: Path) -> None:
    """Writes log-odds and logits of the text, computed in one way, by a process that was started for it."""
    threads, _, rounded, dtype = WAYS[way]
    predictor = portable_predictor(model, threads, dtype)
    predictor = predictor._with(replace(predictor.arithmetic, batch=ROWS, window=predictor.model.window))
    if rounded:
        for parameter in predictor.model._model.parameters():
            parameter.data = parameter.data.to(getattr(torch, rounded)).to(parameter.dtype)
    tokens = predictor.tokenize(TEXT.read_bytes())[: ROWS * LENGTH].reshape(ROWS, LENGTH)
    logits = np.empty((ROWS, LENGTH, predictor.vocabulary_size), np.float32)
    if way.startswith("pass"):
        for rows, positions, found in predictor.teach(tokens):
            logits[rows, positions] = found
    else:
        context = predictor.start_logits(ROWS)
        for position, column in enumerate(tokens.T):
            logits[:, position] = context.next_logits()
            context.append(column)
    odds = path_odds(logits.reshape(tokens.size, -1), tokens.ravel(), tree_of(predictor.token_bytes))
    logits = logits[..., : predictor.tokenizer.model_size]  # without the escapes, which follow from the others
    np.savez(target, odds=odds, logits=logits)


def apart(first: Path, second: Path) -> dict[str, float]:
    """The largest and the 99.99th percentile of the differences of log-odds and of logits."""
    found = {}
    with np.load(first) as one, np.load(second) as other:
        odds = np.abs(one["odds"] - other["odds"])[one["odds"] != 0]  # past the end of a path they are 0
        logits: NDArray[np.float64] = one["logits"].astype(np.float64) - other["logits"]
    logits = np.abs(logits - logits.mean(-1, keepdims=True))
    for name, values in (("log_odds", odds), ("logits", logits)):
        found[f"{name}_largest"] = float(values.max())
        found[f"{name}_99.99_percent"] = float(np.quantile(values, 0.9999))
    return found


def measured(model: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        files = {way: Path(folder) / f"{number}.npz" for number, way in enumerate(WAYS)}
        for way, file in files.items():
            instructions = WAYS[way][1]
            environment = os.environ | ({"ATEN_CPU_CAPABILITY": instructions} if instructions else {})
            command = [sys.executable, __file__, model, "--way", way, "--target", str(file)]
            subprocess.run(command, check=True, env=environment)
        differences = {name: apart(files[first], files[second]) for name, (first, second) in PAIRS.items()}
    predictor = portable_predictor(model, 1, "float32").fitted(1 << 20, None)
    for name, found in differences.items():
        if name != "bfloat16 arithmetic":
            found["tolerance_over_largest"] = predictor.tolerance / found["log_odds_largest"]
    return {
        "vocabulary": predictor.vocabulary_size,
        "tokens": ROWS * LENGTH,
        "window": predictor.arithmetic.window,
        "tolerance": predictor.tolerance,
        "differences": differences,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--machine", default="not described", help="in words, for the results")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--target", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        compute(arguments.models[0], arguments.way, arguments.target)
        return
    result = {
        "text": TEXT.name,
        "models": {Path(model).name: measured(model) for model in arguments.models},
        "machine": arguments.machine,
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
