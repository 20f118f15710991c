"""Rows: what they say is arithmetic on what was decoded and compared."""

import dataclasses
import math

import pytest
from conftest import CountingPredictor

from llmzip.bench.codecs import REFERENCE, Codec, Llmzip, classical_codecs
from llmzip.bench.measure import Row, measure, total, warm_up
from llmzip.errors import CorpusError, RoundTripError

TEXT = b"It was a bright cold day in the valley, and the clocks of the two churches did not agree.\n" * 7


class Fake:
    """Archives of one byte; gives back what it is told to."""

    name = "fake"

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def compress(self, data: bytes) -> bytes:
        return b"a"

    def decompress(self, archive: bytes) -> bytes:
        assert archive == b"a"
        return self.answer


ALL = [*classical_codecs(), Llmzip(CountingPredictor())]


@pytest.mark.parametrize("codec", ALL, ids=[codec.name for codec in ALL])
@pytest.mark.parametrize("data", [TEXT, b"a", b"\0" * 5000, bytes(range(256))], ids=["text", "a", "zeros", "bytes"])
def test_every_codec_gives_its_data_back(codec: Codec, data: bytes) -> None:
    assert codec.decompress(codec.compress(data)) == data
    row = measure(codec, data, file="some.txt")
    assert (row.file, row.codec, row.original_bytes) == ("some.txt", codec.name, len(data))
    assert row.archive_bytes == len(codec.compress(data))
    assert row.verified


def test_codecs_are_named_after_their_settings() -> None:
    assert [codec.name for codec in ALL] == ["zstd -3", "zstd -19", "xz -9e", "llmzip count"]
    assert REFERENCE.name == "zstd -19"


def test_codec_that_does_not_give_its_data_back_has_no_row() -> None:
    assert measure(Fake(TEXT), TEXT, file="f").archive_bytes == 1
    for answer in (b"", TEXT[:-1], TEXT + b"\0"):
        with pytest.raises(RoundTripError, match="fake does not give f back"):
            measure(Fake(answer), TEXT, file="f")


def test_no_data_has_no_row() -> None:
    with pytest.raises(CorpusError, match="f is empty"):
        measure(REFERENCE, b"", file="f")


def test_rates_follow_from_integers_and_seconds() -> None:
    row = Row("f", "c", original_bytes=1000, archive_bytes=250, compress_seconds=0.5, decompress_seconds=2.0)
    assert row.bits_per_byte == 2.0
    assert row.compress_bytes_per_second == 2000.0
    assert row.decompress_bytes_per_second == 500.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.archive_bytes = 1  # type: ignore[misc]


def test_seconds_are_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", lambda: 1.0)
    row = measure(Fake(TEXT), TEXT, file="f")
    assert math.isfinite(row.compress_bytes_per_second) and math.isfinite(row.decompress_bytes_per_second)


def test_total_is_the_micro_average() -> None:
    rows = [Row("a", "c", 1000, 100, 1.0, 2.0), Row("b", "c", 10, 10, 0.5, 0.5)]
    both = total(rows, file="both")
    assert both == Row("both", "c", 1010, 110, 1.5, 2.5)
    assert both.bits_per_byte == 8 * 110 / 1010  # not the mean of 0.8 and 8.0


def test_warm_up_takes_the_beginning_only() -> None:
    seen = []

    class Seen(Fake):
        def compress(self, data: bytes) -> bytes:
            seen.append(len(data))
            return b"a"

    warm_up(Seen(b""), bytes(1 << 20))
    assert seen == [1 << 14]
