"""llmzip bench as people and scripts meet it."""

import sys
from pathlib import Path

import pytest
from commands import ROOT, TEXT, invoke, needs_nano, run

from llmzip.bench.codecs import DEFAULT_CODECS
from llmzip.bench.results import Results


@needs_nano
def test_bench(folder: Path) -> None:
    (folder / "empty.txt").write_bytes(b"")
    data = (ROOT / "corpora" / "deutsch.txt").read_bytes()[:4000]
    (folder / "inner").mkdir()
    (folder / "inner" / "[b].txt").write_bytes(data)
    output = folder.parent / "results.json"
    result = invoke("bench", "-m", "nano", "--json", "--output", output, folder)
    assert result.exit_code == 0
    assert "empty.txt: it is empty and left out" in result.stderr
    results = Results.from_json(result.stdout)
    assert output.read_text(encoding="utf-8") == result.stdout
    assert [codec.name for codec in results.codecs] == ["zstd -3", "zstd -19", "xz -9e", "llmzip nano"]
    assert {row.file for row in results.rows} >= {"inner/[b].txt"}
    assert len(results.rows) == 8 and all(row.verified for row in results.rows)
    assert sum(file.original_bytes for file in results.files) == len(data) + len(TEXT)
    assert results.provenance["command"].startswith("llmzip")

    result = invoke("bench", "-m", "nano", "--resume", output, "--files", folder)
    assert "8 of 8 earlier rows are kept" in result.stderr
    for expected in ("inner/[b].txt", "all (2 files)", "llmzip nano", "x zstd", "a receiver holds"):
        assert expected in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert invoke("bench", "-m", "nano", "--resume", output, "--csv", folder).stdout.startswith("file,kind,codec")
    assert "| llmzip nano |" in invoke("bench", "-m", "nano", "--resume", output, "--markdown", folder).stdout


def test_bench_refuses_what_it_cannot_do(folder: Path) -> None:
    assert run("bench", "absent", cwd=folder).returncode == 4
    for arguments in (
        ["--json", "--csv"],
        ["--quick", "--explain"],
        ["--output", "absent/results.json"],
        ["--resume", "absent.json"],
        ["--codec", "zip"],
        ["--codecs", "absent.toml"],
    ):
        result = run("bench", *arguments, ".", cwd=folder)
        assert result.returncode == 2 and result.stderr.count(b"\n") == 1, result.stderr
    (folder / "old.json").write_text("{}")
    assert run("bench", "--resume", "old.json", ".", cwd=folder).returncode == 2


@needs_nano
def test_bench_goes_on_after_a_codec_that_loses_data(folder: Path) -> None:
    copy = f"[{sys.executable!r}, '-c', 'import sys; sys.stdout.write(sys.stdin.read()[1:])']"
    codecs = folder.parent / "codecs.toml"
    codecs.write_text(f"[[codec]]\nname = 'lossy'\ncompress = {copy}\ndecompress = {copy}\n", encoding="utf-8")
    result = invoke("bench", "-m", "nano", "--codecs", codecs, "--json", folder)
    assert result.exit_code == 1
    assert "lossy does not give" in result.stderr
    assert {row.codec for row in Results.from_json(result.stdout).rows} == {*DEFAULT_CODECS, "llmzip nano"}


@needs_nano
def test_bench_keeps_what_is_finished_when_it_is_interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmzip.bench.modelled import Modelled

    def interrupted(self: Modelled, data: bytes) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(Modelled, "decompress", interrupted)
    monkeypatch.setattr("llmzip.cli.bench_progress.warm_up", lambda codec, data: None)
    output = folder.parent / "results.json"
    result = invoke("bench", "-m", "nano", "--output", output, folder)
    assert result.exit_code == 130
    assert "interrupted: 3 rows are finished" in result.stderr
    assert [row.codec for row in Results.from_json(output.read_text()).rows] == list(DEFAULT_CODECS)
