"""``llmzip info``: what an archive says of itself, and where its bytes went. Only ``cli`` imports it."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import typer

from llmzip.archive import ArchiveInfo, FrameInfo, read_info
from llmzip.cli.files import for_each, named_or_standard, open_source
from llmzip.cli.messages import bits_per_byte, shown, title
from llmzip.cli.options import Files, Json, Verbose

PARTS = {
    "header": "header",
    "frame_headers": "frame headers",
    "model": "model payload",
    "model+memory": "model and memory payload",
    "memory": "memory payload",
    "model in groups": "model payload, in groups",
    "portable model": "portable payload",
    "zstd": "zstd fallback",
    "stored": "stored",
    "trailer": "trailer",
}
"""Where the bytes of an archive go: key in JSON -> for people."""


def info(files: Files = None, verbose: Verbose = False, as_json: Json = False) -> None:
    """Show which model made an archive, its frames, and where its bytes went. Decodes nothing.

    With --json, one object a line for each file.
    """

    def show(source: str) -> None:
        with open_source(source) as archive:
            members = read_info(archive)
        if as_json:
            typer.echo(json.dumps(_as_json(source, members)))
        else:
            typer.echo("\n".join(_lines(source, members, verbose=verbose)))

    for_each(named_or_standard(files), show)


def frame_lines(members: Iterable[ArchiveInfo]) -> list[str]:
    """A line for each frame, counted over all members."""
    frames = [frame for member in members for frame in member.frames]
    return [_frame_line(index, frame) for index, frame in enumerate(frames)]


def _frame_line(index: int, frame: FrameInfo) -> str:
    line = (
        f"  frame {index}: {frame.kind}, {frame.original_bytes:,} -> {frame.archive_bytes:,} bytes, "
        f"{bits_per_byte(frame.archive_bytes, frame.original_bytes)}"
    )
    return line + (f", {frame.token_count:,} tokens, {frame.streams} streams" if frame.token_count else "")


def _parts(members: list[ArchiveInfo]) -> dict[str, int]:
    """Bytes of the archive by what they are for; together they are the whole file."""
    parts = dict.fromkeys(PARTS, 0)
    for member in members:
        parts["header"] += member.header_bytes
        parts["trailer"] += member.trailer_bytes
        for frame in member.frames:
            parts["frame_headers"] += frame.header_bytes
            parts[frame.kind] += frame.payload_bytes
    return parts


def _lines(source: str, members: list[ArchiveInfo], *, verbose: bool) -> list[str]:
    archive_bytes = sum(member.archive_bytes for member in members)
    original_bytes = sum(member.original_bytes for member in members)
    frames = [frame for member in members for frame in member.frames]
    kinds = [frame.kind for frame in frames]
    lines = [title(source)]
    for member in members:
        lines.append(f"  predictor      {shown(member.predictor_name)}, fingerprint {member.fingerprint.hex()}")
        if member.settings:
            lines.append(f"  settings       {shown(member.settings.decode('latin-1'))}")
    lines += [
        f"  format         version {', '.join(sorted({str(member.format_version) for member in members}))}",
        "  frames         " + (", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)) or "none"),
        f"  original       {original_bytes:>13,} bytes",
        f"  archive        {archive_bytes:>13,} bytes   {bits_per_byte(archive_bytes, original_bytes)}",
    ]
    for part, part_bytes in _parts(members).items():
        if part_bytes:
            lines.append(f"    {PARTS[part]:<13}{part_bytes:>13,} bytes   {part_bytes / archive_bytes:.1%}")
    return lines + (frame_lines(members) if verbose else [])


def _texts(member: ArchiveInfo) -> dict[str, str]:
    """The fields of a member that are bytes, as text."""
    return {"fingerprint": member.fingerprint.hex(), "settings": member.settings.decode("latin-1")}


def _as_json(source: str, members: list[ArchiveInfo]) -> dict[str, Any]:
    archive_bytes = sum(member.archive_bytes for member in members)
    original_bytes = sum(member.original_bytes for member in members)
    return {
        "file": os.fsdecode(source),
        "original_bytes": original_bytes,
        "archive_bytes": archive_bytes,
        "bits_per_byte": 8 * archive_bytes / original_bytes if original_bytes else None,
        "parts": _parts(members),
        "members": [{**asdict(member), **_texts(member)} for member in members],
    }
