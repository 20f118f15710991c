"""Memory: what a text has shown so far sharpens a model's distribution, or stands alone. See ``docs/memory.md``.

``tree`` says which yes/no decisions a token is, ``tables`` holds the arithmetic's tables, ``mixing`` is what others
use. Version 2 is defined by ``reference`` (with ``layout``, ``text``, ``hashing``) and computed by ``native`` in C;
``version1`` only decodes old archives. Integers only, so that every machine gets the same bits. Knows no archives,
models or files. May import ``coder``, ``native``, ``errors`` and ``predictor``.
"""

MEMORY_VERSION = 2
"""Of the memory that writes, part of fingerprints: raise it with any change that moves one of its probabilities."""

READABLE_MEMORY_VERSIONS = (2, 1)
"""Those that predictors can still be given (``VersionedPredictor.as_of``), so that their archives decode."""
