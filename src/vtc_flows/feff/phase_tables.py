"""From FEFF's files to the scattering package's input, on the mesh that the spectrum needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from vtc_flows.feff.core_hole import k_level_width_ev
from vtc_flows.feff.phase_files import CrossSectionFile, PhaseFile
from vtc_flows.feff.site_input import SiteInput
from vtc_flows.feff.units import HARTREE_EV
from vtc_flows.feff.valence_bottom import Level, levels_in, search_energies
from vtc_flows.scattering.mesh import SAME_ENERGY_HA, EnergyMesh, xes_mesh
from vtc_flows.scattering.multiple_scattering import scattering_amplitudes
from vtc_flows.scattering.tensor import PhaseData

_SMALLEST_LOSS_EV = 0.02
_QUINTIC = 5

#: One call's files.
Window = tuple[PhaseFile, CrossSectionFile]


def emission_mesh(site: SiteInput, fermi_ha: float, bottom_ha: float | None = None) -> EnergyMesh:
    """
    Return the energies at which a site's scattering is needed.

    They are the points of its grid below the Fermi level, carried on to the Fermi level where
    the grid ends before it, and the vertical axis. Nothing above the Fermi level enters. Where
    only the states above a bottom emit, the points begin there, whatever the grid, and a second
    vertical axis ends them.

    Parameters
    ----------
    site : SiteInput
        Its grid and its absorber, whose core-hole width decides the height of the mesh.
    fermi_ha : float
        Fermi level in Hartree.
    bottom_ha : float, optional
        Where the states that emit begin, below the Fermi level.

    Returns
    -------
    EnergyMesh
        With the Fermi level as its last horizontal point.
    """
    step = site.grid.step_ev / HARTREE_EV
    below = wanted_energies(site, fermi_ha)
    below = below[below < fermi_ha - SAME_ENERGY_HA]
    if bottom_ha is not None:
        below = below[below > bottom_ha + SAME_ENERGY_HA]
        first = below[0] if len(below) else fermi_ha
        missing = np.arange(bottom_ha, first - SAME_ENERGY_HA, step)
        below = np.concatenate([missing, below])
    if len(below):
        beyond = np.arange(below[-1] + step, fermi_ha - SAME_ENERGY_HA, step)
        below = np.concatenate([below, beyond])
    return xes_mesh(
        np.append(below, fermi_ha),
        fermi_ha,
        _loss_ha(site),
        bottom=bottom_ha is not None,
    )


def search_mesh(site: SiteInput, fermi_ha: float, depth_ev: float) -> EnergyMesh:
    """Return the energies among which the absorber's 3p level is looked for."""
    line = search_energies(fermi_ha * HARTREE_EV, depth_ev) / HARTREE_EV
    line[-1] = fermi_ha
    return xes_mesh(line, fermi_ha, _loss_ha(site))


def deep_levels(
    phases: PhaseFile, energies_ev: NDArray[np.float64], site: SiteInput
) -> tuple[Level, ...]:
    """Return the deep levels of the other atoms from their phases on `search_mesh`."""
    found = []
    absorber = site.potentials[0].atomic_number
    for potential, own in zip(site.potentials[1:], phases.phases[1:], strict=True):
        for momentum, letter in enumerate("spd"[: own.shape[1]]):
            amplitudes = np.abs(scattering_amplitudes(own[: len(energies_ev), momentum]))
            found += [
                Level(potential.label, letter, energy, potential.atomic_number == absorber)
                for energy in levels_in(energies_ev, amplitudes)
            ]
    return tuple(found)


def wanted_energies(site: SiteInput, fermi_ha: float) -> NDArray[np.float64]:
    """Return the energies of a site's spectrum in Hartree."""
    return site.grid.energies_ev(fermi_ha * HARTREE_EV) / HARTREE_EV


