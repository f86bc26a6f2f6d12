"""
The free propagator between atoms, as a fixed real matrix times a few complex numbers per energy.

With ``rho = p |R|`` and ``R = r_i - r_j``, in real harmonics (factors ``i**l`` absorbed),

    G0[L, L'](R) = 4 pi sum_L'' f_l''(rho) Y_L''(R^) C[L, L', L''],
    f_l = exp(i rho)/rho * c_l,   z = 1/(i rho),
    c_0 = 1,   c_1 = 1 - z,   c_(l+1) = c_(l-1) - (2l+1) z c_l.

Only ``f`` depends on the energy, and only through the distance; everything else is geometry. A
crystal repeats its difference vectors, so far fewer numbers are made than the matrix has elements.
A block obeys ``G0(-R) = (-1)**(l+l') G0(R)`` and is symmetric in ``L, L'``; hence ``P G0`` with
``P = (-1)**l`` is a symmetric matrix, and that is the form used here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from vtc_flows.scattering.angular import gaunt, real_harmonics

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]
Integers = NDArray[np.intp]

#: Difference vectors that agree to this (Bohr) are one: far below what a spectrum can see, well
#: above the rounding of coordinates written with six decimals.
SAME_VECTOR_BOHR = 2e-5


def outgoing_waves(momentum: complex | Complex, distances: Floats, lmax: int) -> Complex:
    """
    Radial factors ``f_l = exp(i rho)/rho * c_l`` (``i**l h_l``) of the free propagator.

    Parameters
    ----------
    momentum : complex, or ndarray of shape (...)
        ``p = sqrt(2 (E - V))`` in atomic units, ``Im p >= 0``.
    distances : ndarray, shape (n,)
        Bohr.
    lmax : int
        Largest ``l``.

    Returns
    -------
    ndarray, shape (..., n, lmax + 1)
        In double precision: the recursion loses digits at small ``rho``.
    """
    rho = np.multiply.outer(momentum, distances)
    waves = np.empty((lmax + 1, *rho.shape), dtype=np.complex128)
    z = -1j / rho
    waves[0] = np.exp(1j * rho) / rho
    if lmax > 0:
        waves[1] = waves[0] * (1 - z)
    for order in range(1, lmax):
        waves[order + 1] = waves[order - 1] - (2 * order + 1) * z * waves[order]
    return np.moveaxis(waves, 0, -1)


def angular_factors(vectors: Floats, lmax: int) -> Floats:
    """
    Real factors ``4 pi sum_m'' Y_L''(R^) C[L, L', L'']``.

    Parameters
    ----------
    vectors : ndarray, shape (n, 3)
        Difference vectors, any length but zero.
    lmax : int
        Largest ``l`` of a block.

    Returns
    -------
    ndarray, shape (n, nL, nL, 2 lmax + 1)
        ``nL = (lmax + 1)**2``; zero outside ``|l - l'| <= l'' <= l + l'``.
    """
    units = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    harmonics = real_harmonics(2 * lmax, units)
    coefficients = gaunt(lmax)
    n_states = (lmax + 1) ** 2
    factors = np.empty((len(vectors), n_states, n_states, 2 * lmax + 1))
    for wave in range(2 * lmax + 1):
        part = slice(wave * wave, (wave + 1) ** 2)
        flat = coefficients[:, :, part].reshape(n_states**2, -1)
        factors[..., wave] = (
            4 * np.pi * (harmonics[:, part] @ flat.T).reshape(-1, n_states, n_states)
        )
    return factors


def free_block(momentum: complex, vector: Floats, lmax: int) -> Complex:
    """
    Free propagator ``G0[L, L']`` for one difference vector ``r_i - r_j`` (Bohr).

    The direct form of what `PairTable` makes for a whole cluster.
    """
    vector = np.asarray(vector, dtype=np.float64)
    waves = outgoing_waves(momentum, np.array([np.linalg.norm(vector)]), 2 * lmax)[0]
    block: Complex = angular_factors(vector[None], lmax)[0] @ waves
    return block


@dataclass(frozen=True)
class PairTable:
    """
    Distinct difference vectors of a cluster.

    Attributes
    ----------
    vector_id : ndarray, shape (N, N)
        Which vector ``r_i - r_j`` is, up to its sign; -1 on the diagonal.
    sign : ndarray, shape (N, N)
        +1 or -1: ``r_i - r_j = sign * vectors[vector_id]``.
    vectors : ndarray, shape (n_vectors, 3)
        Bohr.
    distance_id : ndarray, shape (n_vectors,)
        Which distance each vector has.
    distances : ndarray, shape (n_distances,)
        Bohr.
    """

    vector_id: Integers
    sign: NDArray[np.int8]
    vectors: Floats
    distance_id: Integers
    distances: Floats

    @classmethod
    def from_positions(cls, positions: Floats) -> PairTable:
        """Collect the difference vectors of ``positions`` (N, 3), Bohr."""
        n = len(positions)
        difference = positions[:, None] - positions[None, :]
        grid = np.rint(difference / SAME_VECTOR_BOHR).astype(np.int64)
        leading = np.where(
            grid[..., 2] != 0, grid[..., 2], np.where(grid[..., 1] != 0, grid[..., 1], grid[..., 0])
        )
        sign = np.where(leading < 0, -1, 1).astype(np.int8)
        rows, columns = np.nonzero(~np.eye(n, dtype=bool))
        canonical = grid[rows, columns] * sign[rows, columns, None]
        _, first, inverse = np.unique(canonical, axis=0, return_index=True, return_inverse=True)
        vector_id = np.full((n, n), -1, dtype=np.intp)
        vector_id[rows, columns] = inverse.ravel()
        vectors = difference[rows[first], columns[first]] * sign[rows[first], columns[first], None]
        lengths = np.linalg.norm(vectors, axis=1)
        _, nearest, distance_id = np.unique(
            np.rint(lengths / SAME_VECTOR_BOHR), return_index=True, return_inverse=True
        )
        return cls(vector_id, sign, vectors, distance_id.ravel(), lengths[nearest])

    def coefficients(self, lmax: int) -> csr_array:
        """
        Build the real matrix that turns ``f[distance, l'']`` into the blocks of all vectors.

        Rows run over ``(vector, L, L')``, columns over ``(distance, l'')``.
        """
        factors = angular_factors(self.vectors, lmax)
        factors[np.abs(factors) < 1e-10] = 0.0
        n_vectors, n_states, _, n_waves = factors.shape
        vector, left, right, wave = np.nonzero(factors)
        rows = (vector * n_states + left) * n_states + right
        columns = self.distance_id[vector] * n_waves + wave
        shape = (n_vectors * n_states**2, len(self.distances) * n_waves)
        return csr_array((factors[vector, left, right, wave], (rows, columns)), shape=shape)
