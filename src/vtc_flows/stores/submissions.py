"""
Who submits what: a claim for each record, so that nothing is submitted twice.

The unique key of the collection decides, also between submitters at the same time. A claim is made
before its workflow is added and confirmed after that; one that was never confirmed belongs to a
submitter that died, and after a while another one takes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal

from pymongo.errors import BulkWriteError

from vtc_flows.stores.collections import SUBMISSIONS, utc_stamp
from vtc_flows.stores.connection import MongoDatabase, database_errors

#: What becomes of a claim: it is ours, somebody has it for the same crystal, or for another one.
Decision = Literal["ours", "there", "other crystal"]

_DUPLICATE = 11000
_UNCONFIRMED = timedelta(minutes=10)


@dataclass(frozen=True)
class Claim:
    """One record that is to be made: what decides its numbers, and of which crystal."""

    material_id: str
    element: str
    engine: str
    fms_atoms: int
    settings_hash: str
    structure_hash: str
    revision: int = 1
    source: str = ""

    @property
    def key(self) -> str:
        """
        What is claimed; the crystal itself is compared and does not belong to it.

        The engine's revision does: what an older one was to compute is not done. Claims of the
        first revision are called as they were when there was no other.
        """
        name = (
            f"{self.material_id}|{self.element}|{self.engine}|{self.fms_atoms}|{self.settings_hash}"
        )
        return name if self.revision == 1 else f"{name}|revision {self.revision}"


def make_claims(
    database: MongoDatabase, claims: Sequence[Claim], submission: str
) -> dict[Claim, Decision]:
    """
    Claim records for a submission.

    Parameters
    ----------
    database : Database
    claims : sequence of Claim
    submission : str
        Name of the submission, its own.

    Raises
    ------
    StorageError
        If the database is away or refuses.
    """
    collection = database[SUBMISSIONS.name]
    now = utc_stamp()
    documents = [
        {
            "claim": claim.key,
            **asdict(claim),
            "state": "claimed",
            "submission": submission,
            "claimed_at": now,
        }
        for claim in claims
    ]
    with database_errors(database):
        try:
            if documents:
                collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if any(each["code"] != _DUPLICATE for each in error.details["writeErrors"]):
                raise
        abandoned = {
            "claim": {"$in": [claim.key for claim in claims]},
            "state": "claimed",
            "submission": {"$ne": submission},
            "claimed_at": {"$lt": now - _UNCONFIRMED},
        }
        for each in collection.find(abandoned):
            _settle(database, each, submission)
        found = {
            each["claim"]: each
            for each in collection.find({"claim": {"$in": [claim.key for claim in claims]}})
        }
    return {
        claim: "ours"
        if found[claim.key]["submission"] == submission
        else "there"
        if found[claim.key]["structure_hash"] == claim.structure_hash
        else "other crystal"
        for claim in claims
    }


def confirm_claims(database: MongoDatabase, claims: Iterable[Claim], submission: str) -> None:
    """
    Say that the workflows of claims are there.

    Raises
    ------
    StorageError
        If the database is away or refuses.
    """
    with database_errors(database):
        database[SUBMISSIONS.name].update_many(
            {"claim": {"$in": [claim.key for claim in claims]}, "submission": submission},
            {"$set": {"state": "submitted", "submitted_at": utc_stamp()}},
        )


def withdraw_claims(database: MongoDatabase, claims: Iterable[Claim]) -> None:
    """
    Take claims back, whoever made them, so that their records can be submitted anew.

    Raises
    ------
    StorageError
        If the database is away or refuses.
    """
    with database_errors(database):
        database[SUBMISSIONS.name].delete_many({"claim": {"$in": [claim.key for claim in claims]}})


def _settle(database: MongoDatabase, claim: Mapping[str, Any], submission: str) -> None:
    """Confirm a claim whose workflow is there, or take it, without what was begun of one."""
    collection = database[SUBMISSIONS.name]
    same = {"claim": claim["claim"], "submission": claim["submission"], "state": "claimed"}
    for workflow in database.workflows.find(
        {"metadata.claims": claim["claim"], "metadata.submission": claim["submission"]},
        {"nodes": 1},
    ):
        nodes = {"fw_id": {"$in": workflow["nodes"]}}
        if database.fireworks.count_documents(nodes) == len(workflow["nodes"]):
            collection.update_one(
                same, {"$set": {"state": "submitted", "submitted_at": utc_stamp()}}
            )
            return
        database.fireworks.delete_many(nodes)
        database.workflows.delete_one({"_id": workflow["_id"]})
    collection.update_one(same, {"$set": {"submission": submission, "claimed_at": utc_stamp()}})
