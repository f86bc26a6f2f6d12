"""The scan of the moments' exponent: each record, then the rank correlations over a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Unpack

import numpy as np
from maggma.core import Store
from pymatgen.core.structure import Structure

from vtc_flows.builders.dataset import table_file
from vtc_flows.builders.derived import (
    BuildOptions,
    DerivedBuilder,
    Document,
    Group,
    stamp_text,
)
from vtc_flows.builders.places import blob_store, collection_store
from vtc_flows.errors import InputError, StorageError
from vtc_flows.learn.ranks import rank_curve, spearman
from vtc_flows.learn.tables import read_parquet
from vtc_flows.schemas import RecordSite, SamsSettings
from vtc_flows.schemas.dataset import DatasetDoc
from vtc_flows.schemas.exponents import ExponentCurveDoc, ExponentDoc
from vtc_flows.stores.collections import DATASETS, EXPONENT_CURVES, EXPONENTS, SAMS
from vtc_flows.stores.jobs import BlobStore, DatabaseStore, database_of
from vtc_flows.stores.records import ARRAYS, find_arrays, references
from vtc_flows.workflow.exponents import EXPONENTS as ALL_EXPONENTS
from vtc_flows.workflow.exponents import scan_exponents

_COMPLETE = {"state": "complete"}
_READ = (
    *("record_id", "material_id", "element", "engine", "fms_atoms", "sams_max"),
    *("sams_settings", "sites", "provenance.structure"),
)
_BATCH = 500
_EQUAL = 1e-9


class ExponentBuilder(DerivedBuilder):
    """
    Derive the features and SAMS of every complete record for every exponent.

    Parameters
    ----------
    sams, blobs, exponents : Store, optional
        Those of the database in the settings if not given.
    **build
        See `BuildOptions`; the query is for ``sams``.
    """

    groups_at_a_time = 20

    def __init__(
        self,
        sams: Store | None = None,
        blobs: BlobStore | None = None,
        exponents: Store | None = None,
        **build: Unpack[BuildOptions],
    ) -> None:
        self.sams = sams or collection_store(SAMS)
        self.blobs = blobs or blob_store()
        self.exponents = exponents or collection_store(EXPONENTS)
        super().__init__([self.sams, self.blobs], self.exponents, build)

    def parameters(self) -> dict[str, Any]:
        """Return the exponents."""
        return {"exponents": list(ALL_EXPONENTS)}

    def list_groups(self, query: Mapping[str, Any]) -> Iterator[Group]:
        """Yield the complete records."""
        complete = {"$and": [_COMPLETE, dict(query)]}
        for found in self.sams.query(complete, ["record_id", "last_updated"]):
            stamp = stamp_text(found.get("last_updated"))
            yield Group(found["record_id"], {found["record_id"]: stamp})

    def read(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Return the records with their arrays."""
        names = [group.name for group in groups]
        records = list(self.sams.query({"record_id": {"$in": names}}, list(_READ)))
        arrays = find_arrays(database_of(self.blobs), references(records))
        contents = {}
        for record in records:
            wanted = references(record)
            ours = {name: arrays[name] for name in wanted if name in arrays}
            contents[record["record_id"]] = {"record": record, "arrays": ours}
        return contents

    def derive(self, content: Document) -> list[Document]:
        """Scan one record."""
        record, arrays = content["record"], content["arrays"]
        points = scan_exponents(
            Structure.from_dict(record["provenance"]["structure"]),
            record["element"],
            [_site(site, arrays) for site in record["sites"]],
            SamsSettings.model_validate(record["sams_settings"]),
        )
        document = ExponentDoc(
            **self.failed_document(record["record_id"], content),
            exponents=[point.exponent for point in points],
            qams=[point.qams for point in points],
            dams=[point.dams for point in points],
            iams=[point.iams for point in points],
            sams=[point.sams for point in points],
            sams_max=record["sams_max"],
        )
        return [document.model_dump(mode="json")]

    def failed_document(self, name: str, content: Document) -> Document:
        """Return which record it is."""
        fields = ("record_id", "material_id", "element", "engine", "fms_atoms")
        return {key: content["record"][key] for key in fields}


