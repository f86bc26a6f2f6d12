from __future__ import annotations

import campaign as made
import pytest
import trained
from builder_drill import Case, differing, drill, nothing_written

from vtc_flows.builders import FeatureBuilder
from vtc_flows.builders.predictions import PredictionBuilder
from vtc_flows.builders.running import build
from vtc_flows.errors import InputError
from vtc_flows.schemas.models import PredictionDoc
from vtc_flows.stores.collections import prepare, utc_stamp
from vtc_flows.stores.materials import save_materials
from vtc_flows.workflow.prediction import predict_structures

N = len(made.STRUCTURES)
NIO = "NiO-Ni-p8-r12"


@pytest.fixture(scope="module")
def model(mongo_server):
    with pytest.MonkeyPatch.context() as patch:
        return trained.model(mongo_server.uri, patch)


@pytest.fixture
def featured(database, model):
    """Return a database with features and a model."""
    prepare(database)
    save_materials(database, [made.material(name) for name in made.STRUCTURES])
    build(FeatureBuilder())
    trained.store(database, model)
    return database


def put(database, **values) -> set[str]:
    update = {**values, "last_updated": utc_stamp()}
    database.features.update_one({"record_id": NIO}, {"$set": update})
    return {NIO}


def change(database) -> set[str]:
    return put(database, **{"features.density": 3.0})


def add(database) -> set[str]:
    document = database.features.find_one({"record_id": NIO}, {"_id": 0})
    database.features.insert_one({**document, "record_id": "new-Ni-p8-r12", "material_id": "new"})
    return {"new-Ni-p8-r12"}


def remove(database) -> set[str]:
    database.features.delete_one({"record_id": "tenorite_CuO-Cu-p8-r12"})
    return {"tenorite_CuO-Cu-p8-r12"}


def spoil(database) -> set[str]:
    return put(database, **{"features.qams": None})


def mend(database) -> set[str]:
    return put(database, **{"features.qams": 0.0})


CASE = Case(
    make=PredictionBuilder,
    target="predictions",
    key="record_id",
    change=change,
    add=add,
    remove=remove,
    spoil=spoil,
    mend=mend,
    reason="input",
    bug=("vtc_flows.builders.predictions", "_document"),
)


def test_the_drill(featured, monkeypatch):
    drill(CASE, featured, monkeypatch)


def test_documents_are_those_of_the_function(featured, model):
    build(PredictionBuilder(chunk_size=2))
    expected = {
        each.record_id: each.model_dump(mode="json")
        for each in predict_structures([made.read(name) for name in made.STRUCTURES], model)
    }
    by_content = {(each["formula"], each["element"]): each for each in expected.values()}
    documents = CASE.documents(featured)
    assert len(documents) == N
    for document in documents.values():
        own = {key: document[key] for key in PredictionDoc.model_fields}
        bare = by_content[document["formula"], document["element"]]
        named = ("record_id", "material_id")
        assert {**own, **dict.fromkeys(named)} == {**bare, **dict.fromkeys(named)}


def test_a_new_version_of_the_model_replaces_its_predictions(featured, model):
    first = build(PredictionBuilder())
    before = CASE.documents(featured)
    later = trained.store(featured, trained.changed(model, "later"))
    report = build(PredictionBuilder())
    after = CASE.documents(featured)
    assert (first.n_written, report.n_written) == (N, N)
    assert featured.predictions.count_documents({}) == N
    assert {each["model_id"] for each in after.values()} == {later}
    for name, document in after.items():
        assert document["value"] == pytest.approx(1.1 * before[name]["value"])
    with nothing_written(featured):
        build(PredictionBuilder())


def test_models_of_other_names_leave_each_other_alone(featured, model):
    build(PredictionBuilder())
    stamps = CASE.stamps(featured)
    trained.store(featured, trained.changed(model, "other-1", name="other"))
    build(PredictionBuilder(model="other"))
    assert featured.predictions.count_documents({}) == 2 * N
    remove(featured)
    build(PredictionBuilder(model="other"))
    ours = {"model_id": model.card.model_id}
    kept = {each["record_id"]: each["last_updated"] for each in featured.predictions.find(ours)}
    assert kept == stamps
    assert featured.predictions.count_documents({"model_id": "other-1"}) == N - 1


def test_features_of_other_moments_are_not_the_models(featured):
    build(FeatureBuilder(moment_exponent=3))
    build(PredictionBuilder())
    assert featured.predictions.count_documents({}) == N


def test_processes_derive_the_same(featured):
    build(PredictionBuilder(), workers=2)
    pooled = CASE.documents(featured)
    build(PredictionBuilder(rebuild=True))
    assert differing(pooled, CASE.documents(featured)) == set()


def test_without_a_model(database):
    prepare(database)
    with pytest.raises(InputError, match="no model"):
        build(PredictionBuilder())
