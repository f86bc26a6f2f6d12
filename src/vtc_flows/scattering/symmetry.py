"""
The symmetry of a cluster about its first atom.

For the scattering only operations that commute are of use: in a suitable frame they are diagonal
matrices of signs, each real harmonic is even or odd under each of them, and the scattering problem
falls apart into sectors of given parities. With all eight operations each sector has an eighth of
the states. The whole point group serves to judge a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement, product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from vtc_flows.scattering.angular import state_l

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

#: An atom and its image agree to this (Bohr): within the rounding of five decimals in Angstrom.
SAME_POSITION_BOHR = 1e-4

#: From two atoms alone an operation follows only roughly; it is refined on all atoms.
_ROUGHLY_SAME_BOHR = 0.02

_ALL_SIGNS = np.array(list(product((1, -1), repeat=3)))


@dataclass(frozen=True)
class SignSymmetry:
    """
    A group of commuting operations, diagonal in one frame.

    Attributes
    ----------
    frame : ndarray, shape (3, 3)
        Orthonormal axes as columns.
    signs : ndarray, shape (g, 3)
        Diagonals of the operations in that frame, identity first.
    images : ndarray, shape (g, N)
        ``images[k, i]`` is the atom onto which operation ``k`` carries atom ``i``.
    """

    frame: Floats
    signs: Integers
    images: Integers


def sign_symmetry(positions: Floats, species: Integers) -> SignSymmetry:
    """
    Find the largest group of commuting two-fold operations about the first atom.

    Parameters
    ----------
    positions : ndarray, shape (N, 3)
        Bohr, any origin.
    species : ndarray, shape (N,)
        Atoms may be exchanged when these agree.

    Returns
    -------
    SignSymmetry
        At least the identity, then in the frame of the positions.
    """
    relative = positions - positions[0]
    matcher = _Matcher(relative, species)
    axes = [axis for axis in _candidate_axes(relative, species) if matcher.has_operation(axis)]
    best = _group(matcher, np.eye(3))
    for frame in _frames(axes):
        found = _group(matcher, frame)
        if len(found.signs) > len(best.signs):
            best = found
    return best


def point_group(positions: Floats, species: Integers) -> Floats:
    """
    Find all operations about the first atom that carry a cluster into itself.

    Parameters
    ----------
    positions : ndarray, shape (N, 3)
        Bohr, any origin.
    species : ndarray, shape (N,)
        Atoms may be exchanged when these agree.

    Returns
    -------
    ndarray, shape (g, 3, 3)
        Orthogonal matrices in the frame of the positions, proper or not. Of a cluster whose atoms
        lie on one line only the operations of :func:`sign_symmetry`.

    Examples
    --------
    >>> octahedron = np.vstack([np.zeros(3), 4 * np.eye(3), -4 * np.eye(3)])
    >>> len(point_group(octahedron, np.ones(7, dtype=int)))
    48
    """
    relative = positions - positions[0]
    matcher = _Matcher(relative, species)
    chosen = _two_directions(relative, species)
    if chosen is None:
        few = sign_symmetry(positions, species)
        return np.array([(few.frame * signs) @ few.frame.T for signs in few.signs])
    (first, first_shell), (second, second_shell) = chosen
    before = _tripod(relative[first], relative[second])
    lengths = np.linalg.norm(relative, axis=1)
    cosine = relative[first] @ relative[second] / (lengths[first] * lengths[second])
    found = []
    for i in first_shell:
        for j in second_shell:
            if abs(relative[i] @ relative[j] / (lengths[i] * lengths[j]) - cosine) > 0.01:
                continue
            for sense in (1, -1):
                rough = _tripod(relative[i], relative[j], sense) @ np.linalg.inv(before)
                operation = matcher.refined(rough)
                if operation is not None:
                    found.append(operation)
    return np.array(found)


def _two_directions(
    relative: Floats, species: Integers
) -> tuple[tuple[int, Integers], tuple[int, Integers]] | None:
    """Choose two atoms that are not in line with the first, with all atoms like each of them."""
    lengths = np.linalg.norm(relative, axis=1)
    shells = [
        np.flatnonzero((species == species[i]) & (np.abs(lengths - lengths[i]) < 1e-3))
        for i in range(1, len(relative))
    ]
    if not shells:
        return None
    shell = min(shells, key=len)
    first = int(shell[0])
    across = np.linalg.norm(np.cross(relative[first], relative), axis=1)
    others = [
        (int(atom), other)
        for other in sorted(shells, key=len)
        for atom in other
        if across[atom] > 0.1 * lengths[first] * lengths[atom]
    ]
    return ((first, shell), others[0]) if others else None


def _tripod(a: Floats, b: Floats, sense: int = 1) -> Floats:
    normal = np.cross(a, b)
    return np.column_stack([a, b, sense * normal])


class _Matcher:
    """Finds the atoms onto which an operation carries the atoms."""

    def __init__(self, relative: Floats, species: Integers) -> None:
        # Species as a far fourth coordinate, so that only like atoms are ever near each other.
        self._species = species * 1e3
        self._relative = relative
        self._tree = KDTree(np.column_stack([relative, self._species]))

    def images(self, matrix: Floats, tolerance: float = SAME_POSITION_BOHR) -> Integers | None:
        moved = np.column_stack([self._relative @ matrix.T, self._species])
        distance, index = self._tree.query(moved, distance_upper_bound=1.0)
        if distance.max() > tolerance:
            return None
        return np.asarray(index, dtype=np.intp)

    def refined(self, rough: Floats) -> Floats | None:
        """Return the operation near a rough one that fits all atoms best, if it fits them well."""
        images = self.images(rough, _ROUGHLY_SAME_BOHR)
        if images is None:
            return None
        left, _, right = np.linalg.svd(self._relative[images].T @ self._relative)
        sense = np.sign(np.linalg.det(rough) * np.linalg.det(left @ right))
        operation = (left * [1.0, 1.0, sense]) @ right
        return operation if self.images(operation) is not None else None

    def has_operation(self, axis: Floats) -> bool:
        turn = 2 * np.outer(axis, axis) - np.eye(3)
        return self.images(turn) is not None or self.images(-turn) is not None


def _candidate_axes(relative: Floats, species: Integers) -> list[Floats]:
    """
    List every axis that a two-fold rotation or a mirror normal can have.

    An operation that does not leave an atom's direction perpendicular to its axis shows the axis as
    sum or difference of the atom and its image; two atoms leave only their common perpendicular.
    """
    lengths = np.linalg.norm(relative, axis=1)
    shells = [
        np.flatnonzero((species == species[i]) & (np.abs(lengths - lengths[i]) < 1e-3))
        for i in range(1, len(relative))
    ]
    if not shells:
        return [np.eye(3)[2]]
    first = min(shells, key=len)
    normal_to_first = [
        shell
        for shell in shells
        if np.linalg.norm(np.cross(relative[first[0]], relative[shell[0]]))
        > 0.1 * lengths[first[0]] * lengths[shell[0]]
    ]
    chosen = [first]
    axes: list[Floats] = []
    if normal_to_first:
        chosen.append(min(normal_to_first, key=len))
        axes.append(np.cross(relative[chosen[0][0]], relative[chosen[1][0]]))
    for shell in chosen:
        start = relative[shell[0]]
        axes.append(start)
        for image in relative[shell[1:]]:
            axes += [start + image, start - image]
    distinct: list[Floats] = []
    for axis in axes:
        length = np.linalg.norm(axis)
        if length < 1e-3:
            continue
        unit = axis / length
        if all(abs(unit @ other) < 1 - 1e-9 for other in distinct):
            distinct.append(unit)
    return distinct


def _frames(axes: list[Floats]) -> list[Floats]:
    """Right-handed frames with one axis, and a second one where there is a perpendicular pair."""
    frames = []
    for i, third in enumerate(axes):
        partners = [other for other in axes[i + 1 :] if abs(other @ third) < 1e-4]
        helper = np.eye(3)[np.argmin(np.abs(third))]
        for partner in [*partners, helper]:
            second = np.cross(third, partner)
            second /= np.linalg.norm(second)
            frames.append(np.column_stack([np.cross(second, third), second, third]))
    return frames


def _subgroups() -> list[list[tuple[int, ...]]]:
    """List all groups of diagonal operations, the largest first."""
    groups = set()
    for generators in combinations_with_replacement(_ALL_SIGNS, 3):
        products = [
            np.prod([g**power for g, power in zip(generators, powers, strict=True)], axis=0)
            for powers in product((0, 1), repeat=3)
        ]
        groups.add(frozenset(tuple(int(x) for x in signs) for signs in products))
    return sorted((sorted(group, reverse=True) for group in groups), key=len, reverse=True)


_SUBGROUPS = _subgroups()


def _group(matcher: _Matcher, frame: Floats) -> SignSymmetry:
    """Find the largest group of diagonal operations of a frame that the cluster has."""
    found = {}
    for signs in _SUBGROUPS[0]:
        images = matcher.images((frame * np.array(signs)) @ frame.T)
        if images is not None:
            found[signs] = images
    # Near the tolerance two operations may pass and their product fail: only whole groups count.
    group = next(group for group in _SUBGROUPS if all(signs in found for signs in group))
    return SignSymmetry(frame, np.array(group), np.array([found[signs] for signs in group]))


def harmonic_signs(lmax: int, signs: Integers) -> Integers:
    """
    Sign that each real harmonic takes under diagonal operations.

    Parameters
    ----------
    lmax : int
        Largest ``l``.
    signs : ndarray, shape (g, 3)
        Diagonals of the operations.

    Returns
    -------
    ndarray, shape (g, (lmax + 1)**2)
        +1 or -1.
    """
    degree = state_l(lmax)
    m = np.arange((lmax + 1) ** 2) - degree * degree - degree
    odd_y = (m < 0).astype(int)  # sin(|m| phi) is odd in y
    odd_x = (np.abs(m) - odd_y) % 2
    odd_z = (degree + m) % 2
    odd = np.stack([odd_x, odd_y, odd_z])
    return np.where((signs == -1).astype(int) @ odd % 2, -1, 1)
