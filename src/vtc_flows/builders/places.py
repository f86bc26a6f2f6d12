"""The stores that builders use where they are given none: collections of the one database."""

from __future__ import annotations

from typing import Any

from maggma.stores import MongoStore

from vtc_flows.stores.collections import CollectionPlan
from vtc_flows.stores.jobs import BlobStore, DatabaseStore


class DerivedStore(DatabaseStore):
    """A collection of derived documents: their builder stamps them, and only when they change."""

    def update(
        self, docs: list[dict[str, Any]] | dict[str, Any], key: list[str] | str | None = None
    ) -> None:
        """Write documents with the stamps that they have."""
        MongoStore.update(self, docs, key)


def collection_store(plan: CollectionPlan) -> DatabaseStore:
    """
    Return a collection as a store.

    Its serialised form names no address: that comes from the settings of whoever opens it.

    Examples
    --------
    >>> from vtc_flows.stores.collections import FEATURES
    >>> store = collection_store(FEATURES)
    >>> store.collection_name, store.key
    ('features', 'record_id')
    """
    return DerivedStore(plan.name, key=plan.key[0])


def blob_store() -> BlobStore:
    """Return the store of arrays."""
    return BlobStore("data", key="blob_uuid")
