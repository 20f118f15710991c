"""Portable coding: differences within the tolerance change nothing, larger ones are noticed, never silent."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import CountingPredictor, NoisyPredictor
from hypothesis import given, settings
from hypothesis import strategies as st

from llmzip import archive, frames, portable
from llmzip.errors import ArchiveError, PredictorMismatchError
from llmzip.predictor import FREQUENCY_TOTAL, PortablePredictor


def frame_of(data: bytes, predictor: PortablePredictor, streams: int) -> archive.Frame:
    frame = frames.token_frame(data, 1 << 20, predictor=predictor, streams=streams)
    assert frame is not None and frame.info.kind == "portable model"
    return frame


@settings(max_examples=25)
@given(
    data=st.binary(min_size=1, max_size=150),
    streams=st.integers(1, 5),
    exponent=st.integers(4, 16),
    seed=st.integers(0, 999),
)
def test_differences_within_the_tolerance_change_nothing(data: bytes, streams: int, exponent: int, seed: int) -> None:
    tolerance = 2.0**-exponent
    writer = NoisyPredictor(0.24 * tolerance, seed, tolerance)
    try:
        frame = frame_of(data, writer, streams)
    except AssertionError:
        assert exponent < 8  # so large a tolerance that some token is near a border of every grid
        return
    reader = NoisyPredictor(0.24 * tolerance, seed + 1, tolerance)
    assert frames.decode_frame(frame, lambda: reader) == data


def test_larger_differences_are_noticed() -> None:
    data = np.random.default_rng(1).integers(97, 105, 400).astype(np.uint8).tobytes()
    frame = frame_of(data, NoisyPredictor(), 2)
    wrong = 0
    for seed in range(20):
        reader = NoisyPredictor(300 * 2.0**-12, seed)
        try:
            assert frames.decode_frame(frame, lambda reader=reader: reader) == data
        except PredictorMismatchError as error:
            wrong += "computes otherwise" in str(error)
    assert wrong == 20


def test_a_tolerance_too_large_for_any_grid_gives_no_frame() -> None:
    predictor = NoisyPredictor(tolerance=1.0)
    predictor.grid_version = 1  # those of version 2 have so wide cells then that one of them is always free
    assert frames.token_frame(b"abc" * 20, 1 << 20, predictor=predictor, streams=1) is None


def test_a_predictor_that_is_not_portable_cannot_read_the_frame(counting: CountingPredictor) -> None:
    frame = frame_of(b"abc", NoisyPredictor(), 1)
    with pytest.raises(ArchiveError, match="portable frame of a model that is not"):
        frames.decode_frame(frame, lambda: counting)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("exponent", [3, 12, 20])
def test_grids_cover_all_log_odds(exponent: int, version: int) -> None:
    width = portable.cell_width(2.0**-exponent, version)
    grid = portable.Grid(width, version)
    assert (np.diff(grid.borders) > 0).all() and np.array_equal(grid.borders, -grid.borders[::-1])
    assert grid.shares.shape == (portable.GRIDS, len(grid.borders) + 1)
    assert grid.shares.min() >= portable.LEAST_SHARE and grid.shares.max() <= FREQUENCY_TOTAL - portable.LEAST_SHARE
    for number, shares in enumerate(grid.shares):
        changes = np.flatnonzero(np.diff(shares))
        assert (np.diff(shares) >= 0).all()
        assert set(changes % portable.GRIDS) <= {number}  # the grid's own borders, no other
    middles = (grid.borders[1:] + grid.borders[:-1]) / 2
    error = np.abs(grid.shares[0, 1:-1] / FREQUENCY_TOTAL - 1 / (1 + np.exp(-middles)))
    assert error.max() < (0.55 if version == 1 else 0.2) * width + 1e-4


@pytest.mark.parametrize(("version", "expected"), [(1, "5d0add404d2cf883"), (2, "48b9a32c32dbb9c7")])
def test_the_grid_is_the_same_everywhere(version: int, expected: str) -> None:
    """What every archive rests on: pinned, not computed."""
    grid = portable.Grid(portable.cell_width(2.0**-12, version), version)
    import hashlib

    digest = hashlib.sha256(grid.borders.astype("<f8").tobytes() + grid.shares.astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == expected


def test_a_hub_model_taught_at_once_decodes_step_by_step(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from hub_material import write_hub_folder

    from llmzip.codec import compress, decompress
    from llmzip.predictors.hub import load_hub

    for kind, family in (("gpt2", "byte_level"), ("llama", "sentencepiece_without_bytes"), ("opt", "unigram")):
        folder = write_hub_folder(tmp_path / kind, kind, family)
        data = "the quick brown fox jumps over the lazy dog, é!\n".encode() * 2
        writer = load_hub(folder, "x", threads=1).made_portable()
        fitted = writer.fitted(len(data), 3)
        assert 0 < fitted.tolerance < 0.01
        frame = frame_of(data, fitted, 3)
        header = archive.pack_header(fitted.name, fitted.fingerprint, fitted.settings())
        info = archive.read_header(archive.ByteReader(io.BytesIO(header)))
        for threads in (1, 2):
            reader = load_hub(folder, "x", threads=threads)
            assert frames.decode_frame(frame, frames.opener(info, lambda name, reader=reader: reader)) == data
        assert decompress(compress(data, writer), load_hub(folder, "x", threads=2)) == data
        for settings_ in (
            b"p",
            b"p1;float32;24;0",
            b"p1;float32;24;012",
            b"p1;float32;24;x",
            b"p3;float32;24;12",
            b"p1;float32;999;12",
            b"p1;int8;24;12",
            b"p\xff",
        ):
            changed = archive.pack_header(fitted.name, fitted.fingerprint, settings_)
            info = archive.read_header(archive.ByteReader(io.BytesIO(changed)))
            with pytest.raises(PredictorMismatchError):
                frames.decode_frame(frame, frames.opener(info, lambda name, reader=reader: reader))


READ = """
import sys
from pathlib import Path
from llmzip.codec import decompress
from llmzip.predictors.hub import load_hub
predictor = load_hub(Path(sys.argv[1]), "x", threads=int(sys.argv[2]))
for path in sys.argv[3:]:
    Path(path + ".out").write_bytes(decompress(Path(path).read_bytes(), predictor))
