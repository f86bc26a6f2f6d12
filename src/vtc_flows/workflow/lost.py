"""
Find what dead workers left behind, and let it be run again.

A worker can die between any two of FireWorks' writes. FireWorks' own `detect_lostruns` finds a
firework that runs and no longer says so. The rest is found here too: a firework taken and not
begun, one whose launch is over, a workflow that does not know what its fireworks know, and a lock
that nobody will open. Results are safe in any case: what was computed is not computed again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fireworks import FWorker, LaunchPad
from fireworks.core.launchpad import WFLock
from fireworks.fw_config import RUN_EXPIRATION_SECS
from pymongo.errors import DuplicateKeyError

from vtc_flows.stores.collections import utc_stamp

_LEASE = timedelta(seconds=60)
_LOCK_S = 5.0
_LOOK_S = 60.0
_SETTLED_S = 60.0  # what a living worker does between two writes takes milliseconds
_ACTIVE = ("READY", "RESERVED", "RUNNING", "PAUSED")
_OVER = ("COMPLETED", "FIZZLED")


@dataclass(frozen=True)
class Recovered:
    """
    What was found and set right, as ids of fireworks.

    Attributes
    ----------
    lost : tuple of int
        Ran, and their workers died.
    taken : tuple of int
        Were taken by a worker that died before it began.
    unfinished : tuple of int
        Were over, and their workflow did not know.
    """

    lost: tuple[int, ...] = ()
    taken: tuple[int, ...] = ()
    unfinished: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Say whether anything was found."""
        return bool(self.lost or self.taken or self.unfinished)


def recover_lost(launchpad: LaunchPad, *, silent_s: float | None = None) -> Recovered:
    """
    Let be run again what dead workers have left; safe at any time, also by many at once.

    Parameters
    ----------
    launchpad : LaunchPad
    silent_s : float, optional
        A worker that has not said for so long that it lives is dead. If not given, what each worker
        said of itself: FireWorks' RUN_EXPIRATION_SECS where it runs.

    Returns
    -------
    Recovered
        Nothing if another process does the same just now.
    """
    with _alone(launchpad) as alone:
        if not alone:
            return Recovered()
        now = datetime.now(UTC)
        cutoff = now - timedelta(seconds=_SETTLED_S if silent_s is None else silent_s)
        lost = tuple(_rerun_lost(launchpad, now, silent_s))
        taken = tuple(_free_taken(launchpad, cutoff))
        unfinished = tuple(_finish(launchpad, cutoff))
        return Recovered(lost, taken, unfinished)


def count_lost(launchpad: LaunchPad, *, silent_s: float | None = None) -> int:
    """Return how many fireworks seem to run and have been silent for too long."""
    silent = [each["launch_id"] for each in _silent(launchpad, datetime.now(UTC), silent_s)]
    count: int = launchpad.fireworks.count_documents(
        {"state": "RUNNING", "launches": {"$in": silent}}
    )
    return count


class WatchfulLaunchPad(LaunchPad):  # type: ignore[misc]
    """A launchpad whose workers, when they find nothing to do, look for what the dead have left."""

    _look_at = 0.0

    def run_exists(self, fworker: FWorker | None = None) -> bool:
        """Say whether something can be run; where there seems to be nothing, look further."""
        exists = bool(super().run_exists(fworker))
        if exists or time.monotonic() < self._look_at:
            return exists
        self._look_at = time.monotonic() + min(_LOOK_S, RUN_EXPIRATION_SECS)
        return bool(recover_lost(self)) and bool(super().run_exists(fworker))


def announce(launchpad: LaunchPad, fw_id: int) -> None:
    """Let a worker say of the firework it runs after what silence it is to be taken for dead."""
    running = {"fw_id": fw_id, "state": "RUNNING"}
    launchpad.launches.update_many(running, {"$set": {"expires_s": RUN_EXPIRATION_SECS}})


def _silent(
    launchpad: LaunchPad, now: datetime, silent_s: float | None
) -> Iterator[dict[str, Any]]:
    """Yield the launches that have not been heard of for too long."""
    fields = {"launch_id": 1, "fw_id": 1, "state_history": 1, "expires_s": 1}
    for launch in launchpad.launches.find({"state": "RUNNING"}, fields):
        limit = launch.get("expires_s", RUN_EXPIRATION_SECS) if silent_s is None else silent_s
        heard = [_heard(each) for each in launch["state_history"] if each["state"] == "RUNNING"]
        if heard and max(heard) <= (now - timedelta(seconds=limit)).isoformat():
            yield launch


def _heard(event: dict[str, Any]) -> str:
    """Return when an entry of a launch's history was last touched."""
    return str(event.get("updated_on") or event["created_on"])


def _untouched(cutoff: datetime) -> dict[str, Any]:
    """Return the query for fireworks without a change since; their times are texts or dates."""
    limits = (cutoff.isoformat(), cutoff.replace(tzinfo=None))
    return {"$or": [{"updated_on": {"$lte": limit}} for limit in limits]}


