"""One frame: a piece of text to a model's payload, and any frame back to its bytes.

Encoding and decoding make the same calls to the predictor in the same order. Knows archives frame by frame and no
files. May import ``archive``, ``coder``, ``grouped``, ``memory``, ``parallel``, ``portable``, ``predictor`` and
``errors``; ``codec`` and ``recovery`` import it.
"""

import math
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import zstandard
from numpy.typing import NDArray

from llmzip import archive, coder, grouped
from llmzip.archive import ArchiveInfo, Frame
from llmzip.errors import ArchiveError, PredictorMismatchError
from llmzip.parallel import ahead
from llmzip.predictor import (
    FREQUENCY_TOTAL,
    Context,
    ExactContext,
    FloatPredictor,
    ModelPredictor,
    PortablePredictor,
    Predictor,
    Score,
    WeightedContext,
)

if TYPE_CHECKING:
    from llmzip.memory.mixing import Memory, Vocabulary

MEMORY_TOKENS = 1024
"""A model codes shorter texts without memory: they have little to learn from, and compiled code takes time to load."""

STREAM_TOKENS = 2048
"""A frame gets one stream for so many tokens: more streams are faster, and each costs about 12 bits of cold start."""

PORTABLE_STREAM_TOKENS = 6144
"""At least so many for portable frames, which are encoded all at once whatever their streams: starting in the middle of
a text costs models that may know texts from their beginning only 25 to 125 bits."""

_ZSTD_LEVEL = 19
_SCORE_POSITIONS = 64  # scored by the model while memory codes those before, and between looks at what they cost
_ALONE_POSITIONS = 4096

Load = Callable[[str], Predictor]
"""Gives the predictor of a name that an archive holds."""


def zstd_payload(data: bytes) -> bytes:
    """The zstd coding of ``data`` without what the frame says anyway."""
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_content_size=False, write_checksum=False)
    return compressor.compress(data)


def choose_streams(token_count: int, stream_tokens: int) -> int:
    """The number of streams for a frame, so that each has about ``stream_tokens``."""
    return max(1, min(archive.MAXIMUM_STREAMS, token_count // stream_tokens))


def streams_for(
    predictor: Predictor, token_count: int, *, streams: int | None = None, stream_tokens: int = STREAM_TOKENS
) -> int:
    """The number of streams for a frame of this predictor: as many as asked for, or one every ``stream_tokens``."""
    if isinstance(predictor, PortablePredictor):
        stream_tokens = max(PORTABLE_STREAM_TOKENS, stream_tokens)
    count = min(streams or choose_streams(token_count, stream_tokens), token_count)
    return min(count, predictor.most_streams) if isinstance(predictor, FloatPredictor) else count


class Limit:
    """What a frame must not exceed to be of use. It falls while several codings of a piece are tried at once."""

    def __init__(self, limit_bytes: int) -> None:
        self.bytes = limit_bytes

    def lower(self, limit_bytes: int) -> None:
        """Sets it to ``limit_bytes`` if that is less."""
        self.bytes = min(self.bytes, limit_bytes)


def encode_token_frame(
    piece: bytes,
    predictor: Predictor,
    streams: int | None,
    limit_bytes: int,
    *,
    memory: bool,
    stream_tokens: int = STREAM_TOKENS,
) -> bytes | None:
    """The smallest frame of tokens; None if none is below ``limit_bytes`` (found out early) or gives the bytes back.

    ``streams``: their number, None for one every ``stream_tokens`` (see ``streams_for``).
    ``memory``: whether texts are coded with memory: any where there is no model, else those that are long enough to
    learn from. Memory alone is tried beside model and memory, in another thread where the predictor may have one; each
    gives up once it costs more than the other, which never changes which of them is the smaller.
    """
    tokens = predictor.tokenize(piece)
    if not 1 <= len(tokens) <= len(piece) or predictor.detokenize(tokens) != piece:
        return None
    count = streams_for(predictor, len(tokens), streams=streams, stream_tokens=stream_tokens)
    limit = Limit(limit_bytes)

    def frame(kind: int) -> bytes | None:
        number = 1 if kind == archive.MEMORY else count
        if isinstance(predictor, PortablePredictor) and kind == archive.PORTABLE:
            payload = encode_portable(tokens, predictor, number)
        else:
            payload = encode_intervals(intervals(kind, tokens, predictor, number), limit)
        if payload is None:
            return None
        packed = archive.pack_frame(kind, piece, payload, len(tokens), number)
        limit.lower(len(packed))
        return packed

    kind = choose_kind(predictor, len(tokens), memory=memory)
    if kind != archive.MODEL_AND_MEMORY:
        return None if kind is None else frame(kind)
    if predictor.threads == 1:
        found = [frame(archive.MEMORY), frame(archive.MODEL_AND_MEMORY)]
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as beside:
            alone = beside.submit(frame, archive.MEMORY)
            try:
                with_model = frame(archive.MODEL_AND_MEMORY)
                found = [alone.result(), with_model]
            finally:
                limit.lower(0)  # after an interrupt, the other ends soon
    return min(filter(None, found), key=len, default=None)


def choose_kind(predictor: Predictor, token_count: int, *, memory: bool) -> int | None:
    """The kind of frame that codes so many tokens; None where there is neither model nor memory."""
    if not isinstance(predictor, ModelPredictor):
        return archive.MEMORY if memory else None
    if isinstance(predictor, PortablePredictor):
        return archive.PORTABLE
    if memory and token_count >= MEMORY_TOKENS:
        return archive.MODEL_AND_MEMORY
    is_large = predictor.vocabulary_size > grouped.LARGEST_FLAT_VOCABULARY
    return archive.GROUPED if is_large and isinstance(predictor, FloatPredictor) else archive.MODEL


def encode_intervals(intervals: Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]], limit: Limit) -> bytes | None:
    """The payload of the intervals, or None as soon as it is clear that it is larger than the limit."""
    bits = 0.0
    encoder = coder.Encoder()
    for below, own in intervals:
        encoder.encode(below, own)
        bits += coder.ideal_bits(own)
        if bits > 8.0 * limit.bytes:
            return None
    return encoder.payload()


