"""Any tokenizer of the ``tokenizers`` library as a total map: every byte string to tokens and back, exactly.

Each token stands for fixed bytes. The tokenizer only proposes tokens; one is taken where its bytes are what the text
holds there, and whatever no token gives back (another case, another form of an accent, an unknown character, a space
that was dropped, literal special-token text, bytes that are not UTF-8) is spelt in single bytes. So nothing that a
tokenizer does can lose a byte; it can only cost more. ``byte_tokenizer`` is the stricter one for the exact engine.
May import ``errors``, ``memory`` (for the fingerprint) and ``byte_tokenizer``.
"""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from llmzip.errors import ModelError
from llmzip.memory.first_state import add_tokens
from llmzip.predictors.byte_tokenizer import byte_alphabet, forbid_prefix_space, without_panics

BYTES = 256
LARGEST_VOCABULARY = 1 << 20
METASPACE = "\u2581"
"""Stands for a space in SentencePiece vocabularies."""

_UNDECODABLE = re.compile("([\udc80-\udcff]+)")
_BYTE_NAME = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class GuardedTokenizer:
    """A tokenizer and the bytes of its tokens.

    Where some byte has no token, 256 more tokens stand for the bytes, after those of the model: they are *escapes*,
    which the model has never seen.
    """

    def __init__(self, text: str, width: int, where: str, *, whole: bool = False) -> None:
        """``text``: of tokenizer.json; ``width``: tokens the model knows; ``where``: for messages. Raises ModelError.

        whole: whether the model's tokens without a name have numbers too, as the escapes then come after all of them.
        """
        self._where = where
        try:
            description = json.loads(text)
            names = _names(description)
            if not names or not all(0 <= token < LARGEST_VOCABULARY for token in names.values()):
                raise ValueError("token numbers out of range")
            meaning = _meaning(description)
            with without_panics(where):
                self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(_without_changes(description)))
        except ModelError:
            raise
        except Exception as error:  # the tokenizers library raises plain Exception
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise ModelError(f"{where} is not a tokenizer that can be used ({reason}): take the folder again") from None
        self.stored_bytes = len(text.encode())
        """Of ``tokenizer.json``."""
        self.model_size = width if whole else min(max(names.values()) + 1, width)
        """Tokens of the model: the others of its outputs have no name and are never coded."""
        known = [b""] * self.model_size
        own_bytes: dict[int, int] = {}
        for name, token in names.items():
            if token < self.model_size and not known[token]:  # a second name of one number stands for nothing
                known[token] = meaning(name)
                if len(known[token]) == 1 and len(name) == (6 if _BYTE_NAME.fullmatch(name) else 1):
                    own_bytes.setdefault(known[token][0], token)
        unknown = _unknown(description)
        self._substitute = unknown if unknown is not None and unknown < width else 0
        self.has_escapes = len(own_bytes) < BYTES
        if self.has_escapes:
            own_bytes = {byte: self.model_size + byte for byte in range(BYTES)}
            known += [bytes((byte,)) for byte in range(BYTES)]
        self.token_bytes = tuple(known)
        self._byte_token = np.array([own_bytes[byte] for byte in range(BYTES)], np.int64)

    @property
    def size(self) -> int:
        """Tokens in all, escapes included."""
        return len(self.token_bytes)

    def fingerprint(self, beginning: bytes) -> bytes:
        """SHA-256 of what else identifies a predictor and of what each token stands for."""
        return add_tokens(hashlib.sha256(beginning), self.token_bytes).digest()

    def known(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tokens as the model is told of them: in place of an escape, the one that it knows for what it does not.

        That is the unknown token of the vocabulary, or its first token.
        """
        return np.where(tokens < self.model_size, tokens, self._substitute)

    def tokenize(self, data: bytes) -> NDArray[np.int64]:
        """[n] int64, at most one token a byte."""
        pieces: list[NDArray[np.int64]] = []
        for piece in _UNDECODABLE.split(data.decode("utf-8", "surrogateescape")):
            if piece:
                raw = piece.encode("utf-8", "surrogateescape")
                broken = "\udc80" <= piece[0] <= "\udcff"
                pieces.append(self._spell(raw) if broken else self._align(piece, raw))
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)

    def detokenize(self, tokens: NDArray[np.int64]) -> bytes:
        """The bytes of the tokens."""
        known = self.token_bytes
        return b"".join([known[token] for token in tokens.tolist() if token < len(known)])

    def _spell(self, raw: bytes) -> NDArray[np.int64]:
        return self._byte_token[np.frombuffer(raw, np.uint8)]

    def _align(self, text: str, raw: bytes) -> NDArray[np.int64]:
        """The tokens proposed for ``text`` wherever they give its bytes, ``raw``; single bytes elsewhere."""
        with without_panics(self._where):
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
        known, size = self.token_bytes, self.model_size
        proposed = [token for token in encoding.ids if token < size and known[token]]
        if b"".join([known[token] for token in proposed]) == raw:
            return np.array(proposed, np.int64)
        characters = np.frombuffer(text.encode("utf-32-le"), "<u4")
        lengths = 1 + (characters >= 1 << 7) + (characters >= 1 << 11) + (characters >= 1 << 16)
        start_of = np.concatenate(([0], np.cumsum(lengths)))
        tokens: list[int] = []
        place = 0
        for token, (first, _) in zip(encoding.ids, encoding.offsets, strict=True):
            own = known[token] if token < size else b""
            if not own:
                continue
            start = int(start_of[first])
            if not raw.startswith(own, place):
                if start <= place or not raw.startswith(own, start):
                    continue
                tokens += self._spell(raw[place:start]).tolist()
                place = start
            tokens.append(token)
            place += len(own)
        tokens += self._spell(raw[place:]).tolist()
        return np.array(tokens, np.int64)


def _names(description: dict[str, Any]) -> dict[str, int]:
    """Name -> number of every token that ordinary text may become."""
    vocabulary = description["model"]["vocab"]
    if isinstance(vocabulary, list):  # Unigram: [name, score] in order
        vocabulary = {name: token for token, (name, _) in enumerate(vocabulary)}
    names: dict[str, int] = dict(vocabulary)
    for added in description.get("added_tokens") or ():
        if added["special"]:
            names.pop(added["content"], None)
        else:
            names[added["content"]] = added["id"]
    unknown = _unknown(description)
    return {name: token for name, token in names.items() if token != unknown}


def _unknown(description: dict[str, Any]) -> int | None:
    """The number of the token for what the tokenizer does not know, if it has one."""
    model = description["model"]
    number = model.get("unk_id")
    if number is None and isinstance(model["vocab"], dict):
        number = model["vocab"].get(model.get("unk_token"))
    return int(number) if number is not None else None


def _steps(part: object) -> list[dict[str, Any]]:
    """The steps of a normaliser, pre-tokenizer or decoder, sequences laid out flat."""
    if not isinstance(part, dict):
        return []
    inner = next((part[key] for key in ("normalizers", "pretokenizers", "decoders") if key in part), None)
    return [part] if inner is None else [step for item in inner for step in _steps(item)]


def _meaning(description: dict[str, Any]) -> Callable[[str], bytes]:
    """What the bytes of a token are, given its name."""
    model, added = description["model"], {a["content"] for a in description.get("added_tokens") or ()}
    before, after = _steps(description.get("pre_tokenizer")), _steps(description.get("decoder"))
    kinds = {step["type"] for step in (*before, *after)}
    alphabet = byte_alphabet() if "ByteLevel" in kinds else None
    spaces = "Metaspace" in kinds or any(map(_is_space_mark, _steps(description.get("normalizer"))))
    fallback = bool(model.get("byte_fallback"))
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""

    def meaning(name: str) -> bytes:
        if name in added:
            return name.encode()
        if alphabet is not None:
            known = all(character in alphabet for character in name)
            return bytes(alphabet[character] for character in name) if known else name.encode()
        if fallback and (match := _BYTE_NAME.fullmatch(name)):
            return bytes((int(match[1], 16),))
        name = name.removeprefix(prefix).removesuffix(suffix)
        return (name.replace(METASPACE, " ") if spaces else name).encode()

    return meaning


def _is_space_mark(step: dict[str, Any]) -> bool:
    return bool(step["type"] == "Replace" and step["pattern"] == {"String": " "} and step["content"] == METASPACE)


def _without_changes(description: dict[str, Any]) -> dict[str, Any]:
    """The description without what changes, adds or cuts text: what is left proposes tokens for the text as it is."""
    normalizers = [step for step in _steps(description.get("normalizer")) if _is_space_mark(step)]
    for step in _steps(description.get("normalizer")):
        if step["type"] == "BertNormalizer":  # it also sets Chinese characters apart
            normalizers.append(step | {"clean_text": False, "strip_accents": False, "lowercase": False})
    before = _steps(description.get("pre_tokenizer"))
    if any(step["type"] == "Metaspace" for step in before):
        # Would drop the spaces that the next step turns into marks.
        before = [step for step in before if step["type"] not in ("WhitespaceSplit", "Whitespace")]
    for step in before:
        forbid_prefix_space(step)
    return {
        **description,
        "added_tokens": [added for added in description.get("added_tokens") or () if not added["special"]],
        "normalizer": {"type": "Sequence", "normalizers": normalizers} if normalizers else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": before} if before else None,
        "model": {key: value for key, value in description["model"].items() if key != "dropout"},
        "post_processor": None,
        "truncation": None,
        "padding": None,
    }
