"""The fit of L(N, D) = E + A / N^alpha + B / D^beta: numpy alone, no files and no sentences.

For fixed exponents the law is linear in E, A and B, so a grid of exponents with non-negative least squares finds where
the minima are (variable projection; Czech and others, arXiv 2603.22339); the best cells are then polished by
Levenberg-Marquardt on Hoffmann and others' objective (arXiv 2203.15556, approach 3): the *sum* over rows of
Huber_delta(ln of the law - ln of the loss). Their mean instead of the sum made their optimiser stop early. Many
problems that differ in the weights of the rows are solved at once, which is what a bootstrap needs.
Imported by ``scaling``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HUBER_DELTA = 1e-3
"""In nats of the logarithm of the loss, as Hoffmann and others have it."""

GRID = np.arange(1, 24) * 0.05
"""Exponents tried: 0.05 to 1.15."""

CANDIDATES = 3
"""Cells of the grid that are polished: the best alone is at times in a false minimum."""

_STEPS = 400
_LARGEST_EXPONENT = 20.0
_SMALLEST_TERM = -40.0  # in nats: what stands for the logarithm of a term that is 0
_PROFILE_THRESHOLD = 3.841458820694124  # of chi squared, 95 %, one degree of freedom


@dataclass(frozen=True)
class Law:
    """The five figures, each of one law or, as arrays, of many."""

    floor: Array
    parameter_scale: Array
    data_scale: Array
    parameter_exponent: Array
    data_exponent: Array

    def loss(self, parameters: Array, tokens: Array) -> Array:
        """In the units of the losses it was fitted to."""
        return (
            self.floor
            + self.parameter_scale * parameters**-self.parameter_exponent
            + self.data_scale * tokens**-self.data_exponent
        )


def fit(parameters: Array, tokens: Array, losses: Array, weights: Array) -> tuple[Law, Array]:
    """The laws, each figure [b], and their objectives [b], for rows [n] with weights [b, n] of each problem."""
    logs, centre = _centred(parameters, tokens)
    starts = _grid_starts(logs, losses, weights)
    problems, candidates, _ = starts.shape
    points, values = _polish(starts.reshape(-1, 5), logs, np.log(losses), np.repeat(weights, candidates, axis=0))
    values = values.reshape(problems, candidates)
    chosen = values.argmin(1)
    rows = np.arange(problems)
    best = points.reshape(problems, candidates, 5)[rows, chosen]
    a, b, e, alpha, beta = best.T
    law = Law(np.exp(e), np.exp(a + alpha * centre[0]), np.exp(b + beta * centre[1]), alpha, beta)
    return law, values[rows, chosen]


def profile_edges(parameters: Array, tokens: Array, losses: Array) -> tuple[bool, bool]:
    """Whether the 95 % profile intervals of (alpha, beta) touch the ends of the grid, so that the rows leave them open.

    n ln(S / S_min) is compared with chi squared, S the squared relative residuals at the best E, A, B of a cell.
    """
    logs, _ = _centred(parameters, tokens)
    squares = _projected(logs, losses, np.ones((1, len(losses))))[1][0].reshape(len(GRID), len(GRID))
    inside = len(losses) * np.log(np.maximum(squares, 1e-300) / max(float(squares.min()), 1e-300)) < _PROFILE_THRESHOLD
    touches = [bool(inside.any(1 - axis)[[0, -1]].any()) for axis in (0, 1)]
    return touches[0], touches[1]


def fit_one(sizes: Array, losses: Array, weights: Array) -> tuple[Law, Array, bool]:
    """As ``fit`` for L = E' + A / N^alpha, data_scale 0; and whether the profile of alpha touches the grid's end."""
    logs, centre = _centred(sizes, np.ones_like(sizes))
    starts = _grid_starts(logs, losses, weights, one=True)
    problems, candidates, _ = starts.shape
    points, values = _polish(
        starts.reshape(-1, 5), logs, np.log(losses), np.repeat(weights, candidates, axis=0), free=(0, 2, 3)
    )
    values = values.reshape(problems, candidates)
    chosen, rows = values.argmin(1), np.arange(problems)
    a, _, e, alpha, _ = points.reshape(problems, candidates, 5)[rows, chosen].T
    zeros = np.zeros(problems)
    squares = _projected(logs, losses, np.ones((1, len(losses))), one=True)[1][0]
    inside = len(losses) * np.log(np.maximum(squares, 1e-300) / max(float(squares.min()), 1e-300)) < _PROFILE_THRESHOLD
    law = Law(np.exp(e), np.exp(a + alpha * centre[0]), zeros, alpha, zeros)
    return law, values[rows, chosen], bool(inside[[0, -1]].any())


def _centred(parameters: Array, tokens: Array) -> tuple[Array, tuple[float, float]]:
    """ln N and ln D less their means, [2, n], and the means: so A and B hardly depend on the exponents."""
    logs = np.log(np.stack((parameters, tokens)))
    centre = logs.mean(1)
    return logs - centre[:, None], (float(centre[0]), float(centre[1]))


def _projected(logs: Array, losses: Array, weights: Array, one: bool = False) -> tuple[Array, Array, Array]:
    """The best E, A, B >= 0 of each problem and cell, in relative squares: exponents [c, 2], squares [b, c],
    terms [b, c, 3]."""
    if one:
        exponents = np.stack((GRID, np.zeros_like(GRID)), 1)
    else:
        exponents = np.stack(np.meshgrid(GRID, GRID, indexing="ij"), 2).reshape(-1, 2)
    columns = [np.ones((len(exponents), len(losses))), np.exp(-exponents[:, :1] * logs[0])]
    if not one:
        columns.append(np.exp(-exponents[:, 1:] * logs[1]))
    design = np.stack(columns, 1) / losses  # [c, k, n]
    count = design.shape[1]
    products = (design[:, :, None] * design[:, None]).reshape(-1, len(losses))
    gram = (weights @ products.T).reshape(len(weights), len(exponents), count, count)
    right = (weights @ design.reshape(-1, len(losses)).T).reshape(len(weights), len(exponents), count)
    total = weights.sum(1)[:, None]
    best, terms = np.full(right.shape[:2], np.inf), np.zeros((*right.shape[:2], 3))
    # Non-negative least squares by its supports: of three columns there are seven.
    for support in range(1, 1 << count):
        used = [column for column in range(count) if support >> column & 1]
        part = (
            gram[:, :, used][:, :, :, used]
            + np.eye(len(used)) * 1e-14 * np.trace(gram, axis1=2, axis2=3)[:, :, None, None]
        )
        solved = np.linalg.solve(part, right[:, :, used, None])[..., 0]
        squares = total - (solved * right[:, :, used]).sum(2)
        better = (solved >= 0).all(2) & (squares < best)
        best = np.where(better, squares, best)
        filled = np.zeros_like(terms)
        filled[:, :, used] = solved
        terms = np.where(better[:, :, None], filled, terms)
    return exponents, best, terms


def _grid_starts(logs: Array, losses: Array, weights: Array, one: bool = False) -> Array:
    """[b, CANDIDATES, 5]: ln A, ln B, ln E, alpha, beta of the best cells of each problem, A and B at the centre."""
    found = []
    for first in range(0, len(weights), 64):
        exponents, squares, terms = _projected(logs, losses, weights[first : first + 64], one)
        cells = np.argpartition(squares, CANDIDATES - 1, axis=1)[:, :CANDIDATES]
        chosen = np.take_along_axis(terms, cells[:, :, None], 1)
        smallest = losses.min() * 1e-4
        floor, a, b = (np.log(np.maximum(chosen[:, :, place], smallest)) for place in range(3))
        if one:
            b = np.full_like(b, _SMALLEST_TERM)
        found.append(np.stack((a, b, floor, exponents[cells][:, :, 0], exponents[cells][:, :, 1]), 2))
    return np.concatenate(found)


def _objective(residuals: Array, weights: Array) -> Array:
    """Huber's loss, summed: half the square below delta, linear above."""
    size = np.abs(residuals)
    each = np.where(size <= HUBER_DELTA, size * size / 2, HUBER_DELTA * (size - HUBER_DELTA / 2))
    total: Array = (weights * each).sum(1)
    return total


