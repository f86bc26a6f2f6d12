from __future__ import annotations

import time

import pytest

from vtc_flows.errors import StorageError
from vtc_flows.schemas import MaterialDoc
from vtc_flows.stores.collections import prepare
from vtc_flows.stores.materials import Imported, load_materials, save_materials


def material(name: str, **changes) -> MaterialDoc:
    content = {
        "material_id": name,
        "formula": "NiO",
        "elements": ["Ni", "O"],
        "n_sites": 2,
        "structure": {"lattice": {}, "sites": []},
        "structure_hash": "0" * 64,
        "source": "somewhere",
        "licence": "CC-BY-4.0",
        "experimental": True,
        "facts": {"spacegroup": 225},
        "package_version": "0",
    }
    return MaterialDoc.model_validate({**content, **changes})


def test_there_and_back_in_the_order_of_ids(database):
    prepare(database)
    some = [material("b"), material("a", n_sites=4)]
    assert save_materials(database, some) == Imported(2, 0, 0)
    assert list(load_materials(database)) == [some[1], some[0]]
    assert [m.material_id for m in load_materials(database, {"n_sites": {"$lte": 2}})] == ["b"]
    assert [m.material_id for m in load_materials(database, limit=1)] == ["a"]


def test_only_what_changed_gets_another_stamp(database):
    prepare(database)
    save_materials(database, [material("a"), material("b")])
    stamps = {m["material_id"]: m["last_updated"] for m in database.materials.find()}
    time.sleep(0.01)
    again = [material("a"), material("b", licence=None), material("c")]
    assert save_materials(database, again) == Imported(1, 1, 1)
    later = {m["material_id"]: m["last_updated"] for m in database.materials.find()}
    assert later["a"] == stamps["a"]
    assert later["b"] > stamps["b"]
    assert database.materials.count_documents({}) == 3


def test_more_than_a_batch(database):
    prepare(database)
    names = [f"m-{number:03d}" for number in range(450)]
    save_materials(database, [material(name) for name in names])
    assert [m.material_id for m in load_materials(database)] == names


def test_a_query_that_is_none(database):
    with pytest.raises(StorageError, match="refuses"):
        list(load_materials(database, {"n_sites": {"$about": 2}}))
