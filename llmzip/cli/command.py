"""One command of the program: its usage line in plain words. Only ``cli`` imports it."""

from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """Names what must be given as it is, and only what may be left out in brackets: PATH..., [FILE]..."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """As usual, without the braces that Typer puts around what must be given."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]
