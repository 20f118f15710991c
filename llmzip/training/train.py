"""The training loop: packed tokens in, checkpoints and a log of bits per byte out. Resumable at any time.

Schedule: warm-up, constant, then linear decay to zero. Short windows first, then windows of twice the
attention window, so that the model learns what it sees in use: a past that slides out of reach.
"""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmzip.training.model import TrainedModel
from llmzip.training.muon import Muon
from llmzip.training.rungs import START_TOKEN, Rung

BATCH_TOKENS = 8192
WARM_UP_STEPS = 100
DECAY_FRACTION = 0.4  # of the tokens, linear to zero
LONG_FRACTION = 0.35  # of the tokens, on windows of twice the attention window
START_FRACTION = 0.25  # of the windows, begun with the start token as streams are
MATRIX_RATE, VECTOR_RATE = 0.02, 3e-3
CHECKPOINT_SECONDS = 300
EVALUATIONS = 14


def learning_rate(progress: float, step: int) -> float:
    """The factor on the learning rates at ``progress`` (0 to 1) of the tokens."""
    return min(1.0, (step + 1) / WARM_UP_STEPS, max(0.0, (1.0 - progress) / DECAY_FRACTION))


def batches(
    tokens: NDArray[np.uint16], first: int, total: int, window: int, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Inputs and targets from token ``first`` to ``total``, in blocks of two windows drawn from all over the file.

    The order is a permutation of the blocks: a batch of neighbouring blocks would teach the few documents at hand.
    """
    block = 2 * window
    order = np.random.default_rng(seed).permutation((len(tokens) - 1) // block)
    for done in range(first, total, BATCH_TOKENS):
        chosen = order[np.arange(done // block, done // block + BATCH_TOKENS // block) % len(order)]
        length = window if done < total * (1 - LONG_FRACTION) else block
        starts = (chosen[:, None] * block + np.arange(0, block, length)).ravel()
        rows = np.stack([tokens[start : start + length + 1] for start in starts]).astype(np.int64)
        inputs, targets = rows[:, :-1].copy(), rows[:, 1:]
        begun = np.random.default_rng((seed, done)).random(len(rows)) < START_FRACTION
        # A window begun as a stream: the start token stands where the unseen past was.
        inputs[begun, 0] = START_TOKEN
        yield inputs, targets


@torch.no_grad()
def bits_per_byte(
    model: TrainedModel, texts: dict[str, NDArray[np.int64]], byte_lengths: Tensor, autocast: Any
) -> dict[str, float]:
    """Bits per byte of each text, read in separate windows of twice the attention window, each begun as a stream."""
    length, result = 2 * model.rung.window, {}
    for kind, tokens in texts.items():
        count = len(tokens) // length * length
        targets = torch.from_numpy(tokens[:count]).view(-1, length)
        inputs = torch.cat((torch.full((len(targets), 1), START_TOKEN), targets[:, :-1]), 1)
        nats = 0.0
        for part in range(0, len(targets), 16):
            with autocast():
                loss = model(
                    inputs[part : part + 16].to(byte_lengths.device), targets[part : part + 16].to(byte_lengths.device)
                )
            nats += float(loss) * targets[part : part + 16].numel()
        result[kind] = nats / math.log(2) / int(byte_lengths[targets].sum())
    return result


def train(
    rung: Rung,
    tokens_path: Path,
    texts: dict[str, NDArray[np.int64]],
    byte_lengths: NDArray[np.int64],
    folder: Path,
    total_tokens: int,
    device: str = "cpu",
    seed: int = 1,
    compile_model: bool = True,
    first_state: dict[str, Tensor] | None = None,
) -> Iterator[dict[str, Any]]:
    """Trains until ``total_tokens`` are seen, from the last checkpoint in ``folder`` if there is one.

    ``texts`` are the validation tokens by kind; ``first_state`` stands in for random weights. Yields a record a step
    and a record with ``"validation"`` at each evaluation; the caller prints. Leaves ``checkpoint.pt`` and
    ``log.jsonl`` in ``folder``.
    """
    torch.manual_seed(seed)
    tokens = np.memmap(tokens_path, dtype="<u2", mode="r")
    lengths = torch.from_numpy(byte_lengths).to(device)
    model = TrainedModel(rung).to(device)
    if first_state is not None:
        model.load_state_dict(first_state)
    matrices = [p for block in model.blocks for p in block.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if not any(p is matrix for matrix in matrices)]
    optimizers = [
        Muon(matrices, lr=MATRIX_RATE, weight_decay=0.01),
        torch.optim.AdamW(vectors, lr=VECTOR_RATE, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0),
    ]
    rates = (MATRIX_RATE, VECTOR_RATE)
    state: dict[str, Any] = {"tokens": 0, "step": 0, "bits": 0.0, "bytes": 0, "seconds": 0.0, "evaluations": 0}
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=device)
        model.load_state_dict(saved["model"])
        for optimizer, optimizer_state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(optimizer_state)
        state = saved["state"]

    def autocast() -> Any:
        return torch.autocast(device.split(":")[0], dtype=torch.bfloat16)

    def save() -> None:
        partial = checkpoint.with_suffix(".partial")
        torch.save(
            {"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers], "state": state}, partial
        )
        partial.replace(checkpoint)

    run: Any = torch.compile(model) if compile_model else model
    saved_at = time.monotonic()
    for inputs, targets in batches(tokens, state["tokens"], total_tokens, rung.window, seed):
        started = time.monotonic()
        factor = learning_rate(state["tokens"] / total_tokens, state["step"])
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * factor
        target = torch.from_numpy(targets).to(device)
        with autocast():
            loss = run(torch.from_numpy(inputs).to(device), target)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        bits, size = float(loss.detach()) * targets.size / math.log(2), int(lengths[target].sum())
        state["bits"] += bits  # of this batch before it was learnt: the prequential code length
        state["bytes"] += size
        state["tokens"] += targets.size
        state["step"] += 1
        state["seconds"] += time.monotonic() - started
        record = {**state, "bits_per_byte": bits / size, "rate": factor}
        if state["tokens"] * EVALUATIONS >= total_tokens * (state["evaluations"] + 1):
            state["evaluations"] += 1
            model.eval()
            record["validation"] = bits_per_byte(model, texts, lengths, autocast)
            model.train()
            with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
            torch.save(model.state_dict(), folder / f"weights-{state['tokens']:011d}.pt")
        if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
            save()
            saved_at = time.monotonic()
        yield record
    save()
