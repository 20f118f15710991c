"""One command a rung: ``python -m llmzip.training small --text DATA --held-out HELD_OUT --work FOLDER --out FOLDER``.

Prepares what is missing in ``--work`` (tokenizer, packed tokens), trains from the last checkpoint if there is one, and
writes the finished Hugging Face folder with its card. The only module of ``training`` that prints.
"""

import json
import os
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from tokenizers import Tokenizer

from llmzip.engine.weights import load_weights
from llmzip.training.bpe import learn_tokenizer, save_tokenizer
from llmzip.training.card import licence_table, training_record, write_card
from llmzip.training.export import export_model
from llmzip.training.grow import grown_state
from llmzip.training.pack import pack_documents, token_byte_lengths
from llmzip.training.rungs import RUNGS, VOCABULARY_SIZE
from llmzip.training.store import store_small
from llmzip.training.text import training_documents, validation_texts
from llmzip.training.train import train

TOKENIZER_SAMPLE_CHARACTERS = 40_000  # of every third document
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
VALIDATION_BYTES = 120_000  # of each kind


def prepare(text: Path, work: Path, shards: int, seed: int, vocabulary_size: int) -> None:
    """Learns the tokenizer and packs the training documents, where that is not done yet."""
    packed, tokenizer_folder = work / "train.u16", work / "tokenizer"
    if packed.exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    print(f"reading {shards} shards of {text}", file=sys.stderr)
    documents = training_documents(text, shards, seed)
    if not (tokenizer_folder / "tokenizer.json").exists():
        sample = [document.text[:TOKENIZER_SAMPLE_CHARACTERS] for document in documents[::3]]
        save_tokenizer(learn_tokenizer(sample, vocabulary_size), tokenizer_folder)
    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    sizes = pack_documents(documents, tokenizer, packed)
    (work / "sizes.json").write_text(json.dumps(sizes, indent=2) + "\n")
    print(f"packed {packed.stat().st_size // 2:,} tokens of {sum(sizes.values()):,} bytes", file=sys.stderr)


def main(
    rung: Annotated[str, typer.Argument(help=f"One of: {', '.join(RUNGS)}.")],
    text: Annotated[Path, typer.Option(help="Folder of shard-*.jsonl.bz2; the last shard is for validation.")],
    held_out: Annotated[Path, typer.Option(help="Folder of one *.txt a kind, read only for the card.")],
    work: Annotated[Path, typer.Option(help="Folder for tokens, checkpoints and logs; a second run goes on there.")],
    out: Annotated[Path, typer.Option(help="Folder of the finished model.")],
    tokens: Annotated[int, typer.Option(help="Training tokens; 0 for the rung's own number.")] = 0,
    shards: Annotated[int, typer.Option(help="How many shards to read.")] = 5,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 for all.")] = 0,
    device: Annotated[str, typer.Option(help="Such as cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(help="For the order of the text and the first weights.")] = 1,
    compiled: Annotated[bool, typer.Option(help="Use torch.compile (needs a C++ compiler).")] = True,
    grow_from: Annotated[
        Path | None, typer.Option(help="Folder of a finished smaller rung to start from, with its tokenizer.")
    ] = None,
    remarks: Annotated[str, typer.Option(help="A sentence for the card on how this run differed.")] = "",
) -> None:
    """Trains one rung of the embedded ladder and writes its folder."""
    if rung not in RUNGS:
        raise typer.BadParameter(f"{rung} is not one of {', '.join(RUNGS)}")
    shape = RUNGS[rung]
    torch.set_num_threads(threads or os.cpu_count() or 1)
    if grow_from is not None and not (work / "tokenizer").exists():
        (work / "tokenizer").mkdir(parents=True)
        for name in TOKENIZER_FILES:
            shutil.copy(grow_from / name, work / "tokenizer" / name)
    prepare(text, work, shards, seed, VOCABULARY_SIZE)
    tokenizer = Tokenizer.from_file(str(work / "tokenizer" / "tokenizer.json"))
    lengths = token_byte_lengths(tokenizer)
    texts = {
        kind: np.array(tokenizer.encode(value).ids) for kind, value in validation_texts(text, VALIDATION_BYTES).items()
    }
    total = tokens or shape.training_tokens
    first_state = None if grow_from is None else grown_state(grow_from, shape)
    started, recent = time.monotonic(), 0.0
    steps = train(shape, work / "train.u16", texts, lengths, work / rung, total, device, seed, compiled, first_state)
    for record in steps:
        recent = 0.98 * recent + 0.02 * record["bits_per_byte"] if recent else record["bits_per_byte"]
        if "validation" in record or record["step"] % 50 == 0:
            left = (total - record["tokens"]) * record["seconds"] / record["tokens"]
            validation = " ".join(f"{kind} {bits:.3f}" for kind, bits in record.get("validation", {}).items())
            print(
                f"{time.monotonic() - started:7.0f} s  step {record['step']}  {record['tokens'] / 1e6:.2f} M tokens  "
                f"{recent:.4f} bits/byte  {record['tokens'] / record['seconds']:.0f} tokens/s  "
                f"{left / 60:.0f} min left  {validation}",
                file=sys.stderr,
            )
    state = torch.load(work / rung / "checkpoint.pt", weights_only=True, map_location="cpu")["model"]
    float_folder = work / rung / "float-model"
    export_model(state, shape, float_folder)
    for name in TOKENIZER_FILES:
        shutil.copy(work / "tokenizer" / name, float_folder / name)
    store_small(float_folder, out)
    log = [json.loads(line) for line in (work / rung / "log.jsonl").read_text().splitlines()]
    hardware = f"{os.cpu_count()} cores ({platform.machine()})" if device == "cpu" else torch.cuda.get_device_name()
    summary, checkpoints = training_record(log, load_weights(out).parameter_count)
    training = {"name": rung, **summary, "hardware": hardware, "remarks": remarks}
    card = write_card(out, float_folder, held_out, training, checkpoints, licence_table(text.parent / "SOURCES.md"))
    print(json.dumps(card, indent=2))


if __name__ == "__main__":
    typer.run(main)
