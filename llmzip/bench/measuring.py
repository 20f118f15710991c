"""Measures files under codecs: rows, each of an archive that was decoded and compared, and where they come from.

Prints nothing; whoever wants to show progress goes through ``Bench.pending`` itself. May import the rest of ``bench``
and what lies below it; ``cli`` imports it.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path

from llmzip import coder
from llmzip.bench.codecs import DEFAULT_CODECS, Codec, classical_codec
from llmzip.bench.corpus import corpus_sources
from llmzip.bench.estimate import SAMPLE_BYTES, estimate_row
from llmzip.bench.kinds import kind_of
from llmzip.bench.modelled import Modelled, frames_of, ideal_microbits, modelled
from llmzip.bench.naming import label_and_model, named_apart, without_repetitions
from llmzip.bench.peak_memory import peak_memory_bytes
from llmzip.bench.provenance import Clock
from llmzip.bench.results import MeasuredFile, Results, Row, WaterfallTerm
from llmzip.bench.waterfall import own_microbits, waterfall
from llmzip.errors import CorpusError, RoundTripError, UsageError
from llmzip.predictor import ModelPredictor, Predictor
from llmzip.predictors import DEFAULT_RUNG
from llmzip.sources import Sources, read_regular

WARM_UP_BYTES = 1 << 14


def measure(
    paths: Sequence[str | Path],
    *,
    models: Sequence[str | Predictor] = (DEFAULT_RUNG,),
    codecs: Sequence[str | Codec] = DEFAULT_CODECS,
    explain: bool = False,
    quick: bool = False,
    own_bits: bool = False,
    memory: bool = True,
    measure_memory: bool = False,
    threads: int = 0,
) -> Results:
    """Every file under every model and codec, each row decoded and compared. Empty files are left out.

    paths: files and folders; models: embedded rungs, folders or predictors; codecs: names such as "zstd -22 --long=27",
    or anything with ``description``, ``compress`` and ``decompress``; explain: where the bits of models go; quick:
    models are scored, no archive of theirs is written, and their rows are estimates; own_bits: what the tokens cost
    under each model alone, as a forward pass gives it; memory: whether models learn from the text at hand;
    measure_memory: how much memory each codec takes on the largest file, in a process of its own; threads: 0 for all
    cores. Raises CorpusError, ModelError, UsageError and RoundTripError.
    """
    measured = all_codecs(models, codecs, memory=memory, make=partial(modelled, threads=threads, memory=memory))
    bench = Bench(
        found_files(paths),
        measured,
        explain=explain,
        quick=quick,
        own_bits=own_bits,
        measure_memory=measure_memory,
        threads=threads,
    )
    for codec in bench.codecs:
        warm_up(codec, bench.files[0].data())
    for file, codec in bench.pending():
        bench.run(file, codec)
    return bench.results()


class Bench:
    """A bench under way: what is to be measured, and the rows there are."""

    def __init__(
        self,
        files: Sequence["FoundFile"],
        codecs: Sequence[Codec],
        *,
        explain: bool = False,
        quick: bool = False,
        own_bits: bool = False,
        measure_memory: bool = False,
        threads: int = 0,
        command: str = "",
    ) -> None:
        """All as for ``measure``. command: what was typed, for the record."""
        self._explain, self._quick, self._own_bits, self._measure_memory = explain, quick, own_bits, measure_memory
        self._gaps: dict[str, dict[str, int]] = {}
        self._largest = max(files, key=lambda file: file.measured.original_bytes)
        self.files, self.codecs = tuple(files), tuple(codecs)
        self._clock, self._threads, self._command = Clock(), threads, command
        self._rows: dict[tuple[str, str], Row] = {}

    def keep(self, earlier: Results) -> int:
        """Takes over rows of the same files under the same codecs, and returns how many."""
        files, codecs = {file.measured for file in self.files}, [codec.description for codec in self.codecs]
        same_files = {file.name for file in earlier.files if file in files}
        same_codecs = {codec.name for codec in earlier.codecs if codec in codecs}
        kept = [row for row in earlier.rows if row.file in same_files and row.codec in same_codecs]
        kept = [row for row in kept if self._is_as_asked(row)]
        self._rows |= {(row.file, row.codec): row for row in kept}
        gaps = earlier.provenance.get("estimate_gaps", {})
        self._gaps |= {row.codec: gaps[row.codec] for row in kept if row.codec in gaps}
        return len(kept)

    def _is_as_asked(self, row: Row) -> bool:
        """Whether an earlier row tells as much as a new one would."""
        is_modelled = row.ideal_microbits is not None
        explained = row.waterfall_microbits is not None or self._quick or not self._explain
        explained = explained and (row.model_microbits is not None or not self._own_bits)
        return row.estimate == self._quick and explained if is_modelled else row.verified

    def pending(self) -> list[tuple["FoundFile", Codec]]:
        """What has no row yet, file by file."""
        pairs = [(file, codec) for file in self.files for codec in self.codecs]
        return [pair for pair in pairs if (pair[0].measured.name, pair[1].description.name) not in self._rows]

    def run(self, file: "FoundFile", codec: Codec) -> Row:
        """Measures one row. Raises what ``measure_row`` does."""
        if self._quick and isinstance(codec, Modelled):
            if codec.description.name not in self._gaps:
                self._gaps[codec.description.name] = self._gap(codec)
            row = estimate_row(codec, file.data(), file.measured.name, own_bits=self._own_bits)
        else:
            row = measure_row(codec, file.data(), file.measured.name, explain=self._explain, own_bits=self._own_bits)
            if self._measure_memory and file is self._largest:
                row = replace(row, peak_memory_bytes=peak_memory_bytes(codec, file.path, threads=self._threads))
        self._rows[row.file, row.codec] = row
        return row

    def _gap(self, codec: Modelled) -> dict[str, int]:
        """How far an estimate is off on a sample whose archive is written and decoded."""
        sample, name = self._largest.data()[:SAMPLE_BYTES], self._largest.measured.name
        estimate, row = (run(codec, sample, name) for run in (estimate_row, measure_row))
        sizes = {"estimated_bytes": estimate.archive_bytes, "archive_bytes": row.archive_bytes}
        return {"sample_bytes": len(sample), **sizes}

    def results(self) -> Results:
        """The document of all rows so far."""
        order = [(file.measured.name, codec.description.name) for file in self.files for codec in self.codecs]
        return Results(
            tuple(file.measured for file in self.files),
            tuple(codec.description for codec in self.codecs),
            tuple(self._rows[key] for key in order if key in self._rows),
            self._clock.provenance(threads=self._threads, command=self._command)
            | ({"estimate_gaps": self._gaps} if self._gaps else {}),
        )


@dataclass(frozen=True)
class FoundFile:
    """A file to measure, and where it lies."""

    measured: MeasuredFile
    path: Path

    def data(self) -> bytes:
        """Its content. Raises CorpusError where that is not what it was."""
        try:
            data = read_regular(self.path)
        except OSError as error:
            raise CorpusError(f"{self.path} cannot be read any more ({error.strerror}): begin again") from None
        if hashlib.sha256(data).hexdigest() != self.measured.sha256:
            raise CorpusError(f"{self.path} has changed since the bench began: begin again")
        return data


def _own(predictor: Predictor, data: bytes, terms: dict[WaterfallTerm, int] | None) -> int | None:
    if terms is not None:
        return terms["model"] if isinstance(predictor, ModelPredictor) else None
    own = own_microbits(data, predictor)
    return None if own is None else own[-1]


def found_files(paths: Iterable[str | Path], *, exclude: Sequence[str] = ()) -> list[FoundFile]:
    """The files to measure. Raises CorpusError where one cannot be read, UsageError where one is no regular file.

    exclude: patterns of the shell for what is left out, as in ``find_sources``.
    """
    sources = corpus_sources(paths, exclude=exclude)
    files = files_to_measure(sources)
    if sources.unreadable:
        raise CorpusError(f"{sources.unreadable[0]}: correct that, or leave it out")
    return files


def files_to_measure(sources: Sources) -> list[FoundFile]:
    """Those that can be read and hold something; ``sources`` then says what is left out or unreadable besides.

    An empty file has no bits per byte. Raises CorpusError if none is left.
    """
    sources.check()
    found = [(path, size, digest) for path in sources.files for size, digest in _identity(path, sources)]
    if not found:
        raise CorpusError(f"{(sources.unreadable or ['all files are empty'])[0]}: name others")
    names = _without_common_folder([path for path, _, _ in found])
    return [
        FoundFile(MeasuredFile(name, kind_of(path, list(sources.named)), size, digest), path)
        for name, (path, size, digest) in zip(names, found, strict=True)
    ]


def _identity(path: Path, sources: Sources) -> Iterator[tuple[int, str]]:
    """Size and SHA-256, if there are any."""
    try:
        data = read_regular(path)
    except OSError as error:
        sources.unreadable.append(f"{path}: it cannot be read ({error.strerror})")
        return
    if data:
        yield len(data), hashlib.sha256(data).hexdigest()
    else:
        sources.left_out.append(f"{path}: it is empty and left out")


def _without_common_folder(paths: list[Path]) -> list[str]:
    """The paths from the folder that they share, with forward slashes."""
    try:
        folder = os.path.commonpath([path.absolute().parent for path in paths])
        return [Path(os.path.relpath(path, folder)).as_posix() for path in paths]
    except ValueError:  # on several drives
        return [path.as_posix() for path in paths]


def all_codecs(
    models: Sequence[str | Predictor],
    codecs: Sequence[str | Codec],
    *,
    memory: bool = True,
    make: Callable[[str], Modelled] = modelled,
) -> list[Codec]:
    """The codecs of a bench, classical ones first, each once. Raises UsageError where two would have one name.

    memory: of models that are given, not named; make: from the name of a model.
    """
    found: list[Codec] = [classical_codec(name) if isinstance(name, str) else name for name in dict.fromkeys(codecs)]
    asked = without_repetitions([model for model in models if isinstance(model, str)])
    found += named_apart([(text, make(label_and_model(text)[1])) for text in asked])
    found += [Modelled(model, memory=memory) for model in dict.fromkeys(models) if not isinstance(model, str)]
    names = [codec.description.name for codec in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"two codecs would be called {name!r}: name one of them, as -m NAME=MODEL does, or leave it out"
            )
    return found


def warm_up(codec: Codec, data: bytes) -> None:
    """Lets a codec compile and load what its first call needs, on the beginning of ``data``, so that no row pays."""
    if codec.description.kind != "external":
        codec.decompress(codec.compress(data[:WARM_UP_BYTES]))


def measure_row(codec: Codec, data: bytes, file: str, *, explain: bool = False, own_bits: bool = False) -> Row:
    """The row of ``data``, the content of ``file``. Raises RoundTripError, and CorpusError if there is no data.

    explain: whether it says where the bits of a model's archive go, which include the model's own; own_bits: whether
    it says those.
    """
    name = codec.description.name
    if not data:
        raise CorpusError(f"{file} is empty and has no bits per byte: leave it out")
    with coder.watched_payloads() as payloads:
        started = time.perf_counter()
        archive = codec.compress(data)
        compressed = time.perf_counter()
    decoded = codec.decompress(archive)
    decompressed = time.perf_counter()
    if decoded != data:
        raise RoundTripError(f"{name} does not give {file} back: correct that program, or report a bug of llmzip")
    # A clock may stand still for very short work; no rate is infinite.
    seconds = max(compressed - started, 1e-9), max(decompressed - compressed, 1e-9)
    ideal, terms, own = None, None, None
    frame_bytes: tuple[tuple[int, int], ...] = ((len(archive), len(data)),)
    if isinstance(codec, Modelled):
        frames = list(frames_of(archive))
        ends = accumulate(frame.info.original_bytes for frame in frames)
        pieces = (data[end - frame.info.original_bytes : end] for frame, end in zip(frames, ends, strict=True))
        ideal = sum(
            ideal_microbits(frame, piece, codec.predictor, payloads)
            for frame, piece in zip(frames, pieces, strict=True)
        )
        frame_bytes = tuple((frame.info.archive_bytes, frame.info.original_bytes) for frame in frames)
        terms = waterfall(archive, data, codec.predictor, payloads) if explain else None
        if own_bits or explain:
            own = _own(codec.predictor, data, terms)
    return Row(file, name, len(data), len(archive), ideal, *seconds, None, frame_bytes, terms, model_microbits=own)
