"""``probe ablation``: the bits that a layer, its attention, its MLP or a head hold on a text, and the logit lens.

Hooks change what passes between the modules of a model of transformers (an embedded one too, in floating point) and are
taken off again; no weight is touched. Imports no torch: tensors are changed by their own methods.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelError
from llmzip.predictor import Predictor
from llmzip.predictors.hub import HubPredictor
from llmzip.probes.record import Cell, Finding, Plot, Series, Table, figure, probed, read_input
from llmzip.probes.rows import token_rows
from llmzip.probes.statistics import chunk_sums, ratio_interval
from llmzip.scoring import each_distribution, token_costs

Array = NDArray[np.float64]
Part = Literal["layer", "attention", "mlp", "head"]
PARTS: tuple[Part, ...] = get_args(Part)
Replacement = Literal["zero", "mean", "resample"]
REPLACEMENTS: tuple[Replacement, ...] = get_args(Replacement)

CHUNK_TOKENS = 64

_BLOCKS = ("model.layers", "transformer.h", "gpt_neox.layers", "model.decoder.layers")
_NORMS = ("model.norm", "transformer.ln_f", "gpt_neox.final_layer_norm", "model.decoder.final_layer_norm")
_ATTENTION = ("self_attn", "attn", "attention")
_MLP = ("mlp", "feed_forward")
_OUTPUT = ("o_proj", "c_proj", "dense", "out_proj")

NOT_SHOWN = (
    "A component holds these bits on this text: that says nothing of a skill. Changes do not add up, since other "
    "components step in: never sum them. Zero puts a model where it never was; resampling usually hurts most. The lens "
    "reads middle layers badly, for they were not made to be read; only its sum is exact."
)


@dataclass(frozen=True)
class Component:
    """What is replaced: what a module puts out or, of a head, a slice of what goes into the output projection."""

    name: str
    module: Any
    part: Part
    inputs: slice | None = None


class Anatomy:
    """The modules of a loaded model. Raises ModelError where it has none that are known."""

    def __init__(self, predictor: Predictor) -> None:
        if not isinstance(predictor, HubPredictor):
            raise ModelError(f"{predictor.name!r} cannot be taken apart: run it with transformers, by --float")
        self.predictor = predictor
        self._model: Any = predictor.model.module
        self.blocks: list[Any] = list(self._found(_BLOCKS, "layers"))
        self.norm: Any = self._found(_NORMS, "last norm")

    def _found(self, paths: tuple[str, ...], what: str) -> Any:
        for path in paths:
            at: Any = self._model
            for step in path.split("."):
                at = getattr(at, step, None)
            if at is not None:
                return at
        raise ModelError(f"{self.predictor.name!r} keeps its {what} where this probe does not look: {', '.join(paths)}")

    def components(self, part: Part) -> Iterator[Component]:
        """All of a kind, layer by layer."""
        for index, block in enumerate(self.blocks):
            if part == "layer":
                yield Component(f"layer {index}", block, part)
                continue
            module = _child(block, _MLP if part == "mlp" else _ATTENTION)
            if part in ("attention", "mlp") and module is not None:
                yield Component(f"{part} {index}", module, part)
                continue
            output = None if module is None else _child(module, _OUTPUT)
            if output is None:
                raise ModelError(
                    f"layer {index} of {self.predictor.name!r} has no {part} of its own: ask for --part layer"
                )
            heads = int(self._model.config.get_text_config().num_attention_heads)
            # gpt2 keeps [inputs, outputs], all others [outputs, inputs].
            size = int(output.weight.shape[0 if type(output).__name__ == "Conv1D" else 1]) // heads
            for head in range(heads):
                yield Component(f"head {index}.{head}", output, part, slice(head * size, (head + 1) * size))


def _child(module: Any, names: tuple[str, ...]) -> Any:
    return next((found for name in names if (found := getattr(module, name, None)) is not None), None)


Change = Callable[[Any], Any]
"""From what a component adds, [rows, positions, width], to what it is to add instead."""


@contextmanager
def changed(component: Component, change: Change) -> Iterator[None]:
    """While it is open, the component adds what ``change`` says. The hook is taken off whatever happens."""

    def after(_: Any, given: tuple[Any, ...], options: dict[str, Any], output: Any) -> Any:
        whole = isinstance(output, tuple)
        out = output[0] if whole else output
        if component.part == "layer":  # it adds to what it is given
            x = given[0] if given else options["hidden_states"]
            new = x + change(out - x)
        else:
            new = change(out)
        return (new, *output[1:]) if whole else new

    def before(_: Any, given: tuple[Any, ...]) -> Any:
        x = given[0].clone()
        x[..., component.inputs] = change(x[..., component.inputs])
        return (x, *given[1:])

    if component.inputs is None:
        handle = component.module.register_forward_hook(after, with_kwargs=True)
    else:
        handle = component.module.register_forward_pre_hook(before)
    try:
        yield
    finally:
        handle.remove()


def costs(anatomy: Anatomy, tokens: NDArray[np.int64]) -> Array:
    """[n]: bits of each token, as ``scoring`` has them, with whatever hooks there are."""
    parts = each_distribution(tokens[None], anatomy.predictor, token_costs)
    return np.concatenate([figures[0, :, 0] for _, _, figures in parts])


def lens(anatomy: Anatomy, tokens: NDArray[np.int64]) -> list[Array]:
    """Bits of each token where the state before the first layer, and after each, is read as the last one is."""
    found = []
    for index in range(len(anatomy.blocks) + 1):
        states: list[Any] = []

        def keep_input(_: Any, given: tuple[Any, ...], options: dict[str, Any], states: list[Any] = states) -> None:
            states[:] = [given[0] if given else options["hidden_states"]]

        def keep_output(_: Any, __: Any, output: Any, states: list[Any] = states) -> None:
            states[:] = [output[0] if isinstance(output, tuple) else output]

        def read(_: Any, given: tuple[Any, ...], states: list[Any] = states) -> Any:
            return (states[0], *given[1:])

        if index == 0:
            kept = anatomy.blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True)
        else:
            kept = anatomy.blocks[index - 1].register_forward_hook(keep_output)
        reading = anatomy.norm.register_forward_pre_hook(read)
        try:
            found.append(costs(anatomy, tokens))
        finally:
            kept.remove()
            reading.remove()
    return found


def _replacing(
    anatomy: Anatomy, component: Component, how: Replacement, tokens: NDArray[np.int64], seed: int
) -> Change:
    """Zero; the component's mean over ``tokens``; or what it adds at other places of them, drawn anew each time."""
    if how == "zero":
        return lambda x: x * 0
    seen: list[Any] = []

    def watch(x: Any) -> Any:
        seen.append(x.detach().clone()[0])
        return x

    with changed(component, watch):
        costs(anatomy, tokens)
    if how == "mean":
        count = sum(len(one) for one in seen)
        mean = sum(one.sum(0) for one in seen) / count
        return lambda x: x * 0 + mean
    rng, largest = np.random.default_rng(seed), max(seen, key=len)
    return lambda x: x * 0 + largest[rng.integers(0, len(largest), x.shape[1]).tolist()]


