"""
Energy windows and instrumental broadening, on even or uneven energy grids.

Between grid points a spectrum is the straight line through them: that is what the trapezoid rule
integrates, what a window edge between two points cuts, and what a Gaussian is folded with.
"""

from __future__ import annotations

from functools import cache
from math import erfc, exp, log, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

from vtc_flows.errors import InputError
from vtc_flows.physics.validation import finite_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

#: Default window about the Fermi level, eV.
DEFAULT_WINDOW_EV = (-30.0, 5.0)

#: FWHM of a Gaussian of unit standard deviation.
FWHM_PER_SIGMA = 2.0 * sqrt(2.0 * log(2.0))

#: Part of the window that the data may lack at each end (and never more than one grid step).
MISSING_FRACTION = 0.01

#: FWHM below which a Gaussian changes nothing that a spectrum resolves.
NARROWEST_EV = 1e-9

#: Distance, in standard deviations, beyond which a Gaussian has no more effect in float64.
REACH_SIGMA = 9.0


def increasing_energies(energy_ev: ArrayLike) -> FloatArray:
    """
    Return an energy grid as float64, shape (n,), after checking it.

    Raises
    ------
    InputError
        If there are fewer than two energies or they do not increase strictly.

    Examples
    --------
    >>> increasing_energies([-1, 0, 3])
    array([-1.,  0.,  3.])
    """
    energy = finite_array(energy_ev, "energy grid", (None,), leading=False)
    if energy.size < 2:
        raise InputError(f"energy grid has {energy.size} points; an integral needs at least 2")
    steps = np.diff(energy)
    if not (steps > 0).all():
        at = int(np.argmax(steps <= 0))
        raise InputError(
            f"energies must increase strictly; point {at + 1} ({energy[at + 1]:g} eV) follows "
            f"{energy[at]:g} eV"
        )
    return energy


def checked_window(window_ev: ArrayLike) -> tuple[float, float]:
    """
    Return a window as (low, high) in eV.

    Raises
    ------
    InputError
        If it is not two finite numbers, the lower one first.

    Examples
    --------
    >>> checked_window([-30, 5])
    (-30.0, 5.0)
    """
    low, high = finite_array(window_ev, "energy window", (2,), leading=False).tolist()
    if not low < high:
        raise InputError(f"energy window ({low:g}, {high:g}) eV is empty; give (low, high)")
    return low, high


