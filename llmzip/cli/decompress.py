"""``llmzip decompress`` and ``llmzip test``. Only ``cli`` imports it."""

import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from llmzip.archive import FLOAT_PREFIX, ArchiveInfo, read_info
from llmzip.cli.files import (
    check_options,
    common_target,
    named_or_standard,
    open_source,
    open_target,
    original_name,
    remove_source,
    stdout_is_terminal,
    worst_of_each,
)
from llmzip.cli.info import frame_lines
from llmzip.cli.messages import STANDARD, Total, kilobytes_per_second, say, title
from llmzip.cli.options import Device, Files, Force, Model, Offline, Output, Quiet, Remove, Stdout, Threads, Verbose
from llmzip.cli.progress import byte_bar, is_watched
from llmzip.errors import ArchiveError, LlmzipError, UsageError

if TYPE_CHECKING:
    from llmzip.predictor import Predictor
    from llmzip.recovery import Decoded, LostRange

Recover = Annotated[bool, typer.Option("--recover", help="Write what is whole and say what is lost.")]
FrameIndex = Annotated[
    int | None, typer.Option("--frame", metavar="N", min=0, help="Only frame N, counted from 0; needs -o or -c.")
]
Params = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="The model's params.bin, as export wrote it: for models no longer in llmzip."),
]