def _rerun_lost(launchpad: LaunchPad, now: datetime, silent_s: float | None) -> Iterator[int]:
    for launch in list(_silent(launchpad, now, silent_s)):
        same = {
            "launch_id": launch["launch_id"],
            "state": "RUNNING",
            "state_history": launch["state_history"],
        }
        # not `mark_fizzled`: it would start the records of the crystal without this site
        ended = {"$set": {"state": "FIZZLED", "lost": True}}  # whoever comes next goes on from here
        if launchpad.launches.update_one(same, ended).modified_count:
            running = {
                "fw_id": launch["fw_id"],
                "state": "RUNNING",
                "launches": launch["launch_id"],
            }
            if launchpad.fireworks.count_documents(running):
                _unlock(launchpad, launch["fw_id"])
                launchpad.rerun_fw(launch["fw_id"])
                yield launch["fw_id"]


def _free_taken(launchpad: LaunchPad, cutoff: datetime) -> Iterator[int]:
    taken = {
        "state": "RESERVED",
        "launches": [],  # a place in a queue has a launch
        **_untouched(cutoff),
    }
    for firework in launchpad.fireworks.find(taken, {"fw_id": 1}):
        same = {**taken, "fw_id": firework["fw_id"]}
        ready = {"$set": {"state": "READY", "updated_on": utc_stamp()}}
        if launchpad.fireworks.update_one(same, ready).modified_count:
            yield firework["fw_id"]


def _finish(launchpad: LaunchPad, cutoff: datetime) -> Iterator[int]:
    """Tell workflows what has become of their fireworks."""
    over = {"launch_id": 1, "fw_id": 1, "state_history": 1, "lost": 1}
    running = launchpad.fireworks.find({"state": "RUNNING"}, {"fw_id": 1, "launches": 1})
    launches = {launch: each["fw_id"] for each in running for launch in each["launches"]}
    for launch in launchpad.launches.find(
        {"launch_id": {"$in": list(launches)}, "state": {"$in": list(_OVER)}}, over
    ):
        if launch.get("lost"):  # by someone who died before it was let be run again
            _unlock(launchpad, launch["fw_id"])
            launchpad.rerun_fw(launch["fw_id"])
            yield launch["fw_id"]
        elif _heard(launch["state_history"][-1]) <= cutoff.isoformat():
            _unlock(launchpad, launch["fw_id"])
            launchpad._refresh_wf(launch["fw_id"])
            yield launch["fw_id"]
    for workflow in _stuck(launchpad, cutoff):
        yield from _refresh(launchpad, workflow)


def _stuck(launchpad: LaunchPad, cutoff: datetime) -> Iterator[dict[str, Any]]:
    """Yield workflows that are not over and in which nothing moves."""
    moving = launchpad.fireworks.find({"state": {"$in": list(_ACTIVE)}}, {"fw_id": 1})
    active = {each["fw_id"] for each in moving}
    going_on = {
        "state": {"$nin": [*_OVER, "DEFUSED", "ARCHIVED"]},
        "updated_on": {"$lte": cutoff.replace(tzinfo=None)},
    }
    for workflow in launchpad.workflows.find(going_on, {"nodes": 1}):
        if active.isdisjoint(workflow["nodes"]):
            yield workflow


def _refresh(launchpad: LaunchPad, workflow: dict[str, Any]) -> Iterator[int]:
    """Give a workflow the states of its fireworks, then let what waits see whether it may run."""
    nodes = workflow["nodes"]
    _unlock(launchpad, nodes[0])
    with WFLock(launchpad, nodes[0]):
        states = {
            each["fw_id"]: each["state"]
            for each in launchpad.fireworks.find(
                {"fw_id": {"$in": nodes}}, {"fw_id": 1, "state": 1}
            )
        }
        launchpad.workflows.update_one(
            {"_id": workflow["_id"]},
            {"$set": {f"fw_states.{node}": state for node, state in states.items()}},
        )
    waiting = [node for node, state in states.items() if state == "WAITING"]
    for node in waiting or nodes[:1]:
        launchpad._refresh_wf(node)
    if not waiting:
        yield nodes[0]
    for node in waiting:
        if launchpad.fireworks.count_documents({"fw_id": node, "state": "READY"}):
            yield node


def _unlock(launchpad: LaunchPad, fw_id: int) -> None:
    """Open a workflow's lock that a dead worker closed: nobody alive holds one for seconds."""
    with WFLock(launchpad, fw_id, expire_secs=_LOCK_S, kill=True):
        pass


@contextmanager
def _alone(launchpad: LaunchPad) -> Iterator[bool]:
    """Do it in one process at a time; whoever dies at it loses the right after a minute."""
    leases = launchpad.db["maintenance"]
    name = uuid.uuid4().hex
    now = utc_stamp()
    free = {"_id": "lost runs", "until": {"$lte": now}}
    try:
        leases.update_one(free, {"$set": {"holder": name, "until": now + _LEASE}}, upsert=True)
    except DuplicateKeyError:
        yield False
        return
    try:
        yield True
    finally:
        leases.update_one({"_id": "lost runs", "holder": name}, {"$set": {"until": now}})
