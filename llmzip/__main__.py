"""``python -m llmzip``: the same as the command ``llmzip``."""

from llmzip.cli import main

if __name__ == "__main__":
    main()
