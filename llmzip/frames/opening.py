"""From the name and fingerprint in an archive to the predictor that decodes it. ``frames`` imports it.

May import ``archive``, ``predictor`` and ``errors``.
"""

from collections.abc import Callable

from llmzip import archive
from llmzip.archive import ArchiveInfo
from llmzip.errors import PredictorMismatchError
from llmzip.frames.coding import OpenPredictor
from llmzip.predictor import FloatPredictor, Predictor, VersionedPredictor

Load = Callable[[str], Predictor]
"""Gives the predictor of a name that an archive holds."""


def opener(header: ArchiveInfo, load: Load) -> OpenPredictor:
    """Loads the predictor of a member once, and only if it is the one that wrote it, in the version that did."""
    loaded: list[Predictor] = []

    def open_predictor() -> Predictor:
        if not loaded:
            predictor = _as_of(header, load(header.predictor_name))
            loaded.append(predictor.restored(header.settings) if isinstance(predictor, FloatPredictor) else predictor)
        return loaded[0]

    return open_predictor


def _as_of(header: ArchiveInfo, predictor: Predictor) -> Predictor:
    """The predictor in the version that has the header's fingerprint. Raises PredictorMismatchError."""
    if predictor.fingerprint.startswith(header.fingerprint):
        return predictor
    earlier = predictor.as_of(header.fingerprint) if isinstance(predictor, VersionedPredictor) else None
    if earlier is not None:
        return earlier
    here = predictor.fingerprint[: archive.FINGERPRINT_BYTES].hex()
    found = f"this is {predictor.name!r} {here}"
    if predictor.name == header.predictor_name:
        found = f"the one of that name here has other weights, another tokenizer or other arithmetic ({here})"
    raise PredictorMismatchError(
        f"the archive was made with {header.predictor_name!r} {header.fingerprint.hex()}, {found}: "
        "name the model that made it with -m, or use the llmzip version that did"
    )
