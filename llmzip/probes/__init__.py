"""Probes: what a model knows, memorised, was tuned to, prefers and how it scales, each as a measurement in bits.

One probe a file, one record for what each finds (``record.Finding``), one file for statistics. A probe gets its figures
of tokens from ``scoring``, prints nothing and writes nothing. May import what ``bench`` may, and ``bench``; ``cli`` and
``training`` import it. ``docs/probes.md`` says what each measures and what it does not show.
"""
