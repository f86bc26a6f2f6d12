"""Strain studies in the database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vtc_flows.schemas.strain import StrainStudyDoc
from vtc_flows.stores.collections import STRAIN_STUDIES, utc_stamp
from vtc_flows.stores.connection import MongoDatabase, database_errors


def save_study(database: MongoDatabase, study: StrainStudyDoc) -> None:
    """
    Write a study in place of the one with its id.

    Raises
    ------
    StorageError
        If the database is away or refuses.
    """
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
