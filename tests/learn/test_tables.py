from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vtc_flows.errors import InputError
from vtc_flows.learn.tables import column_units, parquet_bytes, read_parquet, to_rows, to_table
from vtc_flows.schemas.dataset import ALL_FEATURES, TARGETS, DatasetRow


def row(number: int, **given) -> DatasetRow:
    values = {
        name: {str: f"{name} {number}", int: number, float: number / 7}.get(field.annotation)
        for name, field in DatasetRow.model_fields.items()
    }
    return DatasetRow(**{**values, "split": "train", **given})


ROWS = [row(1), row(2, en_mean=1.5), row(3, split="test")]


def test_there_and_back(tmp_path):
    table = to_table(ROWS, {"name": "a table"})
    again, card = read_parquet(parquet_bytes(table))
    assert to_rows(again) == ROWS
    assert card == {"name": "a table"}
    path = tmp_path / "table.parquet"
    path.write_bytes(parquet_bytes(table))
    assert read_parquet(path)[0] == again
    assert parquet_bytes(to_table(ROWS, {"name": "a table"})) == parquet_bytes(table)


def test_columns_have_order_units_and_types_even_without_rows():
    table = to_table([])
    assert table.schema.names == list(DatasetRow.model_fields)
    assert table.schema.field("sams").metadata == {b"unit": b"eV^-1/2"}
    assert table.schema.field("en_mean").nullable
    assert not table.schema.field("qams").nullable
    assert set(ALL_FEATURES) | set(TARGETS) <= set(table.schema.names)
    assert column_units()["qams"] == "e Angstrom^(2-p)"


def test_other_readers_see_plain_columns(tmp_path):
    path = tmp_path / "table.parquet"
    path.write_bytes(parquet_bytes(to_table(ROWS)))
    columns = pq.read_table(path, columns=["element", "sams"]).to_pydict()
    assert columns["sams"] == [each.sams for each in ROWS]


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(InputError, match="no Parquet file"):
        read_parquet(b"nothing of the kind")
    with pytest.raises(InputError, match="no Parquet file"):
        read_parquet(tmp_path / "missing.parquet")
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"sams": [1.0]}), path)
    with pytest.raises(InputError, match="other columns"):
        read_parquet(path)
