"""Text that a float model itself expects: ``python benchmarks/own_samples.py MODEL > samples.txt``.

For measuring models that know one kind of text only, with ``float_loop.py`` and ``portable_overhead.py``. 128 samples
of 3,000 tokens, temperature 1, one seed. Machines round differently, so their samples part after a while: results name
the SHA-256 of the text that they are of.
"""

import argparse
import sys

import numpy as np

from llmzip.predictors import load_predictor
from llmzip.predictors.hub import HubPredictor

SAMPLES, TOKENS = 128, 3_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of each sample")
    arguments = parser.parse_args()
    predictor = load_predictor(arguments.model, arithmetic="float")
    assert isinstance(predictor, HubPredictor)
    size, rng = predictor.tokenizer.model_size, np.random.default_rng(0)
    nameless = [number for number, name in enumerate(predictor.token_bytes[:size]) if not name]
    context = predictor.fitted(arguments.samples * arguments.tokens, arguments.samples).start(arguments.samples)
    chosen = np.empty((arguments.samples, arguments.tokens), np.int64)
    for position in range(arguments.tokens):
        logits = context.logits[:, :size].astype(np.float64)
        logits[:, nameless] = -np.inf
        chosen[:, position] = (logits + rng.gumbel(size=logits.shape)).argmax(1)  # a draw from the softmax
        context.append(chosen[:, position])
    sys.stdout.buffer.write(b"\n\n".join(map(predictor.detokenize, chosen)))


if __name__ == "__main__":
    main()
