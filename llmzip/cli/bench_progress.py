"""Runs a bench with one bar over all of it, keeps what is finished, and says what failed. Only ``cli`` imports it."""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from llmzip.bench.codecs import Codec
from llmzip.bench.measuring import Bench, FoundFile, warm_up
from llmzip.bench.modelled import Modelled
from llmzip.bench.results import Results
from llmzip.cli import INTERRUPTED
from llmzip.cli.messages import complain, say, shown
from llmzip.cli.metering import metered
from llmzip.cli.progress import step_bar
from llmzip.cli.signals import take_time
from llmzip.errors import LlmzipError
from llmzip.targets import write_text

MODEL_WEIGHT = 100
"""How much longer than a classical codec a model takes for a byte, for the bar."""

SAVE_SECONDS = 10.0
"""Between savings of what is finished."""

Report = Callable[[str, int], None]


def measure_all(bench: Bench, output: str | None, *, show: bool) -> tuple[Results, int]:
    """Measures what is pending: all that is finished, saved whatever happens, and the exit code."""
    pending, code, saved = bench.pending(), 0, time.monotonic()
    try:
        with step_bar(sum(_weight(file, codec) for file, codec in pending), show=show) as report:
            for codec in dict.fromkeys(codec for _, codec in pending):
                report(f"{shown(codec.description.name)}: warming up", 0)
                with suppress(LlmzipError):  # its rows will say so, once
                    warm_up(codec, pending[0][0].data())
            for file, codec in pending:
                code = max(code, _try(partial(_run, bench, file, codec, report)))
                if output is not None and time.monotonic() - saved > SAVE_SECONDS:
                    write_text(output, bench.results().to_json())
                    saved = time.monotonic()
    except KeyboardInterrupt:
        take_time()
        say(f"llmzip: interrupted: {len(bench.results().rows)} rows are finished")
        code = INTERRUPTED
    finally:
        results = bench.results()
        if output is not None:
            write_text(output, results.to_json())
    return results, code


def _weight(file: FoundFile, codec: Codec) -> int:
    return file.measured.original_bytes * (MODEL_WEIGHT if isinstance(codec, Modelled) else 1)


def _try(work: Callable[[], object]) -> int:
    """One codec that fails on one file does not stop the others. Returns the exit code."""
    try:
        work()
        return 0
    except LlmzipError as error:
        return complain(error)


def _run(bench: Bench, file: FoundFile, codec: Codec, report: Report) -> None:
    label = f"{shown(codec.description.name)}: {shown(file.measured.name)}"
    report(label, 0)
    whole, told = _weight(file, codec), 0

    def tell(done_bytes: float) -> None:
        nonlocal told
        # Half of the work is to compress; a frame that is tried twice does not count twice.
        now = min(int(whole * done_bytes / (2 * file.measured.original_bytes)), whole)
        report(label, max(0, now - told))
        told = max(told, now)

    followed = codec.followed(metered(codec.predictor, tell)) if isinstance(codec, Modelled) else codec
    bench.run(file, followed)
    report(label, whole - told)
