"""What transformers does for ``hub``: loads the models and tokenizers of folders, and runs models step by step.

Everything here happens on one machine, and nothing of it says what an archive needs. Imports torch, transformers and
accelerate, in functions. May import ``errors`` and the modules beside it.
"""

import logging
import platform
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelError
from llmzip.model_folder import ModelFolder, read_tokenizer_text, tokenizer_files
from llmzip.predictors.guarded_tokenizer import GuardedTokenizer

DTYPES = ("float32", "bfloat16", "float16", "float64")

LARGEST_WINDOW = 1024
"""Tokens of context, where the model allows as many: a window is cut to its newer half when it is full."""

_SAME_STEP = 0.02
"""Of the spread of the logits: steps that differ more from the whole forward pass are not the same computation."""

CARRIED = ("cache", "past_key_values", "cache_params", "state")
"""What transformers calls what a model keeps from step to step: the first since 5.24, for keys and for most states."""

ENVIRONMENT = ("torch", "transformers", "processor")
"""Names of what ``HubModel.environment`` gives."""


class HubModel:
    """A loaded model: numbers of tokens to logits, with what it carries from step to step."""

    def __init__(self, folder: ModelFolder, dtype: str, device: str) -> None:
        """Loads safetensors only and runs no code of the folder. Raises ModelError."""
        self._torch, self._model = _load(folder, dtype, device)
        self._path = folder.path
        self._device = device
        shape: Any = self._model.config.get_text_config()
        # Weights that accelerate fetches when they are needed are nowhere till then; it moves the tokens too.
        self._input_device = "cpu" if self._model.device.type == "meta" else self._model.device
        self.width = int(self._model.get_output_embeddings().weight.shape[0])
        self.start_token = self._start_token(shape)
        self.carried, self._one_by_one, grows = self._find_carried()
        limit = getattr(shape, "max_position_embeddings", None)
        window = min(LARGEST_WINDOW, limit if isinstance(limit, int) and limit > 1 else LARGEST_WINDOW)
        self.window = window if grows else 0
        """Most tokens of context, the start token included."""
        self.row_bytes = self._bytes_a_token(shape) * self.window

    @property
    def module(self) -> Any:
        """The model of transformers itself, for whoever hooks into it."""
        return self._model

    def environment(self) -> dict[str, str]:
        """What the arithmetic of one and the same model is known to depend on, named for people."""
        import transformers

        processor = f"{platform.machine()} {self._torch.backends.cpu.get_cpu_capability()}"
        if self._device != "cpu" and self._torch.cuda.is_available():
            processor = self._torch.cuda.get_device_name(self._device if self._device.startswith("cuda") else None)
        parts = Counter(map(str, getattr(self._model, "hf_device_map", {}).values()))
        if parts:
            processor += " in parts: " + ", ".join(f"{count} on {place}" for place, count in sorted(parts.items()))
        values = (self._torch.__version__, transformers.__version__, processor)
        return {
            name: "".join(c for c in value if c.isascii() and c.isprintable() and c != ";")[:64]
            for name, value in zip(ENVIRONMENT, values, strict=True)
        }

    def _start_token(self, shape: Any) -> int:
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            token = getattr(shape, name, None)
            token = token[0] if isinstance(token, list) and token else token
            if isinstance(token, int) and 0 <= token < self.width:
                return token
        return 0

    def _bytes_a_token(self, shape: Any) -> int:
        layers, heads = (int(getattr(shape, n, 0) or 0) for n in ("num_hidden_layers", "num_attention_heads"))
        hidden = int(getattr(shape, "hidden_size", 0) or 0)
        head = int(getattr(shape, "head_dim", 0) or (hidden // heads if heads else 0))
        kept = int(getattr(shape, "num_key_value_heads", 0) or heads)
        return int(2 * layers * kept * head * self._model.dtype.itemsize)

    def _find_carried(self) -> tuple[str, bool, bool]:
        """What the model gives for the next step, by its name in transformers; whether rows must run one by one; and
        whether what is kept grows with the text.

        Empty where nothing does: each kind is tried against the whole forward pass, two rows together and then one.
        Raises ModelError for a model whose answers depend on what comes after them.
        """
        tokens = np.random.default_rng(0).integers(0, self.width, (2, 6))
        whole = self._run(tokens, use_cache=False).logits.float()
        allowed = _SAME_STEP * float(whole.std()) * (1 if self._model.dtype.itemsize >= 4 else 10) + 1e-6
        changed = tokens.copy()
        changed[:, -1] = (changed[:, -1] + 1) % self.width
        seen_ahead = self._run(changed, use_cache=False).logits.float()[:, :-1] - whole[:, :-1]
        if float(seen_ahead.abs().max()) > allowed:
            raise ModelError(
                f"{self._path} is no causal model ({type(self._model).__name__}): what it says of a token depends "
                "on those after it, which a decoder does not have: name a model made to predict the next token"
            )
        for rows in (2, 1):
            for name in CARRIED:
                carried, steps = None, []
                for position in range(tokens.shape[1]):
                    options: dict[str, Any] = {} if carried is None else {name: carried}
                    output = self._run(tokens[:rows, position : position + 1], use_cache=True, **options)
                    carried = output.get(name)
                    if carried is None or output.logits.shape[:2] != (rows, 1):
                        break
                    steps.append(output.logits.float())
                else:
                    if float((self._torch.cat(steps, 1) - whole[:rows]).abs().max()) <= allowed:
                        return name, rows == 1, _grows(name, carried)
        return "", False, True

    def _run(self, tokens: NDArray[np.int64], **options: Any) -> Any:
        with self._torch.inference_mode():
            try:
                return self._model(input_ids=self._torch.from_numpy(tokens).to(self._input_device), **options)
            except RuntimeError as error:  # of torch, where memory ends or something is not done on a device
                reason = str(error).strip().split("\n")[0]
                raise ModelError(
                    f"the model cannot be run ({reason}): use fewer --streams or another --device"
                ) from None

    @contextmanager
    def _threads(self, threads: int) -> Iterator[None]:
        """That many for torch, whose number is one for the whole process, and then again what was set before."""
        before = self._torch.get_num_threads()
        if before == threads:
            yield
            return
        self._torch.set_num_threads(threads)
        try:
            yield
        finally:
            self._torch.set_num_threads(before)

    def step(self, tokens: NDArray[np.int64], carried: Any, threads: int) -> tuple[NDArray[np.float32], Any]:
        """Logits after the last of [batch, n] tokens, [batch, width], and what to carry to the next step."""
        if self._one_by_one and len(tokens) > 1:
            rows = [self.step(tokens[row : row + 1], carried and carried[row], threads) for row in range(len(tokens))]
            return np.concatenate([logits for logits, _ in rows]), [state for _, state in rows]
        options = {self.carried: carried} if self.carried and carried is not None else {}
        with self._threads(threads):
            output = self._run(tokens, use_cache=bool(self.carried), **options)
            logits = output.logits[:, -1].float().cpu().numpy()
        return logits, _with_room(output[self.carried]) if self.carried else None

    def all_logits(self, tokens: NDArray[np.int64], threads: int) -> NDArray[np.float32]:
        """Logits after every one of [batch, n] tokens, [batch, n, width]: one forward pass, nothing carried."""
        with self._threads(threads):
            logits: NDArray[np.float32] = self._run(tokens, use_cache=False).logits.float().cpu().numpy()
        return logits


def _load(folder: ModelFolder, dtype: str, device: str) -> tuple[Any, Any]:
    """torch and the model. What transformers and torch raise for folders they cannot use has many types."""
    try:
        import torch
        import transformers
    except ImportError:
        raise ModelError("torch or transformers is not installed: pip install 'llmzip[torch]'") from None
    if device == "auto":
        _require_accelerate()
    elif not has_device(device):
        raise ModelError(f"torch has no device {device!r} here: name another with --device")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    path = str(folder.path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True)
            with torch.device("meta"):
                skeleton = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
            needed = sum(parameter.numel() for parameter in skeleton.parameters())
            if needed > folder.element_count:
                raise ValueError(f"config.json needs {needed:,} numbers, the files hold {folder.element_count:,}")
            loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
                path,
                config=config,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **({"device_map": "auto"} if device == "auto" else {}),
            )
            model, loading = loaded
            if loading["missing_keys"]:
                raise ValueError(f"no weights for {', '.join(sorted(loading['missing_keys'])[:3])}")
            return torch, (model if device == "auto" else model.to(device)).eval()
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise ModelError(f"{path} cannot be loaded ({reason}): take the folder again, or name another") from None


def _grows(name: str, carried: Any) -> bool:
    """Whether there are keys among what is carried, one more for each token."""
    if name == "cache":
        return any(getattr(layer, "keys", None) is not None for layer in carried.layers)
    return name == "past_key_values"


@cache
def _roomy_layer() -> tuple[type, type]:
    """The plain layer of keys and values in transformers, and one that is not copied at each step."""
    from transformers.cache_utils import DynamicLayer

    class RoomyLayer(DynamicLayer):
        room: Any = None
        """Keys and values, with space after them."""

        def update(self, keys: Any, values: Any, *_: Any, **__: Any) -> Any:  # type: ignore[override]
            held = self.keys.shape[-2]  # type: ignore[union-attr]
            end = held + keys.shape[-2]
            if self.room is None or end > self.room[0].shape[-2]:
                self.room = [new.new_empty((*new.shape[:-2], 2 * end, new.shape[-1])) for new in (keys, values)]
                for room, old in zip(self.room, (self.keys, self.values), strict=True):
                    room[..., :held, :] = old
            for room, new in zip(self.room, (keys, values), strict=True):
                room[..., held:end, :] = new
            self.keys, self.values = (room[..., :end, :] for room in self.room)
            return self.keys, self.values

    return DynamicLayer, RoomyLayer


def _with_room(carried: Any) -> Any:
    """What is carried to the next step, its plain layers made roomy: the same numbers, a quarter of the time saved."""
    for layer in getattr(carried, "layers", ()):
        plain, roomy = _roomy_layer()
        if type(layer) is plain:
            layer.__class__ = roomy
    return carried


def has_device(device: str) -> bool:
    """Whether models can be put there."""
    import torch

    try:
        return device == "auto" or not torch.empty(0, device=device).is_meta
    except (RuntimeError, AssertionError, AttributeError, ImportError):  # each kind of device says no in its own way
        return False


def _require_accelerate() -> None:
    try:
        import accelerate  # noqa: F401
    except ImportError:
        raise ModelError("--device auto needs accelerate: pip install accelerate, or name one device") from None
    logging.getLogger("accelerate").setLevel(logging.ERROR)


def read_tokenizer(folder: ModelFolder) -> GuardedTokenizer:
    """The tokenizer of a folder; one without ``tokenizer.json`` is converted by transformers. Raises ModelError."""
    width = folder.vocabulary_size
    if width is None or width < 3:
        raise ModelError(f"{folder.path / 'config.json'} has no vocab_size: take the folder again")
    text = read_tokenizer_text(folder.path)
    if text is not None:
        return GuardedTokenizer(text, width, str(folder.path / "tokenizer.json"))
    try:
        import transformers

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Any = transformers.AutoTokenizer.from_pretrained(
                str(folder.path), trust_remote_code=False, local_files_only=True
            )
        text = made.backend_tokenizer.to_str()
    except Exception as error:
        raise ModelError(_why_no_tokenizer(folder.path, error)) from None
    return GuardedTokenizer(text, width, str(folder.path))


def _why_no_tokenizer(path: Path, error: Exception) -> str:
    """Why a folder without ``tokenizer.json`` cannot be used, and what to do."""
    names = [file.name for file in tokenizer_files(path)]
    if not names:
        return f"{path} has no tokenizer: add the tokenizer.json of its model"
    if any(name.endswith(".model") for name in names):
        return (
            f"{path} has its tokenizer in SentencePiece's form alone ({names[0]}), and converting it failed: "
            "pip install sentencepiece protobuf, or add the model's tokenizer.json"
        )
    reason = (str(error).strip() or type(error).__name__).split("\n")[0]
    return f"{path} has no tokenizer that can be used ({reason}): add the tokenizer.json of its model"
