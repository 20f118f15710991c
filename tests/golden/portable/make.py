"""Made the golden portable archive of format version 3 from the golden model through transformers.

Run once; it refuses to overwrite what is there.
"""

from pathlib import Path

from llmzip import archive, frames
from llmzip.predictors.hub import load_hub

HERE = Path(__file__).resolve().parent

if __name__ == "__main__":
    text = (HERE.parent / "text").read_bytes()[:400]
    predictor = load_hub(HERE.parent / "model", "golden", threads=1).made_portable().fitted(len(text), 3)
    made = frames.token_frame(text, 1 << 20, predictor=predictor, streams=3, memory=False)
    assert made is not None
    frame = made.record()
    header = archive.pack_header(predictor.name, predictor.fingerprint, predictor.settings())
    with (HERE / "v3-portable.llmz").open("xb") as file:
        file.write(header + frame + archive.pack_end([(len(frame), len(text))], b""))
