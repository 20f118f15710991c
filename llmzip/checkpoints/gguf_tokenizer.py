"""The tokenizer in a GGUF file's metadata as the text of a ``tokenizer.json``: byte-level BPE and SentencePiece BPE.

Only proposes tokens, as any tokenizer here: what it takes wrongly costs bits and loses nothing. May import ``errors``.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from llmzip.errors import ModelError

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
"""``tokenizer.ggml.token_type``."""

_METASPACE = "\u2581"

_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LLAMA_3 = _ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN_2 = _LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")
_WORD = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+{0}"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*{0}"
    r"|{1}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEKKEN = _WORD.replace("{0}", "").replace("{1}", r"\p{N}")
_GPT_4O = _WORD.replace("{0}", _ENDINGS + "?").replace("{1}", r"\p{N}{1,3}")
_GPT_2, _DIGITS = "", "digits"

PRE_TOKENIZERS = {
    "gpt-2": _GPT_2,
    "gpt2": _GPT_2,
    "phi-2": _GPT_2,
    "olmo": _GPT_2,
    "smollm": _DIGITS,
    "starcoder": _DIGITS,
    "refact": _DIGITS,
    "codeshell": _DIGITS,
    "command-r": _DIGITS,
    "llama3": _LLAMA_3,
    "llama-v3": _LLAMA_3,
    "llama-bpe": _LLAMA_3,
    "smaug-bpe": _LLAMA_3,
    "dbrx": _LLAMA_3,
    "qwen2": _QWEN_2,
    "stablelm2": _QWEN_2,
    "deepseek-r1-qwen": _QWEN_2,
    "tekken": _TEKKEN,
    "gpt-4o": _GPT_4O,
    "llama4": _GPT_4O,
}
"""``tokenizer.ggml.pre`` -> how text is cut before the merges: a pattern, "" for GPT-2's, "digits" for single digits
and then GPT-2's."""

Field = Callable[[str], Any]
"""Metadata by name, None where there is none."""


def tokenizer_text(field: Field, where: str) -> str:
    """The text of a tokenizer.json. ModelError where the file's kind is not known, with the remedy."""
    tokens, kind = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.model")
    if not tokens:
        raise ModelError(f"{where} has no tokenizer: put the model's tokenizer.json beside it")
    types = field("tokenizer.ggml.token_type") or [_NORMAL] * len(tokens)
    if len(types) != len(tokens):
        raise ModelError(f"{where} has {len(tokens)} tokens and {len(types)} token types: fetch it again")
    if kind == "gpt2":
        return _byte_level(tokens, types, field, where)
    if kind == "llama":
        return _sentencepiece(tokens, types, field, where)
    raise ModelError(f"{where} has a tokenizer of the kind {kind!r}: put the model's tokenizer.json beside it")


def _byte_level(tokens: Sequence[str], types: Sequence[int], field: Field, where: str) -> str:
    pre, merges = field("tokenizer.ggml.pre"), field("tokenizer.ggml.merges")
    if pre not in PRE_TOKENIZERS or merges is None:
        raise ModelError(
            f"{where} cuts text by the rule {pre!r}, which is not known here: put the model's tokenizer.json beside it"
        )
    pattern = PRE_TOKENIZERS[pre]
    steps: list[dict[str, Any]] = []
    if pattern == _DIGITS:
        steps.append({"type": "Digits", "individual_digits": True})
    elif pattern != _GPT_2:
        steps.append({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False})
    whole = pattern in (_GPT_2, _DIGITS)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    steps.append({**byte_level, "use_regex": whole})
    return _description(
        tokens,
        types,
        [merge.split(" ", 1) for merge in merges],
        pre_tokenizer={"type": "Sequence", "pretokenizers": steps},
        decoder={**byte_level, "use_regex": True},
        # Some of these vocabularies hold words that no merge leads to.
        model={"ignore_merges": pattern in (_LLAMA_3, _TEKKEN, _GPT_4O)},
    )


def _sentencepiece(tokens: Sequence[str], types: Sequence[int], field: Field, where: str) -> str:
    scores = field("tokenizer.ggml.scores")
    if scores is None or len(scores) != len(tokens):
        raise ModelError(f"{where} has no score for each token: put the model's tokenizer.json beside it")
    unknown = next((token for token, kind in zip(tokens, types, strict=True) if kind == _UNKNOWN), None)
    space = {"type": "Replace", "pattern": {"String": " "}, "content": _METASPACE}
    back = {"type": "Replace", "pattern": {"String": _METASPACE}, "content": " "}
    return _description(
        tokens,
        types,
        _merges(tokens, scores),
        normalizer={"type": "Sequence", "normalizers": [space]},
        decoder={"type": "Sequence", "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        model={"byte_fallback": _BYTE in types, "fuse_unk": True, "unk_token": unknown},
    )


def _merges(tokens: Sequence[str], scores: Sequence[float]) -> list[list[str]]:
    """Every way to make a token of two others, best token first, as transformers' SentencePiece converter does."""
    number = {token: index for index, token in enumerate(tokens)}
    found = []
    for token, score in zip(tokens, scores, strict=True):
        pairs = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        local = [pair for pair in pairs if pair[0] in number and pair[1] in number]
        local.sort(key=lambda pair: (number[pair[0]], number[pair[1]]))
        found += [(score, pair) for pair in local]
    found.sort(key=lambda entry: entry[0], reverse=True)
    return [list(pair) for _, pair in found]


def _description(
    tokens: Sequence[str], types: Sequence[int], merges: list[list[str]], *, model: dict[str, Any], **parts: Any
) -> str:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [
        {"id": number, "content": token, "special": kind != _USER_DEFINED, **flags}
        for number, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind in (_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED) and token
    ]
    vocabulary: dict[str, int] = {}
    for number, token in enumerate(tokens):
        vocabulary.setdefault(token, number)
    empty = {"dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": None,
            "pre_tokenizer": None,
            "post_processor": None,
            "decoder": None,
            **parts,
            "model": {"type": "BPE", **empty, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
            | model
            | {"vocab": vocabulary, "merges": merges},
        },
        ensure_ascii=False,
    )
