"""Coding that survives small differences of floating-point logits, of less than a stated tolerance.

A token is the answers along a tree, as with memory. The log-odds of each answer are rounded to the cell of a grid, and
the cell, not the log-odds, gives the integer probability. Two machines agree on a cell unless its log-odds lie close
to a border; then the token is coded with another of eight grids, whose borders lie elsewhere. Which grid is one symbol
a token, nearly always the first. After PMATIC (Adler and Tang, arXiv 2601.10678), where a bit a decision does this.
Imports numba: import late. May import ``coder``, ``compiled``, ``memory`` (its tree and log-odds), ``predictor`` and
``errors``.
"""

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from llmzip.coder import Encoder, begin_decoding
from llmzip.compiled import kernel
from llmzip.errors import ArchiveError
from llmzip.memory.odds import leaf_masses, path_odds, tree_of
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
_TOTAL = FREQUENCY_TOTAL
_ENCODED_AT_ONCE = 1 << 16

_kernel = kernel(error_model="numpy")


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


@_kernel
def _choose(counts, frequencies):  # type: ignore[no-untyped-def]
    """Frequencies of the grid of the next token from the counts of those before it, of all streams."""
    whole, rest = counts.sum(), np.int64(_TOTAL)
    for grid in range(counts.size):
        frequencies[grid] = counts[grid] * (_TOTAL - counts.size) // whole + 1
        rest -= frequencies[grid]
    frequencies[0] += rest


@_kernel
def _intervals(tokens, lengths, places, near, path_start, path_bit, shares, counts, below, own):  # type: ignore[no-untyped-def]
    """(cumulative, frequency) of all that is coded; returns how many, -1 if a token is near borders of all grids."""
    frequencies, count = np.empty(counts.size, np.int64), np.int64(0)
    for position in range(tokens.shape[1]):
        for stream in range(tokens.shape[0]):
            if position >= lengths[stream]:
                break
            grid = 0
            while near[stream, position] >> grid & 1:
                grid += 1
            if grid == counts.size:
                return np.int64(-1)
            _choose(counts, frequencies)
            below[count], own[count] = frequencies[:grid].sum(), frequencies[grid]
            counts[grid] += _ADAPT
            count += 1
            start = path_start[tokens[stream, position]]
            for step in range(start, path_start[tokens[stream, position] + 1]):
                share = shares[grid, places[stream, position, step - start]]
                below[count] = _TOTAL - share if path_bit[step] else 0
                own[count] = share if path_bit[step] else _TOTAL - share
                count += 1
    return count


@_kernel
def _point(coder):  # type: ignore[no-untyped-def]
    """Where in 2^24 the range coder of constriction stands; -1 where it has come off the payload.

    coder: [4] uint64: lower, range, point, next word.
    """
    point = (coder[2] - coder[0]) // (coder[1] >> np.uint64(24))
    return np.int64(point) if point < np.uint64(_TOTAL) else np.int64(-1)


@_kernel
def _take(coder, words, below, own):  # type: ignore[no-untyped-def]
    """Goes on to the interval that was found."""
    scale = coder[1] >> np.uint64(24)
    coder[0] += scale * np.uint64(below)
    coder[1] = scale * np.uint64(own)
    if coder[1] < np.uint64(1 << 32):
        coder[0] <<= np.uint64(32)
        coder[1] <<= np.uint64(32)
        coder[2] <<= np.uint64(32)
        if coder[3] < np.uint64(words.size):
            coder[2] |= np.uint64(words[np.int64(coder[3])])
        coder[3] += np.uint64(1)


@_kernel
def _mass(order, leaves, first, end):  # type: ignore[no-untyped-def]
    """Of the tokens that stand from ``first`` to ``end`` in the tree."""
    mass = 0.0
    for place in range(first, end):
        mass += leaves[order[place]]
    return mass


@_kernel
def _read(leaves, active, order, middle, left, right, borders, shares, counts, coder, words, tokens):  # type: ignore[no-untyped-def]
    """The next token of each active stream; False where the payload cannot be decoded."""
    frequencies = np.empty(counts.size, np.int64)
    for stream in range(active):
        _choose(counts, frequencies)
        point = _point(coder)
        if point < 0:
            return False
        grid, upto = 0, np.int64(0)
        while point >= upto + frequencies[grid]:
            upto += frequencies[grid]
            grid += 1
        _take(coder, words, upto, frequencies[grid])
        counts[grid] += _ADAPT
        node, first, end = np.int64(0), np.int64(0), np.int64(order.size)
        while node >= 0:
            cut = np.int64(middle[node])
            odds = math.log(_mass(order, leaves[stream], cut, end)) - math.log(_mass(order, leaves[stream], first, cut))
            share = shares[grid, np.searchsorted(borders, odds)]
            point = _point(coder)
            if point < 0:
                return False
            if point >= _TOTAL - share:
                _take(coder, words, _TOTAL - share, share)
                node, first = np.int64(right[node]), cut
            else:
                _take(coder, words, 0, _TOTAL - share)
                node, end = np.int64(left[node]), cut
        tokens[stream] = ~node
    return True


class Portable:
    """The coding of one frame's tokens."""

    def __init__(self, predictor: PortablePredictor) -> None:
        self._predictor = predictor
        version = predictor.grid_version
        self._tree = tree_of(predictor.token_bytes)
        self._grid = _grid(cell_width(predictor.tolerance, version), version)
        self._counts = np.array(_FIRST_COUNTS, np.int64)

    @property
    def corrections(self) -> int:
        """Tokens so far that could not take the first grid."""
        return int((self._counts - _FIRST_COUNTS)[1:].sum()) // _ADAPT

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
        decisions = np.diff(tree.path_start)[tokens] + 1
        below, own = np.empty((2, int(decisions.sum())), np.int64)
        count = _intervals(
            tokens,
            np.asarray(lengths),
            places,
            near,
            tree.path_start,
            tree.path_bit,
            self._grid.shares,
            self._counts,
            below,
            own,
        )
        if count < 0:
            return None
        encoder = Encoder()
        for first in range(0, count, _ENCODED_AT_ONCE):
            coded = slice(first, min(first + _ENCODED_AT_ONCE, count))
            encoder.encode(below[coded], own[coded])
        return encoder.payload()

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
        tree, grid = self._tree, self._grid
        words, coder = begin_decoding(payload)
        tokens = np.zeros((len(lengths), max(lengths)), np.int64)
        context = self._predictor.start_logits(len(lengths))
        for position in range(max(lengths)):
            whole = _read(
                leaf_masses(context.next_logits()),
                sum(position < length for length in lengths),
                tree.order,
                tree.middle,
                tree.left,
                tree.right,
                grid.borders,
                grid.shares,
                self._counts,
                coder,
                words,
                tokens[:, position],
            )
            if not whole:
                raise ArchiveError("the payload cannot be decoded: the archive is damaged")
            if position + 1 < max(lengths):
                context.append(tokens[:, position])
        return tokens
