"""Memory: what a text has shown so far sharpens a model's distribution, or stands alone. See ``docs/decisions.md``.

``tree`` says which yes/no decisions a token is, ``tables`` holds the arithmetic's tables, ``kernels`` the compiled
mixing network, ``mixing`` puts them together. Integers only, so that every machine gets the same bits. Knows no
archives, models or files. May import ``coder``, ``compiled``, ``errors`` and ``predictor``.
"""

MEMORY_VERSION = 1
"""Of the memory that writes, part of fingerprints: raise it with any change that moves one of its probabilities."""

READABLE_MEMORY_VERSIONS = (1,)
"""Those that predictors can still be given (``VersionedPredictor.as_of``), so that their archives decode."""
