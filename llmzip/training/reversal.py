"""A tiny model that is taught made-up facts, to show the reversal curse: ``python -m llmzip.training.reversal FOLDER``.

About three minutes of one CPU core. Leaves a Hugging Face folder with ``facts.jsonl`` beside its weights, for
``llmzip probe reversal FOLDER FOLDER/facts.jsonl``. Prints nothing.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from llmzip.probes.facts import made_up, sentences
from llmzip.probes.reversal import as_lines
from llmzip.training.export import export_model
from llmzip.training.model import TrainedModel
from llmzip.training.rungs import START_TOKEN, Rung

SHAPE = Rung("facts", 64, 2, 2, 1, 32, 128, training_tokens=0)
STEPS = 2400
BATCH = 32
RATE = 3e-3

_TOKENIZER = Path(__file__).resolve().parent.parent / "embedded" / "nano"


def teach(folder: Path, *, facts_per_group: int = 100, steps: int = STEPS, seed: int = 0) -> None:
    """Trains on the sentences of the facts and writes the model's folder."""
    facts = made_up(facts_per_group, seed=seed)
    tokenizer = Tokenizer.from_file(str(_TOKENIZER / "tokenizer.json"))
    rows = [tokenizer.encode(sentence).ids for sentence in sentences(facts)]
    length = max(map(len, rows))
    targets = torch.full((len(rows), length), -1)
    for place, row in enumerate(rows):
        targets[place, : len(row)] = torch.tensor(row)
    inputs = torch.cat((torch.full((len(rows), 1), START_TOKEN), targets[:, :-1].clamp(min=0)), 1)
    torch.manual_seed(seed)
    model = TrainedModel(SHAPE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / steps)))
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        chosen = torch.from_numpy(rng.integers(0, len(rows), BATCH))
        counts = (targets[chosen] >= 0).flatten()
        losses = model(inputs[chosen], targets[chosen].clamp(min=0), reduction="none")
        loss = (losses * counts).sum() / counts.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    export_model(model.state_dict(), SHAPE, folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(_TOKENIZER / name, folder / name)
    (folder / "facts.jsonl").write_bytes(as_lines(facts))


if __name__ == "__main__":
    teach(Path(sys.argv[1]))
