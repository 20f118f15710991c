"""Inputs for whoever names none, written for this project. Reads them; any probe's caller may import it."""

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


def demonstration(name: str) -> tuple[str, bytes]:
    """What the input is called, and its bytes."""
    return f"demonstration {name}", (_FOLDER / name).read_bytes()
