from __future__ import annotations

import threading

import analytic_engine
import pytest
from pymatgen.core.structure import Structure

from vtc_flows.crystal.sources import StructureRecord
from vtc_flows.errors import InputError, StorageError
from vtc_flows.schemas import SamsRecord, SamsSettings, XesSettings
from vtc_flows.stores.collections import SAMS, prepare
from vtc_flows.stores.materials import save_materials
from vtc_flows.stores.records import load_records, references, save_document, save_record
from vtc_flows.workflow.batch import plan, run_task
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker
from vtc_flows.workflow.materials import material_document


@pytest.fixture
def compute(structure_file, analytic):
    """Compute the records of a test structure with the analytic engine."""

    def run(name: str, **sams_settings) -> list[SamsRecord]:
        settings = XesSettings(fms_atoms=(20, 30))
        maker = PolarizedXesFlowMaker(
            site_maker=SiteXesMaker(engine="analytic_engine:make", settings=settings),
            sams_settings=SamsSettings(**sams_settings),
        )
        (task,) = plan([str(structure_file(name))], [], settings).tasks
        return run_task(task, maker)

    return run


def test_there_and_back(database, compute):
    prepare(database)
    records = compute("triclinic_Fe2P2O7")
    assert all(save_record(database, record) for record in records)
    assert list(load_records(database)) == records
    assert list(load_records(database, {"fms_atoms": 30})) == records[1:]


def test_documents_can_be_searched_and_are_small(database, compute):
    prepare(database)
    (record, _) = compute("triclinic_Fe2P2O7")
    save_record(database, record)
    document = database.sams.find_one({"sams": {"$gt": 0}, "provenance.engine.name": "analytic"})
    assert document["record_id"] == record.record_id
    assert document["sites"][0]["tensor"].keys() == {"blob_uuid", "store"}
    size = database.sams.aggregate([{"$project": {"size": {"$bsonSize": "$$ROOT"}}}]).next()
    assert size["size"] < 20_000


def test_a_record_is_there_once_and_its_arrays_too(database, compute):
    prepare(database)
    (record, _) = compute("NiO")
    for _ in range(3):
        save_record(database, record)
    assert database.sams.count_documents({}) == 1
    assert database["data.files"].count_documents({}) == 3
    assert list(load_records(database)) == [record]


def test_an_incomplete_record_replaces_no_complete_one(database, compute, monkeypatch):
    prepare(database)
    (complete, _) = compute("triclinic_Fe2P2O7")
    monkeypatch.setenv("ANALYTIC_FAIL", "1")
    (incomplete, _) = compute("triclinic_Fe2P2O7")
    assert (incomplete.state, incomplete.record_id) == ("incomplete", complete.record_id)
    assert save_record(database, incomplete)
    assert save_record(database, complete)
    assert not save_record(database, incomplete)
    assert list(load_records(database)) == [complete]
    assert database["data.files"].count_documents({}) == 3 * len(complete.sites)


def test_a_newer_revision_of_the_engine_is_worth_more_than_completeness(
    database, compute, monkeypatch
):
    prepare(database)
    (older, _) = compute("triclinic_Fe2P2O7")
    monkeypatch.setattr(analytic_engine, "REVISION", 2)
    (newer, _) = compute("triclinic_Fe2P2O7")
    monkeypatch.setenv("ANALYTIC_FAIL", "1")
    (incomplete, _) = compute("triclinic_Fe2P2O7")
    assert len({each.record_id for each in (older, newer, incomplete)}) == 1
    assert save_record(database, older)
    assert save_record(database, incomplete)
    assert not save_record(database, older)
    assert save_record(database, newer)
    assert not save_record(database, older)
    assert list(load_records(database)) == [newer]


def test_another_crystal_of_the_same_name_does_not_replace_it(database, compute):
    prepare(database)
    (record, second) = compute("NiO")
    save_record(database, record)
    for of in (record, second):  # not beside it either
        other = of.model_copy(deep=True)
        other.provenance.structure["lattice"]["matrix"][0][0] += 0.1
        other.provenance.source = "b/NiO.cif"
        with pytest.raises(
            InputError, match=r"b/NiO.cif is another crystal than the one called NiO"
        ):
            save_record(database, other)
    assert list(load_records(database)) == [record]
    assert database["data.files"].count_documents({}) == 3


def test_a_crystal_that_was_put_in_the_place_of_another_replaces_its_records(database, compute):
    prepare(database)
    (record, _) = compute("NiO")
    save_record(database, record)
    other = record.model_copy(deep=True)
    other.provenance.structure["lattice"]["matrix"][0][0] += 0.1
    structure = Structure.from_dict(other.provenance.structure)
    material = material_document(StructureRecord("NiO", structure, "b/NiO.cif", "NiO"))
    (refused,) = save_materials(database, [material]).refused
    assert "the collection sams" in str(refused)
    assert save_materials(database, [material], replace=True).new == 1
    assert save_record(database, other)
    assert list(load_records(database)) == [other]
    with pytest.raises(InputError, match="the collection materials"):
        save_record(database, record)


def test_many_writers_of_one_record(database, compute):
    prepare(database)
    (record, _) = compute("NiO")
    errors = []

    def write() -> None:
        try:
            for _ in range(5):
                save_record(database, record)
        except StorageError as error:
            errors.append(error)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not errors
    assert list(load_records(database)) == [record]


def test_the_slower_of_two_first_writers_replaces_what_the_faster_one_wrote(database):
    prepare(database)
    start = threading.Barrier(8)
    errors = []
    plain = {"state": "complete", "provenance": {"structure": {}, "engine": None}}

    def write(name: str) -> None:
        start.wait()
        try:
            assert save_document(database, {"record_id": name, **plain})
        except StorageError as error:
            errors.append(error)

    for turn in range(20):
        writers = [threading.Thread(target=write, args=(f"r{turn}",)) for _ in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    assert [error for error in errors if "all the time" not in str(error)] == []
    assert database[SAMS.name].count_documents({}) == 20


def test_arrays_that_are_gone_are_told(database, compute):
    prepare(database)
    (record, _) = compute("NiO")
    save_record(database, record)
    database["data.chunks"].delete_many({})
    with pytest.raises(StorageError, match="has lost the arrays"):
        list(load_records(database))


def test_references_are_found_everywhere():
    assert references([{"a": {"blob_uuid": "x"}}, {"b": [{"blob_uuid": "y"}], "c": 1}]) == [
        "x",
        "y",
    ]
