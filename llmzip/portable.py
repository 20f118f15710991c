"""Coding that survives small differences of floating-point logits, of less than a stated tolerance.

A token is the answers along a tree, as with memory. The log-odds of each answer are rounded to the cell of a grid, and
the cell, not the log-odds, gives the integer probability. Two machines agree on a cell unless its log-odds lie close
to a border; then the token is coded with another of eight grids, whose borders lie elsewhere. Which grid is one symbol
a token, nearly always the first. After PMATIC (Adler and Tang, arXiv 2601.10678), where a bit a decision does this.
May import ``coder``, ``memory`` (its tree and log-odds), ``predictor`` and ``errors``.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from llmzip.coder import Encoder, IntervalReader
from llmzip.memory.odds import leaf_masses, node_masses, path_odds, tree_of
from llmzip.predictor import FREQUENCY_TOTAL, PortablePredictor

GRIDS = 8
UNITS = 1 << 12
"""Of a grid's borders, in a nat."""
LARGEST_ODDS = 17
"""Nats; surer than 2^-24 is not needed."""
LEAST_SHARE = 16
"""Of 2^24, for an answer: the coder takes no less than 2."""
GRID_VERSION = 2
"""Of the grids that are written; those of version 1 are still read."""
LARGEST_CELL = 2.0
"""Nats, of version 1."""
WIDTHS = {1: 2.0, 2: 8.0}
"""Of cells, for a tolerance of 1, by version: what was cheapest on text (``docs/decisions.md``)."""

_ADAPT, _FIRST_COUNTS = 24, (64, 1, 1, 1, 1, 1, 1, 1)
_ENCODED_AT_ONCE = 1 << 16


def cell_width(tolerance: float, version: int = GRID_VERSION) -> float:
    """The width of cells: in nats where both answers are as likely, for version 1 as an angle asin(sqrt(p)).

    Wider cells round more, narrower ones have more tokens near a border. The width is a multiple of
    2^-20, so that no two machines disagree on it.
    """
    return round(WIDTHS[version] * math.cbrt(tolerance) * (1 << 20)) / (1 << 20)


class Grid:
    """Borders of all eight grids, in nats, ascending, and the probability of "right" in every cell.

    Rounding costs p(1 - p) d^2 / 24 in a cell of d nats, and a tolerance of e has a share 2e / d of its tokens near a
    border: together least where d goes with (p(1 - p))^(-1/3). A cell has the mean probability of its log-odds.
    """

    def __init__(self, width: float, version: int = GRID_VERSION) -> None:
        """``width``: see ``cell_width``."""
        with localcontext(Context(prec=24, rounding=ROUND_HALF_EVEN)):
            step, units, positive = Decimal(width) / GRIDS, Decimal(UNITS), [0]
            while positive[-1] < LARGEST_ODDS * UNITS:
                size = _distance(Decimal(positive[-1]) / units, step, version)
                positive.append(positive[-1] + max(1, int((size * units).to_integral_value())))
            borders = [-border for border in positive[:0:-1]] + positive
            # The cell with fine index i of grid k lies between the nearest borders whose number is k modulo GRIDS.
            self.shares = np.zeros((GRIDS, len(borders) + 1), np.int64)
            for grid in range(GRIDS):
                own = [number for number in range(len(borders)) if number % GRIDS == grid]
                for cell in range(len(own) + 1):
                    low = own[cell - 1] if cell else 0
                    high = own[cell] if cell < len(own) else len(borders) - 1
                    probability = _probability(Decimal(borders[low]) / units, Decimal(borders[high]) / units, version)
                    share = int((FREQUENCY_TOTAL * probability).to_integral_value())
                    first = own[cell - 1] + 1 if cell else 0
                    end = own[cell] + 1 if cell < len(own) else len(borders) + 1
                    self.shares[grid, first:end] = min(max(share, LEAST_SHARE), FREQUENCY_TOTAL - LEAST_SHARE)
        self.borders = np.array(borders, np.float64) / UNITS


def _distance(border: Decimal, step: Decimal, version: int) -> Decimal:
    """From a border to the next, in nats."""
    both = (border / 2).exp() + (-border / 2).exp()
    if version == 1:
        return min(Decimal(LARGEST_CELL) / GRIDS, 2 * step * both)
    return step * ((both / 2).ln() * 2 / 3).exp()


def _probability(low: Decimal, high: Decimal, version: int) -> Decimal:
    """Of "right" between two borders: that of the middle, or the mean."""
    if version == 1 or low == high:
        return 1 / (1 + (-(low + high) / 2).exp())
    return ((1 + high.exp()).ln() - (1 + low.exp()).ln()) / (high - low)


@lru_cache(maxsize=4)
def _grid(width: float, version: int) -> Grid:
    return Grid(width, version)


