"""The exact predictor: a Llama-family folder as tokenizer and integer model, with streams spread over threads.

May import ``model_folder``, ``engine``, ``memory`` (for the fingerprint), ``predictor``, ``parallel``, ``errors`` and
the tokenizers beside it.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from llmzip import model_folder
from llmzip.engine.model import ExactModel, ExactStreams
from llmzip.engine.native import NativeModel, NativeStreams
from llmzip.engine.weights import FAMILIES, Weights, load_weights, read_config
from llmzip.errors import ModelError
from llmzip.memory import first_state
from llmzip.native.library import PREFERRED, library
from llmzip.parallel import usable_cores
from llmzip.predictor import ExactContext, Score
from llmzip.predictors.byte_tokenizer import ByteTokenizer
from llmzip.predictors.escapes import EscapedStreams
from llmzip.predictors.guarded_tokenizer import GuardedTokenizer
from llmzip.predictors.versions import Versioned

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Result = TypeVar("Result")

STREAMS_WORTH_A_THREAD = 8

LOGITS_AT_ONCE = 1 << 22
"""Numbers in float32 that are shown together: 16 MiB."""


class Workers:
    """A fixed number of threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads or usable_cores()

    @cached_property
    def _pool(self) -> "ThreadPoolExecutor":
        from concurrent.futures import ThreadPoolExecutor  # 10 ms that a small file need not wait for

        return ThreadPoolExecutor(self.threads)

    def run(self, tasks: list[Callable[[], Result]]) -> list[Result]:
        """The results of the tasks, in their order."""
        if len(tasks) == 1:
            return [tasks[0]()]
        return [future.result() for future in [self._pool.submit(task) for task in tasks]]


