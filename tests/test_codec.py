"""The codec's promises: everything comes back, in bounded memory, for any predictor, streams and sources."""

import io
import os
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zstandard
from conftest import SAMPLE, CountingPredictor
from hypothesis import given
from hypothesis import strategies as st

from llmzip import archive, blocks, codec, coder, frames
from llmzip.archive import read_info
from llmzip.codec import compress, compress_file, decompress, decompress_file, read_frame
from llmzip.coder import ideal_bits
from llmzip.errors import ArchiveError, PredictorMismatchError
from llmzip.frames import block
from llmzip.predictor import ExactContext, Predictor
from llmzip.predictors import load_predictor
from llmzip.predictors.exact import ExactPredictor, load_exact
from llmzip.recovery import Decoded

HOSTILE = [
    b"",
    b"a",
    b"\xff",
    b"\0" * 3000,
    bytes(range(256)),
    np.random.default_rng(0).bytes(4000),
    SAMPLE.encode() * 3,
    b"\xf0\x9f\x99" * 50,
    b"<|start|>" * 40,
    "e\u0301".encode() * 99,
]


def letters(size: int, seed: int = 0) -> bytes:
    """Text that a count of letters codes better than zstd does, so that its frames are a model's."""
    return np.random.default_rng(seed).integers(97, 105, size).astype(np.uint8).tobytes()


@pytest.fixture(scope="session")
def adaptive() -> Predictor:
    return load_predictor("adaptive", threads=2)


@pytest.fixture(scope="module", params=["tiny", "counting", "adaptive"])
def predictor(
    request: pytest.FixtureRequest, tiny: ExactPredictor, counting: CountingPredictor, adaptive: Predictor
) -> Predictor:
    return {"tiny": tiny, "counting": counting, "adaptive": adaptive}[request.param]


@pytest.mark.parametrize("streams", [None, 1, 7, 256])
@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: f"{data[:6].hex()}x{len(data)}")
def test_files_come_back(predictor: Predictor, data: bytes, streams: int | None) -> None:
    assert decompress(compress(data, predictor, streams=streams), predictor) == data


@given(
    data=st.one_of(st.binary(max_size=600), st.text(max_size=300).map(lambda text: text.encode())),
    streams=st.integers(1, 20),
    frame_bytes=st.integers(1, 500),
)
def test_anything_comes_back(counting: CountingPredictor, data: bytes, streams: int, frame_bytes: int) -> None:
    packed = compress(data, counting, streams=streams, frame_bytes=frame_bytes)
    assert decompress(packed, counting) == data
    assert len(packed) <= len(frames.zstd_payload(data)) + 64


@given(data=st.binary(max_size=200), streams=st.integers(1, 9))
def test_model_frames_come_back(tiny: ExactPredictor, data: bytes, streams: int) -> None:
    """The model's own coding of bytes for which any sensible choice would be another one."""
    if not data:
        return
    tokens = tiny.tokenize(data)
    streams = min(streams, len(tokens))
    parts = list(frames.token_intervals(tokens, tiny, streams))
    cumulative, frequency = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    assert len(frequency) == len(tokens)
    payload = coder.encode(cumulative, frequency)
    frame = archive.pack_frame(archive.MODEL, data, payload, len(tokens), streams)
    record = archive.read_record(archive.ByteReader(io.BytesIO(frame)))
    assert isinstance(record, archive.Frame)
    assert frames.decode_frame(record, lambda: tiny) == data


CORPORA = sorted(path for path in Path(__file__).resolve().parent.parent.glob("corpora/*.*") if path.suffix != ".toml")


@pytest.mark.parametrize("path", CORPORA, ids=lambda path: path.name)
def test_no_archive_is_larger_than_zstd_and_64_bytes(path: Path) -> None:
    data = path.read_bytes()
    packed = compress(data, load_predictor("nano"))
    assert len(packed) <= len(zstandard.ZstdCompressor(level=19).compress(data)) + 64


