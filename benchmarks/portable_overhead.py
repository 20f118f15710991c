"""What a portable frame costs over a float frame: ``python benchmarks/portable_overhead.py MODEL [TEXT]``.

Both code the same tokens in as many streams with the same logits (forward passes), without memory; the float frame's
size is the ideal bits of its integer tables. The portable payload is encoded, decoded step by step and compared. TEXT
is by default the English of ``corpora/``, file after file. Writes one JSON object to stdout; committed ones are the
rows of ``benchmarks/results/portable-overhead.json``.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from llmzip.frames import STREAM_TOKENS, choose_streams
from llmzip.portable import Portable
from llmzip.predictors import load_predictor
from llmzip.predictors.float_tables import frequencies
from llmzip.predictors.hub import PortableHubPredictor

CORPORA = Path(__file__).resolve().parent.parent / "corpora"
ENGLISH = ("dialogue.txt", "mail.txt", "manual.md", "prose-essay.txt", "prose-story.txt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text", type=Path, nargs="?")
    parser.add_argument("--bytes", type=int, default=1 << 17)
    parser.add_argument("--about", default="the English of corpora")
    arguments = parser.parse_args()
    texts = [arguments.text] if arguments.text else [CORPORA / name for name in ENGLISH]
    data = b"".join(text.read_bytes() for text in texts)[: arguments.bytes]
    predictor = load_predictor(arguments.model, arithmetic="portable", threads=1)
    assert isinstance(predictor, PortableHubPredictor)
    tokens = predictor.tokenize(data)
    streams = choose_streams(len(tokens), STREAM_TOKENS)
    tokens = tokens[: len(tokens) // streams * streams]
    table, size, bits = tokens.reshape(streams, -1), predictor.tokenizer.model_size, 0.0
    predictor = predictor.fitted(len(data), streams)
    for rows, positions, logits in predictor.teach(table):
        wanted = table[rows, positions].ravel()
        found = logits[..., :size].reshape(len(wanted), size)
        own = frequencies(found, size, escapes=predictor.tokenizer.has_escapes)[np.arange(len(wanted)), wanted]
        bits += float((24 - np.log2(own)).sum())
    lengths = [table.shape[1]] * streams
    coding = Portable(predictor)
    payload = coding.encode(table, lengths)
    if payload is None or not np.array_equal(Portable(predictor).decode(payload, lengths), table):
        raise SystemExit("the portable frame does not decode to its tokens")
    result = {
        "model": Path(arguments.model).name,
        "text": arguments.about,
        "bytes": len(data),
        "tokens": len(tokens),
        "streams": streams,
        "tolerance": predictor.tolerance,
        "float_bits": round(bits),
        "portable_bits": 8 * len(payload),
        "more_bits": round(8 * len(payload) / bits - 1, 5),
        "corrections_per_token": round(coding.corrections / len(tokens), 5),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
