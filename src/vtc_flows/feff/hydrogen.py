"""
What FEFF does to bonds with hydrogen before it makes potentials, in steps that end.

FEFF moves each hydrogen atom away from its nearest neighbour, for the potentials alone, so that
hydrogen's sphere does not grow too large (its routine ``moveh``). Where another atom is then the
nearest one, it takes back a part of the way and looks again, without an end where hydrogen lies
exactly as near to several atoms, as it can in the octahedra of metal hydrides: FEFF 8.5L's library
hangs there. FEFF10 has the same routine, but reads positions of a few decimals, between which one
atom is nearer than the others by chance; hydrogen then stays where it is, to these decimals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_HYDROGEN = 1

#: Where the steps end, they do so after a few.
_MOST_STEPS = 100

# FEFF's numbers: how far hydrogen may move (Bohr, from water and germane), what is far (Bohr), and
# how near to a limit it goes.
_REACH, _FAR_HYDROGEN, _FAR, _NEARLY = 4.0, 100.0, 10.0, 0.95


def lengthened_bonds(
    positions_bohr: ArrayLike, atomic_numbers: ArrayLike
) -> tuple[NDArray[np.float64], list[int]]:
    """
    Return the atoms with the bonds of hydrogen lengthened as FEFF does it.

    Parameters
    ----------
    positions_bohr : array_like of shape (n, 3)
    atomic_numbers : array_like of int of shape (n,)

    Returns
    -------
    positions : ndarray of shape (n, 3)
        Bohr.
    endless : list of int
        Hydrogen atoms for which FEFF's steps have no end; they stay where they are.

    Notes
    -----
    A hydrogen atom at distance d of its nearest neighbour A, which is no hydrogen, is moved along
    the bond to d + 4/d^2, or to 0.95 b + 0.05 d where the nearest other atom of A (no hydrogen) is
    at b below that. While another atom is now nearer, the plane half-way to it limits the way.
    """
    positions = np.array(positions_bohr, dtype=float)
    numbers = np.asarray(atomic_numbers)
    endless = []
    for atom in np.flatnonzero(numbers == _HYDROGEN):
        start = positions[atom].copy()
        if not _lengthen(positions, numbers, int(atom)):
            positions[atom] = start
            endless.append(int(atom))
    return positions, endless


def _lengthen(positions: NDArray[np.float64], numbers: NDArray[np.int64], atom: int) -> bool:
    """Move one atom; return whether the steps ended."""
    near, bond = _nearest(positions, positions[atom], _FAR_HYDROGEN, but=atom)
    if near is None or numbers[near] == _HYDROGEN:
        return True
    limit = bond + _REACH / bond**2
    _, other = _nearest(positions, positions[near], _FAR, but=near, among=numbers != _HYDROGEN)
    if other < limit:
        limit = _NEARLY * other + (1.0 - _NEARLY) * bond
    if bond > limit:
        return True
    length = bond
    for _ in range(_MOST_STEPS):
        positions[atom] = positions[near] + limit / length * (positions[atom] - positions[near])
        found, distance = _nearest(positions, positions[atom], _FAR, but=atom)
        if found == near:
            return True
        if found is None:
            return False
        apart = float(np.linalg.norm(positions[near] - positions[found]))
        half_way = limit * apart**2 / (limit**2 + apart**2 - distance**2)
        length, limit = limit, _NEARLY * half_way + (1.0 - _NEARLY) * bond
    return False


def _nearest(
    positions: NDArray[np.float64],
    point: NDArray[np.float64],
    far: float,
    *,
    but: int,
    among: NDArray[np.bool_] | None = None,
) -> tuple[int | None, float]:
    """Return the first of the nearest atoms within a distance, and its distance."""
    distances = np.sqrt(((positions - point) ** 2).sum(axis=1))
    distances[but] = np.inf
    if among is not None:
        distances[~among] = np.inf
    first = int(np.argmin(distances))
    return (first, float(distances[first])) if distances[first] < far else (None, far)