"""


@pytest.mark.skipif(os.environ.get("LLMZIP_SLOW_TESTS") is None, reason="LLMZIP_SLOW_TESTS is not set: several minutes")
@pytest.mark.parametrize(("instructions", "threads"), [("default", 1), ("avx2", 2)])
def test_a_hundred_files_under_other_instructions(tmp_path: Path, instructions: str, threads: int) -> None:
    from hub_material import write_hub_folder

    from llmzip.codec import compress
    from llmzip.predictors.hub import load_hub

    folder = write_hub_folder(tmp_path / "model", "llama")
    writer, texts = load_hub(folder, "x", threads=1).made_portable().fitted(300, 1), {}  # measured once
    for number in range(100):
        text = np.random.default_rng(number).choice(["the", " quick", " fox", "\n", " lazy"], 60)
        path = tmp_path / f"{number}.llmz"
        texts[path] = "".join(text).encode()
        path.write_bytes(compress(texts[path], writer, verify=False))
    environment = os.environ | {"ATEN_CPU_CAPABILITY": instructions}
    subprocess.run(
        [sys.executable, "-c", READ, str(folder), str(threads), *map(str, texts)], check=True, env=environment
    )
    assert all(Path(f"{path}.out").read_bytes() == text for path, text in texts.items())


def test_the_golden_portable_archive_decodes() -> None:
    """Written on another machine than most that run this."""
    pytest.importorskip("transformers")
    from llmzip.codec import decompress
    from llmzip.predictors.hub import load_hub

    golden = Path(__file__).resolve().parent / "golden"
    text = (golden / "text").read_bytes()[:400]
    for name in ("v3-portable.llmz", "v4-two-parts.llmz"):
        packed = (golden / "portable" / name).read_bytes()
        assert decompress(packed, load_hub(golden / "model", "golden", threads=2)) == text
