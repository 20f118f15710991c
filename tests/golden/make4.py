"""Made the golden archives of format version 4, and those of kinds that had none before.

Run once; it refuses to overwrite what is there.
"""

import io
import sys
from pathlib import Path

from llmzip import archive
from llmzip.frames import CODINGS, Limit, Piece
from llmzip.predictor import Predictor
from llmzip.predictors.exact import load_exact

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def frame_of(kind: int, data: bytes, predictor: Predictor, streams: int) -> archive.Frame:
    """Of that kind, whatever would be smaller."""
    coding, piece = CODINGS[kind], Piece(data, predictor.tokenize(data), streams)
    payload = coding.encode(piece, predictor, Limit(1 << 20))
    assert payload is not None
    count = coding.streams(piece)
    return archive.new_frame(kind, data, payload, len(piece.tokens) if count else 0, count)


def parts(data: bytes, count: int) -> list[bytes]:
    """About equally long."""
    bounds = [len(data) * number // count for number in range(count + 1)]
    return [data[first:end] for first, end in zip(bounds, bounds[1:], strict=False)]


def member(pieces: list[bytes], kinds: list[int], predictor: Predictor, streams: int, settings: bytes = b"") -> bytes:
    """An archive with a frame for each piece."""
    target = io.BytesIO()
    writer = archive.Writer(target, predictor.name, predictor.fingerprint, settings)
    for data, kind in zip(pieces, kinds, strict=True):
        writer.write(data, [frame_of(kind, data, predictor, streams)])
    writer.end()
    return target.getvalue()


def write(name: str, content: bytes) -> None:
    """Where nothing is yet."""
    with (HERE / name).open("xb") as file:
        file.write(content)


def main() -> None:
    """Writes the archives beside this file."""
    from weighted import WeightedPredictor

    from llmzip.predictors.hub import load_hub

    text = (HERE / "text").read_bytes()
    plain = [archive.MODEL, archive.ZSTD, archive.STORED, archive.MODEL_AND_MEMORY, archive.MEMORY]
    golden = load_exact(HERE / "model", "golden", engine="numpy", threads=1)
    write("v4-frames.llmz", member(parts(text, 5), plain, golden, 2))
    short = load_exact(HERE / "model", "nano", engine="numpy", threads=1)
    members = [member([data], [kind], short, 1) for data, kind in zip(parts(text, 5), plain, strict=True)]
    write("v4-short.llmz", b"".join(members) + member([], [], short, 1))
    weighted = WeightedPredictor()
    write("groups/v4-groups.llmz", member(parts(text, 2), [archive.GROUPED] * 2, weighted, 3))
    pieces = parts(text[:400], 2)
    portable = load_hub(HERE / "model", "golden", threads=1).made_portable().fitted(400, 3)
    write("portable/v4-two-parts.llmz", member(pieces, [archive.PORTABLE] * 2, portable, 3, portable.settings()))


if __name__ == "__main__":
    main()
