"""
A function of the energy along a line, computed only where its neighbors do not tell it.

On a line at the height ``eta`` above the real axis a Green's function has no feature narrower than
``eta``, so the error of interpolating between points at a distance ``h`` falls off as
``exp(-pi eta / h)``: halving ``h`` squares it. The line is halved, and halved again, where a point
in the middle of an interval shows that those before it did not foretell it (:data:`FORETOLD`). The
points between are interpolated by polynomials of two degrees; where these differ by more than
:data:`DIFFERENCE`, which is more than the better one errs, the point is computed after all.

That asks for phase shifts that are smooth, too: those of FEFF have faults at single points, which
:mod:`vtc_flows.feff.smoothing` mends.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]
Mask = NDArray[np.bool_]

#: First distance between points, in points.
_FIRST = 8
#: Points of the polynomial that interpolates, and of the one that it is compared with.
_POINTS, _FEWER = 12, 8
#: Error, relative to the largest value, at which an interval is not halved again.
FORETOLD = 6e-4
#: Difference of the polynomials, relative to the largest value, at which a point is computed.
DIFFERENCE = 2e-5


def along_line(
    energy_ha: Floats, solve: Callable[[list[int]], Complex], importance: Floats
) -> tuple[Complex, Mask]:
    """
    Return a function at all points of a line.

    Parameters
    ----------
    energy_ha : ndarray, shape (n,)
        Real parts of the energies, ascending.
    solve : callable
        Computes the function at the points of some indices, shape (k, ...).
    importance : ndarray, shape (n,)
        What errors are multiplied with before they are compared.

    Returns
    -------
    values : ndarray, shape (n, ...)
        The function.
    solved : ndarray of bool, shape (n,)
        Where it was computed.
    """
    line = _Line(energy_ha, solve, importance)
    n = len(energy_ha)
    line.solve(sorted({*range(0, n, _FIRST), n - 1}))
    intervals = [(start, min(start + _FIRST, n - 1)) for start in range(0, n - 1, _FIRST)]
    while intervals:
        intervals = line.halved([(a, b) for a, b in intervals if b - a > 1])
    while doubtful := line.fill():
        line.solve(doubtful)
    assert line.values is not None
    return line.values, line.solved


class _Line:
    """The points computed so far."""

    def __init__(
        self, energy_ha: Floats, solve: Callable[[list[int]], Complex], importance: Floats
    ) -> None:
        self.energy = energy_ha
        self._solve = solve
        self._importance = importance
        self._largest = 0.0
        self.solved: Mask = np.zeros(len(energy_ha), dtype=bool)
        self.values: Complex | None = None

    def solve(self, points: list[int]) -> Complex:
        found = self._solve(points)
        if self.values is None:
            self.values = np.zeros((len(self.energy), *found.shape[1:]), dtype=np.complex128)
        self.values[points] = found
        self.solved[points] = True
        self._largest = max(self._largest, float(self._worth(points, found).max(initial=0.0)))
        return found

    def _worth(self, points: list[int], values: Complex) -> Floats:
        """Return how much values, or changes of them, matter."""
        largest: Floats = np.abs(values).reshape(len(points), -1).max(axis=1)
        return self._importance[points] * largest

    def halved(self, intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Compute the middle of intervals; return the halves of those that it surprised."""
        if not intervals:
            return []
        before = np.flatnonzero(self.solved)
        middles = [(a + b) // 2 for a, b in intervals]
        foretold = np.array([self._interpolated(before, middle) for middle in middles])
        errors = self._worth(middles, self.solve(middles) - foretold)
        # Negated so that values that are no numbers count as surprises.
        limit = FORETOLD * self._largest
        surprised = {
            interval
            for interval, error in zip(intervals, errors, strict=True)
            if not error <= limit
        }
        ends = {end for interval in surprised for end in interval}
        halves = []
        for a, b in intervals:  # those next to a surprise, too
            if (a, b) in surprised or a in ends or b in ends:
                halves += [(a, (a + b) // 2), ((a + b) // 2, b)]
        return halves

    def fill(self) -> list[int]:
        """Interpolate where nothing is computed; return the points where that is doubtful."""
        assert self.values is not None
        known = np.flatnonzero(self.solved)
        missing = [int(point) for point in np.flatnonzero(~self.solved)]
        if not missing:
            return []
        better, other = (
            np.array([self._interpolated(known, point, n_points) for point in missing])
            for n_points in (_POINTS, _FEWER)
        )
        self.values[missing] = better
        differ = ~(self._worth(missing, better - other) <= DIFFERENCE * self._largest)
        return [point for point, doubtful in zip(missing, differ, strict=True) if doubtful]

    def _interpolated(
        self, known: NDArray[np.intp], point: int, n_points: int = _POINTS
    ) -> Complex:
        """Interpolate between the known points nearest to one."""
        assert self.values is not None
        place = int(np.searchsorted(known, point))
        first = min(max(place - n_points // 2, 0), max(len(known) - n_points, 0))
        chosen = known[first : first + n_points]
        weights = lagrange_weights(self.energy[chosen], self.energy[point])
        value: Complex = np.tensordot(weights, self.values[chosen], 1)
        return value


def lagrange_weights(nodes: NDArray[np.number], point: complex) -> NDArray[np.number]:
    """
    Return the weights with which values at nodes give that of a polynomial at a point.

    Examples
    --------
    >>> lagrange_weights(np.array([0.0, 1.0, 2.0]), 0.5).tolist()
    [0.375, 0.75, -0.125]
    """
    apart = nodes[:, None] - nodes[None, :]
    np.fill_diagonal(apart, 1.0)
    to_point = np.broadcast_to(point - nodes, apart.shape).copy()
    np.fill_diagonal(to_point, 1.0)
    weights: NDArray[np.number] = np.prod(to_point / apart, axis=1)
    return weights
