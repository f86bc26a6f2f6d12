"""Strain studies in the database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vtc_flows.schemas import require_same_crystal
from vtc_flows.schemas.strain import StrainStudyDoc
from vtc_flows.stores.collections import STRAIN_STUDIES, utc_stamp
from vtc_flows.stores.connection import MongoDatabase, database_errors
from vtc_flows.stores.crystals import ADVICE, known_crystals


def save_study(database: MongoDatabase, study: StrainStudyDoc) -> None:
    """
    Write a study in place of the one with its id.

    Raises
    ------
    StorageError
        If the database is away or refuses.
    InputError
        If the id of its material is another crystal's.
    """
    name = study.material_id
    require_same_crystal(
        name,
        study.provenance.structure,
        study.provenance.source,
        known_crystals(database, [name]).get(name, ()),
        advice=ADVICE,
    )
    document = {**study.model_dump(mode="json"), "last_updated": utc_stamp()}
    with database_errors(database):
        database[STRAIN_STUDIES.name].replace_one(
            {"study_id": study.study_id}, document, upsert=True
        )


def load_studies(
    database: MongoDatabase, query: Mapping[str, Any] | None = None
) -> list[StrainStudyDoc]:
    """Return studies in the order of their ids; all of them without a query."""
    with database_errors(database):
        found = database[STRAIN_STUDIES.name].find(
            dict(query or {}), {"_id": 0, "last_updated": 0}, sort=[("study_id", 1)]
        )
        return [StrainStudyDoc.model_validate(each) for each in found]
