"""
Run a worker that dies at its n-th write to the database, for every n, and set right what it left.

Prints one JSON line for each n: what was recovered, and what the database holds in the end. The
last n is the first at which the worker was done before it could die.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from pymongo import monitoring

WRITES = {"insert", "update", "delete", "findAndModify"}


class Executioner(monitoring.CommandListener):
    """End this process after a number of writes."""

    left: int | None = None

    def started(self, event):
        pass

    def failed(self, event):
        pass

    def succeeded(self, event):
        if self.left is not None and event.command_name in WRITES:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


EXECUTIONER = Executioner()
monitoring.register(EXECUTIONER)

from fireworks.core.fworker import FWorker  # noqa: E402
from fireworks.core.rocket_launcher import rapidfire  # noqa: E402

from vtc_flows.crystal.sources import load_structures  # noqa: E402
from vtc_flows.schemas import XesSettings  # noqa: E402
from vtc_flows.settings import load_settings  # noqa: E402
from vtc_flows.stores.connection import close_databases  # noqa: E402
from vtc_flows.stores.records import load_records  # noqa: E402
from vtc_flows.workflow.flows import PolarizedXesFlowMaker  # noqa: E402
from vtc_flows.workflow.jobs import SiteXesMaker  # noqa: E402
from vtc_flows.workflow.launchpad import open_launchpad, prepare_database  # noqa: E402
from vtc_flows.workflow.lost import recover_lost  # noqa: E402
from vtc_flows.workflow.submission import prepare_submission, submit  # noqa: E402


def add_crystal(path: str) -> None:
    settings = load_settings()
    database = prepare_database(settings)
    database.client.drop_database(database.name)
    prepare_database(settings)
    (record,) = load_structures([path])
    maker = PolarizedXesFlowMaker(
        site_maker=SiteXesMaker(
            engine="analytic_engine:make", settings=XesSettings(fms_atoms=(20,))
        )
    )
    submission, _ = prepare_submission(record, [], maker)
    launchpad = open_launchpad(settings)
    list(submit(launchpad, database, [submission], lambda *_: None))
    launchpad.connection.close()


def work(dies_at: int | None) -> None:
    EXECUTIONER.left = dies_at
    launchpad = open_launchpad(load_settings())
    os.chdir(tempfile.mkdtemp())
    rapidfire(launchpad, FWorker(), sleep_time=1, strm_lvl="CRITICAL", max_loops=1)


def recover() -> list[list[int]]:
    launchpad = open_launchpad(load_settings())
    found = []
    for _ in range(10):
        recovered = recover_lost(launchpad, silent_s=0)
        if not recovered:
            break
        found.append([*map(list, (recovered.lost, recovered.taken, recovered.unfinished))])
    launchpad.connection.close()
    return found


def in_child(call, *arguments) -> int:
    """Call in a process of its own; return its wait status."""
    close_databases()
    pid = os.fork()
    if pid == 0:
        try:
            call(*arguments)
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]


def main(path: str, first: int, step: int) -> None:
    number = first
    while True:
        add_crystal(path)
        Path(os.environ["ANALYTIC_LOG"]).unlink(missing_ok=True)
        died = in_child(work, number) == signal.SIGKILL
        time.sleep(0.01)
        found = recover()
        in_child(work, None)
        while again := recover():
            found += again
            in_child(work, None)
        database = prepare_database(load_settings())
        states = Counter(each["state"] for each in database.fireworks.find({}, {"state": 1}))
        summary = {
            "dies_at": number,
            "died": died,
            "recovered": found,
            "states": states,
            "workflows": [each["state"] for each in database.workflows.find()],
            "records": [record.state for record in load_records(database)],
            "computed": len(Path(os.environ["ANALYTIC_LOG"]).read_text().splitlines()),
            "launched_while_alive": max(
                Counter(
                    launch for each in database.fireworks.find() for launch in each["launches"]
                ).values()
            ),
            "arrays": database["data.files"].count_documents({}),
        }
        sys.stdout.write(json.dumps(summary) + "\n")
        sys.stdout.flush()
        if not died:
            return
        number += step


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
