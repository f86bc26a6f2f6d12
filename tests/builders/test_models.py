from __future__ import annotations

import json

import pytest
import trained
from builder_drill import nothing_written, touch
from pymongo import ASCENDING

from vtc_flows.builders import DatasetBuilder
from vtc_flows.builders.models import ModelBuilder, current_model, list_cards, load_card
from vtc_flows.builders.running import build
from vtc_flows.errors import InputError, StorageError
from vtc_flows.learn.matrix import feature_matrix
from vtc_flows.schemas import flat_features
from vtc_flows.schemas.models import TrainSettings
from vtc_flows.stores.collections import prepare

QUICK = TrainSettings(n_draws=1, n_folds=2, n_repeats=1, n_trees=(5, 8))


@pytest.fixture
def datasets(database):
    prepare(database)
    database.sams.insert_many([{**each} for each in trained.records()])
    build(DatasetBuilder())
    return database


def builder(**given) -> ModelBuilder:
    return ModelBuilder(train_settings=QUICK, **given)


def test_a_model_for_each_table_and_none_twice(datasets):
    report = build(builder())
    assert report.states == {"successful": 2}
    with nothing_written(datasets):
        assert build(builder()).n_current == 2
    cards = list_cards(datasets)
    assert {card.dataset.fms_atoms for card in cards} == {30, 80}
    assert datasets["models.files"].count_documents({}) == 2
    # trained again it is the same to the last byte
    again = build(builder(rebuild=True, workers=2))
    assert (again.n_written, again.n_unchanged) == (0, 2)
    assert list_cards(datasets) == cards
    indexed = datasets.models.index_information()["key"]
    assert indexed["key"] == [("model_id", ASCENDING)]


def test_versions_stay_for_predictions(datasets):
    build(builder())
    first = {card.dataset.fms_atoms: card for card in list_cards(datasets)}
    one = {"fms_atoms": 30, "material_id": "mp-4210"}
    datasets.sams.update_one(one, {"$set": {"sams": 0.9}})
    touch(datasets.sams, one)
    build(DatasetBuilder())
    assert build(builder()).n_derived == 1
    cards = list_cards(datasets, only_current=False)
    assert len(cards) == 3
    second = load_card(datasets, first[30].name)
    assert second.model_id != first[30].model_id
    assert not load_card(datasets, first[30].model_id).current
    assert current_model(datasets, first[30].model_id).card.dataset == first[30].dataset
    assert load_card(datasets, first[80].name) == first[80]


def test_builders_with_other_settings_leave_each_other_alone(datasets):
    build(builder(query={"fms_atoms": 30}))
    other = QUICK.model_copy(update={"target": "sams_max"})
    build(ModelBuilder(train_settings=other.model_dump(), query={"fms_atoms": 30}))
    cards = list_cards(datasets)
    assert {card.target for card in cards} == {"sams", "sams_max"}
    assert all(card.current for card in cards)
    with nothing_written(datasets):
        build(builder(query={"fms_atoms": 30}))


def test_too_few_rows_are_a_document_that_says_so(datasets):
    datasets.sams.delete_many({"element": {"$nin": ["Ti", "Fe"]}})
    build(DatasetBuilder())
    report = build(builder())
    assert dict(report.failures) == {"input": 2}
    with pytest.raises(InputError, match="no model"):
        load_card(datasets)
    found = datasets.models.find_one({"state": "failed"})
    assert "25 for training" in found["message"]
    # and is gone when there are enough
    datasets.sams.drop()
    datasets.sams.insert_many([{**each} for each in trained.records()])
    build(DatasetBuilder())
    build(builder())
    assert datasets.models.count_documents({"state": "failed"}) == 0
    assert len(list_cards(datasets)) == 2


def test_a_file_that_the_database_changed_is_refused(datasets):
    build(builder(query={"fms_atoms": 30}))
    model = current_model(datasets)
    (record,) = (
        each
        for each in trained.records()
        if (each["material_id"], each["fms_atoms"]) == ("mp-4210", 30)
    )
    rows = feature_matrix([flat_features(record["features"])], model.card.features)
    before = model.predict(rows, [record["element"]]).value
    assert 0.0 <= before[0] < 1.0
    chunk = datasets["models.chunks"].find_one({})
    damaged = bytearray(chunk["data"])
    damaged[len(damaged) // 2] ^= 1
    datasets["models.chunks"].update_one({"_id": chunk["_id"]}, {"$set": {"data": bytes(damaged)}})
    with pytest.raises(StorageError, match="vtc train --rebuild"):
        current_model(datasets)
    datasets["models.chunks"].delete_many({})
    datasets["models.files"].delete_many({})
    with pytest.raises(StorageError, match="lost or changed"):
        current_model(datasets)
    build(builder(query={"fms_atoms": 30}, rebuild=True))
    assert current_model(datasets).predict(rows, [record["element"]]).value == before


def test_a_builder_goes_through_its_serialised_form(datasets):
    described = builder(workers=2).as_dict()
    again = ModelBuilder.from_dict(json.loads(json.dumps(described)))
    assert again.parameters() == QUICK.model_dump(mode="json")
    assert again.workers == 2
