"""
The job store: jobflow's documents in one collection, their arrays in the blob store ``data``.

A store's serialised form names a collection and no address, so that it can stand in files and
workflows: the address comes from the settings of whoever opens it.
"""

from __future__ import annotations

from typing import Any

import gridfs
from jobflow import JobStore
from maggma.stores import MongoStore
from maggma.stores.gridfs import GridFSStore

from vtc_flows.settings import load_settings
from vtc_flows.stores.collections import JOBS, utc_stamp
from vtc_flows.stores.connection import MongoDatabase, open_database

_BLOBS = "data"


class DatabaseStore(MongoStore):
    """
    A collection of the database as a maggma store.

    Parameters
    ----------
    collection_name : str
        Its name.
    **kwargs
        As for every maggma store: ``key``, ``last_updated_field``, ``last_updated_type``.
    """

    _database: MongoDatabase | None = None
    _coll: Any

    def __init__(self, collection_name: str, **kwargs: Any) -> None:
        super().__init__("", collection_name, **kwargs)

    @property
    def name(self) -> str:
        """Its name for people; maggma's own shows the password."""
        return f"vtc-flows/{self.collection_name}"

    def connect(self, force_reset: bool = False) -> None:
        """Use the connections that this process has."""
        if self._coll is None or force_reset:
            self._coll = database_of(self)[self.collection_name]

    def update(
        self, docs: list[dict[str, Any]] | dict[str, Any], key: list[str] | str | None = None
    ) -> None:
        """Write documents with the time, in UTC; jobflow's own is the local one."""
        stamp = {self.last_updated_field: utc_stamp()}
        several = docs if isinstance(docs, list) else [docs]
        super().update([{**document, **stamp} for document in several], key)

    def close(self) -> None:
        """Let go of the collection; others go on using the connections."""
        self._coll = None


class BlobStore(GridFSStore):
    """
    Arrays in the database, compressed, as a maggma store.

    Parameters
    ----------
    collection_name : str
        The first part of its two collections' names.
    **kwargs
        As for every maggma store: ``key``, ``last_updated_field``, ``last_updated_type``.
    """

    _database: MongoDatabase | None = None
    _coll: Any
    _fs: Any

    def __init__(self, collection_name: str, **kwargs: Any) -> None:
        super().__init__("", collection_name, compression=True, **kwargs)

    @property
    def name(self) -> str:
        """Its name for people; maggma's own shows the password."""
        return f"vtc-flows/{self.collection_name}"

    def connect(self, force_reset: bool = False) -> None:
        """Use the connections that this process has."""
        if self._coll is None or force_reset:
            database = database_of(self)
            self._coll = gridfs.GridFS(database, self.collection_name)
            self._files_collection = database[f"{self.collection_name}.files"]
            self._chunks_collection = database[f"{self.collection_name}.chunks"]
            self._fs = MongoStore.from_collection(self._files_collection)  # type: ignore[no-untyped-call]
            self._fs.last_updated_field = f"metadata.{self.last_updated_field}"
            self._fs.key = self.key

    def close(self) -> None:
        """Let go of the collections; others go on using the connections."""
        self._coll = self._fs = None


def job_store(database: MongoDatabase | None = None) -> JobStore:
    """
    Return the job store.

    Parameters
    ----------
    database : Database, optional
        Where; the database of the settings, when it is connected, if not given.
    """
    documents, blobs = DatabaseStore(JOBS.name), BlobStore(_BLOBS)
    documents._database = blobs._database = database
    return JobStore(documents, additional_stores={_BLOBS: blobs})


def database_of(store: DatabaseStore | BlobStore) -> MongoDatabase:
    """Return the database that a store is in."""
    return store._database if store._database is not None else open_database(load_settings())
