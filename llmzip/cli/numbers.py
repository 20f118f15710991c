"""Numbers as people write them: ``7B`` parameters, ``14GB``, ``1.5GiB``. One system: K is 1,000, Ki is 1,024.

Only ``cli`` imports it.
"""

import re
from decimal import Decimal, InvalidOperation

from llmzip.errors import UsageError

_PREFIXES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def parse_count(text: str) -> float:
    """So many of something: 7e9, 7B and 7G are the same, then K, M and T. Raises UsageError."""
    units = {prefix: 1000**power for prefix, power in _PREFIXES.items()} | {"b": 1000**3}
    return _number(text, units, "7B, 350M or 7e9")


def parse_bytes(text: str) -> float:
    """So many bytes: 14e9, 14GB and 14G are the same, 1GiB is 2^30, 7B is seven. Raises UsageError."""
    decimal = {prefix + unit: 1000**power for prefix, power in _PREFIXES.items() for unit in ("", "b")}
    binary = {f"{prefix}i{unit}": 1024**power for prefix, power in _PREFIXES.items() if power for unit in ("", "b")}
    return _number(text, decimal | binary, "14GB, 1.5GiB or 14e9")


def _number(text: str, units: dict[str, int], examples: str) -> float:
    """Exactly, so that 1.1B is a whole number."""
    found = re.fullmatch(r"(nan|[+-]?inf|.*?[\d.])\s*([a-z]*)", text.strip(), re.ASCII | re.IGNORECASE)
    try:
        if found is None or found[2].lower() not in units:
            raise InvalidOperation
        number = Decimal(found[1])
        return float(number * units[found[2].lower()] if number.is_finite() else number)
    except (ArithmeticError, ValueError):
        raise UsageError(f"{text!r} is not a number: write it such as {examples}") from None
