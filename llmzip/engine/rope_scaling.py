"""Rotary frequencies as models state them: plain, linear, llama3, yarn, or a factor for each.

Computed in ``decimal``, so that they are the same digits on every machine. What is not here is refused by name. May
import ``errors`` and ``tables``; ``families`` imports it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from llmzip.engine.tables import PI, decimal_context, plain_frequencies
from llmzip.errors import ModelError


@dataclass(frozen=True)
class RotaryRule:
    """How far a pair of dimensions turns from one position to the next."""

    frequencies: tuple[Decimal, ...]
    """Radians a position, one a pair: pair i is dimensions i and i + len(frequencies) of a head."""
    magnitude: float = 1.0
    """Factor of sines and cosines (yarn)."""


def rotary_rule(parameters: Mapping[str, Any], dim: int, positions: int) -> RotaryRule:
    """The rule that ``rope_parameters`` of a config.json describe, for ``dim`` rotated dimensions a head.

    parameters: ``rope_theta`` and, for all but plain ones, ``rope_type`` and what it needs; positions: the model's
    ``max_position_embeddings``. Formulas as in transformers' ``modeling_rope_utils``. Raises ModelError where the type
    is unknown, KeyError, TypeError or ValueError where a number is missing or none.
    """
    theta = float(parameters["rope_theta"])
    if not 1.0 <= theta <= 1e12:
        raise ValueError(f"rope_theta is {theta}")
    kind = str(parameters.get("rope_type") or parameters.get("type") or "default")
    if kind not in _KINDS:
        known = ", ".join(sorted(_KINDS))
        raise ModelError(f"rope scaling {kind!r} cannot run in the exact engine ({known} can): run it with --float")
    with localcontext(decimal_context()):
        plain = plain_frequencies(dim, theta)
        rule = _KINDS[kind](plain, parameters, positions)
    if not all(0 < frequency <= 1 for frequency in rule.frequencies) or not 0.1 <= rule.magnitude <= 10:
        raise ValueError(f"rope scaling {kind} turns by more than a radian a position")
    return rule


def _number(parameters: Mapping[str, Any], key: str, default: float | None = None) -> Decimal:
    value = parameters.get(key, default)
    if value is None:
        value = default
    if value is None:
        raise ValueError(f"its rope parameters lack {key}")
    number = Decimal(float(value))
    if not number.is_finite() or number <= 0:
        raise ValueError(f"{key} is {value}")
    return number


def _default(plain: tuple[Decimal, ...], parameters: Mapping[str, Any], positions: int) -> RotaryRule:
    return RotaryRule(plain)


def _linear(plain: tuple[Decimal, ...], parameters: Mapping[str, Any], positions: int) -> RotaryRule:
    """Positions divided by a factor (Chen et al. 2023, arXiv 2306.15595)."""
    factor = _number(parameters, "factor")
    return RotaryRule(tuple(frequency / factor for frequency in plain))


def _llama3(plain: tuple[Decimal, ...], parameters: Mapping[str, Any], positions: int) -> RotaryRule:
    """Llama 3.1: long waves divided by the factor, short ones kept, those between blended."""
    factor, low, high = (_number(parameters, key) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    original = _number(parameters, "original_max_position_embeddings", positions)
    if high <= low:
        raise ValueError(f"high_freq_factor {high} is not above low_freq_factor {low}")

    def scaled(frequency: Decimal) -> Decimal:
        turns = original * frequency / (2 * PI)  # within the original context
        if turns < low:
            return frequency / factor
        if turns > high:
            return frequency
        smooth = (turns - low) / (high - low)
        return (1 - smooth) * frequency / factor + smooth * frequency

    return RotaryRule(tuple(map(scaled, plain)))


def _yarn(plain: tuple[Decimal, ...], parameters: Mapping[str, Any], positions: int) -> RotaryRule:
    """YaRN (Peng et al. 2023, arXiv 2309.00071): a ramp over the dimensions between divided and kept."""
    factor, theta = _number(parameters, "factor"), _number(parameters, "rope_theta")
    original = _number(parameters, "original_max_position_embeddings", positions)
    dim = 2 * len(plain)

    def dimension(turns: Decimal) -> Decimal:
        return dim * (original / (turns * 2 * PI)).ln() / (2 * theta.ln())

    low = dimension(_number(parameters, "beta_fast", 32))
    high = dimension(_number(parameters, "beta_slow", 1))
    if parameters.get("truncate", True):
        low, high = low.to_integral_value("ROUND_FLOOR"), high.to_integral_value("ROUND_CEILING")
    low, high = max(low, Decimal(0)), min(high, Decimal(dim - 1))
    if low == high:
        high += Decimal("0.001")
    frequencies = []
    for index, frequency in enumerate(plain):
        divided = min(max((index - low) / (high - low), Decimal(0)), Decimal(1))
        frequencies.append(frequency / factor * divided + frequency * (1 - divided))

    def scale(key: str) -> Decimal:
        value = 1 if key == "" else float(parameters[key])
        return Decimal("0.1") * Decimal(value) * factor.ln() + 1 if factor > 1 else Decimal(1)

    if parameters.get("attention_factor") is not None:
        magnitude = _number(parameters, "attention_factor")
    elif parameters.get("mscale") and parameters.get("mscale_all_dim"):
        magnitude = scale("mscale") / scale("mscale_all_dim")
    else:
        magnitude = scale("")
    return RotaryRule(tuple(frequencies), float(magnitude))


def _factors(plain: tuple[Decimal, ...], parameters: Mapping[str, Any], positions: int) -> RotaryRule:
    """Each frequency divided by a number of its own, as GGUF files of Llama 3 hold them."""
    factors = [Decimal(float(factor)) for factor in parameters["factors"]]
    if len(factors) != len(plain) or not all(factor.is_finite() and factor > 0 for factor in factors):
        raise ValueError(f"{len(factors)} rotary factors for {len(plain)} pairs")
    return RotaryRule(tuple(frequency / factor for frequency, factor in zip(plain, factors, strict=True)))


_KINDS = {"default": _default, "linear": _linear, "llama3": _llama3, "yarn": _yarn, "factors": _factors}
