"""
The scattering matrix of one symmetry sector, as fixed lists to be filled in at each energy.

A sector holds the combinations of states ``|i, L>`` of equivalent atoms that share the parities of
one representation. An element of ``H = P G0`` between two of them is a sum over the images of an
atom,

    H[(i, L), (j, L')] = P_L sqrt(n_i / n_j) sum_g chi(g) sigma_L'(g) G0[i L, (g j) L'],

a real combination of the radial waves ``f_l''(distance)``. Combinations that agree (a crystal has
many) are found once, here, and evaluated once per energy.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from vtc_flows.scattering.angular import parity, state_l
from vtc_flows.scattering.propagator import PairTable
from vtc_flows.scattering.symmetry import SignSymmetry, harmonic_signs

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Complex = NDArray[np.complex128]
Complex64 = NDArray[np.complex64]

_CACHED_LAYOUT_BYTES = 2**28


@dataclass(frozen=True)
class StateList:
    """
    States of one sector.

    Attributes
    ----------
    atom, index : ndarray, shape (n,)
        Atom that stands for its images, and its state ``L``.
    kind : ndarray, shape (n,)
        ``potential * (lmax + 1) + l``: states of a kind have the same ``t``.
    parity : ndarray, shape (n,)
        ``(-1)**l``.
    sources : ndarray
        The states of the first atom that are asked for (columns).
    characters : ndarray, shape (g,)
        Sign of the sector under each operation.
    block_lmax : int
        Largest ``l`` of any atom.
    """

    atom: Integers
    index: Integers
    kind: Integers
    parity: NDArray[np.float32]
    sources: Integers
    characters: Integers
    block_lmax: int

    @classmethod
    def of_sector(
        cls,
        symmetry: SignSymmetry,
        characters: Integers,
        potentials: Integers,
        lmax: Integers,
        source_l: Integers,
    ) -> StateList:
        """List the states of the atoms that stand for their orbits, first atom first."""
        n_atoms = len(potentials)
        block_lmax = int(lmax[potentials].max())
        representatives = np.flatnonzero(symmetry.images.min(axis=0) == np.arange(n_atoms))
        counts = (lmax[potentials[representatives]] + 1) ** 2
        atom = np.repeat(representatives, counts)
        index = np.concatenate([np.arange(count) for count in counts])
        signs = harmonic_signs(block_lmax, symmetry.signs)
        stays = symmetry.images[:, atom] == atom
        allowed = np.all(~stays | (signs[:, index] == characters[:, None]), axis=0)
        atom, index = atom[allowed], index[allowed]
        degree = state_l(block_lmax)[index]
        return cls(
            atom,
            index,
            potentials[atom] * (block_lmax + 1) + degree,
            parity(block_lmax)[index].astype(np.float32),
            np.flatnonzero((atom == 0) & np.isin(degree, source_l)),
            characters,
            block_lmax,
        )


class Layout:
    """
    Division of a sector's states, with the lists and the workspaces to fill its matrix.

    Parameters
    ----------
    strong, weak : ndarray
        States that are factorised, and states left to the Krylov space. The others are left out.
    element : ndarray, shape (n, n)
        Where each element of the matrix stands in the sector's table.
    """

    def __init__(self, strong: Integers, weak: Integers, element: NDArray[np.int32]) -> None:
        self.strong = strong
        self.weak = weak
        self._blocks = tuple(
            # Workspaces are kept: fresh memory of this size costs more than filling it.
            (place, np.empty(place.shape, dtype=np.complex64))
            for place in (
                element[np.ix_(strong, strong)].astype(np.intp),
                element[np.ix_(weak, strong)].astype(np.intp),
                element[np.ix_(weak, weak)].astype(np.intp),
            )
        )

    def fill(self, table: Complex64) -> tuple[Complex64, Complex64, Complex64]:
        """Return the blocks strong-strong, weak-strong and weak-weak, valid until the next call."""
        for place, block in self._blocks:
            np.take(table, place, out=block, mode="clip")
        return self._blocks[0][1], self._blocks[1][1], self._blocks[2][1]

    @property
    def n_bytes(self) -> int:
        """Memory it holds."""
        return sum(place.nbytes + block.nbytes for place, block in self._blocks)


class Sector:
    """
    One symmetry sector of a cluster.

    Parameters
    ----------
    states : StateList
        Its states.
    symmetry : SignSymmetry
        The operations behind it.
    pairs : PairTable
        Difference vectors, in the frame of the operations.
    """

    def __init__(self, states: StateList, symmetry: SignSymmetry, pairs: PairTable) -> None:
        self.states = states
        self._layouts: OrderedDict[bytes, Layout] = OrderedDict()
        self._find_elements(symmetry, pairs)

    def _find_elements(self, symmetry: SignSymmetry, pairs: PairTable) -> None:
        """Find the distinct combinations and where each element of the matrix takes its value."""
        states = self.states
        n = len(states.atom)
        waves_of_values = pairs.coefficients(states.block_lmax)
        row, column = np.tril_indices(n)
        places, factors = _combinations(states, symmetry, pairs, row, column)
        probe = _probe(waves_of_values)
        fingers = np.einsum("ke,kec->ec", factors, probe[places])
        fingers *= _mark(states.kind, row, column)[:, None]
        first, place = _distinct(fingers)
        self._element = np.empty((n, n), dtype=np.int32)
        self._element[row, column] = place
        self._element[column, row] = place
        selection = csr_array(
            (
                factors[:, first].ravel(),
                (np.tile(np.arange(len(first)), len(places)), places[:, first].ravel()),
            ),
            shape=(len(first), waves_of_values.shape[0]),
        )
        self._combined = _compact(selection @ waves_of_values)
        n_kinds = int(states.kind.max()) + 1
        self._kind_pair = states.kind[row[first]] * n_kinds + states.kind[column[first]]
        self._n_kinds = n_kinds
        self._table = np.zeros(2 * len(first) + 1, dtype=np.complex64)
        self._bare = np.zeros_like(self._table)
        self._source_element = self._element[:, states.sources].astype(np.intp)

    def layout(self, strong_kinds: NDArray[np.bool_], kept_kinds: NDArray[np.bool_]) -> Layout:
        """Element lists with the strong kinds first and the kinds that are not kept left out."""
        key = strong_kinds.tobytes() + kept_kinds.tobytes()
        if key in self._layouts:
            self._layouts.move_to_end(key)
            return self._layouts[key]
        strong = np.flatnonzero(strong_kinds[self.states.kind])
        weak = np.flatnonzero((kept_kinds & ~strong_kinds)[self.states.kind])
        made = Layout(strong, weak, self._element)
        self._layouts[key] = made
        while (
            len(self._layouts) > 1
            and sum(layout.n_bytes for layout in self._layouts.values()) > _CACHED_LAYOUT_BYTES
        ):
            self._layouts.popitem(last=False)
        return made

    def evaluate(self, waves: Complex64, weights: Complex64) -> tuple[Complex64, Complex64]:
        """
        Fill the table of elements at one energy.

        Parameters
        ----------
        waves : ndarray, shape (n_distances * n_waves,)
            Radial waves.
        weights : ndarray, shape (n_kinds,)
            ``S = sqrt(T)`` of each kind of state.

        Returns
        -------
        table : ndarray
            Elements of ``-S H S``, from which a `Layout` fills its blocks.
        sources : ndarray, shape (n, n_sources)
            ``S H`` of the source columns.
        """
        values = self._combined @ waves
        n = len(values)
        bare, table = self._bare, self._table
        bare[1 : n + 1] = values
        np.negative(values, out=bare[n + 1 :])
        weights = weights[: self._n_kinds]
        values *= np.outer(weights, weights).ravel()[self._kind_pair]
        table[n + 1 :] = values
        np.negative(values, out=table[1 : n + 1])
        columns = np.take(bare, self._source_element, mode="clip")
        columns *= weights[self.states.kind][:, None]
        return table, columns


def _combinations(
    states: StateList,
    symmetry: SignSymmetry,
    pairs: PairTable,
    row: Integers,
    column: Integers,
) -> tuple[Integers, Floats]:
    """For each element: which values of the pair table enter, and with which factors."""
    n_states = (states.block_lmax + 1) ** 2
    signs = harmonic_signs(states.block_lmax, symmetry.signs)
    state_parity = parity(states.block_lmax)
    orbit_size = np.array([len(np.unique(images)) for images in symmetry.images.T])
    stabiliser = len(symmetry.signs) / orbit_size
    left_atom, left = states.atom[row], states.index[row]
    right_atom, right = states.atom[column], states.index[column]
    weight = state_parity[left] * np.sqrt(orbit_size[left_atom] / orbit_size[right_atom])
    weight = weight / stabiliser[right_atom]
    places = np.empty((len(symmetry.signs), len(row)), dtype=np.intp)
    factors = np.empty(places.shape)
    for k, images in enumerate(symmetry.images):
        image = images[right_atom]
        vector = pairs.vector_id[left_atom, image]
        reversed_sign = np.where(
            pairs.sign[left_atom, image] < 0, state_parity[left] * state_parity[right], 1
        )
        places[k] = np.where(vector < 0, 0, (vector * n_states + left) * n_states + right)
        factors[k] = np.where(
            vector < 0, 0.0, weight * states.characters[k] * signs[k, right] * reversed_sign
        )
    return places, factors


def _probe(waves_of_values: csr_array) -> Floats:
    """Two random numbers for each value: equal combinations, and only they, give equal sums."""
    waves = np.random.default_rng(1).normal(size=(waves_of_values.shape[1], 2))
    probe: Floats = waves_of_values @ waves
    return probe


def _mark(kind: Integers, row: Integers, column: Integers) -> Floats:
    """Factor that keeps elements between different kinds of states apart."""
    marks = np.random.default_rng(2).uniform(1.0, 2.0, size=int(kind.max()) + 1)
    factor: Floats = marks[kind[row]] * marks[kind[column]]
    return factor


def _distinct(fingers: Floats) -> tuple[Integers, Integers]:
    """
    Find the elements that differ by more than a sign.

    Parameters
    ----------
    fingers : ndarray, shape (n, 2)
        Elements with equal fingers are equal.

    Returns
    -------
    first : ndarray, shape (k,)
        An example of each distinct element that is not zero.
    place : ndarray, shape (n,)
        Where each element stands in a table of one zero, the distinct values, their negatives.
    """
    sign = np.where(fingers[:, 0] < 0, -1, 1)
    keys = np.rint(fingers * (sign[:, None] * 1e9)).astype(np.int64)
    hashed = keys[:, 0] * np.int64(6364136223846793005) + keys[:, 1]
    _, first, inverse = np.unique(hashed, return_index=True, return_inverse=True)
    kept = np.flatnonzero(np.any(np.abs(keys[first]) > 100, axis=1))
    number = np.full(len(first), -1)
    number[kept] = np.arange(len(kept))
    first, entry = first[kept], number[inverse]
    same_sign = sign == sign[first][entry] if len(first) else np.ones(len(sign), dtype=bool)
    place = np.where(entry < 0, 0, 1 + entry + np.where(same_sign, 0, len(first)))
    return first, place


def _compact(matrix: csr_array) -> csr_array:
    """Drop what cancelled, and go to the types of the products."""
    matrix = matrix.tocsr()
    matrix.data[np.abs(matrix.data) < 1e-9] = 0.0
    matrix.eliminate_zeros()
    data = matrix.data.astype(np.complex64)
    indices, starts = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    return csr_array((data, indices, starts), shape=matrix.shape)
