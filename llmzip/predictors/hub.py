"""Any causal language model of transformers as a predictor: lossless where it is computed alike.

Floating-point sums depend on the shapes, the threads and the machine, so encoding runs the decoder's own schedule: a
token a step, all streams in batches of one fixed width (rows that are not used are padded), one number of threads, one
rule for the context. Those settings and a digest of what they gave here travel in the archive. What loads and runs a
model is ``hub_model``. May import ``memory`` (for the fingerprint), ``parallel``, ``predictor``, ``errors`` and the
modules beside it.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelError, PredictorMismatchError, UsageError
from llmzip.memory import first_state
from llmzip.model_folder import ModelFolder, open_model_folder
from llmzip.parallel import usable_cores
from llmzip.predictor import FLOAT_PREFIX
from llmzip.predictors.guarded_tokenizer import GuardedTokenizer
from llmzip.predictors.hub_model import DTYPES, ENVIRONMENT, HubModel, has_device, read_tokenizer
from llmzip.predictors.versions import Versioned

HUB_VERSION = 1
"""Part of every fingerprint: raise it with any change of tokens or windows."""

TABLES_VERSION = 2
"""Part of all other settings: raise it with any change that moves a frequency, if by one unit."""

MOST_THREADS = 256
BYTES_A_ROW = 8192
"""Of text, for each row of a batch: the codec has about one stream for so many."""
LARGEST_BATCH = 128
CACHE_LIMIT_BYTES = 4 << 30

PORTABLE_MARK = "p"
"""Begins the settings of portable archives."""
DRIFT_FACTOR = 4
"""Tolerance of log-odds over their largest drift that was measured here: machines may differ more than schedules."""
LARGEST_UNITS = 1 << 20
_DRIFT_POSITIONS = 128
_TAUGHT_NUMBERS = 1 << 26
"""Logits of a forward pass at most, as far as one row allows: 256 MiB."""
_ESCAPE_NATS = 18 * math.log(2)

_PROBE_STEPS, _PROBE_PREFIX = 12, 20


@dataclass(frozen=True)
class Arithmetic:
    """What a frequency depends on besides model and tokens."""

    dtype: str
    device: str
    batch: int
    window: int
    """0 for models whose state does not grow."""
    threads: int

    def text(self) -> str:
        """For archives, and the beginning of the numerics digest."""
        return f"{TABLES_VERSION};{self.dtype};{self.device};{self.batch};{self.window};{self.threads}"


def _parse(settings: bytes) -> tuple[Arithmetic, str, dict[str, str]]:
    """Arithmetic, digest and environment of what ``HubPredictor.settings`` gave. PredictorMismatchError."""
    try:
        version, dtype, device, batch, window, threads, digest, *environment = settings.decode("ascii").split(";")
        if version != str(TABLES_VERSION):
            raise ValueError(f"version {version}")
        arithmetic = Arithmetic(dtype, device, int(batch), int(window), int(threads))
        if dtype not in DTYPES or not 1 <= arithmetic.batch <= 256 or not 1 <= arithmetic.threads <= MOST_THREADS:
            raise ValueError(f"{dtype}, batches of {batch}, {threads} threads")
        if arithmetic.text().encode() + b";" != settings[: len(arithmetic.text()) + 1]:
            raise ValueError("numbers in another form")
    except ValueError as error:
        raise _unusable(error) from None
    return arithmetic, digest, dict(zip(ENVIRONMENT, environment, strict=False))


def _unusable(error: ValueError) -> PredictorMismatchError:
    return PredictorMismatchError(
        f"the archive's settings for a float model cannot be used ({error}): use the llmzip version that wrote it"
    )


Made = TypeVar("Made", bound="HubPredictor")


class HubContext:
    """Streams as the rows of one batch, the rest of it padded; see ``llmzip.predictor.WeightedContext``."""

    def __init__(self, predictor: "HubPredictor", streams: int) -> None:
        self.streams = streams
        self._predictor, self._tokenizer = predictor, predictor.tokenizer
        self._model, self._arithmetic = predictor.model, predictor.arithmetic
        # What each row has seen since its window began.
        self._seen = np.full((self._arithmetic.batch, 1), self._model.start_token, np.int64)
        self._all, self._carried = self._model.step(self._seen, None, self._arithmetic.threads)

    @property
    def logits(self) -> NDArray[np.float32]:
        """[streams, width] before the next tokens."""
        return self._all[: self.streams]

    def next_frequencies(self) -> NDArray[np.int64]:
        return self._predictor.frequencies(self.logits)

    def next_weights(self) -> NDArray[np.int64]:
        return self._predictor.weights(self.logits)

    def append(self, tokens: NDArray[np.int64]) -> None:
        model, window, carried = self._model, self._arithmetic.window, self._carried
        fed = np.zeros((self._arithmetic.batch, 1), np.int64)
        fed[: self.streams, 0] = self._tokenizer.known(tokens)
        if window:
            self._seen = np.concatenate((self._seen, fed), 1)
            if self._seen.shape[1] > window:
                fed = self._seen = np.concatenate((self._seen[:, :1], self._seen[:, -(window // 2) :]), 1)
                carried = None
            if not model.carried:
                fed = self._seen
        self._all, self._carried = model.step(fed, carried, self._arithmetic.threads)


class HubPredictor(Versioned):
    """See ``llmzip.predictor.FloatPredictor``."""

    threads = 1
    """Of ours: torch has its own, and computes alike only where it is called from one thread."""

    def __init__(
        self,
        folder: ModelFolder,
        tokenizer: GuardedTokenizer,
        name: str,
        fingerprint_of: Callable[[int], bytes],
        load: Callable[[str, str], HubModel],
        arithmetic: Arithmetic,
        asked_device: str | None = None,
    ) -> None:
        super().__init__(fingerprint_of, first_state.in_folder(folder.path))
        self._folder, self.tokenizer, self.name, self._fingerprint_of = folder, tokenizer, name, fingerprint_of
        self._load, self.arithmetic, self._asked_device = load, arithmetic, asked_device
        self.parameter_bytes = (
            folder.weight_bytes
            + (folder.path / "config.json").stat().st_size
            + tokenizer.stored_bytes
            + first_state.stored_bytes(tokenizer.token_bytes, self.first_state)
        )
        self.vocabulary_size = tokenizer.size
        self.token_bytes = tokenizer.token_bytes

    def description(self) -> dict[str, str | int]:
        return {"dtype": self.arithmetic.dtype, "device": self.arithmetic.device.partition(":")[0]}

    def made_portable(self) -> "PortableHubPredictor":
        """The same model for portable archives."""
        device = replace(self.arithmetic, device=self._asked_device or "cpu")
        return self._like(PortableHubPredictor, device)

    def _like(self, kind: "type[Made]", arithmetic: Arithmetic) -> "Made":
        """The same model and memory as another kind of predictor, or with other settings."""
        made = kind(
            self._folder, self.tokenizer, self.name, self._fingerprint_of, self._load, arithmetic, self._asked_device
        )
        made.memory_version = self.memory_version
        return made

    @property
    def most_streams(self) -> int:
        return self.arithmetic.batch

    @cached_property
    def model(self) -> HubModel:
        """Loaded on first use."""
        return self._load(self.arithmetic.dtype, self.arithmetic.device)

    def tokenize(self, data: bytes) -> NDArray[np.int64]:
        return self.tokenizer.tokenize(data)

    def detokenize(self, tokens: NDArray[np.int64]) -> bytes:
        return self.tokenizer.detokenize(tokens)

    @property
    def model_size(self) -> int:
        return self.tokenizer.model_size

    def frequencies(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        from llmzip.predictors.float_tables import frequencies

        return frequencies(logits, self.tokenizer.model_size, escapes=self.tokenizer.has_escapes)

    def weights(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        from llmzip.predictors.float_tables import weights

        return weights(logits, self.tokenizer.model_size, escapes=self.tokenizer.has_escapes)

    def logits(self, tokens: NDArray[np.int64]) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
        """See ``llmzip.predictor.LogitPredictor``: runs over the windows of ``HubContext``, some rows at a time."""
        known, window, length = (
            self.tokenizer.known(tokens),
            self.arithmetic.window or self.model.window,
            tokens.shape[1],
        )
        first, seen = 0, np.full((len(tokens), 1), self.model.start_token, np.int64)
        while first < length:
            count = length - first if not window else min(length - first, window - seen.shape[1] + 1)
            fed = np.concatenate((seen, known[:, first : first + count - 1]), 1)
            rows = max(1, _TAUGHT_NUMBERS // (fed.shape[1] * self.model.width))
            for row in range(0, len(tokens), rows):
                found = self.model.all_logits(fed[row : row + rows], self.arithmetic.threads)[:, -count:]
                yield slice(row, row + rows), slice(first, first + count), found
            first += count
            seen = np.concatenate((fed[:, :1], fed[:, 1:], known[:, first - 1 : first]), 1)[:, -(window // 2) :]
            seen = np.concatenate((fed[:, :1], seen), 1)

    def start(self, streams: int) -> HubContext:
        if streams > self.arithmetic.batch:
            raise PredictorMismatchError(
                f"a frame has {streams} streams, its settings allow {self.arithmetic.batch}: the archive is damaged"
            )
        return HubContext(self, streams)

    def fitted(self, original_bytes: int, streams: int | None) -> "HubPredictor":
        rows = streams or 1 << (max(1, min(LARGEST_BATCH, original_bytes // BYTES_A_ROW)) - 1).bit_length()
        most = max(1, CACHE_LIMIT_BYTES // max(1, self.model.row_bytes))
        return self._with(replace(self.arithmetic, batch=min(rows, most), window=self.model.window))

    def restored(self, settings: bytes) -> "HubPredictor":
        if settings.startswith(PORTABLE_MARK.encode()):
            return self.made_portable().restored(settings)
        arithmetic, digest, environment = _parse(settings)
        if self._asked_device not in (None, arithmetic.device):
            raise PredictorMismatchError(
                f"the archive was made on {arithmetic.device}, --device says {self._asked_device}: leave it out"
            )
        if not has_device(arithmetic.device):
            raise PredictorMismatchError(
                f"the archive was made on {arithmetic.device!r}, which torch does not have here: decompress it there"
            )
        made = self._with(arithmetic)
        made._check_window()
        here = made.model.environment()
        if made.numerics != digest:
            names = [
                f"{n} {environment.get(n)!r} there, {here[n]!r} here" for n in here if here[n] != environment.get(n)
            ]
            differ = "; ".join(names) or "its settings, the machine or a library below torch"
            raise PredictorMismatchError(
                f"this machine computes {self.name} otherwise than the one that made the archive ({differ}): "
                "decompress it where it was made, or with the same versions"
            )
        return made

    def _check_window(self) -> None:
        """What an archive says must be possible here."""
        batch, window = self.arithmetic.batch, self.arithmetic.window
        if not 0 <= window <= self.model.window or (window < 2) != (self.model.window < 2):
            raise PredictorMismatchError(f"the archive has a window of {window} tokens, which {self.name} cannot have")
        if batch * self.model.row_bytes > CACHE_LIMIT_BYTES:
            raise ModelError(f"{batch} streams of {self.name} need more than {CACHE_LIMIT_BYTES >> 30} GiB of cache")

    def _with(self, arithmetic: Arithmetic) -> "HubPredictor":
        made = self._like(type(self), arithmetic)
        if (arithmetic.dtype, arithmetic.device) == (self.arithmetic.dtype, self.arithmetic.device):
            made.__dict__["model"] = self.model
        return made

    @cached_property
    def numerics(self) -> str:
        """Digest of the settings and of the tables that they give on some tokens, in hexadecimal."""
        hasher = hashlib.blake2b(self.arithmetic.text().encode(), digest_size=8)
        batch, rng = self.arithmetic.batch, np.random.default_rng(5)
        tokens = rng.integers(0, self.tokenizer.model_size, (batch, _PROBE_STEPS + _PROBE_PREFIX))
        context = self.start(batch)
        for step in range(_PROBE_STEPS):
            hasher.update(context.next_frequencies().astype("<i8").tobytes())
            context.append(tokens[:, step])
        hasher.update(context.next_frequencies().astype("<i8").tobytes())
        if self.arithmetic.window:
            prefix = tokens[:, -min(_PROBE_PREFIX, self.arithmetic.window - 1) :]
            logits, _ = self.model.step(prefix, None, self.arithmetic.threads)
            hasher.update(logits.astype("<f4").tobytes())
        return hasher.hexdigest()

    def settings(self) -> bytes:
        environment = self.model.environment()
        return ";".join((self.arithmetic.text(), self.numerics, *environment.values())).encode()


class _Logits:
    """See ``llmzip.predictor.LogitContext``."""

    def __init__(self, context: HubContext, tokenizer: GuardedTokenizer) -> None:
        self._context, self._tokenizer = context, tokenizer

    def next_logits(self) -> NDArray[np.float32]:
        return _with_escapes(self._context.logits, self._tokenizer)

    def append(self, tokens: NDArray[np.int64]) -> None:
        self._context.append(tokens)


def _with_escapes(logits: NDArray[np.float32], tokenizer: GuardedTokenizer) -> NDArray[np.float32]:
    """[..., vocabulary]: the logits of tokens with a name, and of the escapes. ModelError where one is not finite."""
    logits = logits[..., : tokenizer.model_size]
    if not np.isfinite(logits).all():
        raise ModelError("the model gives what is not a number: portable archives need finite logits")
    if not tokenizer.has_escapes:
        return logits
    largest = logits.max(-1, keepdims=True).astype(np.float64)
    total = largest + np.log(np.exp(logits - largest).sum(-1, keepdims=True))
    escapes = np.broadcast_to(total - _ESCAPE_NATS, (*logits.shape[:-1], 256))
    return np.concatenate((logits, escapes.astype(np.float32)), -1)


class PortableHubPredictor(HubPredictor):
    """See ``llmzip.predictor.PortablePredictor``: its archives decode where log-odds are within a tolerance."""

    units = 0
    """The tolerance is so many times 2^-20."""
    grid_version = 2
    """Which grids, the number after the mark in the settings: 1 is still read."""

    def description(self) -> dict[str, str | int]:
        return {**super().description(), "portable": 1}

    @property
    def tolerance(self) -> float:
        return self.units / (1 << 20)

    def start_logits(self, streams: int) -> _Logits:
        return _Logits(self.start(streams), self.tokenizer)

    def teach(self, tokens: NDArray[np.int64]) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
        for rows, positions, logits in self.logits(tokens):
            yield rows, positions, _with_escapes(logits, self.tokenizer)

    def fitted(self, original_bytes: int, streams: int | None) -> "PortableHubPredictor":
        fitted = super().fitted(original_bytes, streams)
        assert isinstance(fitted, PortableHubPredictor)
        fitted.units = self.units or fitted.measured_units()
        return fitted

    def measured_units(self) -> int:
        """From the largest difference between one forward pass and steps, on tokens of no meaning, on this machine."""
        length = min(_DRIFT_POSITIONS, self.arithmetic.window or _DRIFT_POSITIONS)
        tokens = np.random.default_rng(6).integers(0, self.tokenizer.model_size, (self.arithmetic.batch, length))
        drift = float(np.abs(self.odds_stepwise(tokens) - self.odds_taught(tokens)).max())
        return max(1, min(LARGEST_UNITS, math.ceil(DRIFT_FACTOR * drift * (1 << 20))))

    def odds_stepwise(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """[batch, n, depth] nats: the log-odds on the way to each of [batch, n] tokens, as a decoder gets them."""
        from llmzip.memory.odds import path_odds, tree_of

        tree, context, odds = tree_of(self.token_bytes), self.start_logits(len(tokens)), []
        for column in tokens.T:
            odds.append(path_odds(context.next_logits(), column, tree))
            context.append(column)
        return np.stack(odds, 1)

    def odds_taught(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """The same as an encoder gets them."""
        from llmzip.memory.odds import path_odds, tree_of

        tree = tree_of(self.token_bytes)
        odds = np.empty((*tokens.shape, tree.depth))
        for rows, positions, logits in self.teach(tokens):
            part = tokens[rows, positions]
            found = path_odds(logits.reshape(part.size, -1), part.ravel(), tree)
            odds[rows, positions] = found.reshape(*part.shape, -1)
        return odds

    def _with(self, arithmetic: Arithmetic) -> "PortableHubPredictor":
        made = super()._with(arithmetic)
        assert isinstance(made, PortableHubPredictor)
        made.units, made.grid_version = self.units, self.grid_version
        return made

    def settings(self) -> bytes:
        arithmetic = self.arithmetic
        return f"{PORTABLE_MARK}{self.grid_version};{arithmetic.dtype};{arithmetic.window};{self.units}".encode()

    def restored(self, settings: bytes) -> "HubPredictor":
        if not settings.startswith(PORTABLE_MARK.encode()):
            return self._like(HubPredictor, self.arithmetic).restored(settings)
        try:
            mark, dtype, window, units = settings.decode("ascii").split(";")
            arithmetic = replace(self.arithmetic, dtype=dtype, window=int(window), batch=1)
            made = self._with(arithmetic)
            made.units, made.grid_version = int(units), {"p1": 1, "p2": 2}.get(mark, 0)
            if (
                made.grid_version == 0
                or dtype not in DTYPES
                or not 1 <= made.units <= LARGEST_UNITS
                or made.settings() != settings
            ):
                raise ValueError("numbers out of range")
        except ValueError as error:
            raise _unusable(error) from None
        made._check_window()
        return made

    def start(self, streams: int) -> HubContext:
        """The batch is as wide as the frame has streams: it may be any."""
        made = self if streams == self.arithmetic.batch else self._with(replace(self.arithmetic, batch=streams))
        made._check_window()
        return HubContext(made, streams)


def check_dtype(dtype: str) -> None:
    """UsageError where it is none of DTYPES."""
    if dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r} is unknown: use one of {', '.join(DTYPES)}")


def load_hub(
    path: Path, name: str, *, dtype: str = "float32", device: str | None = None, threads: int = 0
) -> HubPredictor:
    """The predictor in a Hugging Face folder; the weights are read when they are needed.

    device: as torch calls it, or "auto" to spread a large model over all there are; None for the processor, and for
    that of the archive. threads: 0 for all cores. Raises ModelError, and UsageError where dtype is unknown.
    """
    check_dtype(dtype)
    folder = open_model_folder(path)
    tokenizer = read_tokenizer(folder)
    own, of_folder = first_state.in_folder(folder.path), folder.digest()

    def fingerprint_of(version: int) -> bytes:
        hasher = of_folder.copy()
        hasher.update(f"hub {HUB_VERSION}".encode() + first_state.identity(tokenizer.token_bytes, version, own))
        return first_state.add_tokens(hasher, tokenizer.token_bytes).digest()

    models: dict[tuple[str, str], HubModel] = {}

    def load(dtype: str, device: str) -> HubModel:
        if (dtype, device) not in models:
            models[dtype, device] = HubModel(folder, dtype, device)
            if tokenizer.model_size > models[dtype, device].width:
                raise ModelError(f"the tokenizer in {path} has more tokens than its model: they do not belong together")
        return models[dtype, device]

    arithmetic = Arithmetic(dtype, device or "cpu", 1, 0, min(threads or usable_cores(), MOST_THREADS))
    return HubPredictor(folder, tokenizer, FLOAT_PREFIX + name, fingerprint_of, load, arithmetic, device)
