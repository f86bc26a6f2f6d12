"""From the records of a data set to a table that a model learns from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from vtc_flows.errors import InputError
from vtc_flows.learn.tables import to_table
from vtc_flows.schemas import SamsSettings, XesSettings, short_hash
from vtc_flows.schemas.dataset import DatasetRow, SplitSettings

#: Parts of a data set that are rows; formulas of the test part are nowhere else.
PARTS = ("train", "test")


def learning_table(records: pa.Table, fms_atoms: int = 30) -> pa.Table:
    """
    Return the records of one cluster size as a table to learn from.

    Parameters
    ----------
    records : pyarrow.Table
        See `vtc_flows.dataset.records.record_table`.
    fms_atoms : int
        Size of the clusters.

    Returns
    -------
    pyarrow.Table
        See `vtc_flows.learn.tables`. The split is that of the data set, whatever rows come; rows
        of one formula are near-duplicates.

    Raises
    ------
    InputError
        If there is no such record.
    """
    rows = [
        _row(each)
        for each in records.to_pylist()
        if each["state"] == "complete" and each["part"] in PARTS and each["fms_atoms"] == fms_atoms
    ]
    if not rows:
        raise InputError(f"the data set has no complete record with {fms_atoms} neighbors")
    rows.sort(key=lambda row: row.record_id)
    return to_table(rows, _card(rows))


def _row(record: Mapping[str, Any]) -> DatasetRow:
    known = {name: record[name] for name in DatasetRow.model_fields if name in record}
    return DatasetRow(
        **known, split=record["part"], split_group=record["formula"], source=record["material_id"]
    )


def _card(rows: Sequence[DatasetRow]) -> dict[str, Any]:
    """Return what a model says of the table that it was made from."""
    digest = hashlib.sha256(
        json.dumps([row.model_dump(mode="json") for row in rows], sort_keys=True).encode()
    ).hexdigest()
    first = rows[0]
    name = f"{first.engine}-{first.fms_atoms}-{first.settings_hash[:8]}-open"
    n_test = sum(row.split == "test" for row in rows)
    split = SplitSettings(
        group_by="formula", test_fraction=min(max(n_test, 1), len(rows) - 1) / len(rows)
    )
    return {
        "dataset_id": f"{name}-{short_hash(digest)}",
        "name": name,
        "n_rows": len(rows),
        "engine": first.engine,
        "fms_atoms": first.fms_atoms,
        "settings_hash": first.settings_hash,
        "settings": XesSettings(fms_atoms=(first.fms_atoms,)).model_dump(mode="json"),
        "sams_settings": SamsSettings().model_dump(mode="json"),
        "split": split.model_dump(mode="json"),
    }