def _terms(points: Array, logs: Array) -> tuple[Array, Array]:
    """Of each problem and row the three terms [b, n, 3] and the logarithm of their sum [b, n]."""
    a, b, e, alpha, beta = points.T[:, :, None]
    terms = np.exp(np.stack((a - alpha * logs[0], b - beta * logs[1], np.broadcast_to(e, (len(a), logs.shape[1]))), 2))
    return terms, np.log(terms.sum(2))


def _polish(
    points: Array, logs: Array, log_losses: Array, weights: Array, free: tuple[int, ...] = (0, 1, 2, 3, 4)
) -> tuple[Array, Array]:
    """Levenberg-Marquardt with Huber's weights from points [b, 5], of which ``free`` may move: where each ends, and the
    objective there."""
    found, values = points.copy(), np.empty(len(points))
    for first in range(0, len(points), 256):  # so that the Jacobians stay small
        part = slice(first, first + 256)
        found[part], values[part] = _polish_some(points[part], logs, log_losses, weights[part], list(free))
    return found, values


def _polish_some(points: Array, logs: Array, log_losses: Array, weights: Array, free: list[int]) -> tuple[Array, Array]:
    points, active = points.copy(), np.arange(len(points))
    terms, predicted = _terms(points, logs)
    residuals = predicted - log_losses
    values, damping, calm = _objective(residuals, weights), np.full(len(points), 1e-3), np.zeros(len(points), int)
    for _ in range(_STEPS):
        share = terms[active] / terms[active].sum(2, keepdims=True)
        jacobian = np.concatenate((share, -share[:, :, :2] * logs.T), 2)[:, :, free]
        now = residuals[active]
        robust = weights[active] * np.minimum(1.0, HUBER_DELTA / np.maximum(np.abs(now), 1e-300))
        weighted = jacobian * robust[:, :, None]
        hessian = weighted.transpose(0, 2, 1) @ jacobian
        gradient = (weighted * now[:, :, None]).sum(1)
        diagonal = np.maximum(np.diagonal(hessian, axis1=1, axis2=2), 1e-18)
        hessian += (damping[active, None] * diagonal + 1e-18)[:, :, None] * np.eye(len(free))
        trial = points[active]
        trial[:, free] -= np.clip(np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0], -2, 2)
        trial[:, 3:] = np.clip(trial[:, 3:], 0, _LARGEST_EXPONENT)
        trial[:, :3] = np.maximum(trial[:, :3], _SMALLEST_TERM)
        new_terms, predicted = _terms(trial, logs)
        new_residuals = predicted - log_losses
        new_values = _objective(new_residuals, weights[active])
        better = new_values < values[active]
        won = active[better]
        gained = values[won] - new_values[better]
        calm[won] = np.where(gained <= 1e-13 * values[won], calm[won] + 1, 0)
        points[won], terms[won], residuals[won] = trial[better], new_terms[better], new_residuals[better]
        values[won] = new_values[better]
        damping[won] = np.maximum(damping[won] / 5, 1e-12)
        damping[active[~better]] *= 4
        active = active[(calm[active] < 3) & (damping[active] < 1e8)]
        if not len(active):
            break
    return points, values
