"""The format: its own example, every kind of damage, and nothing allocated or read by an unchecked field."""

import io
import re
import time
import tracemalloc
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from conftest import CountingPredictor
from hypothesis import given
from hypothesis import strategies as st

import llmzip
from llmzip import archive, codec, coder, frames
from llmzip.archive import ByteReader, End, Frame, read_info
from llmzip.errors import ArchiveError, LlmzipError, ModelError, UnsupportedVersionError
from llmzip.predictors.exact import ExactPredictor

SPECIFICATION = (Path(llmzip.__file__).parent / "ARCHIVE_FORMAT.md").read_text(encoding="utf-8")


def no_model(name: str) -> ExactPredictor:
    raise ModelError(f"asked for {name}: use another")


def test_the_example_of_the_specification_decodes() -> None:
    (example,) = re.findall(r"```hex\n(.*?)```", SPECIFICATION, re.S)
    data = bytes.fromhex(example)
    (member,) = read_info(io.BytesIO(data))
    assert (member.predictor_name, member.fingerprint) == ("toy", bytes([1, 2, 3, 4, 5, 6]))
    assert [frame.kind for frame in member.frames] == ["stored"]
    assert member.archive_bytes == len(data)
    target = io.BytesIO()
    codec.decompress_file(io.BytesIO(data), target, no_model)
    assert target.getvalue() == b"A"
    written = archive.pack_header("toy", member.fingerprint) + archive.pack_frame(archive.STORED, b"A", b"A")
    assert written + archive.pack_end([(13, 1)], b"") == data


def test_the_limits_of_the_specification_are_those_of_the_code() -> None:
    assert f"| 1 | version | {archive.FORMAT_VERSION} |" in SPECIFICATION
    assert "1 to 2^24" in SPECIFICATION and archive.MAXIMUM_FRAME_BYTES == 1 << 24
    assert "of a frame of tokens, 1 to 2^21" in SPECIFICATION and archive.MAXIMUM_MODEL_FRAME_BYTES == 1 << 21
    assert "2 to 2^24" in SPECIFICATION and archive.MAXIMUM_FRAMES == 1 << 24
    assert "0 to 2^24 + 2^16" in SPECIFICATION and archive.MAXIMUM_PAYLOAD_BYTES == (1 << 24) + (1 << 16)
    assert "1 to 256, at most" in SPECIFICATION and archive.MAXIMUM_STREAMS == 256
    assert archive.MAGIC.hex(" ").upper() in SPECIFICATION
    with pytest.raises(UnicodeDecodeError):
        archive.MAGIC.decode()


@pytest.fixture(scope="module")
def texts() -> dict[str, bytes]:
    prose = "The ferry left at 06:40, late again; nobody minded. Ça alors!\n"
    return {"model": prose.encode() + bytes(range(80, 90)), "zstd": b"again " * 90, "stored": bytes(range(90))}


@pytest.fixture(scope="module")
def small_archive(texts: dict[str, bytes], tiny: ExactPredictor) -> tuple[bytes, bytes]:
    """Text and archive with one frame of every kind and an index, put together from the format's own parts."""
    tokens = tiny.tokenize(texts["model"])
    parts = list(frames.token_intervals(tokens, tiny, 3))
    payload = coder.encode(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))
    packed = [
        archive.pack_frame(archive.MODEL, texts["model"], payload, len(tokens), 3),
        archive.pack_frame(archive.ZSTD, texts["zstd"], frames.zstd_payload(texts["zstd"])),
        archive.pack_frame(archive.STORED, texts["stored"], texts["stored"]),
    ]
    whole = b"".join(texts.values())
    digest = archive.new_digest()
    digest.update(whole)
    end = archive.pack_end([(len(f), len(t)) for f, t in zip(packed, texts.values(), strict=True)], digest.digest())
    return whole, archive.pack_header("tiny", tiny.fingerprint) + b"".join(packed) + end


