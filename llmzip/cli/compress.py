"""``llmzip compress``. Only ``cli`` imports it."""

import io
import os
import time
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from llmzip.archive import MAXIMUM_STREAMS, ArchiveInfo
from llmzip.cli.command import Command
from llmzip.cli.files import (
    archive_name,
    check_options,
    common_target,
    named_or_standard,
    open_source,
    open_target,
    remove_source,
    size_bytes,
    stdout_is_terminal,
    worst_of_each,
)
from llmzip.cli.habits import with_levels
from llmzip.cli.info import frame_lines
from llmzip.cli.messages import STANDARD, Total, bits_per_byte, kilobytes_per_second, say, say_left_out, shown, title
from llmzip.cli.options import (
    Context,
    Device,
    Dtype,
    Exact,
    Files,
    Float,
    Force,
    Model,
    NoMemory,
    Offline,
    Output,
    Portable,
    Quiet,
    Remove,
    Stdout,
    Threads,
    Verbose,
    chosen_arithmetic,
)
from llmzip.cli.progress import byte_bar, is_watched
from llmzip.errors import RoundTripError, UsageError
from llmzip.levels import DEFAULT_LEVEL, LEVELS, Level
from llmzip.targets import check_targets

if TYPE_CHECKING:
    from llmzip.predictor import Predictor

LARGE_MODEL_BYTES = 1 << 30
"""Of weights: for larger models it is said that they are being read."""


class LevelCommand(Command):
    """Takes -1 … -9 for --level, as zstd and xz do, also among other letters: -9f."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As usual, with levels by their name."""
        valued = [option for option in self.params if not getattr(option, "is_flag", True)]
        return super().parse_args(ctx, with_levels(args, {name for option in valued for name in option.opts}))


LevelNumber = Annotated[
    int | None,
    typer.Option(
        metavar="1-9",
        min=min(LEVELS),
        max=max(LEVELS),
        help=f"-1, no model, is the fastest, -9 the smallest; {DEFAULT_LEVEL} if left out. See llmzip models --pareto.",
    ),
]
Streams = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=MAXIMUM_STREAMS, help="Streams of a frame: more are faster and compress less."
    ),
]

Verify = Annotated[
    bool, typer.Option("--verify/--no-verify", help="Decode the frames of a float model before they are written.")
]