class ExponentCurveBuilder(DerivedBuilder):
    """
    Correlate QAMS with SAMS for every exponent over the training part of each data set.

    Parameters
    ----------
    datasets, exponents, exponent_curves : Store, optional
        Those of the database in the settings if not given.
    **build
        See `BuildOptions`; the query is for ``datasets``.
    """

    groups_at_a_time = 1

    def __init__(
        self,
        datasets: DatabaseStore | None = None,
        exponents: Store | None = None,
        exponent_curves: Store | None = None,
        **build: Unpack[BuildOptions],
    ) -> None:
        self.datasets = datasets or collection_store(DATASETS)
        self.exponents = exponents or collection_store(EXPONENTS)
        self.exponent_curves = exponent_curves or collection_store(EXPONENT_CURVES)
        super().__init__([self.datasets, self.exponents], self.exponent_curves, build)

    def parameters(self) -> dict[str, Any]:
        """Return nothing: a data set's parameters are its own."""
        return {}

    def list_groups(self, query: Mapping[str, Any]) -> Iterator[Group]:
        """Yield the current data sets, with the scans of all records."""
        stamps = {
            found["record_id"]: stamp_text(found.get("last_updated"))
            for found in self.exponents.query({}, ["record_id", "last_updated"])
        }
        current = {"$and": [{"current": True, "state": "successful"}, dict(query)]}
        fields = {"_id": 0, "build": 0, "last_updated": 0}
        for found in list(self.datasets.query(current, fields)):
            dataset = DatasetDoc.model_validate(found)
            members = {name: stamps[name] for name in self._train(dataset) if name in stamps}
            yield Group(dataset.name, {**members, "dataset": dataset.dataset_id})

    def read(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Return the scans of each data set's training part."""
        contents = {}
        for group in groups:
            names = sorted(group.members.keys() - {"dataset"})
            scans: list[Document] = []
            for start in range(0, len(names), _BATCH):
                some = {"record_id": {"$in": names[start : start + _BATCH]}}
                scans += self.exponents.query({**some, "state": "successful"})
            scans.sort(key=lambda scan: str(scan["record_id"]))
            contents[group.name] = {
                "name": group.name,
                "dataset_id": group.members["dataset"],
                "scans": scans,
            }
        return contents

    def derive(self, content: Document) -> list[Document]:
        """Return the curve."""
        return [
            exponent_curve(content["name"], content["dataset_id"], content["scans"]).model_dump(
                mode="json"
            )
        ]

    def failed_document(self, name: str, content: Document) -> Document:
        """Return whose curve it would be."""
        return {"curve_id": name, "dataset_id": content["dataset_id"]}

    def _train(self, dataset: DatasetDoc) -> list[str]:
        table, _ = read_parquet(table_file(database_of(self.datasets), dataset))
        parts = zip(
            table.column("record_id").to_pylist(), table.column("split").to_pylist(), strict=True
        )
        return [name for name, part in parts if part == "train"]


def exponent_curve(
    name: str, dataset_id: str, scans: Sequence[Mapping[str, Any]]
) -> ExponentCurveDoc:
    """
    Return the rank correlations of a data set for every exponent.

    Parameters
    ----------
    name, dataset_id : str
        Of the data set.
    scans : sequence of mapping
        Documents of `ExponentBuilder`, of the training part alone.

    Raises
    ------
    InputError
        If there are none.
    """
    if not scans:
        raise InputError(f"no record of the training part of {name} was scanned")
    exponents = scans[0]["exponents"]
    of = {
        key: np.array([scan[key] for scan in scans]).T for key in ("qams", "dams", "iams", "sams")
    }
    largest = np.array([scan["sams_max"] for scan in scans])
    qams_sams = rank_curve(of["qams"], of["sams"])
    elements = np.array([scan["element"] for scan in scans])
    best = _first_of_best(qams_sams.rho)
    return ExponentCurveDoc(
        curve_id=name,
        dataset_id=dataset_id,
        exponents=exponents,
        n_rows=len(scans),
        best_exponent=None if best is None else exponents[best],
        as_good=_as_good(exponents, qams_sams.rho, None if best is None else qams_sams.low[best]),
        qams_sams=qams_sams,
        iams_sams=rank_curve(of["iams"], of["sams"]),
        dams_sams=rank_curve(of["dams"], of["sams"]),
        qams_sams_max=rank_curve(of["qams"], largest),
        by_element={
            element: [
                spearman(one[elements == element], other[elements == element])
                for one, other in zip(of["qams"], of["sams"], strict=True)
            ]
            for element in sorted(set(elements.tolist()))
        },
        n_by_element=dict(sorted(Counter(elements.tolist()).items())),
    )


def _first_of_best(rho: Sequence[float | None]) -> int | None:
    known = [value for value in rho if value is not None]
    places = [i for i, value in enumerate(rho) if value is not None and value > max(known) - _EQUAL]
    return places[0] if places else None


def _as_good(
    exponents: Sequence[int], rho: Sequence[float | None], limit: float | None
) -> list[int]:
    if limit is None:
        return []
    return [
        exponent
        for exponent, value in zip(exponents, rho, strict=True)
        if value is not None and value >= limit
    ]


def _site(site: Mapping[str, Any], arrays: Mapping[str, Any]) -> RecordSite:
    fields = dict(site)
    for key in ARRAYS:
        name = fields[key]["blob_uuid"]
        if name not in arrays:
            raise StorageError(f"the database has lost the array {key} of a site")
        fields[key] = arrays[name]
    return RecordSite.model_validate(fields)
