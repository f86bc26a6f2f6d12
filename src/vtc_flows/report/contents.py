"""What a report is about, read from the database: data set, model, compound, strain studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vtc_flows.builders.dataset import current_dataset, table_file
from vtc_flows.builders.models import current_model, list_cards, load_card
from vtc_flows.errors import InputError
from vtc_flows.learn.matrix import LearningData, learning_data
from vtc_flows.learn.model import TrainedModel
from vtc_flows.learn.tables import read_parquet, to_rows
from vtc_flows.schemas import SamsRecord
from vtc_flows.schemas.dataset import DatasetDoc, DatasetRow
from vtc_flows.schemas.exponents import ExponentCurveDoc
from vtc_flows.schemas.models import ModelCard
from vtc_flows.schemas.strain import StrainStudyDoc
from vtc_flows.stores.collections import EXPONENT_CURVES
from vtc_flows.stores.connection import MongoDatabase, database_errors
from vtc_flows.stores.records import load_records
from vtc_flows.stores.studies import load_studies

#: The two elements that the source paper looks at more closely: the hardest, and one of the best.
PAPER_ELEMENTS = ("Sc", "Cu")


@dataclass(frozen=True)
class Wishes:
    """
    What a report is to be about; the usual where nothing is said.

    Attributes
    ----------
    dataset : str, optional
        Name or id of a data set; that of the model, else the one of most rows.
    model : str, optional
        Name or id of a model; the one of most rows, or that of the data set.
    record : str, optional
        Id of the record that is shown; that of the largest SAMS in the data set.
    elements : tuple of str
        Two whose predictions are shown; Sc and Cu, or the first two where these are missing.
    """

    dataset: str | None = None
    model: str | None = None
    record: str | None = None
    elements: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Contents:
    """
    What a report is made of.

    Attributes
    ----------
    dataset : DatasetDoc
    rows : list of DatasetRow
    model : TrainedModel or None
    train, test : LearningData or None
        Parts of the rows as the model sees them.
    compound : SamsRecord or None
    studies : list of StrainStudyDoc
    curve : ExponentCurveDoc or None
    elements : tuple of str
    """

    dataset: DatasetDoc
    rows: list[DatasetRow]
    model: TrainedModel | None
    train: LearningData | None
    test: LearningData | None
    compound: SamsRecord | None
    studies: list[StrainStudyDoc]
    curve: ExponentCurveDoc | None
    elements: tuple[str, ...]


def read_contents(database: MongoDatabase, wishes: Wishes) -> Contents:
    """
    Read what a report is made of.

    Parameters
    ----------
    database : Database
    wishes : Wishes

    Returns
    -------
    Contents
        What the database does not hold is None or empty, but for the data set.

    Raises
    ------
    InputError
        If there is no data set, what is asked for is not there, or model and data set do not
        belong together.
    StorageError
        If the database is away, or a file in it is lost.
    """
    with database_errors(database):
        card, dataset = _model_and_dataset(database, wishes)
        model = None if card is None else current_model(database, card.model_id)
        table, _ = read_parquet(table_file(database, dataset))
        rows = to_rows(table)
        compound = _compound(database, wishes.record, rows)
        studies = load_studies(database, {"engine": dataset.engine, "fms_atoms": dataset.fms_atoms})
        curve = database[EXPONENT_CURVES.name].find_one(
            {"curve_id": dataset.name, "state": "successful"},
            {"_id": 0, "build": 0, "last_updated": 0},
        )
    train, test = (
        (None, None)
        if card is None
        else learning_data(table, card.target, card.train_settings.kind)
    )
    return Contents(
        dataset=dataset,
        rows=rows,
        model=model,
        train=train,
        test=test,
        compound=compound,
        studies=studies,
        curve=None if curve is None else ExponentCurveDoc.model_validate(curve),
        elements=_elements(wishes.elements, rows),
    )


def _model_and_dataset(
    database: MongoDatabase, wishes: Wishes
) -> tuple[ModelCard | None, DatasetDoc]:
    if wishes.model is not None:
        card = load_card(database, wishes.model)
        dataset = current_dataset(database, wishes.dataset or card.dataset.dataset_id)
        if dataset.dataset_id != card.dataset.dataset_id:
            raise InputError(
                f"{card.model_id} was not made from {dataset.dataset_id} but from "
                f"{card.dataset.dataset_id}: leave out --dataset, or train a model from it"
            )
        return card, dataset
    cards = list_cards(database)
    if wishes.dataset is None and cards:
        return cards[0], current_dataset(database, cards[0].dataset.dataset_id)
    dataset = current_dataset(database, wishes.dataset)
    fitting = (each for each in cards if each.dataset.dataset_id == dataset.dataset_id)
    return next(fitting, None), dataset


def _compound(
    database: MongoDatabase, record_id: str | None, rows: Sequence[DatasetRow]
) -> SamsRecord | None:
    """Return the record that is asked for; that of the largest SAMS if none is."""
    wanted = record_id or max(rows, key=lambda row: row.sams).record_id
    found = next(load_records(database, {"record_id": wanted}), None)
    if record_id is not None and (found is None or not found.sites):
        raise InputError(f"no record {record_id} with spectra: vtc screen -o FILE lists the ids")
    return found if found is not None and found.sites else None


def _elements(wanted: tuple[str, ...], rows: Sequence[DatasetRow]) -> tuple[str, ...]:
    there = sorted({row.element for row in rows})
    if wanted:
        if missing := [each for each in wanted if each not in there]:
            raise InputError(f"the data set has no {', '.join(missing)}: it has {', '.join(there)}")
        return wanted
    return PAPER_ELEMENTS if set(PAPER_ELEMENTS) <= set(there) else tuple(there[:2])
