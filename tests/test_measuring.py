"""Rows and documents: what they say is arithmetic on what was decoded and compared."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE, CountingPredictor
from hypothesis import given
from hypothesis import strategies as st

from llmzip import archive, coder, frames
from llmzip import codec as llmzip_codec
from llmzip.bench import measure
from llmzip.bench.codecs import DEFAULT_CODECS, REFERENCE, classical_codec
from llmzip.bench.estimate import estimate_row
from llmzip.bench.measuring import Bench, all_codecs, found_files, measure_row, warm_up
from llmzip.bench.modelled import Modelled, decoder_bytes, frames_of, ideal_microbits
from llmzip.bench.peak_memory import peak_memory_bytes
from llmzip.bench.results import MICROBITS, MeasuredCodec, Results
from llmzip.bench.waterfall import waterfall
from llmzip.errors import CorpusError, RoundTripError, UsageError
from llmzip.predictors import load_predictor
from llmzip.predictors.exact import ExactPredictor
from llmzip.scoring import own_bits

TEXT = b"It was a bright cold day in the valley, and the clocks of the two churches did not agree.\n" * 7


class Fake:
    """Archives of one byte; gives back what it is told to."""

    description = MeasuredCodec("fake", "classical", {})

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def compress(self, data: bytes) -> bytes:
        return b"a"

    def decompress(self, archive: bytes) -> bytes:
        assert archive == b"a"
        return self.answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.txt").write_bytes(TEXT)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "two").write_bytes(TEXT[:100])
    (tmp_path / "empty.txt").write_bytes(b"")
    return tmp_path


def test_a_codec_that_does_not_give_its_data_back_has_no_row() -> None:
    assert measure_row(Fake(TEXT), TEXT, "f").archive_bytes == 1
    for answer in (b"", TEXT[:-1], TEXT + b"\0"):
        with pytest.raises(RoundTripError, match="fake does not give f back"):
            measure_row(Fake(answer), TEXT, "f")


def test_no_data_has_no_row() -> None:
    with pytest.raises(CorpusError, match="f is empty"):
        measure_row(classical_codec(REFERENCE), b"", "f")


def test_seconds_are_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", lambda: 1.0)
    row = measure_row(Fake(TEXT), TEXT, "f")
    assert row.compress_bytes_per_second > 0 and (row.decompress_bytes_per_second or 0) > 0


def test_warm_up_takes_the_beginning_only() -> None:
    seen = []

    class Seen(Fake):
        def compress(self, data: bytes) -> bytes:
            seen.append(len(data))
            return b"a"

    warm_up(Seen(b""), bytes(1 << 20))
    assert seen == [1 << 14]


def test_a_bench_is_one_document(folder: Path, tiny: ExactPredictor) -> None:
    results = measure([folder], models=[tiny, CountingPredictor()], explain=True)
    assert [file.name for file in results.files] == ["code/two", "one.txt"]
    assert [file.kind for file in results.files] == ["code", "text"]
    assert [codec.name for codec in results.codecs] == [*DEFAULT_CODECS, "llmzip tiny", "llmzip count"]
    assert len(results.rows) == 10 and all(row.verified and not row.estimate for row in results.rows)
    assert Results.from_json(results.to_json()) == results
    for row in results.rows:
        is_model = row.codec.startswith("llmzip")
        assert (row.ideal_microbits is not None) == (row.waterfall_microbits is not None) == is_model
        if is_model:
            assert sum((row.waterfall_microbits or {}).values()) == 8 * MICROBITS * row.archive_bytes
    tiny_codec = results.codecs[3]
    assert tiny_codec.fingerprint == tiny.fingerprint.hex()
    assert tiny_codec.receiver_bytes["weights"] == tiny.parameter_bytes
    assert tiny_codec.receiver_bytes["decoder"] == decoder_bytes() > 50_000
    assert {"python", "machine", "cores", "threads", "libraries", "started", "command"} <= set(results.provenance)


def test_finished_rows_are_kept_if_nothing_has_changed(folder: Path) -> None:
    codecs = all_codecs([CountingPredictor()], ["zstd -3"])
    first = Bench(found_files([folder]), codecs)
    for file, codec in first.pending()[:3]:
        first.run(file, codec)
    partial = Results.from_json(first.results().to_json())

    again = Bench(found_files([folder]), codecs)
    assert again.keep(partial) == 3
    assert [(file.measured.name, codec.description.name) for file, codec in again.pending()] == [
        ("one.txt", "llmzip count")
    ]
    again.run(*again.pending()[0])
    assert again.results().rows[:3] == partial.rows and not again.pending()

    assert Bench(found_files([folder]), codecs, explain=True).keep(partial) == 2  # models are to be explained
    assert Bench(found_files([folder]), codecs, quick=True).keep(partial) == 2  # and are not estimates
    other = [replace(codec, name="zstd -3", settings={"level": 4}) for codec in partial.codecs[:1]]
    assert Bench(found_files([folder]), codecs).keep(replace(partial, codecs=(*other, partial.codecs[1]))) == 1
    (folder / "one.txt").write_bytes(TEXT + b"!")
    assert Bench(found_files([folder]), codecs).keep(partial) == 2


def test_a_file_that_changes_under_the_bench_is_noticed(folder: Path) -> None:
    bench = Bench(found_files([folder]), all_codecs([], ["zstd -3"]))
    (folder / "one.txt").write_bytes(TEXT + b"!")
    with pytest.raises(CorpusError, match="has changed"):
        bench.run(*bench.pending()[1])


def test_names_are_unique(counting: CountingPredictor) -> None:
    with pytest.raises(UsageError, match="'llmzip count'"):
        all_codecs([counting, CountingPredictor()], [])


@given(st.lists(st.integers(1, 1 << 24), max_size=200), st.integers(1, 50))
def test_ideal_bits_are_the_sum_of_logarithms(frequencies: list[int], cut: int) -> None:
    bits, whole = coder.IdealBits(), coder.IdealBits()
    values = np.array(frequencies, np.int64)
    for first in range(0, len(values), cut):
        bits.add(values[first : first + cut])
    whole.add(values)
    expected = float((24 - np.log2(values.astype(np.float64))).sum()) * MICROBITS
    assert abs(bits.microbits - expected) <= 1 and abs(bits.microbits - whole.microbits) <= 1


def test_watched_payloads_cost_what_evaluating_them_again_says(tiny: ExactPredictor) -> None:
    data = TEXT * 4
    with coder.watched_payloads() as known:
        packed = llmzip_codec.compress(data, tiny, streams=3)
    (frame,) = frames_of(packed)
    if frame.info.token_count:
        assert ideal_microbits(frame, data, tiny, known) == ideal_microbits(frame, data, tiny, {})
    with coder.watched_payloads() as known:
        assert llmzip_codec.compress(data, tiny, streams=3) == packed  # watching changes nothing
    assert llmzip_codec.compress(data, tiny, streams=3) == packed


def test_payloads_are_watched_in_all_threads() -> None:
    tokens = np.array([1, 2, 3], np.int64)
    with coder.watched_payloads() as outer, coder.watched_payloads() as inner, ThreadPoolExecutor(1) as pool:
        payload = pool.submit(coder.encode, tokens, tokens).result()
    assert outer == inner == {payload: 72 * MICROBITS - round(np.log2(6) * MICROBITS)}
    with coder.watched_payloads() as later:
        assert coder.encode(tokens, tokens) == payload
    assert len(outer) == len(later) == 1
    coder.encode(tokens, tokens + 1)
    assert len(later) == 1


@given(st.binary(max_size=600) | st.text(max_size=300).map(str.encode), st.integers(1, 4), st.booleans())
def test_waterfalls_sum_to_the_archive(data: bytes, streams: int, memory: bool) -> None:
    predictor = CountingPredictor()
    packed = llmzip_codec.compress(data, predictor, streams=streams, frame_bytes=200, memory=memory)
    terms = waterfall(packed, data, predictor, {})
    assert sum(terms.values()) == 8 * MICROBITS * len(packed)
    payloads = sum(frame.info.payload_bytes for frame in frames_of(packed))
    assert terms["framing"] == 8 * MICROBITS * (len(packed) - payloads)
    token_frames = sum(frame.info.token_count > 0 for frame in frames_of(packed))
    assert -24 * MICROBITS * token_frames <= terms["coder"] <= 80 * MICROBITS * token_frames


def pieced(pieces: list[tuple[int, bytes]], predictor: ExactPredictor | CountingPredictor, streams: int = 2) -> bytes:
    """An archive of frames of the given kinds."""
    packed, sizes = [], []
    for kind, data in pieces:
        piece = frames.Piece(data, predictor.tokenize(data), streams)
        payload = frames.CODINGS[kind].encode(piece, predictor, frames.Limit(1 << 20))
        assert payload is not None
        count = frames.CODINGS[kind].streams(piece)
        packed.append(archive.pack_frame(kind, data, payload, len(piece.tokens) if count else 0, count))
        sizes.append((len(packed[-1]), len(data)))
    header = archive.pack_header(predictor.name, predictor.fingerprint)
    check = archive.new_digest()
    check.update(b"".join(data for _, data in pieces))
    return header + b"".join(packed) + archive.pack_end(sizes, check.digest())


@pytest.mark.parametrize("model", ["tiny", "counting"])
def test_the_model_alone_is_of_all_tokens_whatever_codes_a_frame(model: str, request: pytest.FixtureRequest) -> None:
    predictor = request.getfixturevalue(model)
    kinds = [archive.MEMORY, archive.ZSTD, archive.STORED, archive.MODEL, archive.MODEL_AND_MEMORY]
    pieces = [(kind, TEXT[100 * index : 100 * index + 100]) for index, kind in enumerate(kinds)]
    whole, packed = TEXT[: 100 * len(kinds)], pieced(pieces, predictor)
    assert [frame.info.kind for frame in frames_of(packed)] == [archive.KINDS[kind] for kind in kinds]
    terms = waterfall(packed, whole, predictor, {})
    assert sum(terms.values()) == 8 * MICROBITS * len(packed)
    _, bits = own_bits(predictor, whole)
    assert terms["model"] == round(float(bits.sum()) * MICROBITS)
    for kind, data in pieces:  # a text with one frame
        packed = pieced([(kind, data)], predictor)
        terms = waterfall(packed, data, predictor, {})
        assert sum(terms.values()) == 8 * MICROBITS * len(packed)
        assert terms["model"] == round(float(own_bits(predictor, data)[1].sum()) * MICROBITS)


def test_without_a_model_nothing_is_the_models_own() -> None:
    predictor = load_predictor("adaptive", threads=1)
    row = measure_row(Modelled(predictor), TEXT, "f", explain=True)
    assert row.model_microbits is None and row.waterfall_microbits is not None
    assert row.waterfall_microbits["model"] == 0 < row.waterfall_microbits["memory"]


def test_rows_say_the_models_own_bits_where_asked(tiny: ExactPredictor, folder: Path) -> None:
    own = round(float(own_bits(tiny, TEXT)[1].sum()) * MICROBITS)
    for options in ({"explain": True}, {"own_bits": True}, {"own_bits": True, "quick": True}):
        results = measure([folder / "one.txt"], models=[tiny], codecs=[], **options)  # type: ignore[arg-type]
        assert results.rows[0].model_microbits == own
        assert Results.from_json(results.to_json()) == results
    (row,) = measure([folder / "one.txt"], models=[tiny], codecs=[]).rows
    assert row.model_microbits is None


def test_without_memory_a_model_is_another_codec(counting: CountingPredictor, folder: Path) -> None:
    data = TEXT * 3
    with_memory, without = Modelled(counting), Modelled(counting, memory=False)
    assert without.description.name == "llmzip count --no-memory" and without.description.settings["memory"] == 0
    assert with_memory.description.name == "llmzip count" and "memory" not in with_memory.description.settings
    kinds = [{frame.info.kind for frame in frames_of(codec.compress(data))} for codec in (with_memory, without)]
    assert "memory" in str(kinds[0]) and "memory" not in str(kinds[1])
    (row,) = measure([folder / "one.txt"], models=[counting], codecs=[], memory=False).rows
    assert row.codec == "llmzip count --no-memory"
    estimate = estimate_row(without, data, "f")
    assert abs(estimate.archive_bytes - len(without.compress(data))) <= 8
    with pytest.raises(UsageError, match="adaptive is nothing but memory"):
        measure([folder / "one.txt"], models=["adaptive"], codecs=[], memory=False)


def test_a_cold_start_costs_what_the_past_would_have_saved(counting: CountingPredictor) -> None:
    data = b"a" * 1000
    one, two = (waterfall(pieced([(archive.MODEL, data)], counting, streams), data, counting, {}) for streams in (1, 2))
    assert one["cold_start"] == 0 and two["cold_start"] > 10 * MICROBITS and one["model"] == two["model"]


def test_estimates_are_near_and_say_that_they_are_estimates(counting: CountingPredictor) -> None:
    codec = Modelled(counting)
    estimate, row = estimate_row(codec, TEXT, "f"), measure_row(codec, TEXT, "f")
    assert estimate.estimate and not estimate.verified and estimate.decompress_bytes_per_second is None
    assert abs(estimate.archive_bytes - row.archive_bytes) <= 8
    assert sum(size for _, size in estimate.frame_bytes) == len(TEXT)


def test_quick_benches_measure_the_gap(folder: Path) -> None:
    results = measure([folder], models=[CountingPredictor()], codecs=["zstd -19"], quick=True)
    assert [row.estimate for row in results.rows] == [False, True, False, True]
    gap = results.provenance["estimate_gaps"]["llmzip count"]
    assert gap["sample_bytes"] == len(TEXT) and abs(gap["estimated_bytes"] - gap["archive_bytes"]) <= 8


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not say how much memory a process took")
def test_peak_memory_is_that_of_a_process_of_its_own(folder: Path) -> None:
    small = peak_memory_bytes(classical_codec("zstd -1"), folder / "one.txt")
    large = peak_memory_bytes(classical_codec("xz -9e"), folder / "one.txt")
    assert small and large and 5_000_000 < small < large
    assert peak_memory_bytes(Modelled(CountingPredictor()), folder / "one.txt") is None  # nobody can name it


def test_peak_memory_is_measured_only_where_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        "llmzip.bench.measuring.peak_memory_bytes", lambda codec, path, threads: asked.append(path) or 9
    )
    assert measure([folder], models=[], codecs=["zstd -3"]).rows[1].peak_memory_bytes is None and not asked
    rows = measure([folder], models=[], codecs=["zstd -3"], measure_memory=True).rows
    assert [row.peak_memory_bytes for row in rows] == [None, 9] and asked == [folder / "one.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not say how much memory a process took")
def test_a_python_that_prints_at_its_start_is_no_answer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("print('hello from the site')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), *sys.path]))
    assert (peak_memory_bytes(classical_codec("zstd -1"), folder / "one.txt") or 0) > 5_000_000


def test_the_child_process_is_told_everything_as_json(folder: Path) -> None:
    command = [sys.executable, "-m", "llmzip.bench.peak_memory", json.dumps({"classical": "no such"}), "absent"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("size", [300, 6000])
def test_the_command_line_measures_what_the_library_does(tiny: ExactPredictor, tmp_path: Path, size: int) -> None:
    """Following a model on its way must not make another one of it."""
    from llmzip.cli.bench_progress import measure_all

    (tmp_path / "text").write_bytes((SAMPLE * 40).encode()[:size])
    documents = []
    for followed in (False, True):
        bench = Bench(found_files([tmp_path / "text"]), [Modelled(tiny)])
        if followed:
            assert measure_all(bench, None, show=False)[1] == 0
        else:
            bench.run(*bench.pending()[0])
        (row,) = bench.results().rows
        documents.append((row.archive_bytes, row.ideal_microbits, row.frame_bytes))
    assert documents[0] == documents[1]
