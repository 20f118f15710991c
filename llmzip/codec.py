"""Bytes to archives and back: splits into frames, lets every frame choose its coding, and checks what comes back.

Compressing and decompressing make the same calls to the predictor in the same order. Prints nothing and has no
callbacks: to follow progress, wrap the predictor. May import ``archive``, ``coder``, ``predictor``, ``predictors``
(only to find an embedded rung by name) and ``errors``.
"""

import io
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
import zstandard
from numpy.typing import NDArray

from llmzip import archive, coder
from llmzip.archive import ArchiveInfo, ByteReader, Frame, FrameInfo
from llmzip.errors import ArchiveError, PredictorMismatchError, UnsupportedVersionError
from llmzip.predictor import FREQUENCY_TOTAL, Context, ExactContext, Predictor

FRAME_BYTES = 1 << 20
"""Original bytes of a frame that a model codes: the unit of random access and of recovery."""

BLOCK_BYTES = 1 << 24
"""Original bytes read at once. zstd may take a whole block as one frame, so that it can use its own long window."""

STREAM_TOKENS = 2048
"""A frame gets one stream for so many tokens: more streams are faster, and each costs about 12 bits of cold start."""

MAXIMUM_DEFAULT_STREAMS = 128

_ZSTD_LEVEL = 19
_SCORE_POSITIONS = 256  # between looks at whether the frame already costs more than its fallback
_CUT_SEARCH_BYTES = 256

Load = Callable[[str], Predictor]


@dataclass(frozen=True)
class LostRange:
    """A piece of a damaged archive that could not be decoded."""

    archive_start: int
    archive_end: int
    original_bytes: int | None
    """How much text is missing there, where the archive still says so."""
    reason: str


@dataclass(frozen=True)
class Decoded:
    """What decompressing did."""

    original_bytes: int
    archive_bytes: int
    lost: tuple[LostRange, ...] = ()


def compress(data: bytes, predictor: Predictor, *, streams: int | None = None, frame_bytes: int = FRAME_BYTES) -> bytes:
    """The archive of ``data``. ``streams``: token sequences of a frame that advance together; None chooses by size."""
    target = io.BytesIO()
    compress_file(io.BytesIO(data), target, predictor, streams=streams, frame_bytes=frame_bytes)
    return target.getvalue()


def decompress(data: bytes, predictor: Predictor | None = None) -> bytes:
    """The bytes of an archive. Without a predictor, the embedded rung that the archive names is loaded.

    Raises ArchiveError, UnsupportedVersionError, PredictorMismatchError, ModelError.
    """
    target = io.BytesIO()
    decompress_file(io.BytesIO(data), target, _load_embedded if predictor is None else lambda name: predictor)
    return target.getvalue()


def _load_embedded(name: str) -> Predictor:
    from llmzip.predictors import load_embedded

    return load_embedded(name)


def compress_file(
    source: BinaryIO,
    target: BinaryIO,
    predictor: Predictor,
    *,
    streams: int | None = None,
    frame_bytes: int = FRAME_BYTES,
) -> ArchiveInfo:
    """Reads ``source`` to its end and writes one member to ``target``. Needs no seeking; memory stays bounded."""
    if not 1 <= frame_bytes <= archive.MAXIMUM_FRAME_BYTES:
        raise ValueError(f"frame_bytes is {frame_bytes}, outside 1 to {archive.MAXIMUM_FRAME_BYTES}")
    if streams is not None and not 1 <= streams <= archive.MAXIMUM_STREAMS:
        raise ValueError(f"streams is {streams}, outside 1 to {archive.MAXIMUM_STREAMS}")
    header = archive.pack_header(predictor.name, predictor.fingerprint)
    target.write(header)
    frames: list[FrameInfo] = []
    offset, digest = len(header), archive.new_digest()
    while block := _read_up_to(source, BLOCK_BYTES):
        digest.update(block)
        for frame in _encode_block(block, predictor, streams, frame_bytes):
            target.write(frame)
            record = archive.read_record(ByteReader(io.BytesIO(frame)))
            assert isinstance(record, Frame)
            frames.append(replace(record.info, offset=offset))
            offset += len(frame)
    sizes = [(frame.archive_bytes, frame.original_bytes) for frame in frames]
    end = archive.pack_end(sizes, digest.digest())
    target.write(end)
    fingerprint = predictor.fingerprint[: archive.FINGERPRINT_BYTES]
    return ArchiveInfo(predictor.name, fingerprint, archive.FORMAT_VERSION, 0, len(header), len(end), tuple(frames))


