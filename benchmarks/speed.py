"""How far the codec is from bare matrix products: run ``python benchmarks/speed.py [MODEL] [FILE]``.

Times, in one process and on the same threads, (a) the float32 products of the model's linear layers for the tokens of
the file in batches of 1,024 rows and nothing else, (b) compressing, (c) decompressing. Machines differ and are noisy;
the ratios b/a and c/a are what is worth quoting. Attention's own products are left out of (a), so the ratios are
on the strict side. FILE should be prose of about 1 MiB (a book), so that a model codes all of it and there are enough
streams; without it the texts in ``corpora`` are used, which are a quarter of that. Writes one JSON object to stdout.
"""

import io
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import threadpoolctl

from llmzip.archive import read_info
from llmzip.codec import compress, decompress
from llmzip.predictors import DEFAULT_RUNG, embedded_rungs, load_predictor

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


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_RUNG
    text = Path(sys.argv[2]).read_bytes() if len(sys.argv) > 2 else sample_text()
    predictor = load_predictor(name, engine="compiled", threads=THREADS)
    warm = compress(text[:20000], predictor)  # compiles
    assert decompress(warm, predictor) == text[:20000]
    token_count = len(predictor.tokenize(text))
    bare = bare_seconds(predictor._model, token_count)  # type: ignore[attr-defined]
    started = time.perf_counter()
    packed = compress(text, predictor)
    compressing = time.perf_counter() - started
    started = time.perf_counter()
    back = decompress(packed, predictor)
    decompressing = time.perf_counter() - started
    bare = (bare + bare_seconds(predictor._model, token_count)) / 2  # type: ignore[attr-defined]
    kinds = {frame.kind for member in read_info(io.BytesIO(packed)) for frame in member.frames}
    if kinds != {"model"}:
        raise SystemExit(f"frames of kind {kinds}: time a text that a model codes throughout")
    if back != text:
        raise SystemExit("the text did not come back")
    result = {
        "model": name,
        "parameters": next((card.parameter_count for card in embedded_rungs() if card.name == name), None),
        "text_bytes": len(text),
        "archive_bytes": len(packed),
        "tokens": token_count,
        "threads": THREADS,
        "bare_products_seconds": round(bare, 2),
        "compress_seconds": round(compressing, 2),
        "decompress_seconds": round(decompressing, 2),
        "compress_over_bare": round(compressing / bare, 2),
        "decompress_over_bare": round(decompressing / bare, 2),
        "compress_kb_per_second": round(len(text) / compressing / 1000, 1),
        "decompress_kb_per_second": round(len(text) / decompressing / 1000, 1),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
