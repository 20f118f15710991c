"""Finds the files to measure, and fetches the public corpora that the manifest describes.

Nothing that was downloaded is unpacked before its size and SHA-256 are the manifest's, and no unpacked file
appears in its place before its own are. Shows nothing: a progress bar is an ``opener`` whose response counts
what is read. Measures nothing. May import ``sources`` and ``errors``; ``bench`` and ``cli`` import it.
"""

import bz2
import gzip
import hashlib
import http.client
import os
import tarfile
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast
from urllib.parse import urlsplit

from llmzip.documents import Count, Name, Sha256, read
from llmzip.errors import CorpusError, DocumentError
from llmzip.sources import Sources, find_sources

MANIFEST_NAME = "manifest.toml"
TIMEOUT_SECONDS = 60.0
"""The longest wait for the next bytes of a download."""

_DESCRIPTIONS = {MANIFEST_NAME, "README.md"}
_CHUNK_BYTES = 1 << 18
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True)
class CorpusMember:
    """One file of a corpus: its name (no folders), size and SHA-256 in hexadecimal."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class CorpusDownload:
    """One download of the manifest. ``size_bytes`` and ``sha256`` are of what is downloaded, still packed."""

    name: str
    corpus: str
    url: str
    size_bytes: int
    sha256: str
    unpack: str
    licence: str
    note: str
    members: tuple[CorpusMember, ...]

    @property
    def original_bytes(self) -> int:
        """The sizes of the members, added up."""
        return sum(member.size_bytes for member in self.members)


class Readable(Protocol):
    """What can be read in pieces: a file, or the answer to a request."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


class Opener(Protocol):
    """Opens a request as ``urllib.request.urlopen`` does."""

    def __call__(self, request: urllib.request.Request, *, timeout: float) -> AbstractContextManager[Readable]:
        """The answer, to be read once. timeout: the longest wait for the next bytes, in seconds."""
        ...


_ONE_FILE_OPENERS: dict[str, Callable[[IO[bytes]], AbstractContextManager[Readable]]] = {
    "none": nullcontext,
    "gz": gzip.open,
    "bz2": bz2.open,
}
_UNPACK_WAYS = {*_ONE_FILE_OPENERS, "zip", "tar.gz"}


def corpus_sources(paths: Iterable[str | Path], *, exclude: Sequence[str] = ()) -> Sources:
    """The files to measure, as ``find_sources`` finds them, but not manifest and README of a corpora folder."""
    found = find_sources(paths, exclude=exclude)

    def describes(file: Path) -> bool:
        return file.name in _DESCRIPTIONS and file.with_name(MANIFEST_NAME).is_file() and file not in found.named

    found.files = [file for file in found.files if not describes(file)]
    return found


def read_manifest(path: Path | None = None) -> tuple[CorpusDownload, ...]:
    """The downloads that the manifest describes, in its order. path: another manifest than llmzip's own.

    Raises DocumentError where it is missing, is no TOML, or describes something that ``fetch`` would refuse.
    """
    path = path or _own_manifest()
    remedy = "correct it, or install llmzip again"
    downloads = []
    for table in read(path, _Manifest, form="toml", remedy=remedy).file:
        members = tuple(CorpusMember(row.name, row.bytes, row.sha256) for row in table.members)
        download = CorpusDownload(
            table.name,
            table.corpus,
            table.url,
            table.bytes,
            table.sha256,
            table.unpack,
            table.licence,
            table.note,
            members,
        )
        if wrong := _wrong_description(download):
            raise DocumentError(f"{path}: {download.name}: {wrong}: {remedy}")
        downloads.append(download)
    names = [download.name for download in downloads]
    if len(set(names)) < len(names):
        raise DocumentError(f"{path}: file: one name stands twice: {remedy}")
    return tuple(downloads)


def open_address(request: urllib.request.Request, *, timeout: float) -> http.client.HTTPResponse:
    """``urlopen``, but never sent on to an address that ``fetch`` would have refused."""
    response: http.client.HTTPResponse = urllib.request.build_opener(_CheckedRedirects).open(request, timeout=timeout)
    return response


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: urllib.request.Request, *args: Any) -> urllib.request.Request | None:
        new_url: str = args[-1]
        _check_address(new_url, allow_loopback=urlsplit(req.full_url).hostname in _LOOPBACK)
        return super().redirect_request(req, *args)


