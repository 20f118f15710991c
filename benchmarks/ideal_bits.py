"""llmzip's ideal bits against an independent computation: ``python benchmarks/ideal_bits.py [MODEL…]``.

The independent computation is the forward pass of transformers in float64, whole windows at once, over the same tokens
by the same rule of context; nothing of llmzip takes part in it but the tokenizer. Compared with it are

- llmzip's float path (``predictors/hub.py``), token by token in float32 and in float64: its bits before and after they
  are rounded to units of 2^-24, which is what a frame codes;
- the exact engine, one stream without memory: integers instead of floating point, so it differs by what that costs.

Where a tokenizer lacks bytes, 2^-10 of every distribution goes to the 256 escapes; what that costs is added to the
independent figure, by that formula.

MODEL is an embedded rung or a folder of the exact engine's family, by default nano; ``--file`` is by default
``corpora/prose-essay.txt``, and its first ``--bytes`` count. Writes a line for each model to stderr and one JSON
document to stdout; the committed one, of all rungs and TinyStories-656K on 4,000 bytes, is
``benchmarks/results/ideal-bits.json``.
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

from llmzip import archive
from llmzip.coder import MICROBITS
from llmzip.predictor import FREQUENCY_TOTAL, ModelPredictor
from llmzip.predictors import embedded_rungs, load_predictor
from llmzip.predictors.guarded_tokenizer import GuardedTokenizer
from llmzip.predictors.hub import load_hub
from llmzip.scoring import frame_microbits

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


def reference_bits(model: Any, tokens: NDArray[np.int64], tokenizer: GuardedTokenizer, window: int) -> float:
    """-log2 p of all tokens but escapes, in float64."""
    bits, done = 0.0, 0
    known = tokens < tokenizer.model_size
    tokens, start = tokenizer.known(tokens), model.config.bos_token_id
    for fed, fresh in windows(tokens, start, window):
        with torch.inference_mode():
            logits = model(input_ids=torch.from_numpy(fed[None]), use_cache=False).logits[0, -fresh:]
        rows = torch.log_softmax(logits, dim=-1)
        wanted = torch.from_numpy(tokens[done : done + fresh])
        own = rows.gather(1, wanted[:, None])[:, 0]
        bits -= float(own[torch.from_numpy(known[done : done + fresh])].sum()) / math.log(2)
        done += fresh
    assert done == len(tokens)
    return bits


def escape_bits(tokens: NDArray[np.int64], tokenizer: GuardedTokenizer) -> float:
    """What it costs that escapes have a share; the forward pass of the model knows nothing of them."""
    if not tokenizer.has_escapes:
        return 0.0
    spelt = int((tokens >= tokenizer.model_size).sum())
    return 18 * spelt - math.log2(1 - 2**-10) * (len(tokens) - spelt)


def float_path(folder: Path, dtype: str, tokens: NDArray[np.int64]) -> tuple[float, float, int]:
    """Bits by the float predictor before and after rounding, and its window."""
    predictor = load_hub(folder, folder.name, dtype=dtype, threads=1).fitted(1, 1)  # small steps gain nothing by more
    context, ideal_bits, coded_bits = predictor.start(1), 0.0, 0.0
    for token in tokens:
        weights = context.next_weights()[0].astype(np.float64)
        ideal_bits -= math.log2(weights[token] / weights.sum())
        coded_bits -= math.log2(context.next_frequencies()[0, token] / FREQUENCY_TOTAL)
        context.append(np.array([token]))
    return ideal_bits, coded_bits, predictor.arithmetic.window


def compare(name: str, data: bytes) -> dict[str, Any]:
    """All figures of one model."""
    folder = {rung.name: rung.folder for rung in embedded_rungs()}.get(name, Path(name))
    predictor = load_predictor(name, arithmetic="exact")
    assert isinstance(predictor, ModelPredictor)
    tokens, tokenizer = predictor.tokenize(data), load_hub(folder, folder.name).tokenizer
    assert np.array_equal(tokens, tokenizer.tokenize(data))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", local_files_only=True, use_safetensors=True
    ).eval()
    torch.set_num_threads(1)

    def independent(tokens: NDArray[np.int64], window: int) -> float:
        return reference_bits(model, tokens, tokenizer, window) + escape_bits(tokens, tokenizer)

    result: dict[str, Any] = {
        "model": folder.name,
        "fingerprint": predictor.fingerprint.hex(),
        "tokens": len(tokens),
        "escape_bits": escape_bits(tokens, tokenizer),
        "float": {},
    }
    for dtype in ("float64", "float32"):
        ideal_bits, coded_bits, window = float_path(folder, dtype, tokens)
        bits = independent(tokens, window)
        result["float"][dtype] = {
            "window_tokens": window,
            "reference_bits": bits,
            "ideal_bits": ideal_bits,
            "ideal_bits_per_byte": ideal_bits / len(data),
            "relative_difference": ideal_bits / bits - 1,
            "rounded_bits": coded_bits,
            "rounding": coded_bits / ideal_bits - 1,
        }
    if not model.config.to_dict().get("sliding_window"):
        # Beyond its positions a model means nothing, and the engine's attention begins to slide.
        tokens = tokens[: model.config.max_position_embeddings - 1]
    byte_count = len(b"".join(tokenizer.token_bytes[token] for token in tokens))
    bits = independent(tokens, 0)
    engine_bits = frame_microbits(archive.MODEL, tokens, predictor, 1) / MICROBITS
    result["exact"] = {
        "tokens": len(tokens),
        "reference_bits": bits,
        "reference_bits_per_byte": bits / byte_count,
        "ideal_bits": engine_bits,
        "ideal_bits_per_byte": engine_bits / byte_count,
        "relative_difference": engine_bits / bits - 1,
    }
    floats = ", ".join(
        f"{dtype} {found['ideal_bits_per_byte']:.5f} ({found['relative_difference']:+.1e})"
        for dtype, found in result["float"].items()
    )
    exact = f"exact {engine_bits / byte_count:.5f} ({engine_bits / bits - 1:+.3%}; {len(tokens):,} tokens)"
    forward = result["float"]["float64"]["reference_bits"] / len(data)
    print(f"{folder.name}: bits per byte: forward pass {forward:.5f}, {floats}, {exact}", file=sys.stderr, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["nano"])
    parser.add_argument("--file", type=Path, default=ROOT / "corpora" / "prose-essay.txt")
    parser.add_argument("--bytes", type=int, default=1 << 20)
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    data = arguments.file.read_bytes()[: arguments.bytes]
    document = {
        "file": arguments.file.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
        "models": [compare(name, data) for name in arguments.models],
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
