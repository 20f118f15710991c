"""The format: its own example, every kind of damage, and nothing allocated or read by an unchecked field."""

import contextlib
import io
import re
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
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
from llmzip.errors import ArchiveError, LlmzipError, ModelError, PredictorMismatchError, UnsupportedVersionError
from llmzip.predictor import FLOAT_PREFIX, Predictor
from llmzip.predictors import load_predictor
from llmzip.predictors.exact import ExactPredictor

SPECIFICATION = (Path(llmzip.__file__).parent / "ARCHIVE_FORMAT.md").read_text(encoding="utf-8")


def no_model(name: str) -> ExactPredictor:
    raise ModelError(f"asked for {name}: use another")


def test_the_example_of_the_specification_decodes() -> None:
    example, _ = re.findall(r"```hex\n(.*?)```", SPECIFICATION, re.S)
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


def test_the_short_example_of_the_specification_decodes() -> None:
    _, example = re.findall(r"```hex\n(.*?)```", SPECIFICATION, re.S)
    data = bytes.fromhex(example)
    (member,) = read_info(io.BytesIO(data))
    assert (member.predictor_name, member.fingerprint, member.format_version) == ("adaptive", b"\x01\x02", 4)
    assert (member.archive_bytes, member.original_bytes) == (len(data), 1)
    target = io.BytesIO()
    codec.decompress_file(io.BytesIO(data), target, no_model)
    assert target.getvalue() == b"A"
    written = io.BytesIO()
    writer = archive.Writer(written, "adaptive", bytes([1, 2, 3, 4, 5, 6]))
    writer.write(b"A", [archive.new_frame(archive.STORED, b"A", b"A")])
    assert writer.end() == member and written.getvalue() == data


@pytest.fixture(scope="module")
def nano() -> Predictor:
    return load_predictor("nano", threads=1)


SHORT_TEXTS = [b"", b"A", b"\xff\xf9", b"The ferry left at 06:40, late again; nobody minded.\n" * 1, b"ab" * 600]


@pytest.mark.parametrize("data", SHORT_TEXTS, ids=len)
def test_a_small_text_pays_fourteen_bytes_at_most(data: bytes, nano: Predictor) -> None:
    for predictor in (nano, load_predictor("adaptive", threads=1)):
        packed = codec.compress(data, predictor, memory=len(data) < 1000)
        (member,) = read_info(io.BytesIO(packed))
        payload_bytes = sum(frame.payload_bytes for frame in member.frames)
        assert packed[:1] == archive.SHORT_MAGIC
        assert member.archive_bytes == len(packed) <= payload_bytes + 14 and member.original_bytes == len(data)
        assert codec.decompress(packed) == codec.decompress(packed, predictor) == data
        assert codec.decompress(packed + packed) == data + data


def test_a_sentence_of_52_bytes_takes_a_form_of_eleven(nano: Predictor) -> None:
    packed = codec.compress(SHORT_TEXTS[3], nano)
    (member,) = read_info(io.BytesIO(packed))
    assert [frame.kind for frame in member.frames] == ["model"]
    assert len(packed) - member.frames[0].payload_bytes == 11


def test_what_does_not_suit_the_short_form_has_the_long(nano: Predictor, tiny: ExactPredictor) -> None:
    noise = np.random.default_rng(0).bytes(1 << 16)
    sentences = SPECIFICATION.encode()[:3000]
    for packed in (
        codec.compress(noise, nano),
        codec.compress(sentences, nano, streams=2, memory=False),
        codec.compress(SHORT_TEXTS[3], tiny),
    ):
        assert packed[:3] == archive.MAGIC
    assert codec.compress(noise[1:], nano)[:1] == archive.SHORT_MAGIC


def test_every_damage_of_a_short_form_is_noticed(nano: Predictor) -> None:
    for data in SHORT_TEXTS:
        packed = codec.compress(data, nano)
        for position in range(min(len(packed), 60)):
            for change in (0x01, 0x08, 0x80, 0xFF):
                damaged = bytearray(packed)
                damaged[position] ^= change
                with pytest.raises(LlmzipError) as raised:
                    codec.decompress(bytes(damaged))
                assert "\n" not in str(raised.value)
        for length in range(len(packed)):
            with pytest.raises(LlmzipError):
                codec.decompress(packed[:length])


