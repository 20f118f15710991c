"""A program: damaged payloads into a build of the native library, each of which must be refused or give tokens.

python native_fuzz.py LIBRARY TRIALS [SEED]

Made for a build with sanitizers, whose runtime must be loaded first: tests/test_native_builds.py shows how. The library
says of a payload at most that it is damaged; that no wrong text leaves an archive is its digest's business, and is
tried here too, on whole archives.
"""

import random
import sys
from pathlib import Path

import numpy as np

from llmzip.native import library

library.PATH = Path(sys.argv[1])

import llmzip  # noqa: E402
from llmzip.errors import ArchiveError, LlmzipError  # noqa: E402
from llmzip.predictor import FrameEngine  # noqa: E402
from llmzip.predictors import load_embedded  # noqa: E402

TEXT = (Path(__file__).parents[1] / "corpora" / "prose-story.txt").read_bytes()[:200]


def damaged(payload: bytes, rng: random.Random) -> bytes:
    """With one to three faults, or something else altogether."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(2 * len(payload)))
    changed = bytearray(payload)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place, kind = rng.randrange(len(changed) + 1), rng.randrange(5)
        if kind == 0:
            del changed[place:]
        elif kind == 1:
            changed[place:place] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 2:
            changed[place : place + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff"))
        else:
            changed[place : place + 1] = bytes([rng.randrange(256)])
    return bytes(changed)


def main(trials: int, seed: int) -> None:
    assert library.available(), "the library does not load"
    rng = random.Random(seed)
    predictor = load_embedded("nano", threads=2)
    assert isinstance(predictor, FrameEngine)
    tokens = predictor.tokenize(TEXT)[:24]
    kinds = [(memory, streams) for memory in (False, True) for streams in (1, 3)]
    payloads = {
        (memory, streams): predictor.encode_tokens(tokens, streams, memory=memory, limit_bytes=10_000)
        for memory, streams in kinds
    }
    archives = [llmzip.compress(TEXT, load_embedded(name)) for name in ("nano", "adaptive")]
    refused = gave = 0
    for trial in range(trials):
        if trial % 4 == 3:
            archive = damaged(rng.choice(archives), rng)
            try:
                text = llmzip.decompress(archive)
            except LlmzipError:
                refused += 1
            else:
                assert text == TEXT, f"wrong output: seed {seed}, trial {trial}"
                gave += 1
            continue
        memory, streams = rng.choice(kinds)
        payload = payloads[memory, streams]
        assert payload is not None
        count = len(tokens) if rng.random() < 0.8 else rng.randrange(1, 40)
        try:
            found = predictor.decode_tokens(damaged(payload, rng), count, streams, memory=memory)
        except ArchiveError:
            refused += 1
        else:
            assert found.shape == (count,) and np.all((0 <= found) & (found < predictor.vocabulary_size))
            gave += 1
    print(f"{trials} damaged: {refused} refused, {gave} gave tokens or the same text")


main(int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
