"""FireWorks' commands through ours: on a server with a password, with restarts and dead workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pymatgen.core.structure import Structure
from pymongo import MongoClient

from vtc_flows.settings import load_settings
from vtc_flows.stores.connection import close_databases, open_database
from vtc_flows.stores.local_server import find_mongod, running_server, start_server, stop_server
from vtc_flows.stores.records import load_records

ENGINE = ("--engine", "analytic_engine:make")
SECRET = "p@ss/wörd"
URI_SECRET = "p%40ss%2Fw%C3%B6rd"


@pytest.fixture
def here(tmp_path, monkeypatch, analytic):
    """A folder to work in, and scratch of its own."""
    monkeypatch.setenv("VTC_SCRATCH_DIRECTORY", str(tmp_path / "scratch"))
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def start(here: Path, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(Path(sys.executable).parent / "vtc"), *map(str, arguments)],
        cwd=here,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def call(here: Path, *arguments: object, **environment: str) -> str:
    process = start(here, *arguments, **environment)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return output


@pytest.fixture
def lab(tmp_path, mongo_server, monkeypatch):
    """Run a server as a lab has it: one that asks for a password and is no replica set."""
    (tmp_path / "lab").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            *(find_mongod(), "--dbpath", tmp_path / "lab", "--port", str(port), "--auth"),
            *("--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"),
        ],
        stdout=subprocess.DEVNULL,
    )
    with MongoClient("127.0.0.1", port, directConnection=True) as client:
        client.admin.command(
            *("createUser", "me"), pwd=SECRET, roles=["readWriteAnyDatabase", "clusterMonitor"]
        )
    monkeypatch.setenv("VTC_DATABASE_URI", f"mongodb://me:{URI_SECRET}@127.0.0.1:{port}/")
    yield port
    close_databases()
    process.terminate()
    process.wait()


def test_a_password_stands_in_no_file_and_no_output(lab, here, structure_file, tmp_path):
    files = [structure_file(name) for name in ("NiO", "triclinic_Fe2P2O7")]
    said = call(here, "init", here)
    assert "keep VTC_DATABASE_URI set" in said
    said += call(here, "submit", *files, *ENGINE)
    said += call(here, "lpad", "get_wflows", "-d", "count")
    said += call(here, "rlaunch", "rapidfire")
    found = json.loads(call(here, "status", "--json"))
    assert found["sites"] == {"COMPLETED": 3}
    assert found["results"] == {"complete": 2}
    assert "secret" not in said
    for word in (SECRET, URI_SECRET):
        assert word not in said
        for path in (*here.rglob("*"), *(tmp_path / "scratch").rglob("*")):
            assert not path.is_file() or word not in path.read_text(errors="replace"), path
    documents = [
        str(each)
        for name in ("fireworks", "launches", "workflows", "jobs")
        for each in open_database(load_settings())[name].find()
    ]
    assert not any(word in text for text in documents for word in (SECRET, URI_SECRET))


def test_a_wrong_password_is_told_and_not_tried_for_ever(lab, here, monkeypatch):
    monkeypatch.setenv("VTC_DATABASE_URI", f"mongodb://me:wrong@127.0.0.1:{lab}/")
    for command in (("rlaunch", "rapidfire"), ("status",), ("retry",)):
        process = start(here, *command)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "refuses this user" in output


def test_a_worker_leaves_nothing_and_sees_to_the_dead(here, database, structure_file, analytic):
    call(here, "submit", structure_file("triclinic_Fe2P2O7"), *ENGINE)
    config = here / "FW_config.yaml"
    config.write_text("PING_TIME_SECS: 1\nRUN_EXPIRATION_SECS: 3\nRAPIDFIRE_SLEEP_SECS: 1\n")
    dead = start(here, "rlaunch", "rapidfire", ANALYTIC_SLOW="0,1")
    while not analytic.exists():
        time.sleep(0.1)
    dead.kill()
    dead.communicate()
    time.sleep(4)
    assert json.loads(call(here, "status", "--json"))["lost"] == 1
    call(here, "rlaunch", "multi", "2")
    (record,) = load_records(database)
    assert record.state == "complete"
    assert list((here.parent / "scratch").iterdir()) == []
    assert [path.name for path in here.iterdir()] == ["FW_config.yaml"]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_workers_overcome_a_restart_of_the_database(
    here, mongo_server, tmp_path, monkeypatch, structure_file, analytic, end
):
    monkeypatch.setenv("VTC_DATA_DIRECTORY", str(tmp_path / "data"))
    settings = load_settings()
    server = start_server(settings)
    try:
        lines = tmp_path / "many.jsonl"
        structure = json.dumps(Structure.from_file(structure_file("NiO")).as_dict())
        lines.write_text(
            "".join(f'{{"id": "m-{n}", "structure": {structure}}}\n' for n in range(20))
        )
        call(here, "submit", lines, *ENGINE)
        workers = [start(here, "rlaunch", "rapidfire") for _ in range(2)]
        while not analytic.exists() or len(analytic.read_text().splitlines()) < 4:
            time.sleep(0.05)
        os.kill(server.pid, end)
        while running_server(settings) is not None:
            time.sleep(0.05)
        time.sleep(1)
        start_server(settings)
        for worker in workers:
            output, _ = worker.communicate(timeout=120)
            assert worker.returncode == 0, output
        database = open_database(settings)
        assert database.fireworks.distinct("state") == ["COMPLETED"]
        assert len(list(load_records(database, {"state": "complete"}))) == 20
        assert len(analytic.read_text().splitlines()) == 20
        assert database.launches.count_documents({}) == 40
    finally:
        close_databases()
        stop_server(settings)


def test_failed_sites_once_more(vtc, here, database, structure_file):
    files = [structure_file(name) for name in ("NiO", "triclinic_Fe2P2O7")]
    vtc("submit", *files, *ENGINE)
    call(here, "rlaunch", "rapidfire", ANALYTIC_FAIL="1", ANALYTIC_BUG="0")
    text = vtc("status").stdout
    assert "job_failed" in text
    assert "scf_not_converged" in text
    assert {record.state for record in load_records(database)} == {"incomplete"}
    assert "nothing to do again" in vtc("retry", "--lost").stdout
    reason = "scf_not_converged"
    assert vtc("retry", "--reason", reason).stdout.split() == ["1", reason]
    call(here, "rlaunch", "rapidfire", ANALYTIC_BUG="0")
    assert json.loads(vtc("status", "--json").stdout)["failures"] == {"job_failed": 2}
    assert vtc("retry").stdout.split() == ["2", "job_failed"]
    call(here, "rlaunch", "rapidfire")
    assert {record.state for record in load_records(database)} == {"complete"}
    assert "all done" in vtc("status", "--watch").stdout


def test_without_a_database_it_does_not_take_any_that_listens(here, monkeypatch, tmp_path):
    monkeypatch.setenv("VTC_DATA_DIRECTORY", str(tmp_path / "nothing"))
    process = start(here, "rlaunch", "rapidfire")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "no database: start one" in output


def test_help_is_that_of_fireworks(here, database):
    assert "rapidfire" in call(here, "rlaunch", "--help")
    assert "get_wflows" in call(here, "lpad", "-h")
