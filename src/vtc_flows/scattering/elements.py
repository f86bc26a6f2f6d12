"""
The elements of one symmetry sector, as real combinations of the radial waves.

A sector holds the combinations of states ``|i, L>`` of equivalent atoms that share the parities of
one representation. An element of ``H = P G0`` between two of them is a sum over the images of an
atom,

    H[(i, L), (j, L')] = P_L sqrt(n_i / n_j) sum_g chi(g) sigma_L'(g) G0[i L, (g j) L'],

a real combination of the radial waves ``f_l''(distance)``. Combinations that agree (a crystal has
many) are found once, here, and evaluated once per energy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from vtc_flows.scattering.angular import parity, state_l
from vtc_flows.scattering.propagator import PairTable
from vtc_flows.scattering.symmetry import SignSymmetry, harmonic_signs

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


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


@dataclass(frozen=True)
class SectorElements:
    """
    Matrix ``H`` of one sector.

    Attributes
    ----------
    states : StateList
        Its rows and columns.
    number : ndarray, shape (n, n), int32
        Which value an element has: ``k + 1`` for value ``k``, ``-(k + 1)`` for its negative, 0 for
        zero.
    waves_of_values : csr_array, shape (n_values, n_distances * n_waves)
        The values as combinations of the radial waves.
    kind_pair : ndarray, shape (n_values, 2)
        Kinds of the two states that a value connects.
    """

    states: StateList
    number: NDArray[np.int32]
    waves_of_values: csr_array
    kind_pair: Integers

    @classmethod
    def of_sector(
        cls, states: StateList, symmetry: SignSymmetry, pairs: PairTable
    ) -> SectorElements:
        """
        Find the distinct combinations.

        Parameters
        ----------
        states : StateList
            States of the sector.
        symmetry : SignSymmetry
            The operations behind it.
        pairs : PairTable
            Difference vectors, in the frame of the operations.
        """
        waves_of_blocks = pairs.coefficients(states.block_lmax)
        row, column = np.tril_indices(len(states.atom))
        places, factors = _combinations(states, symmetry, pairs, row, column)
        fingers = np.einsum("ke,kec->ec", factors, _probe(waves_of_blocks)[places])
        fingers *= _mark(states.kind, row, column)[:, None]
        first, value = _distinct(fingers)
        number = np.empty((len(states.atom),) * 2, dtype=np.int32)
        number[row, column] = value
        number[column, row] = value
        selection = csr_array(
            (
                factors[:, first].ravel(),
                (np.tile(np.arange(len(first)), len(places)), places[:, first].ravel()),
            ),
            shape=(len(first), waves_of_blocks.shape[0]),
        )
        waves_of_values = (selection @ waves_of_blocks).tocsr()
        waves_of_values.data[np.abs(waves_of_values.data) < 1e-9] = 0.0
        waves_of_values.eliminate_zeros()
        kind_pair = np.stack([states.kind[row[first]], states.kind[column[first]]], axis=1)
        return cls(states, number, waves_of_values, kind_pair)


def _combinations(
    states: StateList,
    symmetry: SignSymmetry,
    pairs: PairTable,
    row: Integers,
    column: Integers,
) -> tuple[Integers, Floats]:
    """For each element: which elements of blocks enter, and with which factors."""
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


def _probe(waves_of_blocks: csr_array) -> Floats:
    """Two random numbers per element of a block: equal combinations have equal sums."""
    waves = np.random.default_rng(1).normal(size=(waves_of_blocks.shape[1], 2))
    probe: Floats = waves_of_blocks @ waves
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
    number : ndarray, shape (n,)
        ``k + 1`` where an element equals distinct element ``k``, ``-(k + 1)`` where it equals its
        negative, 0 where it is zero.
    """
    sign = np.where(fingers[:, 0] < 0, -1, 1)
    keys = np.rint(fingers * (sign[:, None] * 1e9)).astype(np.int64)
    hashed = keys[:, 0] * np.int64(6364136223846793005) + keys[:, 1]
    _, first, inverse = np.unique(hashed, return_index=True, return_inverse=True)
    kept = np.any(np.abs(keys[first]) > 100, axis=1)
    # Numbered as they occur, not as their hashes sort: neighbours in the matrix stay neighbours.
    order = np.argsort(np.where(kept, first, len(sign)))[: np.count_nonzero(kept)]
    rank = np.zeros(len(first), dtype=np.intp)
    rank[order] = 1 + np.arange(len(order))
    return first[order], rank[inverse] * sign * sign[first][inverse]
