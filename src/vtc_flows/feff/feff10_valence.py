"""
The emission of the valence alone, from FEFF10's files.

FEFF10 lets all occupied states emit. Before it cuts them at the Fermi level and broadens them, its
spectrum function is ``f = xsec + xsnorm chi``, and both parts stand in files: the embedded atom in
``xsect.dat``, the fine structure of a polarization in ``fms.bin``. So the integral is made again
here, from the bottom of the valence to the Fermi level (:mod:`vtc_flows.scattering.occupied`). With
all occupied states, the same integral has to give FEFF10's own ``xmu.dat``, digit by digit: that is
the check that the files were understood and belong together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtc_flows.errors import EngineOutputError
from vtc_flows.feff.feff10_output import (
    FEFF10_HARTREE_EV,
    FINE_STRUCTURE_FILE,
    SECTION_FILE,
    XMU_FILE,
    Section,
)
from vtc_flows.feff.site_input import LowerEnd
from vtc_flows.feff.valence_bottom import Level, ValenceBottom, bottom_from_background
from vtc_flows.physics.tensors import from_polarizations
from vtc_flows.scattering.continuation import with_bottom
from vtc_flows.scattering.mesh import EnergyMesh
from vtc_flows.scattering.occupied import occupied_spectrum

FloatArray = NDArray[np.float64]

#: How closely our integral over FEFF10's functions has to give FEFF10's spectra, relative to the
#: largest value: its files hold ten digits.
_SAME_SPECTRUM = 1e-6


@dataclass(frozen=True)
class ValenceSpectra:
    """
    Emission of the valence.

    Attributes
    ----------
    energy_ev : ndarray of shape (n,)
        Absolute energies.
    tensor : ndarray of shape (n, 6)
        In FEFF10's unit, Angstrom^2.
    background : ndarray of shape (n,)
        Of the embedded atom.
    bottom : ValenceBottom
        Where the states that emit begin.
    """

    energy_ev: FloatArray
    tensor: FloatArray
    background: FloatArray
    bottom: ValenceBottom


def valence_spectra(
    section: Section,
    fine_structure: Mapping[str, NDArray[np.complex128]],
    spectra: Mapping[str, FloatArray],
    wanted_ev: FloatArray,
    end: LowerEnd,
    *,
    levels: Sequence[Level] = (),
    step_ev: float,
    refine: int,
    amplitude: float,
) -> ValenceSpectra:
    """
    Return the emission of the valence.

    Parameters
    ----------
    section : Section
        The embedded atom, on a mesh that reaches below the valence (`wider_grid`).
    fine_structure : mapping of str to ndarray of shape (n_mesh,), complex
        By polarization, as FEFF10 has them.
    spectra : mapping of str to ndarray of shape (n_horizontal,)
        FEFF10's own spectra by polarization, on the horizontal part of the mesh.
    wanted_ev : ndarray of shape (n,)
        Absolute energies of the spectrum; points of the mesh up to FEFF10's rounding.
    end : LowerEnd
        Where the states that emit shall begin.
    levels : sequence of Level
        Deep levels of the other atoms.
    step_ev : float
        Step of the grid.
    refine : int
        Contour steps per mesh step.
    amplitude : float
        S0^2.

    Raises
    ------
    EngineOutputError
        If the files have different meshes, or our integral over all occupied states does not give
        FEFF10's spectra.
    """
    for name, numbers in fine_structure.items():
        _require_one_mesh(section, numbers, spectra[name])
    mesh = EnergyMesh(
        section.energy_ev / FEFF10_HARTREE_EV, section.n_horizontal, section.fermi_index
    )
    names = list(fine_structure)
    functions = np.stack(
        [
            section.cross_section + amplitude * section.normalization * fine_structure[name]
            for name in names
        ]
        + [section.cross_section],
        axis=1,
    )
    line = mesh.energy_ha[: mesh.n_horizontal].real
    own = occupied_spectrum(mesh, functions, line).imag
    for number, name in enumerate(names):
        off = np.abs(own[:, number] - spectra[name]).max() / np.abs(spectra[name]).max()
        if off > _SAME_SPECTRUM:
            raise EngineOutputError(
                f"the integral over FEFF10's fine structure differs from its spectrum by {off:.1e} "
                f"of the largest value (polarization {name}): its files are of different runs",
                reason="output_stale",
            )
    bottom = bottom_from_background(
        line[: mesh.fermi_index + 1] * FEFF10_HARTREE_EV,
        section.cross_section[: mesh.fermi_index + 1].imag,
        end,
        step_ev,
        levels,
    )
    level = bottom.level_3p_ev
    upper, values = with_bottom(
        mesh,
        functions,
        bottom.energy_ev / FEFF10_HARTREE_EV,
        None if level is None else level / FEFF10_HARTREE_EV,
    )
    found = occupied_spectrum(upper, values, wanted_ev / FEFF10_HARTREE_EV, refine).imag
    tensor = from_polarizations({name: found[:, i] for i, name in enumerate(names)})
    return ValenceSpectra(wanted_ev, tensor, found[:, -1], bottom)


def _require_one_mesh(
    section: Section, fine_structure: NDArray[np.complex128], spectrum: FloatArray
) -> None:
    n_section, n_fine = len(section.energy_ev), len(fine_structure)
    if section.n_horizontal != len(spectrum) or n_section > n_fine:
        raise EngineOutputError(
            f"{SECTION_FILE}, {FINE_STRUCTURE_FILE} and {XMU_FILE} have different meshes: they are "
            "of different runs",
            reason="output_stale",
        )
    if n_section < n_fine:
        raise EngineOutputError(
            f"{SECTION_FILE} holds {n_section} of the {n_fine} points of {FINE_STRUCTURE_FILE}",
            reason="output_truncated",
        )