class ThreadedStreams:
    """Streams dealt to threads in contiguous groups; the arithmetic makes the grouping invisible in the results."""

    def __init__(self, groups: Sequence[ExactStreams | NativeStreams], workers: Workers) -> None:
        self._groups, self._workers = groups, workers
        self._bounds = np.cumsum([0] + [group.streams for group in groups])

    @property
    def streams(self) -> int:
        return int(self._bounds[-1])

    def next_frequencies(self) -> NDArray[np.int64]:
        return np.concatenate(self._workers.run([group.next_frequencies for group in self._groups]))

    def append(self, tokens: NDArray[np.int64]) -> None:
        self._workers.run([partial(group.append, part) for group, part in self._deal(tokens)])

    def intervals(self, tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        results = self._workers.run([partial(group.intervals, part) for group, part in self._deal(tokens)])
        return np.concatenate([r[0] for r in results]), np.concatenate([r[1] for r in results])

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """[streams, n, vocabulary] before each of [streams, n] tokens, which are then seen."""
        return np.concatenate(self._workers.run([partial(group.logits, part) for group, part in self._deal(tokens)]))

    def scores(self, tokens: NDArray[np.int64], score: Score) -> NDArray[np.int16]:
        return np.concatenate(self._workers.run([partial(g.scores, part, score) for g, part in self._deal(tokens)]))

    def _deal(self, tokens: NDArray[np.int64]) -> list[tuple[ExactStreams | NativeStreams, NDArray[np.int64]]]:
        starts, ends = self._bounds[:-1], self._bounds[1:]
        return [(group, tokens[a:b]) for group, a, b in zip(self._groups, starts, ends, strict=True)]


def group_sizes(streams: int, threads: int) -> list[int]:
    """Streams for each thread, as even as can be; no thread gets so few that handing over costs more than it saves."""
    groups = max(1, min(threads, streams // STREAMS_WORTH_A_THREAD))
    return [streams // groups + (index < streams % groups) for index in range(groups)]


class Tokenizer(Protocol):
    """From bytes to tokens and back, exactly; see ``llmzip.predictor.Predictor``."""

    def tokenize(self, data: bytes) -> NDArray[np.int64]: ...

    def detokenize(self, tokens: NDArray[np.int64]) -> bytes: ...


class ExactPredictor(Versioned):
    """See ``llmzip.predictor.ModelPredictor``; its contexts are ``ExactContext``."""

    def __init__(
        self,
        model: ExactModel | NativeModel,
        tokenizer: Tokenizer,
        token_bytes: tuple[bytes, ...],
        name: str,
        fingerprint_of: Callable[[int], bytes],
        size: int,
        threads: int,
        first_state: Path | None = None,
    ) -> None:
        """``fingerprint_of`` and ``first_state``: see ``Versioned``."""
        super().__init__(fingerprint_of, first_state)
        self._model, self._tokenizer, self._workers = model, tokenizer, Workers(threads)
        self.name = name
        self.parameter_bytes = size
        self.threads = self._workers.threads
        self.vocabulary_size = len(token_bytes)
        self.token_bytes = token_bytes

    def tokenize(self, data: bytes) -> NDArray[np.int64]:
        return self._tokenizer.tokenize(data)

    def detokenize(self, tokens: NDArray[np.int64]) -> bytes:
        return self._tokenizer.detokenize(tokens)

    @property
    def model_size(self) -> int:
        return self._tokenizer.model_size if isinstance(self._tokenizer, GuardedTokenizer) else self.vocabulary_size

    def logits(self, tokens: NDArray[np.int64]) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
        """See ``llmzip.predictor.LogitPredictor``."""
        known = self._tokenizer.known(tokens) if isinstance(self._tokenizer, GuardedTokenizer) else tokens
        streams, (rows, length) = self._threaded(len(tokens)), tokens.shape
        step = max(1, LOGITS_AT_ONCE // (rows * self.vocabulary_size))
        for first in range(0, length, step):
            part = slice(first, min(first + step, length))
            yield slice(0, rows), part, streams.logits(known[:, part])

    def _threaded(self, streams: int) -> ThreadedStreams:
        groups = [self._model.streams(size) for size in group_sizes(streams, self._workers.threads)]
        return ThreadedStreams(groups, self._workers)

    def start(self, streams: int) -> ExactContext:
        threaded = self._threaded(streams)
        if isinstance(self._tokenizer, GuardedTokenizer) and self._tokenizer.has_escapes:
            return EscapedStreams(threaded, self._tokenizer)
        return threaded


def suits_exact(folder: Path) -> bool:
    """Whether exact arithmetic is the natural choice: the right architecture, and a token for every byte.

    Also where ``folder`` is too broken to tell, for ``load_exact`` says why.
    """
    try:
        if model_folder.read_config(folder)["model_type"] not in FAMILIES:
            return False
    except ModelError:
        return True
    try:
        read_config(folder)
        ByteTokenizer(folder / "tokenizer.json")
    except ModelError:
        return False
    return True


def load_exact(folder: Path, name: str, *, engine: str = "auto", threads: int = 0) -> ExactPredictor:
    """The predictor in a Hugging Face folder. Raises ModelError; runs no code of the folder.

    A tokenizer that lacks tokens for some bytes is used with escapes.
    """
    tokenizer = _read_tokenizer(folder)
    weights = load_weights(folder)
    if isinstance(tokenizer, ByteTokenizer) and tokenizer.size > weights.shape.vocabulary_size:
        raise ModelError(
            f"the tokenizer in {folder} has {tokenizer.size} tokens, its model {weights.shape.vocabulary_size}: "
            "they do not belong together"
        )
    nameless = max(weights.shape.vocabulary_size - tokenizer.size, 0)
    token_bytes = (*tokenizer.token_bytes, *[b""] * nameless)
    own = first_state.in_folder(folder)

    def fingerprint_of(version: int) -> bytes:
        return tokenizer.fingerprint(weights.digest + first_state.identity(token_bytes, version, own))

    size = model_folder.open_model_folder(folder).receiver_bytes + first_state.stored_bytes(token_bytes, own)
    model = make_model(weights, engine)
    made = ExactPredictor
    if isinstance(model, NativeModel) and not getattr(tokenizer, "has_escapes", False):
        from llmzip.predictors.native import NativePredictor

        made = NativePredictor
    return made(model, tokenizer, token_bytes, name, fingerprint_of, size, threads, own)


def make_model(weights: Weights, engine: str = "auto") -> ExactModel | NativeModel:
    """The model as ``engine`` says: "auto" is in C where that was compiled, else in numpy. Raises ModelError.

    "native", or a name of kernels such as "avx2", asks for C; the rest are engines of ``ExactModel``.
    """
    if engine in ("auto", "native", *PREFERRED):
        found = library(engine if engine in PREFERRED else None)
        if found is not None:
            return NativeModel(weights, found)
        if engine != "auto":
            raise ModelError(f"the engine {engine!r} does not run here: use auto or numpy")
        engine = "numpy"
    return ExactModel(weights, engine)


def _read_tokenizer(folder: Path) -> ByteTokenizer | GuardedTokenizer:
    text, where = model_folder.read_tokenizer_text(folder), str(folder / "tokenizer.json")
    if text is None:
        raise ModelError(f"{where} is missing: add it, or leave --exact out")
    try:
        return ByteTokenizer(folder / "tokenizer.json")
    except ModelError:
        return GuardedTokenizer(text, read_config(folder).vocabulary_size, where, whole=True)
