"""Which states of a cluster are factorised, which are left to Krylov, which are left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtc_flows.scattering.angular import gaunt
from vtc_flows.scattering.propagator import PairTable

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Partition:
    """
    A rule to divide the states by how strongly they scatter.

    Attributes
    ----------
    strong : float
        Kinds that scatter at least this strongly are factorised.
    kept : float
        Kinds weaker than this are left out, which changes the result by about its square.
    max_products : int
        Krylov products before the next rule is tried.
    largest_sector : int or None
        Larger symmetry sectors skip this rule.
    """

    strong: float
    kept: float
    max_products: int
    largest_sector: int | None = None

    def divide(self, strength: Floats) -> tuple[Mask, Mask]:
        """Return which kinds are strong, and which are kept at all."""
        # Negated so that strengths that are no numbers count as strong, and show in the result.
        return ~(strength < self.strong), ~(strength < self.kept)


#: Factorises every state.
EXACT = Partition(0.0, 0.0, 0)
#: Tried in turn until one reaches the tolerance. In a small sector a product with the weak states
#: costs more than it saves. The limits were measured on rutile and tenorite clusters.
PARTITIONS = (
    Partition(1e-3, 1e-3, 0, largest_sector=300),
    Partition(0.3, 1e-3, 10),
    Partition(0.05, 3e-4, 6),
    EXACT,
)


class CouplingStrength:
    """
    How strongly each kind of state is coupled to all others, from distances alone.

    Parameters
    ----------
    potentials : ndarray, shape (N,)
        Potential of each atom.
    pairs : PairTable
        Difference vectors.
    lmax : ndarray, shape (n_potentials,)
        Largest ``l`` of each potential.
    block_lmax : int
        Largest ``l`` of any atom.
    """

    def __init__(
        self, potentials: Integers, pairs: PairTable, lmax: Integers, block_lmax: int
    ) -> None:
        n_potentials = len(lmax)
        count = np.zeros((n_potentials, n_potentials, len(pairs.distances)))
        row, column = np.nonzero(pairs.vector_id >= 0)
        distance = pairs.distance_id[pairs.vector_id[row, column]]
        np.add.at(count, (potentials[row], potentials[column], distance), 1.0)
        atoms = np.bincount(potentials, minlength=n_potentials)
        self._neighbours = count / np.maximum(atoms, 1)[:, None, None]
        # sum_mm' |block|^2 does not depend on the direction: 4 pi sum_mm'm'' C^2 |f_l''|^2.
        squares = 4 * np.pi * gaunt(block_lmax) ** 2
        for axis, degree in ((0, block_lmax), (1, block_lmax), (2, 2 * block_lmax)):
            squares = np.add.reduceat(squares, np.arange(degree + 1) ** 2, axis=axis)
        squares = squares / (2 * np.arange(block_lmax + 1) + 1)[:, None, None]
        self._squares = squares.reshape(-1, 2 * block_lmax + 1).T
        self._present = np.arange(block_lmax + 1) <= lmax[:, None]

    def of_kinds(self, amplitudes: Floats, intensities: Floats) -> Floats:
        """
        Root of the summed squares of a row of ``S H S``.

        Parameters
        ----------
        amplitudes : ndarray, shape (..., n_potentials, block_lmax + 1)
            ``|t_l|``.
        intensities : ndarray, shape (..., n_distances, n_waves)
            Squares of the radial waves.

        Returns
        -------
        ndarray, shape (..., n_kinds)
            One for each potential and ``l``.
        """
        amplitudes = np.where(self._present, amplitudes, 0.0)
        seen = self._neighbours @ intensities[..., None, :, :]  # (potential, potential, l'')
        pairs = seen @ self._squares  # (potential, potential, l l')
        *energies, n, degrees = amplitudes.shape
        coupling = pairs.reshape(*energies, n, n, degrees, degrees)
        spread = (coupling * amplitudes[..., None, :, None, :]).sum(axis=(-3, -1))
        strength: Floats = np.sqrt(amplitudes * spread).reshape(*energies, n * degrees)
        return strength
