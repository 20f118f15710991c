"""A model as two files: ``params.bin``, all that was learnt, and ``run.c``, the program that decodes with it.

``writing`` makes the first from an exact predictor and puts the second beside it; ``reading`` makes a predictor of
``params.bin`` that decodes. Knows no archive. May import ``engine``, ``memory``, ``predictors``, ``predictor`` and
``errors``; ``cli`` and ``bench`` import it.
"""
