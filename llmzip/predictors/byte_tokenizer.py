"""A byte-level BPE tokenizer as a total map: every byte string to tokens and back, exactly.

Reads the Hugging Face ``tokenizers`` format. Special tokens and normalisers, which make text come back changed,
are taken out before use. May import ``errors`` and ``memory`` (for the fingerprint).
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from llmzip.errors import ModelError
from llmzip.memory.first_state import add_tokens

_LOSSY: dict[str, Any] = {
    "added_tokens": [],
    "normalizer": None,
    "post_processor": None,
    "truncation": None,
    "padding": None,
}
"""Parts of ``tokenizer.json`` that change or cut texts, and what they are without effect."""

_LARGEST_VOCABULARY = 1 << 20

_UNDECODABLE = re.compile("([\udc80-\udcff]+)")


def byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in ByteLevel vocabularies (as in GPT-2's encoder)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


@contextmanager
def without_panics(where: str) -> Iterator[None]:
    """ModelError where the library panics on a tokenizer, which is a BaseException of no class that can be named."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        reason = str(error).split("\n")[0]
        raise ModelError(f"{where}: the tokenizers library fails on it ({reason}): take the folder again") from None


class ByteTokenizer:
    """Loaded from ``tokenizer.json``; ``token_bytes`` is what each token stands for."""

    def __init__(self, path: Path) -> None:
        self._where = str(path)
        try:
            text = path.read_text(encoding="utf-8")
            description = json.loads(text)
            if description["model"]["type"] != "BPE":
                raise ValueError(f"its model is {description['model']['type']}, not BPE")
            vocabulary: dict[str, int] = description["model"]["vocab"]
            if not all(0 <= token < _LARGEST_VOCABULARY for token in vocabulary.values()):
                raise ValueError("token numbers out of range")
            if len(set(vocabulary.values())) < len(vocabulary):
                raise ValueError("two tokens have one number")
            if _remove_changes(description):
                text = json.dumps(description)
            with without_panics(str(path)):
                self._tokenizer = tokenizers.Tokenizer.from_str(text)
        except ModelError:
            raise
        except OSError:
            raise ModelError(f"{path} is missing: take the model folder again") from None
        except Exception as error:  # the tokenizers library raises plain Exception
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{path} is not a tokenizer that can be used ({reason}): take the folder again") from None
        alphabet = byte_alphabet()
        missing = [byte for character, byte in alphabet.items() if character not in vocabulary]
        if missing:
            raise ModelError(
                f"{path} has no token for {len(missing)} of the 256 bytes, so some files could not come back: "
                "use a model with a byte-level tokenizer"
            )
        self.size = max(vocabulary.values()) + 1
        self.token_bytes = [b""] * self.size
        for name, token in vocabulary.items():
            known = all(character in alphabet for character in name)
            self.token_bytes[token] = bytes(alphabet[c] for c in name) if known else name.encode()
        self._byte_token = np.zeros(256, np.int64)
        for character, byte in alphabet.items():
            self._byte_token[byte] = vocabulary[character]

    def fingerprint(self, beginning: bytes) -> bytes:
        """SHA-256 of what else identifies a predictor and of what each token stands for."""
        return add_tokens(hashlib.sha256(beginning), self.token_bytes).digest()

    def tokenize(self, data: bytes) -> NDArray[np.int64]:
        """[n] int64. Text goes through the tokenizer, bytes that are not UTF-8 become single-byte tokens."""
        pieces: list[NDArray[np.int64]] = []
        for piece in _UNDECODABLE.split(data.decode("utf-8", "surrogateescape")):
            if len(piece) > 1 and not "\udc80" <= piece[0] <= "\udcff":
                # A batch of one: only batches can leave out where each token stands, which takes half of the time.
                with without_panics(self._where):
                    (encoding,) = self._tokenizer.encode_batch_fast([piece], add_special_tokens=False)
                pieces.append(np.array(encoding.ids, np.int64))
            elif piece:
                raw = np.frombuffer(piece.encode("utf-8", "surrogateescape"), np.uint8)
                pieces.append(self._byte_token[raw])
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)

    def detokenize(self, tokens: NDArray[np.int64]) -> bytes:
        """The bytes of the tokens; tokens beyond the vocabulary's names stand for nothing."""
        names, size = self.token_bytes, self.size
        return b"".join([names[token] for token in tokens.tolist() if token < size])


def _remove_changes(description: dict[str, Any]) -> bool:
    """Takes out of ``tokenizer.json`` what would change a text, and returns whether anything had to be."""
    before = json.dumps(description["pre_tokenizer"]), [description.get(key) for key in _LOSSY]
    description |= _LOSSY
    forbid_prefix_space(description["pre_tokenizer"])
    random = description["model"].pop("dropout", None)
    return bool(random) or before != (json.dumps(description["pre_tokenizer"]), list(_LOSSY.values()))


def forbid_prefix_space(step: object) -> None:
    """Turns ``add_prefix_space`` and ``prepend_scheme`` off in a pre-tokenizer: they would invent a space."""
    if isinstance(step, dict):
        if "add_prefix_space" in step:
            step["add_prefix_space"] = False
        if "prepend_scheme" in step:
            step["prepend_scheme"] = "never"
        for inner in step.get("pretokenizers", ()):
            forbid_prefix_space(inner)
