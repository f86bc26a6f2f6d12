"""How far a campaign is: counts, failures by reason, throughput, what may be tried again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fireworks import LaunchPad

from vtc_flows.feff.registry import BUILT_IN, current_revision
from vtc_flows.stores.collections import JOBS, SAMS
from vtc_flows.stores.connection import MongoDatabase, database_errors
from vtc_flows.workflow.lost import count_lost
from vtc_flows.workflow.submission import RECORDS

#: The reason of a site whose job ended with an error that nobody foresaw.
JOB_FAILED = "job_failed"

_RECENT = timedelta(hours=1)
_TO_DO = ("READY", "WAITING", "RESERVED", "RUNNING", "PAUSED")


@dataclass(frozen=True)
class Status:
    """
    A campaign at a moment.

    Attributes
    ----------
    at : datetime
        UTC.
    sites, records : dict of str to int
        Jobs of either kind by FireWorks' state.
    failures : dict of str to int
        Failed sites by reason.
    results : dict of str to int
        Records in the database by state.
    outdated : int
        Records made by an older revision of the engine than the one that is here.
    lost : int
        Jobs whose workers have been silent for too long.
    recent_sites : int
        Site jobs that ended within the last hour, or since the first one did.
    per_hour : float
        At that rate.
    eta_s : float or None
        Seconds until all sites are done; None without a rate.
    """

    at: datetime
    sites: dict[str, int]
    records: dict[str, int]
    failures: dict[str, int]
    results: dict[str, int]
    outdated: int
    lost: int
    recent_sites: int
    per_hour: float
    eta_s: float | None = field(default=None)

    @property
    def is_over(self) -> bool:
        """Say whether nothing is left to do."""
        return not any(
            states.get(state) for states in (self.sites, self.records) for state in _TO_DO
        )


def campaign_status(launchpad: LaunchPad, database: MongoDatabase) -> Status:
    """
    Return how far everything in the launchpad is.

    Raises
    ------
    StorageError
        If the database is away or refuses.
    """
    now = datetime.now(UTC)
    with database_errors(database):
        sites, records = _states(database)
        recent, hours = _recent_sites(database, now)
        rate = recent / hours if hours else 0.0
        left = sum(sites.get(state, 0) for state in _TO_DO)
        return Status(
            at=now,
            sites=sites,
            records=records,
            failures=_failures(database, sites.get("FIZZLED", 0)),
            results=_count(database, SAMS.name, "$state"),
            outdated=_count_outdated(database),
            lost=count_lost(launchpad),
            recent_sites=recent,
            per_hour=rate,
            eta_s=3600 * left / rate if rate else None,
        )


def retry(
    launchpad: LaunchPad, database: MongoDatabase, reasons: Collection[str] = ()
) -> Counter[str]:
    """
    Let failed sites be run again, and then the records made of them.

    Parameters
    ----------
    launchpad : LaunchPad
    database : Database
    reasons : collection of str
        Codes of failures; every one if empty.

    Returns
    -------
    Counter
        How many by reason.

    Raises
    ------
    StorageError
        If the database is away or refuses.
    """
    done: Counter[str] = Counter()
    with database_errors(database):
        for reason, fw_id in _failed(database):
            if not reasons or reason in reasons:
                launchpad.rerun_fw(fw_id)
                done[reason] += 1
    return done


def _states(database: MongoDatabase) -> tuple[dict[str, int], dict[str, int]]:
    is_record = {"$eq": ["$spec._category", RECORDS]}
    counted = database.fireworks.aggregate(
        [{"$group": {"_id": {"state": "$state", "record": is_record}, "n": {"$sum": 1}}}]
    )
    sites: dict[str, int] = {}
    records: dict[str, int] = {}
    for each in counted:
        kind = records if each["_id"]["record"] else sites
        kind[each["_id"]["state"]] = each["n"]
    return sites, records


def _count(database: MongoDatabase, name: str, what: str) -> dict[str, int]:
    counted = database[name].aggregate([{"$group": {"_id": what, "n": {"$sum": 1}}}])
    return {str(each["_id"]): each["n"] for each in counted}


def _count_outdated(database: MongoDatabase) -> int:
    """Return how many records an older revision of one of our engines made."""
    return sum(
        database[SAMS.name].count_documents(
            {
                "provenance.engine.name": name,
                "provenance.engine.revision": {"$not": {"$gte": current_revision(name)}},
            }
        )
        for name in BUILT_IN
    )


def _failures(database: MongoDatabase, n_fizzled: int) -> dict[str, int]:
    counted = database[JOBS.name].aggregate(
        [
            {"$match": {"output.state": "failed"}},
            {"$group": {"_id": "$output.failure.reason", "n": {"$sum": 1}}},
        ]
    )
    failures = {str(each["_id"]): each["n"] for each in counted}
    if n_fizzled:
        failures[JOB_FAILED] = failures.get(JOB_FAILED, 0) + n_fizzled
    return failures


def _failed(database: MongoDatabase) -> list[tuple[str, int]]:
    """Return reason and firework of each failed site that is not to be run anyway."""
    over = {
        each["fw_id"]
        for each in database.fireworks.find({"state": "COMPLETED"}, {"fw_id": 1, "_id": 0})
    }
    documents = database[JOBS.name].find(
        {"output.state": "failed"}, {"output.failure.reason": 1, "metadata.fw_id": 1}
    )
    failed = [
        (each["output"]["failure"]["reason"], each["metadata"]["fw_id"])
        for each in documents
        if each["metadata"].get("fw_id") in over
    ]
    fizzled = database.fireworks.find({"state": "FIZZLED"}, {"fw_id": 1, "_id": 0})
    return [*failed, *((JOB_FAILED, each["fw_id"]) for each in fizzled)]


def _recent_sites(database: MongoDatabase, now: datetime) -> tuple[int, float]:
    """Return how many site jobs ended lately, and in how many hours."""
    since = (now - _RECENT).isoformat()
    ended: list[dict[str, Any]] = list(
        database.launches.aggregate(
            [
                {"$match": {"state": "COMPLETED", "time_end": {"$gte": since}}},
                {
                    "$lookup": {
                        "from": "fireworks",
                        "localField": "fw_id",
                        "foreignField": "fw_id",
                        "pipeline": [{"$project": {"spec._category": 1}}],
                        "as": "firework",
                    }
                },
                {"$match": {"firework.spec._category": {"$ne": RECORDS}}},
                {"$group": {"_id": None, "n": {"$sum": 1}, "first": {"$min": "$time_start"}}},
            ]
        )
    )
    if not ended:
        return 0, 0.0
    (found,) = ended
    seconds = (now - datetime.fromisoformat(found["first"])).total_seconds()
    return found["n"], min(max(seconds, 1.0), _RECENT.total_seconds()) / 3600
