"""Measures a finished rung on the held-out texts and writes its card: ``README.md``, ``card.json``, ``training.json``.

Run as ``python -m llmzip.training.card FOLDER`` to measure again what the card of a finished folder says.
Held-out texts are read here and nowhere else in ``training``, after everything is decided.
"""

import json
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from llmzip import archive
from llmzip.coder import MICROBITS
from llmzip.documents import read
from llmzip.engine.weights import Shape, read_config
from llmzip.errors import DocumentError
from llmzip.model_folder import open_model_folder
from llmzip.predictors.exact import load_exact
from llmzip.predictors.hub import load_hub
from llmzip.scoring import frame_microbits, stream_bits
from llmzip.training.export import write_json
from llmzip.training.records import FinishedCard, FinishedLog, LogRow, Timed

SEQUENCE_TOKENS = 1024
SEQUENCES = 48
SPEED_KEYS = (
    "speed_text_bytes",
    "compress_kb_per_second",
    "decompress_kb_per_second",
    "compress_over_bare",
    "decompress_over_bare",
)


def speed_facts(timed: Timed) -> dict[str, Any]:
    """The SPEED_KEYS of a card: with memory, and of the model alone."""
    return {
        "speed_text_bytes": timed.text_bytes,
        "compress_kb_per_second": timed.with_memory.compress_kb_per_second,
        "decompress_kb_per_second": timed.with_memory.decompress_kb_per_second,
        "compress_over_bare": timed.compress_over_products,
        "decompress_over_bare": timed.decompress_over_products,
    }


def held_out_bits(folder: Path, float_folder: Path, text: bytes) -> dict[str, float]:
    """Bits per byte of a sample of ``text`` under the float model and under the exact engine.

    The sample is up to 48 sequences of 1,024 tokens from all over the text, each begun with the start token; both
    models see the same tokens, so that their difference is what the integers cost, in storage and in arithmetic.
    """
    exact, plain = load_exact(folder, folder.name), load_hub(float_folder, float_folder.name)
    tokens = exact.tokenize(text)
    count = len(tokens) // SEQUENCE_TOKENS
    chosen = np.unique(np.linspace(0, count - 1, min(SEQUENCES, count)).astype(int))
    sample = tokens[: count * SEQUENCE_TOKENS].reshape(count, -1)[chosen].ravel()
    size = len(exact.detokenize(sample))
    coded = frame_microbits(archive.MODEL, sample, exact, len(chosen)) / MICROBITS
    return {"float": stream_bits(sample, plain, len(chosen)) / size, "exact": coded / size}


