"""A small model of the campaign's records, made as users make theirs; and crystals to predict."""

from __future__ import annotations

import gzip
import json
from functools import cache
import warnings
from pathlib import Path
from typing import Any

from vtc_flows.builders import DatasetBuilder
from vtc_flows.builders.dataset import current_dataset, table_file
from vtc_flows.builders.running import build
from vtc_flows.learn.model import TrainedModel, model_bytes
from vtc_flows.learn.tables import read_parquet
from vtc_flows.learn.training import dataset_reference, train_model
from vtc_flows.schemas.models import TrainSettings
from vtc_flows.stores.collections import prepare

DATA = Path(__file__).parents[1] / "data"
SETTINGS = TrainSettings(n_draws=1, n_folds=2, n_repeats=2)


@cache
def records() -> tuple[dict[str, Any], ...]:
    """Return the complete records of 60 crystals, without their sites."""
    with gzip.open(DATA / "campaign" / "records.jsonl.gz", "rt") as lines:
        found = [json.loads(line) for line in lines]
    return tuple({**each, "sites": []} for each in found if each["state"] == "complete")


def train(database: Any) -> TrainedModel:
    """Train a model of the records with 30 atoms; needs an empty database."""
    prepare(database)
    database.sams.insert_many([{**each} for each in records() if each["fms_atoms"] == 30])
    build(DatasetBuilder())
    content = table_file(database, current_dataset(database))
    table, card = read_parquet(content)
    return train_model(table, dataset_reference(card, content), SETTINGS)


def write(model: TrainedModel, path: Path) -> Path:
    """Write a model as its users have it."""
    path.write_bytes(model_bytes(model))
    return path