def compress(
    files: Files = None,
    model: Model = None,
    level: LevelNumber = None,
    stdout: Stdout = False,
    output: Output = None,
    force: Force = False,
    remove: Remove = False,
    streams: Streams = None,
    threads: Threads = 0,
    exact: Exact = False,
    as_float: Float = False,
    portable: Portable = False,
    device: Device = None,
    dtype: Dtype = None,
    offline: Offline = False,
    context: Context = None,
    no_memory: NoMemory = False,
    verify: Verify = True,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compress each FILE to FILE.llmz, or standard input to standard output. Sources are kept.

    -1 to -9 choose an embedded model and how it runs, -m names one (adaptive: none, the text itself teaches) or the
    folder of another. Whoever decompresses needs the same, and for a float model also a machine that computes alike;
    what a float model writes is decoded before it counts.
    """
    sources = named_or_standard(files)
    check_options(sources, stdout=stdout, output=output, remove=remove)
    if model is not None and level is not None:
        raise UsageError("-m and a level both choose the model: leave one out")
    arithmetic = chosen_arithmetic(exact=exact, as_float=as_float, portable=portable)
    target_of_all = common_target(stdout=stdout, output=output)
    targets = sources if target_of_all is None else [target_of_all]
    if not force and STANDARD in targets and stdout_is_terminal():
        raise UsageError("archives are not written to a terminal: name a file with -o, or force it with -f")

    from llmzip.cli.metering import metered
    from llmzip.codec import compress_file
    from llmzip.predictor import FloatPredictor, ModelPredictor
    from llmzip.predictors import load_predictor

    way = LEVELS[level or DEFAULT_LEVEL] if model is None else Level(model)
    predictor = load_predictor(
        way.predictor,
        threads=threads,
        arithmetic=arithmetic,
        dtype=dtype,
        device=device,
        offline=offline,
        context=context,
    )
    if model is not None and not quiet:
        say_left_out(model)
    if isinstance(predictor, FloatPredictor) and predictor.parameter_bytes > LARGE_MODEL_BYTES and not quiet:
        size, form = predictor.parameter_bytes / 1e9, predictor.description()["dtype"]
        say(f"llmzip: reading {size:,.1f} GB of weights into memory as {form}")
    if not verify and isinstance(predictor, FloatPredictor):
        say("llmzip: not verified: a float model may compute otherwise a second time, and the archive be lost")
    if no_memory and not isinstance(predictor, ModelPredictor):
        raise UsageError(f"{predictor.name!r} has no model, only memory: leave --no-memory out, or choose another")
    show, total = is_watched(quiet=quiet), Total()

    def compress_one(source: str) -> None:
        with open_source(source) as text:
            target = target_of_all or (STANDARD if source == STANDARD else archive_name(source, force=force))
            if model is not None and target != STANDARD:
                check_targets([target], [model])
            with open_target(target, source, force=force) as archive:
                started = time.perf_counter()
                with byte_bar(title(os.path.basename(source)), size_bytes(text), show=show) as report:
                    info = compress_file(
                        text,
                        archive,
                        metered(predictor, report, verified=verify),
                        streams=streams,
                        stream_tokens=way.stream_tokens,
                        memory=way.memory and not no_memory,
                        verify=verify,
                    )
                seconds = time.perf_counter() - started
                if remove:
                    _check(archive, info, source, text, predictor, show=show)
            read = os.fstat(text.fileno()) if remove else None
        if read is not None:
            remove_source(source, read)
        total.add(info.original_bytes, info.archive_bytes, seconds)
        if not quiet and (verbose or (source, target) != (STANDARD, STANDARD)):  # as tar -I would have it
            _print_summary(title(source), info.original_bytes, info.archive_bytes, seconds)
            for line in frame_lines([info]) if verbose else ():
                say(line)

    code = worst_of_each(sources, compress_one)
    if total.files > 1 and not quiet:
        _print_summary(total.title(len(sources)), total.before_bytes, total.after_bytes, total.seconds)
    raise typer.Exit(code)


def _print_summary(what: str, original_bytes: int, archive_bytes: int, seconds: float) -> None:
    say(
        f"{what}: {original_bytes:,} -> {archive_bytes:,} bytes, "
        f"{bits_per_byte(archive_bytes, original_bytes)}, {kilobytes_per_second(original_bytes, seconds)}"
    )


class _Comparison(io.BytesIO):
    """A target that keeps nothing: what is written must be what the source holds."""

    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self._source = source

    def write(self, data: Any) -> int:
        if self._source.read(len(data)) != data:
            raise RoundTripError("the archive does not decode to what the file holds now: nothing was removed")
        return len(data)


def _check(
    archive: BinaryIO, info: ArchiveInfo, source: str, text: BinaryIO, predictor: "Predictor", *, show: bool
) -> None:
    """Decodes the archive, as written, against ``text``, the file as it is now. Raises RoundTripError.

    The file may have lost its name meanwhile: what is open can still be read.
    """
    from llmzip.cli.metering import bytes_per_token, metered
    from llmzip.codec import decompress_file

    archive.seek(0)
    text.seek(0)
    label = f"checking {shown(os.path.basename(source))}"
    with byte_bar(label, info.original_bytes, show=show) as report:
        checked = metered(predictor, report, bytes_per_token=bytes_per_token(info.frames))
        decompress_file(archive, _Comparison(text), lambda name: checked)
        if text.read(1):
            raise RoundTripError("the file has grown since it was compressed: nothing was removed")
