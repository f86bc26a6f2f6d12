"""From ``sams`` to ``datasets``: one table for each engine, cluster size and settings."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Unpack

from gridfs import GridFS
from maggma.core import Store
from pymatgen.core.structure import Structure

from vtc_flows import __version__
from vtc_flows.builders.derived import (
    FAILED,
    BuildOptions,
    DerivedBuilder,
    Document,
    Group,
    stamp_text,
)
from vtc_flows.builders.fingerprints import digest
from vtc_flows.builders.places import collection_store
from vtc_flows.crystal.prototypes import names_of_kind
from vtc_flows.errors import InputError, StorageError
from vtc_flows.learn.split import split
from vtc_flows.learn.tables import column_units, parquet_bytes, to_table
from vtc_flows.schemas import EngineProvenance, RecordId, flat_features, short_hash, utc_now
from vtc_flows.schemas.dataset import (
    ALL_FEATURES,
    TARGETS,
    DatasetDoc,
    DatasetRow,
    GroupBy,
    PartCounts,
    SplitSettings,
    TableFile,
)
from vtc_flows.stores.collections import DATASETS, SAMS
from vtc_flows.stores.connection import MongoDatabase
from vtc_flows.stores.jobs import DatabaseStore, database_of
from vtc_flows.workflow.materials import structure_hash

#: Where the files of tables are, apart from the arrays of jobs.
BUCKET = "datasets"

_LISTED = ("record_id", "engine", "fms_atoms", "last_updated")
_SETTINGS = ("settings", "sams_settings", "provenance.settings_hash", "provenance.engine")
_READ = (
    *("record_id", "material_id", "element", "engine", "fms_atoms", "state", "reason"),
    *("frame_freedom", "features", "sites.multiplicity", "provenance.source"),
    *("provenance.structure", "failures.reason"),
    *TARGETS,
    *_SETTINGS,
)
_BATCH = 200
_SUPERSEDED = "superseded"


class DatasetBuilder(DerivedBuilder):
    """
    Put complete records together to tables.

    A table holds the records of one engine with one cluster size and the same settings, so that
    they are never mixed. It has a version, the digest of its rows: a table that changed is a new
    document with a new file, and the former ones stay for the models that were made of them.

    Parameters
    ----------
    sams, datasets : Store, optional
        Those of the database in the settings if not given. The files of tables go to the database
        of the latter.
    group_by : {"formula", "prototype", "material", "record"}
        What makes rows near-duplicates, which are never on both sides of the split: the reduced
        formula; the anonymous formula with the space group, so that a kind of compound is on one
        side whatever its elements; the material; nothing but the row itself.
    test_fraction : float
        Share of each element's rows in the test part.
    seed : int
        Of the split.
    **build
        See `BuildOptions`; the query is for ``sams``.
    """

    revision = 2  # since 2 with the columns of the models v2
    groups_at_a_time = 1

    def __init__(
        self,
        sams: Store | None = None,
        datasets: DatabaseStore | None = None,
        *,
        group_by: GroupBy = "formula",
        test_fraction: float = 0.2,
        seed: int = 0,
        **build: Unpack[BuildOptions],
    ) -> None:
        self.sams = sams or collection_store(SAMS)
        self.datasets = datasets or collection_store(DATASETS)
        self.group_by = group_by
        self.test_fraction = test_fraction
        self.seed = seed
        self._split = SplitSettings(group_by=group_by, test_fraction=test_fraction, seed=seed)
        super().__init__([self.sams], self.datasets, build)

    def parameters(self) -> dict[str, Any]:
        """Return how rows are split."""
        return self._split.model_dump(mode="json")

    def list_groups(self, query: Mapping[str, Any]) -> Iterator[Group]:
        """Yield the tables with their records."""
        groups: dict[str, dict[str, str]] = {}
        for found in self.sams.query(dict(query), list(_LISTED)):
            name = RecordId.parse(found["record_id"])
            stamp = stamp_text(found.get("last_updated"))
            groups.setdefault(_table_name(name), {})[found["record_id"]] = stamp
        for group, members in groups.items():
            yield Group(group, members)

    def read(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Return the rows of each table without their split, and what is left out."""
        return {group.name: self._contents(group) for group in groups}

    def derive(self, content: Document) -> list[Document]:
        """Split the rows, and say what they are."""
        rows, settings = content["rows"], content["settings"]
        if not rows:
            reasons = ", ".join(f"{count} {why}" for why, count in content["left_out"].items())
            failed = {"state": FAILED, "reason": "no_complete_record", "message": reasons}
            return [{**self.failed_document(content["name"], content), **failed}]
        names = [self._split_group(row) for row in rows]
        parts = split(
            [row["element"] for row in rows],
            names,
            test_fraction=self.test_fraction,
            seed=self.seed,
        )
        rows = [
            DatasetRow(**row, split=part, split_group=group)
            for row, part, group in zip(rows, parts, names, strict=True)
        ]
        contents = [row.model_dump(mode="json") for row in rows]
        version = digest({"rows": contents, "split": self.parameters()})
        name = self._name(content["name"])
        dataset_id = f"{name}-{short_hash(version)}"
        by_element: dict[str, Counter[str]] = {}
        for row in rows:
            by_element.setdefault(row.element, Counter())[row.split] += 1
        document = DatasetDoc(
            dataset_id=dataset_id,
            name=name,
            current=True,
            engine=rows[0].engine,
            engine_files=dict(Counter(row.engine_sha256 for row in rows)),
            engines=content["engines"],
            fms_atoms=rows[0].fms_atoms,
            settings=settings["settings"],
            sams_settings=settings["sams_settings"],
            settings_hash=rows[0].settings_hash,
            split=self._split,
            n_rows=len(rows),
            parts=_counts(Counter(parts)),
            by_element={name: _counts(by_element[name]) for name in sorted(by_element)},
            left_out=dict(content["left_out"]),
            columns=column_units(),
            table=TableFile(file_name=f"{dataset_id}.parquet", n_bytes=0, sha256=""),
            package_version=__version__,
            created_at=utc_now(),
        )
        file = parquet_bytes(to_table(rows, document.card()))
        document.table.n_bytes = len(file)
        document.table.sha256 = hashlib.sha256(file).hexdigest()
        return [{**document.model_dump(mode="json"), _FILE: file.hex()}]

    def failed_document(self, name: str, content: Document) -> Document:
        """Return the name of a table that has no version."""
        ours = self._name(name)
        return {"dataset_id": f"{ours}-none", "name": ours, "current": True}

    def write(self, documents: list[Document]) -> None:
        """Write the tables' files, then what refers to them."""
        blobs = GridFS(database_of(self.datasets), BUCKET)
        for document in documents:
            file = document.pop(_FILE, None)
            if file is None:
                continue
            content = bytes.fromhex(file)
            name = document["table"]["file_name"]
            if blobs.exists({"filename": name, "metadata.sha256": document["table"]["sha256"]}):
                continue
            for older in blobs.find({"filename": name}):
                blobs.delete(older._id)
            blobs.put(content, filename=name, metadata={"sha256": document["table"]["sha256"]})
        super().write(documents)

    def remove(self, names: list[str]) -> int:
        """Mark versions as replaced: they stay, but for what holds no table."""
        these = {"dataset_id": {"$in": names}, **self._own()}
        n_failed = self.datasets.count({**these, "state": FAILED})
        self.datasets.remove_docs({**these, "state": FAILED})
        self.datasets._collection.update_many(
            these, {"$set": {"current": False, "build.builder": _SUPERSEDED}}
        )
        return n_failed

    def _contents(self, group: Group) -> Document:
        rows: list[Document] = []
        left_out: Counter[str] = Counter()
        engines: dict[str, Document] = {}
        settings: Document = {}
        names = sorted(group.members)
        for start in range(0, len(names), _BATCH):
            some = {"record_id": {"$in": names[start : start + _BATCH]}}
            for record in self.sams.query(some, list(_READ)):
                if record["state"] != "complete":
                    left_out[_why_left_out(record)] += 1
                    continue
                settings = settings or record
                engine = record["provenance"]["engine"]
                engines[digest(engine)] = engine
                rows.append(_row(record))
        rows.sort(key=lambda row: str(row["record_id"]))
        return {
            "name": group.name,
            "rows": rows,
            "left_out": left_out,
            "settings": settings,
            "engines": [EngineProvenance.model_validate(engines[key]) for key in sorted(engines)],
        }

    def _name(self, group: str) -> str:
        share = round(100 * self.test_fraction)
        return f"{group}-{self.group_by}{share}-s{self.seed}"

    def _split_group(self, row: Mapping[str, Any]) -> str:
        field = {"material": "material_id", "record": "record_id"}.get(self.group_by, self.group_by)
        return str(row[field])


