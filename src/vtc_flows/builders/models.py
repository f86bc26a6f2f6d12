"""From ``datasets`` to ``models``: a trained model for each table, with a card; its file apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from gridfs import GridFS, GridOut
from gridfs.errors import CorruptGridFile

from vtc_flows.builders.dataset import table_file
from vtc_flows.builders.derived import (
    FAILED,
    BuildOptions,
    DerivedBuilder,
    Document,
    Group,
    Made,
)
from vtc_flows.builders.places import collection_store
from vtc_flows.errors import InputError, StorageError
from vtc_flows.learn.model import TrainedModel, model_bytes, read_model
from vtc_flows.learn.tables import read_parquet
from vtc_flows.learn.training import (
    REVISION,
    Listener,
    dataset_reference,
    model_name,
    train_model,
)
from vtc_flows.schemas.dataset import DatasetDoc
from vtc_flows.schemas.models import ModelCard, TrainSettings
from vtc_flows.stores.collections import DATASETS, MODELS
from vtc_flows.stores.connection import MongoDatabase
from vtc_flows.stores.jobs import DatabaseStore, database_of

#: Where the files of models are, apart from the arrays of jobs and the tables.
BUCKET = "models"

_OWN = {"_id": 0, "build": 0, "last_updated": 0}
_SUPERSEDED = "superseded"

#: Carries the file from where it is made to where it is written.
_FILE = "_file"


class ModelBuilder(DerivedBuilder):
    """
    Train a model for each current table.

    A model is trained again where its table, its settings or the code changed. It has a version:
    one that changed is a new document with a new file, and the former ones stay, as predictions
    name them.

    Parameters
    ----------
    datasets, models : Store, optional
        Those of the database in the settings if not given. Files are read from, and go to, the
        databases of these.
    train_settings : TrainSettings or mapping, optional
    workers : int
        Threads that train; the model does not depend on them.
    cache_folder : str, optional
        Keeps the scores of searches, so that one that was cut off goes on from there.
    **build
        See `BuildOptions`; the query is for ``datasets``.
    """

    revision = REVISION
    groups_at_a_time = 1

    #: Told how far the training of a model is.
    listener: Listener | None = None

    def __init__(
        self,
        datasets: DatabaseStore | None = None,
        models: DatabaseStore | None = None,
        *,
        train_settings: TrainSettings | Mapping[str, Any] | None = None,
        workers: int = 1,
        cache_folder: str | None = None,
        **build: Unpack[BuildOptions],
    ) -> None:
        self.datasets = datasets or collection_store(DATASETS)
        self.models = models or collection_store(MODELS)
        self._settings = TrainSettings.model_validate(train_settings or {})
        self.train_settings = self._settings.model_dump(mode="json")
        self.workers = workers
        self.cache_folder = cache_folder
        super().__init__([self.datasets], self.models, build)

    def parameters(self) -> dict[str, Any]:
        """Return how models are trained."""
        return dict(self.train_settings)

    def list_groups(self, query: Mapping[str, Any]) -> Iterator[Group]:
        """Yield the current tables, each with the digest of its file."""
        good = {"current": True, "state": "successful"}
        for found in self.datasets.query(
            {"$and": [good, dict(query)]}, ["dataset_id", "name", "table.sha256"]
        ):
            yield Group(found["name"], {found["dataset_id"]: found["table"]["sha256"]})

    def read(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Return the files of tables."""
        contents = {}
        for group in groups:
            (name,) = group.members
            found = self.datasets.query_one({"dataset_id": name})
            if found is None:
                continue
            own = {key: value for key, value in found.items() if key not in _OWN}
            dataset = DatasetDoc.model_validate(own)
            contents[group.name] = table_file(database_of(self.datasets), dataset)
        return contents

    def derive(self, content: bytes) -> list[Document]:
        """Train a model."""
        table, card = read_parquet(content)
        dataset = dataset_reference(card, content)
        cache = None
        if self.cache_folder is not None:
            cache = Path(self.cache_folder) / f"search-{dataset.sha256[:16]}.jsonl"
        model = train_model(
            table,
            dataset,
            self._settings,
            listener=self.listener,
            workers=self.workers,
            cache=cache,
        )
        finished_card, file = finished(model)
        return [{**finished_card.model_dump(mode="json"), _FILE: file.hex()}]

    def failed_document(self, name: str, content: Any) -> Document:
        """Return the name of a model that has no version."""
        ours = model_name(name, self._settings)
        return {"model_id": f"{ours}-none", "name": ours, "current": True}

    def update_targets(self, items: Sequence[Made]) -> None:
        """Write the models' files, also where only these were lost, then what refers to them."""
        blobs = GridFS(database_of(self.models), BUCKET)
        for document in (one for made in items for one in made.documents if _FILE in one):
            _put(blobs, document["file"], bytes.fromhex(document.pop(_FILE)))
        super().update_targets(items)

    def remove(self, names: list[str]) -> int:
        """Mark versions as replaced: they stay, but for what holds no model."""
        these = {"model_id": {"$in": names}, **self._own()}
        n_failed = self.models.count({**these, "state": FAILED})
        self.models.remove_docs({**these, "state": FAILED})
        self.models._collection.update_many(
            these, {"$set": {"current": False, "build.builder": _SUPERSEDED}}
        )
        return n_failed


