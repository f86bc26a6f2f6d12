"""Rows as a table with fixed columns, and as a Parquet file that says what it is."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

import pyarrow as pa
import pyarrow.parquet as pq

from vtc_flows.errors import InputError
from vtc_flows.schemas import Units
from vtc_flows.schemas.dataset import TARGETS, DatasetRow

_CARD = b"vtc_flows"
_UNIT = b"unit"
_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def column_units() -> dict[str, str]:
    """
    Return the unit of each column of a data set, empty where it has none.

    Examples
    --------
    >>> units = column_units()
    >>> units["sams"], units["density"], units["formula"]
    ('eV^-1/2', 'g/cm^3', '')
    """
    known = Units().model_dump()
    known.update(dict.fromkeys(TARGETS, known["sam"]))
    known.update({"nearest_angstrom": "Angstrom", "shell_angstrom": "Angstrom"})
    known["volume_per_atom"] = "Angstrom^3"
    known.update(dict.fromkeys(("en_mean", "en_std"), known["electronegativity"]))
    return {name: known.get(name, "") for name in DatasetRow.model_fields}


def to_table(rows: Sequence[DatasetRow], card: Mapping[str, Any] | None = None) -> pa.Table:
    """
    Return rows as a table.

    Parameters
    ----------
    rows : sequence of DatasetRow
    card : mapping, optional
        What the table says of itself; kept in its file.

    Returns
    -------
    pyarrow.Table
        Columns in the order of the fields of `DatasetRow`, each with its unit.
    """
    metadata = {_CARD: json.dumps(dict(card), sort_keys=True).encode()} if card else None
    contents = [row.model_dump() for row in rows]
    return pa.Table.from_pylist(contents, schema=_schema().with_metadata(metadata))


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as the content of a Parquet file; equal tables give equal files."""
    target = io.BytesIO()
    pq.write_table(table, target, compression="zstd")
    return target.getvalue()


def read_parquet(source: Path | bytes) -> tuple[pa.Table, dict[str, Any]]:
    """
    Return the table of a Parquet file, and its card.

    Parameters
    ----------
    source : Path or bytes
        The file, or its content.

    Raises
    ------
    InputError
        If it cannot be read, or its columns are others than those of a data set.
    """
    try:
        table = pq.read_table(source if isinstance(source, Path) else pa.BufferReader(source))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"no Parquet file that can be read: {error}") from error
    expected = _schema()
    if not table.schema.equals(expected):
        odd = set(table.schema.names) ^ set(expected.names)
        raise InputError(
            f"the table has other columns than a data set of this version: {sorted(odd) or 'types'}"
        )
    card = (table.schema.metadata or {}).get(_CARD, b"{}")
    return table, json.loads(card)


def to_rows(table: pa.Table) -> list[DatasetRow]:
    """
    Return a table's rows.

    Examples
    --------
    >>> to_rows(to_table([]))
    []
    """
    return [DatasetRow.model_validate(row) for row in table.to_pylist()]


def _schema() -> pa.Schema:
    units = column_units()
    fields = []
    for name, field in DatasetRow.model_fields.items():
        kind, nullable = _kind(field.annotation)
        metadata = {_UNIT: units[name].encode()} if units[name] else None
        fields.append(pa.field(name, kind, nullable=nullable, metadata=metadata))
    return pa.schema(fields)


def _kind(annotation: Any) -> tuple[pa.DataType, bool]:
    """Return how a field stands in a table, and whether it may be missing."""
    if get_origin(annotation) is Literal:
        return pa.string(), False
    if isinstance(annotation, UnionType):
        (kind,) = (part for part in get_args(annotation) if part is not NoneType)
        return _TYPES[kind], True
    return _TYPES[annotation], False
