"""How fast the codec is, beside bare matrix products and beside an earlier checkout.

    python benchmarks/speed.py [MODEL] [FILE] [--before CHECKOUT]

Times, in one process, (a) the float32 products of the model's linear layers for the tokens of the file in batches of
1,024 rows and nothing else, then compressing and decompressing (b) with the model alone, (c) with the model and memory,
(d) with memory alone. ``--before`` times (c) and (d) in turn here and in another checkout, ROUNDS times each, every
time in a process of its own after a warm-up, and gives the medians of both with their ratio. Machines differ and are
noisy; the ratios are what is worth quoting. FILE should be prose of 200 KB or more; without it the texts in ``corpora``
are used. Writes one JSON object to stdout.
"""

import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from llmzip.archive import read_info
from llmzip.bench.provenance import processor
from llmzip.codec import compress, decompress
from llmzip.engine.weights import Layer, load_weights
from llmzip.native.library import library
from llmzip.parallel import usable_cores
from llmzip.predictor import Predictor
from llmzip.predictors import ADAPTIVE, DEFAULT_RUNG, embedded_rungs, find_model_folder, load_predictor

THREADS = 2
ROWS = 1024
ROUNDS = 3
HERE = Path(__file__).resolve().parent.parent

PROGRAM = """
import sys, time
from pathlib import Path
import llmzip
text = Path(sys.argv[2]).read_bytes()
predictor = llmzip.load_predictor(sys.argv[1], threads=int(sys.argv[3]))
llmzip.decompress(llmzip.compress(text[:20000], predictor), predictor)
start = time.perf_counter()
packed = llmzip.compress(text, predictor)
middle = time.perf_counter()
assert llmzip.decompress(packed, predictor) == text
print(len(packed), middle - start, time.perf_counter() - middle)
"""
"""What runs in both checkouts: only what is public in either."""


def sample_text() -> bytes:
    """The texts in ``corpora``, once each: repeated, they would be zstd's, and the model given up early."""
    return b"".join(path.read_bytes() for path in sorted((HERE / "corpora").glob("*.txt")))


def bare_seconds(name: str, token_count: int) -> float:
    """Seconds for the float32 products of ``token_count`` tokens, on as many threads as BLAS takes."""
    weights = load_weights(find_model_folder(name))
    linears = [getattr(layer, part) for layer in weights.layers for part in Layer.__dataclass_fields__]
    matrices = [part for linear in [*linears, weights.head] for part in linear.parts]
    inputs = {len(matrix): np.ones((ROWS, len(matrix)), np.float32) for matrix in matrices}
    outputs = {matrix.shape[1]: np.empty((ROWS, matrix.shape[1]), np.float32) for matrix in matrices}
    started = time.perf_counter()
    for _ in range(token_count // ROWS):
        for matrix in matrices:
            np.matmul(inputs[len(matrix)], matrix, out=outputs[matrix.shape[1]])
    return time.perf_counter() - started


Seconds = tuple[float, float]
"""On the clock, and of the cores' time in this process."""


def timed(work: Callable[[], bytes]) -> tuple[bytes, Seconds]:
    clock, cores = time.perf_counter(), time.process_time()
    result = work()
    return result, (time.perf_counter() - clock, time.process_time() - cores)


def measure(text: bytes, predictor: Predictor, *, memory: bool, kinds: set[str]) -> dict[str, Any]:
    """One line of the result; ``kinds`` are the frames that may be in the archive."""
    beginning = text[:20000]
    assert decompress(compress(beginning, predictor, memory=memory), predictor) == beginning  # what is made once
    packed, compressing = timed(lambda: compress(text, predictor, memory=memory))
    back, decompressing = timed(lambda: decompress(packed, predictor))
    found = {frame.kind for member in read_info(io.BytesIO(packed)) for frame in member.frames}
    if not found <= kinds:
        raise SystemExit(f"frames of kind {found}: time a text that is coded by {kinds} throughout")
    if back != text:
        raise SystemExit("the text did not come back")
    row: dict[str, Any] = {"archive_bytes": len(packed)}
    for name, (clock, cores) in (("compress", compressing), ("decompress", decompressing)):
        row[f"{name}_seconds"], row[f"{name}_core_seconds"] = round(clock, 3), round(cores, 3)
        row[f"{name}_kb_per_second"] = round(len(text) / clock / 1000, 1)
        row[f"{name}_kb_per_core_second"] = round(len(text) / cores / 1000, 1)
    return row


def in_checkout(checkout: Path, name: str, text: Path) -> tuple[int, float, float]:
    """Archive bytes, and the seconds that both ways take there."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", PROGRAM, name, str(text), str(THREADS)]
    found = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True, check=True)
    size, compressing, decompressing = found.stdout.split()
    return int(size), float(compressing), float(decompressing)


def beside(before: Path, name: str, text: Path) -> dict[str, Any]:
    """Both checkouts in turn: medians in KB a second, and how much faster this one is."""
    size = text.stat().st_size
    runs: dict[Path, list[tuple[int, float, float]]] = {HERE: [], before: []}
    for _ in range(ROUNDS):
        for checkout, found in runs.items():
            found.append(in_checkout(checkout, name, text))
    rates = {}
    for place, way in enumerate(("compress", "decompress"), 1):
        now, then = (statistics.median(run[place] for run in runs[checkout]) for checkout in (HERE, before))
        rates |= {f"{way}_kb_per_second": round(size / now / 1000, 1)}
        rates |= {f"{way}_kb_per_second_before": round(size / then / 1000, 1), f"{way}_speedup": round(then / now, 2)}
    return {"archive_bytes": runs[HERE][0][0], "archive_bytes_before": runs[before][0][0], **rates}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default=DEFAULT_RUNG)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--before", type=Path, help="A checkout to time beside this one, in turn.")
    arguments = parser.parse_args()
    name, file = arguments.model, arguments.file
    text = file.read_bytes() if file else sample_text()
    predictor, adaptive = load_predictor(name, threads=THREADS), load_predictor(ADAPTIVE, threads=THREADS)
    token_count = len(predictor.tokenize(text))
    products = bare_seconds(name, token_count)
    alone = measure(text, predictor, memory=False, kinds={"model"})
    with_memory = measure(text, predictor, memory=True, kinds={"model+memory"})
    without_model = measure(text, adaptive, memory=True, kinds={"memory"})
    products = (products + bare_seconds(name, token_count)) / 2
    found = library()
    result = {
        "name": name,
        "parameters": next((card.parameter_count for card in embedded_rungs() if card.name == name), None),
        "text_bytes": len(text),
        "tokens": token_count,
        "threads": THREADS,
        "kernels": found.kernels if found else "numpy",
        "load_average_over_cores": round(os.getloadavg()[0] / usable_cores(), 1) if hasattr(os, "getloadavg") else None,
        "bare_products_seconds": round(products, 2),
        "compress_over_products": round(alone["compress_seconds"] / products, 2),
        "decompress_over_products": round(alone["decompress_seconds"] / products, 2),
        "model": alone,
        "model+memory": with_memory,
        "memory": without_model,
        "processor": processor(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    if arguments.before:
        if file is None:
            parser.error("--before needs a FILE")
        result["before"] = {each: beside(arguments.before.resolve(), each, file.resolve()) for each in (name, ADAPTIVE)}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
