"""The coding of portable models, whose arithmetic is in ``llmzip.portable``. ``frames`` imports it; see ``coding``."""

import numpy as np

from llmzip import archive
from llmzip.archive import Frame
from llmzip.errors import ArchiveError
from llmzip.frames.coding import Limit, OpenPredictor, Piece, dealt, gathered, stream_bounds
from llmzip.frames.tokens import detokenized
from llmzip.predictor import PortablePredictor, Predictor


class PortableCoding:
    """See ``FrameCoding``."""

    kind = archive.PORTABLE

    def streams(self, piece: Piece) -> int:
        return piece.streams

    def encode(self, piece: Piece, predictor: Predictor, limit: Limit) -> bytes | None:
        """None also where the predictor's tolerance is too large for some token."""
        from llmzip.portable import Portable  # compiled code, which others need not wait for

        assert isinstance(predictor, PortablePredictor)
        lengths = np.diff(stream_bounds(len(piece.tokens), piece.streams)).tolist()
        return Portable(predictor).encode(dealt(piece.tokens, piece.streams), lengths)

    def decode(self, frame: Frame, open_predictor: OpenPredictor) -> bytes:
        from llmzip.portable import Portable

        predictor, info = open_predictor(), frame.info
        if not isinstance(predictor, PortablePredictor):
            raise ArchiveError("a portable frame of a model that is not: the archive is damaged")
        bounds = stream_bounds(info.token_count, info.streams)

        return detokenized(
            frame,
            predictor,
            lambda: gathered(Portable(predictor).decode(frame.payload, np.diff(bounds).tolist()), info.token_count),
        )
