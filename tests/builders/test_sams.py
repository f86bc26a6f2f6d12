from __future__ import annotations

import pytest
from builder_drill import Case, differing, drill, nothing_written, touch
from campaign import SIZES, STRUCTURES, compute, material, read

from vtc_flows.builders import SamsBuilder, SiteSpectraBuilder
from vtc_flows.builders.running import build
from vtc_flows.errors import InputError
from vtc_flows.schemas import SamsRecord
from vtc_flows.stores.jobs import job_store
from vtc_flows.stores.materials import save_materials
from vtc_flows.stores.records import load_records, references, save_record

_kept: dict = {}


@pytest.fixture
def spectra(derived_before):
    return derived_before("SamsBuilder")


def names_of(database, material_id: str) -> set[str]:
    return set(database.sams.distinct("record_id", {"material_id": material_id}))


def change(database) -> set[str]:
    one = {"material_id": "NiO", "fms_atoms": SIZES[0]}
    database.site_spectra.update_many(one, {"$set": {"e_fermi_ev": -10.0}})
    touch(database.site_spectra, one)
    return set(database.sams.distinct("record_id", one))


def add(database) -> set[str]:
    records = compute(database, "added", read("NiO"), "Ni")
    build(SiteSpectraBuilder())
    return {record.record_id for record in records}


def remove(database) -> set[str]:
    gone = names_of(database, "tenorite_CuO")
    database.site_spectra.delete_many({"material_id": "tenorite_CuO"})
    # one of two orbits: the record stays, and says that it has no SAMS any more
    missing = {"material_id": "triclinic_Fe2P2O7", "site_index": 1, "fms_atoms": SIZES[1]}
    database.site_spectra.delete_one(missing)
    concerned = {"material_id": "triclinic_Fe2P2O7", "fms_atoms": SIZES[1]}
    return gone | set(database.sams.distinct("record_id", concerned))


def spoil(database) -> set[str]:
    _kept.update(database.materials.find_one({"material_id": "rutile_TiO2"}))
    strained = read("rutile_TiO2")
    strained.apply_strain(0.01)
    save_materials(database, [material("rutile_TiO2", strained)], replace=True)
    return names_of(database, "rutile_TiO2")


def mend(database) -> set[str]:
    database.materials.replace_one({"_id": _kept["_id"]}, _kept)
    return names_of(database, "rutile_TiO2")


CASE = Case(
    make=SamsBuilder,
    target="sams",
    key="record_id",
    change=change,
    add=add,
    remove=remove,
    spoil=spoil,
    mend=mend,
    reason="structure_changed",
    bug=("vtc_flows.builders.sams", "sams_records"),
)


def test_the_drill(spectra, monkeypatch):
    drill(CASE, spectra, monkeypatch)
    incomplete = list(spectra.sams.find({"state": "incomplete"}))
    assert [each["failures"][0]["reason"] for each in incomplete] == ["no_spectrum"]
    assert incomplete[0]["sams"] is None
    assert no_orphaned_arrays(spectra)


def no_orphaned_arrays(database) -> bool:
    """Say whether exactly the arrays are there that documents refer to."""
    documents = [*database.jobs.find(), *database.sams.find(), *database.site_spectra.find()]
    return set(references(documents)) == set(database["data.files"].distinct("metadata.blob_uuid"))


def timeless(content):
    if isinstance(content, dict):
        return {key: timeless(value) for key, value in content.items() if key != "created_at"}
    return [timeless(value) for value in content] if isinstance(content, list) else content


def gathered(database) -> dict[str, SamsRecord]:
    """Return the records that the flows' last jobs made."""
    store = job_store(database)
    store.connect()
    found = store.query({"output.@class": "RecordsDoc"}, load=True)
    records = [record for job in found for record in job["output"]["records"]]
    return {record["record_id"]: SamsRecord.model_validate(record) for record in records}


def test_records_are_those_of_the_flows(spectra, monkeypatch):
    monkeypatch.setenv("ANALYTIC_FAIL", "1")
    compute(spectra, "hard", read("triclinic_Fe2P2O7"), "Fe")
    build(SiteSpectraBuilder())
    report = build(SamsBuilder())
    expected = gathered(spectra)
    found = {record.record_id: record for record in load_records(spectra)}
    assert len(found) == len(SIZES) * (len(STRUCTURES) + 1)
    assert report.states == {"complete": 10, "incomplete": 2}
    assert found.keys() == expected.keys()
    for name, record in found.items():
        assert timeless(record.model_dump()) == timeless(expected[name].model_dump())


