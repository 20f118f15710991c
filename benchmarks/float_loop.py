"""Float models against the loop of llama-zip: ``python benchmarks/float_loop.py MODEL TEXT [--loop-tokens N]``.

The loop is our own writing of what llama-zip does with its model: one token a step, batch 1, one stream, keys and
values kept, half of the context dropped when it is full, no memory, encoder and decoder the same. It runs on the same
weights and by the same rule of windows as llmzip, and is too slow for a whole text: N tokens of it are timed, a part
before each of llmzip's runs and after the last, for the machine may be busy. What it would write for the whole text is
the ideal bits of its tables, from forward passes over its windows; on the timed tokens they are compared with its own.

llmzip compresses and decompresses the whole text: with the same probabilities (``lockstep``), with memory (the default
of ``--float``), and portable; with and without the check that the default makes by decoding, which the loop does not
make. Rates are tokens per second of the clock and of processor time. Writes one JSON object to stdout; committed ones
are ``benchmarks/results/float-loop-*.json``.
"""

import argparse
import hashlib
import io
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from llmzip import archive, coder
from llmzip.codec import compress, decompress
from llmzip.predictors import load_predictor
from llmzip.predictors.float_tables import frequencies
from llmzip.predictors.hub import HubPredictor

WAYS = {
    "lockstep": {"portable": False, "memory": False, "verify": False},
    "lockstep, checked": {"portable": False, "memory": False, "verify": True},
    "portable": {"portable": True, "memory": False, "verify": False},
    "portable, checked": {"portable": True, "memory": False, "verify": True},
    "with memory": {"portable": False, "memory": True, "verify": False},
    "with memory, checked": {"portable": False, "memory": True, "verify": True},
}
"""Name -> options of ``compress`` and whether the predictor is made portable."""


class Stopwatch:
    """Seconds by the clock and of the processor, added up."""

    def __init__(self) -> None:
        self.clock = self.processor = 0.0

    def __enter__(self) -> None:
        self._clock, self._processor = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.clock += time.perf_counter() - self._clock
        self.processor += time.process_time() - self._processor

    def rates(self, tokens: int) -> dict[str, float]:
        return {
            "tokens_per_second": round(tokens / self.clock, 1),
            "tokens_per_cpu_second": round(tokens / self.processor, 1),
        }


class Loop:
    """Encodes the tokens of one stream a token a step, and decodes them again, some at a time."""

    def __init__(self, predictor: HubPredictor, tokens: NDArray[np.int64]) -> None:
        one = predictor.fitted(1, 1)
        self._tokens, self._context, self._again = tokens, one.start(1), one.start(1)
        self.encoding, self.decoding, self.bits, self.done = Stopwatch(), Stopwatch(), 0.0, 0

    def run(self, count: int) -> None:
        """The next ``count`` tokens. Their payload is decoded on its own: the coder starts anew, the contexts go on."""
        part, encoder = self._tokens[self.done : self.done + count], coder.Encoder()
        with self.encoding:
            for token in part:
                table = self._context.next_frequencies()[0]
                own = table[token : token + 1]
                encoder.encode(table[:token].sum(keepdims=True), own)
                self.bits += coder.ideal_bits(own)
                self._context.append(np.array([token]))
            payload = encoder.payload()
        with self.decoding:
            decoder = coder.Decoder(payload)
            for token in part:
                found = decoder.decode(self._again.next_frequencies())
                if found[0] != token:
                    raise SystemExit("the loop does not decode what it wrote")
                self._again.append(found)
        self.done += len(part)


def loop_bits(predictor: HubPredictor, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """[n]: the ideal bits of each token in the loop's tables, from forward passes over its windows."""
    portable, size = predictor.made_portable().fitted(1, 1), predictor.tokenizer.model_size
    bits = np.empty(len(tokens))
    for _, positions, logits in portable.teach(tokens[None]):
        wanted = tokens[positions]
        tables = frequencies(logits[0, :, :size], size, escapes=predictor.tokenizer.has_escapes)
        bits[positions] = 24 - np.log2(tables[np.arange(len(wanted)), wanted])
    return bits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text", type=Path)
    parser.add_argument("--bytes", type=int, default=1 << 20)
    parser.add_argument("--loop-tokens", type=int, default=6000)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--threads", type=int, default=1, help="of llmzip")
    parser.add_argument("--loop-threads", type=int, default=1, help="of the loop, which more may make slower")
    parser.add_argument("--machine", default="not described", help="in words, for the results")
    parser.add_argument("--about", default="", help="the text, in words")
    arguments = parser.parse_args()
    data = arguments.text.read_bytes()[: arguments.bytes]
    predictor = load_predictor(arguments.model, arithmetic="float", threads=arguments.threads)
    assert isinstance(predictor, HubPredictor)
    for memory in (False, True):  # compiles and loads
        decompress(compress(data[:8000], predictor, memory=memory), predictor)
    decompress(compress(data[:2000], predictor.made_portable()), predictor)
    tokens = predictor.tokenize(data)
    theirs = load_predictor(arguments.model, arithmetic="float", threads=arguments.loop_threads)
    assert isinstance(theirs, HubPredictor)
    loop = Loop(theirs, tokens)
    part = arguments.loop_tokens // (len(arguments.ways) + 1)
    found: dict[str, Any] = {}
    for name in arguments.ways:
        way = WAYS[name]
        print(f"{name} ...", file=sys.stderr, flush=True)
        loop.run(part)
        made = predictor.made_portable() if way["portable"] else predictor
        encoding, decoding = Stopwatch(), Stopwatch()
        with encoding:
            packed = compress(data, made, memory=way["memory"], verify=way["verify"])
        with decoding:
            same = decompress(packed, made) == data
        if not same:
            raise SystemExit(f"{name} does not decode to the text")
        (member,) = archive.read_info(io.BytesIO(packed))
        found[name] = {
            "archive_bytes": len(packed),
            "frames": sorted({f"{frame.kind}, {frame.streams} streams" for frame in member.frames}),
            "compress": encoding.rates(len(tokens)),
            "decompress": decoding.rates(len(tokens)),
        }
    loop.run(part)
    bits = loop_bits(predictor, tokens)
    loop_bytes = float(bits.sum()) / 8
    apart = abs(float(bits[: loop.done].sum()) / loop.bits - 1)
    if apart > 1e-6:
        raise SystemExit(f"forward passes give other bits than the loop: {apart:.1e}")
    rates = {"compress": loop.encoding.rates(loop.done), "decompress": loop.decoding.rates(loop.done)}
    for way in found.values():
        for end in ("compress", "decompress"):
            for unit, rate in rates[end].items():
                way[end][unit.replace("tokens_per", "times_loop_per")] = round(way[end][unit] / rate, 2)
        way["more_bytes_than_loop"] = round(way["archive_bytes"] / loop_bytes - 1, 5)
    result = {
        "model": Path(arguments.model).name,
        "text": arguments.about or arguments.text.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "tokens": len(tokens),
        "threads": {"llmzip": arguments.threads, "loop": arguments.loop_threads},
        "loop": {
            "tokens_timed": loop.done,
            "payload_bytes": round(loop_bytes),
            "forward_against_loop": apart,
            **rates,
        },
        "llmzip": found,
        "machine": arguments.machine,
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
