"""Refuse, in one clear message, what no spectrum can be computed for."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.analysis.molecule_structure_comparator import CovalentRadius
from pymatgen.core.periodic_table import DummySpecies, Element
from pymatgen.core.structure import Structure

from vtc_flows.crystal.neighbors import neighbors_within
from vtc_flows.crystal.sites import TRANSITION_METALS, absorbers, atomic_numbers
from vtc_flows.errors import (
    DisorderedStructureError,
    IsolatedAbsorberError,
    NoTransitionMetalError,
    OverlappingAtomsError,
    StructureError,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Atoms closer than this fraction of the sum of their covalent radii overlap. Known compounds
#: keep above 0.65 of it; only unphysical input comes below one half.
OVERLAP_FRACTION = 0.5

#: An absorber with no atom within this distance (Angstrom) stands alone; even the largest
#: nearest-neighbour distance in an elemental metal (caesium, 5.3 A) is shorter.
ISOLATION_DISTANCE_ANGSTROM = 5.5

#: Thinnest cell (volume over the largest face, Angstrom) that can hold an atom.
_THINNEST_CELL_ANGSTROM = 0.5

_UNKNOWN_COVALENT_RADIUS_ANGSTROM = 1.5


def validate(structure: Structure, element: str | None = None) -> None:
    """
    Raise an error if no emission spectrum can be computed for a structure.

    Parameters
    ----------
    structure : Structure
        As loaded.
    element : str, optional
        Absorber asked for; all 3d metals of the structure if not given.

    Raises
    ------
    DisorderedStructureError
        If a site is partially occupied or shared.
    NoTransitionMetalError
        If there is no 3d metal, or not the one asked for.
    OverlappingAtomsError
        If two atoms are closer than half the sum of their covalent radii.
    IsolatedAbsorberError
        If an absorber has no atom within 5.5 Angstrom.
    StructureError
        If it is not a three-dimensional crystal with a cell, finite coordinates and real atoms.

    Notes
    -----
    Covalent radii: B. Cordero et al., Dalton Trans. 2832 (2008), as in pymatgen.

    Examples
    --------
    >>> from pymatgen.core import Lattice
    >>> salt = Structure(Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> validate(salt)
    Traceback (most recent call last):
    vtc_flows.errors.NoTransitionMetalError: NaCl holds none of Sc ... Zn: there is no absorber ...
    """
    _check_cell(structure)
    _check_order(structure)
    _check_absorber(structure, element)
    _check_distances(structure, [element] if element else absorbers(structure))


def _check_cell(structure: Structure) -> None:
    """Refuse what is not a three-dimensional crystal with atoms at finite places."""
    if not isinstance(structure, Structure):
        raise StructureError(
            f"a {type(structure).__name__} is not a crystal: give a structure with a periodic cell"
        )
    if len(structure) == 0:
        raise StructureError("the structure holds no atoms")
    if not all(structure.lattice.pbc):
        raise StructureError(
            "the cell is not periodic in all three directions; give the slab or wire in a cell "
            "with empty space around it, periodic in three directions"
        )
    matrix = structure.lattice.matrix
    if not (np.isfinite(matrix).all() and np.isfinite(structure.frac_coords).all()):
        raise StructureError("the cell or the coordinates are not finite numbers")
    metric = matrix @ matrix.T
    lengths = np.diag(metric)
    largest_face = np.sqrt((np.outer(lengths, lengths) - metric**2).max())
    thickness = abs(np.linalg.det(matrix)) / max(largest_face, 1e-12)
    if thickness < _THINNEST_CELL_ANGSTROM:
        raise StructureError(
            f"the cell is only {thickness:.2g} A thick: its vectors do not span a volume that "
            "holds atoms"
        )


def _check_order(structure: Structure) -> None:
    """Refuse partial or shared occupation and sites that are not atoms."""
    mixed = [index for index, site in enumerate(structure) if not site.is_ordered]
    if mixed:
        first = structure[mixed[0]]
        raise DisorderedStructureError(
            f"{len(mixed)} of {len(structure)} sites are partially occupied or shared (site "
            f"{mixed[0]}: {first.species_string}): order the structure first, for example with "
            "pymatgen's OrderDisorderedStructureTransformation"
        )
    for kind in structure.composition:
        if isinstance(kind, DummySpecies):
            raise StructureError(f"{kind} in the structure is not a chemical element")


def _check_absorber(structure: Structure, element: str | None) -> None:
    """Refuse a structure without the absorber."""
    present = absorbers(structure)
    if element is None or element in present:
        return
    formula = structure.composition.reduced_formula
    if element not in TRANSITION_METALS:
        raise NoTransitionMetalError(
            f"{element!r} is not a 3d transition metal; choose among those of {formula}: "
            f"{', '.join(present)}"
        )
    raise NoTransitionMetalError(f"{formula} holds no {element}; it has {', '.join(present)}")


def _check_distances(structure: Structure, elements: list[str]) -> None:
    """Refuse overlapping atoms and absorbers that stand alone."""
    numbers = atomic_numbers(structure)
    radii = covalent_radii()[numbers]
    near = neighbors_within(structure, np.arange(len(numbers)), 2 * OVERLAP_FRACTION * radii.max())
    origin = near.centers
    limits = OVERLAP_FRACTION * (radii[origin] + radii[near.indices])
    overlapping = near.distances_angstrom < limits
    if overlapping.any():
        worst = int(np.argmin(near.distances_angstrom / limits))
        i, j = sorted((int(origin[worst]), int(near.indices[worst])))
        raise OverlappingAtomsError(
            f"sites {i} ({structure[i].species_string}) and {j} ({structure[j].species_string}) of "
            f"{structure.composition.reduced_formula} are {near.distances_angstrom[worst]:.3f} A "
            f"apart, nearer than {limits[worst]:.2f} A: one of them is probably a duplicate"
        )
    wanted = np.isin(numbers, [TRANSITION_METALS[element] for element in elements])
    lonely = wanted & (near.counts() == 0)  # most absorbers have a neighbour in that list
    if lonely.any():
        sites = np.flatnonzero(lonely)
        counts = neighbors_within(structure, sites, ISOLATION_DISTANCE_ANGSTROM).counts()
        if counts.min() == 0:
            index = int(sites[int(counts.argmin())])
            raise IsolatedAbsorberError(
                f"site {index} ({structure[index].species_string}) of "
                f"{structure.composition.reduced_formula} has no atom within "
                f"{ISOLATION_DISTANCE_ANGSTROM} A: there is nothing that its emission could "
                "depend on; check the cell's size"
            )


@lru_cache(maxsize=1)
def covalent_radii() -> NDArray[np.float64]:
    """Return covalent radii in Angstrom, indexed by atomic number (0 to 118)."""
    radii = np.full(119, _UNKNOWN_COVALENT_RADIUS_ANGSTROM)
    for symbol, radius in CovalentRadius.radius.items():
        radii[Element(symbol).Z] = radius
    return radii
