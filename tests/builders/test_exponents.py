from __future__ import annotations

import numpy as np
import pytest
from builder_drill import Case, drill, touch
from campaign import SIZES, compute, read

from vtc_flows.builders import (
    DatasetBuilder,
    ExponentBuilder,
    ExponentCurveBuilder,
    SamsBuilder,
    SiteSpectraBuilder,
)
from vtc_flows.builders.running import build
from vtc_flows.learn.ranks import spearman
from vtc_flows.schemas.exponents import ExponentCurveDoc
from vtc_flows.stores.records import load_records

ONE_SIZE = {"fms_atoms": SIZES[0]}
_lost: list[dict] = []


@pytest.fixture
def records(derived_before):
    return derived_before("DatasetBuilder")


@pytest.fixture
def scanned(derived_before):
    database = derived_before("ExponentCurveBuilder")
    database.datasets.delete_many({})
    # rows by themselves: with so few of them, larger groups would leave too few for training
    build(DatasetBuilder(group_by="record"))
    return database


def one_record(database) -> dict:
    return database.sams.find_one({"material_id": "rutile_TiO2", **ONE_SIZE})


def change(database) -> set[str]:
    one = {"material_id": "NiO", **ONE_SIZE}
    database.sams.update_one(one, {"$set": {"sams_max": 0.5}})
    touch(database.sams, one)
    return set(database.sams.distinct("record_id", one))


def add(database) -> set[str]:
    records = compute(database, "added", read("NiO"), "Ni")
    build(SiteSpectraBuilder())
    build(SamsBuilder(query={"material_id": "added"}))
    return {record.record_id for record in records}


def remove(database) -> set[str]:
    gone = set(database.sams.distinct("record_id", {"material_id": "tenorite_CuO"}))
    database.sams.delete_many({"material_id": "tenorite_CuO"})
    return gone


def spoil(database) -> set[str]:
    one = one_record(database)
    name = one["sites"][0]["tensor"]["blob_uuid"]
    _lost[:] = [database["data.files"].find_one_and_delete({"metadata.blob_uuid": name})]
    touch(database.sams, {"_id": one["_id"]})
    return {one["record_id"]}


def mend(database) -> set[str]:
    database["data.files"].insert_many(_lost)
    one = one_record(database)
    touch(database.sams, {"_id": one["_id"]})
    return {one["record_id"]}


SCANS = Case(
    make=ExponentBuilder,
    target="exponents",
    key="record_id",
    change=change,
    add=add,
    remove=remove,
    spoil=spoil,
    mend=mend,
    reason="storage",
    bug=("vtc_flows.builders.exponents", "scan_exponents"),
)


def test_the_drill_of_scans(records, monkeypatch):
    drill(SCANS, records, monkeypatch)


def curves(database, fms_atoms: int) -> set[str]:
    return set(database.datasets.distinct("name", {"fms_atoms": fms_atoms}))


def trained(database) -> dict:
    """Return a query for scans of the training part: those the curve was made from."""
    (name,) = curves(database, SIZES[0])
    curve = database.exponent_curves.find_one({"curve_id": name})
    members = [each["id"] for each in curve["build"]["members"]]
    return {"record_id": {"$in": members}}


def change_scan(database) -> set[str]:
    one = database.exponents.find_one(trained(database))
    database.exponents.update_one({"_id": one["_id"]}, {"$set": {"sams": [0.9] * 14}})
    touch(database.exponents, {"_id": one["_id"]})
    return curves(database, SIZES[0])


def add_dataset(database) -> set[str]:
    build(DatasetBuilder(group_by="record", seed=1))
    return {name for name in database.datasets.distinct("name") if name.endswith("s1")}


def remove_dataset(database) -> set[str]:
    gone = curves(database, SIZES[1])
    database.datasets.delete_many({"fms_atoms": SIZES[1]})
    return gone


def spoil_scans(database) -> set[str]:
    database.exponents.update_many(ONE_SIZE, {"$set": {"state": "failed"}})
    touch(database.exponents, ONE_SIZE)
    return curves(database, SIZES[0])


def mend_scans(database) -> set[str]:
    database.exponents.update_many(ONE_SIZE, {"$set": {"state": "successful"}})
    touch(database.exponents, ONE_SIZE)
    return curves(database, SIZES[0])


CURVES = Case(
    make=ExponentCurveBuilder,
    target="exponent_curves",
    key="curve_id",
    change=change_scan,
    add=add_dataset,
    remove=remove_dataset,
    spoil=spoil_scans,
    mend=mend_scans,
    reason="input",
    bug=("vtc_flows.builders.exponents", "exponent_curve"),
)


def test_the_drill_of_curves(scanned, monkeypatch):
    drill(CURVES, scanned, monkeypatch)


def test_at_its_own_exponent_a_record_is_met_again(records):
    build(ExponentBuilder())
    found = {record.record_id: record for record in load_records(records)}
    assert records.exponents.count_documents({"state": "successful"}) == len(found)
    for scan in records.exponents.find():
        record = found[scan["record_id"]]
        at = scan["exponents"].index(record.sams_settings.moment_exponent)
        assert scan["sams"][at] == pytest.approx(record.sams, rel=1e-9, abs=1e-12)
        for name in ("qams", "dams", "iams"):
            assert scan[name][at] == pytest.approx(getattr(record.features, name), rel=1e-12)
        assert max(scan["sams"]) <= record.sams_max * (1 + 1e-6) + 1e-12


def test_a_record_with_another_exponent_is_met_too(records):
    build(ExponentBuilder())
    build(SamsBuilder(moment_exponent=3))
    for record in load_records(records, {"sams_settings.moment_exponent": 3, **ONE_SIZE}):
        same = {"material_id": record.material_id, **ONE_SIZE}
        scan = records.exponents.find_one(same)
        assert scan["sams"][2] == pytest.approx(record.sams, rel=1e-9, abs=1e-12)
        assert scan["qams"][2] == pytest.approx(record.features.qams, rel=1e-12)


def test_the_curve_is_of_the_training_part_alone(scanned):
    build(ExponentCurveBuilder())
    (name,) = curves(scanned, SIZES[0])
    document = scanned.exponent_curves.find_one({"curve_id": name}, {"_id": 0})
    dataset = scanned.datasets.find_one({"name": name})
    members = {each["id"] for each in document.pop("build")["members"]}
    del document["last_updated"]
    curve = ExponentCurveDoc.model_validate(document)
    assert curve.n_rows == dataset["parts"]["train"] == len(members) - 1
    scans = list(scanned.exponents.find({"record_id": {"$in": list(members)}}))
    for at, rho in enumerate(curve.qams_sams.rho):
        expected = spearman([s["qams"][at] for s in scans], [s["sams"][at] for s in scans])
        assert rho == pytest.approx(expected)
    best = np.flatnonzero(np.isclose(curve.qams_sams.rho, max(curve.qams_sams.rho)))[0]
    assert curve.best_exponent == curve.exponents[best]
    assert curve.best_exponent in curve.as_good
    assert set(curve.n_by_element.values()) == {1}
    assert set(curve.by_element["Ni"]) == {None}