def test_encoding_step_by_step_writes_the_same_archive(tiny: ExactPredictor) -> None:
    """The shortcut that only exact predictors may take changes nothing but the time."""

    class Stepwise:
        def __init__(self, context: object) -> None:
            self._context = context

        def __getattr__(self, name: str) -> object:
            if name == "intervals":
                raise AttributeError(name)
            return getattr(self._context, name)

    class StepwisePredictor(ExactPredictor):
        def start(self, streams: int) -> Stepwise:  # type: ignore[override]
            return Stepwise(super().start(streams))

    slow = object.__new__(StepwisePredictor)
    slow.__dict__.update(tiny.__dict__)
    data = SAMPLE.encode() + b"ab" * 100
    assert not isinstance(slow.start(1), ExactContext)
    for streams in (1, 4):
        packed = compress(data, tiny, streams=streams)
        assert compress(data, slow, streams=streams) == packed


def test_concatenated_archives_decode_to_concatenated_texts(predictor: Predictor) -> None:
    texts = [b"one\n" * 30, b"", b"three"]
    assert decompress(b"".join(compress(text, predictor) for text in texts), predictor) == b"".join(texts)


def test_one_frame_can_be_read_alone(counting: CountingPredictor) -> None:
    data = letters(3000) + np.random.default_rng(1).bytes(500)
    packed = compress(data, counting, frame_bytes=700)
    source = io.BytesIO(packed * 2)
    count = sum(len(member.frames) for member in read_info(source))
    assert count == 10
    pieces = [read_frame(source, index, lambda name: counting) for index in range(count)]
    assert b"".join(pieces) == data * 2
    for index in (99, -1, -99):
        with pytest.raises(ArchiveError, match=f"no frame {index}"):
            read_frame(source, index, lambda name: counting)


def test_frames_end_at_lines_and_never_inside_a_character() -> None:
    text = ("Žluťoučký kůň\n" * 200).encode()
    pieces = list(blocks.cut(text, 100))
    assert b"".join(pieces) == text and all(piece.endswith(b"\n") for piece in pieces)
    emoji = "🙂".encode() * 300
    pieces = list(blocks.cut(emoji, 401))
    assert b"".join(pieces) == emoji and all(piece.decode() for piece in pieces)
    assert b"".join(blocks.cut(b"\x80" * 50, 7)) == b"\x80" * 50


def test_a_file_that_changes_its_language_gets_frames_of_several_kinds(
    counting: CountingPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, "SMALL_FRAME_BYTES", 4096)
    rng = np.random.default_rng(1)  # mostly one letter: half a bit each for a count, a whole bit for zstd
    skewed = np.where(rng.random(4096 * 3) < 0.93, 97, rng.integers(98, 105, 4096 * 3)).astype(np.uint8)
    data = rng.bytes(8192) + skewed.tobytes()
    # A model that cannot do with random bytes at all.
    monkeypatch.setattr(
        codec,
        "token_frame",
        lambda piece, limit, **rest: None if piece[0] != 97 else frames.token_frame(piece, limit, **rest),
    )
    packed = compress(data, counting, memory=False)
    (member,) = read_info(io.BytesIO(packed))
    assert {frame.kind for frame in member.frames} == {"stored", "model"}
    assert decompress(packed, counting) == data
    assert len(packed) < len(frames.zstd_payload(data))


def test_a_pipe_that_gives_little_at_a_time(counting: CountingPredictor) -> None:
    data = SAMPLE.encode() * 50
    reading, writing = os.pipe()

    def trickle() -> None:
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            for start in range(0, len(data), 997):
                pipe.write(data[start : start + 997])

    thread = threading.Thread(target=trickle)
    thread.start()
    target = io.BytesIO()
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        info = compress_file(pipe, target, counting)
    thread.join()
    assert target.getvalue() == compress(data, counting)
    assert info == read_info(io.BytesIO(target.getvalue()))[0]


def test_memory_does_not_grow_with_the_file(counting: CountingPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 16)

    class Zeros(io.RawIOBase):
        left = 8 << 20

        def read(self, size: int = -1) -> bytes:
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    class Nowhere(io.RawIOBase):
        size = 0

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.size += len(data)
            return len(data)

    tracemalloc.start()
    target = Nowhere()
    compress_file(Zeros(), target, counting, frame_bytes=1 << 16, memory=False)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
    assert target.size < 1 << 15


def test_the_wrong_model_is_named(tiny: ExactPredictor, counting: CountingPredictor, tmp_path: Path) -> None:
    from conftest import write_model

    packed = _forced(SAMPLE.encode(), tiny)
    with pytest.raises(PredictorMismatchError, match="'tiny' .* this is 'count'"):
        decompress(packed, counting)
    other = load_exact(write_model(tmp_path / "tiny", seed=2), "tiny", engine="numpy", threads=1)
    with pytest.raises(PredictorMismatchError):
        decompress(packed, other)


