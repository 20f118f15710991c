"""Frames: the registry is whole, one bound holds for every archive, and a cheap look loses next to nothing."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE, CountingPredictor, FixedFloatPredictor, NoisyPredictor
from hypothesis import given, settings
from hypothesis import strategies as st

from llmzip import archive, blocks, frames
from llmzip.archive import read_info
from llmzip.codec import compress, decompress
from llmzip.frames import CODINGS, block, choice, look
from llmzip.predictor import FloatPredictor, PortablePredictor, Predictor
from llmzip.predictors import load_predictor
from llmzip.predictors.exact import ExactPredictor

CORPORA = Path(__file__).resolve().parent.parent / "corpora"
NOISE = np.random.default_rng(5).bytes(1 << 18)
PREDICTORS = ["nano", "adaptive", "tiny", "counting", "float", "portable"]


@pytest.fixture(scope="module")
def predictors(tiny: ExactPredictor, counting: CountingPredictor) -> dict[str, Predictor]:
    embedded = {name: load_predictor(name, threads=1) for name in ("nano", "adaptive")}
    return {
        **embedded,
        "tiny": tiny,
        "counting": counting,
        "float": FixedFloatPredictor(),
        "portable": NoisyPredictor(),
    }


def test_every_kind_of_the_format_has_its_coding() -> None:
    assert set(CODINGS) == set(archive.KINDS)
    assert all(kind == coding.kind for kind, coding in CODINGS.items())


def bound(data: bytes, predictor: Predictor) -> int:
    """What ``ARCHIVE_FORMAT.md`` says under "How large an archive is"."""
    settings = predictor.settings() if isinstance(predictor, FloatPredictor) else b""
    header_bytes = len(archive.pack_header(predictor.name, predictor.fingerprint, settings))
    plain_bytes = 0
    for start in range(0, len(data), blocks.BLOCK_BYTES):
        part = data[start : start + blocks.BLOCK_BYTES]
        plain_bytes += 25 + (len(part) if look.is_noise(part) else min(len(part), len(frames.zstd_payload(part))))
    return header_bytes + plain_bytes + 24 * (not 0 < len(data) <= blocks.BLOCK_BYTES)


def mixtures() -> dict[str, bytes]:
    text, rng = SAMPLE.encode(), np.random.default_rng(3)
    mixed = b"".join(rng.bytes(int(rng.integers(1, 800))) + text[: int(rng.integers(1, 300))] for _ in range(6))
    return {"noise with text": mixed, "text": text * 6, "nothing": b"", "byte": b"x"}


@pytest.mark.parametrize("data", mixtures().values(), ids=mixtures())
@pytest.mark.parametrize("name", PREDICTORS)
def test_no_archive_exceeds_the_bound(
    name: str, data: bytes, predictors: dict[str, Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = predictors[name]
    monkeypatch.setattr(block, "SMALL_FRAME_BYTES", 512)
    for block_bytes, frame_bytes in ((1 << 24, 1 << 20), (1500, 700)):
        monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
        packed = compress(data, predictor, frame_bytes=frame_bytes, verify=False)
        assert len(packed) <= bound(data, predictor)
        assert decompress(packed, predictor) == data


def test_an_archive_of_noise_is_its_bytes_and_the_header(predictors: dict[str, Predictor]) -> None:
    for predictor in predictors.values():
        packed = compress(NOISE, predictor)
        assert len(NOISE) < len(packed) <= bound(NOISE, predictor) and decompress(packed, predictor) == NOISE


@settings(max_examples=40)
@given(
    parts=st.lists(st.tuples(st.binary(max_size=40), st.integers(1, 60)), max_size=12), frame_bytes=st.integers(1, 900)
)
def test_no_archive_of_any_text_exceeds_the_bound(
    counting: CountingPredictor, parts: list[tuple[bytes, int]], frame_bytes: int
) -> None:
    data = b"".join(part * repeats for part, repeats in parts)
    packed = compress(data, counting, frame_bytes=frame_bytes, memory=False)
    assert len(packed) <= bound(data, counting) and decompress(packed, counting) == data


def test_the_bound_of_the_specification() -> None:
    text = (Path(archive.__file__).parent.parent / "ARCHIVE_FORMAT.md").read_text(encoding="utf-8")
    assert "header + 24 bytes + for each block: its plain size + 25 bytes" in text
    assert "above 2^24 + 2^14 and below 2^24 + 2^17" in text
    assert (look.LEAST_SQUARES, look.MOST_SQUARES) == ((1 << 24) + (1 << 14), (1 << 24) + (1 << 17))
    assert look.NOISE_BYTES == 1 << 16 and blocks.BLOCK_BYTES == 1 << 24


@pytest.mark.parametrize("path", sorted(CORPORA.glob("*.*")), ids=lambda path: path.name)
@pytest.mark.parametrize("name", ["adaptive"])
def test_the_look_loses_next_to_nothing(
    path: Path, name: str, predictors: dict[str, Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a choice that tries everything: at most one part in a hundred."""
    data = path.read_bytes()
    looked = len(compress(data, predictors[name]))
    monkeypatch.setattr(block, "is_noise", lambda block: False)
    monkeypatch.setattr(block, "is_hopeless", lambda *_: False)
    monkeypatch.setattr(choice, "pilot_fails", lambda *_: False)
    assert looked <= 1.01 * len(compress(data, predictors[name]))


