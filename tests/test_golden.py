"""Archives of earlier versions decode for ever, on every engine."""

import io
from pathlib import Path

import pytest

from llmzip.archive import read_info
from llmzip.codec import decompress
from llmzip.predictors.exact import load_exact

GOLDEN = Path(__file__).resolve().parent / "golden"


@pytest.mark.parametrize("engine", ["numpy", "native", "torch"])
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.llmz")), ids=lambda path: path.stem)
def test_a_golden_archive_decodes(path: Path, engine: str) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    predictor = load_exact(GOLDEN / "model", "golden", engine=engine, threads=2)
    assert decompress(path.read_bytes(), predictor) == (GOLDEN / "text").read_bytes()


def test_there_are_golden_archives() -> None:
    assert len(list(GOLDEN.glob("v1-*.llmz"))) == 3
    assert len(list(GOLDEN.glob("v2-*.llmz"))) == 1
    assert len(list(GOLDEN.glob("v4-*.llmz"))) == 3


def test_the_short_golden_archive_holds_every_kind_of_frame() -> None:
    members = read_info(io.BytesIO((GOLDEN / "v4-short.llmz").read_bytes()))
    kinds = [frame.kind for member in members for frame in member.frames]
    assert kinds == ["model", "zstd", "stored", "model+memory", "memory"] and len(members) == 6


def test_the_golden_archive_in_groups_decodes() -> None:
    """Frames of kind 16, by a predictor that is a formula, so that no library can move its weights."""
    from golden.weighted import WeightedPredictor

    packed = (GOLDEN / "groups" / "v4-groups.llmz").read_bytes()
    (member,) = read_info(io.BytesIO(packed))
    assert [frame.kind for frame in member.frames] == ["model in groups"] * 2
    assert decompress(packed, WeightedPredictor()) == (GOLDEN / "text").read_bytes()