def _forced(data: bytes, predictor: Predictor, frame_bytes: int = 1 << 20) -> bytes:
    """An archive whose frames are all a model's, whatever would be smaller."""
    packed, sizes, digest = (
        archive.pack_header(predictor.name, predictor.fingerprint),
        [],
        archive.new_digest(),
    )
    digest.update(data)
    for start in range(0, len(data), frame_bytes):
        piece = data[start : start + frame_bytes]
        frame = frames.token_frame(piece, 1 << 30, predictor=predictor, streams=2, memory=False)
        assert frame is not None
        packed += frame.record()
        sizes.append((frame.info.archive_bytes, len(piece)))
    return packed + archive.pack_end(sizes, digest.digest())


def test_a_text_without_model_frames_needs_no_model(tiny: ExactPredictor) -> None:
    packed = compress(b"\0" * 9000, tiny, memory=False)

    def refuse(name: str) -> Predictor:
        raise AssertionError("loaded")

    target = io.BytesIO()
    decompress_file(io.BytesIO(packed), target, refuse)
    assert target.getvalue() == b"\0" * 9000


def test_an_archive_cannot_name_a_folder(tiny: ExactPredictor, model_folder: Path) -> None:
    renamed = object.__new__(ExactPredictor)
    renamed.__dict__.update(tiny.__dict__, name=str(model_folder))
    with pytest.raises(Exception, match="no embedded model is called"):
        decompress(_forced(b"text", renamed))


def test_the_coder_costs_next_to_nothing(tiny: ExactPredictor) -> None:
    data = SAMPLE.encode() * 8
    tokens = tiny.tokenize(data)
    for streams in (1, 8):
        frequency = np.concatenate([part[1] for part in frames.token_intervals(tokens, tiny, streams)])
        cumulative = np.concatenate([part[0] for part in frames.token_intervals(tokens, tiny, streams)])
        assert len(coder.encode(cumulative, frequency)) * 8 <= 1.001 * ideal_bits(frequency) + 64


def test_a_small_text_pays_forty_bytes_at_most(counting: CountingPredictor) -> None:
    for seed in range(20):
        data = letters(2000, seed)
        packed = compress(data, counting, memory=False)
        (member,) = read_info(io.BytesIO(packed))
        assert [frame.kind for frame in member.frames] == ["model"]
        frequency = np.concatenate([part[1] for part in frames.token_intervals(counting.tokenize(data), counting, 1)])
        assert len(packed) <= ideal_bits(frequency) / 8 + 40


def recover(data: bytes, predictor: Predictor) -> tuple[bytes, Decoded]:
    target = io.BytesIO()
    decoded = decompress_file(io.BytesIO(data), target, lambda name: predictor, recover=True)
    return target.getvalue(), decoded


def test_whole_frames_are_recovered(counting: CountingPredictor) -> None:
    data = letters(4000)
    packed = _forced(data, counting, 600)
    (member,) = read_info(io.BytesIO(packed))
    assert len(member.frames) > 5
    assert recover(packed, counting) == (data, Decoded(len(data), len(packed)))
    bounds = np.cumsum([0] + [frame.original_bytes for frame in member.frames])
    for victim, frame in enumerate(member.frames):
        for position in (0, 1, 3, frame.header_bytes - 1, frame.archive_bytes - 1):
            damaged = bytearray(packed)
            damaged[frame.offset + position] ^= 0x55
            text, decoded = recover(bytes(damaged), counting)
            assert text == data[: bounds[victim]] + data[bounds[victim + 1] :]
            (lost,) = decoded.lost
            assert (lost.archive_start, lost.archive_end) == (frame.offset, frame.offset + frame.archive_bytes)
            assert lost.original_bytes == frame.original_bytes


def test_what_came_before_a_cut_is_recovered(counting: CountingPredictor) -> None:
    data = letters(2400)
    packed = _forced(data, counting, 600)
    (member,) = read_info(io.BytesIO(packed))
    for length in range(member.header_bytes, len(packed), 7):
        text, decoded = recover(packed[:length], counting)
        whole = [f for f in member.frames if f.offset + f.archive_bytes <= length]
        assert text == data[: sum(frame.original_bytes for frame in whole)]
        assert decoded.lost