def _read_up_to(source: BinaryIO, size: int) -> bytes:
    """``size`` bytes, or all that are left: a pipe gives less at a time."""
    parts, missing = [], size
    while missing and (part := source.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _encode_block(block: bytes, predictor: Predictor, streams: int | None, frame_bytes: int) -> list[bytes]:
    """The frames of a block: a model, zstd or stored frame for each piece, or one zstd frame if that is smaller."""
    whole = archive.pack_frame(archive.ZSTD, block, _zstd(block))
    pieces = list(_cut(block, frame_bytes))
    frames = []
    for piece in pieces:
        fallback = min(
            archive.pack_frame(archive.STORED, piece, piece),
            whole if len(pieces) == 1 else archive.pack_frame(archive.ZSTD, piece, _zstd(piece)),
            key=len,
        )
        modelled = _encode_model_frame(piece, predictor, streams, len(fallback))
        frames.append(fallback if modelled is None or len(fallback) <= len(modelled) else modelled)
    return [whole] if len(whole) < sum(map(len, frames)) else frames


def _zstd(data: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_content_size=False, write_checksum=False)
    return compressor.compress(data)


def _cut(block: bytes, frame_bytes: int) -> Iterator[bytes]:
    """Pieces of at most ``frame_bytes``, ending after a line or at least not inside a UTF-8 character."""
    start = 0
    while start < len(block):
        end = min(start + frame_bytes, len(block))
        if end < len(block):
            line_end = block.rfind(b"\n", max(start, end - _CUT_SEARCH_BYTES), end)
            back = end
            while back > max(start, end - 3) and block[back] & 0xC0 == 0x80:
                back -= 1
            end = line_end + 1 if line_end >= 0 else back if back > start else end
        yield block[start:end]
        start = end


def choose_streams(token_count: int) -> int:
    """The default number of streams for a frame."""
    return max(1, min(MAXIMUM_DEFAULT_STREAMS, token_count // STREAM_TOKENS))


def _encode_model_frame(piece: bytes, predictor: Predictor, streams: int | None, limit_bytes: int) -> bytes | None:
    """The frame, or None if it would be larger than ``limit_bytes`` (found out early) or not give the bytes back."""
    tokens = predictor.tokenize(piece)
    if not 1 <= len(tokens) <= len(piece) or predictor.detokenize(tokens) != piece:
        return None
    count = min(streams or choose_streams(len(tokens)), len(tokens))
    budget = 8.0 * limit_bytes
    cumulative: list[NDArray[np.int64]] = []
    frequency: list[NDArray[np.int64]] = []
    for below, own in _intervals(tokens, predictor, count):
        cumulative.append(below)
        frequency.append(own)
        budget -= coder.ideal_bits(own)
        if budget < 0:
            return None
    payload = coder.encode(np.concatenate(cumulative), np.concatenate(frequency))
    return archive.pack_frame(archive.MODEL, piece, payload, len(tokens), count)


def _stream_bounds(token_count: int, streams: int) -> NDArray[np.int64]:
    """[streams + 1] int64: where each stream begins; lengths differ by at most one, longer ones first."""
    lengths = np.full(streams, token_count // streams)
    lengths[: token_count % streams] += 1
    return np.concatenate(([0], np.cumsum(lengths)))


def _intervals(
    tokens: NDArray[np.int64], predictor: Predictor, streams: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(cumulative, frequency) of every token in coding order, some positions at a time."""
    bounds = _stream_bounds(len(tokens), streams)
    shortest, longer = divmod(len(tokens), streams)
    # Streams that are one token shorter are padded; the padding is never coded.
    table = np.zeros((streams, int(bounds[1])), np.int64)
    for row in range(streams):
        table[row, : bounds[row + 1] - bounds[row]] = tokens[bounds[row] : bounds[row + 1]]
    for first, below, own in _scores(predictor.start(streams), table):
        if longer and first + below.shape[1] > shortest:
            yield below[:, :-1].T.ravel(), own[:, :-1].T.ravel()
            yield below[:longer, -1], own[:longer, -1]
        else:
            yield below.T.ravel(), own.T.ravel()


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


def decompress_file(source: BinaryIO, target: BinaryIO, load: Load, *, recover: bool = False) -> Decoded:
    """Decodes every member of ``source`` to ``target``, frame by frame.

    ``load`` is called with the predictor's name when the first frame of a model is met. A frame is written only
    after all its checks. With ``recover`` (which needs a seekable source) damage ends nothing: the frames that are
    whole are written and the rest is listed. Raises ArchiveError, UnsupportedVersionError, PredictorMismatchError,
    and what ``load`` raises.
    """
    if recover:
        return _recover(source, target, load)
    reader, original_bytes = ByteReader(source), 0
    while True:
        header = archive.read_header(reader)
        open_predictor = _opener(header, load)
        frames, digest = [], archive.new_digest()
        while isinstance(record := archive.read_record(reader), Frame):
            data = decode_frame(record, open_predictor)
            digest.update(data)
            target.write(data)
            frames.append(record.info)
            original_bytes += len(data)
        record.check(frames, digest.digest())
        if reader.at_end():
            return Decoded(original_bytes, reader.position)


def _opener(header: ArchiveInfo, load: Load) -> Callable[[], Predictor]:
    """Loads the predictor of a member once, and only if it is the one that wrote it."""
    loaded: list[Predictor] = []

    def open_predictor() -> Predictor:
        if not loaded:
            predictor = load(header.predictor_name)
            if predictor.fingerprint[: archive.FINGERPRINT_BYTES] != header.fingerprint:
                raise PredictorMismatchError(
                    f"the archive was made with {header.predictor_name!r} {header.fingerprint.hex()}, this is "
                    f"{predictor.name!r} {predictor.fingerprint[: archive.FINGERPRINT_BYTES].hex()}: "
                    "name the model that made it with -m, or use the llmzip version that did"
                )
            loaded.append(predictor)
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
        data = predictor.detokenize(_decode_tokens(frame, predictor))
    if len(data) != info.original_bytes or zlib.crc32(data) != frame.content_check:
        raise ArchiveError(f"the frame at byte {info.offset} does not decode to what was written: it is damaged")
    return data


def _unzstd(payload: bytes, original_bytes: int) -> bytes:
    try:
        # One byte of room more: longer content is an error, not a cut.
        decompressor = zstandard.ZstdDecompressor(max_window_size=archive.MAXIMUM_FRAME_BYTES)
        return decompressor.decompress(payload, max_output_size=original_bytes + 1, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ArchiveError(f"a zstd frame cannot be decoded ({error}): the archive is damaged") from None


def _decode_tokens(frame: Frame, predictor: Predictor) -> NDArray[np.int64]:
    info, decoder = frame.info, coder.Decoder(frame.payload)
    # No token is free, not even the likeliest: all others have at least one unit of the 2^24.
    least_bits = -math.log2(1 - (predictor.vocabulary_size - 1) / FREQUENCY_TOTAL)
    if info.token_count * least_bits > 8 * (info.payload_bytes + 8):
        raise ArchiveError(f"the payload at byte {info.offset} is too short for its tokens: the archive is damaged")
    tokens = np.empty(info.token_count, np.int64)
    bounds = _stream_bounds(info.token_count, info.streams)
    shortest, longer = divmod(info.token_count, info.streams)
    context = predictor.start(info.streams)
    newest = np.zeros(info.streams, np.int64)
    for position in range(int(bounds[1])):
        active = info.streams if position < shortest else longer
        newest[:active] = decoder.decode(context.next_frequencies()[:active])
        tokens[bounds[:active] + position] = newest[:active]
        if position + 1 < bounds[1]:
            context.append(newest)
    return tokens


def read_frame(source: BinaryIO, index: int, load: Load) -> bytes:
    """The original bytes of frame ``index``, counted from 0 over the whole file; decodes no other frame.

    Raises ArchiveError (also where there is no such frame) and what ``load`` raises.
    """
    count = 0
    source.seek(0)
    for member in archive.read_members(source):
        if index < count + len(member.frames):
            info = member.frames[index - count]
            source.seek(info.offset)
            record = archive.read_record(ByteReader(source))
            assert isinstance(record, Frame)
            return decode_frame(record, _opener(member, load))
        count += len(member.frames)
    raise ArchiveError(f"there is no frame {index}: the archive has {count}, counted from 0")


def _recover(source: BinaryIO, target: BinaryIO, load: Load) -> Decoded:
    """Writes every frame that is whole; over what is not, goes on at the next frame of the index, or searches one."""
    size = source.seek(0, io.SEEK_END)
    indexed = archive.find_index(source, size)
    lost: list[LostRange] = []
    original_bytes, offset, ended = 0, 0, True
    open_predictor: Callable[[], Predictor] | None = None
    while offset < size:
        source.seek(offset)
        reader = ByteReader(source)
        try:
            if ended:
                open_predictor = _opener(archive.read_header(reader), load)
                ended = False
            else:
                assert open_predictor is not None
                record = archive.read_record(reader)
                if isinstance(record, Frame):
                    target.write(data := decode_frame(record, open_predictor))
                    original_bytes += len(data)
                else:
                    ended = True
            offset += reader.position
        except (ArchiveError, UnsupportedVersionError) as error:
            if open_predictor is None:
                raise ArchiveError(f"nothing can be recovered without the header: {error}") from None
            end = min((place for place in indexed if place > offset), default=None)
            if end is None:
                end = archive.find_next_record(source, offset + 1, size)
            missing = sum(indexed[place] for place in indexed if offset <= place < end) if offset in indexed else None
            lost.append(LostRange(offset, end, missing, str(error)))
            source.seek(end)
            ended = source.read(len(archive.MAGIC)) == archive.MAGIC
            offset = end
    if not ended and not (lost and lost[-1].archive_end == size):
        lost.append(LostRange(size, size, None, "the archive is cut short: its end is missing"))
    if open_predictor is None:
        raise ArchiveError("the archive is empty: nothing can be recovered")
    return Decoded(original_bytes, size, tuple(lost))
