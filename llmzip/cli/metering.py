"""A predictor that tells how far the codec has come.

The codec has no callbacks: it is followed by counting what it asks of the predictor. Imports numpy, so commands
import it when they run. Only ``cli`` imports it.
"""

from collections.abc import Callable, Iterable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from llmzip.archive import FrameInfo
from llmzip.cli.progress import Report
from llmzip.predictor import Context, ExactContext, ModelPredictor, Predictor, Score


def bytes_per_token(frames: Iterable[FrameInfo]) -> float:
    """How much text a token stands for, on average over the frames that code tokens; 0 if there are none."""
    coded = [frame for frame in frames if frame.token_count]
    return sum(frame.original_bytes for frame in coded) / max(1, sum(frame.token_count for frame in coded))


class _Meter:
    """Bytes of text done, from what is known at the ends of frames and what contexts have seen since."""

    def __init__(self, report: Report) -> None:
        self._report, self._lock = report, Lock()
        self._whole_bytes = self._begun_bytes = 0.0

    def end_frame(self, byte_count: float) -> None:
        """So many bytes of text are done, whatever was counted on the way."""
        with self._lock:
            self._whole_bytes += byte_count
            self._begun_bytes = 0.0
            self._show()

    def advance(self, byte_count: float) -> None:
        """About so many bytes more of a frame are done."""
        with self._lock:
            self._begun_bytes += byte_count
            self._show()

    def _show(self) -> None:
        # Sums of floats can be a hair above the whole that they make up.
        self._report(round(self._whole_bytes + self._begun_bytes, 3))


class MeteredPredictor:
    """Passes everything on to a predictor, and reports how many bytes of text are done."""

    def __init__(self, predictor: Predictor, report: Report, bytes_per_token: float | None = None) -> None:
        """bytes_per_token: for decoding, where it follows from the archive; for encoding it follows from the text."""
        self._predictor, self._meter = predictor, _Meter(report)
        self._decodes, self._bytes_per_token = bytes_per_token is not None, bytes_per_token or 0.0
        self._frame_bytes = 0

    @property
    def name(self) -> str:
        """As the predictor's."""
        return self._predictor.name

    @property
    def fingerprint(self) -> bytes:
        """As the predictor's."""
        return self._predictor.fingerprint

    @property
    def parameter_bytes(self) -> int:
        """As the predictor's."""
        return self._predictor.parameter_bytes

    @property
    def threads(self) -> int:
        """As the predictor's."""
        return self._predictor.threads

    @property
    def vocabulary_size(self) -> int:
        """As the predictor's."""
        return self._predictor.vocabulary_size

    @property
    def token_bytes(self) -> tuple[bytes, ...]:
        """As the predictor's."""
        return self._predictor.token_bytes

    def tokenize(self, data: bytes) -> NDArray[np.int64]:
        """As the predictor's; each frame that is encoded begins with it, so that the one before it is done."""
        tokens = self._predictor.tokenize(data)
        self._meter.end_frame(self._frame_bytes)
        self._frame_bytes = len(data)
        self._bytes_per_token = len(data) / max(1, len(tokens))
        return tokens

    def detokenize(self, tokens: NDArray[np.int64]) -> bytes:
        """As the predictor's; each frame of tokens that is decoded ends with it."""
        data = self._predictor.detokenize(tokens)
        if self._decodes:
            self._meter.end_frame(len(data))
        return data

    def _count(self, token_count: int) -> None:
        self._meter.advance(token_count * self._bytes_per_token)


class _MeteredModelPredictor(MeteredPredictor):
    def __init__(self, predictor: ModelPredictor, report: Report, bytes_per_token: float | None = None) -> None:
        super().__init__(predictor, report, bytes_per_token)
        self._model = predictor

    def start(self, streams: int) -> Context:
        context = self._model.start(streams)
        # Exact contexts stay exact: the codec takes its short cut only with those.
        metered = _MeteredExactContext if isinstance(context, ExactContext) else _MeteredContext
        return metered(context, self._count)


def metered(predictor: Predictor, report: Report, *, bytes_per_token: float | None = None) -> Predictor:
    """The predictor, metered; one with a model stays one. bytes_per_token: see ``MeteredPredictor``."""
    if isinstance(predictor, ModelPredictor):
        return _MeteredModelPredictor(predictor, report, bytes_per_token)
    return MeteredPredictor(predictor, report, bytes_per_token)


class _MeteredContext:
    def __init__(self, context: Context, count: Callable[[int], None]) -> None:
        self._context, self._count = context, count

    @property
    def streams(self) -> int:
        return self._context.streams

    def next_frequencies(self) -> NDArray[np.int64]:
        return self._context.next_frequencies()

    def append(self, tokens: NDArray[np.int64]) -> None:
        self._context.append(tokens)
        self._count(tokens.size)


class _MeteredExactContext(_MeteredContext):
    _context: ExactContext

    def intervals(self, tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        intervals = self._context.intervals(tokens)
        self._count(tokens.size)
        return intervals

    def scores(self, tokens: NDArray[np.int64], score: Score) -> NDArray[np.int16]:
        scores = self._context.scores(tokens, score)
        self._count(tokens.size)
        return scores
