"""llmzip's ideal bits against an independent computation: ``python benchmarks/ideal_bits.py [MODEL] [FILE]``.

The independent computation is the forward pass of transformers in float64, whole windows at once, over the same tokens
by the same rule of context; nothing of llmzip takes part in it but the tokenizer. Compared with it are

- llmzip's float path (``predictors/hub.py``), token by token in float32 and in float64: its bits before and after they
  are rounded to units of 2^-24, which is what a frame codes;
- the exact engine, one stream without memory: integers instead of floating point, so it differs by what that costs.

MODEL is an embedded rung or a folder, by default nano; FILE by default ``corpora/prose-essay.txt``. Writes one JSON
object to stdout; the committed one is ``benchmarks/results/ideal-bits.json``.
"""

import argparse
import hashlib
import json
import math
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from llmzip.frames import token_intervals
from llmzip.predictor import FREQUENCY_TOTAL
from llmzip.predictors import embedded_rungs, load_predictor

ROOT = Path(__file__).resolve().parent.parent


def windows(tokens: NDArray[np.int64], start: int, window: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """(tokens fed at once, how many of the last positions predict a new token), by the hub predictor's rule.

    A row begins with ``start``. When it would hold more than ``window`` tokens, it is cut to ``start`` and the newest
    ``window // 2``. ``window`` 0: never.
    """
    seen, fresh = [start], 1
    for token in tokens[:-1].tolist():
        seen.append(token)
        if window and len(seen) > window:
            yield np.array(seen[:-1]), fresh
            seen, fresh = [start, *seen[-(window // 2) :]], 0
        fresh += 1
    yield np.array(seen), fresh


def reference_bits(model: Any, tokens: NDArray[np.int64], start: int, window: int) -> float:
    """-log2 p of all tokens, in float64."""
    bits, done = 0.0, 0
    for fed, fresh in windows(tokens, start, window):
        with torch.inference_mode():
            logits = model(input_ids=torch.from_numpy(fed[None]), use_cache=False).logits[0, -fresh:]
        rows = torch.log_softmax(logits, dim=-1)
        wanted = torch.from_numpy(tokens[done : done + fresh])
        bits -= float(rows.gather(1, wanted[:, None]).sum()) / math.log(2)
        done += fresh
    assert done == len(tokens)
    return bits


def float_path(folder: Path, dtype: str, tokens: NDArray[np.int64]) -> tuple[float, float, int] | None:
    """Bits by the float predictor before and after rounding, and its window; None where this llmzip has none."""
    try:
        from llmzip.predictors.hub import load_hub
    except ImportError:
        return None
    predictor = load_hub(folder, folder.name, dtype=dtype, threads=1).fitted(1, 1)  # small steps gain nothing by more
    context, exact_bits, coded_bits = predictor.start(1), 0.0, 0.0
    for token in tokens:
        weights = context.next_weights()[0].astype(np.float64)
        exact_bits -= math.log2(weights[token] / weights.sum())
        coded_bits -= math.log2(context.next_frequencies()[0, token] / FREQUENCY_TOTAL)
        context.append(np.array([token]))
    return exact_bits, coded_bits, predictor.arithmetic.window


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="nano")
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "corpora" / "prose-essay.txt")
    arguments = parser.parse_args()
    folder = {rung.name: rung.folder for rung in embedded_rungs()}.get(arguments.model, Path(arguments.model))
    data = arguments.file.read_bytes()
    predictor = load_predictor(arguments.model)
    tokens = predictor.tokenize(data)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", local_files_only=True, use_safetensors=True
    ).eval()
    start = model.config.bos_token_id
    result: dict[str, Any] = {
        "model": arguments.model,
        "fingerprint": predictor.fingerprint.hex(),
        "file": arguments.file.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "tokens": len(tokens),
        "float": {},
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
    }
    for dtype in ("float64", "float32"):
        found = float_path(folder, dtype, tokens)
        if found is None:
            print("this llmzip has no float predictor: only the exact engine is compared", file=sys.stderr)
            break
        exact_bits, coded_bits, window = found
        bits = reference_bits(model, tokens, start, window)
        result["float"][dtype] = {
            "window_tokens": window,
            "reference_bits": bits,
            "ideal_bits": exact_bits,
            "relative_difference": exact_bits / bits - 1,
            "rounded_bits": coded_bits,
            "rounding": coded_bits / exact_bits - 1,
        }
    bits = reference_bits(model, tokens, start, 0)
    own = np.concatenate([own for _, own in token_intervals(tokens, predictor, 1)])
    engine_bits = float(-np.log2(own / FREQUENCY_TOTAL).sum())
    result["exact"] = {
        "reference_bits": bits,
        "reference_bits_per_byte": bits / len(data),
        "ideal_bits": engine_bits,
        "ideal_bits_per_byte": engine_bits / len(data),
        "relative_difference": engine_bits / bits - 1,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
