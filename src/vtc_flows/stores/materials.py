"""Crystals in the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import ReplaceOne

from vtc_flows.errors import InputError
from vtc_flows.schemas import MaterialDoc, require_same_crystal
from vtc_flows.stores.collections import MATERIALS, utc_stamp
from vtc_flows.stores.connection import MongoDatabase, database_errors
from vtc_flows.stores.crystals import known_crystals

_BATCH = 200


@dataclass
class Imported:
    """How many materials were new, changed, or there already; and which were refused, and why."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: tuple[InputError, ...] = ()

    def __add__(self, other: Imported) -> Imported:
        """Return the sums."""
        return Imported(
            self.new + other.new,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.refused + other.refused,
        )


def save_materials(
    database: MongoDatabase, materials: Sequence[MaterialDoc], *, replace: bool = False
) -> Imported:
    """
    Write materials by their ids; one that is there already keeps its time stamp.

    Parameters
    ----------
    database : Database
    materials : sequence of MaterialDoc
        Some hundreds at a time; each id once.
    replace : bool
        Put crystals also in the place of other ones with their ids, which are else refused.

    Raises
    ------
    StorageError
        If the database is away or refuses.
    """
    refused: list[InputError] = []
    if not replace:
        materials, refused = _with_own_ids(database, materials)
    documents = {material.material_id: material.model_dump(mode="json") for material in materials}
    collection = database[MATERIALS.name]
    with database_errors(database):
        known = {
            found["material_id"]: found
            for found in collection.find({"material_id": {"$in": list(documents)}}, {"_id": 0})
        }
        changed = {
            name: document
            for name, document in documents.items()
            if {**known.get(name, {}), "last_updated": None} != {**document, "last_updated": None}
        }
        if changed:
            stamp = utc_stamp()
            collection.bulk_write(
                [
                    ReplaceOne(
                        {"material_id": name}, {**document, "last_updated": stamp}, upsert=True
                    )
                    for name, document in changed.items()
                ],
                ordered=False,
            )
    new = len(documents.keys() - known.keys())
    return Imported(new, len(changed) - new, len(documents) - len(changed), tuple(refused))


def _with_own_ids(
    database: MongoDatabase, materials: Sequence[MaterialDoc]
) -> tuple[list[MaterialDoc], list[InputError]]:
    """Return the materials whose ids are no other crystal's, and what is wrong with the rest."""
    known = known_crystals(database, [each.material_id for each in materials])
    kept: list[MaterialDoc] = []
    refused: list[InputError] = []
    for each in materials:
        try:
            require_same_crystal(
                each.material_id,
                each.structure,
                each.source,
                known.get(each.material_id, ()),
                advice="rename the file, or add --replace to put it in the other's place",
            )
            kept.append(each)
        except InputError as error:
            refused.append(error)
    return kept, refused


def load_materials(
    database: MongoDatabase, query: Mapping[str, Any] | None = None, *, limit: int = 0
) -> Iterator[MaterialDoc]:
    """
    Yield materials in the order of their ids.

    Parameters
    ----------
    database : Database
    query : mapping, optional
        A MongoDB query; all materials if not given.
    limit : int
        Most materials; 0 is no limit.

    Raises
    ------
    StorageError
        If the database is away or refuses, perhaps because the query is none.
    """
    collection = database[MATERIALS.name]
    with database_errors(database):
        # the ids first: a cursor that waits while its reader computes is closed after minutes
        found = collection.find(query or {}, {"material_id": 1, "_id": 0})
        names = [each["material_id"] for each in found.sort("material_id").limit(limit)]
    for start in range(0, len(names), _BATCH):
        some = {"material_id": {"$in": names[start : start + _BATCH]}}
        with database_errors(database):
            documents = list(
                collection.find(some, {"_id": 0, "last_updated": 0}).sort("material_id")
            )
        yield from (MaterialDoc.model_validate(document) for document in documents)