def test_another_window_needs_no_engine(spectra, analytic):
    build(SamsBuilder())
    stamps = CASE.stamps(spectra)
    given = {"window_ev": [-15.0, 5.0], "fwhm_ev": 1.0, "moment_exponent": 4}
    build(SamsBuilder(**given, query={"fms_atoms": SIZES[1]}))
    new = differing(stamps, CASE.stamps(spectra))
    assert len(new) == len(STRUCTURES)
    assert not analytic.exists()  # it was never called
    expected = compute(spectra, "tenorite_CuO", read("tenorite_CuO"), "Cu", **given)[1]
    (found,) = load_records(spectra, {"record_id": expected.record_id})
    assert timeless(found.model_dump()) == timeless(expected.model_dump())
    with nothing_written(spectra):
        build(SamsBuilder())
        build(SamsBuilder(**given, query={"fms_atoms": SIZES[1]}))


def test_the_default_window_is_the_whole_grid(spectra):
    build(SamsBuilder())
    assert {record.window_ev for record in load_records(spectra)} == {(-30.0, 5.0)}


def test_without_materials_the_spectra_tell_the_structure(spectra):
    spectra.materials.delete_many({})
    report = build(SamsBuilder())
    assert report.states == {"complete": len(SIZES) * len(STRUCTURES)}


def test_a_workflows_record_is_taken_over_unless_it_is_better(spectra):
    records = gathered(spectra)
    for record in records.values():
        save_record(spectra, record)
    spectra.site_spectra.delete_many({"material_id": "triclinic_Fe2P2O7", "site_index": 0})
    report = build(SamsBuilder())
    assert report.states == {"complete": 8, "incomplete": 2}
    assert (report.n_written, report.n_unchanged) == (8, 2)
    assert {record.record_id: record.state for record in load_records(spectra)} == dict.fromkeys(
        records, "complete"
    )
    assert spectra.sams.count_documents({"build.kept": True}) == 2
    assert spectra.sams.count_documents({"build.kept": False}) == 8
    assert no_orphaned_arrays(spectra)
    with nothing_written(spectra):
        build(SamsBuilder())
    # without any of its spectra it is still not ours to remove
    spectra.site_spectra.delete_many({"material_id": "triclinic_Fe2P2O7"})
    build(SamsBuilder())
    assert spectra.sams.count_documents({}) == len(records)


def test_spectra_of_two_structures_are_not_mixed(spectra):
    strained = read("triclinic_Fe2P2O7")
    strained.apply_strain(0.01)
    save_materials(spectra, [material("triclinic_Fe2P2O7", strained)], replace=True)
    compute(spectra, "triclinic_Fe2P2O7", strained, "Fe")
    old = {"output.material_id": "triclinic_Fe2P2O7", "output.site_index": 1}
    spectra.jobs.find_one_and_delete(old, sort=[("completed_at", -1)])
    build(SiteSpectraBuilder())
    build(SamsBuilder(query={"material_id": "triclinic_Fe2P2O7"}))
    for record in load_records(spectra):
        assert (record.state, len(record.sites)) == ("incomplete", 1)
        assert [failure.reason for failure in record.failures] == ["no_spectrum"]


def test_spectra_of_two_builds_of_the_engine_are_not_mixed(spectra):
    other = {"material_id": "triclinic_Fe2P2O7", "site_index": 1, "fms_atoms": SIZES[0]}
    spectra.site_spectra.update_one(other, {"$set": {"provenance.engine.revision": 2}})
    build(SamsBuilder(query={"material_id": "triclinic_Fe2P2O7"}))
    (failed,) = spectra.sams.find({"state": "failed"})
    assert "different engines or builds" in failed["message"]
    assert "revision 2" in failed["message"]
    assert spectra.sams.count_documents({"state": "complete"}) == 1


def test_a_window_that_no_spectrum_holds_is_named(spectra):
    query = {"material_id": "NiO", "fms_atoms": SIZES[0]}
    build(SamsBuilder(window_ev=[-40.0, 5.0], query=query))
    (failed,) = spectra.sams.find({})
    assert "the window -40 ... 5 eV reaches beyond the spectrum's grid" in failed["message"]
    with pytest.raises(InputError, match="window_ev from 5 to -5 eV is empty"):
        SamsBuilder(window_ev=[5.0, -5.0])