def test_another_version_of_a_predictor_is_refused_by_the_short_form(nano: Predictor) -> None:
    packed = bytearray(codec.compress(SHORT_TEXTS[3], nano))
    packed[2] ^= 1
    with pytest.raises(PredictorMismatchError):
        codec.decompress(bytes(packed))
    with pytest.raises(PredictorMismatchError):
        codec.decompress(codec.compress(SHORT_TEXTS[3], nano), load_predictor("small", threads=1))


def test_one_frame_of_a_short_form_can_be_read_and_recovered(nano: Predictor) -> None:
    data, target = SHORT_TEXTS[3], io.BytesIO()
    packed = codec.compress(data, nano)
    assert codec.read_frame(io.BytesIO(packed * 2), 1, lambda name: nano) == data
    with pytest.raises(ArchiveError, match="no frame 2"):
        codec.read_frame(io.BytesIO(packed * 2), 2, lambda name: nano)
    damaged = bytearray(packed)
    damaged[-1] ^= 1
    decoded = codec.decompress_file(io.BytesIO(packed + damaged + packed), target, lambda name: nano, recover=True)
    assert target.getvalue() == data * 2
    assert [(lost.archive_start, lost.original_bytes) for lost in decoded.lost] == [(len(packed), len(data))]


def test_the_prefix_of_float_predictors_is_one_word() -> None:
    assert archive.FLOAT_PREFIX == FLOAT_PREFIX


def peak_of(work: Callable[[], object]) -> int:
    """Bytes allocated at most while it fails."""
    tracemalloc.start()
    with contextlib.suppress(LlmzipError):
        work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_hostile_index_allocates_nothing(tiny: ExactPredictor) -> None:
    """Its checks are right; it names 2^17 frames where there are two."""
    count = 1 << 17
    frame = archive.pack_frame(archive.STORED, b"ab", b"ab")
    fields = bytes([archive.END_WITH_INDEX]) + varint(count) + b"\x0c" * count + b"\x01" * count + bytes(8)
    end = fields + struct.pack("<II", zlib.crc32(fields), len(fields) + 8)
    data = archive.pack_header("tiny", tiny.fingerprint) + frame * 2 + end
    for recover in (False, True):
        source = io.BytesIO(data)
        peak = peak_of(lambda: codec.decompress_file(source, io.BytesIO(), lambda name: tiny, recover=recover))  # noqa: B023
        assert peak < 1 << 19
    source = io.BytesIO(data)
    assert peak_of(lambda: read_info(source)) < 1 << 19


def test_an_honest_index_takes_eight_bytes_a_frame(tiny: ExactPredictor) -> None:
    frame, count = archive.new_frame(archive.STORED, b"a", b"a"), 50_000
    target = io.BytesIO()
    writer = archive.Writer(target, "tiny", tiny.fingerprint)
    writer.write(b"a" * count, [frame] * count)
    writer.end()
    for recover in (False, True):
        text = io.BytesIO(bytes(count))
        source = io.BytesIO(target.getvalue())
        peak = peak_of(lambda: codec.decompress_file(source, text, lambda name: tiny, recover=recover))  # noqa: B023
        assert text.getvalue() == b"a" * count and peak < count * (60 if recover else 30)


def test_recovery_takes_time_in_proportion_to_the_frames(tiny: ExactPredictor) -> None:
    """Every second frame is damaged, with an index and without."""
    seconds = {}
    for count in (2_000, 16_000):
        target = io.BytesIO()
        writer = archive.Writer(target, "tiny", tiny.fingerprint)
        text = np.random.default_rng(1).bytes(count * 30)
        pieces = [text[start : start + 30] for start in range(0, len(text), 30)]
        writer.write(text, [archive.new_frame(archive.STORED, piece, piece) for piece in pieces])
        info = writer.end()
        damaged = bytearray(target.getvalue())
        for frame in info.frames[::2]:
            damaged[frame.offset + 20] ^= 1
        for cut in (0, 40):
            out, started = io.BytesIO(), time.process_time()
            source = io.BytesIO(bytes(damaged[: len(damaged) - cut]))
            decoded = codec.decompress_file(source, out, lambda name: tiny, recover=True)
            seconds[count, cut] = time.process_time() - started
            assert out.getvalue() == b"".join(pieces[1::2]) and len(decoded.lost) >= count // 2
    for cut in (0, 40):
        assert seconds[16_000, cut] < 8 * 3 * seconds[2_000, cut] + 0.5
