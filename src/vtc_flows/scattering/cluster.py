"""
A cluster's geometry, prepared once and used at every energy.

Multiple scattering is written in a symmetric, evenly scaled form. With ``P = (-1)**l``,
``H = P G0`` (symmetric, zero diagonal blocks) and ``S = sqrt(T)``, the full propagator
``G = G0 + G0 T G`` follows from ``D = P - S H S``:

    P G = H + H S D^-1 S H.

Symmetry splits ``D`` into sectors; how strongly each kind of state scatters decides which states of
a sector are factorised, which are reached by a Krylov space and which are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from vtc_flows.errors import ClusterError, InputError
from vtc_flows.scattering.adaptive import lagrange_weights
from vtc_flows.scattering.angular import P_STATES
from vtc_flows.scattering.elements import SectorElements, StateList
from vtc_flows.scattering.elimination import Solution, diagonal_of_sector, solve_sector
from vtc_flows.scattering.partition import PARTITIONS, CouplingStrength, Partition
from vtc_flows.scattering.propagator import PairTable, outgoing_waves
from vtc_flows.scattering.sectors import Sector, ValueTable
from vtc_flows.scattering.symmetry import SignSymmetry, sign_symmetry

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Complex = NDArray[np.complex128]
Complex64 = NDArray[np.complex64]


_OVERLAP_BOHR = 0.1
#: Elements of ``H`` that are computed at once take this much memory at the most.
_BATCH_BYTES = 2**24
#: Kinds of states that scatter more weakly at all energies of a batch are left out there.
_KEPT = 1e-3


@dataclass
class SolverFacts:
    """
    What the solver did.

    Attributes
    ----------
    n_states, n_sectors : int
        Size of the cluster's scattering matrix, and of its division by symmetry.
    partitions : Counter
        How often the first, second ... partition gave the result.
    products : int
        Products with a Schur complement.
    strong_states : int
        Sum of the sizes of the factorised blocks.
    worst_error : float
        Largest estimated relative error that was accepted.
    """

    n_states: int
    n_sectors: int
    partitions: Counter[int] = field(default_factory=Counter)
    products: int = 0
    strong_states: int = 0
    worst_error: float = 0.0

    def record(self, partition: int, n_strong: int, solution: Solution) -> None:
        """Add one solved sector."""
        self.partitions[partition] += 1
        self.products += solution.products
        self.strong_states += n_strong
        self.worst_error = max(self.worst_error, solution.error)


@dataclass(frozen=True)
class _Energy:
    """What one energy needs: weights and strengths by kind of state, elements of ``H``."""

    momentum: complex
    weights: Complex64
    strength: Floats
    bare: Complex64


class SolutionMemory:
    """
    Solutions at energies that were solved, from which others are foretold.

    Between energies that are near to each other on the scale of their imaginary part a solution is
    nearly a polynomial. It only has to be good enough to begin with: its error is squared in the
    result, and that is checked.
    """

    _NODES = 4
    #: How far, in imaginary parts of the kinetic energy, the nearest solution may be.
    _NEAR = 1.0

    def __init__(self) -> None:
        self._solutions: dict[int, list[tuple[complex, Complex64]]] = {}

    def keep(self, sector: int, momentum: complex, states: Complex64) -> None:
        """Remember a solution."""
        self._solutions.setdefault(sector, []).append((momentum**2 / 2, states))

    def guess(self, sector: int, momentum: complex) -> Complex64 | None:
        """Foretell a solution; None where none is near."""
        energy = momentum**2 / 2
        known = self._solutions.get(sector, [])
        nearest = sorted(known, key=lambda one: abs(one[0] - energy))[: self._NODES]
        if not nearest or abs(nearest[0][0] - energy) > self._NEAR * abs(energy.imag):
            return None
        weights = lagrange_weights(np.array([at for at, _ in nearest]), energy)
        solutions = np.stack([states for _, states in nearest])
        guess: Complex64 = np.tensordot(weights.astype(np.complex64), solutions, 1)
        return guess


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
    source_l : sequence of int, optional
        The first atom's ``l`` that are asked for; all of them by default.
    use_symmetry : bool
        Whether to look for mirrors, two-fold axes and inversion.
    partitions : sequence of Partition
        Which states to factorise, tried in turn; the last has to be `EXACT`.
    tolerance : float
        Relative error of the first atom's block that is good enough.

    Raises
    ------
    ClusterError
        If the arrays do not describe a cluster.
    """

    def __init__(
        self,
        positions_bohr: Floats,
        potential_index: Integers,
        lmax: Integers,
        *,
        source_l: tuple[int, ...] | None = None,
        use_symmetry: bool = True,
        partitions: tuple[Partition, ...] = PARTITIONS,
        tolerance: float = 1e-5,
    ) -> None:
        positions = np.asarray(positions_bohr, dtype=np.float64)
        potentials = np.asarray(potential_index, dtype=np.intp)
        limits = np.asarray(lmax, dtype=np.intp)
        _check(positions, potentials, limits)
        self.lmax = limits
        self.n_atoms = len(positions)
        self.partitions = partitions
        self.tolerance = tolerance
        self._block_lmax = int(limits[potentials].max())
        self._center_lmax = int(limits[potentials[0]])
        wanted = range(self._center_lmax + 1) if source_l is None else source_l
        source = np.array([x for x in wanted if x <= self._center_lmax], dtype=np.intp)
        species = potentials if use_symmetry else np.arange(self.n_atoms)
        symmetry = sign_symmetry(positions, species)
        self._frame = symmetry.frame
        pairs = PairTable.from_positions(positions @ symmetry.frame)
        self._distances = pairs.distances
        if self.n_atoms > 1 and self._distances.min() < _OVERLAP_BOHR:
            raise ClusterError("two atoms of the cluster are at one place")
        self._sectors = self._make_sectors(potentials, source, symmetry, pairs)
        self._strength = CouplingStrength(potentials, pairs, limits, self._block_lmax)
        n_states = int(((limits[potentials] + 1) ** 2).sum())
        self.facts = SolverFacts(n_states, len(self._sectors))

    def _make_sectors(
        self, potentials: Integers, source_l: Integers, symmetry: SignSymmetry, pairs: PairTable
    ) -> list[Sector]:
        """Prepare the sectors that hold a source; none where nothing scatters back."""
        if self.n_atoms == 1:
            return []
        corners = np.array(list(product((0, 1), repeat=3)))
        characters = np.unique(np.where((symmetry.signs < 0) @ corners.T % 2, -1, 1), axis=1).T
        listed = [
            StateList.of_sector(symmetry, character, potentials, self.lmax, source_l)
            for character in characters
        ]
        elements = [
            SectorElements.of_sector(states, symmetry, pairs)
            for states in listed
            if len(states.sources)
        ]
        if not elements:
            return []
        self._table = ValueTable(elements, len(self.lmax) * (self._block_lmax + 1))
        ends = np.cumsum([len(each.kind_pair) for each in elements])
        return [
            Sector(each, self._table, int(end) - len(each.kind_pair))
            for each, end in zip(elements, ends, strict=True)
        ]

    def _energies(self, momenta: Complex, scattering: Complex) -> Iterator[_Energy]:
        """Prepare energies one after the other, a few at once."""
        amplitudes = scattering[..., : self._block_lmax + 1]
        size = max(1, _BATCH_BYTES // (8 * self._table.n_values))
        for start in range(0, len(momenta), size):
            part = slice(start, start + size)
            waves = outgoing_waves(momenta[part], self._distances, 2 * self._block_lmax)
            strength = self._strength.of_kinds(np.abs(amplitudes[part]), np.abs(waves) ** 2)
            n = len(waves)
            weights = np.sqrt(amplitudes[part]).astype(np.complex64).reshape(n, -1)
            bare = self._table.bare(waves.astype(np.complex64).reshape(n, -1))
            for k in range(n):
                yield _Energy(complex(momenta[start + k]), weights[k], strength[k], bare[k])

    def _center(self, energy: _Energy, memory: SolutionMemory | None) -> Complex:
        """Full propagator of the first atom, in the frame of the symmetry operations."""
        n_center = (max(self._center_lmax, 1) + 1) ** 2
        center = np.zeros((n_center, n_center), dtype=np.complex128)
        table = self._table.scaled(energy.bare, energy.weights)
        for number, sector in enumerate(self._sectors):
            guess = None if memory is None else memory.guess(number, energy.momentum)
            solution = self._solve_sector(sector, energy, table, guess)
            if memory is not None:
                memory.keep(number, energy.momentum, solution.states)
            sources = sector.states.sources
            states = sector.states.index[sources]
            center[np.ix_(states, states)] = sector.states.parity[sources][:, None] * solution.block
        return center

    def _solve_sector(
        self, sector: Sector, energy: _Energy, table: Complex64, guess: Complex64 | None
    ) -> Solution:
        """Try the partitions in turn."""
        n_states = len(sector.states.atom)
        columns = sector.columns(energy.bare, energy.weights)
        for number, partition in enumerate(self.partitions):
            if partition.largest_sector is not None and n_states > partition.largest_sector:
                continue
            layout = sector.layout(*partition.divide(energy.strength))
            solution = solve_sector(
                sector, layout, table, columns, self.tolerance, partition.max_products, guess
            )
            if solution is not None:
                self.facts.record(number, len(layout.strong), solution)
                return solution
        raise InputError("the last partition has to be EXACT")

    def dipole_blocks(
        self, momenta: Complex, scattering: Complex, memory: SolutionMemory | None = None
    ) -> Complex:
        """
        Full propagator between the ``l = 1`` states of the first atom.

        Parameters
        ----------
        momenta : ndarray, shape (n,)
            ``p = sqrt(2 (E - V))``, ``Im p >= 0``.
        scattering : ndarray, shape (n, n_potentials, >= lmax + 1)
            ``t_l = exp(i delta) sin(delta)`` of each potential.
        memory : SolutionMemory, optional
            Solutions at other energies, with which iteration begins nearer to its end.

        Returns
        -------
        ndarray, shape (n, 3, 3)
            In the order x, y, z and the frame of the positions.
        """
        blocks = np.zeros((len(momenta), 3, 3), dtype=np.complex128)
        if self._sectors:
            for k, energy in enumerate(self._energies(momenta, scattering)):
                block = self._center(energy, memory)[np.ix_(P_STATES, P_STATES)]
                blocks[k] = self._frame @ block @ self._frame.T
        return blocks

    def dipole_block(self, momentum: complex, scattering: Complex) -> Complex:
        """Return the same at one energy: `scattering` without its first axis, shape (3, 3)."""
        block: Complex = self.dipole_blocks(np.array([momentum]), np.asarray(scattering)[None])[0]
        return block

    def diagonals_by_l(self, momenta: Complex, scattering: Complex) -> Complex:
        """
        Sum over ``m`` of the diagonal of the first atom's full propagator, for each ``l``.

        Parameters
        ----------
        momenta : ndarray, shape (n,)
            ``p = sqrt(2 (E - V))``, ``Im p >= 0``.
        scattering : ndarray, shape (n, n_potentials, >= lmax + 1)
            ``t_l = exp(i delta) sin(delta)`` of each potential.

        Returns
        -------
        ndarray, shape (n, lmax + 1)
        """
        diagonals = np.zeros((len(momenta), (self._center_lmax + 1) ** 2), dtype=np.complex128)
        if self._sectors:
            energies = list(self._energies(momenta, scattering))
            # Negated so that strengths that are no numbers count, and show in the result.
            kept: NDArray[np.bool_] = np.any(
                [~(each.strength < _KEPT) for each in energies], axis=0
            )
            for k, energy in enumerate(energies):
                self._add_diagonal(diagonals[k], energy, kept)
        starts = np.arange(self._center_lmax + 1) ** 2
        sums: Complex = np.add.reduceat(diagonals, starts, axis=1)
        return sums

    def _add_diagonal(self, diagonal: Complex, energy: _Energy, kept: NDArray[np.bool_]) -> None:
        """Add the diagonal of the first atom's states at one energy."""
        table = self._table.scaled(energy.bare, energy.weights)
        for sector in self._sectors:
            columns = sector.columns(energy.bare, energy.weights)
            found = diagonal_of_sector(sector, sector.layout(kept, kept), table, columns)
            sources = sector.states.sources
            diagonal[sector.states.index[sources]] += sector.states.parity[sources] * found


def _check(positions: Floats, potentials: Integers, lmax: Integers) -> None:
    if positions.ndim != 2 or positions.shape[1] != 3 or len(positions) == 0:
        raise ClusterError(f"positions_bohr must have shape (N, 3), not {positions.shape}")
    if potentials.shape != (len(positions),):
        raise ClusterError(
            f"potential_index has shape {potentials.shape}, need ({len(positions)},)"
        )
    if potentials.min() < 0 or potentials.max() >= len(lmax):
        raise ClusterError("potential_index points outside lmax")
