"""
Real spherical harmonics and their integrals.

Order of the states of one atom: ``L = l*l + l + m``; ``m < 0`` goes with ``sin(|m| phi)``,
``m > 0`` with ``cos(m phi)``, without the Condon-Shortley sign. The three states of ``l = 1`` are
therefore ``y, z, x`` (see `P_STATES`). Real harmonics, not complex ones, because every coefficient
of the free propagator is then real, and a mirror plane along an axis only changes signs.
"""

from __future__ import annotations

from functools import lru_cache
from math import factorial, pi, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Indices of the states ``x, y, z`` among the states of one atom.
P_STATES = (3, 1, 2)


def state_l(lmax: int) -> NDArray[np.intp]:
    """Return the orbital quantum number ``l`` of each of the ``(lmax + 1)**2`` states."""
    return np.repeat(np.arange(lmax + 1), 2 * np.arange(lmax + 1) + 1)


def parity(lmax: int) -> NDArray[np.int8]:
    """Return ``(-1)**l`` of each state of one atom."""
    return np.where(state_l(lmax) % 2, -1, 1).astype(np.int8)


def real_harmonics(lmax: int, directions: Floats) -> Floats:
    """
    Orthonormal real spherical harmonics of unit vectors.

    Parameters
    ----------
    lmax : int
        Largest ``l``.
    directions : ndarray, shape (..., 3)
        Unit vectors.

    Returns
    -------
    ndarray, shape (..., (lmax + 1)**2)

    Examples
    --------
    >>> real_harmonics(1, np.array([0.0, 0.0, 1.0])) * np.sqrt(4 * np.pi)
    array([1.        , 0.        , 1.73205081, 0.        ])
    """
    x, y, z = np.moveaxis(np.asarray(directions, dtype=np.float64), -1, 0)
    values = np.empty((*x.shape, (lmax + 1) ** 2))
    azimuth = np.ones(x.shape, dtype=np.complex128)  # (sin(theta) exp(i phi))**m
    sectoral = 1.0  # (2m - 1)!!
    for m in range(lmax + 1):
        # Legendre functions over sin(theta)**m, upwards in l: stable, and finite at the poles.
        previous, legendre = np.zeros(x.shape), np.full(x.shape, sectoral)
        for degree in range(m, lmax + 1):
            norm = sqrt((2 * degree + 1) / (4 * pi) * factorial(degree - m) / factorial(degree + m))
            if m == 0:
                values[..., degree * degree + degree] = norm * legendre
            else:
                values[..., degree * degree + degree + m] = (
                    sqrt(2.0) * norm * legendre * azimuth.real
                )
                values[..., degree * degree + degree - m] = (
                    sqrt(2.0) * norm * legendre * azimuth.imag
                )
            following = ((2 * degree + 1) * z * legendre - (degree + m) * previous) / (
                degree + 1 - m
            )
            previous, legendre = legendre, following
        sectoral *= 2 * m + 1
        azimuth = azimuth * (x + 1j * y)
    return values


@lru_cache(maxsize=8)
def gaunt(lmax: int) -> Floats:
    """
    Integrals of three real harmonics, ``C[L, L', L''] = int Y_L Y_L' Y_L'' dOmega``.

    Exact: Gauss-Legendre points in ``cos(theta)`` and a uniform ring in ``phi`` integrate every
    product of harmonics up to ``l + l' + l'' = 4 lmax``.

    Parameters
    ----------
    lmax : int
        Largest ``l`` of the first two; the third goes to ``2 lmax``.

    Returns
    -------
    ndarray, shape ((lmax + 1)**2, (lmax + 1)**2, (2 lmax + 1)**2)
    """
    cosines, weights = np.polynomial.legendre.leggauss(2 * lmax + 2)
    n_phi = 4 * lmax + 3
    phi = 2 * pi * np.arange(n_phi) / n_phi
    sines = np.sqrt(1 - cosines**2)
    directions = np.stack(
        [
            np.outer(sines, np.cos(phi)),
            np.outer(sines, np.sin(phi)),
            np.outer(cosines, np.ones(n_phi)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    outer = real_harmonics(2 * lmax, directions)
    inner = outer[:, : (lmax + 1) ** 2]
    weighted = outer * (np.repeat(weights, n_phi) * 2 * pi / n_phi)[:, None]
    coefficients: Floats = np.einsum("pa,pb,pc->abc", inner, inner, weighted, optimize=True)
    coefficients[np.abs(coefficients) < 1e-13] = 0.0
    coefficients.setflags(write=False)
    return coefficients