def intervals(
    kind: int, tokens: NDArray[np.int64], predictor: Predictor, streams: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(cumulative, frequency) of all that a payload of this kind, which is not portable, codes, in order."""
    if kind == archive.MODEL:
        return token_intervals(tokens, with_model(predictor), streams)
    if kind == archive.GROUPED:
        return group_intervals(tokens, with_model(predictor), streams)
    return memory_intervals(tokens, predictor, streams, alone=kind == archive.MEMORY)


def with_model(predictor: Predictor) -> ModelPredictor:
    """ArchiveError where a frame asks for a model and the predictor is a tokenizer only."""
    if not isinstance(predictor, ModelPredictor):
        raise ArchiveError(f"a frame needs a model and {predictor.name!r} has none: the archive is damaged")
    return predictor


@lru_cache(maxsize=4)
def _vocabulary(token_bytes: tuple[bytes, ...]) -> "Vocabulary":
    from llmzip.memory.mixing import Vocabulary  # imports numba, which short texts need not wait for

    return Vocabulary(token_bytes)


def _memory(predictor: Predictor, token_count: int, streams: int, *, alone: bool) -> "Memory":
    from llmzip.memory.mixing import Memory

    return Memory(_vocabulary(predictor.token_bytes), token_count, streams, alone=alone)


def _stream_bounds(token_count: int, streams: int) -> NDArray[np.int64]:
    """[streams + 1] int64: where each stream begins; lengths differ by at most one, longer ones first."""
    lengths = np.full(streams, token_count // streams)
    lengths[: token_count % streams] += 1
    return np.concatenate(([0], np.cumsum(lengths)))


def _dealt(tokens: NDArray[np.int64], streams: int) -> NDArray[np.int64]:
    """[streams, length]: each stream's tokens. Streams that are one token shorter are padded; that is never coded."""
    bounds = _stream_bounds(len(tokens), streams)
    table = np.zeros((streams, int(bounds[1])), np.int64)
    for row in range(streams):
        table[row, : bounds[row + 1] - bounds[row]] = tokens[bounds[row] : bounds[row + 1]]
    return table


def memory_intervals(
    tokens: NDArray[np.int64], predictor: Predictor, streams: int, *, alone: bool
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(cumulative, frequency) of every decision in coding order, some positions at a time."""
    table, memory = _dealt(tokens, streams), _memory(predictor, len(tokens), streams, alone=alone)
    if alone:
        for first in range(0, table.shape[1], _ALONE_POSITIONS):
            yield memory.intervals(table[:, first : first + _ALONE_POSITIONS])
        return
    context, score = with_model(predictor).start(streams), _vocabulary(predictor.token_bytes).odds
    scored = _model_odds(context, score, table)
    for part, odds in scored if predictor.threads == 1 else ahead(scored):
        yield memory.intervals(part, odds)


def _model_odds(
    context: Context, score: Score, table: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int16]]]:
    """(tokens, the model's log-odds on the way to each), some positions of all streams at a time."""
    for first in range(0, table.shape[1], _SCORE_POSITIONS):
        part = table[:, first : first + _SCORE_POSITIONS]
        if isinstance(context, ExactContext):
            yield part, context.scores(part, score)
            continue
        columns = []
        for position in range(part.shape[1]):
            columns.append(score(context.next_frequencies(), part[:, position]))
            context.append(part[:, position])
        yield part, np.stack(columns, 1)


def token_intervals(
    tokens: NDArray[np.int64], predictor: ModelPredictor, streams: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(cumulative, frequency) of every token in coding order, some positions at a time."""
    shortest, longer = divmod(len(tokens), streams)
    table = _dealt(tokens, streams)
    for first, below, own in _scores(predictor.start(streams), table):
        if longer and first + below.shape[1] > shortest:
            yield below[:, :-1].T.ravel(), own[:, :-1].T.ravel()
            yield below[:longer, -1], own[:longer, -1]
        else:
            yield below.T.ravel(), own.T.ravel()


def encode_portable(tokens: NDArray[np.int64], predictor: PortablePredictor, streams: int) -> bytes | None:
    """The payload of a portable frame; None where the predictor's tolerance is too large for some token."""
    from llmzip.portable import Portable  # imports numba

    return Portable(predictor).encode(_dealt(tokens, streams), np.diff(_stream_bounds(len(tokens), streams)).tolist())


def _decode_portable_tokens(frame: Frame, predictor: Predictor) -> NDArray[np.int64]:
    from llmzip.portable import Portable

    if not isinstance(predictor, PortablePredictor):
        raise ArchiveError("a portable frame of a model that is not: the archive is damaged")
    bounds = _stream_bounds(frame.info.token_count, frame.info.streams)
    table = Portable(predictor).decode(frame.payload, np.diff(bounds).tolist())
    return np.concatenate([row[:length] for row, length in zip(table, np.diff(bounds), strict=True)])


def group_intervals(
    tokens: NDArray[np.int64], predictor: ModelPredictor, streams: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(cumulative, frequency) of the two symbols of every token in coding order, a position at a time."""
    shortest, longer = divmod(len(tokens), streams)
    context = _weighted(predictor.start(streams))
    for position, column in enumerate(_dealt(tokens, streams).T):
        active = streams if position < shortest else longer
        below, own = grouped.intervals(context.next_weights()[:active], column[:active])
        yield below.ravel(), own.ravel()
        context.append(column)


def _weighted(context: Context) -> WeightedContext:
    if not isinstance(context, WeightedContext):
        raise ArchiveError("a frame of another kind of model than this one: the archive is damaged")
    return context


def _read_flat(decoder: coder.Decoder, context: Context, active: int) -> NDArray[np.int64]:
    return decoder.decode(context.next_frequencies()[:active])


def _read_groups(decoder: coder.Decoder, context: Context, active: int) -> NDArray[np.int64]:
    return grouped.decode(decoder, _weighted(context).next_weights()[:active])


def _scores(context: Context, tokens: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """(first position, cumulative, frequency [streams, positions]): at once where that is exact, else step by step."""
    for first in range(0, tokens.shape[1], _SCORE_POSITIONS):
        part = tokens[:, first : first + _SCORE_POSITIONS]
        if isinstance(context, ExactContext):
            yield first, *context.intervals(part)
            continue
        below, own = np.empty_like(part), np.empty_like(part)
        rows = np.arange(len(part))
        for step in range(part.shape[1]):
            frequencies = context.next_frequencies()
            own[:, step] = frequencies[rows, part[:, step]]
            below[:, step] = np.cumsum(frequencies, axis=1)[rows, part[:, step]] - own[:, step]
            context.append(part[:, step])
        yield first, below, own


def opener(header: ArchiveInfo, load: Load) -> Callable[[], Predictor]:
    """Loads the predictor of a member once, and only if it is the one that wrote it."""
    loaded: list[Predictor] = []

    def open_predictor() -> Predictor:
        if not loaded:
            predictor = load(header.predictor_name)
            if predictor.fingerprint[: archive.FINGERPRINT_BYTES] != header.fingerprint:
                here = predictor.fingerprint[: archive.FINGERPRINT_BYTES].hex()
                found = f"this is {predictor.name!r} {here}"
                if predictor.name == header.predictor_name:
                    found = (
                        f"the one of that name here has other weights, another tokenizer or other arithmetic ({here})"
                    )
                raise PredictorMismatchError(
                    f"the archive was made with {header.predictor_name!r} {header.fingerprint.hex()}, {found}: "
                    "name the model that made it with -m, or use the llmzip version that did"
                )
            loaded.append(predictor.restored(header.settings) if isinstance(predictor, FloatPredictor) else predictor)
        return loaded[0]

    return open_predictor


def decode_frame(frame: Frame, open_predictor: Callable[[], Predictor]) -> bytes:
    """The original bytes of a frame, checked. Raises ArchiveError."""
    info = frame.info
    if info.kind == "stored":
        data = frame.payload
    elif info.kind == "zstd":
        data = _unzstd(frame.payload, info.original_bytes)
    else:
        predictor = open_predictor()
        predictor = open_predictor()
        rounds = isinstance(predictor, FloatPredictor) and info.kind != "memory"
        try:
            data = predictor.detokenize(_DECODERS[info.kind](frame, predictor))
            if rounds and zlib.crc32(data) != frame.content_check:
                raise ArchiveError("another text")
        except ArchiveError as error:
            if not rounds:
                raise
            # The payload is whole, its check was made.
            raise PredictorMismatchError(
                f"the frame at byte {info.offset} does not decode with {predictor.name!r} here ({error}): this machine "
                "computes otherwise than the one that made it; decompress it there"
            ) from None
    if len(data) != info.original_bytes or zlib.crc32(data) != frame.content_check:
        raise ArchiveError(f"the frame at byte {info.offset} does not decode to what was written: it is damaged")
    return data


def _unzstd(payload: bytes, original_bytes: int) -> bytes:
    try:
        # A size that the zstd frame states itself would be believed before the limit below.
        if zstandard.frame_content_size(payload) not in (-1, original_bytes):
            raise ArchiveError("a zstd frame states another size than its frame does: the archive is damaged")
        # One byte of room more: longer content is an error, not a cut.
        decompressor = zstandard.ZstdDecompressor(max_window_size=archive.MAXIMUM_FRAME_BYTES)
        return decompressor.decompress(payload, max_output_size=original_bytes + 1, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ArchiveError(f"a zstd frame cannot be decoded ({error}): the archive is damaged") from None


def _decode_tokens(
    frame: Frame,
    predictor: Predictor,
    read: Callable[[coder.Decoder, Context, int], NDArray[np.int64]] = _read_flat,
) -> NDArray[np.int64]:
    """``read`` gives the next token of each active stream."""
    info, decoder = frame.info, coder.Decoder(frame.payload)
    # No token is free, not even the likeliest: all others have at least one unit of the 2^24.
    symbols = predictor.vocabulary_size
    if read is _read_groups:
        symbols = -(-symbols // grouped.group_size(symbols))
    least_bits = -math.log2(1 - (symbols - 1) / FREQUENCY_TOTAL)
    if info.token_count * least_bits > 8 * (info.payload_bytes + 8):
        raise ArchiveError(f"the payload at byte {info.offset} is too short for its tokens: the archive is damaged")
    tokens = np.empty(info.token_count, np.int64)
    bounds = _stream_bounds(info.token_count, info.streams)
    shortest, longer = divmod(info.token_count, info.streams)
    context = with_model(predictor).start(info.streams)
    newest = np.zeros(info.streams, np.int64)
    for position in range(int(bounds[1])):
        active = info.streams if position < shortest else longer
        newest[:active] = read(decoder, context, active)
        tokens[bounds[:active] + position] = newest[:active]
        if position + 1 < bounds[1]:
            context.append(newest)
    return tokens


def _decode_lone_memory_tokens(frame: Frame, predictor: Predictor) -> NDArray[np.int64]:
    info = frame.info
    reader = _memory(predictor, info.token_count, info.streams, alone=True).reader(frame.payload)
    bounds = _stream_bounds(info.token_count, info.streams)
    counts = [min(_ALONE_POSITIONS, int(bounds[1]) - first) for first in range(0, int(bounds[1]), _ALONE_POSITIONS)]
    table = np.concatenate([reader.next_positions(count) for count in counts], 1)
    return np.concatenate([table[row, : bounds[row + 1] - bounds[row]] for row in range(info.streams)])


def _decode_memory_tokens(frame: Frame, predictor: Predictor) -> NDArray[np.int64]:
    info = frame.info
    reader = _memory(predictor, info.token_count, info.streams, alone=False).reader(frame.payload)
    tokens = np.empty(info.token_count, np.int64)
    bounds = _stream_bounds(info.token_count, info.streams)
    context = with_model(predictor).start(info.streams)
    padded = np.zeros(info.streams, np.int64)
    for position in range(int(bounds[1])):
        newest = reader.next_tokens(context.next_frequencies())
        tokens[bounds[: len(newest)] + position] = padded[: len(newest)] = newest
        if position + 1 < bounds[1]:
            context.append(padded)
    return tokens


_DECODERS: dict[str, Callable[[Frame, Predictor], NDArray[np.int64]]] = {
    "model": _decode_tokens,
    "model in groups": partial(_decode_tokens, read=_read_groups),
    "model+memory": _decode_memory_tokens,
    "memory": _decode_lone_memory_tokens,
    "portable model": _decode_portable_tokens,
}
