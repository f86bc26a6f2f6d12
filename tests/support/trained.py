"""A small model of the campaign's records, made as users make theirs, and kept as they keep it."""

from __future__ import annotations

import gzip
import json
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from gridfs import GridFS
from pymongo import MongoClient

from vtc_flows.builders import DatasetBuilder
from vtc_flows.builders.dataset import current_dataset, table_file
from vtc_flows.builders.models import BUCKET, finished
from vtc_flows.builders.running import build
from vtc_flows.learn.model import TrainedModel
from vtc_flows.learn.tables import read_parquet
from vtc_flows.learn.training import dataset_reference, train_model
from vtc_flows.schemas.models import TrainSettings
from vtc_flows.stores.collections import prepare, utc_stamp

DATA = Path(__file__).parents[1] / "data"
SETTINGS = TrainSettings(kind="paper", n_draws=1, n_folds=2, n_repeats=2, n_trees=(8, 12))


@cache
def records() -> tuple[dict[str, Any], ...]:
    """Return the complete records of 60 crystals, without their sites."""
    with gzip.open(DATA / "campaign" / "records.jsonl.gz", "rt") as lines:
        found = [json.loads(line) for line in lines]
    return tuple({**each, "sites": []} for each in found if each["state"] == "complete")


_made: list[TrainedModel] = []


def model(uri: str, monkeypatch: Any) -> TrainedModel:
    """Return a model of the records with 30 atoms; trained once for all tests."""
    if not _made:
        monkeypatch.setenv("VTC_DATABASE_URI", uri)
        monkeypatch.setenv("VTC_DATABASE_NAME", "test_trained")
        with MongoClient(uri) as client, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, of so few rows
            database = client["test_trained"]
            prepare(database)
            database.sams.insert_many([{**each} for each in records() if each["fms_atoms"] == 30])
            build(DatasetBuilder())
            content = table_file(database, current_dataset(database))
            client.drop_database(database.name)
            table, card = read_parquet(content)
            _made.append(train_model(table, dataset_reference(card, content), SETTINGS))
    return _made[0]


def write(model: TrainedModel, path: Path) -> Path:
    """Write a model as `vtc models export` does."""
    path.write_bytes(finished(model)[1])
    return path


def store(database: Any, model: TrainedModel) -> str:
    """Put a model into a database in the place of former versions; return its id."""
    card, content = finished(model)
    name, digest = card.file.file_name, card.file.sha256
    GridFS(database, BUCKET).put(content, filename=name, metadata={"sha256": digest})
    database.models.update_many({"name": card.name}, {"$set": {"current": False}})
    database.models.insert_one({**card.model_dump(mode="json"), "last_updated": utc_stamp()})
    return card.model_id


def changed(model: TrainedModel, model_id: str, factor: float = 1.1, **card: Any) -> TrainedModel:
    """Return a model that predicts otherwise, as a later version does."""
    file = model.card.file.model_copy(update={"file_name": f"{model_id}.skops"})
    new = model.card.model_copy(update={"model_id": model_id, "file": file, **card})
    return replace(model, card=new, forest=replace(model.forest, value=factor * model.forest.value))