def decompress(
    files: Files = None,
    model: Model = None,
    params: Params = None,
    stdout: Stdout = False,
    output: Output = None,
    force: Force = False,
    remove: Remove = False,
    recover: Recover = False,
    frame: FrameIndex = None,
    threads: Threads = 0,
    device: Device = None,
    offline: Offline = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Decompress each FILE.llmz to FILE, or standard input to standard output. Sources are kept.

    An archive says which embedded model made it. If it was another, name that model's folder with -m.
    """
    sources = named_or_standard(files)
    check_options(sources, stdout=stdout, output=output, remove=remove)
    target_of_all = common_target(stdout=stdout, output=output)
    if frame is not None and (recover or remove or target_of_all is None or len(sources) > 1):
        raise UsageError("--frame takes one archive and -o or -c, and neither --recover nor --rm")
    if (recover or frame is not None) and STANDARD in sources:
        raise UsageError("--recover and --frame go back and forth in a file: name one instead of standard input")
    load, total = _loader(model, params, threads, device, offline), Total()

    def decompress_one(source: str) -> None:
        with open_source(source) as archive:
            target = target_of_all or (STANDARD if source == STANDARD else original_name(source))
            with open_target(target, source, force=force) as text:
                if frame is not None:
                    from llmzip.codec import read_frame

                    text.write(read_frame(archive, frame, load))
                    return
                show = is_watched(quiet=quiet) and not (target == STANDARD and stdout_is_terminal())
                run = _Run(archive, source, verbose=verbose, show=show)
                decoded = run.decode(text, load, recover=recover)
                if decoded.lost and not decoded.original_bytes:
                    raise ArchiveError("nothing could be recovered, and nothing was written: find another copy")
            read = os.fstat(archive.fileno()) if remove and not decoded.lost else None
        if read is not None:
            remove_source(source, read)
        for lost in decoded.lost:
            say(f"llmzip: {title(source)}: {_loss(lost)}")
        if decoded.lost:
            raise ArchiveError("not all of it could be recovered: the rest has been written, nothing was removed")
        run.add_to(total, decoded)
        if not quiet and (verbose or target != STANDARD):
            run.print_summary(decoded)

    code = worst_of_each(sources, decompress_one)
    if total.files > 1 and not quiet and target_of_all != STANDARD:
        _print_sizes(total.title(len(sources)), total)
    raise typer.Exit(code)


def test(
    files: Files = None,
    model: Model = None,
    params: Params = None,
    threads: Threads = 0,
    device: Device = None,
    offline: Offline = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Decode archives and check them, but write nothing."""
    load, total = _loader(model, params, threads, device, offline), Total()
    sources = named_or_standard(files)

    def test_one(source: str) -> None:
        with open_source(source) as archive, open(os.devnull, "wb") as nowhere:
            run = _Run(archive, source, verbose=verbose, show=is_watched(quiet=quiet))
            decoded = run.decode(nowhere, load, recover=False)
        run.add_to(total, decoded)
        if not quiet:
            run.print_summary(decoded, verdict="fine, ")

    code = worst_of_each(sources, test_one)
    if total.files > 1 and not quiet:
        _print_sizes(total.title(len(sources)), total, verdict="fine, ")
    raise typer.Exit(code)


def _loader(
    model: str | None, params: str | None, threads: int, device: str | None, offline: bool
) -> Callable[[str], "Predictor"]:
    """Gives the predictor for the name in an archive; -m or --params takes its place. Each is loaded once.

    Only embedded models are found by what an archive says: it must not choose what is read from the disk.
    """

    if model is not None and params is not None:
        raise UsageError("-m and --params both name the model: leave one out")

    @cache
    def load(name: str) -> "Predictor":
        if params is not None:
            from llmzip.standalone.reading import load_params

            return load_params(Path(params), threads=threads)
        from llmzip.predictors import Arithmetic, load_embedded, load_predictor

        if model is None:
            return load_embedded(name, threads=threads)
        is_float = name.startswith(FLOAT_PREFIX)
        arithmetic: Arithmetic = "float" if is_float else "exact"
        of_float = device if is_float else None
        return load_predictor(model, threads=threads, arithmetic=arithmetic, device=of_float, offline=offline)

    return load


class _Run:
    """One archive being decoded, with what people see of it."""

    def __init__(self, archive: BinaryIO, source: str, *, verbose: bool, show: bool) -> None:
        if archive.isatty():
            raise UsageError("archives are not read from a terminal: name a file")
        self._archive, self._source, self._verbose, self._show = archive, source, verbose, show
        self._members = _read_ahead(archive) if verbose or show else []
        self._seconds = 0.0

    def decode(self, text: BinaryIO, load: Callable[[str], "Predictor"], *, recover: bool) -> "Decoded":
        """Decodes it to ``text``."""
        from llmzip.cli.metering import bytes_per_token, metered
        from llmzip.codec import decompress_file

        frames = [frame for member in self._members for frame in member.frames]
        coded_bytes = sum(frame.original_bytes for frame in frames if frame.token_count)
        started = time.perf_counter()
        label = title(os.path.basename(self._source))
        with byte_bar(label, coded_bytes or None, show=self._show) as report:

            def load_metered(name: str) -> "Predictor":
                return metered(load(name), report, bytes_per_token=bytes_per_token(frames))

            decoded = decompress_file(self._archive, text, load_metered, recover=recover)
        self._seconds = time.perf_counter() - started
        return decoded

    def add_to(self, total: Total, decoded: "Decoded") -> None:
        """Counts it with the others."""
        total.add(decoded.archive_bytes, decoded.original_bytes, self._seconds)

    def print_summary(self, decoded: "Decoded", verdict: str = "") -> None:
        """One line on stderr, and one a frame if they were asked for."""
        _print_sizes(
            title(self._source), Total(1, decoded.archive_bytes, decoded.original_bytes, self._seconds), verdict
        )
        if self._verbose:
            for line in frame_lines(self._members):
                say(line)


def _print_sizes(what: str, total: Total, verdict: str = "") -> None:
    rate = kilobytes_per_second(total.after_bytes, total.seconds)
    say(f"{what}: {verdict}{total.before_bytes:,} -> {total.after_bytes:,} bytes, {rate}")


def _read_ahead(archive: BinaryIO) -> list[ArchiveInfo]:
    """What the archive holds; nothing if that cannot be known before it is decoded, which then says why."""
    if not archive.seekable():
        return []
    start = archive.tell()
    try:
        return read_info(archive)
    except LlmzipError:
        return []
    finally:
        archive.seek(start)


def _loss(lost: "LostRange") -> str:
    text = "" if lost.original_bytes is None else f", {lost.original_bytes:,} bytes of text"
    return f"lost bytes {lost.archive_start:,} to {lost.archive_end:,} of the archive{text}: {lost.reason}"
