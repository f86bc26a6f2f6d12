"""
The complex energies at which emission is computed.

Emission comes from the states up to the Fermi level, broadened by the core hole. The integral runs
along a contour: from the real axis at the Fermi level up to the line ``E + i loss`` and down in
energy on it (`vtc_flows.scattering.occupied`). So a mesh has a horizontal part, with a point at the
Fermi level, and a vertical part above it. Where only the states above the bottom of the valence
emit, a second vertical part there leads back to the real axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, floor, log

import numpy as np
from numpy.typing import NDArray

from vtc_flows.errors import InputError

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

_EV = 1 / 27.211386  # Hartree; places mesh points only, so its last digits do not matter
_GROWTH = 0.4
_LARGEST_IMAGINARY_EV = 50.0
#: Two energies closer than this (Hartree) are one.
SAME_ENERGY_HA = 1e-4


@dataclass(frozen=True)
class EnergyMesh:
    """
    Energies of one spectrum.

    Attributes
    ----------
    energy_ha : ndarray, shape (n,)
        Horizontal points, ascending, then the vertical points at the Fermi level, ascending, then
        those at the first horizontal point, if the contour ends there.
    n_horizontal : int
        Horizontal points.
    fermi_index : int
        The horizontal point at the Fermi level.
    n_bottom : int
        Vertical points at the first horizontal point: the bottom of the states that emit. Without
        them all states below the mesh would emit, and those above its first point do.
    """

    energy_ha: Complex
    n_horizontal: int
    fermi_index: int
    n_bottom: int = 0

    @property
    def loss_ha(self) -> float:
        """Height of the horizontal line."""
        return float(self.energy_ha[self.fermi_index].imag)

    @property
    def fermi_ha(self) -> float:
        """Fermi level."""
        return float(self.energy_ha[self.fermi_index].real)

    @property
    def bottom_ha(self) -> float | None:
        """Energy at which the states that emit begin; None where there is no such end."""
        return float(self.energy_ha[0].real) if self.n_bottom else None

    @property
    def rising(self) -> slice:
        """The vertical points at the Fermi level."""
        return slice(self.n_horizontal, len(self.energy_ha) - self.n_bottom)

    @property
    def matters(self) -> NDArray[np.bool_]:
        """Points that enter the spectrum: those on the contour below the Fermi level."""
        needed = np.zeros(len(self.energy_ha), dtype=bool)
        needed[: self.fermi_index + 1] = True
        needed[self.n_horizontal :] = self.energy_ha[self.n_horizontal :].imag < self.loss_ha
        return needed


def xes_mesh(
    horizontal_ha: Floats, fermi_ha: float, loss_ha: float, *, bottom: bool = False
) -> EnergyMesh:
    """
    Put the vertical axis to a horizontal grid.

    The vertical points grow by ``exp(0.4)``, with ``loss_ha`` half-way between two of them, as in
    FEFF's mesh for emission.

    Parameters
    ----------
    horizontal_ha : ndarray, shape (n,)
        Real parts, ascending, one of them the Fermi level.
    fermi_ha : float
        Fermi level.
    loss_ha : float
        Half the core-hole width plus any other loss, positive.
    bottom : bool
        Whether the states that emit begin at the first point of the grid.

    Returns
    -------
    EnergyMesh

    Raises
    ------
    InputError
        If the grid is not ascending or has no point at the Fermi level.

    Examples
    --------
    >>> mesh = xes_mesh(np.array([-0.6, -0.55, -0.5, -0.45]), -0.5, 0.0166)
    >>> mesh.n_horizontal, mesh.fermi_index, int(mesh.matters.sum())
    (4, 2, 14)
    """
    horizontal = np.asarray(horizontal_ha, dtype=np.float64)
    if horizontal.ndim != 1 or len(horizontal) == 0 or np.any(np.diff(horizontal) <= 0):
        raise InputError("the energy grid has to ascend")
    fermi_index = int(np.argmin(np.abs(horizontal - fermi_ha)))
    if abs(horizontal[fermi_index] - fermi_ha) > 1e-9:
        raise InputError("the energy grid needs a point at the Fermi level")
    if not loss_ha > 0:
        raise InputError(f"the loss has to be positive, not {loss_ha} Hartree")
    heights = _vertical_heights(loss_ha)
    at_bottom = heights[heights < loss_ha] if bottom else heights[:0]
    if bottom and fermi_index == 0:
        raise InputError("the states that emit have to begin below the Fermi level")
    return EnergyMesh(
        np.concatenate(
            [horizontal + 1j * loss_ha, fermi_ha + 1j * heights, horizontal[0] + 1j * at_bottom]
        ),
        len(horizontal),
        fermi_index,
        len(at_bottom),
    )


def _vertical_heights(loss_ha: float) -> Floats:
    smallest = 0.01 * _EV
    below = max(1, _nearest(log(loss_ha / smallest) / _GROWTH - 0.5))
    start = 2 * loss_ha / (1 + exp(_GROWTH)) / exp(_GROWTH * below)
    if start <= smallest:
        start *= exp(_GROWTH)
    top = min(_LARGEST_IMAGINARY_EV * _EV, 20 * loss_ha)
    n_points = max(0, _nearest(log(top / start) / _GROWTH)) + 1
    growing = start * np.exp(_GROWTH * np.arange(n_points))
    return np.concatenate([[0.5 * smallest, smallest], growing])


def _nearest(value: float) -> int:
    return floor(value + 0.5) if value >= 0 else -floor(-value + 0.5)
