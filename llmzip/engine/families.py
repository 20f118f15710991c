"""Families of models that version 2 of the arithmetic runs: one row each, and ``config.json`` to an ``Architecture``.

A family that is no row is refused by name, and so is whatever a row does not say that its family may have. Reads
dictionaries, no files. May import ``errors`` and the modules beside it; ``wide_weights`` and ``predictors`` import it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llmzip.engine.rope_scaling import RotaryRule, rotary_rule
from llmzip.errors import ModelError

DEFAULT_CONTEXT = 1024
"""Positions that a layer with full attention sees, its own included, besides the sinks."""

SINKS = 4
"""The first positions of a stream stay in every window that was cut: models park attention that they do not need there
(Xiao et al. 2023, arXiv 2309.17453)."""

LARGEST_WINDOW = 1 << 14
LARGEST_HEAD = 1040
"""head_dim * 127^2 stays below 2^24."""


@dataclass(frozen=True)
class Family:
    """What sets a family apart from Llama."""

    activation: Literal["silu", "gelu"] = "silu"
    norm: Literal["rms", "layer"] = "rms"
    norm_offset: int = 0
    """Added to the stored weights of every norm."""
    norms: Literal["before", "after", "both"] = "before"
    """Where the norms of a layer stand: before attention and feed-forward, after each, or both."""
    query_key_norm: Literal["", "head", "whole"] = ""
    """Norms of queries and keys before rotation: over each head, or over all heads together."""
    fused: bool = False
    """Whether q, k, v and gate, up are stored as one matrix each."""
    slides: Literal["", "always", "if asked"] = ""
    """Whether ``sliding_window`` counts, and whether ``use_sliding_window`` must say so."""
    full_every: int = 1
    """Of layers that slide where the config has no ``layer_types``: every so many-th does not; 1: all slide."""
    root_embedding: bool = False
    """Embeddings are multiplied by the root of the width."""
    may: frozenset[str] = frozenset()
    """Of "partial" rotation, "caps", "multipliers", "unrotated" layers, "query scalar"."""


_GEMMA = {"activation": "gelu", "norm_offset": 1, "root_embedding": True}
_GEMMA_2 = {**_GEMMA, "norms": "both", "slides": "always", "may": frozenset({"caps", "query scalar"})}

FAMILIES: dict[str, Family] = {
    "llama": Family(),
    "mistral": Family(slides="always"),
    "qwen2": Family(slides="if asked"),
    "qwen3": Family(slides="if asked", query_key_norm="head"),
    "gemma": Family(**_GEMMA),  # type: ignore[arg-type]
    "gemma2": Family(**_GEMMA_2, full_every=2),  # type: ignore[arg-type]
    "gemma3_text": Family(**_GEMMA_2, full_every=6, query_key_norm="head"),  # type: ignore[arg-type]
    "phi3": Family(fused=True, slides="always", may=frozenset({"partial"})),
    "olmo2": Family(norms="after", query_key_norm="whole"),
    "smollm3": Family(slides="if asked", may=frozenset({"unrotated"})),
    "granite": Family(may=frozenset({"multipliers"})),
    "stablelm": Family(norm="layer", may=frozenset({"partial"})),
}
"""``model_type`` -> row."""

_ACTIVATIONS = {"silu": {"silu", "swish"}, "gelu": {"gelu_pytorch_tanh", "gelu_new", "gelu"}}
_REFUSED_SWITCHES = ("use_parallel_residual", "qk_layernorm", "use_bidirectional_attention")


@dataclass(frozen=True)
class LayerRule:
    """What one layer does with positions."""

    window: int
    """Positions that it sees, its own included."""
    sinks: int
    """Of a stream's first positions, seen besides."""
    rotary: int | None
    """Which of the architecture's rotary rules; None for a layer without rotation."""


@dataclass(frozen=True)
class Architecture:
    """All that the arithmetic of version 2 depends on besides the weights."""

    vocabulary_size: int
    hidden_size: int
    heads: int
    key_value_heads: int
    head_dim: int
    feed_forward_size: int
    norm_epsilon: float
    start_token: int
    positions: int
    """That the model was trained for: no sink is farther away."""
    layers: tuple[LayerRule, ...]
    rotaries: tuple[RotaryRule, ...]
    attention_scale: float
    """Factor of query times key, in nats."""
    activation: Literal["silu", "gelu"]
    norm: Literal["rms", "layer"]
    norms: Literal["before", "after", "both"]
    query_key_norm: Literal["", "head", "whole"]
    score_cap: float | None
    logit_cap: float | None


