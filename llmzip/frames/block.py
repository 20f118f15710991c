"""A block to its frames: pieces that choose their coding each, or the block as a whole. ``frames`` imports it.

May import ``archive``, ``blocks``, ``parallel``, ``predictor`` and the modules beside it.
"""

from collections.abc import Callable
from functools import partial

from llmzip import archive
from llmzip.archive import Frame
from llmzip.blocks import cut
from llmzip.frames.choice import plain_frame
from llmzip.frames.look import is_hopeless, is_noise
from llmzip.parallel import in_order
from llmzip.predictor import ModelPredictor, Predictor

FRAME_BYTES = 1 << 20
"""Original bytes of a frame that a model codes: the unit of random access and of recovery."""

SMALL_FRAME_BYTES = 1 << 16
"""Original bytes of the frames that a piece is cut into where the model as a whole loses to zstd."""

FRAMES_AT_ONCE = 8
"""At most so many frames are coded by memory alone at the same time: each takes up to 100 MB."""

_INDEX_BYTES = 21
"""Of an index at most, beside the sizes of its frames."""

Encode = Callable[[bytes, int], Frame | None]
"""From a piece of text and the bytes that a frame must stay below to a frame of tokens, or None."""


def frames_at_once(predictor: Predictor) -> int:
    """How many frames without a model are worked on at the same time."""
    return min(predictor.threads, FRAMES_AT_ONCE)


def frames_of_block(block: bytes, predictor: Predictor, encode: Encode, frame_bytes: int) -> list[Frame]:
    """A model, zstd or stored frame for each piece, or one frame without a model for all of it, if that is smaller."""
    if is_noise(block):
        return [archive.new_frame(archive.STORED, block, block)]
    pieces = list(cut(block, frame_bytes))
    if len(pieces) == 1:
        return _frames_of_piece(block, encode)
    tasks: list[Callable[[], list[Frame]]] = [lambda: [plain_frame(block)]]
    tasks += [partial(_frames_of_piece, piece, encode) for piece in pieces]
    # A model uses the threads itself; frames without one are coded side by side.
    at_once = 1 if isinstance(predictor, ModelPredictor) else frames_at_once(predictor)
    whole, *coded = in_order(lambda task: task(), tasks, at_once)
    return min(whole, [frame for frames in coded for frame in frames], key=_archive_bytes)


def _frames_of_piece(piece: bytes, encode: Encode) -> list[Frame]:
    """One frame, or several small ones where the model does not suit all of the piece: files change their language."""
    plain = plain_frame(piece)
    plain_bytes = plain.info.archive_bytes
    modelled = None if is_hopeless(piece, plain_bytes) else encode(piece, plain_bytes)
    if modelled is not None and modelled.info.archive_bytes < plain_bytes:
        return [modelled]
    if len(piece) <= SMALL_FRAME_BYTES:
        return [plain]
    parts = [frame for part in cut(piece, SMALL_FRAME_BYTES) for frame in _frames_of_piece(part, encode)]
    return min([plain], parts, key=_archive_bytes)


def _archive_bytes(frames: list[Frame]) -> int:
    """What frames take of an archive, with their places in an index, and with an index if they need one."""
    return sum(archive.indexed_bytes(frame.info) for frame in frames) + _INDEX_BYTES * (len(frames) > 1)
