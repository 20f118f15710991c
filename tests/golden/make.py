"""Made the golden archives of format version 1. Run once; it refuses to overwrite what is there."""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from conftest import SAMPLE, write_model  # noqa: E402
from test_codec import _forced  # noqa: E402

from llmzip.codec import compress  # noqa: E402
from llmzip.predictors.exact import load_exact  # noqa: E402


def main() -> None:
    if (HERE / "model").exists():
        raise SystemExit("the golden archives exist: they are never written anew")
    write_model(HERE / "model", seed=20, hidden=32, layers=2, heads=2, groups=1, window=40, dtype=np.float16)
    predictor = load_exact(HERE / "model", "golden", engine="numpy", threads=1)
    text = SAMPLE.encode() * 4 + bytes(range(256))
    (HERE / "text").write_bytes(text)
    (HERE / "v1-model.llmz").write_bytes(_forced(text, predictor))
    (HERE / "v1-frames.llmz").write_bytes(_forced(text, predictor, 300))
    (HERE / "v1-chosen.llmz").write_bytes(compress(text, predictor))


if __name__ == "__main__":
    main()
