from __future__ import annotations

import pytest
from pymongo.errors import DuplicateKeyError

from vtc_flows.builders import FeatureBuilder
from vtc_flows.stores.collections import ALL, prepare, utc_stamp


def test_indexes_are_made_once_and_named(database):
    prepare(database)
    first = {plan.name: database[plan.name].index_information() for plan in ALL}
    prepare(database)
    assert {plan.name: database[plan.name].index_information() for plan in ALL} == first
    assert first["sams"]["key"]["unique"]
    assert first["sams"]["material_id"]["key"] == [("material_id", 1)]
    assert first["jobs"]["key"]["key"] == [("uuid", 1), ("index", 1)]
    assert "metadata_blob_uuid" in first["data.files"]


@pytest.mark.parametrize("plan", [plan for plan in ALL if plan.key != ("_id",)])
def test_a_key_is_there_once(database, plan):
    prepare(database)
    document = dict.fromkeys(plan.key, "x")
    database[plan.name].insert_one({**document})
    with pytest.raises(DuplicateKeyError):
        database[plan.name].insert_one({**document})


def test_indexes_that_a_builder_made_first_are_left_as_they_are(database):
    FeatureBuilder().connect()
    made = set(database.features.index_information())
    assert {"record_id_1", "build.group_1"} <= made
    prepare(database)
    assert made < set(database.features.index_information())
    database.features.insert_one({"record_id": "one"})
    with pytest.raises(DuplicateKeyError):
        database.features.insert_one({"record_id": "one"})


def test_a_stamp_comes_back_as_it_went(database):
    stamp = utc_stamp()
    database.things.insert_one({"stamp": stamp})
    assert database.things.find_one()["stamp"] == stamp
