"""Structures from the Materials Project: one by its id, or all that are known from experiment."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import spglib
from pymatgen.core import SETTINGS
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure

from vtc_flows.crystal.sites import TRANSITION_METALS, atomic_numbers
from vtc_flows.errors import ConfigurationError, InputError

#: The terms of the Materials Project's data.
LICENCE = "CC-BY-4.0"

_KEY_PAGE = "https://materialsproject.org/api"
_SYMPREC_ANGSTROM = 0.01
_CHUNK = 500


def materials_project_key(api_key: str | None = None) -> str:
    """
    Return the key for the Materials Project.

    Parameters
    ----------
    api_key : str, optional
        Used if given; else VTC_MP_API_KEY, MP_API_KEY, then PMG_MAPI_KEY of pymatgen's settings.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    key = (
        api_key
        or os.environ.get("VTC_MP_API_KEY")
        or os.environ.get("MP_API_KEY")
        or os.environ.get("PMG_MAPI_KEY")
        or SETTINGS.get("PMG_MAPI_KEY")
    )
    if not key:
        raise ConfigurationError(
            "a Materials Project id needs an API key, and none is configured: get one at "
            f"{_KEY_PAGE} and set VTC_MP_API_KEY (or MP_API_KEY), or download the CIF and give "
            "its path"
        )
    return str(key)


def fetch_structure(
    material_id: str, *, api_key: str | None = None, endpoint: str | None = None
) -> Structure:
    """
    Return the relaxed structure of a Materials Project id, in the cell stored there.

    Parameters
    ----------
    material_id : str
        As ``mp-2657``.
    api_key : str, optional
        See `materials_project_key`.
    endpoint : str, optional
        Address of the interface, with a closing slash; the public one if not given.

    Raises
    ------
    ConfigurationError
        If no key is configured or it is refused.
    InputError
        If the id is not there or the server does not answer.
    """
    with _client(material_id, api_key, endpoint) as client:
        structure = client.get_structure_by_material_id(material_id)
    if not isinstance(structure, Structure):
        raise InputError(f"the Materials Project has no structure {material_id}: check the id")
    return structure


def query_structures(
    elements: Sequence[str] = (),
    *,
    max_atoms: int | None = None,
    api_key: str | None = None,
    endpoint: str | None = None,
) -> Iterator[tuple[str, Structure]]:
    """
    Yield the crystals that are known from experiment and contain a 3d metal, in primitive cells.

    Parameters
    ----------
    elements : sequence of str
        The metals, each by itself; all 3d metals if empty.
    max_atoms : int, optional
        Most atoms in the cell as it is stored.
    api_key, endpoint : str, optional
        See `fetch_structure`.

    Yields
    ------
    material_id : str
        Each once, even where a crystal holds several of the metals.
    structure : Structure

    Raises
    ------
    ConfigurationError
        If no key is configured or it is refused.
    InputError
        If the server does not answer.
    """
    given: set[str] = set()
    limits = {} if max_atoms is None else {"num_sites": (1, max_atoms)}
    for element in elements or TRANSITION_METALS:
        with _client(f"the query for {element}", api_key, endpoint) as client:
            found: list[dict[str, Any]] = client.materials.summary.search(
                elements=[element],
                theoretical=False,
                deprecated=False,
                include_gnome=False,  # predicted, and under another licence
                fields=["material_id", "structure"],
                all_fields=False,
                chunk_size=_CHUNK,
                **limits,
            )
        for entry in found:
            material_id = str(entry["material_id"])
            if material_id not in given:
                given.add(material_id)
                content = entry["structure"]
                whole = content if isinstance(content, Structure) else Structure.from_dict(content)
                yield material_id, primitive(whole)


def primitive(structure: Structure) -> Structure:
    """
    Return a crystal in a primitive cell; one that is primitive stays as it is, axes and all.

    Symmetry counts to 0.01 Angstrom: with looser limits slightly distorted cells collapse.

    Examples
    --------
    >>> from pymatgen.core import Lattice
    >>> nio = Structure.from_spacegroup(
    ...     "Fm-3m", Lattice.cubic(4.17), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ... )
    >>> len(nio), len(primitive(nio))
    (8, 2)
    """
    if not structure.is_ordered:
        return structure
    cell: Any = (structure.lattice.matrix, structure.frac_coords, atomic_numbers(structure))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about how spglib will report errors one day
        found = spglib.find_primitive(cell, symprec=_SYMPREC_ANGSTROM)
    if found is None or len(found[2]) >= len(structure):
        return structure
    lattice, coords, kinds = found
    symbols = [Element.from_Z(int(kind)).symbol for kind in kinds]
    return Structure(lattice, symbols, coords)


@contextmanager
def _client(what: str, api_key: str | None, endpoint: str | None) -> Iterator[Any]:
    """Open the client; say in our words what it cannot do."""
    key = materials_project_key(api_key)
    # the client takes seconds to import, and most runs read files
    from mp_api.client import MPRester
    from mp_api.client.core.exceptions import MPRestError
    from requests import RequestException

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about client and server versions
        try:
            with MPRester(
                key, endpoint=endpoint, mute_progress_bars=True, use_document_model=False
            ) as client:
                yield client
        except MPRestError as error:
            if "api key" in str(error).lower():
                raise ConfigurationError(
                    f"the Materials Project key is refused: {error}"
                ) from error
            raise InputError(f"the Materials Project has no answer to {what}: {error}") from error
        except (RequestException, ValueError, KeyError) as error:
            raise InputError(
                f"{what} could not be fetched from the Materials Project: {error}; check "
                "the network, or download the CIF and give its path"
            ) from error