def test_a_damaged_member_does_not_hide_the_next(counting: CountingPredictor) -> None:
    """No index reaches the first member from the end of the file: its frames are found by search."""
    first, second = letters(3000, 1), letters(3000, 2)
    packed = bytearray(_forced(first, counting, 700))
    (member,) = read_info(io.BytesIO(bytes(packed)))
    packed[member.frames[1].offset + 1] ^= 0x55
    text, decoded = recover(bytes(packed) + compress(second, counting, frame_bytes=700), counting)
    bounds = np.cumsum([0] + [frame.original_bytes for frame in member.frames])
    assert text == first[: bounds[1]] + first[bounds[2] :] + second
    assert [lost.archive_start for lost in decoded.lost] == [member.frames[1].offset]


def test_recovery_is_not_misled_by_an_archive_inside_the_archive(counting: CountingPredictor) -> None:
    """A stored frame that holds an archive looks like frames to a search; the index knows better."""
    inner = compress(letters(2000, 3), counting, frame_bytes=500)
    data = inner + letters(3000, 4)
    packed = bytearray(compress(data, counting, frame_bytes=len(inner)))
    (member,) = read_info(io.BytesIO(bytes(packed)))
    packed[member.frames[0].offset + 5] ^= 0x55
    text, decoded = recover(bytes(packed), counting)
    assert text == data[member.frames[0].original_bytes :]
    assert [lost.original_bytes for lost in decoded.lost] == [member.frames[0].original_bytes]


def test_every_member_of_several_is_recovered(counting: CountingPredictor) -> None:
    """The index of the last member must not be taken for that of the others."""
    texts = [letters(3000, seed) for seed in (1, 2, 3)]
    members = [_forced(text, counting, 700) for text in texts]
    (info,) = read_info(io.BytesIO(members[0]))
    for victim in range(3):
        damaged = [bytearray(member) for member in members]
        damaged[victim][info.frames[0].offset + 20] ^= 0x55
        text, decoded = recover(b"".join(bytes(member) for member in damaged), counting)
        first = info.frames[0].original_bytes
        assert text == b"".join(t[first:] if k == victim else t for k, t in enumerate(texts))
        assert len(decoded.lost) == 1


def test_frames_after_a_damaged_header_that_need_no_model_are_recovered(counting: CountingPredictor) -> None:
    data = bytes(range(256)) * 3
    packed = bytearray(compress(data, counting))
    (member,) = read_info(io.BytesIO(bytes(packed)))
    assert [frame.kind for frame in member.frames] == ["zstd"]
    packed[6] ^= 0x01
    text, decoded = recover(bytes(packed), counting)
    assert text == data
    assert [(lost.archive_start, lost.archive_end) for lost in decoded.lost] == [(0, member.header_bytes)]
    packed = bytearray(_forced(letters(900), counting))
    packed[6] ^= 0x01
    text, decoded = recover(bytes(packed) + compress(data, counting), counting)
    assert text == data and "unknown" in decoded.lost[1].reason


def test_members_whose_model_is_missing_are_listed(counting: CountingPredictor, tiny: ExactPredictor) -> None:
    from llmzip.errors import ModelError

    def load(name: str) -> Predictor:
        if name != counting.name:
            raise ModelError("not here: get it")
        return counting

    packed = _forced(b"one text", tiny) + _forced(letters(500), counting)
    target = io.BytesIO()
    decoded = decompress_file(io.BytesIO(packed), target, load, recover=True)
    assert target.getvalue() == letters(500)
    assert [lost.original_bytes for lost in decoded.lost] == [8]


def test_an_archive_inside_a_member_without_index_is_passed_over(counting: CountingPredictor) -> None:
    inner = compress(np.random.default_rng(6).bytes(900), counting) * 2
    packed = bytearray(compress(inner, counting))
    (member,) = read_info(io.BytesIO(bytes(packed)))
    assert [frame.kind for frame in member.frames] == ["zstd"]
    stored = (
        archive.pack_header("count", counting.fingerprint) + archive.pack_frame(archive.STORED, inner, inner) + b"\0"
    )
    damaged = bytearray(stored)
    damaged[-2] ^= 0x55
    with_more = bytes(damaged) + compress(b"after", counting)
    text, decoded = recover(with_more, counting)
    assert text == b"after"
    assert decoded.lost[0].archive_start == member.header_bytes


