"""From ``features`` and a model to ``predictions``: one for each element of each material."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from maggma.core import Builder, Store
from pymongo import ReplaceOne

from vtc_flows.builders.derived import (
    BuildOptions,
    BuildReport,
    DerivedBuilder,
    Document,
    Group,
    stamp_text,
)
from vtc_flows.builders.places import collection_store
from vtc_flows.errors import InputError
from vtc_flows.schemas import flat_features
from vtc_flows.schemas.dataset import ALL_FEATURES
from vtc_flows.schemas.models import ModelCard, PredictionDoc
from vtc_flows.stores.collections import FEATURES, PREDICTIONS
from vtc_flows.stores.jobs import DatabaseStore, database_of
from vtc_flows.workflow.feature_stream import FeatureRow

if TYPE_CHECKING:
    from vtc_flows.learn.model import TrainedModel

_READ = (
    *("record_id", "material_id", "element", "formula", "prototype", "space_group_number"),
    "features",
)
#: Features that a crystal may lack.
_MAY_BE_NONE = {"en_mean", "en_std"}


class PredictionBuilder(DerivedBuilder):
    """
    Predict the target of a model for all features that were made with its moments.

    The predictions of a later version of the model replace those of the former one, document by
    document; models of other names leave each other alone.

    Parameters
    ----------
    features, predictions : Store, optional
        Those of the database in the settings if not given.
    model : str, optional
        Name or id of the model, in the database of the predictions; the current one of the most
        rows if not given.
    chunk_size : int
        Rows that the model is asked for, and that are written, at a time.
    query, retry_failed, rebuild, span
        See `DerivedBuilder`; the query is for ``features``.
    """

    groups_at_a_time = 1000

    def __init__(
        self,
        features: Store | None = None,
        predictions: DatabaseStore | None = None,
        *,
        model: str | None = None,
        **build: Unpack[BuildOptions],
    ) -> None:
        self.features = features or collection_store(FEATURES)
        self.predictions = predictions or collection_store(PREDICTIONS)
        self.model = model
        self._trained: TrainedModel | None = None
        self._known_card: ModelCard | None = None
        super().__init__([self.features], self.predictions, build)

    def connect(self) -> None:
        """Connect the stores and load the model; a document is known by features and model."""
        from vtc_flows.builders.models import current_model  # takes scikit-learn; others need none

        Builder.connect(self)  # type: ignore[no-untyped-call]
        fields = [(field, 1) for field in PREDICTIONS.key]
        self.predictions._collection.create_index(fields, name="key", unique=True)
        self.report = BuildReport()
        self._trained = current_model(database_of(self.predictions), self.model)
        self._known_card = self._trained.card

    def parameters(self) -> dict[str, Any]:
        """Return the model's name; its version is a member of each group."""
        return {"model": self._card.name}

    def list_groups(self, query: Mapping[str, Any]) -> Iterator[Group]:
        """Yield the features that were made with the model's moments."""
        card = self._card
        moments = card.dataset.sams_settings
        ours = {
            "state": "successful",
            "moment_exponent": moments.moment_exponent,
            "moment_cutoff_angstrom": moments.moment_cutoff_angstrom,
        }
        wanted = {"$and": [ours, dict(query)]}
        for found in self.features.query(wanted, ["record_id", "last_updated"]):
            stamp = stamp_text(found.get("last_updated"))
            yield Group(
                found["record_id"], {found["record_id"]: stamp, card.model_id: card.file.sha256}
            )

    def read(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Return features with what the model says of them, asked once for all."""
        from vtc_flows.workflow.prediction import predict_rows

        wanted = {"record_id": {"$in": [group.name for group in groups]}}
        found = list(self.features.query(wanted, list(_READ)))
        lacking = {each["record_id"]: _lacking(each, self._card.features) for each in found}
        rows = [_row(each) for each in found if not lacking[each["record_id"]]]
        predictions = predict_rows(rows, self._model)
        said = {each.record_id: each for each in predictions}
        model_id = self._card.model_id
        return {
            each["record_id"]: {
                "features": each,
                "prediction": said.get(each["record_id"]),
                "model_id": model_id,
                "lacking": lacking[each["record_id"]],
            }
            for each in found
        }

    def derive(self, content: Document) -> list[Document]:
        """Return the prediction, or say which features are missing."""
        prediction: PredictionDoc | None = content["prediction"]
        if prediction is None:
            name, lacking = content["features"]["record_id"], content["lacking"]
            raise InputError(f"{name} has no {', '.join(lacking)}")
        return [_document(prediction)]

    def failed_document(self, name: str, content: Document) -> Document:
        """Return the name of features that nothing can be predicted from."""
        named = {key: content["features"][key] for key in ("record_id", "material_id", "element")}
        return {**named, "model_id": content["model_id"]}

    def write(self, documents: list[Document]) -> None:
        """Write predictions in the place of those of the same name's other versions."""
        self.predictions._collection.bulk_write(
            [
                ReplaceOne({"record_id": each["record_id"], **self._own()}, each, upsert=True)
                for each in documents
            ],
            ordered=False,
        )

    @property
    def _model(self) -> TrainedModel:
        if self._trained is None:
            raise InputError("the builder is not connected: it has no model yet")
        return self._trained

    @property
    def _card(self) -> ModelCard:
        if self._known_card is None:  # a process that derives: its copy was made from the arguments
            from vtc_flows.builders.models import load_card

            self.predictions.connect()
            self._known_card = load_card(database_of(self.predictions), self.model)
        return self._known_card


def _document(prediction: PredictionDoc) -> Document:
    return prediction.model_dump(mode="json")


def _lacking(document: Document, names: Sequence[str]) -> list[str]:
    """Return the features that are no numbers where they have to be."""
    features = flat_features(document.get("features") or {})
    return [name for name in names if not _is_good(name, features.get(name))]


def _is_good(name: str, value: Any) -> bool:
    if value is None:
        return name in _MAY_BE_NONE
    return isinstance(value, int | float) and math.isfinite(value)


def _row(document: Document) -> FeatureRow:
    known = {name: document[name] for name in _READ if name != "features"}
    features = flat_features(document["features"])
    return FeatureRow(
        **known, features={name: features[name] for name in ALL_FEATURES if name in features}
    )
