"""llmzip: lossless text compression with language models, and bits per byte that can be believed.

The whole public API is the names below; everything heavier than the standard library is imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from llmzip.errors import LlmzipError

if TYPE_CHECKING:
    from llmzip.archive import read_info
    from llmzip.codec import compress, decompress
    from llmzip.predictor import Context, Predictor
    from llmzip.predictors import load_predictor

__all__ = ["Context", "LlmzipError", "Predictor", "compress", "decompress", "load_predictor", "read_info"]

_HOMES = {
    "Context": "llmzip.predictor",
    "Predictor": "llmzip.predictor",
    "compress": "llmzip.codec",
    "decompress": "llmzip.codec",
    "load_predictor": "llmzip.predictors",
    "read_info": "llmzip.archive",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'llmzip' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
