"""The atoms around one absorber, and the potentials that FEFF gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.core.periodic_table import Element

from vtc_flows.crystal.neighbors import (
    SHELL_TOLERANCE_ANGSTROM,
    neighbors_at_least,
    neighbors_within,
)
from vtc_flows.crystal.sites import atomic_numbers
from vtc_flows.errors import ClusterError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

    from vtc_flows.crystal.neighbors import Neighbors

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

#: FEFF's arrays: potentials (the absorber's included), atoms listed, atoms in the SCF.
MAX_POTENTIALS = 12
MAX_LISTED_ATOMS = 1000
MAX_SCF_ATOMS = 100

#: FEFF's convention for the absorber, which stands beside the crystal's composition.
ABSORBER_STOICHIOMETRY = 0.01

#: Atoms listed beyond the largest scattering cluster, so that its outermost atoms, too, get
#: potentials overlapped by all of their neighbours (Angstrom).
_OVERLAP_MARGIN_ANGSTROM = 3.0


@dataclass(frozen=True)
class Potential:
    """
    One of FEFF's unique potentials.

    Attributes
    ----------
    index : int
        0 for the absorber.
    atomic_number : int
    label : str
        Chemical symbol.
    stoichiometry : float
        Atoms per formula unit of the crystal (FEFF's xnatph); 0.01 for the absorber.
    """

    index: int
    atomic_number: int
    label: str
    stoichiometry: float


@dataclass(frozen=True, eq=False)
class Cluster:
    """
    Atoms around an absorber, in the Cartesian frame of the crystal.

    Attributes
    ----------
    absorber : str
        Chemical symbol.
    absorber_index : int
        Its site in the structure.
    positions_angstrom : ndarray of shape (n_atoms, 3)
        The absorber first, at the origin; then by distance.
    atomic_numbers : ndarray of shape (n_atoms,)
    potential_index : ndarray of shape (n_atoms,)
        Which of `potentials` each atom has.
    potentials : tuple of Potential
        0 is the absorber; then one per element, the absorber's own included where it recurs.
    """

    absorber: str
    absorber_index: int
    positions_angstrom: FloatArray
    atomic_numbers: IntArray
    potential_index: IntArray
    potentials: tuple[Potential, ...]

    def __len__(self) -> int:
        """Return the number of atoms, the absorber included."""
        return len(self.atomic_numbers)

    @property
    def distances_angstrom(self) -> FloatArray:
        """Distance of every atom from the absorber, shape (n_atoms,); ascending."""
        distances: FloatArray = np.sqrt((self.positions_angstrom**2).sum(axis=1))
        return distances


def absorber_cluster(
    structure: Structure,
    site_index: int,
    listed_radius_angstrom: float = 9.0,
    max_atoms: int = MAX_LISTED_ATOMS,
    *,
    n_neighbors: int = 30,
) -> Cluster:
    """
    List the atoms around a site.

    Parameters
    ----------
    structure : Structure
        Ordered structure.
    site_index : int
        The absorber.
    listed_radius_angstrom : float
        How far atoms are listed. Where the neighbours asked for reach beyond, or nearly so, the
        list goes 3 Angstrom beyond the farthest of them. Where the list would pass `max_atoms` it
        ends with the last whole shell that fits.
    max_atoms : int
        Most atoms in the list.
    n_neighbors : int
        Size of the largest scattering cluster that is wanted; its whole last shell is listed.

    Returns
    -------
    Cluster

    Raises
    ------
    ClusterError
        If the neighbours asked for do not fit the list, or the elements the potentials.
    IsolatedAbsorberError
        If there are no such neighbours within 60 Angstrom.

    Notes
    -----
    Potentials after the absorber's are ordered by atomic number. Their stoichiometry is that of
    the crystal: counting atoms in a sphere instead shifts the Fermi level.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> nio = Structure.from_spacegroup(
    ...     "Fm-3m", Lattice.cubic(4.17), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ... )
    >>> [(p.label, p.stoichiometry) for p in absorber_cluster(nio, 0).potentials]
    [('Ni', 0.01), ('O', 1.0), ('Ni', 1.0)]
    """
    found = neighbors_at_least(structure, [site_index], listed_radius_angstrom, n_neighbors)
    needed = _shell_end(found.distances_angstrom, n_neighbors)
    radius = max(listed_radius_angstrom, needed + _OVERLAP_MARGIN_ANGSTROM)
    found = neighbors_within(structure, [site_index], radius)
    count = _whole_shells(found.distances_angstrom, max_atoms - 1)
    if count == 0 or found.distances_angstrom[count - 1] < needed - 2 * SHELL_TOLERANCE_ANGSTROM:
        raise ClusterError(
            f"a cluster of {n_neighbors} neighbours around site {site_index} "
            f"({structure[site_index].specie.symbol}) needs more than the {max_atoms} atoms that "
            "can be listed: ask for fewer"
        )
    numbers = atomic_numbers(structure)
    vectors, listed = _ordered(found, numbers, count)
    absorber_number = int(numbers[site_index])
    potentials = _potentials(structure, numbers, absorber_number, set(listed.tolist()))
    of_element = {p.atomic_number: p.index for p in potentials[1:]}
    return Cluster(
        absorber=Element.from_Z(absorber_number).symbol,
        absorber_index=site_index,
        positions_angstrom=np.vstack([np.zeros(3), vectors]),
        atomic_numbers=np.concatenate([[absorber_number], listed]),
        potential_index=np.array([0, *(of_element[z] for z in listed.tolist())], dtype=np.int64),
        potentials=potentials,
    )


def shell_radius(cluster: Cluster, n_atoms: int) -> float:
    """
    Return the radius that holds the `n_atoms` nearest neighbours, their last shell complete.

    Parameters
    ----------
    cluster : Cluster
    n_atoms : int
        Neighbours, the absorber not counted.

    Returns
    -------
    float
        Distance of the n-th neighbour plus 1e-3, Angstrom.

    Raises
    ------
    ClusterError
        If fewer atoms are listed.
    """
    if n_atoms < 1:
        raise ClusterError(f"a scattering cluster of {n_atoms} neighbours: ask for at least one")
    if n_atoms >= len(cluster):
        raise ClusterError(
            f"{n_atoms} neighbours were asked for, {len(cluster) - 1} are listed around site "
            f"{cluster.absorber_index} ({cluster.absorber}): list atoms farther out or ask for "
            "fewer"
        )
    return float(cluster.distances_angstrom[n_atoms]) + SHELL_TOLERANCE_ANGSTROM


def count_within(cluster: Cluster, radius_angstrom: float) -> int:
    """Return the number of atoms within a radius, the absorber included."""
    return int(np.count_nonzero(cluster.distances_angstrom <= radius_angstrom))


def scf_radius(cluster: Cluster, n_atoms: int, max_atoms: int = MAX_SCF_ATOMS) -> float:
    """
    Return the radius for the self-consistent potentials, as `shell_radius`, within FEFF's limit.

    Raises
    ------
    ClusterError
        If the complete shells hold more than `max_atoms` atoms, the absorber included.
    """
    radius = shell_radius(cluster, n_atoms)
    count = count_within(cluster, radius)
    if count > max_atoms:
        raise ClusterError(
            f"{n_atoms} neighbours with their last shell complete are {count} atoms in the SCF "
            f"around site {cluster.absorber_index} ({cluster.absorber}); the engine takes "
            f"{max_atoms}. Ask for fewer SCF atoms (30 is usual); the multiple scattering may use "
            "more"
        )
    return radius


def _shell_end(distances: FloatArray, n_neighbors: int) -> float:
    """Return the distance that completes the shell of the n-th neighbour."""
    return float(distances[n_neighbors - 1]) + SHELL_TOLERANCE_ANGSTROM if n_neighbors else 0.0


def _whole_shells(distances: FloatArray, most: int) -> int:
    """Return how many of the nearest atoms (at most `most`) end with a complete shell."""
    if len(distances) <= most:
        return len(distances)
    limit = distances[most] - SHELL_TOLERANCE_ANGSTROM
    return int(np.searchsorted(distances, limit))


def _ordered(found: Neighbors, numbers: IntArray, count: int) -> tuple[FloatArray, IntArray]:
    """Return vectors and atomic numbers, equal distances in an order that rounding cannot turn."""
    vectors = found.vectors_angstrom[:count]
    listed = numbers[found.indices[:count]]
    keys = np.round(vectors, 5) + 0.0
    shell = np.round(found.distances_angstrom[:count], 5)
    order = np.lexsort((keys[:, 2], keys[:, 1], keys[:, 0], listed, shell))
    return vectors[order], listed[order]


def _potentials(
    structure: Structure, numbers: IntArray, absorber: int, listed: set[int]
) -> tuple[Potential, ...]:
    """Return the potentials: the absorber, then the elements in the list by atomic number."""
    elements, amounts = np.unique(numbers, return_counts=True)
    divisor = int(np.gcd.reduce(amounts))
    kinds = [(absorber, ABSORBER_STOICHIOMETRY)]
    kinds += [
        (int(z), float(amount // divisor))
        for z, amount in zip(elements, amounts, strict=True)
        if int(z) in listed
    ]
    if len(kinds) > MAX_POTENTIALS:
        raise ClusterError(
            f"{structure.composition.reduced_formula} needs {len(kinds)} potentials (one per "
            f"element and one for the absorber); the engine takes {MAX_POTENTIALS}"
        )
    return tuple(
        Potential(index, z, Element.from_Z(z).symbol, amount)
        for index, (z, amount) in enumerate(kinds)
    )