@dataclass(frozen=True)
class Folding:
    """What is multiplied into the weights when they are loaded, so that the arithmetic need not know."""

    fused: bool
    norm_offset: int
    embedding: float
    residual: float
    logits: float
    """Divides the logits."""
    tied: bool


def read_architecture(config: Mapping[str, Any], *, context: int = DEFAULT_CONTEXT) -> tuple[Architecture, Folding]:
    """The architecture in a config.json and how its weights are folded. Raises ModelError with the reason.

    context: positions that full attention sees, as far as the model was trained for as many.
    """
    kind = config.get("model_type")
    family = FAMILIES.get(str(kind))
    if family is None:
        raise ModelError(
            f"model_type {kind!r} cannot run in the exact engine: use one of {', '.join(sorted(FAMILIES))}, or --float"
        )
    try:
        return _read(config, family, context)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, ArithmeticError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise ModelError(f"config.json is not usable ({reason}): take the model again") from None


def _read(config: Mapping[str, Any], family: Family, context: int) -> tuple[Architecture, Folding]:
    _refuse_what_is_no_row(config, family)
    hidden, heads = _size(config, "hidden_size", 1 << 15), _size(config, "num_attention_heads", 1 << 10)
    groups = _size(config, "num_key_value_heads", heads) if config.get("num_key_value_heads") else heads
    dim = _size(config, "head_dim", LARGEST_HEAD) if config.get("head_dim") else hidden // heads
    count, vocabulary = _size(config, "num_hidden_layers", 1 << 10), _size(config, "vocab_size", 1 << 20)
    positions = _size(config, "max_position_embeddings", 1 << 30)
    if heads % groups or dim % 2 or not 2 <= dim <= LARGEST_HEAD or vocabulary < 3:
        raise ValueError(f"{heads} heads in {groups} groups of {dim}, vocabulary {vocabulary}")
    if not 2 <= context <= LARGEST_WINDOW:
        raise ModelError(f"a context of {context} tokens cannot be had: choose 2 to {LARGEST_WINDOW}")
    rules, kinds = _rotary_rules(config, family, dim, positions)
    slides = _sliding_layers(config, family, count)
    rotated = _rotated_layers(config, family, count)
    full = min(positions, context)
    window = _size(config, "sliding_window", 1 << 30) if any(slides) else full
    layers = tuple(
        LayerRule(
            min(window, LARGEST_WINDOW) if slid else full,
            0 if slid else SINKS,
            (kinds["sliding_attention" if slid else "full_attention"]) if turned else None,
        )
        for slid, turned in zip(slides, rotated, strict=True)
    )
    epsilon = float(config.get("rms_norm_eps") or config.get("layer_norm_eps") or 1e-6)
    architecture = Architecture(
        vocabulary_size=vocabulary,
        hidden_size=hidden,
        heads=heads,
        key_value_heads=groups,
        head_dim=dim,
        feed_forward_size=_size(config, "intermediate_size", 1 << 17),
        norm_epsilon=epsilon,
        start_token=_start_token(config, vocabulary),
        positions=positions,
        layers=layers,
        rotaries=rules,
        attention_scale=_attention_scale(config, family, dim),
        activation=family.activation,
        norm=family.norm,
        norms=family.norms,
        query_key_norm=family.query_key_norm,
        score_cap=_cap(config, "attn_logit_softcapping", family),
        logit_cap=_cap(config, "final_logit_softcapping", family),
    )
    multipliers = {
        key: _factor(config, key) if "multipliers" in family.may else 1.0
        for key in ("embedding_multiplier", "residual_multiplier", "logits_scaling")
    }
    folding = Folding(
        fused=family.fused,
        norm_offset=family.norm_offset,
        embedding=math.sqrt(hidden) if family.root_embedding else multipliers["embedding_multiplier"],
        residual=multipliers["residual_multiplier"],
        logits=multipliers["logits_scaling"],
        tied=bool(config.get("tie_word_embeddings", family.root_embedding)),
    )
    if not 1e-12 <= epsilon <= 1.0:
        raise ValueError(f"the norms' epsilon is {epsilon}")
    return architecture, folding


def _refuse_what_is_no_row(config: Mapping[str, Any], family: Family) -> None:
    kind = config["model_type"]
    stored = config.get("quantization_config")
    if stored:
        method = stored.get("quant_method") if isinstance(stored, dict) else stored
        raise ModelError(
            f"its weights are stored as {method!r}, which the exact engine does not read: take the original checkpoint "
            "(float16 or bfloat16 safetensors) or a GGUF file of the model"
        )
    activation = config.get("hidden_activation") or config.get("hidden_act") or family.activation
    if activation not in _ACTIVATIONS[family.activation] | ({"gelu"} if kind == "gemma" else set()):
        raise ModelError(f"activation {activation!r} of {kind} cannot run in the exact engine: run it with --float")
    for switch in _REFUSED_SWITCHES:
        if config.get(switch):
            raise ModelError(f"{switch} of {kind} cannot run in the exact engine: run it with --float")


