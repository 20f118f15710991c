"""The exact engine and the memory in C, for speed: the same bits as ``engine`` and ``memory/reference``, which define them.

``library`` finds and tries what was compiled, ``streams`` are contexts of the exact predictor, ``frame`` codes whole
frames. Where nothing was compiled, the definitions run. May import ``engine`` (weights and tables), ``memory``,
``predictor`` and ``errors``; ``predictors`` imports it.
"""
