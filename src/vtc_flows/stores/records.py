"""
Records in the database: searchable documents in ``sams``, their arrays in the blob store.

A document refers to its arrays as jobflow does: ``{"blob_uuid": ..., "store": "data"}``.
"""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gridfs import GridFS
from pymongo.errors import DuplicateKeyError

from vtc_flows.errors import StorageError
from vtc_flows.schemas import SamsRecord, require_same_crystal, same_crystal
from vtc_flows.stores.collections import SAMS, utc_stamp
from vtc_flows.stores.connection import MongoDatabase, database_errors
from vtc_flows.stores.crystals import ADVICE, known_crystals

#: What of a site is too long for a document.
ARRAYS = ("energy_ev", "tensor", "background")

#: What builders write beside records: notes of their own, and documents of what failed.
_RECORDS = {"state": {"$in": ["complete", "incomplete"]}}
_NOT_OF_RECORDS = {"_id": 0, "last_updated": 0, "build": 0}

_BLOBS = "data"
_BATCH = 50
_TRIES = 5


def save_record(database: MongoDatabase, record: SamsRecord) -> bool:
    """
    Write a record and its arrays in place of what has its id.

    Returns
    -------
    bool
        False if it was left out: see `is_better`.

    Raises
    ------
    StorageError
        If the database is away or refuses.
    InputError
        If its material's id is another crystal's.
    """
    document = record.model_dump(mode="json")
    _require_its_crystal(database, document)
    with database_errors(database):
        blobs = GridFS(database, _BLOBS)
        for site in document["sites"]:
            for key in ARRAYS:
                site[key] = put_array(blobs, site[key], record.record_id)
    saved = False
    try:
        saved = save_document(database, document)
    finally:
        if not saved:
            remove_arrays(database, references(document), owner=record.record_id)
    return saved


def save_document(database: MongoDatabase, document: Mapping[str, Any]) -> bool:
    """
    Write a record whose arrays are in the blob store already; see `save_record`.

    Parameters
    ----------
    database : Database
    document : mapping
        A `SamsRecord` with references in the place of arrays.
    """
    record_id, collection = document["record_id"], database[SAMS.name]
    stamped = {**document, "last_updated": utc_stamp()}
    with database_errors(database):
        for _ in range(_TRIES):
            old = collection.find_one({"record_id": record_id})
            if old is None:
                try:
                    collection.insert_one({**stamped})  # it gives what it gets an `_id`
                    return True
                except DuplicateKeyError:  # another writer was faster
                    continue
            if not same_crystal(
                old["provenance"]["structure"], document["provenance"]["structure"]
            ):
                _require_its_crystal(database, document)
            if is_better(old, document):
                return False
            # only what was looked at is replaced: two writers do not undo each other's work
            looked_at = {"_id": old["_id"], "last_updated": old["last_updated"]}
            if collection.replace_one(looked_at, stamped).matched_count:
                superseded = set(references(old)) - set(references(document))
                remove_arrays(database, superseded, owner=record_id)
                return True
    raise StorageError(f"{record_id} is written by others all the time: try again")


def load_records(
    database: MongoDatabase, query: Mapping[str, Any] | None = None
) -> Iterator[SamsRecord]:
    """
    Yield records with their arrays, in the order of their ids.

    Parameters
    ----------
    database : Database
    query : mapping, optional
        A MongoDB query; all records if not given.

    Raises
    ------
    StorageError
        If the database is away, or arrays are missing.
    """
    collection = database[SAMS.name]
    with database_errors(database):
        found = collection.find({"$and": [_RECORDS, query or {}]}, {"record_id": 1, "_id": 0})
        names = [each["record_id"] for each in found.sort("record_id")]
    for start in range(0, len(names), _BATCH):
        some = {"record_id": {"$in": names[start : start + _BATCH]}}
        with database_errors(database):
            documents = list(collection.find(some, _NOT_OF_RECORDS).sort("record_id"))
            arrays = get_arrays(database, references(documents))
        for document in documents:
            for site in document["sites"]:
                for key in ARRAYS:
                    site[key] = arrays[site[key]["blob_uuid"]]
            yield SamsRecord.model_validate(document)