def measure(
    predictor: Predictor,
    data: bytes,
    name: str,
    *,
    part: Part = "layer",
    replacement: Replacement = "mean",
    seed: int = 0,
) -> Finding:
    """What each component holds on a text, and the lens.

    The mean and what is resampled are of the text itself, gathered in a pass before. Raises ModelError where the model
    cannot be taken apart, UsageError for an empty text.
    """
    rows = token_rows(predictor, data, name)
    anatomy = Anatomy(predictor)
    sizes = chunk_sums(np.diff(rows.byte_ends, prepend=0).astype(np.float64), CHUNK_TOKENS)
    whole = costs(anatomy, rows.tokens)
    table: list[tuple[Cell, ...]] = []
    for component in anatomy.components(part):
        with changed(component, _replacing(anatomy, component, replacement, rows.tokens, seed)):
            without = costs(anatomy, rows.tokens)
        table.append((component.name, *ratio_interval(chunk_sums(without - whole, CHUNK_TOKENS), sizes, seed=seed)))
    read = [float(bits.sum()) / len(data) for bits in lens(anatomy, rows.tokens)]
    steps = [before - after for before, after in zip(read, read[1:], strict=False)]
    dearest = max(table, key=lambda row: float(row[1] or 0))
    lens_rows = tuple(
        ("embedding" if index == 0 else f"layer {index - 1}", rate, None if index == 0 else steps[index - 1])
        for index, rate in enumerate(read)
    )
    places = tuple(float(index) for index in range(len(table)))
    changes, low, high = (tuple(float(row[column] or 0) for row in table) for column in (1, 2, 3))
    return Finding(
        "ablation",
        (probed(predictor),),
        (read_input(name, data),),
        (
            figure("cost", float(whole.sum()) / len(data), "bits per byte"),
            figure(f"held most: {dearest[0]}", float(dearest[1] or 0), "bits per byte", headline=True),
            figure(
                "lens: embedding less last layer", read[0] - read[-1], "bits per byte", note="what the layers add up to"
            ),
            figure("lens: sum of the layers", sum(steps), "bits per byte"),
        ),
        NOT_SHOWN,
        (
            Table(
                f"Bits per byte without each, replaced by {replacement}", (part, "change", "low", "high"), tuple(table)
            ),
            Table("Logit lens, bits per byte", ("read after", "bits per byte", "gained"), lens_rows),
        ),
        (
            Plot(
                f"Bits per byte that each {part} holds",
                f"{part}, in order",
                "bits per byte",
                (Series("change", places, changes, low, high),),
            ),
            Plot(
                "Logit lens",
                "layers read",
                "bits per byte",
                (Series("lens", tuple(map(float, range(len(read)))), tuple(read)),),
            ),
        ),
        settings={"part": part, "replacement": replacement, "seed": seed},
    )
