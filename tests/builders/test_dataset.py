from __future__ import annotations

import hashlib

import pytest
from builder_drill import Case, drill, nothing_written, touch
from campaign import SIZES, STRUCTURES, material, read

from vtc_flows.builders import DatasetBuilder, SamsBuilder
from vtc_flows.builders.dataset import current_dataset, table_file
from vtc_flows.builders.running import build
from vtc_flows.errors import InputError, StorageError
from vtc_flows.learn.tables import read_parquet, to_rows
from vtc_flows.schemas.dataset import PAPER_FEATURES, TARGETS
from vtc_flows.stores.records import load_records

ONE_SIZE = {"fms_atoms": SIZES[0]}


@pytest.fixture
def records(derived_before):
    return derived_before("DatasetBuilder")


def names_of(database, fms_atoms: int) -> set[str]:
    return set(database.datasets.distinct("name", {"fms_atoms": fms_atoms}))


def change(database) -> set[str]:
    one = {"material_id": "NiO", **ONE_SIZE}
    database.sams.update_one(one, {"$set": {"sams": 0.123}})
    touch(database.sams, one)
    return names_of(database, SIZES[0])


def add(database) -> set[str]:
    one = database.sams.find_one({"material_id": "NiO", **ONE_SIZE}, {"_id": 0})
    one["record_id"] = one["record_id"].replace("NiO", "added")
    database.sams.insert_one({**one, "material_id": "added"})
    return names_of(database, SIZES[0])


def remove(database) -> set[str]:
    database.sams.delete_many({"material_id": "tenorite_CuO"})
    return names_of(database, SIZES[0]) | names_of(database, SIZES[1])


def spoil(database) -> set[str]:
    lost = {"state": "incomplete", "failures": [{"reason": "timeout"}]}
    database.sams.update_many(ONE_SIZE, {"$set": lost})
    touch(database.sams, ONE_SIZE)
    return names_of(database, SIZES[0])


def mend(database) -> set[str]:
    database.sams.update_many(ONE_SIZE, {"$set": {"state": "complete", "failures": []}})
    touch(database.sams, ONE_SIZE)
    return names_of(database, SIZES[0])


CASE = Case(
    make=DatasetBuilder,
    target="datasets",
    key="name",
    change=change,
    add=add,
    remove=remove,
    spoil=spoil,
    mend=mend,
    reason="no_complete_record",
    bug=("vtc_flows.builders.dataset", "split"),
)


def test_the_drill(records, monkeypatch):
    drill(CASE, records, monkeypatch)


def test_a_row_is_its_record(records):
    build(DatasetBuilder())
    assert records.datasets.count_documents({}) == len(SIZES)
    for size in SIZES:
        (name,) = names_of(records, size)
        dataset = current_dataset(records, name)
        table, card = read_parquet(table_file(records, dataset))
        assert card == dataset.card()
        rows = {row.record_id: row for row in to_rows(table)}
        expected = {one.record_id: one for one in load_records(records, {"fms_atoms": size})}
        assert rows.keys() == expected.keys()
        assert [row.record_id for row in to_rows(table)] == sorted(rows)
        for key, record in expected.items():
            row = rows[key]
            for feature in PAPER_FEATURES:
                assert getattr(row, feature) == getattr(record.features, feature)
            for target in TARGETS:
                assert getattr(row, target) == getattr(record, target)
            assert row.settings_hash == record.provenance.settings_hash
            assert row.n_orbits == len(record.sites)
            assert row.structure_hash == material(row.material_id).structure_hash
            assert row.formula == read(row.material_id).composition.reduced_formula
        assert (dataset.n_rows, dataset.fms_atoms) == (len(STRUCTURES), size)
        assert sum(part.train + part.test for part in dataset.by_element.values()) == len(rows)
        assert dataset.settings.fms_atoms == (size,)


def test_versions_stay_and_are_named_by_their_rows(records):
    build(DatasetBuilder())
    (name,) = names_of(records, SIZES[0])
    first = current_dataset(records, name)
    change(records)
    build(DatasetBuilder())
    second = current_dataset(records, name)
    assert second.dataset_id != first.dataset_id
    old = current_dataset(records, first.dataset_id)
    assert not old.current
    assert table_file(records, old) != table_file(records, second)
    assert records["datasets.files"].count_documents({}) == 3
    # back to what it was: the first version again, and no file more
    build(SamsBuilder(rebuild=True))
    records.sams.update_one({"sams": 0.123}, {"$set": {"build.content": "touched"}})
    build(SamsBuilder(rebuild=True))
    build(DatasetBuilder())
    assert current_dataset(records, name).dataset_id == first.dataset_id
    assert current_dataset(records, name).table == first.table
    assert records["datasets.files"].count_documents({}) == 3
    assert records.datasets.count_documents({"current": True}) == len(SIZES)


def test_what_is_left_out_is_told(records):
    records.sams.update_one(
        {"material_id": "NiO", **ONE_SIZE},
        {"$set": {"state": "incomplete", "failures": [{"reason": "timeout"}]}},
    )
    build(DatasetBuilder())
    (name,) = names_of(records, SIZES[0])
    dataset = current_dataset(records, name)
    assert dataset.left_out == {"timeout": 1}
    assert dataset.n_rows == len(STRUCTURES) - 1


def test_two_splits_of_the_same_rows(records):
    build(DatasetBuilder())
    build(DatasetBuilder(group_by="record", test_fraction=0.5, seed=3))
    names = records.datasets.distinct("name")
    assert len(names) == 2 * len(SIZES)
    assert sum(name.endswith("-record50-s3") for name in names) == len(SIZES)
    with nothing_written(records):
        build(DatasetBuilder())


def test_what_is_not_there_is_told(records):
    with pytest.raises(InputError, match="vtc build dataset"):
        current_dataset(records)
    build(DatasetBuilder())
    with pytest.raises(InputError, match="there are: analytic-20-"):
        current_dataset(records, "none")
    dataset = current_dataset(records)
    chunk = records["datasets.chunks"].find_one({})
    records["datasets.chunks"].update_many({}, {"$set": {"data": chunk["data"][:-1] + b"x"}})
    with pytest.raises(StorageError, match="lost or changed"):
        table_file(records, dataset)


def test_the_file_is_the_same_whenever_it_is_made(records):
    build(DatasetBuilder())
    before = {d["dataset_id"]: d["table"]["sha256"] for d in records.datasets.find()}
    records.datasets.delete_many({})
    records["datasets.files"].delete_many({})
    build(DatasetBuilder())
    assert {d["dataset_id"]: d["table"]["sha256"] for d in records.datasets.find()} == before
    content = table_file(records, current_dataset(records))
    assert hashlib.sha256(content).hexdigest() in before.values()
