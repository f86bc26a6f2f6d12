"""Absorbing sites: which atoms of a crystal are equivalent, and what carries one onto another."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import spglib
from pymatgen.core.periodic_table import Element

from vtc_flows.errors import NoTransitionMetalError, StructureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

#: The 3d metals that can be an absorber, by atomic number.
TRANSITION_METALS: dict[str, int] = {
    "Sc": 21, "Ti": 22, "V": 23, "Cr": 24, "Mn": 25,
    "Fe": 26, "Co": 27, "Ni": 28, "Cu": 29, "Zn": 30,
}  # fmt: skip

#: Distance (Angstrom) below which an atom counts as lying on its symmetry-given place.
SYMMETRY_PRECISION_ANGSTROM = 0.01


@dataclass(frozen=True, eq=False)
class CrystalSymmetry:
    """
    The space group of a crystal, in the orientation in which the crystal was given.

    The group is the crystal's own: it does not depend on which cell describes the crystal, so a
    supercell has the operations of its primitive cell.

    Attributes
    ----------
    number : int
        Space group number, 1 to 230.
    symbol : str
        International symbol.
    conventional_lattice : ndarray of shape (3, 3)
        Conventional lattice vectors as rows, Angstrom, in the Cartesian frame of the input.
    rotations : ndarray of shape (n_operations, 3, 3)
        Cartesian rotation part W of every operation modulo lattice translations: the crystal's
        point group. Active (r' = W r) and orthogonal to rounding.
    equivalent_sites : ndarray of shape (n_sites,)
        For each site the lowest index of a site equivalent to it.
    primitive_index : ndarray of shape (n_sites,)
        Sites with the same number differ by a lattice translation.
    primitive_lattice : ndarray of shape (3, 3)
        Primitive lattice vectors as rows, Angstrom, in the Cartesian frame of the input.
    fractional_rotations, fractional_translations, conventional_coords
        The operations and the sites in the conventional cell's coordinates.
    """

    number: int
    symbol: str
    conventional_lattice: FloatArray
    rotations: FloatArray
    equivalent_sites: IntArray
    primitive_index: IntArray
    primitive_lattice: FloatArray
    fractional_rotations: FloatArray
    fractional_translations: FloatArray
    conventional_coords: FloatArray

    def images(self, index: int, candidates: IntArray) -> tuple[NDArray[np.bool_], float]:
        """
        Return which sites each operation carries a site onto.

        Parameters
        ----------
        index : int
            Site that is carried.
        candidates : ndarray of shape (m,)
            Sites it may land on, modulo lattice translations.

        Returns
        -------
        lands : ndarray of bool, shape (n_operations, m)
            Whether the operation carries the site onto the candidate. Several candidates where
            the cell is larger than the primitive one.
        off_angstrom : float
            The farthest that an operation lands beside its nearest candidate.
        """
        carried = self.fractional_rotations @ self.conventional_coords[index]
        carried = carried + self.fractional_translations
        steps = carried[:, None, :] - self.conventional_coords[candidates][None, :, :]
        # differences count modulo the primitive lattice: a primitive cell holds one copy only
        steps = steps @ np.rint(self.conventional_lattice @ np.linalg.inv(self.primitive_lattice))
        steps -= np.round(steps)
        distances = np.sqrt(((steps @ self.primitive_lattice) ** 2).sum(axis=-1))
        nearest = distances.min(axis=1, keepdims=True)
        # copies of the image are as near as the image itself, to the noise of the coordinates;
        # other atoms are ten times farther apart than that
        lands = distances < nearest + 5 * SYMMETRY_PRECISION_ANGSTROM
        return lands, float(nearest.max())


@dataclass(frozen=True, eq=False)
class SiteOrbit:
    """
    All sites of one element that symmetry makes equivalent.

    Attributes
    ----------
    element : str
        Chemical symbol.
    representative : int
        The lowest site index of the orbit.
    indices : tuple of int
        All its sites, ascending; the first is the representative.
    rotations : ndarray of shape (multiplicity, 3, 3)
        ``rotations[k]`` is the Cartesian W that carries what belongs to the representative to the
        site ``indices[k]``: a vector as W v, a tensor as W T W^T.
    site_rotations : ndarray of shape (k, 3, 3)
        Point group of the representative.
    """

    element: str
    representative: int
    indices: tuple[int, ...]
    rotations: FloatArray
    site_rotations: FloatArray

    @property
    def multiplicity(self) -> int:
        """Number of sites in the cell."""
        return len(self.indices)


def atomic_numbers(structure: Structure) -> IntArray:
    """Return the atomic number of every site of an ordered structure, shape (n_sites,)."""
    # the only species of each site; Site.specie does the same at four times the cost
    species = (next(iter(site.species)) for site in structure)
    return np.fromiter((kind.Z for kind in species), dtype=np.int64, count=len(structure))


def as_symbols(elements: str | Iterable[str]) -> list[str]:
    """
    Return symbols of elements that were given one by one, or as one.

    Examples
    --------
    >>> as_symbols("Ti"), as_symbols(("Ti", "Fe"))
    (['Ti'], ['Ti', 'Fe'])
    """
    return [elements] if isinstance(elements, str) else list(elements)


def absorbers(structure: Structure) -> list[str]:
    """
    Return the 3d metals of a structure, lightest first.

    Raises
    ------
    NoTransitionMetalError
        If there is none of Sc ... Zn.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> absorbers(Structure(Lattice.cubic(4.2), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    ['Ni']
    """
    present = set(atomic_numbers(structure).tolist())
    found = [symbol for symbol, number in TRANSITION_METALS.items() if number in present]
    if not found:
        raise NoTransitionMetalError(
            f"{structure.composition.reduced_formula} holds none of Sc ... Zn: there is no "
            "absorber for valence-to-core emission; give a structure with a 3d transition metal"
        )
    return found


def crystal_symmetry(
    structure: Structure, symprec: float = SYMMETRY_PRECISION_ANGSTROM
) -> CrystalSymmetry:
    """
    Find the space group of an ordered structure, in its own orientation.

    Parameters
    ----------
    structure : Structure
        Any cell of the crystal.
    symprec : float
        Distance tolerance in Angstrom.

    Raises
    ------
    StructureError
        If no space group is found, as for overlapping atoms.

    Notes
    -----
    The operations are those of the space group type in its standard setting (exact), turned back
    into the input's orientation, so that they form a group to rounding even where the
    coordinates are symmetric only to `symprec`. The standard cell is that of spglib.
    """
    lattice = np.asarray(structure.lattice.matrix)
    coords = np.asarray(structure.frac_coords)
    dataset = _dataset(lattice, coords, atomic_numbers(structure), symprec)
    if dataset is None:
        raise StructureError(
            f"no space group was found for {structure.composition.reduced_formula} within "
            f"{symprec} A: check the structure for atoms on top of each other"
        )
    turn = _nearest_rotation(np.asarray(dataset.std_rotation_matrix))
    standard = np.asarray(dataset.std_lattice)
    w, t = _database_operations(int(dataset.hall_number))
    # columns of `basis` are the standard vectors: r = basis x, hence W = basis w basis^-1
    basis = standard.T
    in_standard = basis @ w @ np.linalg.inv(basis)
    return CrystalSymmetry(
        number=int(dataset.number),
        symbol=str(dataset.international),
        conventional_lattice=standard @ turn,
        rotations=turn.T @ in_standard @ turn,
        equivalent_sites=np.asarray(dataset.crystallographic_orbits, dtype=np.int64),
        primitive_index=np.asarray(dataset.mapping_to_primitive, dtype=np.int64),
        primitive_lattice=np.asarray(dataset.primitive_lattice),
        fractional_rotations=w,
        fractional_translations=t,
        conventional_coords=coords @ np.asarray(dataset.transformation_matrix).T
        + np.asarray(dataset.origin_shift),
    )


def site_orbits(
    structure: Structure,
    element: str,
    symprec: float = SYMMETRY_PRECISION_ANGSTROM,
    *,
    symmetry: CrystalSymmetry | None = None,
) -> list[SiteOrbit]:
    """
    Return the symmetry orbits of one element, by ascending representative.

    Parameters
    ----------
    structure : Structure
        Ordered structure, any cell.
    element : str
        Chemical symbol.
    symprec : float
        Distance tolerance in Angstrom.
    symmetry : CrystalSymmetry, optional
        The structure's symmetry where it is already known; saves the search.

    Raises
    ------
    NoTransitionMetalError
        If the element is not in the structure.
    StructureError
        If symmetry cannot be found, or does not carry the sites onto each other.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> nio = Structure.from_spacegroup(
    ...     "Fm-3m", Lattice.cubic(4.17), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ... )
    >>> [(orbit.representative, orbit.multiplicity) for orbit in site_orbits(nio, "Ni")]
    [(0, 4)]
    """
    if symmetry is None:
        symmetry = crystal_symmetry(structure, symprec)
    number = Element(element).Z if Element.is_valid_symbol(element) else 0
    sites = np.flatnonzero(atomic_numbers(structure) == number)
    if sites.size == 0:
        composition = structure.composition
        raise NoTransitionMetalError(
            f"{composition.reduced_formula} holds no {element}; "
            f"its elements are {', '.join(sorted(kind.symbol for kind in composition.elements))}"
        )
    classes = symmetry.equivalent_sites[sites]
    orbits = [
        _orbit(symmetry, element, sites[classes == label], symprec) for label in np.unique(classes)
    ]
    return sorted(orbits, key=lambda orbit: orbit.representative)


def _orbit(symmetry: CrystalSymmetry, element: str, indices: IntArray, symprec: float) -> SiteOrbit:
    """Return the orbit made of the sites `indices` (ascending)."""
    lands, off = symmetry.images(int(indices[0]), indices)
    if off > 10 * symprec or not lands.any(axis=0).all():
        raise StructureError(
            f"the symmetry operations do not carry site {indices[0]} ({element}) onto its "
            f"equivalent sites (off by {off:.3f} A): the structure is too irregular for a "
            f"tolerance of {symprec} A"
        )
    carriers = lands.argmax(axis=0)  # the first operation that reaches each site
    return SiteOrbit(
        element=element,
        representative=int(indices[0]),
        indices=tuple(int(i) for i in indices),
        rotations=symmetry.rotations[carriers],
        site_rotations=symmetry.rotations[lands[:, 0]],
    )


@contextmanager
def _quiet_spglib() -> Iterator[None]:
    """Silence spglib's notice that its None-on-failure convention ends; both are handled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _dataset(lattice: FloatArray, coords: FloatArray, numbers: IntArray, symprec: float) -> Any:
    """Return spglib's dataset, or None where it fails."""
    cell: Any = (lattice, coords, numbers)  # spglib's own type names lists only
    with _quiet_spglib():
        try:
            return spglib.get_symmetry_dataset(cell, symprec=symprec)
        except Exception as error:
            if type(error).__module__.startswith("spglib"):
                return None
            raise


@lru_cache(maxsize=600)
def _database_operations(hall_number: int) -> tuple[FloatArray, FloatArray]:
    """Return rotations and translations of a space group, standard setting, centrings left out."""
    with _quiet_spglib():
        operations: Any = spglib.get_symmetry_from_database(hall_number)
    rotations = operations["rotations"].astype(float)
    _, first = np.unique(rotations.reshape(-1, 9), axis=0, return_index=True)
    first = np.sort(first)  # the identity stays the first operation
    return rotations[first], operations["translations"].astype(float)[first]


def _nearest_rotation(matrix: FloatArray) -> FloatArray:
    """Return the orthogonal matrix nearest to `matrix` (polar decomposition)."""
    left, _, right = np.linalg.svd(matrix)
    nearest: FloatArray = left @ right
    return nearest
