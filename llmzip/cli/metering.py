"""A predictor that tells how far the codec has come.

The codec has no callbacks: it is followed by counting what it asks of the predictor. Imports numpy, so commands
import it when they run. Only ``cli`` imports it.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from llmzip.archive import FrameInfo
from llmzip.cli.progress import Report
from llmzip.memory import MEMORY_VERSION
from llmzip.predictor import (
    Context,
    ExactContext,
    FloatPredictor,
    FrameEngine,
    LogitContext,
    ModelPredictor,
    PortablePredictor,
    Predictor,
    Score,
    TaughtPredictor,
    VersionedPredictor,
    WeightedContext,
    WeightedExactContext,
    WeightedPredictor,
    WeightScore,
)


def bytes_per_token(frames: Iterable[FrameInfo]) -> float:
    """How much text a token stands for, on average over the frames that code tokens; 0 if there are none."""
    coded = [frame for frame in frames if frame.token_count]
    return sum(frame.original_bytes for frame in coded) / max(1, sum(frame.token_count for frame in coded))


class _Meter:
    """Bytes of text done, from what is known at the ends of frames and what contexts have seen since."""

    def __init__(self, report: Report, bytes_per_token: float | None, *, verified: bool) -> None:
        self._report, self._lock = report, Lock()
        self.decodes, self.bytes_per_token = bytes_per_token is not None, bytes_per_token or 0.0
        self.verified = verified
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

    def __init__(self, predictor: Predictor, meter: _Meter, passes: int = 1) -> None:
        """passes: how often each token is met, as where a frame is encoded and then decoded to verify it."""
        self._predictor, self._meter, self._passes = predictor, meter, passes
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

    @property
    def memory_version(self) -> int:
        """As the predictor's."""
        return self._predictor.memory_version if isinstance(self._predictor, VersionedPredictor) else MEMORY_VERSION

    @property
    def first_state(self) -> Path | None:
        """As the predictor's."""
        return self._predictor.first_state if isinstance(self._predictor, VersionedPredictor) else None

    def as_of(self, fingerprint: bytes) -> Predictor | None:
        """As the predictor's, metered."""
        earlier = self._predictor.as_of(fingerprint) if isinstance(self._predictor, VersionedPredictor) else None
        return None if earlier is None else _metered(earlier, self._meter)

    def tokenize(self, data: bytes) -> NDArray[np.int64]:
        """As the predictor's; each frame that is encoded begins with it, so that the one before it is done."""
        tokens = self._predictor.tokenize(data)
        self._meter.end_frame(self._frame_bytes)
        self._frame_bytes = len(data)
        self._meter.bytes_per_token = len(data) / max(1, len(tokens))
        return tokens

    def detokenize(self, tokens: NDArray[np.int64]) -> bytes:
        """As the predictor's; each frame of tokens that is decoded ends with it."""
        data = self._predictor.detokenize(tokens)
        if self._meter.decodes:
            self._meter.end_frame(len(data))
        return data

    def _count(self, token_count: int) -> None:
        self._meter.advance(token_count * self._meter.bytes_per_token / self._passes)


class _MeteredModelPredictor(MeteredPredictor):
    def __init__(self, predictor: ModelPredictor, meter: _Meter, passes: int = 1) -> None:
        super().__init__(predictor, meter, passes)
        self._model = predictor

    def start(self, streams: int) -> Context:
        return _metered_context(self._model.start(streams), self._count)


class _MeteredFrameEngine(_MeteredModelPredictor):
    def __init__(self, predictor: ModelPredictor, engine: FrameEngine, meter: _Meter) -> None:
        super().__init__(predictor, meter)
        self._engine = engine

    @property
    def codes_with_memory(self) -> bool:
        return self._engine.codes_with_memory

    def encode_tokens(
        self,
        tokens: NDArray[np.int64],
        streams: int,
        *,
        memory: bool,
        limit_bytes: int,
        progress: Callable[[int], None] | None = None,
    ) -> bytes | None:
        return self._engine.encode_tokens(
            tokens, streams, memory=memory, limit_bytes=limit_bytes, progress=self._from_sums(progress)
        )

    def decode_tokens(
        self,
        payload: bytes,
        token_count: int,
        streams: int,
        *,
        memory: bool,
        progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.int64]:
        return self._engine.decode_tokens(
            payload, token_count, streams, memory=memory, progress=self._from_sums(progress)
        )

    def _from_sums(self, progress: Callable[[int], None] | None) -> Callable[[int], None]:
        """Counts what was done since the last call; ``progress`` is told, too."""
        before = 0

        def report(token_count: int) -> None:
            nonlocal before
            self._count(token_count - before)
            before = token_count
            if progress is not None:
                progress(token_count)

        return report


class _MeteredWeightedPredictor(_MeteredModelPredictor):
    weighted = True

    def __init__(self, predictor: WeightedPredictor, meter: _Meter, passes: int = 1) -> None:
        super().__init__(predictor, meter, passes)
        self.parameter_count = predictor.parameter_count


