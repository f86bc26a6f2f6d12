from __future__ import annotations

import json

import pytest
import trained

from vtc_flows.builders import DatasetBuilder
from vtc_flows.builders.dataset import current_dataset, table_file
from vtc_flows.builders.running import build
from vtc_flows.learn.model import read_model
from vtc_flows.stores.collections import prepare

QUICK = ("--draws", 1, "--folds", 2, "--repeats", 1, "--trees", 5, 8)


@pytest.fixture
def datasets(database, tmp_path, monkeypatch):
    monkeypatch.setenv("VTC_DATA_DIRECTORY", str(tmp_path / "data"))
    prepare(database)
    found = [each for each in trained.records() if each["fms_atoms"] == 30]
    database.sams.insert_many([{**each} for each in found])
    build(DatasetBuilder())
    return database


def test_from_the_database_and_back_as_a_file(vtc, datasets, tmp_path):
    first = vtc("train", *QUICK, "--json", "-o", tmp_path / "one.skops")
    assert first.exit_code == 0, first.output
    card = json.loads(first.stdout)
    assert card["dataset"]["n_rows"] == 59
    assert read_model(tmp_path / "one.skops").card.model_id == card["model_id"]
    again = vtc("train", *QUICK, "--json")
    assert json.loads(again.stdout) == card
    assert "nothing changed" in again.stderr
    listed = json.loads(vtc("models", "list", "--json").stdout)
    assert listed == [card]
    assert card["name"] in vtc("models", "list").stdout
    assert json.loads(vtc("models", "show", card["name"], "--json").stdout) == card
    exported = vtc("models", "export", card["model_id"], "-o", tmp_path / "two.skops")
    assert exported.exit_code == 0, exported.output
    assert (tmp_path / "two.skops").read_bytes() == (tmp_path / "one.skops").read_bytes()
    shown = vtc("models", "show", tmp_path / "two.skops").stdout
    assert "note: 49 training rows are few" in shown
    assert "leave" not in shown
    for name in ("element_mean", "balanced set", "Ti", "intervals of 90%", "inside the domain"):
        assert name in shown


def test_without_a_database(vtc, datasets, tmp_path, monkeypatch):
    table = tmp_path / "table.parquet"
    table.write_bytes(table_file(datasets, current_dataset(datasets)))
    here = vtc("train", *QUICK, "-o", tmp_path / "here.skops")
    assert here.exit_code == 0, here.output
    monkeypatch.delenv("VTC_DATABASE_URI")
    done = vtc("train", *QUICK, "--table", table, "-o", tmp_path / "there.skops", "--workers", 2)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "there.skops").read_bytes() == (tmp_path / "here.skops").read_bytes()


def test_an_empty_list_says_what_to_do(vtc, database):
    result = vtc("models", "list")
    assert result.exit_code == 0
    assert "0 models" in result.stderr
    assert "vtc train" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--dataset", "none"], "no data set none"),
        (["train", "--trees", 9, 5], "--trees 9 5 is empty"),
        (["train", "--table", __file__], "say with -o"),
        (["train", "--table", __file__, "-o", "m", "--dataset", "d"], "give one of them"),
        (["train", "--table", __file__, "-o", "m"], "no Parquet file"),
        (["train", "--target", "qams"], "qams"),
        (["train", *QUICK, "--folds", 90], "90 folds need as many groups"),
        (["models", "show", "none"], "no model none"),
        (["models", "show", "none.skops"], "No such file"),
        (["models", "export", "none", "-o", "m"], "no model none"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    vtc, datasets, arguments, says, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = vtc(*arguments)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "m").exists()
