"""Archives of earlier versions decode for ever, on every engine."""

from pathlib import Path

import pytest

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
