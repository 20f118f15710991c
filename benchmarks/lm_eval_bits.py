"""llmzip's ideal bits against lm-evaluation-harness: ``python benchmarks/lm_eval_bits.py [MODEL] [FILE]``.

Runs the harness' own ``bits_per_byte`` (rolling log-likelihood over its Hugging Face model, in float32) on a task that
is one local file, without a network, and beside it the exact engine over the same text in one stream without memory.
The harness' window is made as long as the text, so that both predict every token from all before it (as far as the
model's attention reaches) and neither counts a token twice. Needs ``pip install 'lm-eval[hf]'``, which is no part of
the development extra: it brings some sixty packages.

MODEL is an embedded rung or a folder, by default nano; FILE by default ``corpora/prose-essay.txt``, UTF-8. Writes one
JSON object to stdout; the committed one is ``benchmarks/results/lm-eval-bits.json``.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"  # read when the libraries are imported

from llmzip.predictors import embedded_rungs, load_predictor
from llmzip.scoring import own_bits

ROOT = Path(__file__).resolve().parent.parent

TASK = """\
task: llmzip_local_text
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list:
  - metric: bits_per_byte
    aggregation: bits_per_byte
    higher_is_better: false
metadata:
  version: 1
"""


def harness_bits_per_byte(folder: Path, text: str, token_count: int) -> float:
    """What the harness says of one document."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    with tempfile.TemporaryDirectory() as place:
        data = Path(place, "data.jsonl")
        data.write_text(json.dumps({"text": text}) + "\n", encoding="utf-8")
        Path(place, "task.yaml").write_text(TASK.format(data=json.dumps(str(data))), encoding="utf-8")
        model = HFLM(
            pretrained=str(folder),
            dtype="float32",
            device="cpu",
            batch_size=1,
            max_length=token_count + 1,
            prefix_token_id=0,
            trust_remote_code=False,
        )
        results = lm_eval.simple_evaluate(
            model=model,
            tasks=["llmzip_local_text"],
            task_manager=TaskManager(include_path=place, include_defaults=False),
            bootstrap_iters=0,
        )
    return float(results["results"]["llmzip_local_text"]["bits_per_byte,none"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="nano")
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "corpora" / "prose-essay.txt")
    arguments = parser.parse_args()
    try:
        harness = version("lm-eval")
    except ImportError:
        sys.exit("lm-evaluation-harness is not installed: pip install 'lm-eval[hf]'")
    folder = {rung.name: rung.folder for rung in embedded_rungs()}.get(arguments.model, Path(arguments.model))
    data = arguments.file.read_bytes()
    predictor = load_predictor(arguments.model)
    tokens = predictor.tokenize(data)
    ours = float(own_bits(predictor, data)[1].sum()) / len(data)
    theirs = harness_bits_per_byte(folder, data.decode(), len(tokens))
    result = {
        "model": arguments.model,
        "fingerprint": predictor.fingerprint.hex(),
        "file": arguments.file.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "tokens": len(tokens),
        "lm_eval_bits_per_byte": theirs,
        "llmzip_ideal_bits_per_byte": ours,
        "relative_difference": ours / theirs - 1,
        "versions": {
            "lm-eval": harness,
            "torch": version("torch"),
            "transformers": version("transformers"),
            "python": platform.python_version(),
        },
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
