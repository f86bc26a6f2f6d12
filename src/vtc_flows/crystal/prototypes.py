"""Names of kinds of compounds, by which near-duplicates are found."""

from __future__ import annotations

from pymatgen.core.composition import Composition


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
