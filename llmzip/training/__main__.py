"""One command a rung: ``python -m llmzip.training small --text DATA --held-out HELD_OUT --work FOLDER --out FOLDER``.

Three stages, each skipped when it is done: prepare ``--work`` from the text (tokenizer, packed tokens), train from the
last checkpoint, write the finished Hugging Face folder with its card. The second needs only numpy and torch, so that
it can run on a bare machine with a GPU, in slices of ``--stop-after``. The only module of ``training`` that prints,
but for the two commands ``store`` and ``card``.
"""

import argparse
import json
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from llmzip.training.parts import read_parts, write_parts
from llmzip.training.rungs import RUNGS, VOCABULARY_SIZE, Rung
from llmzip.training.train import train

TOKENIZER_SAMPLE_CHARACTERS = 40_000  # of every third document
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
VALIDATION_BYTES = 120_000  # of each kind
CORPORA = Path(__file__).resolve().parent.parent.parent / "corpora"
BYTE_LENGTHS = "byte lengths"


def say(message: str) -> None:
    """Writes one line for whoever watches."""
    print(message, file=sys.stderr, flush=True)


def prepare(text: Path, work: Path, shards: int, seed: int, keep_out: list[Path]) -> None:
    """Learns the tokenizer and packs the training documents and the validation texts, where that is not done yet."""
    from tokenizers import Tokenizer

    from llmzip.training.bpe import learn_tokenizer, save_tokenizer
    from llmzip.training.overlap import KeptOut, kept_out_texts, without_overlap
    from llmzip.training.pack import pack_documents, token_byte_lengths
    from llmzip.training.text import Document, training_documents, validation_texts

    packed, tokenizer_folder = work / "train.u16", work / "tokenizer"
    work.mkdir(parents=True, exist_ok=True)
    if not packed.exists():
        say(f"reading {shards} shards of {text}")
        dropped: list[Document] = []
        read = training_documents(text, shards, seed)
        documents = list(without_overlap(read, KeptOut(kept_out_texts(keep_out)), dropped))
        say(
            f"left out {len(dropped)} of {len(read):,} documents, which share text with {', '.join(map(str, keep_out))}"
        )
        if not (tokenizer_folder / "tokenizer.json").exists():
            sample = [document.text[:TOKENIZER_SAMPLE_CHARACTERS] for document in documents[::3]]
            save_tokenizer(learn_tokenizer(sample, VOCABULARY_SIZE), tokenizer_folder)
        tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
        sizes = pack_documents(documents, tokenizer, packed)
        size = sum(len(document.text.encode()) for document in dropped)
        record = {"bytes": sizes, "documents_left_out": len(dropped), "bytes_left_out": size}
        (work / "sizes.json").write_text(json.dumps(record, indent=2) + "\n")
        say(f"packed {packed.stat().st_size // 2:,} tokens of {sum(sizes.values()):,} bytes")
    if not (work / "validation.npz").exists():
        tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
        texts = validation_texts(text, VALIDATION_BYTES)
        tokens = {kind: np.array(tokenizer.encode(value).ids) for kind, value in texts.items()}
        arrays = {**tokens, BYTE_LENGTHS: token_byte_lengths(tokenizer)}
        np.savez(work / "validation.npz", allow_pickle=False, **arrays)


def run(shape: Rung, arguments: argparse.Namespace, stop_at: float) -> bool:
    """Trains until the end, which is said by True, or until ``stop_at``."""
    work, folder = arguments.work, arguments.work / shape.name
    first_state = None
    if arguments.grow_from is not None:
        from llmzip.training.grow import grown_state

        first_state = grown_state(arguments.grow_from, shape)
    with np.load(work / "validation.npz", allow_pickle=False) as validation:
        texts = {name: validation[name] for name in validation.files}
    lengths = texts.pop(BYTE_LENGTHS)
    total = arguments.tokens or shape.training_tokens
    steps = train(
        shape,
        work / "train.u16",
        texts,
        lengths,
        folder,
        total,
        arguments.device,
        arguments.seed,
        arguments.compiled,
        first_state,
        stop_at,
    )
    started, recent = time.monotonic(), 0.0
    for record in steps:
        recent = 0.98 * recent + 0.02 * record["bits_per_byte"] if recent else record["bits_per_byte"]
        if "validation" in record or record["step"] % 50 == 0:
            left = (total - record["tokens"]) * record["seconds"] / record["tokens"]
            validation = " ".join(f"{kind} {bits:.3f}" for kind, bits in record.get("validation", {}).items())
            say(
                f"{time.monotonic() - started:7.0f} s  step {record['step']}  {record['tokens'] / 1e6:.2f} M tokens  "
                f"{recent:.4f} bits/byte  {record['tokens'] / record['seconds']:.0f} tokens/s  "
                f"{left / 60:.0f} min left  {validation}"
            )
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True, map_location="cpu")
    if checkpoint["state"]["tokens"] < total:
        say(f"stopped after {checkpoint['state']['tokens']:,} of {total:,} tokens: the same command goes on from there")
        return False
    hardware = platform.machine()
    hardware = f"{os.cpu_count()} cores ({hardware})" if arguments.device == "cpu" else torch.cuda.get_device_name()
    (folder / "run.json").write_text(json.dumps({"hardware": hardware, "seed": arguments.seed}) + "\n")
    write_parts(checkpoint["model"], folder)
    return True