def training_record(log: Sequence[LogRow], parameters: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """From the log of a run: what ``card.json`` says of the training, and the checkpoints of ``training.json``.

    ``prequential_bits`` is the code length of the first ``prequential_bytes`` of text, which were read once; ``bytes``
    counts what was read again, too. Raises DocumentError where there is no row.
    """
    if not log:
        raise DocumentError("log.jsonl: it has no row: train to the first evaluation")
    last = log[-1]
    summary = {
        "training_tokens": last.tokens,
        "training_bytes": last.bytes,
        "training_steps": last.step,
        "training_seconds": round(last.seconds),
        "prequential_bits": round(last.bits),
        "prequential_bytes": last.new_bytes,
        "training_flop": 6 * parameters * last.tokens,
    }
    checkpoints = [
        {
            "tokens": row.tokens,
            "bytes": row.bytes,
            "flop": 6 * parameters * row.tokens,
            "prequential_bits": round(row.bits),
            "prequential_bytes": row.new_bytes,
            "validation_bits_per_byte": {kind: round(bits, 4) for kind, bits in row.validation.items()},
        }
        for row in log
    ]
    return summary, checkpoints


def write_card(
    folder: Path,
    float_folder: Path,
    held_out: Path,
    training: dict[str, Any],
    checkpoints: list[dict[str, Any]],
    sources: str,
    speed: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Measures and writes the three files into ``folder``; returns what is in ``card.json``.

    float_folder: the model before it was stored small, or ``folder`` where that is lost. training: the summary of
    ``training_record`` with ``hardware`` and ``remarks``. speed: ``speed_facts`` of this rung.
    """
    from llmzip.codec import compress, decompress
    from llmzip.predictors.exact import load_exact

    shape, parameters, name = read_config(folder), open_model_folder(folder).parameter_count, training["name"]
    predictor = load_exact(folder, name)
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
        sampled[path.stem] = held_out_bits(folder, float_folder, text)
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    card = {
        "name": name,
        "parameters": parameters,
        "weight_bytes": stored,
        "held_out_bits_per_byte": archive_bits,
        "float_bits_per_byte": {kind: round(bits["float"], 4) for kind, bits in sampled.items()},
        "exact_bits_per_byte": {kind: round(bits["exact"], 4) for kind, bits in sampled.items()},
        "exact_over_float": {kind: round(bits["exact"] / bits["float"] - 1, 6) for kind, bits in sampled.items()},
        "compress_kb_per_second": round(text_bytes / compress_seconds / 1000, 1),
        "decompress_kb_per_second": round(text_bytes / decompress_seconds / 1000, 1),
        **{key: value for key, value in (speed or {}).items() if key in SPEED_KEYS},
        **{key: value for key, value in training.items() if key.split("_")[0] in ("training", "prequential")},
        "hardware": training["hardware"],
        "remarks": training["remarks"],
    }
    write_json(folder / "card.json", card)
    record = {"name": name, "parameters": parameters, "checkpoints": checkpoints}
    write_json(folder / "training.json", record)
    (folder / "README.md").write_text(_readme(shape, card, sources), encoding="utf-8", newline="\n")
    return card


def _readme(shape: Shape, card: dict[str, Any], sources: str) -> str:
    rows = "\n".join(
        f"| {kind} | {bits:.3f} | {card['float_bits_per_byte'][kind]:.4f} | {card['exact_bits_per_byte'][kind]:.4f} "
        f"| {100 * card['exact_over_float'][kind]:+.3f} % |"
        for kind, bits in card["held_out_bits_per_byte"].items()
    )
    timed = "compress_over_bare" in card
    measured_on = f"{card['speed_text_bytes']:,} bytes of prose" if timed else "The held-out texts"
    bare = (
        f". Without memory they take\n{card['compress_over_bare']} and {card['decompress_over_bare']} times the time "
        "of the bare float32 products (`benchmarks/speed.py`)"
        if timed
        else ""
    )
    steps = card["training_steps"]
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# llmzip {card["name"]}

A language model for lossless compression, part of llmzip. Mistral architecture: {card["parameters"]:,} parameters,
width {shape.hidden_size}, {shape.layers} layers, {shape.heads} query and {shape.key_value_heads} key-value head(s) of
{shape.head_dim}, SwiGLU {shape.feed_forward_size}, sliding window {shape.window}, tied embeddings, byte-complete BPE of
{shape.vocabulary_size:,} tokens.

## Storage and loading

{card["weight_bytes"]:,} bytes of weights: every matrix in int8 with a float32 scale a row, the integers with which
llmzip's exact engine calculates, in the "int-quantized" format of compressed-tensors. The engine needs nothing else;
with transformers (5.23 or later):

```python
# pip install transformers compressed-tensors
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
tokenizer = AutoTokenizer.from_pretrained(folder)
```

Every text begins with token {shape.start_token}, which the tokenizer never produces.

## Results

Held-out texts (none of their sources was trained on), bits per byte. *Archive* is the size of the whole file that
`llmzip compress` wrote, decoded and compared; it does not count the model. The last three columns are for a sample of
sequences of 1,024 tokens without memory, read by transformers in float32 with the weights as they were trained and by
the exact engine with those stored here.

| kind | archive | float32 | exact | integers cost |
|---|--:|--:|--:|--:|
{rows}

{measured_on} compressed at {card["compress_kb_per_second"]} KB/s and decompressed at
{card["decompress_kb_per_second"]} KB/s, with memory, on {card["hardware"]}{bare}.

## Training

{card["training_tokens"]:,} tokens ({card["training_bytes"]:,} bytes of text) in {steps:,} steps of about
{round(card["training_tokens"] / steps):,} tokens, {card["training_seconds"]:,} s of wall time on {card["hardware"]}.
Muon for the matrices, AdamW for the rest; warm-up, constant, linear decay over the last two fifths. The prequential
code length of the text, when it was seen for the first time (the sum of the bits of every batch before it was learnt),
is {card["prequential_bits"]:,} bits. `training.json` has the curve.

{card["remarks"]}

Made by `python -m llmzip.training`; measured with Python {platform.python_version()} and transformers
{version("transformers")}.

## Intended use and limits

To estimate the probability of the next token of a text in order to compress it. It is far too small to write sensible
text, it has no instructions, no safety training, and it repeats the habits of its sources, many of them a century old.

## Licence

Apache-2.0, as llmzip.

## Data

Python's standard library (PSF licence), without the packages `asyncio`, `email`, `json`, `http` and `unittest`, and:

{sources}
"""


def licence_table(path: Path) -> str:
    """The table of sources in ``SOURCES.md``, or in the README of a finished folder."""
    if not path.exists():
        return f"The shards in {path.parent.name}."
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if re.match(r"\|", line)]
    start = next((i for i, line in enumerate(lines) if line.startswith("| kind | source")), 0)
    return "\n".join(lines[start:])


def main(
    folder: Annotated[Path, typer.Argument(help="A finished folder with card.json, training.json and README.md.")],
    held_out: Annotated[Path, typer.Option(help="Folder of one *.txt a kind.")],
    float_folder: Annotated[Path | None, typer.Option(help="The model before it was stored small.")] = None,
    speed: Annotated[Path | None, typer.Option(help="What benchmarks/speed.py printed for this model.")] = None,
) -> None:
    """Measures a finished rung again and rewrites its card."""
    training: dict[str, Any] = asdict(read(folder / "card.json", FinishedCard))
    checkpoints = read(folder / "training.json", FinishedLog).checkpoints
    timed = None if speed is None else speed_facts(read(speed, Timed))
    sources = licence_table(folder / "README.md")
    card = write_card(folder, float_folder or folder, held_out, training, checkpoints, sources, timed)
    typer.echo(json.dumps(card, indent=2))


if __name__ == "__main__":
    typer.run(main)
