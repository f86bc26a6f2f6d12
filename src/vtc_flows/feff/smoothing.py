"""
Two places at which FEFF 8.5L's numbers are not those of its own theory, made smooth.

* Phase shifts of high l within an eV or more of the interstitial level are set to zero, because
  they are tiny there. The scattering they stand for is not: t_l falls as p^(2l+1) while the
  propagators between such states grow as its inverse. So the spectrum jumps at the rims of that
  stretch, by up to 0.5 % of its maximum. t_l / p^(2l+1) is smooth through it and is interpolated.
* Where the dipole matrix element of the absorber passes through zero, its cross section is the
  small difference of large numbers, and what their integration leaves is a pole with a negative
  weight: a level that would absorb where it should emit, a hole of 1 % in the spectrum. It is
  fitted, with a polynomial beside it, and taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.optimize import least_squares
from scipy.signal import find_peaks

from vtc_flows.feff.units import HARTREE_EV
from vtc_flows.scattering.multiple_scattering import scattering_amplitudes
from vtc_flows.scattering.tensor import PhaseData

Complex = NDArray[np.complex128]
FloatArray = NDArray[np.float64]

_CUBIC = 3
#: How prominent the peak of the normalization has to be (of its logarithm).
_PROMINENCE = 0.05
#: How far from the first the matrix element to the other p level may pass through zero (eV).
_BESIDE_EV = (0.8, 1.6)
#: Half the stretch that is fitted beyond the outermost pole (eV), and the polynomial beside it.
_REACH_EV, _DEGREE = 3.0, 8
#: What fitted poles must be: near to where they were looked for (eV), real, and that much better
#: than one pole less.
_SAME_PLACE_EV, _REAL, _BETTER = 1.0, 0.3, 3.0
#: A rest this small, relative to the largest value, needs no further pole.
_SMALL = 1e-3


@dataclass(frozen=True)
class Smoothing:
    """
    What was made smooth.

    Attributes
    ----------
    n_bridged : int
        Phase shifts that were filled in.
    ghosts_ev : tuple of float
        Absolute energies of the poles that were taken out.
    """

    n_bridged: int
    ghosts_ev: tuple[float, ...]


def bridged_phases(
    energies_ha: FloatArray, momenta: Complex, phases: Complex
) -> tuple[Complex, int]:
    """
    Fill in the phase shifts that were set to zero.

    Parameters
    ----------
    energies_ha : ndarray of shape (n,)
        Ascending, along a line.
    momenta : ndarray of shape (n,)
        Interstitial momentum.
    phases : ndarray of shape (n, n_potentials, n_l)
        Phase shifts; zero at all energies where a potential does not scatter.

    Returns
    -------
    phases : ndarray of shape (n, n_potentials, n_l)
    count : int
        How many of them were filled in.
    """
    filled, count = phases.copy(), 0
    for potential, degree in np.ndindex(phases.shape[1:]):
        column = phases[:, potential, degree]
        missing = column == 0
        known = ~missing
        if not missing.any() or known.sum() <= _CUBIC + 1:
            continue
        power = momenta ** (2 * degree + 1)
        smooth = scattering_amplitudes(column[known]) / power[known]
        spline = make_interp_spline(energies_ha[known], smooth, k=_CUBIC)
        inside = missing & (energies_ha > energies_ha[known][0])
        inside &= energies_ha < energies_ha[known][-1]
        amplitudes = spline(energies_ha[inside]) * power[inside]
        filled[inside, potential, degree] = np.log1p(2j * amplitudes) / 2j
        count += int(inside.sum())
    return filled, count


def ghost_levels(
    line_ha: Complex, cross_section: Complex, normalization: FloatArray
) -> list[tuple[float, complex]]:
    """
    Return the poles of negative weight in a cross section.

    Parameters
    ----------
    line_ha : ndarray of shape (n,), complex
        Energies along the line E + i loss.
    cross_section : ndarray of shape (n,), complex
        Of the embedded atom.
    normalization : ndarray of shape (n,)
        Factor of the fine structure, which peaks where the matrix element is zero.

    Returns
    -------
    list of (energy, residue)
        Energies on the real axis in Hartree; subtract ``residue / (z - energy)`` at all z.
    """
    scale = float(np.abs(normalization[-1]))
    energies = line_ha.real * HARTREE_EV
    peaks, _ = find_peaks(np.log(normalization), prominence=_PROMINENCE)
    found: list[tuple[float, complex]] = []
    for peak in energies[peaks]:
        near = np.abs(energies - peak) < _REACH_EV + _BESIDE_EV[-1]
        pairs = [sorted((peak, peak + sign * far)) for far in _BESIDE_EV for sign in (-1, 1)]
        starts = ([peak], *pairs)
        taken = any(abs(at * HARTREE_EV - peak) < _SAME_PLACE_EV for at, _ in found)
        if taken or near.sum() < 4 * _DEGREE:
            continue
        fitted = _fit(line_ha[near] * HARTREE_EV, cross_section[near] / scale, starts)
        found += [(at / HARTREE_EV, residue * scale / HARTREE_EV) for at, residue in fitted]
    return found


def smoothed(data: PhaseData) -> tuple[PhaseData, Smoothing]:
    """
    Return phases and cross section made smooth, and what was done.

    Only the horizontal part of the mesh is looked at; the ghosts' poles are taken out everywhere.
    """
    mesh = data.mesh
    line = slice(0, mesh.fermi_index + 1)
    phases = data.phases.copy()
    phases[line], n_bridged = bridged_phases(
        mesh.energy_ha[line].real, data.momenta[line], data.phases[line]
    )
    ghosts = ghost_levels(mesh.energy_ha[line], data.cross_section[line], data.normalisation[line])
    cross_section = data.cross_section - sum(
        (residue / (mesh.energy_ha - at) for at, residue in ghosts),
        start=np.zeros(len(mesh.energy_ha), complex),
    )
    facts = Smoothing(n_bridged, tuple(at * HARTREE_EV for at, _ in ghosts))
    return replace(data, phases=phases, cross_section=cross_section), facts


def _fit(
    line: Complex, values: Complex, starts: Sequence[Sequence[float]]
) -> list[tuple[float, complex]]:
    """Return the poles that are believed, in the unit of the line."""
    center, reach = float(line.real.mean()), float(np.ptp(line.real) / 2)
    smooth = ((line - center) / reach)[:, None] ** np.arange(_DEGREE + 1)

    def solved(poles: FloatArray) -> tuple[Complex, Complex]:
        design = np.concatenate([smooth, 1 / (line[:, None] - poles)], axis=1)
        factors: Complex = np.linalg.lstsq(design, values, rcond=None)[0].astype(complex)
        return factors[_DEGREE + 1 :], design @ factors - values

    def deviation(poles: FloatArray) -> FloatArray:
        _, rest = solved(poles)
        parts: FloatArray = np.concatenate([rest.real, rest.imag]) / np.abs(values).max()
        return parts

    best: list[tuple[float, complex]] = []
    least = float(np.linalg.norm(deviation(np.array([]))))
    for start in starts:
        fit = least_squares(deviation, start, x_scale=0.1)
        residues, _ = solved(fit.x)
        ghosts = residues.real > _REAL * np.abs(residues.imag)
        near = np.abs(fit.x - start).max() < _SAME_PLACE_EV
        left = float(np.linalg.norm(fit.fun))
        if ghosts.all() and near and left * _BETTER < least and least > _SMALL:
            least = left
            best = [(float(at), complex(one)) for at, one in zip(fit.x, residues, strict=True)]
    return best
