"""Writes a model as two files, ``params.bin`` and ``run.c``. See ``layout`` for the first.

May import ``layout``, ``engine``, ``memory``, ``predictors`` and ``errors``; ``cli`` and ``bench`` import it.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmzip.engine.tables import Rotary, exp_table, sigmoid_table
from llmzip.engine.weights import ENGINE_VERSION, Layer, Linear, Weights, load_weights, quantise_rows
from llmzip.errors import ModelError
from llmzip.memory import MEMORY_VERSION
from llmzip.memory.mixing import vocabulary_of
from llmzip.memory.tables import cost_table, logarithm_table, squash_table, stretch_table
from llmzip.memory.tree import TokenTree
from llmzip.predictors import ADAPTIVE, load_embedded
from llmzip.predictors.exact import load_exact
from llmzip.standalone.layout import HEADER, LAYOUT_VERSION, MAGIC, Matrix, joined

PROGRAM = Path(__file__).with_name("run.c")


def params_of(folder: Path, name: str) -> bytes:
    """``params.bin`` of the exact model in ``folder``, which archives call ``name``.

    Raises ModelError where the folder is no exact model, or has what ``run.c`` does not do: biases, matrices that are
    split, an embedding that is not stored as int8.
    """
    weights, predictor = load_weights(folder), load_exact(folder, name)
    shape, tokens = weights.shape, predictor.token_bytes
    if len(name.encode()) > 64:
        raise ModelError(f"the name {name!r} is longer than 64 bytes: rename the folder")
    header = np.zeros((), HEADER)
    header["magic"], header["layout"], header["engine"] = MAGIC, LAYOUT_VERSION, ENGINE_VERSION
    header["memory"] = MEMORY_VERSION
    header["sizes"] = (
        shape.vocabulary_size,
        shape.hidden_size,
        shape.layers,
        shape.heads,
        shape.key_value_heads,
        shape.head_dim,
        shape.feed_forward_size,
        shape.window,
        shape.start_token,
        sum(map(len, tokens)),
    )
    header["norm_epsilon"], header["rope_theta"] = shape.norm_epsilon, shape.rope_theta
    header["fingerprint"] = np.frombuffer(predictor.fingerprint, np.uint8)
    adaptive = load_embedded(ADAPTIVE)
    if adaptive.token_bytes == tokens:
        header["adaptive"] = np.frombuffer(adaptive.fingerprint, np.uint8)
    header["name"] = name.encode()
    sections: list[NDArray[np.generic]] = [
        exp_table().astype("<i4"),
        sigmoid_table().astype("<f4"),
        squash_table().astype("<i4"),
        stretch_table().astype("<i4"),
        logarithm_table().astype("<i4"),
        cost_table().astype("<i4"),
        Rotary(shape.head_dim, shape.rope_theta).doublings().astype("<f8"),
    ]
    for matrix in _matrices(weights):
        sections += [matrix.integers, matrix.scale.astype("<f4")]
    starts = np.cumsum([0, *map(len, tokens)]).astype("<u4")
    sections += [starts, np.frombuffer(b"".join(tokens), np.uint8)]
    sections += _tree_sections(vocabulary_of(tokens).tree)
    for alone in (False, True):
        sections += _memory_sections(tokens, alone)
    return joined(header, sections)


def _matrices(weights: Weights) -> list[Matrix]:
    """Input embedding, output, then those of each layer."""
    integers, scale = quantise_rows(weights.embedding)
    if not np.array_equal(integers * scale[:, None], weights.embedding):
        raise ModelError("the embedding is not stored as int8: store the model with python -m llmzip.training.store")
    linears = [weights.head]
    linears += [getattr(layer, name) for layer in weights.layers for name in Layer.__dataclass_fields__]
    return [Matrix(integers.astype(np.int8), scale), *map(_plain, linears)]


def _plain(linear: Linear) -> Matrix:
    if linear.bias is not None or len(linear.parts) > 1:
        raise ModelError("run.c has neither biases nor matrices of more than one part: decode with llmzip itself")
    return Matrix(np.ascontiguousarray(linear.parts[0].T).astype(np.int8), linear.scale)


def _tree_sections(tree: TokenTree) -> list[NDArray[np.generic]]:
    """Leaves, nodes, and the answers on the way to each token, the first in the lowest bit."""
    if tree.depth > 32:
        raise ModelError("the tree of these tokens is too deep for run.c: decode with llmzip itself")
    token_of_step = np.repeat(np.arange(len(tree.order)), np.diff(tree.path_start))
    steps = np.arange(len(tree.path_bit)) - tree.path_start[token_of_step]
    answers = tree.path_bit.astype(np.uint64) << steps.astype(np.uint64)
    paths = np.zeros(len(tree.order), np.uint64)
    np.add.at(paths, token_of_step, answers)
    nodes = (tree.order, tree.middle, tree.left, tree.right, tree.node_row)
    return [*(part.astype("<i4") for part in nodes), paths.astype("<u4")]


def _memory_sections(tokens: tuple[bytes, ...], alone: bool) -> list[NDArray[np.generic]]:
    state = vocabulary_of(tokens).beginning(alone=alone)
    learnt = [part.astype("<i4").ravel() for part in (state.certainty, state.hit_rate, state.final_weights)]
    return [state.unigram.astype("<u8"), np.concatenate(learnt), state.weights.astype("<i4")]