def fetch(
    name: str,
    folder: Path,
    *,
    url: str | None = None,
    manifest: Path | None = None,
    opener: Opener = open_address,
) -> list[Path]:
    """The members of download ``name`` as files of ``folder``/<its corpus>/, fetched unless they are there.

    url: another address of the same bytes; only here may it be http, and only of this machine.
    manifest: another one than llmzip's own. opener: to show progress, one whose answer counts what is read.
    Raises CorpusError where the name is unknown, the address cannot be reached, or anything differs from the
    manifest; ``folder`` then holds what it held before, or some verified members.
    """
    downloads = {download.name: download for download in read_manifest(manifest)}
    if name not in downloads:
        raise CorpusError(f"no corpus is called {name!r}: choose from {', '.join(downloads)}")
    download = downloads[name]
    target = folder / download.corpus
    paths = [target / member.name for member in download.members]
    try:
        if all(map(_is_verified, paths, download.members)):
            return paths
        _check_address(url or download.url, allow_loopback=url is not None)
        target.mkdir(parents=True, exist_ok=True)
        # Inside the target, so that each file moves into its place in one step.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target) as temporary:
            packed, unpacked = Path(temporary) / "packed", Path(temporary) / "unpacked"
            request = urllib.request.Request(url or download.url, headers={"User-Agent": "llmzip"})
            with opener(request, timeout=TIMEOUT_SECONDS) as response:
                _copy_verified(response, packed, download)
            unpacked.mkdir()
            _unpack(packed, unpacked, download)
            for path in paths:
                os.replace(unpacked / path.name, path)
    except (OSError, ValueError, http.client.HTTPException) as error:
        message = f"{name} could not be fetched ({error}): try again, or give another address of the same file"
        raise CorpusError(message) from error
    return paths


def _own_manifest() -> Path:
    """The copy that a wheel holds beside this module, else the one of the source checkout."""
    copy = Path(__file__).with_name(MANIFEST_NAME)
    return copy if copy.exists() else Path(__file__).parents[2] / "corpora" / MANIFEST_NAME


@dataclass(frozen=True)
class _Member:
    """A row of ``members``."""

    name: Name
    bytes: Count
    sha256: Sha256


@dataclass(frozen=True)
class _Download:
    """A ``[[file]]`` table."""

    name: Name
    corpus: Name
    url: Name
    bytes: Count
    sha256: Sha256
    unpack: str
    licence: str
    note: str
    members: tuple[_Member, ...]


@dataclass(frozen=True)
class _Manifest:
    file: tuple[_Download, ...]


def _wrong_description(download: CorpusDownload) -> str | None:
    """Names become paths: each must be one plain component. One file cannot be unpacked into several."""
    names = [member.name for member in download.members]
    for name in (download.corpus, *names):
        if name.startswith(".") or any(character in name for character in "/\\:\0"):
            return f"{name!r} cannot be a file name"
    if download.unpack not in _UNPACK_WAYS:
        return f"unpack: it is {download.unpack!r}, and none of {', '.join(sorted(_UNPACK_WAYS))}"
    if not names or len(set(names)) < len(names) or (download.unpack in _ONE_FILE_OPENERS and len(names) > 1):
        return f"members: {len(names)} of them, {len(set(names))} names, do not fit unpack {download.unpack!r}"
    return None


def _check_address(address: str, *, allow_loopback: bool) -> None:
    parts = urlsplit(address)
    secure = parts.scheme == "https" and parts.hostname
    if not secure and not (allow_loopback and parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise CorpusError(f"{address} is not an https address: give one")


def _is_verified(path: Path, expected: CorpusMember) -> bool:
    if not path.is_file() or path.stat().st_size != expected.size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == expected.sha256


def _copy_verified(source: Readable, target: Path, expected: CorpusDownload | CorpusMember) -> None:
    """Writes ``source`` to ``target``, never more than the expected size, and compares size and digest."""
    digest = hashlib.sha256()
    size_bytes = 0
    with target.open("xb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            size_bytes += len(chunk)
            if size_bytes > expected.size_bytes:
                break
            digest.update(chunk)
            file.write(chunk)
    if size_bytes != expected.size_bytes:
        found = "more" if size_bytes > expected.size_bytes else str(size_bytes)
        problem = f"has {found} bytes where the manifest says {expected.size_bytes}"
    elif digest.hexdigest() != expected.sha256:
        problem = f"has SHA-256 {digest.hexdigest()} where the manifest says {expected.sha256}"
    else:
        return
    raise CorpusError(f"{expected.name} {problem}: fetch it again, or from another address of the same file")


def _unpack(packed: Path, folder: Path, download: CorpusDownload) -> None:
    """Writes the members that the manifest lists, and nothing else, into ``folder``."""
    missing = {member.name: member for member in download.members}
    try:
        with packed.open("rb") as file:
            for name, source in _contents(file, download):
                if name in missing:
                    _copy_verified(source, folder / name, missing.pop(name))
    except (OSError, EOFError, KeyError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        message = f"{download.name} cannot be unpacked ({error}): free space, or report its entry in the manifest"
        raise CorpusError(message) from error
    if missing:
        raise CorpusError(f"{download.name} lacks {', '.join(missing)}: report its entry in the manifest")


def _contents(file: IO[bytes], download: CorpusDownload) -> Iterator[tuple[str, Readable]]:
    """The files in a download, by name, each to be read before the next is asked for."""
    if download.unpack == "zip":
        with zipfile.ZipFile(file) as archive:
            for member in download.members:
                with archive.open(member.name) as source:
                    yield member.name, source
    elif download.unpack == "tar.gz":
        with tarfile.open(fileobj=file, mode="r|gz") as tar:
            for entry in filter(tarfile.TarInfo.isreg, tar):
                with cast(IO[bytes], tar.extractfile(entry)) as source:
                    yield entry.name.removeprefix("./"), source
    else:
        with _ONE_FILE_OPENERS[download.unpack](file) as source:
            yield download.members[0].name, source