def clip(
    energy_ev: ArrayLike, values: ArrayLike, window_ev: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """
    Cut a spectrum to a window; an edge inside a grid step is interpolated linearly.

    Parameters
    ----------
    energy_ev : array_like of shape (n,)
        Strictly increasing energies, spacing free.
    values : array_like of shape (n, ...)
        What is given at the energies.
    window_ev : (low, high)
        On the same energy zero as `energy_ev`.

    Returns
    -------
    energy_ev : ndarray of shape (m,)
        The energies within the window, its edges included.
    values : ndarray of shape (m, ...)

    Raises
    ------
    InputError
        If the data ends inside the window. What is missing is not invented; only a gap below one
        grid step and `MISSING_FRACTION` of the window (a grid that starts 0.04 eV late) passes,
        and then the cut ends with the data.

    Examples
    --------
    >>> energy, values = clip([0.0, 1.0, 3.0], [0.0, 2.0, 6.0], (0.5, 2.0))
    >>> energy.tolist(), values.tolist()
    ([0.5, 1.0, 2.0], [1.0, 2.0, 4.0])
    """
    energy = increasing_energies(energy_ev)
    table = finite_array(values, "spectrum", ())
    if table.ndim == 0 or len(table) != energy.size:
        raise InputError(
            f"spectrum of shape {table.shape} does not fit {energy.size} energies on its first axis"
        )
    low, high = checked_window(window_ev)
    allowed = MISSING_FRACTION * (high - low)
    if low < energy[0] - min(allowed, energy[1] - energy[0]) or high > energy[-1] + min(
        allowed, energy[-1] - energy[-2]
    ):
        raise InputError(
            f"the window ({low:g}, {high:g}) eV is wider than the spectrum, which covers "
            f"({energy[0]:g}, {energy[-1]:g}) eV; narrow the window or compute a wider grid"
        )
    low, high = max(low, energy[0]), min(high, energy[-1])
    inside = (energy > low) & (energy < high)
    edges = np.array([low, high])
    step = np.clip(np.searchsorted(energy, edges, side="right") - 1, 0, energy.size - 2)
    part = (edges - energy[step]) / (energy[step + 1] - energy[step])
    part = part.reshape(2, *([1] * (table.ndim - 1)))
    at_edges = (1.0 - part) * table[step] + part * table[step + 1]
    return (
        np.concatenate((edges[:1], energy[inside], edges[1:])),
        np.concatenate((at_edges[:1], table[inside], at_edges[1:])),
    )


def trapezoid_weights(energy_ev: ArrayLike) -> FloatArray:
    """
    Return the weights w (eV) of the trapezoid rule: integral of f = sum_k w_k f(E_k).

    Parameters
    ----------
    energy_ev : array_like of shape (n,)
        Strictly increasing energies, spacing free.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> trapezoid_weights([0.0, 1.0, 3.0]).tolist()
    [0.5, 1.5, 1.0]
    """
    half = 0.5 * np.diff(increasing_energies(energy_ev))
    return np.concatenate((half, [0.0])) + np.concatenate(([0.0], half))


def gaussian_broaden(energy_ev: ArrayLike, values: ArrayLike, fwhm_ev: float) -> FloatArray:
    r"""
    Fold a spectrum with a normalised Gaussian, exactly for the straight lines between its points.

    Beyond its ends the spectrum goes on with its end values, so a flat spectrum stays flat up to
    the ends; within about one FWHM of an end the result leans on that continuation. Broaden on
    the whole grid and cut the window afterwards.

    Parameters
    ----------
    energy_ev : array_like of shape (n,)
        Strictly increasing energies, spacing free.
    values : array_like of shape (n, ...)
        What is given at the energies, e.g. tensors (n, 6).
    fwhm_ev : float
        Full width at half maximum of the Gaussian, eV; 0 returns a copy.

    Returns
    -------
    ndarray of shape (n, ...)
        The broadened spectrum on the same energies.

    Raises
    ------
    InputError
        If the width is negative or not finite, or shapes do not fit.

    Notes
    -----
    A piecewise linear f is a sum of ramps, f = f_0 + sum_k c_k max(E - E_k, 0), with c_k the
    change of slope at E_k. Folding rounds each kink off:

    .. math:: (f * g)(E) = f(E) + \sigma \sum_k c_k \psi(|E - E_k| / \sigma), \qquad
              \psi(u) = \varphi(u) - u\,Q(u)

    with the normal density and its upper tail Q. It is linear in f, so it may be applied to a
    tensor in any frame, and it keeps a positive tensor positive.

    Examples
    --------
    >>> gaussian_broaden([0.0, 1.0, 4.0], [2.0, 2.0, 2.0], 1.5).tolist()
    [2.0, 2.0, 2.0]
    """
    energy = increasing_energies(energy_ev)
    table = finite_array(values, "spectrum", ())
    if table.ndim == 0 or len(table) != energy.size:
        raise InputError(
            f"spectrum of shape {table.shape} does not fit {energy.size} energies on its first axis"
        )
    if not (np.isfinite(fwhm_ev) and fwhm_ev >= 0):
        raise InputError(f"broadening of {fwhm_ev} eV FWHM is not a width; give 0 or more")
    if fwhm_ev < NARROWEST_EV:
        return table.copy()
    sigma = fwhm_ev / FWHM_PER_SIGMA
    flat = table.reshape(energy.size, -1)
    slopes = np.diff(flat, axis=0) / np.diff(energy)[:, None]
    level = np.zeros((1, flat.shape[1]))
    kinks = np.diff(slopes, axis=0, prepend=level, append=level)
    rounded = sigma * (_rounding_off(np.abs(energy[:, None] - energy) / sigma) @ kinks)
    return (flat + rounded).reshape(table.shape)


def _rounding_off(u: FloatArray) -> FloatArray:
    """Return psi(u) = phi(u) - u Q(u) for u >= 0 by cubic Hermite interpolation (to 1e-14)."""
    nodes = _rounding_off_table()
    step = REACH_SIGMA / (nodes.shape[1] - 1)
    result = np.zeros_like(u)
    near = u < REACH_SIGMA
    place = u[near] / step
    index = place.astype(np.intp)
    t = place - index
    value, slope = nodes
    left, right = value[index], value[index + 1]
    result[near] = (
        left
        + t * t * (3.0 - 2.0 * t) * (right - left)
        + step * t * (1.0 - t) * ((1.0 - t) * slope[index] - t * slope[index + 1])
    )
    return result


@cache
def _rounding_off_table() -> FloatArray:
    """Return psi and its derivative -Q on an even grid; numpy itself has no error function."""
    grid = np.linspace(0.0, REACH_SIGMA, 4097).tolist()
    tails = [0.5 * erfc(u / sqrt(2.0)) for u in grid]
    psi = [exp(-0.5 * u * u) / sqrt(2.0 * pi) - u * q for u, q in zip(grid, tails, strict=True)]
    return np.array([psi, [-q for q in tails]])
