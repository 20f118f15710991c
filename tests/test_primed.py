"""Codecs that are given text before the text: they give back what they took, and the text before it pays."""

import runpy
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip.bench.codecs import Classical, classical_codec, primed_zstd
from llmzip.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "corpora" / "prose-story.txt").read_bytes()
FAIR_RIVAL = runpy.run_path(str(ROOT / "benchmarks" / "fair_rival.py"))


def primed(kind: str, prefix: bytes) -> Classical:
    codec: Classical | None
    codec = primed_zstd("zstd -19, primed", 19, prefix) if kind == "zstd" else FAIR_RIVAL["primed_xz"]("xz", prefix)
    if codec is None:
        pytest.skip("there is no liblzma here that can be called")
    return codec


@pytest.mark.parametrize("kind", ["zstd", "xz"])
@given(data=st.binary(max_size=300), prefix=st.binary(min_size=1, max_size=300))
def test_data_comes_back(kind: str, data: bytes, prefix: bytes) -> None:
    codec = primed(kind, prefix)
    assert codec.decompress(codec.compress(data)) == data


@pytest.mark.parametrize("kind", ["zstd", "xz"])
def test_what_is_held_need_not_be_sent(kind: str) -> None:
    codec, other = primed(kind, TEXT), primed(kind, TEXT[::-1])
    archive = codec.compress(TEXT[5000:9000])
    assert codec.decompress(archive) == TEXT[5000:9000]
    assert len(archive) < 50 < len(other.compress(TEXT[5000:9000]))
    assert codec.description.receiver_bytes == {"prefix": len(TEXT)}
    assert codec.description.settings["prefix_sha256"] != other.description.settings["prefix_sha256"]


def test_the_prefix_is_a_file_of_the_codecs_name(tmp_path: Path) -> None:
    (tmp_path / "held").write_bytes(TEXT[:15000])
    codec = classical_codec(f"zstd -19 --patch-from={(tmp_path / 'held').as_posix()}")
    assert codec.compress(TEXT[15000:]) == primed("zstd", TEXT[:15000]).compress(TEXT[15000:])
    (tmp_path / "empty").touch()
    for name, message in (("absent", "cannot be read"), ("empty", "is empty")):
        with pytest.raises(UsageError, match=message):
            classical_codec(f"zstd -19 --patch-from={(tmp_path / name).as_posix()}")
    with pytest.raises(UsageError, match="--long"):
        classical_codec(f"zstd -19 --long --patch-from={(tmp_path / 'held').as_posix()}")


@pytest.mark.skipif(not shutil.which("zstd"), reason="there is no zstd program here")
def test_the_size_is_that_of_the_program_without_its_check(tmp_path: Path) -> None:
    (tmp_path / "held").write_bytes(TEXT[:15000])
    (tmp_path / "text").write_bytes(TEXT[15000:])
    command = ["zstd", "-q", "-19", "--no-check", f"--patch-from={tmp_path / 'held'}", str(tmp_path / "text")]
    subprocess.run([*command, "-o", str(tmp_path / "out")], check=True, capture_output=True)
    assert (tmp_path / "out").stat().st_size == len(primed("zstd", TEXT[:15000]).compress(TEXT[15000:]))


def test_a_sample_has_its_size_and_its_seed() -> None:
    sample = FAIR_RIVAL["sample"]
    documents = [bytes([letter]) * 2000 for letter in b"abc"]
    assert len(sample(documents, 5001)) == 5001
    assert sample(documents, 5001) == sample(documents, 5001) != sample(documents, 5001, seed=1)
    assert set(sample(documents, 20_000)) == set(b"abc")
