"""llmzip with one predictor as a codec of the bench: what it is made of, and what its archives cost at best.

May import the codec and what lies below it, and ``bench.results``; ``bench`` and ``cli`` import it.
"""

import hashlib
import io
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import zstandard

from llmzip import archive, codec, frames
from llmzip.archive import ByteReader, Frame, Member
from llmzip.bench.results import MICROBITS, MeasuredCodec
from llmzip.errors import UsageError
from llmzip.memory import first_state
from llmzip.model_folder import open_model_folder, tokenizer_files
from llmzip.predictor import FloatPredictor, ModelPredictor, Predictor, WeightedPredictor
from llmzip.predictors import ADAPTIVE, ADAPTIVE_TOKENIZER, Arithmetic, find_parts, load_predictor
from llmzip.scoring import frame_microbits

PACKAGE = Path(__file__).resolve().parents[1]

_NOT_NEEDED_TO_DECODE = {"bench", "cli", "embedded", "training"}


class Modelled:
    """llmzip with one predictor.

    memory: whether it learns from the text at hand; without, it has another name. folder: where its parameters lie, to
    say what is what among them; tokenizer: the folder of its tokenizer, if that is another; origin: what ``modelled``
    made it of, but for threads; as JSON can hold it. Raises UsageError where without memory nothing would be left.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        memory: bool = True,
        folder: Path | None = None,
        tokenizer: Path | None = None,
        origin: dict[str, Any] | None = None,
    ) -> None:
        if not memory and not isinstance(predictor, ModelPredictor):
            raise UsageError(f"{predictor.name} is nothing but memory: leave --no-memory out, or name another model")
        self.origin, tokenizer = origin, tokenizer or folder
        self.predictor, self.memory = predictor, memory
        self.coding = predictor  # what runs: the predictor, perhaps wrapped
        self.description = MeasuredCodec(
            f"llmzip {predictor.name}{'' if memory else ' --no-memory'}",
            "predictor",
            {
                "format_version": archive.FORMAT_VERSION,
                "frame_bytes": frames.FRAME_BYTES,
                "stream_tokens": frames.STREAM_TOKENS,
                "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
                **({} if tokenizer is None else {"tokenizer": _digest(tokenizer)}),
                **({} if memory else {"memory": 0}),
                **(predictor.description() if isinstance(predictor, FloatPredictor) else {}),
            },
            exact=not isinstance(predictor, FloatPredictor),
            fingerprint=predictor.fingerprint.hex(),
            parameter_count=_parameter_count(predictor, folder),
            receiver_bytes={**_stored_bytes(predictor, folder), "decoder": decoder_bytes()},
        )

    def named(self, name: str) -> "Modelled":
        """The same under another name."""
        renamed = copy(self)
        renamed.description = replace(self.description, name=name)
        return renamed

    def followed(self, wrapped: Predictor) -> "Modelled":
        """The same, coding with its predictor in a wrapping that shows how far it is."""
        followed = copy(self)
        followed.coding = wrapped
        return followed

    def compress(self, data: bytes) -> bytes:
        """A whole llmzip archive."""
        return codec.compress(data, self.coding, memory=self.memory)

    def decompress(self, data: bytes) -> bytes:
        """The text of the archive, decoded with the same predictor."""
        return codec.decompress(data, self.coding)


def modelled(
    name: str,
    *,
    threads: int = 0,
    memory: bool = True,
    arithmetic: Arithmetic = "auto",
    dtype: str | None = None,
    device: str | None = None,
    offline: bool = False,
    context: int | None = None,
) -> Modelled:
    """llmzip with a model, all but ``memory`` as for ``load_predictor``. Raises ModelError and UsageError."""
    origin: dict[str, Any] = {
        "name": name,
        "arithmetic": arithmetic,
        "dtype": dtype,
        "device": device,
        "offline": offline,
        "context": context,
    }
    predictor = load_predictor(**origin, threads=threads)
    origin["memory"] = memory
    if name == ADAPTIVE:
        return Modelled(predictor, memory=memory, tokenizer=ADAPTIVE_TOKENIZER.parent, origin=origin)
    return Modelled(predictor, memory=memory, folder=find_parts(name, offline=True)[0], origin=origin)


def _digest(folder: Path) -> str:
    """Of the files of a tokenizer: what its tokens stand for is in the fingerprint, which of them it takes is here."""
    hasher = hashlib.sha256()
    if folder.is_file():  # its metadata, with the tokenizer, stand at its beginning
        with folder.open("rb") as file:
            hasher.update(file.read(1 << 24))
        return hasher.hexdigest()[:16]
    for path in tokenizer_files(folder):
        hasher.update(path.read_bytes())
    return hasher.hexdigest()[:16]


def decoder_bytes() -> int:
    """Bytes of the Python sources that decoding runs, as installed; neither Python itself nor libraries are counted."""
    sources = (
        path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in _NOT_NEEDED_TO_DECODE
    )
    return sum(len(path.read_bytes().replace(b"\r\n", b"\n")) for path in sources)


def _parameter_count(predictor: Predictor, folder: Path | None) -> int:
    if isinstance(predictor, WeightedPredictor):
        return predictor.parameter_count
    return open_model_folder(folder).parameter_count if folder else 0


def _stored_bytes(predictor: Predictor, folder: Path | None) -> dict[str, int]:
    """Weights, tokenizer and the memory's first state as stored; a model's shape, some hundred bytes, is in weights."""
    memory_bytes = first_state.stored_bytes(predictor.token_bytes)
    rest = predictor.parameter_bytes - memory_bytes
    if not isinstance(predictor, ModelPredictor):
        return {"tokenizer": rest, "memory": memory_bytes}
    tokenizer = folder / "tokenizer.json" if folder else None
    tokenizer_bytes = min(tokenizer.stat().st_size if tokenizer and tokenizer.is_file() else 0, rest)
    return {"weights": rest - tokenizer_bytes, "tokenizer": tokenizer_bytes, "memory": memory_bytes}


def frames_of(data: bytes) -> Iterator[Frame]:
    """The frames of an archive with their payloads, checked but not decoded."""
    reader = ByteReader(io.BytesIO(data))
    while not reader.at_end():
        yield from Member(reader)


def as_it_wrote(data: bytes, predictor: Predictor) -> Predictor:
    """The predictor with the settings of an archive of its own."""
    header = Member(ByteReader(io.BytesIO(data))).header
    return frames.opener(header, lambda name: predictor)()


def ideal_microbits(frame: Frame, piece: bytes, predictor: Predictor, known: dict[bytes, int]) -> int:
    """What a frame's decisions cost at best; where no model codes it, its payload is what it costs.

    ``piece``: what the frame decodes to. ``known``: by payload, as ``coder.watched_payloads`` collects them; what is
    not in it is evaluated again, with a ``predictor`` of the archive's settings, and put in.
    """
    if not frame.info.token_count:
        return 8 * MICROBITS * frame.info.payload_bytes
    if frame.payload not in known:
        kind = archive.KIND_NUMBERS[frame.info.kind]
        if kind == archive.PORTABLE:
            raise ValueError("what portable frames cost at best is only known while they are coded")
        known[frame.payload] = frame_microbits(kind, predictor.tokenize(piece), predictor, frame.info.streams)
    return known[frame.payload]
