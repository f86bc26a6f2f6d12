"""The stores that builders use where they are given none: collections of the one database."""

from __future__ import annotations

from vtc_flows.stores.collections import CollectionPlan
from vtc_flows.stores.jobs import BlobStore, DatabaseStore


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
    return DatabaseStore(plan.name, key=plan.key[0])


def blob_store() -> BlobStore:
    """Return the store of arrays."""
    return BlobStore("data", key="blob_uuid")