def test_one_frame_is_read_whatever_happened_to_the_others(counting: CountingPredictor) -> None:
    data = letters(3000)
    packed = bytearray(_forced(data, counting, 700))
    (member,) = read_info(io.BytesIO(bytes(packed)))
    packed[member.frames[1].offset + 30] ^= 0x55
    packed[member.frames[4].offset + 30] ^= 0x55
    source = io.BytesIO(bytes(packed[:-5]))
    assert read_frame(source, 0, lambda name: counting) == data[:700]
    assert read_frame(source, 3, lambda name: counting) == data[2100:2800]
    with pytest.raises(ArchiveError):
        read_frame(source, 1, lambda name: counting)


def test_a_source_that_does_not_wait_is_an_error_and_not_an_end(counting: CountingPredictor) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb", buffering=0) as pipe, os.fdopen(writing, "wb", buffering=0):
        with pytest.raises(BlockingIOError):
            compress_file(pipe, io.BytesIO(), counting)
        with pytest.raises(BlockingIOError):
            decompress_file(pipe, io.BytesIO(), lambda name: counting)


@pytest.mark.parametrize("wrong", [None, "text", 5])
def test_only_bytes_are_compressed(counting: CountingPredictor, wrong: object) -> None:
    with pytest.raises(TypeError):
        compress(wrong, counting)  # type: ignore[arg-type]


def test_nothing_to_recover_is_said(counting: CountingPredictor) -> None:
    with pytest.raises(ArchiveError):
        recover(b"not an archive at all", counting)
    with pytest.raises(ArchiveError):
        recover(b"", counting)


def memory_frame(kind: int, data: bytes, predictor: Predictor, streams: int) -> archive.Frame:
    """A frame with memory, whatever would be smaller."""
    tokens = predictor.tokenize(data)
    streams = min(streams, len(tokens))
    intervals = frames.memory_intervals(tokens, predictor, streams, alone=kind == archive.MEMORY)
    payload = frames.encode_intervals(intervals, frames.Limit(1 << 30))
    assert payload is not None
    frame = archive.pack_frame(kind, data, payload, len(tokens), streams)
    record = archive.read_record(archive.ByteReader(io.BytesIO(frame)))
    assert isinstance(record, archive.Frame)
    return record


@pytest.mark.parametrize("kind", [archive.MODEL_AND_MEMORY, archive.MEMORY])
@given(data=st.binary(min_size=1, max_size=200), repeats=st.integers(1, 5), streams=st.integers(1, 9))
def test_frames_with_memory_come_back(
    tiny: ExactPredictor, counting: CountingPredictor, kind: int, data: bytes, repeats: int, streams: int
) -> None:
    for predictor in (tiny, counting):
        record = memory_frame(kind, data * repeats, predictor, streams)
        assert frames.decode_frame(record, lambda p=predictor: p) == data * repeats  # type: ignore[misc]


@pytest.mark.parametrize("engine", ["numpy", "native", "torch"])
@pytest.mark.parametrize("threads", [1, 2])
def test_memory_gives_the_same_bytes_on_every_engine(
    model_folder: Path, tiny: ExactPredictor, engine: str, threads: int
) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    other = load_exact(model_folder, "tiny", engine=engine, threads=threads)
    data = SAMPLE.encode() * 6
    for streams in (1, 20):
        written = memory_frame(archive.MODEL_AND_MEMORY, data, tiny, streams)
        assert written == memory_frame(archive.MODEL_AND_MEMORY, data, other, streams)
        assert frames.decode_frame(written, lambda: other) == data


def test_damaged_frames_with_memory_are_refused(tiny: ExactPredictor) -> None:
    data = SAMPLE.encode()
    for kind in (archive.MODEL_AND_MEMORY, archive.MEMORY):
        record = memory_frame(kind, data, tiny, 2)
        for place in range(0, len(record.payload), 7):
            damaged = bytearray(record.payload)
            damaged[place] ^= 0x10
            with pytest.raises(ArchiveError):
                frames.decode_frame(replace(record, payload=bytes(damaged)), lambda: tiny)