def finish(shape: Rung, arguments: argparse.Namespace) -> None:
    """Writes the small Hugging Face folder with its card, and prints what is in ``card.json``."""
    from llmzip.documents import read, read_lines
    from llmzip.model_folder import open_model_folder
    from llmzip.training.card import licence_table, training_record, write_card
    from llmzip.training.export import export_model
    from llmzip.training.records import LogRow, Run, Sizes
    from llmzip.training.store import store_small

    work, folder, out = arguments.work, arguments.work / shape.name, arguments.out
    float_folder = folder / "float-model"
    export_model(read_parts(folder), shape, float_folder)
    for name in TOKENIZER_FILES:
        shutil.copy(work / "tokenizer" / name, float_folder / name)
    store_small(float_folder, out)
    log = read_lines(folder / "log.jsonl", LogRow)
    made = read(folder / "run.json", Run)
    left_out = read(work / "sizes.json", Sizes).documents_left_out
    remarks = [arguments.remarks] if arguments.remarks else []
    if left_out is not None:
        remarks.append(f"{left_out} documents were left out because they share text with what llmzip is measured on.")
    if "cores" in made.hardware:
        remarks.append(f"Seed {made.seed}: the same command makes the same file again on the same machine.")
    else:
        remarks.append("A GPU adds in an order of its own, so the run cannot be repeated bit for bit.")
    summary, checkpoints = training_record(log, open_model_folder(out).parameter_count)
    training = {"name": shape.name, **summary, "hardware": made.hardware, "remarks": " ".join(remarks)}
    sources = licence_table((arguments.text or work).parent / "SOURCES.md")
    card = write_card(out, float_folder, arguments.held_out, training, checkpoints, sources)
    print(json.dumps(card, indent=2))


def seconds(text: str) -> float:
    """540s or 540 as a number."""
    return float(text.removesuffix("s"))


def main(words: Sequence[str] | None = None) -> None:
    """Trains one rung of the embedded ladder and writes its folder."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m llmzip.training", description=main.__doc__)
    add = parser.add_argument
    add("rung", choices=list(RUNGS))
    add("--work", type=Path, required=True, help="Folder for tokens, checkpoints, logs; a second run goes on there.")
    add("--text", type=Path, help="Folder of shard-*.jsonl.bz2; the last shard is for validation.")
    add("--held-out", type=Path, help="Folder of one *.txt a kind, read only for the card and to keep it out.")
    add(
        "--keep-out",
        type=Path,
        action="append",
        default=[CORPORA],
        help="More folders of texts to keep out of training.",
    )
    add("--out", type=Path, help="Folder of the finished model; without it the weights stay in --work.")
    add("--tokens", type=int, default=0, help="Training tokens; 0 for the rung's own number.")
    add("--batch-tokens", type=int, default=0, help="Tokens of a step; 0 for the rung's own number.")
    add("--shards", type=int, default=15, help="How many shards to read.")
    add("--threads", type=int, default=0, help="CPU threads; 0 for all.")
    add("--device", default="cpu", help="Such as cpu or cuda.")
    add("--seed", type=int, default=1, help="For the order of the text and the first weights.")
    add("--stop-after", type=seconds, default=math.inf, help="Such as 540s: stop then; 0s only prepares --work.")
    add("--compiled", action=argparse.BooleanOptionalAction, default=True, help="torch.compile (needs a C++ compiler).")
    add("--grow-from", type=Path, help="Folder of a finished smaller rung to start from, with its tokenizer.")
    add("--remarks", default="", help="A sentence for the card on how this run differed.")
    arguments = parser.parse_args(words)
    shape, work = RUNGS[arguments.rung], arguments.work
    shape = replace(shape, batch_tokens=arguments.batch_tokens or shape.batch_tokens)
    if arguments.out is not None and arguments.held_out is None:
        parser.error("--out needs --held-out: a model is not written without its card")
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("torch sees no GPU here: install a torch with CUDA, or leave --device out")
    torch.set_num_threads(arguments.threads or os.cpu_count() or 1)
    if arguments.grow_from is not None and not (work / "tokenizer").exists():
        (work / "tokenizer").mkdir(parents=True)
        for name in TOKENIZER_FILES:
            shutil.copy(arguments.grow_from / name, work / "tokenizer" / name)
    if not ((work / "train.u16").exists() and (work / "validation.npz").exists()):
        if arguments.text is None or arguments.held_out is None:
            parser.error(
                f"{work} is not prepared: name --text and --held-out, or copy train.u16 and validation.npz there"
            )
        prepare(arguments.text, work, arguments.shards, arguments.seed, [*arguments.keep_out, arguments.held_out])
    done = bool(read_parts(work / shape.name)) or run(shape, arguments, started + arguments.stop_after)
    if done and arguments.out is not None:
        finish(shape, arguments)


if __name__ == "__main__":
    main()
