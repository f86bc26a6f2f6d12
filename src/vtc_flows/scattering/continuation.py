"""
Close the contour at a bottom of the valence where no scattering was solved on the way down to it.

Between the levels a spectrum function is analytic and smooth. So its values on the horizontal line
around an energy in a gap say what it is below the line, down to the real axis.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from vtc_flows.errors import InputError
from vtc_flows.scattering.mesh import SAME_ENERGY_HA, EnergyMesh, xes_mesh

Complex = NDArray[np.complex128]

#: Half the stretch of the line that is used (Hartree, 2.5 eV), and the degree of the polynomial:
#: the way down to the axis is a fifth of that stretch, so that noise grows fourfold and no more.
_REACH_HA = 2.5 / 27.211386
_DEGREE, _LOWEST_DEGREE = 8, 3


def continued(
    line_ha: NDArray[np.float64],
    values: Complex,
    center_ha: float,
    offsets_ha: Complex,
    pole: complex | None = None,
) -> Complex:
    """
    Continue analytic functions from a line of energies.

    Parameters
    ----------
    line_ha : ndarray, shape (n,)
        Energies along the line, ascending.
    values : ndarray, shape (n, m), complex
        ``m`` functions there.
    center_ha : float
        Energy around which they are continued.
    offsets_ha : ndarray, shape (k,), complex
        Points wanted, relative to the line's point at the center.
    pole : complex, optional
        Where the functions have a pole nearby, a core level, relative to the line's point at the
        center (Hartree): it is taken out before and put back after.

    Returns
    -------
    ndarray, shape (k, m), complex

    Raises
    ------
    InputError
        If too few points lie around the center.

    Examples
    --------
    >>> line = np.linspace(-1, 1, 201)
    >>> values = 1 / (line + 0.02j - 0.3)[:, None]
    >>> bool(abs(continued(line, values, 0.0, np.array([-0.02j]))[0, 0] + 1 / 0.3) < 1e-4)
    True
    """
    near = np.abs(line_ha - center_ha) <= _REACH_HA
    degree = min(_DEGREE, int(near.sum()) - 2)
    if degree < _LOWEST_DEGREE:
        raise InputError(
            f"{near.sum()} energies around {center_ha:.4f} Hartree are too few to continue "
            "from: take a smaller step"
        )
    along = line_ha[near] - center_ha
    without: Complex
    back: Complex
    if pole is None:
        without, back = values[near], np.ones((1, len(offsets_ha)), complex)
    else:
        without, back = values[near] * (along - pole)[:, None], 1 / (offsets_ha - pole)[None]
    fitted = chebyshev.chebfit(along / _REACH_HA, without, degree)
    result: Complex = (chebyshev.chebval(offsets_ha / _REACH_HA, fitted) * back).T
    return result


def with_bottom(
    mesh: EnergyMesh, function: Complex, bottom_ha: float, level_ha: float | None = None
) -> tuple[EnergyMesh, Complex]:
    """
    Let the states that emit begin at an energy of a mesh that goes on below it.

    Parameters
    ----------
    mesh : EnergyMesh
        Without a bottom of its own.
    function : ndarray, shape (n, m)
        ``m`` functions on the mesh.
    bottom_ha : float
        Below the Fermi level, in a gap.
    level_ha : float, optional
        A core level below it.

    Returns
    -------
    mesh : EnergyMesh
        From the bottom upward, with the second vertical part.
    function : ndarray, shape (n', m)
        The functions there.
    """
    line = mesh.energy_ha[: mesh.n_horizontal].real
    kept = np.flatnonzero(line > bottom_ha + SAME_ENERGY_HA)
    upper = xes_mesh(np.append(bottom_ha, line[kept]), mesh.fermi_ha, mesh.loss_ha, bottom=True)
    rising = mesh.energy_ha[mesh.rising]
    falling = upper.energy_ha[len(upper.energy_ha) - upper.n_bottom :]
    whole = EnergyMesh(
        np.concatenate([upper.energy_ha[: upper.n_horizontal], rising, falling]),
        upper.n_horizontal,
        upper.fermi_index,
        upper.n_bottom,
    )
    corner = bottom_ha + 1j * mesh.loss_ha
    at_bottom = continued(
        line,
        function[: mesh.n_horizontal],
        bottom_ha,
        np.concatenate([[corner], falling]) - corner,
        None if level_ha is None else level_ha - corner,
    )
    values = [at_bottom[:1], function[kept], function[mesh.rising], at_bottom[1:]]
    return whole, np.concatenate(values)
