"""``rate``: from a dream to the text itself. At threshold t only the tokens that cost more than t bits are sent.

The decoder puts the model's likeliest token wherever none is sent, and reads on from what it has; so does the encoder,
which asks what each token of the text costs after *that*. One coded flag a token says which are sent; its probability
is the model's own, the share of all tokens that cost more than t. A token that is sent costs, with its flag,
what it always does, and one that is not costs less.
"""

import math

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelError, UsageError
from llmzip.predictor import FREQUENCY_TOTAL, FloatPredictor, ModelPredictor, Predictor
from llmzip.probes.record import Finding, Plot, Series, Table, figure, probed, read_input
from llmzip.scoring import faithful_tokens

THRESHOLDS = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, math.inf)
"""In bits; 0 sends every token, infinity none."""

READ_AT = (0.0, 1.0, 4.0, 8.0, math.inf)
"""Thresholds whose texts are given to read."""

LIMIT_BYTES = 2048
"""Of the text, unless more is asked for: the model runs token by token."""

NOT_SHOWN = (
    "A lossy text is not a worse copy of the text but another text that the model finds likely: names, numbers and "
    "turns of the story are invented where they were not sent. Bytes count as recovered where the token at their place "
    "is the same; a paraphrase counts as nothing. Bits are ideal bits; no archive is written."
)


def measure(predictor: Predictor, data: bytes, name: str, *, limit_bytes: int = LIMIT_BYTES) -> Finding:
    """Bits spent and bytes recovered at each threshold. Raises ModelError without a model, UsageError without text."""
    if not isinstance(predictor, ModelPredictor):
        raise ModelError(f"{predictor.name!r} has no model that could dream: name another")
    piece = data[:limit_bytes]
    tokens = faithful_tokens(predictor, piece)
    if not len(tokens):
        raise UsageError(f"{name} is empty: name a text")
    if isinstance(predictor, FloatPredictor):
        predictor = predictor.fitted(len(piece), len(THRESHOLDS))
    sent, spent, flags, decoded = _decoded(predictor, tokens)
    sizes = np.array([len(own) for own in predictor.token_bytes], np.int64)[tokens]
    recovered = ((decoded == tokens) * sizes).sum(1) / len(piece)
    per_byte = spent / len(piece)
    rows = tuple(
        (_threshold(t), float(bits), float(flag), int(row.sum()), float(rate), float(share))
        for t, bits, flag, row, rate, share in zip(THRESHOLDS, spent, flags, sent, per_byte, recovered, strict=True)
    )
    curve = Series("this text", tuple(per_byte.tolist()), tuple((100 * recovered).tolist()))
    dots = Series("thresholds", curve.x, curve.y, style="points")
    return Finding(
        "rate",
        (probed(predictor),),
        (read_input(name, piece),),
        (
            figure("lossless", float(per_byte[0]), "bits per byte", note="every token is sent", headline=True),
            figure("recovered with no bit", 100 * float(recovered[-1]), "% of the bytes", headline=True),
            figure(
                "recovered at half the bits",
                100 * _at_rate(per_byte, recovered, float(per_byte[0]) / 2),
                "% of the bytes",
            ),
        ),
        NOT_SHOWN,
        (
            Table(
                "Thresholds", ("t", "bits", "of which flags", "tokens sent", "bits per byte", "bytes recovered"), rows
            ),
        ),
        (Plot("From dream to lossless", "bits per byte", "% of the bytes recovered", (curve, dots)),),
        passages=tuple(
            (
                f"t = {_threshold(t)}: {per_byte[place]:.3f} bits per byte, {recovered[place]:.0%} recovered"
                + ("" if t == 0 else " (the rest is the model's own)"),
                predictor.detokenize(decoded[place]).decode("utf-8", "backslashreplace"),
            )
            for place, t in enumerate(THRESHOLDS)
            if t in READ_AT
        ),
        settings={"limit_bytes": limit_bytes},
    )


def _decoded(
    predictor: ModelPredictor, tokens: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """By threshold: which tokens are sent [t, n], all bits [t], those of flags [t], what the decoder has [t, n]."""
    bounds = np.array(THRESHOLDS)
    rows = np.arange(len(bounds))
    context = predictor.start(len(bounds))
    sent = np.zeros((len(bounds), len(tokens)), bool)
    decoded = np.empty(sent.shape, np.int64)
    bits, flag_bits = np.zeros(len(bounds)), np.zeros(len(bounds))
    largest = (FREQUENCY_TOTAL * 2.0**-bounds)[:, None]  # what costs more than t bits is rarer
    for position, token in enumerate(tokens):
        frequencies = context.next_frequencies()
        is_dear = (frequencies < largest) | (bounds == 0)[:, None]
        dear = np.where(is_dear, frequencies, 0).sum(1)
        chosen = is_dear[rows, token]
        flag = -np.log2(np.where(chosen, dear, FREQUENCY_TOTAL - dear) / FREQUENCY_TOTAL)
        flag_bits += flag
        bits += np.where(chosen, -np.log2(frequencies[rows, token] / FREQUENCY_TOTAL), flag)
        decoded[:, position] = np.where(chosen, token, frequencies.argmax(1))
        sent[:, position] = chosen
        context.append(decoded[:, position])
    return sent, bits, flag_bits, decoded


def _at_rate(per_byte: NDArray[np.float64], recovered: NDArray[np.float64], rate: float) -> float:
    """The share recovered at a rate, between the thresholds around it."""
    order = np.argsort(per_byte, kind="stable")
    return float(np.interp(rate, per_byte[order], recovered[order]))


def _threshold(bits: float) -> str:
    return "∞" if math.isinf(bits) else f"{bits:g}"
