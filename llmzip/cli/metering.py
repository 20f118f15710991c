"""A predictor that tells how far the codec has come.

The codec has no callbacks: it is followed by counting what it asks of the predictor. Imports numpy, so commands
import it when they run. Only ``cli`` imports it.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from llmzip.archive import FrameInfo
from llmzip.cli.progress import Report
from llmzip.predictor import (
    Context,
    ExactContext,
    FloatPredictor,
    LogitContext,
    PortablePredictor,
    Predictor,
    Score,
    WeightedContext,
)


def bytes_per_token(frames: Iterable[FrameInfo]) -> float:
    """How much text a token stands for, on average over the frames that a model codes; 0 if there are none."""
    modelled = [frame for frame in frames if frame.kind in MODEL_KINDS]
    return sum(frame.original_bytes for frame in modelled) / max(1, sum(frame.token_count for frame in modelled))


MODEL_KINDS = ("model", "model+memory", "model in groups", "portable model")


class MeteredPredictor:
    """Passes everything on to a predictor, and reports how many bytes of text its contexts have seen."""

    def __init__(self, predictor: Predictor, report: Report, *, bytes_per_token: float = 0.0) -> None:
        """bytes_per_token: for decoding, where it follows from the archive; for encoding it follows from the text."""
        self._predictor, self._report, self._bytes_per_token = predictor, report, bytes_per_token
        self._done_bytes = self._frame_end = 0.0

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
    def vocabulary_size(self) -> int:
        """As the predictor's."""
        return self._predictor.vocabulary_size

    @property
    def token_bytes(self) -> tuple[bytes, ...]:
        """As the predictor's."""
        return self._predictor.token_bytes

    def tokenize(self, data: bytes) -> NDArray[np.int64]:
        """As the predictor's; each frame that is encoded begins with it."""
        tokens = self._predictor.tokenize(data)
        # The frame before may have been given up half way.
        self._done_bytes = self._frame_end
        self._frame_end += len(data)
        self._bytes_per_token = len(data) / max(1, len(tokens))
        return tokens

    def detokenize(self, tokens: NDArray[np.int64]) -> bytes:
        """As the predictor's."""
        return self._predictor.detokenize(tokens)

    def start(self, streams: int) -> Context:
        """As the predictor's, metered."""
        return _metered(self._predictor.start(streams), self._count)

    def _count(self, token_count: int) -> None:
        self._done_bytes += token_count * self._bytes_per_token
        self._report(self._done_bytes)


class MeteredFloatPredictor(MeteredPredictor):
    """The same for a predictor that has settings."""

    def __init__(self, predictor: FloatPredictor, report: Report, *, bytes_per_token: float = 0.0) -> None:
        super().__init__(predictor, report, bytes_per_token=bytes_per_token)
        self._float = predictor

    @property
    def most_streams(self) -> int:
        """As the predictor's."""
        return self._float.most_streams

    def settings(self) -> bytes:
        """As the predictor's."""
        return self._float.settings()

    def fitted(self, original_bytes: int, streams: int | None) -> FloatPredictor:
        """As the predictor's, metered."""
        return _still_float(metered(self._float.fitted(original_bytes, streams), self._report))

    def restored(self, settings: bytes) -> FloatPredictor:
        """As the predictor's, metered."""
        restored = self._float.restored(settings)
        return _still_float(metered(restored, self._report, bytes_per_token=self._bytes_per_token))


def _still_float(predictor: MeteredPredictor) -> MeteredFloatPredictor:
    assert isinstance(predictor, MeteredFloatPredictor)
    return predictor


class MeteredPortablePredictor(MeteredFloatPredictor):
    """The same for a portable one."""

    def __init__(self, predictor: PortablePredictor, report: Report, *, bytes_per_token: float = 0.0) -> None:
        super().__init__(predictor, report, bytes_per_token=bytes_per_token)
        self._portable = predictor

    @property
    def tolerance(self) -> float:
        """As the predictor's."""
        return self._portable.tolerance

    def teach(self, tokens: NDArray[np.int64]) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
        """As the predictor's, metered."""
        for rows, positions, logits in self._portable.teach(tokens):
            yield rows, positions, logits
            self._count(tokens[rows, positions].size)

    def start_logits(self, streams: int) -> LogitContext:
        """As the predictor's, metered."""
        return _MeteredLogits(self._portable.start_logits(streams), streams, self._count)


class _MeteredLogits:
    def __init__(self, context: LogitContext, streams: int, count: Callable[[int], None]) -> None:
        self._context, self._streams, self._count = context, streams, count

    def next_logits(self) -> NDArray[np.float32]:
        return self._context.next_logits()

    def append(self, tokens: NDArray[np.int64]) -> None:
        self._context.append(tokens)
        self._count(self._streams)


def metered(predictor: Predictor, report: Report, *, bytes_per_token: float = 0.0) -> MeteredPredictor:
    """The predictor, reporting to ``report``; what it is to the codec does not change."""
    if isinstance(predictor, PortablePredictor):
        return MeteredPortablePredictor(predictor, report, bytes_per_token=bytes_per_token)
    if isinstance(predictor, FloatPredictor):
        return MeteredFloatPredictor(predictor, report, bytes_per_token=bytes_per_token)
    return MeteredPredictor(predictor, report, bytes_per_token=bytes_per_token)


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


class _MeteredWeightedContext(_MeteredContext):
    def __init__(self, context: WeightedContext, count: Callable[[int], None]) -> None:
        super().__init__(context, count)
        self._weighted = context

    def next_weights(self) -> NDArray[np.int64]:
        return self._weighted.next_weights()


class _MeteredExactContext(_MeteredContext):
    def __init__(self, context: ExactContext, count: Callable[[int], None]) -> None:
        super().__init__(context, count)
        self._exact = context

    def intervals(self, tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        intervals = self._exact.intervals(tokens)
        self._count(tokens.size)
        return intervals

    def scores(self, tokens: NDArray[np.int64], score: Score) -> NDArray[np.int16]:
        scores = self._exact.scores(tokens, score)
        self._count(tokens.size)
        return scores


def _metered(context: Context, count: Callable[[int], None]) -> Context:
    """Exact contexts stay exact: the codec takes its short cut only with those."""
    if isinstance(context, ExactContext):
        return _MeteredExactContext(context, count)
    if isinstance(context, WeightedContext):
        return _MeteredWeightedContext(context, count)
    return _MeteredContext(context, count)
