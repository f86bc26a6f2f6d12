from __future__ import annotations

import json

import pytest

from vtc_flows.settings import load_settings
from vtc_flows.stores.connection import close_databases, open_database
from vtc_flows.stores.local_server import start_server, stop_server
from vtc_flows.stores.records import load_records

ENGINE = ("--engine", "analytic_engine:make")


@pytest.fixture
def run(vtc, analytic, tmp_path, structure_file):
    def call(name: str, *arguments: object):
        out = ("--out", tmp_path / "out", "--no-plot", "--store", "--json")
        return vtc("run", structure_file(name), *ENGINE, *out, *arguments)

    return call


def test_records_are_in_the_database_too(run, database):
    for _ in range(2):
        result = run("triclinic_Fe2P2O7", "--fms-atoms", "20,30")
        assert result.exit_code == 0, result.stderr
    assert f"/{database.name}" in result.stderr
    stored = [record.model_dump(mode="json") for record in load_records(database)]
    assert stored == json.loads(result.stdout)


def test_the_database_of_this_machine_is_found(run, mongo_server, monkeypatch, tmp_path):
    monkeypatch.setenv("VTC_DATA_DIRECTORY", str(tmp_path / "data"))
    without = run("NiO")
    assert without.exit_code == 2
    assert "vtc db start" in without.stderr
    start_server(load_settings())
    try:
        assert run("NiO").exit_code == 0
        assert len(list(load_records(open_database(load_settings())))) == 1
    finally:
        close_databases()
        stop_server(load_settings())


def test_a_database_that_is_away_is_told_before_anything_is_computed(run, monkeypatch, analytic):
    monkeypatch.setenv("VTC_DATABASE_URI", "mongodb://127.0.0.1:1/")
    monkeypatch.setenv("VTC_DATABASE_TIMEOUT_S", "0.3")
    result = run("NiO")
    assert result.exit_code == 1
    assert "does not answer" in result.stderr
    assert not analytic.exists()
