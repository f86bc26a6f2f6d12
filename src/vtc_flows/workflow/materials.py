"""Crystals between files, the Materials Project and the collection ``materials``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pymatgen.core.structure import Structure

from vtc_flows import __version__
from vtc_flows.crystal.materials_project import LICENCE, query_structures
from vtc_flows.crystal.sources import MATERIALS_PROJECT, StructureRecord, load_structures
from vtc_flows.errors import InputError, VtcFlowsError
from vtc_flows.schemas import MaterialDoc
from vtc_flows.stores.connection import MongoDatabase
from vtc_flows.stores.materials import load_materials
from vtc_flows.workflow.analysis import structure_dict

#: Told of an input that cannot be used: where it comes from, and why.
OnProblem = Callable[[str, VtcFlowsError], None]


@dataclass(frozen=True)
class Selection:
    """
    Which crystals.

    Attributes
    ----------
    specs : tuple of str
        Files and Materials Project ids; see `vtc_flows.crystal.sources.load_structures`.
    materials_project : bool
        All of the Materials Project that are known from experiment and contain a 3d metal.
    stored : mapping, optional
        A query for the collection ``materials``; an empty one is all of it.
    elements : tuple of str
        Crystals that contain one of these; any if empty.
    max_atoms : int, optional
        Most atoms in the cell.
    limit : int, optional
        Most crystals.
    """

    specs: tuple[str, ...] = ()
    materials_project: bool = False
    stored: Mapping[str, Any] | None = None
    elements: tuple[str, ...] = field(default=())
    max_atoms: int | None = None
    limit: int | None = None


def select(
    selection: Selection,
    on_problem: OnProblem,
    *,
    database: MongoDatabase | None = None,
    mp_api_key: str | None = None,
) -> Iterator[StructureRecord]:
    """
    Yield crystals one after the other; one that cannot be used does not stop the others.

    Parameters
    ----------
    selection : Selection
    on_problem : callable
        Called with what cannot be used.
    database : Database, optional
        Where stored materials are; needed for those only.
    mp_api_key : str, optional
        Key for the Materials Project.

    Yields
    ------
    StructureRecord
        No two of one name.
    """
    names: dict[str, tuple[str, str]] = {}
    wanted = set(selection.elements)
    n_given = 0
    for record in _all(selection, on_problem, database, mp_api_key):
        structure = record.structure
        if wanted and wanted.isdisjoint(_symbols(structure)):
            continue
        if selection.max_atoms is not None and len(structure) > selection.max_atoms:
            continue
        if record.material_id in names:
            on_problem(record.source, _same_name(record, names[record.material_id]))
            continue
        if n_given == selection.limit:
            return
        names[record.material_id] = record.source, structure_hash(record.structure)
        n_given += 1
        yield record


def _same_name(record: StructureRecord, first: tuple[str, str]) -> InputError:
    """Return what is wrong with a crystal that is called as one before it; many are not kept."""
    source, digest = first
    what = f"{record.source} and {source} are both called {record.material_id}"
    if structure_hash(record.structure) == digest:
        return InputError(f"{what} and hold the same crystal: it is taken once")
    return InputError(f"{what} and hold different crystals: rename one")


def material_document(
    record: StructureRecord, *, licence: str | None = None, experimental: bool | None = None
) -> MaterialDoc:
    """
    Return a crystal as it stands in the collection ``materials``.

    Parameters
    ----------
    record : StructureRecord
        As it was read.
    licence : str, optional
        Where the record itself names none.
    experimental : bool, optional
        Where the record itself does not say.
    """
    facts = dict(record.facts)
    content = structure_dict(record.structure)
    known = facts.pop("experimental", None)
    return MaterialDoc(
        material_id=record.material_id,
        formula=record.label,
        elements=sorted(_symbols(record.structure)),
        n_sites=len(record.structure),
        structure=content,
        structure_hash=structure_hash(record.structure),
        source=str(facts.pop("source", None) or record.source),
        licence=facts.pop("licence", None) or licence,
        experimental=known if isinstance(known, bool) else experimental,
        facts=facts,
        package_version=__version__,
    )


def structure_hash(structure: Structure) -> str:
    """
    Return a digest of cell, elements and coordinates, equal only where all of them are.

    Examples
    --------
    >>> from pymatgen.core import Lattice
    >>> one = Structure(Lattice.cubic(3.0), ["Fe"], [[0, 0, 0]])
    >>> structure_hash(one) == structure_hash(one.copy())
    True
    >>> structure_hash(one) == structure_hash(Structure(Lattice.cubic(3.1), ["Fe"], [[0, 0, 0]]))
    False
    """
    content = [
        structure.lattice.matrix.tolist(),
        [[site.species_string, site.frac_coords.tolist()] for site in structure],
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _all(
    selection: Selection,
    on_problem: OnProblem,
    database: MongoDatabase | None,
    mp_api_key: str | None,
) -> Iterator[StructureRecord]:
    for spec in selection.specs:
        try:
            yield from load_structures(
                [spec], mp_api_key=mp_api_key, on_problem=partial(on_problem, spec)
            )
        except VtcFlowsError as error:
            on_problem(spec, error)
    if selection.materials_project:
        for material_id, structure in query_structures(
            selection.elements, max_atoms=selection.max_atoms, api_key=mp_api_key
        ):
            label = structure.composition.reduced_formula
            facts = {"licence": LICENCE, "experimental": True}
            yield StructureRecord(material_id, structure, MATERIALS_PROJECT, label, facts=facts)
    if selection.stored is not None and database is not None:
        for material in load_materials(database, selection.stored):
            yield _stored(material)


def _stored(material: MaterialDoc) -> StructureRecord:
    facts = {
        **material.facts,
        "licence": material.licence,
        "experimental": material.experimental,
    }
    structure = Structure.from_dict(material.structure)
    return StructureRecord(
        material.material_id, structure, material.source, material.formula, facts=facts
    )


def _symbols(structure: Structure) -> set[str]:
    return {element.symbol for element in structure.composition.elements}
