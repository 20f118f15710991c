"""``probe calibration``: whether a model is as sure as it is right, and what that costs in bits per byte."""

import math

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelError, UsageError
from llmzip.predictor import ModelPredictor, Predictor
from llmzip.probes.record import Finding, Plot, Series, Table, figure, probed, read_input
from llmzip.probes.rows import token_rows
from llmzip.probes.statistics import chunk_sums, expected_calibration_error, ratio_interval, reliability
from llmzip.scoring import each_distribution

TEMPERATURES = 2.0 ** (np.arange(-8, 9) / 8)
"""Tried: from 1/2 to 2, and 1 among them."""

FULL_BINS = 20
"""Of equal width, over the probabilities of all tokens at all positions."""

CHUNK_TOKENS = 64
"""Drawn together by the bootstrap, since neighbouring tokens depend on each other."""

NOT_SHOWN = (
    "That a model is calibrated on this text says nothing about its own writing or about another kind of text, and not "
    "that it is good: whoever always predicts the frequencies of letters is calibrated too. The errors over bins are "
    "biased upwards: even a perfect model has more than 0."
)


def measure(predictor: Predictor, data: bytes, name: str, *, seed: int = 0) -> Finding:
    """The calibration of a model on a text, teacher-forced. Raises UsageError for a text of a few tokens."""
    if not isinstance(predictor, ModelPredictor):
        raise ModelError(f"{predictor.name!r} has no model: name another")
    rows = token_rows(predictor, data, name)
    if len(rows.bits) < 2 * CHUNK_TOKENS:
        raise UsageError(f"{name} has {len(rows.bits)} tokens, too few to say anything: name a longer text")
    hits, sums = np.zeros(FULL_BINS), np.zeros((2, FULL_BINS))

    def at_temperatures(logits: NDArray[np.float64], tokens: NDArray[np.int64], model_size: int) -> NDArray[np.float64]:
        """[n, k]: bits of each token at each temperature. An escape has no logit: it costs the same at all."""
        nonlocal hits
        known = tokens < model_size
        logits = logits - logits.max(1, keepdims=True)
        places = np.flatnonzero(known)
        own = logits[places, tokens[places]]
        bits = np.zeros((len(tokens), len(TEMPERATURES)))
        for column, temperature in enumerate(TEMPERATURES):
            weights = np.exp(logits[places] / temperature)
            total = weights.sum(1)
            bits[places, column] = (np.log(total) - own / temperature) / math.log(2)
            if temperature == 1:
                shares = weights / total[:, None]
                cells = np.minimum((shares * FULL_BINS).astype(np.int64), FULL_BINS - 1)
                sums[0] += np.bincount(cells.ravel(), minlength=FULL_BINS)
                sums[1] += np.bincount(cells.ravel(), shares.ravel(), FULL_BINS)
                hits += np.bincount(cells[np.arange(len(places)), tokens[places]], minlength=FULL_BINS)
        return bits

    total_bits = np.sum(
        [part.sum((0, 1)) for _, _, part in each_distribution(rows.tokens[None], predictor, at_temperatures)], axis=0
    )
    curve = total_bits / len(data)
    best, lowest = _minimum(np.log2(TEMPERATURES), curve)
    one = int(np.flatnonzero(TEMPERATURES == 1)[0])
    surplus = rows.bits - rows.entropy
    byte_counts = np.diff(rows.byte_ends, prepend=0).astype(np.float64)
    spread = math.sqrt(float(rows.variance.sum()))
    bins = reliability(2.0 ** -rows.likeliest_bits[:, 0], rows.rank == 0)
    full = float((np.abs(hits - sums[1])).sum() / sums[0].sum())
    figures = (
        figure("lost to temperature", max(0.0, float(curve[one]) - lowest), "bits per byte", headline=True),
        figure("best temperature", 2.0**best, note="above 1: the model is too sure"),
        figure("cost", float(rows.bits.sum()) / len(data), "bits per byte"),
        figure("entropy", float(rows.entropy.sum()) / len(data), "bits per byte"),
        figure(
            "cost beyond entropy",
            ratio_interval(chunk_sums(surplus, CHUNK_TOKENS), chunk_sums(byte_counts, CHUNK_TOKENS), seed=seed),
            "bits per byte",
            note="above 0: surer than right on this text",
            headline=True,
        ),
        figure("z", float(surplus.sum()) / spread if spread else None, note="normal under the model's own law"),
        figure("calibration error of the likeliest token", expected_calibration_error(bins), note=f"{len(bins)} bins"),
        figure("full calibration error", full, note="all tokens at all positions"),
    )
    table = Table(
        "Reliability of the likeliest token, bins of equal mass",
        ("tokens", "mean confidence", "right", "low", "high"),
        tuple((part.count, part.confidence, *part.accuracy) for part in bins),
    )
    confidence = tuple(part.confidence for part in bins)
    plots = (
        Plot(
            "Confidence against accuracy",
            "confidence",
            "share that was right",
            (
                Series("calibrated", (0.0, 1.0), (0.0, 1.0)),
                Series(
                    "model",
                    confidence,
                    tuple(part.accuracy.value for part in bins),
                    tuple(part.accuracy.low for part in bins),
                    tuple(part.accuracy.high for part in bins),
                ),
            ),
        ),
        Plot(
            "Bits per byte by temperature",
            "temperature",
            "bits per byte",
            (Series("cost", tuple(TEMPERATURES.tolist()), tuple(curve.tolist())),),
        ),
    )
    return Finding(
        "calibration",
        (probed(predictor),),
        (read_input(name, data),),
        figures,
        NOT_SHOWN,
        (table,),
        plots,
        settings={"seed": seed},
    )


def _minimum(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Where a curve is lowest and how low, by a parabola through the lowest of its points and their neighbours."""
    middle = int(y.argmin())
    if middle in (0, len(y) - 1):
        return float(x[middle]), float(y[middle])
    step = float(x[middle + 1] - x[middle])
    left, here, right = (float(value) for value in y[middle - 1 : middle + 2])
    bend = left - 2 * here + right
    if bend <= 0:
        return float(x[middle]), here
    offset = (left - right) / (2 * bend)
    return float(x[middle]) + offset * step, here - (left - right) * offset / 4
