"""Names of kinds of compounds, by which near-duplicates are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from pymatgen.core.composition import Composition

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

_N_SPACE_GROUPS = 230

#: What makes an oxide one of an oxyanion.
_OF_OXYANIONS = frozenset({"B", "C", "N", "P", "S", "Se", "Si"})
#: Classes of compounds without oxygen, the first that fits.
_CLASSES = (
    ("halide", frozenset({"F", "Cl", "Br", "I"})),
    ("chalcogenide", frozenset({"S", "Se", "Te"})),
    ("nitride", frozenset({"N"})),
    ("pnictide", frozenset({"P", "As", "Sb"})),
    ("hydride", frozenset({"H"})),
    ("B/C/Si/Ge", frozenset({"B", "C", "Si", "Ge"})),
)


def chemical_class(composition: Composition) -> str:
    """
    Return the class of a compound by its elements, the first that fits.

    "organic" (carbon and hydrogen), "oxyanion" (oxygen with B, C, N, P, S, Se or Si), "oxide",
    "halide", "chalcogenide", "nitride", "pnictide", "hydride", "B/C/Si/Ge", "intermetallic".

    Examples
    --------
    >>> [chemical_class(Composition(each)) for each in ("FeSO4", "TiO2", "MnCl2O2", "NbCr2")]
    ['oxyanion', 'oxide', 'oxide', 'intermetallic']
    """
    symbols = {element.symbol for element in composition.elements}
    if {"C", "H"} <= symbols:
        return "organic"
    if "O" in symbols:
        return "oxyanion" if symbols & _OF_OXYANIONS else "oxide"
    return next((name for name, some in _CLASSES if symbols & some), "intermetallic")


def prototype(composition: Composition, space_group_number: int) -> str:
    """
    Return the kind of a compound: its anonymous formula and its space group.

    Parameters
    ----------
    composition : Composition
        Of any number of formula units.
    space_group_number : int
        1 to 230.

    Examples
    --------
    >>> prototype(Composition("Ti2O4"), 136)
    'AB2-136'
    """
    return f"{composition.anonymized_formula}-{space_group_number}"


class KindNames(TypedDict):
    """What tables group records by."""

    formula: str
    prototype: str
    space_group_number: int


def names_of_kind(structure: Structure, n_sg: float) -> KindNames:
    """
    Return what tables group records by: reduced formula, prototype, space group number.

    Parameters
    ----------
    structure : Structure
        Any cell.
    n_sg : float
        The feature: space group number / 230.
    """
    number = round(n_sg * _N_SPACE_GROUPS)
    return {
        "formula": structure.composition.reduced_formula,
        "prototype": prototype(structure.composition, number),
        "space_group_number": number,
    }
