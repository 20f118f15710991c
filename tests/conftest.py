"""Models small enough for every test: random weights, a real tokenizer, and a predictor without any arithmetic."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest
import tokenizers
from numpy.typing import NDArray
from safetensors.numpy import save_file

from llmzip.predictors.exact import ExactPredictor, load_exact

if TYPE_CHECKING:
    from commands import Terminal

hypothesis.settings.register_profile("default", deadline=None, max_examples=40)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

SAMPLE = (
    "It was a bright cold day in the valley, and the clocks of the two churches did not agree.\n"
    "def total(rows: list[int]) -> int:\n\treturn sum(rows)  # naïve, but right\r\n"
    "Grüße aus Köln, 3 500 €; 東京は雨です。 Привет! <|start|> </s> [UNK] \u2581 e\u0301 🙂\n"
)


def write_model(
    folder: Path,
    *,
    seed: int = 1,
    hidden: int = 48,
    layers: int = 2,
    heads: int = 4,
    groups: int = 2,
    head_dim: int = 16,
    feed_forward: int = 80,
    window: int = 24,
    biases: bool = False,
    tied: bool = True,
    dtype: type = np.float32,
    **config: object,
) -> Path:
    """A Llama-family folder with random weights of a trained model's size, and a byte-level tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<|start|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([SAMPLE], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = tokenizer.get_vocab_size()
    rng = np.random.default_rng(seed)

    def matrix(*size: int) -> NDArray[np.float32]:
        return (rng.standard_normal(size) / np.sqrt(size[-1])).astype(dtype)

    def norm() -> NDArray[np.float32]:
        return (1 + 0.3 * rng.standard_normal(hidden)).astype(dtype)

    tensors = {"model.embed_tokens.weight": matrix(vocabulary, hidden), "model.norm.weight": norm()}
    if not tied:
        tensors["lm_head.weight"] = matrix(vocabulary, hidden)
    for index in range(layers):
        prefix = f"model.layers.{index}."
        sizes = {
            "self_attn.q_proj": (heads * head_dim, hidden),
            "self_attn.k_proj": (groups * head_dim, hidden),
            "self_attn.v_proj": (groups * head_dim, hidden),
            "self_attn.o_proj": (hidden, heads * head_dim),
            "mlp.gate_proj": (feed_forward, hidden),
            "mlp.up_proj": (feed_forward, hidden),
            "mlp.down_proj": (hidden, feed_forward),
        }
        for name, size in sizes.items():
            tensors[f"{prefix}{name}.weight"] = matrix(*size)
            if biases and name[-6] in "qkv" and "attn" in name:
                tensors[f"{prefix}{name}.bias"] = matrix(size[0])
        tensors[prefix + "input_layernorm.weight"] = norm()
        tensors[prefix + "post_attention_layernorm.weight"] = norm()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    description = {
        "model_type": "qwen2" if biases else "mistral",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": feed_forward,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "head_dim": head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": 4096,
        "sliding_window": window,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": tied,
        "bos_token_id": 0,
        "eos_token_id": None,
    }
    (folder / "config.json").write_text(json.dumps(description | config), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny(model_folder: Path) -> ExactPredictor:
    """The exact predictor on random weights, in plain numpy on one thread."""
    return load_exact(model_folder, "tiny", engine="numpy", threads=1)


class CountingContext:
    """Adaptive order-0 byte counts: a context that is not exact in the codec's sense, so it is run step by step."""

    def __init__(self, counts: NDArray[np.int64]) -> None:
        self._counts = counts

    @property
    def streams(self) -> int:
        return len(self._counts)

    def next_frequencies(self) -> NDArray[np.int64]:
        free = (1 << 24) - 256
        shares = self._counts * free // self._counts.sum(axis=1, keepdims=True)
        shares[:, 0] += free - shares.sum(axis=1)
        return shares + 1

    def append(self, tokens: NDArray[np.int64]) -> None:
        self._counts[np.arange(len(tokens)), tokens] += 32


class CountingPredictor:
    """The smallest predictor there is: bytes are tokens, counts are the model."""

    name = "count"
    fingerprint = hashlib.sha256(b"counting").digest()
    parameter_bytes = 0
    threads = 2
    vocabulary_size = 256
    token_bytes = tuple(bytes((i,)) for i in range(256))

    def tokenize(self, data: bytes) -> NDArray[np.int64]:
        return np.frombuffer(data, np.uint8).astype(np.int64)

    def detokenize(self, tokens: NDArray[np.int64]) -> bytes:
        return tokens.astype(np.uint8).tobytes()

    def start(self, streams: int) -> CountingContext:
        return CountingContext(np.ones((streams, 256), np.int64))


@pytest.fixture(scope="session")
def counting() -> CountingPredictor:
    return CountingPredictor()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one text, which has a time and a mode of its own."""
    from commands import TEXT

    (tmp_path / "a.txt").write_bytes(TEXT)
    (tmp_path / "a.txt").chmod(0o640)
    os.utime(tmp_path / "a.txt", (1e9, 1e9))
    return tmp_path


@pytest.fixture
def terminal() -> "Terminal":
    if os.name != "posix":
        pytest.skip("there are no pseudo-terminals")
    from commands import Terminal

    return Terminal()


class FixedFloatPredictor(CountingPredictor):
    """To the codec a predictor whose arithmetic rounds."""

    name = "float/count"
    most_streams = 256

    def description(self) -> dict[str, str | int]:
        return {}

    def settings(self) -> bytes:
        return b"these are settings"

    def fitted(self, original_bytes: int, streams: int | None) -> "FixedFloatPredictor":
        return self

    def restored(self, settings: bytes) -> "FixedFloatPredictor":
        return self


class NoisyPredictor(CountingPredictor):
    """Logits from counts of bytes, each machine's a little different."""

    most_streams = 256
    grid_version = 2

    def __init__(self, noise: float = 0.0, seed: int = 0, tolerance: float = 2.0**-12) -> None:
        self.tolerance, self._noise, self._rng = tolerance, noise, np.random.default_rng(seed)

    def description(self) -> dict[str, str | int]:
        return {}

    def settings(self) -> bytes:
        return b""

    def fitted(self, original_bytes: int, streams: int | None) -> "NoisyPredictor":
        return self

    def restored(self, settings: bytes) -> "NoisyPredictor":
        return self

    def start_logits(self, streams: int) -> "NoisyLogits":
        return NoisyLogits(self, self.start(streams))

    def teach(self, tokens: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
        context = self.start_logits(len(tokens))
        for position, column in enumerate(tokens.T):
            yield slice(0, len(tokens)), slice(position, position + 1), context.next_logits()[:, None]
            context.append(column)

    def disturbed(self, logits: np.ndarray) -> np.ndarray:
        noise = self._noise * self._rng.choice((-1.0, 1.0, 0.3), logits.shape)  # as bad as allowed, mostly
        return logits + noise.astype(np.float32)


class NoisyLogits:
    def __init__(self, predictor: NoisyPredictor, context: CountingContext) -> None:
        self._predictor, self._context = predictor, context

    def next_logits(self) -> np.ndarray:
        return self._predictor.disturbed(4 * np.log(self._context.next_frequencies()).astype(np.float32))

    def append(self, tokens: np.ndarray) -> None:
        self._context.append(tokens)