def is_better(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """
    Say whether a record that is there is worth more than a new one of the same crystal.

    A newer revision of the engine is worth more than an older one, whatever came of it: what was
    mended in between is wrong in the older one. Otherwise a complete record is worth more than an
    incomplete one.

    Parameters
    ----------
    old, new : mapping
        Records as they stand in the database.
    """
    if not same_crystal(old["provenance"]["structure"], new["provenance"]["structure"]):
        return False
    before, now = _revision(old), _revision(new)
    if before is not None and now is not None and before != now:
        return before > now
    return (old["state"], new["state"]) == ("complete", "incomplete")


def _require_its_crystal(database: MongoDatabase, record: Mapping[str, Any]) -> None:
    """Refuse a record of another crystal than the one that has the id of its material."""
    name, provenance = record["material_id"], record["provenance"]
    require_same_crystal(
        name,
        provenance["structure"],
        provenance["source"],
        known_crystals(database, [name]).get(name, ()),
        advice=ADVICE,
    )


def oldest_revision(documents: Iterable[Mapping[str, Any]]) -> int:
    """
    Return the lowest revision of the engines behind documents with a provenance.

    Examples
    --------
    >>> two = [{"provenance": {"engine": {"revision": 2}}}, {"provenance": {"engine": {}}}]
    >>> oldest_revision(two[:1]), oldest_revision(two)
    (2, 1)
    """
    found = _revisions(documents)
    return min(found) if found else 1


def _revisions(documents: Iterable[Mapping[str, Any]]) -> list[int]:
    engines = ((each.get("provenance") or {}).get("engine") for each in documents)
    return [engine.get("revision", 1) for engine in engines if engine is not None]


def _revision(record: Mapping[str, Any]) -> int | None:
    """Return the revision behind a record; where it has no spectrum, that which failed last."""
    own = _revisions([record]) or _revisions(record.get("failures", ()))
    return max(own, default=None)


def put_array(blobs: GridFS, array: Any, owner: str) -> dict[str, str]:
    """Store an array as jobflow's blob store does; return the reference to it."""
    reference = {"blob_uuid": str(uuid.uuid4()), "store": _BLOBS}
    content = {"blob_uuid": reference["blob_uuid"], "data": array, "job_uuid": owner}
    metadata = {
        "blob_uuid": reference["blob_uuid"],
        "job_uuid": owner,
        "job_index": 1,
        "compression": "zlib",
    }
    blobs.put(zlib.compress(json.dumps(content).encode()), metadata=metadata)
    return reference


def get_arrays(database: MongoDatabase, names: Sequence[str]) -> dict[str, Any]:
    """
    Return arrays by their names: two queries, however many there are.

    Raises
    ------
    StorageError
        If one is missing.
    """
    arrays = find_arrays(database, names)
    missing = set(names) - arrays.keys()
    if missing:
        raise StorageError(f"the database has lost the arrays {', '.join(sorted(missing)[:3])}")
    return arrays


def find_arrays(database: MongoDatabase, names: Sequence[str]) -> dict[str, Any]:
    """Return those of the named arrays that are there, as `get_arrays` does."""
    files = {
        file["_id"]: file["metadata"]["blob_uuid"]
        for file in database[f"{_BLOBS}.files"].find(
            {"metadata.blob_uuid": {"$in": list(names)}}, {"metadata.blob_uuid": 1}
        )
    }
    chunks = database[f"{_BLOBS}.chunks"].find({"files_id": {"$in": list(files)}})
    parts: dict[str, list[bytes]] = {}
    for chunk in chunks.sort([("files_id", 1), ("n", 1)]):
        parts.setdefault(files[chunk["files_id"]], []).append(chunk["data"])
    return {
        name: json.loads(zlib.decompress(b"".join(pieces)))["data"]
        for name, pieces in parts.items()
    }


def references(document: Any) -> list[str]:
    """
    Return the names of all arrays that a document refers to.

    Examples
    --------
    >>> references({"sites": [{"tensor": {"blob_uuid": "a", "store": "data"}, "sams": 0.1}]})
    ['a']
    """
    if isinstance(document, Mapping):
        if "blob_uuid" in document:
            return [document["blob_uuid"]]
        document = list(document.values())
    if isinstance(document, list):
        return [name for part in document for name in references(part)]
    return []


def remove_arrays(database: MongoDatabase, names: Iterable[str], *, owner: str) -> None:
    """Remove those of the named arrays that belong to an owner: a job or a record."""
    blobs = GridFS(database, _BLOBS)
    theirs = {"metadata.blob_uuid": {"$in": list(names)}, "metadata.job_uuid": owner}
    with database_errors(database):
        for file in database[f"{_BLOBS}.files"].find(theirs, {"_id": 1}):
            blobs.delete(file["_id"])
