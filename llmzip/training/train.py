"""The training loop: packed tokens in, checkpoints and a log of bits per byte out. Needs numpy and torch only.

It stops when its time is over and goes on from there to the same weights, so that a run of hours can be made of
slices. Schedule: warm-up, constant, then linear decay to zero, over the whole run. Short windows first, then windows
of twice the attention window, so that the model learns what it sees in use: a past that slides out of reach.
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

from llmzip.errors import DocumentError
from llmzip.training.model import TrainedModel
from llmzip.training.muon import Muon
from llmzip.training.rungs import START_TOKEN, Rung

WARM_UP_STEPS = 100
DECAY_FRACTION = 0.4  # of the tokens, linear to zero; all of them for a model that starts from a finished one
LONG_FRACTION = 0.35  # of the tokens, on windows of twice the attention window
START_FRACTION = 0.25  # of the windows, begun with the start token as streams are
MATRIX_RATE, VECTOR_RATE = 0.02, 3e-3
CHECKPOINT_SECONDS = 300
EVALUATIONS = 14


def learning_rate(progress: float, step: int, decay_fraction: float = DECAY_FRACTION) -> float:
    """The factor on the learning rates at ``progress`` (0 to 1) of the tokens."""
    return min(1.0, (step + 1) / WARM_UP_STEPS, max(0.0, (1.0 - progress) / decay_fraction))


def _lines_until(tokens: int, log: Path) -> Iterator[str]:
    """The lines of a log up to a checkpoint; one that was cut short is of later. Raises DocumentError.

    Not by ``documents``, which needs a library that a bare machine with a GPU lacks.
    """
    for number, line in enumerate(log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True), 1):
        try:
            if line.endswith("\n") and json.loads(line)["tokens"] <= tokens:
                yield line
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DocumentError(f"{log}, line {number}: it is no row of a log: delete it") from None


def batches(
    tokens: NDArray[np.uint16], first: int, total: int, batch_tokens: int, window: int, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Inputs and targets from token ``first`` to ``total``, in blocks of two windows drawn from all over the file.

    The order is a permutation of the blocks, another one each time the file is read: a batch of neighbouring blocks
    would teach the few documents at hand.
    """
    block = 2 * window
    count = (len(tokens) - 1) // block
    order, epoch = np.random.default_rng((seed, 0)).permutation(count), 0
    for done in range(first, total, batch_tokens):
        places = np.arange(done // block, (done + batch_tokens) // block)
        chosen = np.empty_like(places)
        for needed in range(places[0] // count, places[-1] // count + 1):
            if needed != epoch:
                order, epoch = np.random.default_rng((seed, needed)).permutation(count), needed
            here = places // count == needed
            chosen[here] = order[places[here] % count]
        length = window if done < total * (1 - LONG_FRACTION) else block
        starts = (chosen[:, None] * block + np.arange(0, block, length)).ravel()
        rows = tokens[starts[:, None] + np.arange(length + 1)].astype(np.int64)
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
    stop_at: float = math.inf,
) -> Iterator[dict[str, Any]]:
    """Trains until ``total_tokens`` are seen or ``time.monotonic()`` is ``stop_at``, from the last checkpoint if any.

    ``texts`` are the validation tokens by kind; ``first_state`` stands in for random weights. Yields a record a step
    and a record with ``"validation"`` at each evaluation; the caller prints. Leaves ``checkpoint.pt`` and
    ``log.jsonl`` in ``folder``.
    """
    torch.manual_seed(seed)
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.set_float32_matmul_precision("high")  # for Muon's products; the model's own are in bfloat16
    tokens = np.memmap(tokens_path, dtype="<u2", mode="r")
    lengths = torch.from_numpy(byte_lengths).to(device)
    model = TrainedModel(rung).to(device)
    if first_state is not None:
        model.load_state_dict(first_state)
    matrices = [p for block in model.blocks for p in block.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if not any(p is matrix for matrix in matrices)]
    optimizers = [
        Muon(matrices, lr=MATRIX_RATE, weight_decay=0.01),
        torch.optim.AdamW(vectors, lr=VECTOR_RATE, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0, fused=on_gpu),
    ]
    rates = (MATRIX_RATE, VECTOR_RATE)
    state: dict[str, Any] = {
        "tokens": 0,
        "step": 0,
        "bytes": 0,
        "bits": 0.0,  # of each batch before it was learnt, while the text is new: the prequential code length
        "new_bytes": 0,  # which that code describes
        "seconds": 0.0,
        "evaluations": 0,
    }
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, log = folder / "checkpoint.pt", folder / "log.jsonl"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=device)
        model.load_state_dict(saved["model"])
        for optimizer, optimizer_state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(optimizer_state)
        state = saved["state"]
    if log.exists():  # evaluations after the last checkpoint will be made again
        log.write_text("".join(_lines_until(state["tokens"], log)), encoding="utf-8")

    def autocast() -> Any:
        return torch.autocast(device.split(":")[0], dtype=torch.bfloat16)

    def save() -> None:
        partial = checkpoint.with_suffix(".partial")
        torch.save(
            {"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers], "state": state}, partial
        )
        partial.replace(checkpoint)

    decay_fraction = DECAY_FRACTION if first_state is None else 1.0
    run: Any = torch.compile(model, dynamic=False) if compile_model else model
    saved_at = time.monotonic()
    source = batches(tokens, state["tokens"], total_tokens, rung.batch_tokens, rung.window, seed)
    batch = next(source, None)
    while batch is not None and time.monotonic() < stop_at:
        started = time.monotonic()
        inputs, targets = batch
        factor = learning_rate(state["tokens"] / total_tokens, state["step"], decay_fraction)
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * factor
        with autocast():
            loss = run(torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device))
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        batch = next(source, None)  # read while a GPU is still at work on this one
        bits, size = float(loss.detach()) * targets.size / math.log(2), int(byte_lengths[targets].sum())
        if state["tokens"] + targets.size < len(tokens):
            state["bits"] += bits
            state["new_bytes"] += size
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
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
            save()
            saved_at = time.monotonic()
        yield record
    save()
