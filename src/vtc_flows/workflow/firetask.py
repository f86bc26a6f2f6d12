"""
What FireWorks runs: a jobflow job whose results go to the database of the launchpad.

Beyond jobflow's own task it does nothing twice that is done, keeps records in the collection
``sams``, and lets go of a job that its worker cannot do.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fireworks import FWAction, explicit_serialize
from fireworks.fw_config import FWData
from fireworks.utilities.fw_serializers import serialize_fw
from jobflow import Job, JobStore
from jobflow.managers.fireworks import JobFiretask
from monty.json import MontyEncoder

from vtc_flows.errors import ConfigurationError, StorageError
from vtc_flows.feff.processes import ONE_THREAD
from vtc_flows.feff.registry import current_revision
from vtc_flows.settings import VtcSettings, load_settings
from vtc_flows.stores.connection import MongoDatabase, open_database
from vtc_flows.stores.jobs import job_store
from vtc_flows.stores.records import (
    ARRAYS,
    oldest_revision,
    references,
    remove_arrays,
    save_document,
)
from vtc_flows.workflow.jobs import SiteXesMaker
from vtc_flows.workflow.lost import announce

logger = logging.getLogger(__name__)


@explicit_serialize
class RunJob(JobFiretask):
    """
    Run one job of a flow.

    Parameters
    ----------
    job : Job
        The job.
    store : None
        The results go where the launchpad is, so that one address is enough for a worker and none
        stands in the workflow.
    """

    @serialize_fw  # type: ignore[untyped-decorator]
    def to_dict(self) -> dict[str, Any]:
        """Return the task as data; jobflow's own would write a Maker's settings as their text."""
        job: dict[str, Any] = json.loads(MontyEncoder().encode(self["job"].as_dict()))
        return {"job": job, "store": None}

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:
        """Run the job, unless it is done; see the module."""
        job: Job = self["job"]
        settings = load_settings()
        os.environ.update(ONE_THREAD)
        try:
            with _stopped_by(signal.SIGTERM), _memory_limit(settings):
                database = self._database(settings)
                if getattr(self, "launchpad", None) is not None:
                    announce(self.launchpad, self.fw_id)
                store = job_store(database)
                store.connect()
                return self._run(job, fw_spec, database, store)
        except (ConfigurationError, StorageError) as error:
            self._give_back(str(error), exit_code=1)
            raise
        except (SystemExit, KeyboardInterrupt):
            self._give_back("it was told to end", exit_code=128 + signal.SIGTERM)
            raise
        finally:
            if FWData().MULTIPROCESSING:  # `rlaunch multi` opens a launchpad for each task
                self.launchpad.connection.close()

    def _run(
        self, job: Job, fw_spec: dict[str, Any], database: MongoDatabase, store: JobStore
    ) -> FWAction:
        before = store.docs_store.query_one({"uuid": job.uuid, "index": job.index}) or {}
        action = FWAction()
        if not _is_done(store, before, _revision(job)):
            self["store"] = store
            action = super().run_task(fw_spec)  # type: ignore[no-untyped-call]
        after = store.docs_store.query_one({"uuid": job.uuid, "index": job.index})
        for record in _records(store, after):
            save_document(database, record)
        superseded = set(references(before.get("output"))) - set(references(after["output"]))
        remove_arrays(database, superseded, owner=job.uuid)
        return action

    def _database(self, settings: VtcSettings) -> MongoDatabase:
        launchpad = getattr(self, "launchpad", None)
        database: MongoDatabase = launchpad.db if launchpad is not None else open_database(settings)
        return database

    def _give_back(self, why: str, *, exit_code: int) -> None:
        """
        Give the job back and end this worker.

        An engine that is not installed, or a full disk, is the worker's fault and not the job's: it
        would spoil one job after the other. FireWorks itself takes every exception for the job's,
        a wish to end included, and goes on to the next one.
        """
        launchpad = getattr(self, "launchpad", None)
        if launchpad is None:
            return
        logger.error("this worker ends and gives its job back: %s", why)
        try:
            launchpad.rerun_fw(self.fw_id)
            ended = {"fw_id": self.fw_id, "state": "RUNNING"}
            launchpad.launches.update_many(ended, {"$set": {"state": "FIZZLED"}})
        finally:
            logging.shutdown()
            sys.stdout.flush()
            os._exit(exit_code)


def _revision(job: Job) -> int:
    """Return the revision of the engine that would run a job; 1 where none would."""
    maker = job.maker
    return current_revision(maker.engine) if isinstance(maker, SiteXesMaker) else 1


def _is_done(store: JobStore, document: Mapping[str, Any], revision: int) -> bool:
    """
    Say whether a job's result is there, whole, and good.

    One that failed is tried again, and so is one of an older revision of the engine.
    """
    output = document.get("output")
    if not isinstance(output, Mapping) or output.get("state") == "failed":
        return False
    if oldest_revision(output.get("spectra", ())) < revision:
        return False
    names = references(output)
    stores: dict[str, Any] = store.additional_stores  # type: ignore[has-type]
    return "state" in output and stores["data"].count({"blob_uuid": {"$in": names}}) == len(
        set(names)
    )


def _records(store: JobStore, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the records of a job that makes records, with references in the place of arrays."""
    output = document["output"]
    if not isinstance(output, Mapping) or output.get("@class") != "RecordsDoc":
        return []
    key = {"uuid": document["uuid"], "index": document["index"]}
    loaded: Any = store.query_one(key, load=True)
    records = _plain(loaded["output"]["records"])
    for record, stored in zip(records, _plain(output["records"]), strict=True):
        for site, stored_site in zip(record["sites"], stored["sites"], strict=True):
            # these alone: jobflow moves whatever has the name of an array, as a unit's name
            site.update({key: stored_site[key] for key in ARRAYS})
    return list(records)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items() if not key.startswith("@")}
    return [_plain(part) for part in value] if isinstance(value, list) else value


@contextmanager
def _stopped_by(number: signal.Signals) -> Iterator[None]:
    """Let a signal end what runs, in order, as an interrupt does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, lambda *_: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def _memory_limit(settings: VtcSettings) -> Iterator[None]:
    """Hold this process and those it starts to the memory that a site may use."""
    if settings.site_memory_gb is None:
        yield
        return
    kind = resource.RLIMIT_DATA
    soft, hard = resource.getrlimit(kind)
    wanted = round(settings.site_memory_gb * 1e9)
    resource.setrlimit(kind, (wanted if hard < 0 else min(wanted, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))