#: Carries the file from where it is made to where it is written.
_FILE = "_file"


def current_dataset(database: MongoDatabase, name: str | None = None) -> DatasetDoc:
    """
    Return the latest version of a table.

    Parameters
    ----------
    database : Database
    name : str, optional
        Of the table, or of one of its versions; the one with the most rows if not given.

    Raises
    ------
    InputError
        If there is none.
    """
    wanted: dict[str, Any] = {"current": True}
    if name is not None:
        wanted = {"$or": [{"name": name, "current": True}, {"dataset_id": name}]}
    found = database[DATASETS.name].find_one(
        {**wanted, "state": "successful"},
        {"_id": 0, "build": 0, "last_updated": 0},
        sort=[("n_rows", -1), ("dataset_id", 1)],
    )
    if found is None:
        known = ", ".join(sorted(database[DATASETS.name].distinct("name"))) or "none"
        raise InputError(f"no data set {name or ''} (there are: {known}): vtc build dataset")
    return DatasetDoc.model_validate(found)


def table_file(database: MongoDatabase, dataset: DatasetDoc) -> bytes:
    """
    Return the Parquet file of a table.

    Raises
    ------
    StorageError
        If it is missing, or not the one that was written.
    """
    file = GridFS(database, BUCKET).find_one({"filename": dataset.table.file_name})
    content = b"" if file is None else file.read()
    if hashlib.sha256(content).hexdigest() != dataset.table.sha256:
        raise StorageError(f"the database has lost or changed {dataset.table.file_name}")
    return content


