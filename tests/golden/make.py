"""Made v2-memory with the first version of the memory, and v4-memory-2 with the second.

Run once for each; it refuses to overwrite what is there. Those of format version 1 were made by what wrote them.
"""

from pathlib import Path

from llmzip import archive, frames
from llmzip.memory import MEMORY_VERSION
from llmzip.predictors.exact import ExactPredictor, load_exact

HERE = Path(__file__).resolve().parent


def memory_archive(text: bytes, predictor: ExactPredictor) -> bytes:
    """A frame of a model and memory and one of memory alone, whatever would be smaller."""
    packed, sizes, digest = archive.pack_header(predictor.name, predictor.fingerprint), [], archive.new_digest()
    digest.update(text)
    half = len(text) // 2
    for kind, piece in ((archive.MODEL_AND_MEMORY, text[:half]), (archive.MEMORY, text[half:])):
        tokens, alone = predictor.tokenize(piece), kind == archive.MEMORY
        streams = 1 if alone else 3
        payload = frames.encode_intervals(
            frames.memory_intervals(tokens, predictor, streams, alone=alone), frames.Limit(1 << 20)
        )
        assert payload is not None
        frame = archive.pack_frame(kind, piece, payload, len(tokens), streams)
        packed += frame
        sizes.append((len(frame), len(piece)))
    return packed + archive.pack_end(sizes, digest.digest())


def main() -> None:
    """Writes the archive beside this file."""
    path = HERE / f"v{archive.FORMAT_VERSION}-memory-{MEMORY_VERSION}.llmz"
    if path.exists():
        raise SystemExit("the golden archives exist: they are never written anew")
    predictor = load_exact(HERE / "model", "golden", engine="numpy", threads=1)
    path.write_bytes(memory_archive((HERE / "text").read_bytes(), predictor))


if __name__ == "__main__":
    main()
