"""The atoms around sites of a crystal, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.optimization.neighbors import find_points_in_spheres

from vtc_flows.errors import IsolatedAbsorberError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

#: Whole shells are kept: atoms this little (Angstrom) beyond a limiting distance still count.
SHELL_TOLERANCE_ANGSTROM = 1e-3

#: Where an absorber with too few neighbours is given up as standing alone, Angstrom.
_LARGEST_SEARCH_ANGSTROM = 60.0


@dataclass(frozen=True, eq=False)
class Neighbors:
    """
    Neighbours of several centres in one list, by centre and then by distance.

    Attributes
    ----------
    starts : ndarray of shape (n_centers + 1,)
        The neighbours of centre c are the entries ``starts[c]:starts[c + 1]``.
    centers : ndarray of shape (n_pairs,)
        Which centre (0, 1, ... in the order asked for) each entry belongs to.
    indices : ndarray of shape (n_pairs,)
        Site index of the neighbour.
    vectors_angstrom : ndarray of shape (n_pairs, 3)
        From the centre to the neighbour, Cartesian.
    distances_angstrom : ndarray of shape (n_pairs,)
    """

    starts: IntArray
    centers: IntArray
    indices: IntArray
    vectors_angstrom: FloatArray
    distances_angstrom: FloatArray

    def counts(self) -> IntArray:
        """Return the number of neighbours of each centre, shape (n_centers,)."""
        return np.diff(self.starts)


def neighbors_within(
    structure: Structure, centers: Sequence[int] | IntArray, radius_angstrom: float
) -> Neighbors:
    """
    Return all atoms within a distance of the given sites, the sites themselves left out.

    Parameters
    ----------
    structure : Structure
        Any cell of the crystal.
    centers : sequence of int
        Site indices of the centres.
    radius_angstrom : float
        Largest distance; whole shells are kept to within 1e-3 Angstrom, so that rounding does
        not decide over an atom that lies on the limit.

    Returns
    -------
    Neighbors

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> copper = Structure(Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]])
    >>> neighbors_within(copper, [0], 3.6).counts().tolist()
    [6]
    """
    lattice = np.ascontiguousarray(structure.lattice.matrix, dtype=float)
    positions = np.ascontiguousarray(structure.frac_coords @ lattice, dtype=float)
    middle = np.ascontiguousarray(positions[np.asarray(centers, dtype=np.int64)])
    center, index, image, distance = find_points_in_spheres(
        positions,
        middle,
        r=radius_angstrom + SHELL_TOLERANCE_ANGSTROM,
        pbc=np.ones(3, dtype=np.int64),
        lattice=lattice,
        tol=1e-8,
    )
    own = (np.asarray(centers, dtype=np.int64)[center] == index) & (distance < 1e-8)
    center, index, image, distance = center[~own], index[~own], image[~own], distance[~own]
    # by centre, then by distance; one key sorts twice as fast as two
    order = np.argsort(center * (radius_angstrom + 1.0) + distance)
    center, index, image, distance = center[order], index[order], image[order], distance[order]
    return Neighbors(
        starts=np.searchsorted(center, np.arange(len(middle) + 1)).astype(np.int64),
        centers=center.astype(np.int64),
        indices=index.astype(np.int64),
        vectors_angstrom=positions[index] + image @ lattice - middle[center],
        distances_angstrom=distance,
    )


def neighbors_at_least(
    structure: Structure,
    centers: Sequence[int] | IntArray,
    radius_angstrom: float,
    n_neighbors: int,
) -> Neighbors:
    """
    Return the neighbours within a distance, or farther where that holds too few.

    Parameters
    ----------
    structure : Structure
        Any cell of the crystal.
    centers : sequence of int
        Site indices of the centres.
    radius_angstrom : float
        Distance to begin with.
    n_neighbors : int
        Every centre gets at least this many; the radius grows until it does.

    Raises
    ------
    IsolatedAbsorberError
        If there are too few within 60 Angstrom.
    """
    while True:
        found = neighbors_within(structure, centers, radius_angstrom)
        if found.counts().min() >= n_neighbors:
            return found
        if radius_angstrom >= _LARGEST_SEARCH_ANGSTROM:
            raise IsolatedAbsorberError(
                f"fewer than {n_neighbors} atoms within {radius_angstrom:.0f} A of an absorber in "
                f"{structure.composition.reduced_formula}: check the cell's size and contents"
            )
        radius_angstrom = min(1.5 * radius_angstrom, _LARGEST_SEARCH_ANGSTROM)
