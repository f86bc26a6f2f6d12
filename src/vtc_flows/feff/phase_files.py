"""
Read what FEFF 8.5L writes of the scattering at the absorber: ``phase.pad`` and ``xsect.json``.

Everything is returned as FEFF keeps it, in Hartree atomic units, except where a name says eV.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vtc_flows.errors import EngineOutputError
from vtc_flows.feff.pad import PadReader

_REDUCED_ELEMENTS = 8  # rkk columns; a K edge fills the first two, p3/2 and p1/2


@dataclass(frozen=True)
class PhaseFile:
    """
    The contents of ``phase.pad``.

    Attributes
    ----------
    energy_ha : ndarray of shape (n,), complex
        Energy mesh, horizontal line first, then the vertical axis.
    reference_ha : ndarray of shape (n,), complex
        Interstitial level with the self-energy.
    phases : tuple of ndarray of shape (n, lmax + 1), complex
        Phase shifts for each potential, l = 0 ... lmax of that potential.
    atomic_numbers : tuple of int
        One per potential.
    reduced_elements : ndarray of shape (n, 2), complex
        Reduced dipole matrix elements to p3/2 and p1/2.
    n_horizontal, fermi_index : int
        Points on the horizontal line, and the 0-based one at the Fermi level.
    fermi_ha, edge_ha : float
        Fermi level and edge.
    """

    energy_ha: NDArray[np.complex128]
    reference_ha: NDArray[np.complex128]
    phases: tuple[NDArray[np.complex128], ...]
    atomic_numbers: tuple[int, ...]
    reduced_elements: NDArray[np.complex128]
    n_horizontal: int
    fermi_index: int
    fermi_ha: float
    edge_ha: float


@dataclass(frozen=True)
class CrossSectionFile:
    """
    The contents of ``xsect.json``.

    Attributes
    ----------
    cross_section_angstrom2 : ndarray of shape (n,), complex
        Embedded-atom cross section on the mesh of ``phase.pad``.
    normalisation_angstrom2 : ndarray of shape (n,)
        The factor of the fine structure.
    photon_edge_ha : float
        Photon energy of emission from the Fermi level.
    """

    cross_section_angstrom2: NDArray[np.complex128]
    normalisation_angstrom2: NDArray[np.float64]
    photon_edge_ha: float


def read_phase_pad(path: Path) -> PhaseFile:
    """
    Read ``phase.pad``.

    Raises
    ------
    EngineOutputError
        If the file is missing, cut off or holds numbers that are not finite.
    """
    reader = PadReader(_content(path), path.name)
    head = reader.text()
    n_spins, n_points, n_horizontal, _, n_potentials, _, fermi, width = map(int, head[:8])
    if n_spins != 1:
        raise EngineOutputError(f"{path.name} holds {n_spins} spins; only one is understood")
    reader.width = width
    _, fermi_ha, edge_ha = reader.reals(3)
    energy = reader.complexes(n_points)
    reference = reader.complexes(n_points)
    phases: list[NDArray[np.complex128]] = []
    numbers: list[int] = []
    for _ in range(n_potentials + 1):
        lmax, atomic_number = map(int, reader.text()[:2])
        both_signs = reader.complexes(n_points * (2 * lmax + 1)).reshape(n_points, 2 * lmax + 1)
        phases.append(both_signs[:, lmax:])  # without spin the positive kappa branch serves all l
        numbers.append(atomic_number)
    elements = reader.complexes(_REDUCED_ELEMENTS * n_points).reshape(_REDUCED_ELEMENTS, n_points)
    _require_finite(path, energy, reference, elements, *phases)
    return PhaseFile(
        energy_ha=energy,
        reference_ha=reference,
        phases=tuple(phases),
        atomic_numbers=tuple(numbers),
        reduced_elements=elements[:2].T,
        n_horizontal=n_horizontal,
        fermi_index=fermi - 1,
        fermi_ha=float(fermi_ha),
        edge_ha=float(edge_ha),
    )


def read_cross_section(path: Path) -> CrossSectionFile:
    """
    Read ``xsect.json``.

    Raises
    ------
    EngineOutputError
        If the file is missing, cut off, lacks a field or holds numbers that are not finite.
    """
    try:
        fields = json.loads(_content(path))
        section = np.asarray(fields["dum1"], float) + 1j * np.asarray(fields["dum2"], float)
        norm = np.asarray(fields["xsnorm"], float)
        n_points, photon_edge = int(fields["ne"]), float(fields["emu"])
    except (ValueError, KeyError, TypeError) as error:
        raise EngineOutputError(f"{path.name} cannot be read: {error!r}") from error
    _require_finite(path, section, norm)
    return CrossSectionFile(section[:n_points], norm[:n_points], photon_edge)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineOutputError(f"{path.name} was not written: {error.strerror}") from error


def _require_finite(path: Path, *arrays: NDArray[np.complex128] | NDArray[np.float64]) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise EngineOutputError(f"{path.name} holds numbers that are not finite")