class _Choice:
    """How often each grid was taken, which tells what the next one costs. Of all streams of a frame."""

    def __init__(self) -> None:
        self.counts = list(_FIRST_COUNTS)

    def intervals(self) -> list[int]:
        """[GRIDS + 1]: where the interval of each grid begins, and 2^24."""
        whole = sum(self.counts)
        sizes = [count * (FREQUENCY_TOTAL - GRIDS) // whole + 1 for count in self.counts]
        sizes[0] += FREQUENCY_TOTAL - sum(sizes)
        return list(accumulate(sizes, initial=0))

    def take(self, grid: int) -> None:
        """One token more with that grid."""
        self.counts[grid] += _ADAPT


class Portable:
    """The coding of one frame's tokens."""

    def __init__(self, predictor: PortablePredictor) -> None:
        self._predictor = predictor
        version = predictor.grid_version
        self._tree = tree_of(predictor.token_bytes)
        self._grid = _grid(cell_width(predictor.tolerance, version), version)
        self._choice = _Choice()
        # As lists, whose items Python reads faster than those of arrays.
        self._below = tuple(side.tolist() for side in self._tree.below)
        self._borders, self._shares = self._grid.borders.tolist(), self._grid.shares.tolist()

    @property
    def corrections(self) -> int:
        """Tokens so far that could not take the first grid."""
        return (sum(self._choice.counts[1:]) - sum(_FIRST_COUNTS[1:])) // _ADAPT

    def encode(self, tokens: NDArray[np.int64], lengths: Sequence[int]) -> bytes | None:
        """The payload of [streams, n] tokens, of which stream i has ``lengths[i]``.

        None where a token lies near a border of every grid: the tolerance is too large.
        """
        tree, places = self._tree, np.zeros((*tokens.shape, self._tree.depth), np.int16)
        near = np.zeros(tokens.shape, np.int64)
        for rows, positions, logits in self._predictor.teach(tokens):
            part = tokens[rows, positions]
            odds = path_odds(logits.reshape(part.size, -1), part.ravel(), tree)
            places[rows, positions] = np.searchsorted(self._grid.borders, odds).reshape(*part.shape, -1)
            near[rows, positions] = self._near(odds, part.ravel()).reshape(part.shape)
        if (near == (1 << GRIDS) - 1).any():
            return None
        coded = np.arange(tokens.shape[1])[:, None] < np.asarray(lengths)  # position by position, stream by stream
        below, own = self._intervals(tokens.T[coded], places.transpose(1, 0, 2)[coded], near.T[coded])
        encoder = Encoder()
        for first in range(0, len(own), _ENCODED_AT_ONCE):
            some = slice(first, first + _ENCODED_AT_ONCE)
            encoder.encode(below[some], own[some])
        return encoder.payload()

    def _intervals(
        self, tokens: NDArray[np.int64], places: NDArray[np.int16], near: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(cumulative, frequency) of all that is coded: of each of [n] tokens its grid, then the answers on its way."""
        tree, count = self._tree, len(tokens)
        grids = np.zeros(count, np.int64)
        while (taken := (near >> grids) & 1).any():
            grids += taken
        below, own = np.zeros((2, count, 1 + tree.depth), np.int64)
        for row, grid in enumerate(grids.tolist()):
            bounds = self._choice.intervals()
            below[row, 0], own[row, 0] = bounds[grid], bounds[grid + 1] - bounds[grid]
            self._choice.take(grid)
        steps, starts = np.arange(tree.depth), tree.path_start[tokens]
        passed = steps < np.diff(tree.path_start)[tokens][:, None]
        right = tree.path_bit[np.where(passed, starts[:, None] + steps, 0)] == 1
        shares = self._grid.shares[grids[:, None], places]
        below[:, 1:] = np.where(right, FREQUENCY_TOTAL - shares, 0)
        own[:, 1:] = np.where(right, shares, FREQUENCY_TOTAL - shares)
        all_passed = np.concatenate((np.ones((count, 1), bool), passed), 1)
        return below[all_passed], own[all_passed]

    def _near(self, odds: NDArray[np.float64], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """[n]: the grids, as bits, that have a border within the tolerance of one of a token's log-odds."""
        tolerance, borders = self._predictor.tolerance, self._grid.borders
        first, end = np.searchsorted(borders, odds - tolerance), np.searchsorted(borders, odds + tolerance)
        end[np.arange(odds.shape[1]) >= np.diff(self._tree.path_start)[tokens][:, None]] = 0
        near = np.zeros(len(odds), np.int64)
        for number in range(GRIDS):
            grids = np.where(first + number < end, 1 << (first + number) % GRIDS, 0)
            near |= np.bitwise_or.reduce(grids, 1)
        return near

    def decode(self, payload: bytes, lengths: Sequence[int]) -> NDArray[np.int64]:
        """[streams, n] tokens, padded with 0. Raises ArchiveError."""
        reader = IntervalReader(payload)
        tokens = np.zeros((len(lengths), max(lengths)), np.int64)
        context = self._predictor.start_logits(len(lengths))
        for position in range(max(lengths)):
            active = sum(position < length for length in lengths)
            masses = node_masses(leaf_masses(context.next_logits()[:active]), self._tree)
            tokens[:active, position] = [self._read(row, reader) for row in masses]
            if position + 1 < max(lengths):
                context.append(tokens[:, position])
        return tokens

    def _read(self, masses: NDArray[np.float64], reader: IntervalReader) -> int:
        """The next token of a stream; masses: of its nodes and leaves."""
        bounds, place = self._choice.intervals(), reader.place()
        grid = bisect_right(bounds, place) - 1
        reader.take(bounds[grid], bounds[grid + 1] - bounds[grid])
        self._choice.take(grid)
        left, right = self._below
        shares, node, inner = self._shares[grid], 0, len(left)
        while node < inner:
            odds = math.log(masses[right[node]]) - math.log(masses[left[node]])
            share = shares[bisect_left(self._borders, odds)]
            boundary = FREQUENCY_TOTAL - share
            if reader.place() >= boundary:
                reader.take(boundary, share)
                node = right[node]
            else:
                reader.take(0, boundary)
                node = left[node]
        return node - inner
