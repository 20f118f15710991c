"""Learns the byte-complete BPE tokenizer and writes it in the Hugging Face ``tokenizers`` format."""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from llmzip.training.rungs import START_TOKEN, VOCABULARY_SIZE

WORD_PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)"  # English contractions
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"  # a word with the space or quote before it
    r"|\p{N}{1,2}"  # short numbers: a small vocabulary cannot hold all thousands
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"  # punctuation, with the line end that follows
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"  # line ends, indentation
)
START_NAME = "<|start|>"


def learn_tokenizer(texts: Iterable[str], vocabulary_size: int = VOCABULARY_SIZE) -> str:
    """The JSON text of a ByteLevel BPE tokenizer with all 256 bytes, the start token as id 0, and no special tokens.

    The start token is an ordinary vocabulary entry that no merge produces: text that spells its name is
    tokenised as the characters it consists of.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[START_NAME],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=24,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    description = json.loads(tokenizer.to_str())
    description["added_tokens"] = []
    assert description["model"]["vocab"][START_NAME] == START_TOKEN
    return json.dumps(description, ensure_ascii=False, indent=None, separators=(",", ":")) + "\n"


def save_tokenizer(description: str, folder: Path) -> None:
    """Writes ``tokenizer.json`` and the small file that lets ``AutoTokenizer`` find the right class."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(description, encoding="utf-8", newline="\n")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000_000,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8", newline="\n")
