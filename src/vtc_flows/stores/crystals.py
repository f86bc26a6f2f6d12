"""Which crystals have which ids in the database."""

from __future__ import annotations

from collections.abc import Collection

from vtc_flows.schemas import KnownCrystal
from vtc_flows.stores.collections import MATERIALS, SAMS, STRAIN_STUDIES, SUBMISSIONS
from vtc_flows.stores.connection import MongoDatabase, database_errors, server_of

#: What to do where an id is another crystal's.
ADVICE = (
    "rename the file, or, where it is to take the other's place, import it with "
    "`vtc import --replace` first"
)


def known_crystals(
    database: MongoDatabase, material_ids: Collection[str]
) -> dict[str, list[KnownCrystal]]:
    """
    Return the crystals that have ids: of each what ``materials`` holds, else what results hold.

    A crystal in ``materials`` alone decides: it may have been put in the place of another one,
    whose results are still there.

    Raises
    ------
    StorageError
        If the database is away or refuses.
    """
    found = _crystals(database, MATERIALS.name, "", material_ids)
    others = [name for name in material_ids if name not in found]
    for collection in (SAMS.name, STRAIN_STUDIES.name):
        for name, crystals in _crystals(database, collection, "provenance.", others).items():
            found.setdefault(name, []).extend(crystals)
    return found


def submitted_crystals(
    database: MongoDatabase, material_ids: Collection[str]
) -> dict[str, dict[str, str]]:
    """
    Return the crystals that were submitted under ids: their digests, and where each comes from.

    Raises
    ------
    StorageError
        If the database is away or refuses.
    """
    found: dict[str, dict[str, str]] = {}
    with database_errors(database):
        for each in database[SUBMISSIONS.name].find(
            {"material_id": {"$in": list(material_ids)}},
            {"material_id": 1, "structure_hash": 1, "source": 1},
        ):
            sources = found.setdefault(each["material_id"], {})
            sources[each["structure_hash"]] = str(each.get("source") or "")
    return found


def _crystals(
    database: MongoDatabase, collection: str, place: str, material_ids: Collection[str]
) -> dict[str, list[KnownCrystal]]:
    """Return the crystals in a collection by their ids, each once."""
    structure, source = f"{place}structure", f"{place}source"
    wanted = {"material_id": {"$in": list(material_ids)}, structure: {"$ne": None}}
    of = {"material_id": "$material_id", "structure": f"${structure}"}
    with database_errors(database):
        documents = list(
            database[collection].aggregate(
                [
                    {"$match": wanted},
                    {"$group": {"_id": of, "source": {"$first": f"${source}"}}},
                ]
            )
        )
    where = f"the collection {collection} of {server_of(database)}"
    found: dict[str, list[KnownCrystal]] = {}
    for each in documents:
        crystal = KnownCrystal(each["_id"]["structure"], str(each.get("source") or ""), where)
        found.setdefault(each["_id"]["material_id"], []).append(crystal)
    return found
