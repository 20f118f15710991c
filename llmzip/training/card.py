"""Measures a finished rung on the held-out texts and writes its card: ``README.md``, ``card.json``, ``training.json``.

Held-out texts are read here and nowhere else in ``training``, after everything is decided.
"""

import json
import math
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from llmzip.engine.model import ExactModel, ExactStreams
from llmzip.engine.weights import load_weights
from llmzip.predictors.byte_tokenizer import ByteTokenizer
from llmzip.training.rungs import START_TOKEN, Rung

SEQUENCE_TOKENS = 1024
SEQUENCES = 48


def held_out_bits(folder: Path, text: bytes) -> dict[str, float]:
    """Bits per byte of a sample of ``text`` under the float model and under the exact engine.

    The sample is up to 48 sequences of 1,024 tokens from all over the text, each begun with the start token; both
    models see the same tokens, so that their difference is what the integers cost.
    """
    tokenizer = ByteTokenizer(folder / "tokenizer.json")
    tokens = tokenizer.tokenize(text)
    count = len(tokens) // SEQUENCE_TOKENS
    chosen = np.unique(np.linspace(0, count - 1, min(SEQUENCES, count)).astype(int))
    sample = tokens[: count * SEQUENCE_TOKENS].reshape(count, -1)[chosen]
    size = sum(len(tokenizer.detokenize(row)) for row in sample)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    nats = 0.0
    with torch.no_grad():
        for row in torch.from_numpy(sample):
            inputs = torch.cat((torch.tensor([START_TOKEN]), row[:-1]))[None]
            nats += float(torch.nn.functional.cross_entropy(model(inputs).logits[0].float(), row, reduction="sum"))
    exact = ExactStreams(ExactModel(load_weights(folder), "compiled"), len(sample))
    bits = float(-np.log2(exact.intervals(sample)[1] / 2.0**24).sum())
    return {"float": nats / math.log(2) / size, "exact": bits / size}


def write_card(
    folder: Path, rung: Rung, held_out: Path, log: list[dict[str, Any]], notes: dict[str, Any], sources: str
) -> dict[str, Any]:
    """Writes the three files into ``folder`` and returns what is in ``card.json``."""
    from llmzip.codec import compress, decompress
    from llmzip.predictors.exact import load_exact

    predictor = load_exact(folder, rung.name)
    archive_bits: dict[str, float] = {}
    text_bytes, compress_seconds, decompress_seconds = 0, 0.0, 0.0
    sampled: dict[str, dict[str, float]] = {}
    for path in sorted(held_out.glob("*.txt")):
        text = path.read_bytes()
        started = time.perf_counter()
        packed = compress(text, predictor)
        packed_at = time.perf_counter()
        if decompress(packed, predictor) != text:
            raise RuntimeError(f"{path.name} did not come back: do not ship this model")
        text_bytes += len(text)
        compress_seconds += packed_at - started
        decompress_seconds += time.perf_counter() - packed_at
        archive_bits[path.stem] = round(8 * len(packed) / len(text), 4)
        sampled[path.stem] = {key: round(value, 5) for key, value in held_out_bits(folder, text).items()}
    last = log[-1]
    parameters = load_weights(folder).parameter_count
    card = {
        "name": rung.name,
        "parameters": parameters,
        "held_out_bits_per_byte": archive_bits,
        "exact_over_float": {k: round(v["exact"] / v["float"] - 1, 6) for k, v in sampled.items()},
        "compress_kb_per_second": round(text_bytes / compress_seconds / 1000, 1),
        "decompress_kb_per_second": round(text_bytes / decompress_seconds / 1000, 1),
        "training_tokens": last["tokens"],
        "training_bytes": last["bytes"],
        "training_steps": last["step"],
        "training_seconds": round(last["seconds"]),
        "prequential_bits": round(last["bits"]),
        "training_flop": 6 * parameters * last["tokens"],
        **notes,
    }
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8", newline="\n")
    checkpoints = [
        {
            "tokens": row["tokens"],
            "bytes": row["bytes"],
            "flop": 6 * parameters * row["tokens"],
            "prequential_bits": round(row["bits"]),
            "validation_bits_per_byte": {kind: round(bits, 4) for kind, bits in row["validation"].items()},
        }
        for row in log
    ]
    (folder / "training.json").write_text(
        json.dumps({"name": rung.name, "parameters": parameters, "checkpoints": checkpoints}, indent=1) + "\n",
        encoding="utf-8",
        newline="\n",
    )
    (folder / "README.md").write_text(_readme(rung, card, sampled, sources), encoding="utf-8", newline="\n")
    return card


def _readme(rung: Rung, card: dict[str, Any], sampled: dict[str, dict[str, float]], sources: str) -> str:
    rows = "\n".join(
        f"| {kind} | {card['held_out_bits_per_byte'][kind]:.3f} | {bits['float']:.4f} | {bits['exact']:.4f} "
        f"| {100 * (bits['exact'] / bits['float'] - 1):+.3f} % |"
        for kind, bits in sampled.items()
    )
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# llmzip {rung.name}

A language model for lossless compression, part of llmzip. Mistral architecture: {card["parameters"]:,} parameters,
width {rung.hidden_size}, {rung.layers} layers, {rung.heads} query heads and {rung.key_value_heads} key-value head(s) of
{rung.head_dim}, SwiGLU {rung.feed_forward_size}, sliding window {rung.window}, tied embeddings, byte-complete BPE of
4,096 tokens. Weights in float16; llmzip's exact engine quantises them to 8 bits when it loads them.

## Results

Held-out texts (none of their sources was trained on), bits per byte. *Archive* is the size of the whole file that
`llmzip compress` wrote, decoded and compared; it does not count the model. The last three columns are for a sample of
sequences of 1,024 tokens read by transformers in float32 and by the exact engine in integers.

| kind | archive | float32 | exact | integers cost |
|---|--:|--:|--:|--:|
{rows}

Compressed at {card["compress_kb_per_second"]} KB/s, decompressed at {card["decompress_kb_per_second"]} KB/s on
{card["hardware"]}.

## Training

{card["training_tokens"]:,} tokens ({card["training_bytes"]:,} bytes of text) in {card["training_steps"]:,} steps of
8,192 tokens, {card["training_seconds"]:,} s of wall time on {card["hardware"]}. Muon for the matrices, AdamW for the
rest; warm-up, constant, linear decay over the last two fifths. The text was seen at most once; its prequential code
length (the sum of the bits of every batch before it was learnt) is {card["prequential_bits"]:,} bits. `training.json`
has the curve.

{card["remarks"]}

Made with Python {platform.python_version()} and torch {torch.__version__.split("+")[0]} by `python -m llmzip.training`.

## Intended use and limits

To estimate the probability of the next token of a text in order to compress it. It is far too small to write sensible
text, it has no instructions, no safety training, and it repeats the habits of its sources, many of them a century old.

## Data

Python's standard library (PSF licence), without the packages `asyncio`, `email`, `json`, `http` and `unittest`, and:

{sources}
"""
