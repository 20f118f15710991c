"""What the tests of HTML pages share: the command line, a look for references, a browser."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

needs_browser = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here to open pages with")

VOID = {"meta", "br", "hr", "img", "input", "link"}


def run_command(*arguments: str | Path) -> "subprocess.CompletedProcess[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = [sys.executable, "-m", "llmzip", *map(str, arguments)]
    return subprocess.run(command, input=b"", capture_output=True, env=environment, timeout=120)


class _Reader(HTMLParser):
    """Refuses whatever would fetch something, and tags that do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "img", "image", "audio", "video")
        for name, value in attributes:
            assert name not in ("src", "srcset", "data", "action", "background", "poster", "ping"), (tag, name)
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "xlink:href"):
                assert (value or "").startswith("#"), value
            if name == "style":
                assert "url(" not in (value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def without_references(page: str) -> set[str]:
    """The tags of a page, once it is sure that it closes them all and refers to nothing outside of itself."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    for style in re.findall(r"<style>(.*?)</style>", page, re.S):
        assert "@import" not in style and "url(" not in style
    for script in re.findall(r"<script>(.*?)</script>", page, re.S):
        assert not re.search(r"fetch\(|XMLHttpRequest|import\(|WebSocket|eval\(|innerHTML", script)
    assert "default-src 'none'" in page
    return reader.tags


def browse(page: Path, *, fragment: str = "") -> tuple[str, str]:
    """The document after its scripts have run, and what the browser's console said."""
    assert BROWSER
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        f"--user-data-dir={page.parent / 'profile'}",
        "--enable-logging=stderr",
        "--virtual-time-budget=2000",
        "--dump-dom",
        f"{page.as_uri()}#{fragment}",
    ]
    result = subprocess.run(command, capture_output=True, timeout=120)
    messages = [line for line in result.stderr.decode("utf-8", "replace").splitlines() if "CONSOLE" in line]
    return result.stdout.decode(), "\n".join(messages)
