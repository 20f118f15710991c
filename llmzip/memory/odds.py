"""Log-odds of the answers along the tree, from a model's floating-point logits: much the same everywhere, not exact.

For portable archives, which measure how far two ways to compute them lie apart and round the rest away. Compiled:
imports numba, so import it late. Imported by ``portable`` and ``predictors/hub``.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from llmzip.compiled import kernel
from llmzip.memory.tree import TokenTree, build_tree

LEAST_LOGIT = -700.0
"""Below the largest, in nats: no token is less likely, so that no node's mass is 0."""

_kernel = kernel(error_model="numpy")


@lru_cache(maxsize=2)
def tree_of(token_bytes: tuple[bytes, ...]) -> TokenTree:
    """The tree of a vocabulary, kept for the next frame."""
    return build_tree(token_bytes)


def leaf_masses(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """[n, vocabulary]: the probability of each token, up to a factor a row."""
    masses = logits.astype(np.float64)
    masses -= masses.max(1, keepdims=True)
    np.maximum(masses, LEAST_LOGIT, out=masses)
    return np.exp(masses, out=masses)


@_kernel
def _fill_nodes(leaves, left, right, nodes):  # type: ignore[no-untyped-def]
    """The mass below each node, summed along the tree, so that nothing cancels."""
    for number in range(nodes.size):
        node = nodes.size - 1 - number
        below, above = left[node], right[node]
        nodes[node] = (nodes[below] if below >= 0 else leaves[~below]) + (
            nodes[above] if above >= 0 else leaves[~above]
        )


@_kernel
def _fill_odds(leaves, left, right, tokens, path_start, path_node, odds):  # type: ignore[no-untyped-def]
    nodes = np.empty(left.size)
    for row in range(tokens.size):
        _fill_nodes(leaves[row], left, right, nodes)
        start = path_start[tokens[row]]
        for step in range(start, path_start[tokens[row] + 1]):
            below, above = left[path_node[step]], right[path_node[step]]
            odds[row, step - start] = math.log(nodes[above] if above >= 0 else leaves[row, ~above]) - math.log(
                nodes[below] if below >= 0 else leaves[row, ~below]
            )


def path_odds(logits: NDArray[np.float32], tokens: NDArray[np.int64], tree: TokenTree) -> NDArray[np.float64]:
    """[n, depth] nats: the log-odds of "right" at each node on the way to a token; 0 past its end.

    logits: [n, vocabulary], finite; tokens: [n].
    """
    odds = np.zeros((len(tokens), tree.depth))
    _fill_odds(leaf_masses(logits), tree.left, tree.right, tokens, tree.path_start, tree.path_node, odds)
    return odds
