"""The exact engine: Llama-family inference whose results are the same bits on every machine.

Three rules make it so (``docs/arithmetic.md`` gives the proofs):

1. every sum is over integers that cannot round: products of small integers held in float32, sums below 2^24;
2. everything else is one IEEE-754 operation at a time (+ - * / sqrt, round half to even, max, compare);
3. exp, sigmoid, sine and cosine are tables, computed in correctly rounded decimal arithmetic.

Version 2, for models that were not trained for it, has wider inputs and more families: read ``families``,
``rope_scaling``, ``wide_weights``, ``wide_ops`` (its arithmetic), ``wide_model``.

Read ``tables``, ``weights``, ``array_ops`` (the arithmetic, in plain array code: the definition), ``model`` (the
layers), ``native`` (the same in C, which is what runs where it was compiled). May import ``native``, ``documents``,
``model_folder``, ``errors`` and ``predictor``; only ``predictors``, ``standalone`` and ``training`` import it.
"""
