"""Measures predictors and classical codecs on the same files, in bits per byte, and guards the number.

Every size was decoded and compared before it counts. Prints nothing: ``cli`` does. May import the codec and
what lies below it; only ``cli`` imports it.
"""
