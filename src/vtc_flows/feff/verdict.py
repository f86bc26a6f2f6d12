"""
Whether a spectrum is one: judged from its numbers, whatever the program said of its success.

Each refusal has a reason code, which decides what is tried next
(:data:`vtc_flows.feff.recovery.REMEDIES`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vtc_flows.errors import EngineOutputError
from vtc_flows.feff.engine import SiteSpectrum
from vtc_flows.feff.site_input import SiteInput
from vtc_flows.feff.units import BOHR_ANGSTROM
from vtc_flows.physics.tensors import isotropic, symmetry_residual, to_matrix
from vtc_flows.scattering.symmetry import point_group

#: Energies may differ from those asked for by as much as four decimals in a file round them.
GRID_TOLERANCE_EV = 1e-4
#: How far below zero an intensity may be, relative to the largest of its spectrum, apart from what
#: its atomic background is below zero: room for a grid far from the bands and for rounding.
NEGATIVE_TOLERANCE = 1e-3
#: The most that is left to the background. FEFF's is below zero where no state is, between a
#: semicore level (3p of Sc, Ti, V, Cr) and the valence band, and the spectrum follows it there: in
#: 5 of 67 sites of a campaign it fell to -0.2 ... -1.4 % of its largest value, whatever the mixing.
BACKGROUND_ALLOWANCE = 0.03
#: How much a tensor may change under the operations of its own cluster, relative to its largest
#: element. The same 41 tensors change by 6e-5 at most; a polarization from another run, or a
#: cluster with atoms lost, by several percent. The operations are found within rounding of the
#: atoms' positions, so that no distortion of a crystal counts against its tensor.
SYMMETRY_TOLERANCE = 1e-2


def require_good(spectrum: SiteSpectrum, site: SiteInput) -> dict[str, float]:
    """
    Refuse a spectrum that no site can have.

    Parameters
    ----------
    spectrum : SiteSpectrum
        What an engine made.
    site : SiteInput
        What it was asked for: the grid and the atoms, in the frame of the tensor.

    Returns
    -------
    dict of str to float
        The figures behind the verdict:
        ``grid_deviation_ev``, the largest deviation from the energies asked for;
        ``smallest_isotropic_relative`` and ``smallest_eigenvalue_relative``, relative to the
        largest over all energies;
        ``symmetry_residual``, the largest change under the operations of the scattering cluster's
        point group, and ``symmetry_operations``, their number.

    Raises
    ------
    EngineOutputError
        With the reason ``output_not_finite``, ``wrong_grid``, ``zero_spectrum``,
        ``negative_spectrum``, ``tensor_not_positive`` or ``asymmetric_tensor``.
    """
    _require_finite(spectrum)
    checks = {"grid_deviation_ev": _grid_deviation(spectrum, site)}
    checks |= _intensities(spectrum)
    checks |= _symmetry(spectrum, site)
    return checks


def _require_finite(spectrum: SiteSpectrum) -> None:
    parts: dict[str, NDArray[np.float64]] = {
        "energies": spectrum.energy_ev,
        "Fermi level": np.array(spectrum.e_fermi_ev),
        "tensor": spectrum.tensor,
        "background": spectrum.background,
        "cross section": np.array(spectrum.edge_cross_section_angstrom2),
    }
    for name, numbers in parts.items():
        wrong = numbers.size - int(np.isfinite(numbers).sum())
        if wrong:
            raise EngineOutputError(
                f"the spectrum's {name} holds {wrong} numbers that are not finite",
                reason="output_not_finite",
            )


def _grid_deviation(spectrum: SiteSpectrum, site: SiteInput) -> float:
    wanted = site.grid.energies_ev(spectrum.e_fermi_ev)
    found = spectrum.energy_ev
    count = len(wanted)
    shapes = (found.shape, spectrum.background.shape, spectrum.tensor.shape)
    if shapes != ((count,), (count,), (count, 6)):
        raise EngineOutputError(
            f"the spectrum has {len(found)} energies and {len(spectrum.tensor)} intensities where "
            f"{count} were asked for",
            reason="wrong_grid",
        )
    deviation = float(np.abs(found - wanted).max())
    if deviation > GRID_TOLERANCE_EV:
        raise EngineOutputError(
            f"the spectrum's energies are up to {deviation:.4f} eV from those asked for",
            reason="wrong_grid",
        )
    return deviation


def _intensities(spectrum: SiteSpectrum) -> dict[str, float]:
    mean = isotropic(spectrum.tensor)
    area = float(np.trapezoid(mean, spectrum.energy_ev))
    largest = float(mean.max())
    if not (largest > 0 and spectrum.edge_cross_section_angstrom2 > 0):
        raise EngineOutputError("the spectrum is nowhere above zero", reason="zero_spectrum")
    below = max(0.0, -float(spectrum.background.min()) / largest)
    floor = -NEGATIVE_TOLERANCE - min(below, BACKGROUND_ALLOWANCE)
    smallest = float(mean.min()) / largest
    if smallest < floor:
        raise EngineOutputError(
            f"the isotropic spectrum falls to {smallest:.2%} of its largest value, and no "
            "intensity is negative",
            reason="negative_spectrum",
        )
    if not area > 0:
        raise EngineOutputError(
            f"the isotropic spectrum has no positive area ({area:.3g})", reason="zero_spectrum"
        )
    eigenvalues = np.linalg.eigvalsh(to_matrix(spectrum.tensor))
    lowest = float(eigenvalues.min() / eigenvalues.max())
    if lowest < floor:
        raise EngineOutputError(
            f"polarized along one direction the spectrum falls to {lowest:.2%} of its largest "
            "value, and no intensity is negative",
            reason="tensor_not_positive",
        )
    return {"smallest_isotropic_relative": smallest, "smallest_eigenvalue_relative": lowest}


def _symmetry(spectrum: SiteSpectrum, site: SiteInput) -> dict[str, float]:
    operations = _operations(site, spectrum.fms_radius_angstrom)
    residual = symmetry_residual(spectrum.tensor, operations)
    if residual > SYMMETRY_TOLERANCE:
        raise EngineOutputError(
            f"the tensor changes by {residual:.2%} of its largest element under the symmetry of "
            "the atoms around the site",
            reason="asymmetric_tensor",
        )
    return {"symmetry_residual": residual, "symmetry_operations": float(len(operations))}


def _operations(site: SiteInput, radius_angstrom: float) -> NDArray[np.float64]:
    """Return the point group of the atoms that scatter: what a tensor of theirs must obey."""
    inside = np.linalg.norm(site.positions, axis=1) <= radius_angstrom
    return point_group(
        site.positions[inside] / BOHR_ANGSTROM, np.asarray(site.potential_index)[inside]
    )
