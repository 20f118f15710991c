"""Measures predictors and classical codecs on the same files, in bits per byte, and guards the number.

Every size was decoded and compared before it counts. Prints nothing: ``cli`` does. May import the codec and
what lies below it; only ``cli`` imports it. ``measure`` is the whole of it in one call.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmzip.bench.measuring import measure

__all__ = ["measure"]


def __getattr__(name: str) -> Any:
    """``measure`` on first use: ``llmzip corpora`` needs no codec."""
    if name != "measure":
        raise AttributeError(f"module 'llmzip.bench' has no attribute {name!r}")
    from llmzip.bench.measuring import measure

    return measure
