"""
A cluster's geometry, prepared once and used at every energy.

Multiple scattering is written in a symmetric, evenly scaled form. With ``P = (-1)**l``,
``H = P G0`` (symmetric, zero diagonal blocks) and ``S = sqrt(T)``, the full propagator
``G = G0 + G0 T G`` follows from ``D = P - S H S``:

    P G = H + H S D^-1 S H.

For one atom ``c`` it is enough to treat the others: ``W = H_cr S D_rr^-1 S H_rc`` and
``P G_cc = (1 - W P T_c)^-1 W``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from vtc_flows.scattering.angular import state_l
from vtc_flows.scattering.propagator import PairTable, outgoing_waves, parity

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Complex = NDArray[np.complex128]


class ClusterGeometry:
    """
    Everything of a cluster that does not depend on the energy.

    Build it once for a cluster, call it for every energy; one instance serves one thread, because
    it keeps its workspaces.

    Parameters
    ----------
    positions_bohr : array_like, shape (N, 3)
        The atom of interest first.
    potential_index : array_like, shape (N,)
        Which potential each atom has.
    lmax : array_like, shape (n_potentials,)
        Largest ``l`` of each potential.

    Raises
    ------
    ValueError
        If shapes do not agree.
    """

    def __init__(
        self,
        positions_bohr: Floats,
        potential_index: Integers,
        lmax: Integers,
    ) -> None:
        positions = np.asarray(positions_bohr, dtype=np.float64)
        potentials = np.asarray(potential_index, dtype=np.intp)
        limits = np.asarray(lmax, dtype=np.intp)
        if positions.ndim != 2 or positions.shape[1] != 3 or len(positions) == 0:
            raise ValueError(f"positions_bohr must have shape (N, 3), not {positions.shape}")
        if potentials.shape != (len(positions),):
            raise ValueError(
                f"potential_index has shape {potentials.shape}, need ({len(positions)},)"
            )
        if potentials.min() < 0 or potentials.max() >= len(limits):
            raise ValueError("potential_index points outside lmax")
        self.lmax = limits
        self.n_atoms = len(positions)
        self._center_lmax = int(limits[potentials[0]])
        self._block_lmax = int(limits[potentials].max())
        pairs = PairTable.from_positions(positions)
        self._distances = pairs.distances
        self._coefficients = pairs.coefficients(self._block_lmax).astype(np.complex64)
        self._lay_out_states(potentials)
        self._index_elements(pairs)

    def _lay_out_states(self, potentials: Integers) -> None:
        """Order the states: the neighbours' first, the centre's last."""
        order = np.roll(np.arange(self.n_atoms), -1)
        counts = (self.lmax[potentials[order]] + 1) ** 2
        self._state_atom = np.repeat(order, counts)
        self._state_index = np.concatenate([np.arange(count) for count in counts])
        self._state_potential = potentials[self._state_atom]
        self._state_l = state_l(self._block_lmax)[self._state_index]
        self._state_parity = parity(self._block_lmax)[self._state_index]
        self._n_center = (self._center_lmax + 1) ** 2
        self._n_outer = len(self._state_atom) - self._n_center

    def _index_elements(self, pairs: PairTable) -> None:
        """Say for each element of ``H`` (outer columns) where it stands in the table of values."""
        n_states = (self._block_lmax + 1) ** 2
        n_values = len(pairs.vectors) * n_states**2
        column, row = self._state_atom[: self._n_outer], self._state_atom
        vector = pairs.vector_id[row[:, None], column[None, :]]
        left, right = self._state_index[:, None], self._state_index[None, : self._n_outer]
        place = (vector * n_states + left) * n_states + right
        # (-1)**l of P, and (-1)**(l+l') where the vector is the reversed one.
        sign = np.where(
            pairs.sign[row[:, None], column[None, :]] < 0,
            self._state_parity[None, : self._n_outer],
            self._state_parity[:, None],
        )
        # The table holds the values, then their negatives, then one zero.
        place = np.where(sign < 0, place + n_values, place)
        self._element = np.where(vector < 0, 2 * n_values, place)
        self._table = np.zeros(2 * n_values + 1, dtype=np.complex64)
        self._matrix = np.empty((len(row), self._n_outer), dtype=np.complex64)
        self._diagonal = np.arange(self._n_outer)

    def _fill_table(self, momentum: complex) -> None:
        waves = outgoing_waves(momentum, self._distances, 2 * self._block_lmax)
        values = self._coefficients @ waves.astype(np.complex64).ravel()
        self._table[: len(values)] = values
        np.negative(values, out=self._table[len(values) : 2 * len(values)])

    def central_propagator(self, momentum: complex, scattering: Complex) -> Complex:
        """
        Full propagator of the first atom back to itself.

        Parameters
        ----------
        momentum : complex
            ``p = sqrt(2 (E - V))``, ``Im p >= 0``.
        scattering : ndarray, shape (n_potentials, >= lmax + 1)
            ``t_l = exp(i delta) sin(delta)`` of each potential.

        Returns
        -------
        ndarray, shape (nL, nL)
            ``G_cc[L, L']``, ``nL = (lmax + 1)**2`` of the first atom; zero for a lone atom.
        """
        if self.n_atoms == 1:
            return np.zeros((self._n_center, self._n_center), dtype=np.complex128)
        amplitude = scattering[self._state_potential, self._state_l]
        weight = np.sqrt(amplitude[: self._n_outer]).astype(np.complex64)
        self._fill_table(momentum)
        matrix, n_outer = self._matrix, self._n_outer
        np.take(self._table, self._element, out=matrix, mode="clip")
        matrix *= weight
        matrix[:n_outer] *= -weight[:, None]
        matrix[self._diagonal, self._diagonal] += self._state_parity[:n_outer]
        # The rows of `matrix` are columns for LAPACK: [D_rr | S H_rc], eliminated together.
        border = matrix[n_outer:].T.copy(order="F")
        factors, _, _ = lapack.cgetrf(matrix.T, overwrite_a=1)
        outgoing, _ = lapack.ctrtrs(factors[:, :n_outer], border, trans=1)
        around = (outgoing.T @ factors[:, n_outer:]).astype(np.complex128)
        signs = self._state_parity[n_outer:]
        dressed = np.eye(self._n_center) - around * (signs * amplitude[n_outer:])
        center: Complex = signs[:, None] * np.linalg.solve(dressed, around)
        return center

    def diagonal_by_l(self, momentum: complex, scattering: Complex) -> Complex:
        """
        Sum of the diagonal of `central_propagator` over ``m``, for each ``l``.

        Parameters
        ----------
        momentum, scattering
            As for `central_propagator`.

        Returns
        -------
        ndarray, shape (lmax + 1,)
        """
        diagonal = np.diagonal(self.central_propagator(momentum, scattering))
        starts = np.arange(self._center_lmax + 1) ** 2
        sums: Complex = np.add.reduceat(diagonal, starts)
        return sums
