"""The shapes of the embedded ladder: one row a rung, nothing else. Imported by the rest of ``training``."""

from dataclasses import dataclass

VOCABULARY_SIZE = 4096
"""One tokenizer for all rungs, so that their results compare."""

START_TOKEN = 0
"""Precedes every stream; stands for no bytes and can never come out of the tokenizer."""


@dataclass(frozen=True)
class Rung:
    """The shape of one model and the number of tokens it is trained on."""

    name: str
    hidden_size: int
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    feed_forward_size: int
    training_tokens: int
    batch_tokens: int = 8192
    """A GPU needs larger batches than a CPU to be busy, and more tokens in all, so that the steps stay many."""
    window: int = 256
    """Sliding attention window in tokens, in training as in use."""


RUNGS = {
    rung.name: rung
    for rung in (
        Rung("nano", 48, 4, 2, 1, 32, 128, training_tokens=30_000_000),
        Rung("small", 192, 6, 3, 1, 64, 448, training_tokens=60_000_000),
        Rung("base", 192, 12, 3, 1, 64, 448, training_tokens=24_000_000),
        Rung("large", 384, 12, 6, 1, 64, 1024, training_tokens=1_200_000_000, batch_tokens=131_072),
    )
}