def windows(mesh: EnergyMesh, limit: int) -> list[EnergyMesh]:
    """
    Cut a mesh into pieces of at most ``limit`` points.

    Each piece carries the Fermi level and the vertical axes, which FEFF wants in every call.
    """
    fermi = mesh.energy_ha[mesh.fermi_index : mesh.n_horizontal]
    vertical = mesh.energy_ha[mesh.n_horizontal :]
    below = mesh.energy_ha[: mesh.fermi_index]
    size = limit - len(vertical) - len(fermi)
    starts = range(0, max(len(below), 1), size)
    return [
        EnergyMesh(
            np.concatenate([piece, fermi, vertical]),
            len(piece) + len(fermi),
            len(piece),
            mesh.n_bottom,
        )
        for piece in (below[start : start + size] for start in starts)
    ]


def merge_windows(pieces: Sequence[Window], mesh: EnergyMesh, site: SiteInput) -> PhaseData:
    """
    Join the files of successive windows to one table on the whole mesh.

    Parameters
    ----------
    pieces : sequence of (PhaseFile, CrossSectionFile)
        In the order of :func:`windows`.
    mesh : EnergyMesh
        The whole mesh.
    site : SiteInput
        For its angular momenta.
    """

    def joined(column: Callable[[Window], NDArray[Any]]) -> NDArray[Any]:
        below = [column(piece)[: piece[0].fermi_index] for piece in pieces]
        return np.concatenate([*below, column(pieces[-1])[pieces[-1][0].fermi_index :]])

    lmax = _lmax(site)
    return PhaseData(
        mesh=mesh,
        reference_ha=joined(lambda piece: piece[0].reference_ha),
        phases=joined(lambda piece: _padded(piece[0], lmax)),
        lmax=lmax,
        dipole=joined(lambda piece: piece[0].reduced_elements),
        cross_section=joined(lambda piece: piece[1].cross_section_angstrom2),
        normalisation=joined(lambda piece: piece[1].normalisation_angstrom2),
    )


def interpolated(
    phases: PhaseFile, section: CrossSectionFile, mesh: EnergyMesh, site: SiteInput
) -> PhaseData:
    """
    Interpolate files on a mesh of FEFF's own choice to ours.

    Quintic splines along the horizontal line up to the Fermi level, where the self-energy has a
    kink; the vertical points are FEFF's own. Phase shifts are made continuous first: FEFF gives
    them up to multiples of pi.
    """
    upto = phases.fermi_index + 1
    own = phases.energy_ha[:upto].real
    n_below = mesh.fermi_index + 1
    wanted = np.clip(mesh.energy_ha[:n_below].real, own[0], own[-1])
    vertical = [
        phases.n_horizontal + int(np.argmin(np.abs(phases.energy_ha[phases.n_horizontal :] - z)))
        for z in mesh.energy_ha[mesh.n_horizontal :]
    ]

    def carried(values: NDArray[Any]) -> NDArray[Any]:
        spline = make_interp_spline(own, values[:upto], k=min(_QUINTIC, upto - 1))
        return np.concatenate([spline(wanted), values[vertical]])

    lmax = _lmax(site)
    shifts = _padded(phases, lmax)
    shifts = np.unwrap(shifts.real, axis=0, period=np.pi) + 1j * shifts.imag
    return PhaseData(
        mesh=mesh,
        reference_ha=carried(phases.reference_ha),
        phases=carried(shifts),
        lmax=lmax,
        dipole=carried(phases.reduced_elements),
        cross_section=carried(section.cross_section_angstrom2),
        normalisation=carried(section.normalisation_angstrom2),
    )


def _loss_ha(site: SiteInput) -> float:
    width_ev = k_level_width_ev(site.potentials[0].atomic_number)
    return max(width_ev / 2, _SMALLEST_LOSS_EV) / HARTREE_EV


def _lmax(site: SiteInput) -> NDArray[np.intp]:
    return np.array([potential.lmax_fms for potential in site.potentials])


def _padded(file: PhaseFile, lmax: NDArray[np.intp]) -> NDArray[np.complex128]:
    """Return the phases as (n, n_potentials, lmax + 1); those FEFF leaves out are zero."""
    table = np.zeros((len(file.energy_ha), len(lmax), int(lmax.max()) + 1), complex)
    for index, phases in enumerate(file.phases):
        kept = min(int(lmax[index]) + 1, phases.shape[1])
        table[:, index, :kept] = phases[:, :kept]
    return table
