"""How far the codec is from bare matrix products, and what memory costs: ``python benchmarks/speed.py [MODEL] [FILE]``.

Times, in one process and on the same threads, (a) the float32 products of the model's linear layers for the tokens of
the file in batches of 1,024 rows and nothing else, then compressing and decompressing (b) with the model alone, (c)
with the model and memory, (d) with memory alone. Machines differ and are noisy; the ratios are what is worth quoting:
of seconds on the clock, and of seconds of the cores' time, which others at work on the machine disturb less.
Attention's own products are left out of (a), so its ratios are on the strict side. FILE should be prose of about 1 MiB
(a book), so that a model codes all of it and there are enough streams; without it the texts in ``corpora`` are used,
which are a quarter of that. Writes one JSON object to stdout.
"""

import io
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from llmzip.archive import read_info
from llmzip.codec import compress, decompress
from llmzip.parallel import usable_cores
from llmzip.predictor import Predictor
from llmzip.predictors import ADAPTIVE, DEFAULT_RUNG, embedded_rungs, load_predictor

THREADS = 2
ROWS = 1024


def sample_text() -> bytes:
    """The texts in ``corpora``, once each: repeated, they would be zstd's, and the model given up early."""
    folder = Path(__file__).resolve().parent.parent / "corpora"
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*.txt")))


def bare_seconds(model: object, token_count: int) -> float:
    """Seconds for the float32 products of ``token_count`` tokens."""
    layers, head = model.layers, model.head  # type: ignore[attr-defined]
    matrices = [
        part
        for layer in layers
        for linear in (layer.query_key_value, layer.attention_out, layer.gate_up, layer.down)
        for part in linear.parts
    ]
    matrices += head.parts
    inputs = {len(matrix): np.ones((ROWS, len(matrix)), np.float32) for matrix in matrices}
    outputs = {matrix.shape[1]: np.empty((ROWS, matrix.shape[1]), np.float32) for matrix in matrices}
    with threadpoolctl.threadpool_limits(THREADS):
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
    beginning = text[:5000]
    assert decompress(compress(beginning, predictor, memory=memory), predictor) == beginning  # compiles
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


def speed_ratios(row: dict[str, Any], base: dict[str, Any]) -> dict[str, float]:
    """How fast ``row`` is, with ``base`` as 1."""
    keys = [key for key in row if key.endswith("_seconds")]
    return {key.replace("_seconds", "_speed"): round(base[key] / row[key], 3) for key in keys}


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_RUNG
    text = Path(sys.argv[2]).read_bytes() if len(sys.argv) > 2 else sample_text()
    predictor = load_predictor(name, engine="native", threads=THREADS)
    adaptive = load_predictor(ADAPTIVE, threads=THREADS)
    token_count = len(predictor.tokenize(text))
    products = bare_seconds(predictor._model, token_count)  # type: ignore[attr-defined]
    alone = measure(text, predictor, memory=False, kinds={"model"})
    with_memory = measure(text, predictor, memory=True, kinds={"model+memory"})
    without_model = measure(text, adaptive, memory=True, kinds={"memory"})
    products = (products + bare_seconds(predictor._model, token_count)) / 2  # type: ignore[attr-defined]
    result = {
        "name": name,
        "parameters": next((card.parameter_count for card in embedded_rungs() if card.name == name), None),
        "text_bytes": len(text),
        "tokens": token_count,
        "threads": THREADS,
        "load_average_over_cores": round(os.getloadavg()[0] / usable_cores(), 1) if hasattr(os, "getloadavg") else None,
        "bare_products_seconds": round(products, 2),
        "compress_over_products": round(alone["compress_seconds"] / products, 2),
        "decompress_over_products": round(alone["decompress_seconds"] / products, 2),
        "model": alone,
        "model+memory": with_memory,
        "memory": without_model,
        "model+memory over model": speed_ratios(with_memory, alone),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
