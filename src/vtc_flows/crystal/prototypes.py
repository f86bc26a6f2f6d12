"""Names of kinds of compounds, by which near-duplicates are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymatgen.core.composition import Composition

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

_N_SPACE_GROUPS = 230


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


def names_of_kind(structure: Structure, n_sg: float) -> dict[str, str | int]:
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
