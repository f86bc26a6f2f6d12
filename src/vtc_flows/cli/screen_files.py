"""Rows of a screen as files: CSV, JSON, Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vtc_flows.errors import InputError
from vtc_flows.schemas import Units
from vtc_flows.writing import write_whole

Row = dict[str, Any]

_SAMS_UNIT = Units().sam
#: Columns in their order: type and unit.
COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "kind": (pa.string(), ""),
    "record_id": (pa.string(), ""),
    "material_id": (pa.string(), ""),
    "formula": (pa.string(), ""),
    "element": (pa.string(), ""),
    "space_group_number": (pa.int64(), ""),
    "fms_atoms": (pa.int64(), ""),
    "sams": (pa.float64(), _SAMS_UNIT),
    "low": (pa.float64(), _SAMS_UNIT),
    "high": (pa.float64(), _SAMS_UNIT),
    "width": (pa.float64(), _SAMS_UNIT),
    "in_domain": (pa.bool_(), ""),
    "distance": (pa.float64(), ""),
    "made_by": (pa.string(), ""),
}


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """
    Write rows in the format that the file's name ends with.

    Parameters
    ----------
    path : Path
        Ends with .csv, .json or .parquet; a Parquet file holds the units of its columns.
    rows : sequence of dict
        See `COLUMNS`; None where there is nothing.

    Raises
    ------
    InputError
        If the name ends otherwise.
    StorageError
        If it cannot be written.
    """
    write_whole(path, writer_for(path)(rows))


def writer_for(path: Path) -> Callable[[Sequence[Row]], str | bytes]:
    """
    Return what makes the content of a file of this name.

    Examples
    --------
    >>> writer_for(Path("found.csv"))([]).split(",")[:2]
    ['kind', 'record_id']

    Raises
    ------
    InputError
        If nothing does.
    """
    try:
        return _WRITERS[path.suffix.lower()]
    except KeyError:
        raise InputError(
            f"{path}: the name of a file for rows ends with {', '.join(_WRITERS)}"
        ) from None


def _csv(rows: Sequence[Row]) -> str:
    target = io.StringIO()
    writer = csv.DictWriter(target, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return target.getvalue()


def _json(rows: Sequence[Row]) -> str:
    return json.dumps(list(rows), indent=1) + "\n"


def _parquet(rows: Sequence[Row]) -> bytes:
    fields = [
        pa.field(name, kind, metadata={b"unit": unit.encode()} if unit else None)
        for name, (kind, unit) in COLUMNS.items()
    ]
    target = io.BytesIO()
    table = pa.Table.from_pylist(list(rows), schema=pa.schema(fields))
    pq.write_table(table, target, compression="zstd")
    return target.getvalue()


_WRITERS: dict[str, Callable[[Sequence[Row]], str | bytes]] = {
    ".csv": _csv,
    ".json": _json,
    ".parquet": _parquet,
}