def _table_name(name: RecordId) -> str:
    return f"{name.engine}-{name.fms_atoms}-{name.hash8}"


def _why_left_out(record: Mapping[str, Any]) -> str:
    if record["state"] == FAILED:
        return str(record["reason"])
    return str(record["failures"][0]["reason"])


def _row(record: Mapping[str, Any]) -> Document:
    features, provenance = flat_features(record["features"]), record["provenance"]
    structure = Structure.from_dict(provenance["structure"])
    return {
        **{key: record[key] for key in ("record_id", "material_id", "element", "engine")},
        **names_of_kind(structure, features["n_sg"]),
        "structure_hash": structure_hash(structure),
        "n_sites": sum(site["multiplicity"] for site in record["sites"]),
        "n_orbits": len(record["sites"]),
        **{key: features.get(key) for key in ALL_FEATURES},
        **{key: record.get(key) for key in TARGETS},
        "oxidation_method": features["oxidation_method"],
        "n_without_electronegativity": features["n_without_electronegativity"],
        "frame_freedom": record["frame_freedom"],
        "engine_sha256": provenance["engine"]["sha256"],
        "fms_atoms": record["fms_atoms"],
        "settings_hash": provenance["settings_hash"],
        "source": provenance["source"],
    }


def _counts(of: Counter[str]) -> PartCounts:
    return PartCounts(train=of["train"], test=of["test"])
