"""Coding that survives small differences of floating-point logits: an archive decodes wherever
they differ by less than a stated tolerance.

A token is the answers along a tree, as with memory. The log-odds of each answer are rounded to the cell of a grid, and
the cell, not the log-odds, gives the integer probability. Two machines agree on a cell unless its log-odds lie close
to a border; then the token is coded with another of eight grids, whose borders lie elsewhere. Which grid is one symbol
a token, nearly always the first. After PMATIC (Adler and Tang, arXiv 2601.10678), where a bit a decision does this.
Imports numba: import late. May import ``coder``, ``memory`` (its tree), ``predictor`` and ``errors``.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import lru_cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from llmzip.coder import Decoder, Encoder
from llmzip.memory.tree import TokenTree, build_tree
from llmzip.predictor import FREQUENCY_TOTAL, PortablePredictor

GRIDS = 8
UNITS = 1 << 12
"""Of a grid's borders, in a nat."""
LARGEST_ODDS = 17
"""Nats; surer than 2^-24 is not needed."""
LEAST_SHARE = 16
"""Of 2^24, for an answer: the coder takes no less than 2."""
LARGEST_CELL = 2.0
WIDTH = 2.0
"""Of cells, for a tolerance of 1: what was cheapest on text (``docs/decisions.md``)."""

_ADAPT, _FIRST_COUNTS = 24, (64, 1, 1, 1, 1, 1, 1, 1)


def cell_width(tolerance: float) -> float:
    """The width of cells, in units of the angle asin(sqrt(p)) on which rounding costs the same everywhere.

    Wider cells round more, narrower ones have more tokens near a border. The width is a multiple of
    2^-20, so that no two machines disagree on it.
    """
    return round(WIDTH * math.cbrt(tolerance) * (1 << 20)) / (1 << 20)


class Grid:
    """Borders of all eight grids, in nats, ascending, and the probability of "right" in every cell."""

    def __init__(self, width: float) -> None:
        """``width``: see ``cell_width``."""
        with localcontext(Context(prec=24, rounding=ROUND_HALF_EVEN)):
            step, units, positive = Decimal(width) / GRIDS, Decimal(UNITS), [0]
            widest = Decimal(LARGEST_CELL) / GRIDS
            while positive[-1] < LARGEST_ODDS * UNITS:
                half = Decimal(positive[-1]) / units / 2
                size = min(widest, 2 * step * (half.exp() + (-half).exp()))
                positive.append(positive[-1] + max(1, int((size * units).to_integral_value())))
            borders = [-border for border in positive[:0:-1]] + positive
            # The cell with fine index i of grid k lies between the nearest borders whose number is k modulo GRIDS.
            self.shares = np.zeros((GRIDS, len(borders) + 1), np.int64)
            for grid in range(GRIDS):
                own = [number for number in range(len(borders)) if number % GRIDS == grid]
                for cell in range(len(own) + 1):
                    low = own[cell - 1] if cell else 0
                    high = own[cell] if cell < len(own) else len(borders) - 1
                    middle = Decimal(borders[low] + borders[high]) / units / 2
                    share = int((FREQUENCY_TOTAL / (1 + (-middle).exp())).to_integral_value())
                    first = own[cell - 1] + 1 if cell else 0
                    end = own[cell] + 1 if cell < len(own) else len(borders) + 1
                    self.shares[grid, first:end] = min(max(share, LEAST_SHARE), FREQUENCY_TOTAL - LEAST_SHARE)
        self.borders = np.array(borders, np.float64) / UNITS


class GridChoice:
    """Adaptive frequencies of the grid of the next token, shared by all streams."""

    def __init__(self) -> None:
        self._counts = np.array(_FIRST_COUNTS, np.int64)

    def frequencies(self) -> NDArray[np.int64]:
        """[1, GRIDS], with sum 2^24."""
        free = FREQUENCY_TOTAL - GRIDS
        shares: NDArray[np.int64] = self._counts * free // self._counts.sum() + 1
        shares[0] += FREQUENCY_TOTAL - shares.sum()
        return shares[None]

    def learn(self, grid: int) -> None:
        """Counts the grid of a token."""
        self._counts[grid] += _ADAPT


def _kernel(function: Any) -> Any:
    """Compiles on first use and keeps the machine code on disk where a folder for it can be written."""
    try:
        return numba.njit(function, nogil=True, cache=True, error_model="numpy")
    except RuntimeError:  # no folder for the cache: compile anew in every process
        return numba.njit(function, nogil=True, error_model="numpy")


@_kernel
def _masses(logits, left, right, leaves, nodes):  # type: ignore[no-untyped-def]
    """Fills ``nodes`` with the probability mass below each node, summed along the tree, so that nothing cancels."""
    largest = -np.inf
    for value in logits:
        largest = max(largest, value)
    for token in range(logits.size):
        # No token is less likely than this: a node's mass is then never 0.
        leaves[token] = math.exp(max(np.float64(logits[token]) - largest, -700.0))
    for number in range(nodes.size):
        node = nodes.size - 1 - number
        below, above = left[node], right[node]
        nodes[node] = (nodes[below] if below >= 0 else leaves[~below]) + (
            nodes[above] if above >= 0 else leaves[~above]
        )