def decode(data: bytes, predictor: ExactPredictor) -> bytes:
    return codec.decompress(data, predictor)


def test_every_kind_of_frame_decodes(small_archive: tuple[bytes, bytes], tiny: ExactPredictor) -> None:
    whole, data = small_archive
    assert decode(data, tiny) == whole
    (member,) = read_info(io.BytesIO(data))
    assert [frame.kind for frame in member.frames] == ["model", "zstd", "stored"]
    assert (member.archive_bytes, member.original_bytes) == (len(data), len(whole))


def test_every_flipped_byte_is_noticed(small_archive: tuple[bytes, bytes], tiny: ExactPredictor) -> None:
    whole, data = small_archive
    started = time.monotonic()
    for position in range(len(data)):
        for change in (0x01, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= change
            with pytest.raises(LlmzipError) as raised:
                decode(bytes(damaged), tiny)
            assert "\n" not in str(raised.value)
    assert time.monotonic() - started < 120
    assert decode(data, tiny) == whole


def test_every_truncation_is_noticed(small_archive: tuple[bytes, bytes], tiny: ExactPredictor) -> None:
    _, data = small_archive
    for length in range(len(data)):
        with pytest.raises(ArchiveError):
            decode(data[:length], tiny)


def test_anything_after_the_end_is_refused(small_archive: tuple[bytes, bytes], tiny: ExactPredictor) -> None:
    _, data = small_archive
    for extra in (b"\0", b"garbage", b"\0" * 4096, data[:20]):
        with pytest.raises(ArchiveError):
            decode(data + extra, tiny)


def test_frames_swapped_or_left_out_are_noticed(small_archive: tuple[bytes, bytes], tiny: ExactPredictor) -> None:
    _, data = small_archive
    (member,) = read_info(io.BytesIO(data))
    header, end = data[: member.header_bytes], data[-member.trailer_bytes :]
    frames = [data[frame.offset : frame.offset + frame.archive_bytes] for frame in member.frames]
    for order in ([1, 0, 2], [0, 1], [0, 1, 2, 2], []):
        with pytest.raises(ArchiveError):
            decode(header + b"".join(frames[k] for k in order) + end, tiny)
    with pytest.raises(ArchiveError, match="index is missing"):
        decode(header + b"".join(frames) + b"\0", tiny)


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(tiny: ExactPredictor, data: bytes) -> None:
    for prefix in (b"", archive.MAGIC, archive.pack_header("tiny", tiny.fingerprint)):
        if prefix + data != archive.pack_header("tiny", tiny.fingerprint) + b"\0":
            with pytest.raises((ArchiveError, UnsupportedVersionError)):
                decode(prefix + data, tiny)


def varint(value: int) -> bytes:
    return archive.varint(value)


HUGE = {
    "a text of 2^60 bytes": bytes([archive.STORED]) + varint(1 << 60) + varint(10),
    "a payload of 2^60 bytes": bytes([archive.STORED]) + varint(10) + varint(1 << 60),
    "2^40 tokens": bytes([archive.MODEL]) + varint(100) + varint(10) + varint(1 << 40) + varint(1),
    "2^30 streams": bytes([archive.MODEL]) + varint(100) + varint(10) + varint(9) + varint(1 << 30),
    "more streams than tokens": bytes([archive.MODEL]) + varint(99) + varint(9) + varint(9) + varint(10),
    "2^60 frames": bytes([archive.END_WITH_INDEX]) + varint(1 << 60),
    "an endless number": bytes([archive.STORED]) + b"\xff" * 100,
    "a long form of a number": bytes([archive.STORED]) + b"\x81\x00" + varint(1),
    "a model frame of 2^24 bytes": bytes([archive.MODEL]) + varint(1 << 24) + varint(99) + varint(9) + varint(1),
    "no text": bytes([archive.STORED]) + varint(0) + varint(0),
    "an unknown kind": bytes([77]) + varint(1) + varint(1),
}


@pytest.mark.parametrize("fields", HUGE.values(), ids=HUGE)
def test_absurd_sizes_cost_nothing(fields: bytes, tiny: ExactPredictor) -> None:
    data = archive.pack_header("tiny", tiny.fingerprint) + fields + bytes(64)
    tracemalloc.start()
    with pytest.raises(ArchiveError):
        decode(data, tiny)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1 << 20


def test_a_zstd_bomb_is_stopped(tiny: ExactPredictor) -> None:
    bomb = frames.zstd_payload(bytes(1 << 26))
    data = archive.pack_header("tiny", tiny.fingerprint) + archive.pack_frame(archive.ZSTD, b"x" * 100, bomb) + b"\0"
    tracemalloc.start()
    with pytest.raises(ArchiveError):
        decode(data, tiny)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_a_zstd_frame_that_states_a_huge_size_is_stopped(tiny: ExactPredictor) -> None:
    """zstd's own size field is believed by the library before any limit."""
    import zstandard

    honest = zstandard.ZstdCompressor().compress(b"x" * 300)
    assert zstandard.frame_content_size(honest) == 300
    header = archive.pack_header("tiny", tiny.fingerprint)
    assert decode(header + archive.pack_frame(archive.ZSTD, b"x" * 300, honest) + b"\0", tiny) == b"x" * 300
    lying = bytes.fromhex("28b52ffd c0 58 0000000000100000 010000".replace(" ", ""))
    assert zstandard.frame_content_size(lying) == 1 << 44
    for original in (b"x" * 100, b"x"):
        with pytest.raises(ArchiveError, match="another size"):
            decode(header + archive.pack_frame(archive.ZSTD, original, lying) + b"\0", tiny)


def test_a_search_for_frames_that_was_made_to_be_slow_ends(tiny: ExactPredictor) -> None:
    """Thousands of headers that each claim all the bytes behind them."""
    claim = bytes([archive.STORED]) + varint(1 << 24) + varint(1 << 24) + bytes(8)
    hostile = archive.pack_header("tiny", tiny.fingerprint) + b"\x4d" + claim * 20000 + bytes(17 << 20)
    started = time.monotonic()
    target = io.BytesIO()
    decoded = codec.decompress_file(io.BytesIO(hostile), target, lambda name: tiny, recover=True)
    assert decoded.lost and time.monotonic() - started < 60


def test_a_payload_too_short_for_its_tokens_is_refused_before_the_model_runs(tiny: ExactPredictor) -> None:
    """A frame whose checks are right, made to keep a model of 4,096 tokens busy: 2^21 tokens from one byte."""

    class Wide(CountingPredictor):
        name, fingerprint, vocabulary_size = "tiny", tiny.fingerprint, 4096

        def start(self, streams: int) -> NoReturn:
            raise AssertionError("started")

    frame = archive.pack_frame(archive.MODEL, bytes(1 << 21), b"\x80", 1 << 21, 256)
    with pytest.raises(ArchiveError, match="too short"):
        codec.decompress(archive.pack_header("tiny", tiny.fingerprint) + frame + b"\0", Wide())


def test_a_newer_version_says_upgrade(small_archive: tuple[bytes, bytes], tiny: ExactPredictor) -> None:
    data = bytearray(small_archive[1])
    data[3] = archive.FORMAT_VERSION + 1
    with pytest.raises(UnsupportedVersionError, match="upgrade"):
        decode(bytes(data), tiny)


def test_a_record_reads_back_as_written() -> None:
    frame = archive.pack_frame(archive.MODEL, b"text", b"payload", 4, 2)
    record = archive.read_record(ByteReader(io.BytesIO(frame)))
    assert isinstance(record, Frame)
    assert (record.info.kind, record.info.token_count, record.info.streams) == ("model", 4, 2)
    assert record.info.archive_bytes == len(frame)
    assert archive.read_record(ByteReader(io.BytesIO(b"\0"))) == End(1)
