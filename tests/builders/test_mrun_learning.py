"""The files of `builders/learning/`, run by maggma's own command."""

from __future__ import annotations

import json
from pathlib import Path

import campaign as made
import pytest
import trained
from builder_drill import nothing_written
from mrun import BUILDERS, FILES, finish, start, unversioned

from vtc_flows.builders import DatasetBuilder, FeatureBuilder
from vtc_flows.builders.models import ModelBuilder, list_cards
from vtc_flows.builders.predictions import PredictionBuilder
from vtc_flows.builders.running import build
from vtc_flows.stores.collections import prepare
from vtc_flows.stores.materials import save_materials

MODELS, PREDICTIONS = sorted((BUILDERS / "learning").glob("*.json"))


def read(file: Path) -> dict:
    (builder,) = json.loads(file.read_text())
    return builder


@pytest.mark.parametrize(
    ("file", "kind"), [(MODELS, ModelBuilder), (PREDICTIONS, PredictionBuilder)]
)
def test_the_files_are_the_builders_with_their_defaults(file, kind):
    assert file not in FILES
    assert read(file) == json.loads(json.dumps(unversioned(kind().as_dict())))


def test_two_processes_make_the_models_and_predictions_of_one(database, tmp_path):
    prepare(database)
    save_materials(database, [made.material(name) for name in made.STRUCTURES])
    database.sams.insert_many([{**each} for each in trained.records()])
    build(DatasetBuilder())
    build(FeatureBuilder())
    quick = tmp_path / "models.json"
    settings = trained.SETTINGS.model_dump(mode="json")
    quick.write_text(json.dumps([{**read(MODELS), "train_settings": settings}]))
    finish(start("-n", 2, quick, PREDICTIONS))
    cards = list_cards(database)
    predictions = {each["record_id"]: each["value"] for each in database.predictions.find()}
    assert {card.dataset.fms_atoms for card in cards} == {30, 80}
    assert len(predictions) == len(made.STRUCTURES)
    with nothing_written(database):
        build(ModelBuilder(train_settings=trained.SETTINGS))
        build(PredictionBuilder())
    build(ModelBuilder(train_settings=trained.SETTINGS, rebuild=True))
    build(PredictionBuilder(rebuild=True))
    assert list_cards(database) == cards
    assert predictions == {each["record_id"]: each["value"] for each in database.predictions.find()}
