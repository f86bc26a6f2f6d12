"""What the database holds: names of collections, their keys and indexes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pymongo import IndexModel

from vtc_flows.stores.connection import MongoDatabase, database_errors


@dataclass(frozen=True)
class CollectionPlan:
    """
    A collection.

    Attributes
    ----------
    name : str
    key : tuple of str
        Fields that tell its documents apart; the database refuses a second one of the same.
    indexed : tuple of str
        Further fields that are searched for.
    together : tuple of tuple of str
        Fields that are searched for and sorted by at once.
    """

    name: str
    key: tuple[str, ...]
    indexed: tuple[str, ...] = ()
    together: tuple[tuple[str, ...], ...] = ()


MATERIALS = CollectionPlan(
    "materials", ("material_id",), ("elements", "formula", "experimental", "last_updated")
)
JOBS = CollectionPlan(
    "jobs",
    ("uuid", "index"),
    (
        *("metadata.material_id", "metadata.fw_id", "output.failure.reason", "completed_at"),
        "output.@class",
    ),
)
#: What builders make is found by the group that it was made from.
_GROUP = "build.group"

SITE_SPECTRA = CollectionPlan(
    "site_spectra", ("spectrum_id",), ("material_id", "element", "last_updated", _GROUP)
)
SAMS = CollectionPlan(
    "sams",
    ("record_id",),
    (
        *("material_id", "element", "state", "sams", "last_updated", _GROUP),
        "provenance.structure.sites.species.element",  # for what else the crystal holds
    ),
    (("state", "sams", "record_id"), ("state", "fms_atoms", "material_id", "element")),
)
FEATURES = CollectionPlan(
    "features", ("record_id",), ("material_id", "element", "last_updated", _GROUP)
)
EXPONENTS = CollectionPlan(
    "exponents", ("record_id",), ("material_id", "element", "last_updated", _GROUP)
)
DATASETS = CollectionPlan("datasets", ("dataset_id",), ("name", "last_updated", _GROUP))
EXPONENT_CURVES = CollectionPlan("exponent_curves", ("curve_id",), ("last_updated", _GROUP))
MODELS = CollectionPlan("models", ("model_id",), ("last_updated",))
PREDICTIONS = CollectionPlan(
    "predictions",
    ("record_id", "model_id"),
    ("model_id", "material_id", "last_updated", _GROUP),
    (("model_id", "value", "record_id"),),
)
STRAIN_STUDIES = CollectionPlan("strain_studies", ("study_id",), ("material_id", "element"))
SUBMISSIONS = CollectionPlan("submissions", ("claim",), ("material_id", "state"))

#: Arrays, in GridFS: too long for documents that are listed and searched.
BLOBS = CollectionPlan("data.files", ("_id",), ("metadata.blob_uuid", "metadata.job_uuid"))

ALL = (
    *(MATERIALS, JOBS, BLOBS, SITE_SPECTRA, SAMS, FEATURES, EXPONENTS, DATASETS),
    *(EXPONENT_CURVES, MODELS, PREDICTIONS, STRAIN_STUDIES),
    SUBMISSIONS,
)


def prepare(database: MongoDatabase) -> None:
    """
    Make the collections' indexes where they are missing; there is no harm in doing it again.

    An index on the same fields under another name will do: maggma names its own.

    Raises
    ------
    StorageError
        If the database is away or refuses.
    ConfigurationError
        If the user may not.
    """
    with database_errors(database):
        for plan in ALL:
            wanted = [
                IndexModel([(field, 1)], name=field.replace(".", "_")) for field in plan.indexed
            ]
            wanted += [
                IndexModel([(field, 1) for field in fields], name="_".join(fields))
                for fields in plan.together
            ]
            if plan.key != ("_id",):
                keys = [(field, 1) for field in plan.key]
                wanted.append(IndexModel(keys, name="key", unique=True))
            collection = database[plan.name]
            there = [
                (list(index["key"]), index.get("unique", False))
                for index in collection.index_information().values()
            ]
            missing = [
                model
                for model in wanted
                if (list(model.document["key"].items()), model.document.get("unique", False))
                not in there
            ]
            if missing:
                collection.create_indexes(missing)


def utc_stamp() -> datetime:
    """
    Return the time as the database keeps it: UTC, cut to milliseconds.

    What is read back then equals what was written; builders compare stamps.

    Examples
    --------
    >>> utc_stamp().microsecond % 1000
    0
    """
    now = datetime.now(UTC).replace(tzinfo=None)  # as the client gives it back
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
