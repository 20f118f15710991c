"""What compress and decompress do with models: levels, threads, what is said, what is missing."""

import io
import json
from pathlib import Path

from commands import ROOT, TEXT, invoke, named, needs_nano, packed, run
from conftest import CountingPredictor

from llmzip import archive as archive_format
from llmzip import codec
from llmzip.archive import read_info
from llmzip.cli.metering import bytes_per_token, metered
from llmzip.codec import compress, decompress
from llmzip.levels import DEFAULT_LEVEL, LEVELS
from llmzip.predictors import load_predictor


@needs_nano
def test_threads_do_not_change_the_archive_and_levels_choose_the_model(folder: Path) -> None:
    data = (ROOT / "corpora" / "prose-story.txt").read_bytes()[:12000]
    (folder / "b.txt").write_bytes(data)
    for threads in ("1", "2"):
        target = folder / threads
        assert invoke("compress", "-m", "nano", "-T", threads, folder / "b.txt", "-o", target).exit_code == 0
    assert (folder / "1").read_bytes() == (folder / "2").read_bytes()
    for option, number in (("-1", 1), ("-f3", 3), ("-4", 4), ("--level=9", 9), ("-q", DEFAULT_LEVEL)):
        way = LEVELS[number]
        result = invoke("compress", option, "-cqf", folder / "b.txt")
        predictor = load_predictor(way.predictor)
        assert result.stdout_bytes == codec.compress(data, predictor, stream_tokens=way.stream_tokens)


@needs_nano
def test_without_a_model(folder: Path) -> None:
    data = (ROOT / "corpora" / "server.log").read_bytes()[:9000]
    (folder / "a.txt").write_bytes(data)
    assert run("compress", "-m", "adaptive", "--rm", "a.txt", cwd=folder).returncode == 0
    assert named(folder) == {"a.txt.llmz"}
    (described,) = map(json.loads, invoke("info", "--json", folder / "a.txt.llmz").stdout.splitlines())
    assert described["members"][0]["predictor_name"] == "adaptive"
    assert [frame["kind"] for frame in described["members"][0]["frames"]] == ["memory"]
    assert run("test", "a.txt.llmz", cwd=folder).returncode == 0
    assert run("decompress", "a.txt.llmz", cwd=folder).returncode == 0
    assert (folder / "a.txt").read_bytes() == data
    result = invoke("bench", "-m", "adaptive", "--json", folder / "a.txt")
    report = json.loads(result.stdout)
    assert [row["codec"] for row in report["rows"]][-1] == "llmzip adaptive"
    held = report["codecs"][-1]["receiver_bytes"]
    assert held["tokenizer"] + held["memory"] == load_predictor("adaptive").parameter_bytes


@needs_nano
def test_verbose_tells_frames(folder: Path) -> None:
    for arguments in (("compress", "-2v", "a.txt"), ("decompress", "-vf", "a.txt.llmz"), ("test", "-v", "a.txt.llmz")):
        result = invoke(*arguments[:-1], folder / arguments[-1])
        assert result.exit_code == 0
        first, second = result.stderr.splitlines()
        assert second.startswith("  frame 0: model, ") and second.endswith(" tokens, 1 streams")


@needs_nano
def test_models_that_are_not_there(folder: Path) -> None:
    (folder / "a.llmz").write_bytes(packed(archive_format.MODEL, [TEXT]))
    result = invoke("decompress", folder / "a.llmz")
    assert result.exit_code == 4 and "name a model folder with -m" in result.stderr
    result = invoke("decompress", "-m", "nano", folder / "a.llmz")
    assert result.exit_code == 4 and "was made with 'count'" in result.stderr
    assert named(folder) == {"a.txt", "a.llmz"}
    done = run("compress", "-m", "no-such-model", "a.txt", cwd=folder)
    assert done.returncode == 4
    assert done.stderr.startswith(b"llmzip: 'no-such-model' is neither an embedded model")


@needs_nano
def test_metered_predictor_changes_nothing_and_reports_all() -> None:
    data = (ROOT / "corpora" / "prose-story.txt").read_bytes()[:9000]
    for predictor in (load_predictor("nano"), load_predictor("adaptive", threads=2), CountingPredictor()):
        reported: list[float] = []
        archive = compress(data, metered(predictor, reported.append), frame_bytes=4000)
        assert archive == compress(data, predictor, frame_bytes=4000)
        assert reported == sorted(reported)
        frames = [frame for member in read_info(io.BytesIO(archive)) for frame in member.frames]
        coded = [frame.original_bytes for frame in frames if frame.token_count]
        if predictor.name == "nano":
            assert 0.99 * len(data) < reported[-1] < 1.01 * len(data)
        if predictor.name == "adaptive":
            assert reported[-1] == sum(coded[:-1]) > 0
        reported.clear()
        checked = metered(predictor, reported.append, bytes_per_token=bytes_per_token(frames))
        assert decompress(archive, checked) == data
        assert not coded or reported[-1] == sum(coded)
