"""Corpora: what is measured, and what may come in from the network and how."""

import bz2
import gzip
import hashlib
import io
import json
import tarfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from llmzip.bench import corpus
from llmzip.bench.corpus import corpus_sources, fetch, open_address, read_manifest
from llmzip.errors import CorpusError, DocumentError

TEXT = b"It was the best of times.\n" * 2000
OTHER = b"Call me Ishmael.\n" * 500


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers on the loopback interface; counts the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.stall_seconds = 0.0
        self.requests = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        if self.path in self.server.redirects:
            self.send_response(302)
            self.send_header("Location", self.server.redirects[self.path])
            self.end_headers()
        elif self.path not in self.server.bodies:
            self.send_error(404)
        else:
            body = self.server.bodies[self.path]
            cut = len(body) // 2 if self.path.startswith("/truncated") or self.server.stall_seconds else len(body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:cut])
            self.wfile.flush()
            time.sleep(self.server.stall_seconds)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tar_of(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


class Case:
    """A manifest with one download called "sample", whose packed bytes the server offers at /sample."""

    def __init__(self, folder: Path, server: Server, packed: bytes, unpack: str, members: dict[str, bytes]) -> None:
        self.server, self.folder, self.members = server, folder / "fetched", members
        self.url = server.url("/sample")
        server.bodies["/sample"] = packed
        self.manifest = folder / "listing.toml"
        self.describe(packed, unpack)

    def describe(self, packed: bytes, unpack: str = "none", **changes: object) -> None:
        members = [
            f"{{ name = {json.dumps(name)}, bytes = {len(data)}, sha256 = '{sha256(data)}' }}"
            for name, data in self.members.items()
        ]
        entry = {
            "name": "sample",
            "corpus": "samples",
            "url": "https://localhost:1/never-asked",
            "bytes": len(packed),
            "sha256": sha256(packed),
            "unpack": unpack,
            "licence": "none",
            "note": "",
        } | changes
        lines = [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
        self.manifest.write_text("\n".join(["[[file]]", *lines, f"members = [{', '.join(members)}]"]))

    def fetch(self, **arguments: object) -> list[Path]:
        return fetch("sample", self.folder, manifest=self.manifest, **({"url": self.url} | arguments))

    def refuses(self, message: str, **arguments: object) -> None:
        """The fetch fails with the message and leaves nothing behind."""
        with pytest.raises((CorpusError, DocumentError), match=message):
            self.fetch(**arguments)
        assert [path for path in self.folder.rglob("*") if path.is_file()] == []
        assert [path for path in self.folder.rglob(".*")] == []


FILES = {"two.txt": TEXT, "one": OTHER}


@pytest.mark.parametrize(
    ("unpack", "packed", "members"),
    [
        ("none", TEXT, {"two.txt": TEXT}),
        ("gz", gzip.compress(TEXT), {"two.txt": TEXT}),
        ("bz2", bz2.compress(TEXT), {"two.txt": TEXT}),
        ("zip", zip_of(FILES | {"unlisted": b"x", "folder/one": b"y"}), FILES),
        ("tar.gz", tar_of(FILES | {"unlisted": b"x", "folder/one": b"y"}), FILES),
        ("tar.gz", tar_of({f"./{name}": data for name, data in FILES.items()}), FILES),
    ],
    ids=["none", "gz", "bz2", "zip", "tar.gz", "tar.gz with ./"],
)
def test_fetch_gives_exactly_the_listed_members(
    tmp_path: Path, server: Server, unpack: str, packed: bytes, members: dict[str, bytes]
) -> None:
    case = Case(tmp_path, server, packed, unpack, members)
    paths = case.fetch()
    assert {path.name: path.read_bytes() for path in paths} == members
    assert sorted(path for path in case.folder.rglob("*") if path.is_file()) == sorted(paths)
    assert {path.parent for path in paths} == {case.folder / "samples"}


def test_fetch_downloads_again_only_what_is_missing_or_changed(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, zip_of(FILES), "zip", FILES)
    paths = case.fetch()
    assert case.fetch() == paths
    assert server.requests == 1

    paths[0].write_bytes(TEXT[:-1] + b"?")  # same size, other content
    assert {path.name: path.read_bytes() for path in case.fetch()} == FILES
    assert server.requests == 2

    paths[1].unlink()
    assert {path.name: path.read_bytes() for path in case.fetch()} == FILES
    assert server.requests == 3


def test_fetch_keeps_other_files_of_the_corpus(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, TEXT, "none", {"two.txt": TEXT})
    (case.folder / "samples").mkdir(parents=True)
    mine = case.folder / "samples" / "mine.txt"
    mine.write_text("mine")
    case.fetch()
    assert mine.read_text() == "mine"


def test_download_that_differs_is_refused(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, TEXT, "none", {"two.txt": TEXT})
    server.bodies["/sample"] = TEXT + b"more"
    case.refuses("has more bytes where the manifest says 52000.*fetch it again")
    server.bodies["/sample"] = TEXT[:-1]
    case.refuses("has 51999 bytes where the manifest says 52000")
    server.bodies["/sample"] = TEXT[:-1] + b"?"
    case.refuses("has SHA-256 .* where the manifest says")
    server.bodies["/truncated"] = TEXT
    case.refuses("has 26000 bytes where the manifest says 52000", url=server.url("/truncated"))


def test_oversized_download_is_not_read_to_its_end(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, TEXT, "none", {"two.txt": TEXT})

    class Endless:
        bytes_read = 0

        def __enter__(self) -> "Endless":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self, size: int) -> bytes:
            self.bytes_read += size
            return bytes(size)

    endless = Endless()
    case.refuses("has more bytes", opener=lambda request, *, timeout: endless)
    assert endless.bytes_read < 1 << 20


def test_stalled_download_ends(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, TEXT, "none", {"two.txt": TEXT})
    server.stall_seconds = 0.5
    case.refuses(
        "could not be fetched .*timed out.*try again",
        opener=lambda request, *, timeout: open_address(request, timeout=0.05),
    )


@pytest.mark.parametrize("path", ["/absent", "/loop"])
def test_unreachable_address_is_named_with_a_remedy(tmp_path: Path, server: Server, path: str) -> None:
    case = Case(tmp_path, server, TEXT, "none", {"two.txt": TEXT})
    server.redirects["/loop"] = "/loop"
    case.refuses("(?s)could not be fetched .*give another address", url=server.url(path))


def test_nobody_listening(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, TEXT, "none", {"two.txt": TEXT})
    server.shutdown()
    server.server_close()
    case.refuses("could not be fetched")


def test_member_that_differs_is_refused(tmp_path: Path, server: Server) -> None:
    """The download is the manifest's, so the manifest is what is wrong."""
    for unpack, packed in (("zip", zip_of({"one": TEXT})), ("tar.gz", tar_of({"one": TEXT}))):
        Case(tmp_path, server, packed, unpack, {"one": TEXT[:-1] + b"?"}).refuses("one has SHA-256")
        Case(tmp_path, server, packed, unpack, {"one": TEXT[:-1]}).refuses("one has more bytes")
        Case(tmp_path, server, packed, unpack, {"one": TEXT + b"?"}).refuses("one has 52000 bytes")
        Case(tmp_path, server, packed, unpack, {"one": TEXT, "two": TEXT}).refuses("two.*report its entry")
    Case(tmp_path, server, gzip.compress(bytes(1 << 24)), "gz", {"one": TEXT}).refuses("one has more bytes")


@pytest.mark.parametrize("unpack", ["zip", "tar.gz", "gz", "bz2"])
@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_download_that_cannot_be_unpacked_is_refused(tmp_path: Path, server: Server, unpack: str, damage: str) -> None:
    packed = {"zip": zip_of, "tar.gz": tar_of}.get(unpack, lambda files: files["one"])({"one": TEXT})
    if unpack in ("gz", "bz2"):
        packed = {"gz": gzip, "bz2": bz2}[unpack].compress(packed)
    packed = {"cut": packed[: len(packed) // 2], "noise": bytes(range(256)) * 9, "empty": b""}[damage]
    case = Case(tmp_path, server, packed, unpack, {"one": TEXT})
    case.refuses("cannot be unpacked|has 0 bytes|lacks one")


def test_nothing_is_written_outside_the_folder(tmp_path: Path, server: Server) -> None:
    """Entries with a path, and links with a listed name, are never followed."""
    hostile = {"../evil": b"x", "/evil": b"x", "folder/../../evil": b"x"}
    for unpack, packed in (("zip", zip_of(hostile | FILES)), ("tar.gz", tar_of(hostile | FILES))):
        (tmp_path / unpack).mkdir()
        case = Case(tmp_path / unpack, server, packed, unpack, FILES)
        assert {path.name: path.read_bytes() for path in case.fetch()} == FILES
    linked = tar_of({}, links={"one": str(tmp_path / "secret")})
    (tmp_path / "secret").write_bytes(OTHER)
    (tmp_path / "linked").mkdir()
    Case(tmp_path / "linked", server, linked, "tar.gz", {"one": OTHER}).refuses("lacks one")
    assert list(tmp_path.rglob("evil")) == []


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/b", "a\\b", "C:evil", "", ".", "..", ".hidden", "a\0b"])
def test_manifest_names_are_plain(tmp_path: Path, server: Server, name: str) -> None:
    case = Case(tmp_path, server, TEXT, "none", {name: TEXT})
    words = "cannot be a file name" if name else "expected str of length >= 1"
    case.refuses(words)
    case.members = {"one": TEXT}
    case.describe(TEXT, corpus=name)
    case.refuses(words)
    assert server.requests == 0


def test_manifest_that_cannot_be_used_is_refused(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, TEXT, "rar", {"one": TEXT})
    case.refuses("unpack: it is 'rar', and none of")
    Case(tmp_path, server, TEXT, "gz", FILES).refuses("members: 2 of them, 2 names, do not fit")
    Case(tmp_path, server, TEXT, "zip", {}).refuses("members: 0 of them")
    for text in ("", "no toml", "[[file]]\nname = 'x'", "file = 3", "[[file]]\nmembers = 3"):
        case.manifest.write_text(text)
        case.refuses("correct it, or install llmzip again")
    case.manifest.unlink()
    case.refuses("cannot be read .No such file")


def test_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no corpus is called 'enwik7': choose from canterbury, .*enwik8"):
        fetch("enwik7", tmp_path)


@pytest.mark.parametrize(
    "address",
    ["http://example.org/a", "ftp://example.org/a", "file:///etc/hostname", "data:,a", "a", "https://", "https://[x/"],
)
def test_other_addresses_are_refused(tmp_path: Path, server: Server, address: str) -> None:
    case = Case(tmp_path, server, TEXT, "none", {"one": TEXT})
    case.refuses("not an https address|Invalid IPv6|does not appear to be", url=address)
    case.describe(TEXT, url=address)
    case.refuses("not an https address|Invalid IPv6|does not appear to be", url=None)


def test_loopback_must_be_given_explicitly(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, TEXT, "none", {"one": TEXT})
    case.describe(TEXT, url=server.url("/sample"))
    case.refuses("not an https address", url=None)
    assert server.requests == 0


def test_redirects_obey_the_same_rule(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, TEXT, "none", {"one": TEXT})
    server.redirects["/moved"] = server.url("/sample")
    server.redirects["/away"] = "http://example.org/a"
    case.refuses("example.org/a is not an https address", url=server.url("/away"))
    assert [path.read_bytes() for path in case.fetch(url=server.url("/moved"))] == [TEXT]


def test_redirect_from_https_to_loopback_is_refused() -> None:
    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(CorpusError, match="not an https address"):
        corpus._CheckedRedirects().redirect_request(request, None, 302, "Found", {}, "http://127.0.0.1/b")


def test_own_manifest_is_consistent() -> None:
    downloads = read_manifest()
    assert len({download.name for download in downloads}) == len(downloads)
    places = [(download.corpus, member.name) for download in downloads for member in download.members]
    assert len(set(places)) == len(places)
    for download in downloads:
        assert download.url.startswith("https://")
        assert download.licence and download.note
        for described in (download, *download.members):
            assert 0 < described.size_bytes <= 10**9
            assert len(described.sha256) == 64 and set(described.sha256) <= set("0123456789abcdef")
    sizes = {download.name: download.original_bytes for download in downloads}
    assert sizes["canterbury"] == 2_810_784
    assert sizes["enwik8"] == 100_000_000


def write_tree(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_sources_leave_out_what_describes_a_corpora_folder(tmp_path: Path) -> None:
    write_tree(tmp_path, "manifest.toml", "README.md", "a.txt", "b/README.md", "b/.fetch-x/packed")
    names = [path.relative_to(tmp_path).as_posix() for path in corpus_sources([tmp_path]).files]
    assert names == ["a.txt", "b/README.md"]
    assert corpus_sources([tmp_path / "README.md"]).files  # whoever names it wants it


def test_sources_do_not_follow_links_to_folders(tmp_path: Path) -> None:
    write_tree(tmp_path, "a.txt")
    try:
        (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets this user make no links")
    assert corpus_sources([tmp_path]).files == [tmp_path / "a.txt"]


def test_sources_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="absent does not exist"):
        corpus_sources([tmp_path / "absent"]).check()
    with pytest.raises(CorpusError, match="no files in .*: name a folder that holds some"):
        corpus_sources([tmp_path]).check()
    with pytest.raises(CorpusError, match="no files in the request"):
        corpus_sources([]).check()
