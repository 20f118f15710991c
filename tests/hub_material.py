"""Small Hugging Face folders for tests: a trained tokenizer of each family, and seeded random models of each kind."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import tokenizers
from conftest import SAMPLE
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

TEXTS = [SAMPLE, "the quick brown fox jumps over the lazy dog. " * 3, "for i in range(10):\n    print(i)\n"]

HOSTILE = [
    b"",
    b"\0",
    b"\xff",
    bytes(range(256)) * 2,
    b"\xed\xa0\x80\xc3",  # a surrogate and a cut character
    SAMPLE.encode(),
    b"<|start|><s></s><|endoftext|><unk>[UNK]<0x41><pad>",
    "e\u0301 \u212b \u2581\u2581the\u2581 \ufeff\u200b \ufb01 \u1100\u1161".encode(),
    "  two  spaces\n\n\tand tabs \r\n 👩\u200d👩\u200d👧 x ".encode(),
    b"HELLO Hello hello hElLo",
    b" " * 50,
    b"a" * 300,
]

HOSTILE_MIX = (
    "</s><|start|>[UNK]<0x41> e\u0301\u212b\ufb01 \u2581a  HeLLo\t👩\u200d👧\r\n".encode()
    + b"\0\x80\xff\xed\xa0\x80\xc3"
)
"""Of each kind a little: names of special tokens, marks for spaces, accents, emoji, what is no UTF-8, binary."""


def _added(content: str, number: int, special: bool = True) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, "special": special, **flags}


def byte_level() -> str:
    """As GPT-2: every byte has a token."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return str(tokenizer.to_str())


def byte_level_nfc() -> str:
    """As Qwen2 and GPT-NeoX: composes accents, and has runs of spaces as added tokens."""
    description = json.loads(byte_level())
    description["normalizer"] = {"type": "NFC"}
    size = len(description["model"]["vocab"])
    description["added_tokens"] += [_added(" " * (n + 2), size + n, special=False) for n in range(3)]
    return json.dumps(description)


def sentencepiece_bpe(*, byte_fallback: bool = True) -> str:
    """As Llama 2: marks for spaces, one put in front, tokens like <0x0A> for bytes that have no other."""
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=byte_fallback, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    named = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256) if byte_fallback]
    words = [" ".join(text.split()) for text in TEXTS[1:]]
    tokenizer.train_from_iterator(
        words, trainers.BpeTrainer(vocab_size=len(named) + 60, special_tokens=named, show_progress=False)
    )
    description = json.loads(tokenizer.to_str())
    description["added_tokens"] = description["added_tokens"][:3]
    return json.dumps(description)


def sentencepiece_without_bytes() -> str:
    """As the TinyStories model: the same, and characters that it does not know are unknown."""
    return sentencepiece_bpe(byte_fallback=False)


def unigram() -> str:
    """As T5 and XLM-R: compatibility forms replaced, white space split away."""
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("\u200b", "")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(
            vocab_size=120, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
        ),
    )
    return str(tokenizer.to_str())


def word_piece() -> str:
    """As BERT: lower case, no accents, white space dropped."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.WordPieceTrainer(vocab_size=150, special_tokens=["[PAD]", "[UNK]", "[CLS]"], show_progress=False),
    )
    return str(tokenizer.to_str())


FAMILIES: dict[str, Callable[[], str]] = {
    make.__name__: make
    for make in (
        byte_level,
        byte_level_nfc,
        sentencepiece_bpe,
        sentencepiece_without_bytes,
        unigram,
        word_piece,
    )
}
"""Name -> maker of the text of a ``tokenizer.json``."""


@cache
def tokenizer_text(family: str) -> str:
    return FAMILIES[family]()


def tokenizer_width(family: str) -> int:
    """Tokens that a model of the family's tokenizer must know."""
    return tokenizers.Tokenizer.from_str(tokenizer_text(family)).get_vocab_size()


_SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 24}
_GATED = {**_SMALL, "intermediate_size": 24, "num_key_value_heads": 1}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 24},
    "llama": _GATED,
    "qwen2": _GATED,
    "gpt_neox": {**_SMALL, "intermediate_size": 24, "rotary_pct": 0.5},
    "opt": {**_SMALL, "ffn_dim": 24, "word_embed_proj_dim": 16},
    "rwkv": {"hidden_size": 16, "num_hidden_layers": 2, "attention_hidden_size": 16, "context_length": 24},
    "mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "expand": 2, "conv_kernel": 3},
    "openai-gpt": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 24},
}
"""model_type -> a small shape. The last keeps neither keys and values nor a state between steps."""


OTHERS: dict[str, dict[str, Any]] = {"bert": {**_SMALL, "intermediate_size": 24}}
"""Likewise, for what not every test is about."""


def write_hub_folder(
    folder: Path, kind: str, family: str = "byte_level", *, seed: int = 1, extra_width: int = 5, **config: object
) -> Path:
    """A folder as transformers saves it. Its logits are a little wider than its vocabulary, as is common."""
    import torch
    import transformers

    torch.manual_seed(seed)
    width = tokenizer_width(family) + extra_width
    settings = {"vocab_size": width, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None, **config}
    shape = transformers.AutoConfig.for_model(kind, **{**(CONFIGURATIONS | OTHERS)[kind], **settings})
    model = transformers.AutoModelForCausalLM.from_config(shape)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # as sure of itself as a trained one
                parameter.mul_(8)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer_text(family), encoding="utf-8")
    return folder
