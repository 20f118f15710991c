"""Log-odds of the answers along the tree, from a model's floating-point logits: much the same everywhere, not exact.

For portable archives, which measure how far two ways to compute them lie apart and round the rest away. Imported by
``portable``, ``scoring`` and ``predictors/hub``.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from llmzip.memory.tree import TokenTree, build_tree

LEAST_LOGIT = -700.0
"""Below the largest, in nats: no token is less likely, so that no node's mass is 0."""


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


def node_masses(leaves: NDArray[np.float64], tree: TokenTree) -> NDArray[np.float64]:
    """[n, vocabulary - 1 + vocabulary]: what lies below each node, summed along the tree, so that nothing cancels.

    leaves: [n, vocabulary], by token. Behind the nodes stand the leaves: see ``TokenTree.below``.
    """
    count = len(tree.left)
    masses = np.empty((len(leaves), count + leaves.shape[1]))
    masses[:, count:] = leaves
    left, right = tree.below
    for level in reversed(tree.levels):
        masses[:, level] = masses[:, left[level]] + masses[:, right[level]]
    return masses


def path_odds(logits: NDArray[np.float32], tokens: NDArray[np.int64], tree: TokenTree) -> NDArray[np.float64]:
    """[n, depth] nats: the log-odds of "right" at each node on the way to a token; 0 past its end.

    logits: [n, vocabulary], finite; tokens: [n].
    """
    masses = node_masses(leaf_masses(logits), tree)
    left, right = tree.below
    starts, lengths = tree.path_start[tokens], np.diff(tree.path_start)[tokens]
    steps = np.arange(tree.depth)
    passed = steps < lengths[:, None]
    nodes = tree.path_node[np.where(passed, starts[:, None] + steps, 0)]
    rows = np.arange(len(tokens))[:, None]
    odds: NDArray[np.float64] = np.log(masses[rows, right[nodes]]) - np.log(masses[rows, left[nodes]])
    odds[~passed] = 0
    return odds
