from __future__ import annotations

import pytest

from vtc_flows.settings import load_settings
from vtc_flows.stores.connection import close_databases
from vtc_flows.stores.local_server import running_server, stop_server


@pytest.fixture
def own(mongo_server, tmp_path, monkeypatch):
    """A data folder of its own, so that no other database is found or touched."""
    monkeypatch.setenv("VTC_DATA_DIRECTORY", str(tmp_path / "data"))
    yield
    close_databases()
    stop_server(load_settings())


def test_from_start_to_stop(vtc, own):
    assert vtc("db", "status").exit_code == 2
    assert "none was running" in vtc("db", "stop").stderr
    started = vtc("db", "start")
    assert started.exit_code == 0, started.stderr
    server = running_server(load_settings())
    assert started.stdout == f"{server.uri}\n"
    assert "stop it with: vtc db stop" in started.stderr
    again = vtc("db", "start")
    assert (again.stdout, "runs already" in again.stderr) == (started.stdout, True)
    status = vtc("db", "status")
    assert status.exit_code == 0
    assert "MongoDB" in status.stdout
    assert "0 materials" in status.stdout
    assert f"stopped process {server.pid}" in vtc("db", "stop").stderr
    assert "none runs" in vtc("db", "status").stdout


def test_a_started_one_is_ready_for_lpad(vtc, own):
    vtc("db", "start")
    from vtc_flows.stores.connection import open_database

    database = open_database(load_settings())
    assert database.fw_id_assigner.find_one() == {
        "_id": -1,
        "next_fw_id": 1,
        "next_launch_id": 1,
    }
    assert "spec.material_id_1" in database.fireworks.index_information()
    database.fw_id_assigner.update_one({}, {"$set": {"next_fw_id": 5}})
    vtc("db", "start")
    assert database.fw_id_assigner.find_one()["next_fw_id"] == 5


def test_the_one_that_is_configured_is_named(vtc, own, database, monkeypatch):
    result = vtc("db", "prepare")
    assert result.exit_code == 0, result.stderr
    assert database.name in result.stdout
    assert database.name in vtc("db", "status").stdout
    assert "note: VTC_DATABASE_URI is set" in vtc("db", "start").stderr


def test_one_that_is_away(vtc, own, monkeypatch):
    monkeypatch.setenv("VTC_DATABASE_URI", "mongodb://me:secret@127.0.0.1:1/")
    monkeypatch.setenv("VTC_DATABASE_TIMEOUT_S", "0.3")
    for command in ("status", "prepare"):
        result = vtc("db", command)
        assert result.exit_code == 1
        assert "127.0.0.1:1/vtc_flows does not answer" in result.output
        assert "secret" not in result.output
