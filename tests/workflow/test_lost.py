from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from vtc_flows.settings import load_settings
from vtc_flows.stores.collections import utc_stamp
from vtc_flows.stores.records import load_records
from vtc_flows.workflow.launchpad import open_launchpad
from vtc_flows.workflow.lost import Recovered, count_lost, recover_lost
from vtc_flows.workflow.submission import prepare_submission, submit


@pytest.fixture
def crystal_in(launchpad, database, record, maker):
    """Submit a crystal with two sites."""
    submission, _ = prepare_submission(record("triclinic_Fe2P2O7"), [], maker())
    list(submit(launchpad, database, [submission], lambda *_: None))
    return database


def test_wherever_a_worker_dies_nothing_is_lost(fireworks, database, structure_file):
    """A worker dies after its second, 15th, ... write; every time all is done in the end, once."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "dying_worker",
            str(structure_file("triclinic_Fe2P2O7")),
            *("2", "13"),
        ],
        cwd=fireworks.folder,  # where FireWorks finds its settings
        env={**os.environ, "FW_CONFIG_FILE": str(fireworks.folder / "FW_config.yaml")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    points = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(points) > 4
    assert any(point["recovered"] for point in points)
    for point in points:
        assert point["states"] == {"COMPLETED": 3}, point
        assert (point["workflows"], point["records"]) == (["COMPLETED"], ["complete"]), point
        assert point["launched_while_alive"] == 1, point
        assert 2 <= point["computed"] <= 3, point


def test_a_killed_worker_is_found_when_it_is_silent(
    fireworks, crystal_in, launchpad, database, analytic
):
    worker = fireworks.start("rlaunch", "rapidfire", ANALYTIC_SLOW="0,1")
    while not analytic.exists():
        time.sleep(0.1)
    assert not recover_lost(launchpad, silent_s=4)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert count_lost(launchpad, silent_s=60) == 0
    time.sleep(2)
    assert count_lost(launchpad, silent_s=1) == 1
    assert len(recover_lost(launchpad, silent_s=1).lost) == 1
    assert recover_lost(launchpad, silent_s=1) == Recovered()
    fireworks("rlaunch", "rapidfire")
    (record,) = load_records(database)
    assert record.state == "complete"


def test_a_living_worker_with_a_long_job_is_not_taken_for_dead(
    fireworks, crystal_in, launchpad, analytic
):
    worker = fireworks.start("rlaunch", "rapidfire", ANALYTIC_SLOW="0,1")
    try:
        while not analytic.exists():
            time.sleep(0.1)
        for _ in range(5):  # it says every second that it lives
            time.sleep(1)
            assert recover_lost(launchpad, silent_s=4) == Recovered()
    finally:
        worker.kill()
        worker.communicate()


def test_a_worker_that_is_told_to_end_gives_its_job_back(fireworks, crystal_in, database, analytic):
    for number in (signal.SIGTERM, signal.SIGINT):
        analytic.unlink(missing_ok=True)
        worker = fireworks.start("rlaunch", "rapidfire", ANALYTIC_SLOW="0,1")
        while not analytic.exists():
            time.sleep(0.1)
        worker.send_signal(number)
        output, _ = worker.communicate(timeout=30)
        assert worker.returncode != 0
        assert "gives its job back" in output
        assert database.fireworks.count_documents({"state": "READY"}) == 2
    assert database.launches.count_documents({"state": "RUNNING"}) == 0


def test_a_worker_without_the_engine_spoils_nothing(fireworks, crystal_in, database):
    worker = fireworks.start("rlaunch", "rapidfire", PYTHONPATH="")
    output, _ = worker.communicate(timeout=60)
    assert worker.returncode == 1
    assert "analytic_engine" in output
    states = [each["state"] for each in database.fireworks.find().sort("fw_id")]
    assert sorted(states) == ["READY", "READY", "WAITING"]


def run_long_ago(launchpad, database, **launch_fields) -> int:
    """Let a site look as if a worker had taken it five hours ago; return its firework."""
    launch = launchpad.get_new_launch_id()
    then = (datetime.now(UTC) - timedelta(hours=5)).isoformat()
    fw_id = database.fireworks.find_one({"state": "READY"})["fw_id"]
    database.launches.insert_one(
        {
            "launch_id": launch,
            "fw_id": fw_id,
            "state": "RUNNING",
            "fworker": {"name": "w", "category": "", "query": "{}", "env": {}},
            "launch_dir": "/",
            "host": "h",
            "ip": "0",
            "state_history": [{"state": "RUNNING", "created_on": then, "updated_on": then}],
            **launch_fields,
        }
    )
    database.fireworks.update_one(
        {"fw_id": fw_id}, {"$set": {"state": "RUNNING", "launches": [launch]}}
    )
    return fw_id


def test_whoever_died_in_the_middle_of_it_spoils_nothing(crystal_in, launchpad, database):
    fw_id = run_long_ago(launchpad, database, state="FIZZLED", lost=True)
    assert recover_lost(launchpad).unfinished == (fw_id,)
    assert database.fireworks.find_one({"fw_id": fw_id})["state"] == "READY"
    assert database.fireworks.count_documents({"state": "WAITING"}) == 1


def test_an_idle_worker_looks_for_the_dead(crystal_in, launchpad, database):
    from vtc_flows.workflow.lost import WatchfulLaunchPad

    watchful = open_launchpad(load_settings(), kind=WatchfulLaunchPad)
    assert watchful.run_exists()
    for _ in range(2):
        run_long_ago(launchpad, database)
    assert not launchpad.run_exists()
    assert watchful.run_exists()
    assert database.fireworks.count_documents({"state": "READY"}) == 2
    watchful.connection.close()


def test_of_many_at_once_one_does_it(crystal_in, launchpad, database):
    fw_id = run_long_ago(launchpad, database)
    found = []

    def one() -> None:
        mine = open_launchpad(load_settings())
        found.append(recover_lost(mine, silent_s=60))
        mine.connection.close()

    threads = [threading.Thread(target=one) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.lost for each in found if each] == [(fw_id,)]
    assert database.fireworks.find_one({"fw_id": fw_id})["archived_launches"] != []


def test_whoever_died_recovering_does_not_stop_others_for_long(launchpad, database):
    lease = {"_id": "lost runs", "holder": "dead", "until": utc_stamp() + timedelta(seconds=0.5)}
    database.maintenance.insert_one(lease)
    assert recover_lost(launchpad) == Recovered()
    time.sleep(0.6)
    recover_lost(launchpad)
    assert database.maintenance.find_one()["holder"] != "dead"