class _MeteredFloatPredictor(_MeteredModelPredictor):
    def __init__(self, predictor: FloatPredictor, meter: _Meter, passes: int = 1) -> None:
        super().__init__(predictor, meter, passes)
        self._float = predictor

    @property
    def most_streams(self) -> int:
        return self._float.most_streams

    def description(self) -> dict[str, str | int]:
        return self._float.description()

    def settings(self) -> bytes:
        return self._float.settings()

    def fitted(self, original_bytes: int, streams: int | None) -> FloatPredictor:
        return _metered_float(self._float.fitted(original_bytes, streams), self._meter, 1 + self._meter.verified)

    def restored(self, settings: bytes) -> FloatPredictor:
        return _metered_float(self._float.restored(settings), self._meter)


class _MeteredTaughtPredictor(_MeteredFloatPredictor):
    """What is scored over whole windows must not be run token by token because somebody watches."""

    def __init__(self, predictor: TaughtPredictor, meter: _Meter, passes: int = 1) -> None:
        super().__init__(predictor, meter, passes)
        self._taught = predictor

    @property
    def model_size(self) -> int:
        return self._taught.model_size

    def frequencies(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        return self._taught.frequencies(logits)

    def weights(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        return self._taught.weights(logits)

    def logits(self, tokens: NDArray[np.int64]) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
        for rows, positions, logits in self._taught.logits(tokens):
            yield rows, positions, logits
            self._count(tokens[rows, positions].size)


class _MeteredPortablePredictor(_MeteredFloatPredictor):
    def __init__(self, predictor: PortablePredictor, meter: _Meter, passes: int = 1) -> None:
        super().__init__(predictor, meter, passes)
        self._portable = predictor

    @property
    def grid_version(self) -> int:
        return self._portable.grid_version

    @property
    def tolerance(self) -> float:
        return self._portable.tolerance

    def teach(self, tokens: NDArray[np.int64]) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
        for rows, positions, logits in self._portable.teach(tokens):
            yield rows, positions, logits
            self._count(tokens[rows, positions].size)

    def start_logits(self, streams: int) -> LogitContext:
        return _MeteredLogits(self._portable.start_logits(streams), streams, self._count)


def _metered_float(predictor: FloatPredictor, meter: _Meter, passes: int = 1) -> _MeteredFloatPredictor:
    if isinstance(predictor, PortablePredictor):
        return _MeteredPortablePredictor(predictor, meter, passes)
    if isinstance(predictor, TaughtPredictor):
        return _MeteredTaughtPredictor(predictor, meter, passes)
    return _MeteredFloatPredictor(predictor, meter, passes)


def metered(
    predictor: Predictor, report: Report, *, bytes_per_token: float | None = None, verified: bool = True
) -> Predictor:
    """The predictor, metered; what it is to the codec does not change.

    bytes_per_token: for decoding, where it follows from the archive; for encoding it follows from the text. verified:
    whether the codec decodes what it encodes with a float predictor.
    """
    return _metered(predictor, _Meter(report, bytes_per_token, verified=verified))


def _metered(predictor: Predictor, meter: _Meter) -> Predictor:
    if isinstance(predictor, FloatPredictor):
        return _metered_float(predictor, meter)
    if isinstance(predictor, WeightedPredictor):
        return _MeteredWeightedPredictor(predictor, meter)
    if isinstance(predictor, ModelPredictor):
        if isinstance(predictor, FrameEngine):
            return _MeteredFrameEngine(predictor, predictor, meter)
        return _MeteredModelPredictor(predictor, meter)
    return MeteredPredictor(predictor, meter)


class _MeteredLogits:
    def __init__(self, context: LogitContext, streams: int, count: Callable[[int], None]) -> None:
        self._context, self._streams, self._count = context, streams, count

    def next_logits(self) -> NDArray[np.float32]:
        return self._context.next_logits()

    def append(self, tokens: NDArray[np.int64]) -> None:
        self._context.append(tokens)
        self._count(self._streams)


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
    _context: ExactContext

    def intervals(self, tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        intervals = self._context.intervals(tokens)
        self._count(tokens.size)
        return intervals

    def scores(self, tokens: NDArray[np.int64], score: Score) -> NDArray[np.int16]:
        scores = self._context.scores(tokens, score)
        self._count(tokens.size)
        return scores


class _MeteredWeightedExactContext(_MeteredExactContext):
    def __init__(self, context: WeightedExactContext, count: Callable[[int], None]) -> None:
        super().__init__(context, count)
        self._weighted = context

    def next_weights(self) -> NDArray[np.int64]:
        return self._weighted.next_weights()

    def weighed(self, tokens: NDArray[np.int64], score: WeightScore) -> NDArray[np.int64]:
        found = self._weighted.weighed(tokens, score)
        self._count(tokens.size)
        return found


def _metered_context(context: Context, count: Callable[[int], None]) -> Context:
    """Exact contexts stay exact: the codec takes its short cut only with those."""
    if isinstance(context, WeightedExactContext):
        return _MeteredWeightedExactContext(context, count)
    if isinstance(context, ExactContext):
        return _MeteredExactContext(context, count)
    if isinstance(context, WeightedContext):
        return _MeteredWeightedContext(context, count)
    return _MeteredContext(context, count)
