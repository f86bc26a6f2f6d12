from __future__ import annotations

import csv
import json

import pyarrow.parquet as pq
import pytest
import trained
from pymongo import MongoClient

from vtc_flows.cli.screen_files import COLUMNS
from vtc_flows.stores.collections import prepare


@pytest.fixture
def measured(database):
    prepare(database)
    database.sams.insert_many([{**each} for each in trained.records()])
    return database


def test_the_table(vtc, measured):
    done = vtc("screen", "--fms-atoms", 30)
    assert done.exit_code == 0, done.output
    rows = [line for line in done.stdout.splitlines() if line.startswith("mp-")]
    assert len(rows) == 20
    assert "there are more than 20" in done.stderr
    limited = vtc("screen", "--fms-atoms", 30, "--limit", 3)
    some = [line.split() for line in limited.stdout.splitlines() if line.startswith("mp-")]
    assert some == [row.split() for row in rows[:3]]
    values = [float(row.split()[5]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert "SAMS in eV^-1/2" in done.stdout


def test_files(vtc, measured, tmp_path):
    rows = json.loads(vtc("screen", "--json").stdout)
    assert len(rows) == len(trained.records())
    assert list(rows[0]) == list(COLUMNS)
    for suffix in (".json", ".csv", ".parquet"):
        done = vtc("screen", "-o", tmp_path / f"found{suffix}")
        assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "found.json").read_text()) == rows
    with (tmp_path / "found.csv").open() as file:
        texts = list(csv.DictReader(file))
    assert [float(each["sams"]) for each in texts] == [each["sams"] for each in rows]
    assert {each["formula"] for each in texts} == {each["formula"] for each in rows}
    table = pq.read_table(tmp_path / "found.parquet")
    assert table.to_pylist() == rows
    assert table.schema.field("sams").metadata == {b"unit": b"eV^-1/2"}


def test_the_code_that_is_shown_runs(vtc, measured, mongo_server, monkeypatch, capsys):
    arguments = ("screen", "--elements", "O", "--min-sams", 0.1, "--sort", "material")
    rows = json.loads(vtc(*arguments, "--json").stdout)
    code = vtc(*arguments, "--explain").stdout
    names: dict = {}
    exec(compile(code, "code", "exec"), names)
    assert isinstance(names["db"].client, MongoClient)
    names["db"].client.close()
    assert names["rows"] == [
        {name: value for name, value in row.items() if name != "formula"} for row in rows
    ]
    assert len(capsys.readouterr().out.splitlines()) == len(rows) > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--measured", "--predicted"], "exclude each other"),
        (["--min-sams", 0.5, "--max-sams", 0.1], "nothing lies between"),
        (["--elements", "Cu,Xx"], "'Xx' is no element"),
        (["--chemsys", "Cu-O", "--elements", "S"], "not in --chemsys"),
        (["--exclude", "O", "--elements", "O"], "asked for as well"),
        (["-o", "found.xlsx"], "ends with .csv, .json, .parquet"),
        (["--model", "nobody"], "no model nobody"),
        (["--space-group", 231], "231"),
        (["--sort", "beauty"], "beauty"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(vtc, database, arguments, says):
    done = vtc("screen", *arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nothing_found_says_what_is_missing(vtc, database):
    done = vtc("screen")
    assert done.exit_code == 0
    assert "nothing of that kind" in done.stderr
    assert "vtc train" in done.stderr
