"""The exact engine, the memory and the coder in C, for speed: the same bits as the definitions in Python.

``library`` finds and tries what was compiled, ``frame`` codes whole frames. ``engine/native`` and ``memory/native`` are
what stands before it in Python. Where nothing was compiled, the definitions run. May import ``predictor`` and
``errors``.
"""