@_kernel
def _locate(logits, tokens, left, right, path_start, path_node, borders, tolerance, grids, places, near):  # type: ignore[no-untyped-def]
    """The fine cell of every answer on the way to each token, and which grids have a border too near (bits)."""
    leaves, nodes = np.empty(logits.shape[1]), np.empty(left.size)
    for row in range(tokens.size):
        _masses(logits[row], left, right, leaves, nodes)
        start = path_start[tokens[row]]
        for step in range(start, path_start[tokens[row] + 1]):
            below, above = left[path_node[step]], right[path_node[step]]
            odds = math.log(nodes[above] if above >= 0 else leaves[~above]) - math.log(
                nodes[below] if below >= 0 else leaves[~below]
            )
            places[row, step - start] = np.searchsorted(borders, odds)
            first, end = np.searchsorted(borders, odds - tolerance), np.searchsorted(borders, odds + tolerance)
            for number in range(first, min(end, first + grids)):
                near[row] |= 1 << (number % grids)


@_kernel
def _all_masses(logits, left, right, leaves, nodes):  # type: ignore[no-untyped-def]
    for row in range(logits.shape[0]):
        _masses(logits[row], left, right, leaves[row], nodes[row])


@lru_cache(maxsize=2)
def _tree(token_bytes: tuple[bytes, ...]) -> TokenTree:
    return build_tree(token_bytes)


@lru_cache(maxsize=4)
def _grid(width: float) -> Grid:
    return Grid(width)


class Portable:
    """The coding of one frame's tokens."""

    def __init__(self, predictor: PortablePredictor) -> None:
        self._predictor = predictor
        self._tree, self._grid = _tree(predictor.token_bytes), _grid(cell_width(predictor.tolerance))
        self._near = predictor.tolerance
        self.corrections = 0
        """Tokens so far that could not take the first grid."""

    def encode(self, tokens: NDArray[np.int64], lengths: Sequence[int]) -> bytes | None:
        """The payload of [streams, n] tokens, of which stream i has ``lengths[i]``.

        None where a token lies near a border of every grid: the tolerance is too large.
        """
        tree, grid = self._tree, self._grid
        places = np.zeros((*tokens.shape, tree.depth), np.int16)
        near = np.zeros(tokens.shape, np.int64)
        for rows, positions, logits in self._predictor.teach(tokens):
            part = tokens[rows, positions]
            found, close = np.zeros((part.size, tree.depth), np.int16), np.zeros(part.size, np.int64)
            _locate(
                logits.reshape(part.size, -1),
                part.ravel(),
                tree.left,
                tree.right,
                tree.path_start,
                tree.path_node,
                grid.borders,
                self._near,
                GRIDS,
                found,
                close,
            )
            places[rows, positions], near[rows, positions] = found.reshape(*part.shape, -1), close.reshape(part.shape)
        if (near[np.arange(tokens.shape[1]) < np.asarray(lengths)[:, None]] == (1 << GRIDS) - 1).any():
            return None
        encoder, choice = Encoder(), GridChoice()
        for position in range(tokens.shape[1]):
            below, own = [], []
            for stream in range(len(tokens)):
                if position >= lengths[stream]:
                    break
                number = (~int(near[stream, position]) & (int(near[stream, position]) + 1)).bit_length() - 1
                frequencies = choice.frequencies()[0].tolist()
                below.append(sum(frequencies[:number]))
                own.append(frequencies[number])
                choice.learn(number)
                self.corrections += number > 0
                token = tokens[stream, position]
                start, end = tree.path_start[token], tree.path_start[token + 1]
                shares = grid.shares[number, places[stream, position, : end - start]]
                answers = tree.path_bit[start:end]
                below += np.where(answers, FREQUENCY_TOTAL - shares, 0).tolist()
                own += np.where(answers, shares, FREQUENCY_TOTAL - shares).tolist()
            encoder.encode(np.array(below, np.int64), np.array(own, np.int64))
        return encoder.payload()

    def decode(self, payload: bytes, lengths: Sequence[int]) -> NDArray[np.int64]:
        """[streams, n] tokens, padded with 0. Raises ArchiveError."""
        tree, grid, streams = self._tree, self._grid, len(lengths)
        borders, shares = grid.borders.tolist(), grid.shares.tolist()
        left, right = tree.left.tolist(), tree.right.tolist()
        decoder, choice = Decoder(payload), GridChoice()
        tokens = np.zeros((streams, max(lengths)), np.int64)
        leaves, nodes = np.empty((streams, len(tree.order))), np.empty((streams, len(left)))
        context = self._predictor.start_logits(streams)
        table = np.empty((1, 2), np.int64)
        for position in range(max(lengths)):
            _all_masses(context.next_logits(), tree.left, tree.right, leaves, nodes)
            for stream in range(streams):
                if position >= lengths[stream]:
                    break
                number = int(decoder.decode(choice.frequencies())[0])
                choice.learn(number)
                own_shares, node = shares[number], 0
                while node >= 0:
                    below, above = left[node], right[node]
                    odds = math.log(nodes[stream, above] if above >= 0 else leaves[stream, ~above]) - math.log(
                        nodes[stream, below] if below >= 0 else leaves[stream, ~below]
                    )
                    share = own_shares[bisect_left(borders, odds)]
                    table[0] = FREQUENCY_TOTAL - share, share
                    node = above if decoder.decode(table)[0] else below
                tokens[stream, position] = ~node
            if position + 1 < max(lengths):
                context.append(tokens[:, position])
        return tokens
