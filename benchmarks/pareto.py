"""Ratio against speed of every way to compress: ``python benchmarks/pareto.py TEXT... > llmzip/levels.json``.

Each way (predictor, length of streams, with memory or without) compresses and decompresses every TEXT; nothing counts
that was not decoded. Speeds are of one thread, in seconds of that thread's own time, so that others at work on the
machine disturb them less; ratios between lines are worth more than the figures. TEXT should be text that no model was
trained on and nothing is tested on.
"""

import json
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from llmzip.codec import compress, decompress
from llmzip.levels import LEVELS, Level, Measurement
from llmzip.predictors import ADAPTIVE, embedded_rungs, load_predictor

STREAM_TOKENS = (512, 2048, 8192)


def ways() -> list[Level]:
    """Those of the levels and some beside them."""
    found = [*LEVELS.values()]
    for card in embedded_rungs():
        found += [Level(card.name, tokens) for tokens in STREAM_TOKENS] + [Level(card.name, memory=False)]
    embedded = {ADAPTIVE, *(card.name for card in embedded_rungs())}
    return [way for way in dict.fromkeys(found) if way.predictor in embedded]


def measure(way: Level, texts: list[bytes]) -> Measurement:
    """Bits and seconds summed over the texts."""
    predictor = load_predictor(way.predictor, engine="native", threads=1)
    beginning = texts[0][:5000]
    assert decompress(compress(beginning, predictor, memory=way.memory), predictor) == beginning  # compiles
    started = time.process_time()
    archives = [compress(text, predictor, stream_tokens=way.stream_tokens, memory=way.memory) for text in texts]
    compressed = time.process_time()
    decoded = [decompress(archive, predictor) for archive in archives]
    decompressed = time.process_time()
    if decoded != texts:
        raise SystemExit(f"{way} does not give the texts back")
    original_bytes = sum(map(len, texts))
    return Measurement(
        way,
        round(8 * sum(map(len, archives)) / original_bytes, 4),
        round(original_bytes / (compressed - started) / 1000, 1),
        round(original_bytes / (decompressed - compressed) / 1000, 1),
        predictor.parameter_bytes,
    )


def main() -> None:
    """Prints one JSON object."""
    paths = [Path(name) for name in sys.argv[1:]]
    texts = [path.read_bytes() for path in paths]
    measurements = []
    for way in ways():
        measurements.append(measure(way, texts))
        print(measurements[-1], file=sys.stderr, flush=True)
    report = {
        "texts": {path.name: len(text) for path, text in zip(paths, texts, strict=True)},
        "machine": f"{platform.system()} {platform.machine()}, one thread",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "measurements": [asdict(one) for one in measurements],
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