def test_longer_texts_are_coded_with_memory_unless_told_otherwise(tiny: ExactPredictor) -> None:
    data = SAMPLE.encode() * 40
    (member,) = read_info(io.BytesIO(packed := compress(data, tiny)))
    (bare,) = read_info(io.BytesIO(compress(data, tiny, memory=False)))
    assert {frame.kind for frame in member.frames} <= {"model+memory", "memory"}
    assert not {frame.kind for frame in bare.frames} & {"model+memory", "memory"}
    assert member.archive_bytes < bare.archive_bytes and decompress(packed, tiny) == data


def test_without_a_model_frames_are_memory_zstd_or_stored(adaptive: Predictor) -> None:
    kinds = set()
    noise = np.random.default_rng(0).bytes(3000)
    for data in (SAMPLE.encode() * 8, SAMPLE.encode(), noise, noise * 3, b"a"):
        packed = compress(data, adaptive)
        kinds |= {frame.kind for member in read_info(io.BytesIO(packed)) for frame in member.frames}
        assert decompress(packed) == data
        bare = compress(data, adaptive, memory=False)
        assert {frame.kind for member in read_info(io.BytesIO(bare)) for frame in member.frames} <= {"zstd", "stored"}
    assert kinds == {"memory", "zstd", "stored"}


@given(data=st.binary(max_size=300), repeats=st.integers(1, 30), frame_bytes=st.integers(500, 5000))
def test_threads_change_no_byte(adaptive: Predictor, data: bytes, repeats: int, frame_bytes: int) -> None:
    data *= repeats
    one, three = (load_predictor("adaptive", threads=threads) for threads in (1, 3))
    packed = compress(data, one, frame_bytes=frame_bytes)
    assert packed == compress(data, three, frame_bytes=frame_bytes)
    assert decompress(packed, one) == decompress(packed, three) == data


def test_trying_memory_alone_beside_the_model_changes_no_byte(model_folder: Path) -> None:
    """With one thread one after the other, with more at the same time, each stopping the other."""
    one, two = (load_exact(model_folder, "tiny", engine="numpy", threads=threads) for threads in (1, 2))
    for data in (SAMPLE.encode() * 30, letters(6000), np.random.default_rng(3).bytes(6000)):
        assert compress(data, one) == compress(data, two)


def test_an_archive_may_not_ask_for_a_model_that_is_not_there(adaptive: Predictor, tiny: ExactPredictor) -> None:
    data = SAMPLE.encode() * 2
    for record in (
        memory_frame(archive.MODEL_AND_MEMORY, data, tiny, 2),
        archive.read_record(archive.ByteReader(io.BytesIO(_forced(data, tiny)[17:]))),
    ):
        assert isinstance(record, archive.Frame)
        with pytest.raises(ArchiveError, match="needs a model and 'adaptive' has none"):
            frames.decode_frame(record, lambda: adaptive)


def test_damaged_and_cut_frames_of_memory_alone_are_refused(adaptive: Predictor) -> None:
    record = memory_frame(archive.MEMORY, SAMPLE.encode() * 3, adaptive, 1)
    payloads = [record.payload[:length] for length in range(0, len(record.payload) - 4, 29)]
    for place in range(0, len(record.payload), 29):
        payloads.append(record.payload[:place] + bytes((record.payload[place] ^ 0x10,)) + record.payload[place + 1 :])
    for payload in payloads:
        with pytest.raises(ArchiveError):
            frames.decode_frame(replace(record, payload=payload), lambda: adaptive)


def test_one_frame_of_memory_alone_can_be_read_and_the_rest_recovered(adaptive: Predictor) -> None:
    data = Path(__file__).read_bytes()[:9000]
    packed = bytearray(compress(data, adaptive, frame_bytes=3000))
    (member,) = read_info(io.BytesIO(bytes(packed)))
    first = member.frames[0].original_bytes
    assert {frame.kind for frame in member.frames} == {"memory"}
    assert read_frame(io.BytesIO(bytes(packed)), 0, lambda name: adaptive) == data[:first]
    packed[member.frames[0].offset + 30] ^= 0x55
    with pytest.raises(ArchiveError):
        decompress(bytes(packed), adaptive)
    assert recover(bytes(packed), adaptive)[0] == data[first:]