def count_tokens(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens codings of tokens were given, as they come."""
    given_tokens: list[int] = []
    for kind in (archive.MODEL, archive.MODEL_AND_MEMORY, archive.MEMORY):
        coding = CODINGS[kind]

        def encode(piece: object, *rest: object, encode: object = coding.encode) -> object:
            given_tokens.append(len(piece.tokens))  # type: ignore[attr-defined]
            return encode(piece, *rest)  # type: ignore[operator]

        monkeypatch.setattr(type(coding), "encode", staticmethod(encode))
    return given_tokens


def test_where_nothing_is_to_be_won_a_model_has_little_work(
    predictors: dict[str, Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less than prose, which is a token for every four bytes."""
    import base64
    import zlib

    prose = b"".join(path.read_bytes() for path in sorted(CORPORA.glob("*.txt")))
    compressed = zlib.compress(prose * 2 + NOISE[:99_000], 9)
    tokens = count_tokens(monkeypatch)
    for data in (NOISE[:50_000], NOISE, compressed, b"\n" * 1_000_000, base64.b64encode(NOISE)):
        packed = compress(data, predictors["nano"])
        assert sum(tokens) < len(data) / 4
        assert {frame.kind for member in read_info(io.BytesIO(packed)) for frame in member.frames} <= {"zstd", "stored"}
        tokens.clear()


def test_noise_is_told_in_no_time_and_nothing_else_is_noise() -> None:
    noise = np.random.default_rng(1).bytes(1 << 24)
    started = time.process_time()
    assert look.is_noise(noise)
    assert time.process_time() - started < 0.8  # 20 MB/s
    text = SAMPLE.encode() * 10
    for place in (0, 70_000, 1 << 17):
        assert not look.is_noise(noise[:place] + text + noise[place : 1 << 18])
    assert not look.is_noise(noise[: 1 << 17] * 2)
    assert not look.is_noise(bytes(range(256)) * 512)
    assert not look.is_noise(bytes(1 << 17))
    rng = np.random.default_rng(2)
    assert not look.is_noise(rng.integers(0, 255, 1 << 18).astype(np.uint8).tobytes())  # a byte value is missing
    assert look.is_noise(rng.bytes(1 << 18))


def test_a_portable_predictor_is_one() -> None:
    assert isinstance(NoisyPredictor(), PortablePredictor) and isinstance(FixedFloatPredictor(), FloatPredictor)
    assert not isinstance(FixedFloatPredictor(), PortablePredictor)
