"""Whether two structure documents are one crystal, and who has a name already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtc_flows.errors import InputError

#: Structures that agree to this are the same one, written with other digits.
SAME_LENGTH_ANGSTROM = 1e-3


def same_crystal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """
    Say whether two structures are the same: cell, axes, and atoms in their order, within rounding.

    What a file is read as twice is the same. Another cell, or another order of the atoms of the
    same crystal, is not: records name sites by their numbers and tensors by the axes. Charges that
    somebody gave or guessed for the atoms do not count.

    Parameters
    ----------
    one, other : mapping
        As pymatgen writes structures.

    Examples
    --------
    >>> iron = {"species": [{"element": "Fe", "occu": 1}], "abc": [0.0, 0.0, 0.0]}
    >>> cube = {"lattice": {"matrix": [[3, 0, 0], [0, 3, 0], [0, 0, 3]]}, "sites": [iron]}
    >>> moved = {**cube, "sites": [{**iron, "abc": [1.00001, 0.0, 0.0]}]}
    >>> longer = {**cube, "lattice": {"matrix": [[3, 0, 0], [0, 3, 0], [0, 0, 3.01]]}}
    >>> same_crystal(cube, moved), same_crystal(cube, longer)
    (True, False)
    """
    if one == other:
        return True
    if [_species(site) for site in one["sites"]] != [_species(site) for site in other["sites"]]:
        return False
    cell, other_cell = (np.asarray(each["lattice"]["matrix"], dtype=float) for each in (one, other))
    places, other_places = (
        np.asarray([site["abc"] for site in each["sites"]], dtype=float).reshape(-1, 3)
        for each in (one, other)
    )
    apart = places - other_places
    apart -= np.round(apart)
    farthest = max(np.abs(cell - other_cell).max(), np.abs(apart @ cell).max(initial=0.0))
    return bool(farthest < SAME_LENGTH_ANGSTROM)


@dataclass(frozen=True)
class KnownCrystal:
    """
    A crystal that has an id already.

    Attributes
    ----------
    structure : mapping
        As pymatgen writes structures.
    source : str
        Where it was read from; empty where nobody says.
    where : str
        What it stands in: a folder, a file, a collection.
    """

    structure: Mapping[str, Any]
    source: str
    where: str


def require_same_crystal(
    material_id: str,
    structure: Mapping[str, Any],
    source: str,
    known: Iterable[KnownCrystal],
    *,
    advice: str,
) -> None:
    """
    Refuse a crystal under the id of another one, whose results it would replace.

    Parameters
    ----------
    material_id : str
        The id.
    structure : mapping
        Of the crystal that is to have it.
    source : str
        Where that was read from.
    known : iterable of KnownCrystal
        Who has the id; nobody, or one that is the same as ours, is no hindrance.
    advice : str
        What to do instead.

    Raises
    ------
    InputError
        If all that have it are other crystals; names both sources.
    """
    others = []
    for each in known:
        if same_crystal(each.structure, structure):
            return
        others.append(each)
    if not others:
        return
    first = others[0]
    there = f"that of {first.source}" if first.source else "a crystal from a source unknown"
    if first.source == source:
        there = "what the same place held then"
    raise InputError(
        f"{source or material_id} is another crystal than the one called {material_id} in "
        f"{first.where} ({there}): {advice}"
    )


def _species(site: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return the elements of a site and their shares."""
    return sorted((each["element"], round(float(each["occu"]), 3)) for each in site["species"])
