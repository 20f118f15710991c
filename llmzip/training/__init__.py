"""How the embedded rungs were made: text -> tokenizer -> packed tokens -> training -> Hugging Face folder.

Run as ``python -m llmzip.training RUNG --text DIR --work DIR``. Needs torch and transformers (the
``[train]`` extra). Nothing outside this folder imports it, and it imports nothing of the codec except the
tokenizer and, for the card, the exact engine that will run the rung.
"""
