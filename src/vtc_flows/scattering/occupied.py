"""
The Fermi cut and the core-hole broadening, as one linear map.

The spectrum at photon energy ``omega`` (measured like the electron energy) is the occupied part of
``f``, broadened by a Lorentzian of half width ``loss``. Closing the contour at the Fermi level
leaves ``f`` at ``omega + i loss`` and an integral along the mesh: up the vertical axis to the
horizontal line, then down in energy. ``f`` is taken as linear between its points, so the whole is a
matrix:

    F(omega) = f0 w0 - sum over contour of K (f_c - f0),   f0 = f(min(omega, E_F) + i loss).

Where the states that emit begin at a bottom E_b, the contour goes on from ``E_b + i loss`` to the
real axis there, ``w0`` is the Lorentzian's part between both ends, and f0 is taken inside them. The
result is the spectrum of the states between E_b and E_F exactly: what lies below E_b, a line of the
core among it, is gone with its tail.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from vtc_flows.scattering.mesh import SAME_ENERGY_HA, EnergyMesh

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

_SAME_POINT_HA = 1e-9


def occupied_spectrum(
    mesh: EnergyMesh, function: Complex, omega_ha: Floats, refine: int = 1
) -> Complex:
    """
    Occupied, broadened spectrum.

    Parameters
    ----------
    mesh : EnergyMesh
        Where ``function`` is known; only the points that matter are used.
    function : ndarray, shape (n, m)
        ``m`` functions on the mesh.
    omega_ha : ndarray, shape (k,)
        Energies wanted, on the scale of the mesh; below its first point only where the states that
        emit begin there.
    refine : int
        Steps of the contour per step of the mesh. FEFF takes 1; the straight segments of a 0.1 eV
        mesh then err by up to 2e-3 of the largest value. 4 removes most of that.

    Returns
    -------
    ndarray, shape (k, m)
        ``F``; the emission is its imaginary part.
    """
    up = _rising(mesh, function, mesh.rising, mesh.fermi_index)
    below = slice(0, mesh.fermi_index + 1)
    across = _Samples(mesh.energy_ha[below].real, function[below])
    level = np.clip(omega_ha, -np.inf if mesh.bottom_ha is None else mesh.bottom_ha, mesh.fermi_ha)
    fine_heights, values_up = up.refined(refine)
    # A pole between two points would leave the contour integral singular, so it becomes a point.
    fine_energies, values_across = across.refined(refine, level)
    # The corners belong to both parts.
    contour = [
        mesh.fermi_ha + 1j * np.exp(fine_heights[:-1]),
        fine_energies[::-1] + 1j * mesh.loss_ha,
    ]
    values = [values_up[:-1], values_across[::-1]]
    if mesh.bottom_ha is not None:
        at_bottom = slice(len(mesh.energy_ha) - mesh.n_bottom, None)
        heights, values_down = _rising(mesh, function, at_bottom, 0).refined(refine)
        contour.append(mesh.bottom_ha + 1j * np.exp(heights[-2::-1]))
        values.append(values_down[-2::-1])
    weights, start_weight = contour_weights(
        np.concatenate(contour), omega_ha, mesh.fermi_ha, mesh.loss_ha, mesh.bottom_ha
    )
    result: Complex = start_weight[:, None] * across.at(level) + weights @ np.vstack(values)
    return result


def _rising(mesh: EnergyMesh, function: Complex, vertical: slice, corner: int) -> _Samples:
    """Return the functions on a vertical part of the contour, over the logarithm of the height."""
    heights, values = mesh.energy_ha[vertical].imag, function[vertical]
    inner = heights < mesh.loss_ha
    return _Samples(
        np.log(np.append(heights[inner], mesh.loss_ha)),
        np.vstack([values[inner], function[corner][None]]),
    )


def contour_weights(
    contour: Complex,
    omega_ha: Floats,
    fermi_ha: float,
    loss_ha: float,
    bottom_ha: float | None = None,
) -> tuple[Complex, Complex]:
    """
    Matrix of the contour integral.

    Parameters
    ----------
    contour : ndarray, shape (c,)
        Points from near the Fermi level up to ``E_F + i loss`` and on to lower energies; with a
        bottom, on down to near the real axis there.
    omega_ha : ndarray, shape (k,)
        Energies wanted.
    fermi_ha, loss_ha : float
        Fermi level and half width.
    bottom_ha : float, optional
        Where the occupied states begin.

    Returns
    -------
    weights : ndarray, shape (k, c)
        Factors of ``f`` on the contour.
    start_weight : ndarray, shape (k,)
        Factor of ``f0``.
    """
    omega = np.asarray(omega_ha, dtype=np.float64)
    first, last = contour[:-1], contour[1:]
    weights = np.zeros((len(omega), len(contour)), dtype=np.complex128)
    for side in (1, -1):
        pole = (omega + side * 1j * loss_ha)[:, None]
        to_first, to_last = first - pole, last - pole
        near = (np.abs(to_first) <= SAME_ENERGY_HA) | (np.abs(to_last) <= SAME_ENERGY_HA)
        # f - f0 vanishes at the upper pole; the lower one is never met.
        near &= side == 1
        ratio = np.where(near, 1.0, to_last) / np.where(near, 1.0, to_first)
        kernel = side * np.log(ratio) / (2j * np.pi * (last - first))
        weights[:, :-1] += kernel * to_last
        weights[:, 1:] -= kernel * to_first
    ends = (
        [(0, 1.0, fermi_ha)] if bottom_ha is None else [(0, 1.0, fermi_ha), (-1, -1.0, bottom_ha)]
    )
    cut = np.zeros(len(omega))
    for point, sign, end_ha in ends:  # from the real axis to the contour, or back
        offset = omega - end_ha
        height = contour[point].imag
        pole_free = np.where(np.abs(offset) < SAME_ENERGY_HA, 0.0, offset)
        lorentzian = loss_ha / np.pi / (loss_ha**2 + (1j * height - pole_free) ** 2)
        weights[:, point] += sign * lorentzian * 1j * height
        cut += sign * (0.5 - np.arctan(offset / loss_ha) / np.pi)
    start_weight = cut + weights.sum(axis=1)
    return -weights, start_weight


class _Samples:
    """Functions known on a grid, with a spline between."""

    def __init__(self, grid: Floats, values: Complex) -> None:
        self._grid = grid
        self._values = values
        self._spline = CubicSpline(grid, values) if len(grid) > 1 else None

    def at(self, points: Floats) -> Complex:
        if self._spline is None:
            return np.repeat(self._values, len(points), axis=0)
        interpolated: Complex = self._spline(points)
        return interpolated

    def refined(self, parts: int, extra: Floats | None = None) -> tuple[Floats, Complex]:
        """Grid with every step divided into equal parts, and extra points where it has none."""
        steps = np.arange((len(self._grid) - 1) * parts + 1) / parts
        points = np.interp(steps, np.arange(len(self._grid)), self._grid)
        if extra is not None:
            nearest = np.abs(extra[:, None] - points).min(axis=1)
            points = np.union1d(points, extra[nearest > _SAME_POINT_HA])
        return points, self.at(points)