def _put(blobs: GridFS, file: Mapping[str, Any], content: bytes) -> None:
    """Write a file unless it is there as it should be."""
    name, digest = file["file_name"], file["sha256"]
    older = list(blobs.find({"filename": name}))
    if older and hashlib.sha256(_read(older[-1])).hexdigest() == digest:
        return
    blobs.put(content, filename=name, metadata={"sha256": digest})
    for one in older:
        blobs.delete(one._id)


def _read(file: GridOut | None) -> bytes:
    """Return a file's content, none where it is missing or in parts that do not fit."""
    try:
        return b"" if file is None else file.read()
    except CorruptGridFile:
        return b""


def finished(model: TrainedModel) -> tuple[ModelCard, bytes]:
    """Return the card of a model that knows its file, and the file."""
    content = model_bytes(model)
    digest = hashlib.sha256(content).hexdigest()
    file = model.card.file.model_copy(update={"n_bytes": len(content), "sha256": digest})
    return model.card.model_copy(update={"file": file}), content


def load_card(database: MongoDatabase, name: str | None = None) -> ModelCard:
    """
    Return the card of a model.

    Parameters
    ----------
    database : Database
    name : str, optional
        Of the model, then the current version, or of a version; if not given, the current one of
        the most rows, and of these the latest.

    Raises
    ------
    InputError
        If there is none.
    """
    wanted: dict[str, Any] = {"current": True}
    if name is not None:
        wanted = {"$or": [{"name": name, "current": True}, {"model_id": name}]}
    found = database[MODELS.name].find_one(
        {**wanted, "state": "successful"},
        _OWN,
        sort=[("dataset.n_rows", -1), ("last_updated", -1), ("model_id", 1)],
    )
    if found is None:
        good = {"state": "successful"}
        known = ", ".join(sorted(database[MODELS.name].distinct("name", good))) or "none"
        raise InputError(f"no model {name or ''} (there are: {known}): vtc train")
    return ModelCard.model_validate(found)


def list_cards(database: MongoDatabase, *, only_current: bool = True) -> list[ModelCard]:
    """Return the cards of all models, those of most rows first."""
    wanted: dict[str, Any] = {"state": "successful"}
    if only_current:
        wanted["current"] = True
    order = [("dataset.n_rows", -1), ("name", 1), ("current", -1), ("model_id", 1)]
    return [
        ModelCard.model_validate(found)
        for found in database[MODELS.name].find(wanted, _OWN, sort=order)
    ]


def model_content(database: MongoDatabase, card: ModelCard) -> bytes:
    """
    Return the file of a model.

    Raises
    ------
    StorageError
        If it is missing, or not the one that was written.
    """
    file = GridFS(database, BUCKET).find_one({"filename": card.file.file_name})
    content = _read(file)
    if hashlib.sha256(content).hexdigest() != card.file.sha256:
        raise StorageError(
            f"the database has lost or changed {card.file.file_name}: vtc train --rebuild"
        )
    return content


def current_model(database: MongoDatabase, name: str | None = None) -> TrainedModel:
    """
    Return a model of the database, ready to predict.

    Parameters
    ----------
    database : Database
    name : str, optional
        See `load_card`.

    Raises
    ------
    InputError
        If there is none, or it cannot be read by the versions here.
    StorageError
        If its file is missing, or not the one that was written.
    """
    card = load_card(database, name)
    model = read_model(model_content(database, card))
    return replace(model, card=card)
