"""
From the absorber's propagator to the spectrum as a function of complex energy.

K edge, dipole transitions 1s - p1/2, p3/2 with the reduced elements ``a12``, ``a32``, which FEFF
gives with opposite signs. With ``A = (sqrt2 a32 - a12)/3`` and ``B = (a32/sqrt2 + a12)/3`` (``B``
vanishes without spin-orbit coupling of the p states),

    chi_ij = -[ A^2 G_ij + B^2 (Tr G delta_ij - G_ji) ],

from the projectors ``P_3/2 = 2/3 + L.sigma/3``, ``P_1/2 = 1/3 - L.sigma/3``, the trace over spin
and ``sum_a L_a G L_a = Tr G - G^T``. Its trace is ``-(a32^2 + a12^2) Tr G / 3``. Linear
polarization sees the symmetric part only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

#: Row and column of the packed components xx, yy, zz, yz, xz, xy.
PACKED_ROWS = (0, 1, 2, 1, 0, 0)
PACKED_COLUMNS = (0, 1, 2, 2, 2, 1)


def fine_structure(propagator: Complex, dipole: Complex) -> Complex:
    """
    Fine structure tensor of a K edge.

    Parameters
    ----------
    propagator : ndarray, shape (n, 3, 3)
        Absorber's full propagator between its p states, in the order x, y, z.
    dipole : ndarray, shape (n, 2)
        Reduced dipole elements to p3/2 and p1/2.

    Returns
    -------
    ndarray, shape (n, 6)
        ``chi`` as xx, yy, zz, yz, xz, xy, for unit amplitude.
    """
    direct, crossed = _dipole_products(dipole)
    symmetric = (propagator + np.swapaxes(propagator, 1, 2)) / 2
    packed = symmetric[:, PACKED_ROWS, PACKED_COLUMNS]
    trace = np.trace(propagator, axis1=1, axis2=2)
    chi: Complex = -(direct - crossed)[:, None] * packed
    chi[:, :3] -= (crossed * trace)[:, None]
    return chi


def importance(dipole: Complex, normalisation: Floats) -> Floats:
    """
    How much of a change of the propagator arrives in the spectrum, at each energy.

    Parameters
    ----------
    dipole : ndarray, shape (n, 2)
        As for `fine_structure`.
    normalisation : ndarray, shape (n,)
        As for `spectrum_function`.

    Returns
    -------
    ndarray, shape (n,)
        The larger factor of `fine_structure`, times the normalisation.
    """
    direct, crossed = _dipole_products(dipole)
    factor: Floats = np.abs(normalisation) * np.maximum(np.abs(direct - crossed), np.abs(crossed))
    return factor


def _dipole_products(dipole: Complex) -> tuple[Complex, Complex]:
    to_p32, to_p12 = dipole[:, 0], dipole[:, 1]
    direct = ((np.sqrt(2) * to_p32 - to_p12) / 3) ** 2
    crossed = ((to_p32 / np.sqrt(2) + to_p12) / 3) ** 2
    return direct, crossed


def spectrum_function(
    chi: Complex, cross_section: Complex, normalisation: Floats, amplitude: float = 1.0
) -> Complex:
    """
    Analytic function whose broadened, occupied part is the spectrum.

    Parameters
    ----------
    chi : ndarray, shape (n, 6)
        Fine structure.
    cross_section : ndarray, shape (n,)
        Cross section of the embedded atom.
    normalisation : ndarray, shape (n,)
        Factor of the fine structure, in the same unit.
    amplitude : float
        Many-body amplitude ``S0^2`` of the fine structure.

    Returns
    -------
    ndarray, shape (n, 6)
        ``f_ij = cross_section delta_ij + S0^2 normalisation chi_ij``.
    """
    spectrum: Complex = amplitude * normalisation[:, None] * chi
    spectrum[:, :3] += cross_section[:, None]
    return spectrum