def _rotary_rules(
    config: Mapping[str, Any], family: Family, dim: int, positions: int
) -> tuple[tuple[RotaryRule, ...], dict[str, int]]:
    """The rules, and which of them each kind of layer has."""
    stated = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(stated, dict):
        raise ValueError(f"rope parameters are {stated!r}")
    theta = config.get("rope_theta", 10000.0)
    local = config.get("rope_local_base_freq")
    if "full_attention" in stated:
        by_kind = {name: {"rope_theta": theta, **stated[name]} for name in ("full_attention", "sliding_attention")}
    elif local is not None:
        by_kind = {"full_attention": {"rope_theta": theta, **stated}, "sliding_attention": {"rope_theta": local}}
    else:
        by_kind = dict.fromkeys(("full_attention", "sliding_attention"), {"rope_theta": theta, **stated})
    rules: list[RotaryRule] = []
    kinds: dict[str, int] = {}
    for name, parameters in by_kind.items():
        share = parameters.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
        turned = int(dim * float(share)) if "partial" in family.may else dim
        if not 2 <= turned <= dim or turned % 2:
            raise ValueError(f"{turned} of {dim} dimensions are rotated")
        original = config.get("original_max_position_embeddings") or positions
        rule = rotary_rule(parameters, turned, int(original))
        if rule not in rules:
            rules.append(rule)
        kinds[name] = rules.index(rule)
    return tuple(rules), kinds


def _sliding_layers(config: Mapping[str, Any], family: Family, count: int) -> list[bool]:
    window, asked = config.get("sliding_window"), bool(config.get("use_sliding_window"))
    if not window or not family.slides or (family.slides == "if asked" and not asked):
        return [False] * count
    types = config.get("layer_types")
    if types:
        if len(types) < count or not set(types) <= {"sliding_attention", "full_attention"}:
            raise ValueError(f"layer_types are {sorted(set(map(str, types)))} for {count} layers")
        return [kind == "sliding_attention" for kind in types[:count]]
    if family.slides == "if asked":
        first = int(config.get("max_window_layers") or 0)
        return [index >= first for index in range(count)]
    every = int(config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or family.full_every)
    return [every == 1 or bool((index + 1) % every) for index in range(count)]


def _rotated_layers(config: Mapping[str, Any], family: Family, count: int) -> list[bool]:
    if "unrotated" not in family.may:
        return [True] * count
    stated = config.get("no_rope_layers")
    if stated:
        if len(stated) < count:
            raise ValueError(f"{len(stated)} no_rope_layers for {count} layers")
        return [bool(turned) for turned in stated[:count]]
    interval = int(config.get("no_rope_layer_interval") or 4)
    return [bool((index + 1) % interval) for index in range(count)]


def _attention_scale(config: Mapping[str, Any], family: Family, dim: int) -> float:
    scalar = config.get("query_pre_attn_scalar") if "query scalar" in family.may else None
    stated = "multipliers" in family.may
    scale = _factor(config, "attention_multiplier") if stated else 1.0 / math.sqrt(float(scalar or dim))
    if not 1e-4 <= scale <= 16:
        raise ValueError(f"the factor of attention is {scale}")
    return scale


def _cap(config: Mapping[str, Any], key: str, family: Family) -> float | None:
    value = config.get(key) if "caps" in family.may else None
    if value is None:
        return None
    if not 1e-2 <= float(value) <= 1e6:
        raise ValueError(f"{key} is {value}")
    return float(value)


def _factor(config: Mapping[str, Any], key: str) -> float:
    value = float(config.get(key) or 1.0)
    if not 1e-6 <= value <= 1e6:
        raise ValueError(f"{key} is {value}")
    return value


def _start_token(config: Mapping[str, Any], vocabulary: int) -> int:
    for key in ("bos_token_id", "eos_token_id"):
        token: Any = config.get(key)
        token = token[0] if isinstance(token, list) and token else token
        if token is not None:
            if not 0 <= int(token) < vocabulary:
                raise ValueError(f"start token {token} is outside the vocabulary of {vocabulary}")
            return int(token)
    return 0


def _size(config: Mapping[str, Any], key: str, limit: int) -> int:
    value = int(config[key])
    if not 1 <= value <= limit:
        raise ValueError(f"{key} is {value}")
    return value
