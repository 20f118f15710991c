"""Float models against the loop of llama-zip: ``python benchmarks/float_loop.py MODEL TEXT [--loop-tokens N]``.

The loop is our own writing of what llama-zip does with its model: one token a step, batch 1, keys and values kept, half
of the context dropped when it is full, encoder and decoder the same. Only the first N tokens are timed, for it is slow.
llmzip runs on the whole text without memory, so that both code with the same probabilities. Prints tokens per second at
both ends and bits per token; the last line compares ideal bits on the same tokens, one stream against one for 2,048.
"""

import argparse
import io
import time
from pathlib import Path

import numpy as np

from llmzip import archive, coder, frames
from llmzip.codec import compress, decompress
from llmzip.predictors import load_predictor
from llmzip.predictors.hub import HubPredictor


def loop(predictor: HubPredictor, tokens: np.ndarray) -> tuple[float, float, int]:
    """Seconds to encode and to decode, and payload bytes."""
    one = predictor.fitted(1, 1)
    started = time.perf_counter()
    encoder, context = coder.Encoder(), one.start(1)
    for token in tokens:
        table = context.next_frequencies()[0]
        upto = np.cumsum(table)
        encoder.encode(upto[token : token + 1] - table[token], table[token : token + 1])
        context.append(np.array([token]))
    payload = encoder.payload()
    encoded = time.perf_counter()
    decoder, context = coder.Decoder(payload), one.start(1)
    for token in tokens:
        found = decoder.decode(context.next_frequencies())
        assert found[0] == token
        context.append(found)
    return encoded - started, time.perf_counter() - encoded, len(payload)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("text", type=Path)
    parser.add_argument("--bytes", type=int, default=1 << 20)
    parser.add_argument("--loop-tokens", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    data = arguments.text.read_bytes()[: arguments.bytes]
    predictor = load_predictor(arguments.model, arithmetic="float", threads=arguments.threads)
    assert isinstance(predictor, HubPredictor)
    compress(data[:2000], predictor, memory=False)  # compiles and loads
    tokens = predictor.tokenize(data)
    print(f"{len(data):,} bytes, {len(tokens):,} tokens, {arguments.threads} threads")
    first = tokens[: arguments.loop_tokens]
    encoding, decoding, payload_bytes = loop(predictor, first)
    loop_rates = len(first) / encoding, len(first) / decoding
    print(
        f"loop      {loop_rates[0]:9.0f} {loop_rates[1]:9.0f} tokens/s, {8 * payload_bytes / len(first):.3f} bits/token"
    )
    for name, made in (("lockstep", predictor), ("portable", predictor.made_portable())):
        started = time.perf_counter()
        packed = compress(data, made, memory=False, verify=False)
        middle = time.perf_counter()
        assert decompress(packed, made) == data
        rates = len(tokens) / (middle - started), len(tokens) / (time.perf_counter() - middle)
        (member,) = archive.read_info(io.BytesIO(packed))
        kinds = {(frame.kind, frame.streams) for frame in member.frames}
        times = " and ".join(f"{ours / theirs:.1f}x" for ours, theirs in zip(rates, loop_rates, strict=True))
        cost = f"{8 * len(packed) / len(tokens):.3f} bits/token {kinds}"
        print(f"{name}  {rates[0]:9.0f} {rates[1]:9.0f} tokens/s, {times}; {cost}", flush=True)
    stretch = tokens[: 8 * frames.STREAM_TOKENS]
    bits = [ideal_bits(predictor.fitted(1, streams), stretch, streams) for streams in (1, 8)]
    print(
        f"ideal bits of {len(stretch)} tokens: one stream {bits[0]:.0f}, eight {bits[1]:.0f}, x {bits[1] / bits[0]:.4f}"
    )


def ideal_bits(predictor: HubPredictor, tokens: np.ndarray, streams: int) -> float:
    return sum(coder.ideal_bits(own) for _, own in frames.token_intervals(tokens, predictor, streams))


if __name__ == "__main__":
    main()
