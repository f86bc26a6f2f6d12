"""The commands of docs/predicting.md and docs/screening.md, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trained

from vtc_flows.builders import FeatureBuilder
from vtc_flows.builders.predictions import PredictionBuilder
from vtc_flows.builders.running import build
from vtc_flows.stores.collections import prepare

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def folder(tmp_path, mongo_server, monkeypatch):
    """Return a folder with the model, and with the checkout's files at their places."""
    with pytest.MonkeyPatch.context() as patch:
        model = trained.model(mongo_server.uri, patch)
    trained.write(model, tmp_path / "model.skops")
    for name in ("tests", "benchmarks", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_predicting(folder, vtc, capsys):
    for line in "".join(blocks("predicting.md", "bash")).splitlines():
        done = vtc(*line.split()[1:])
        # the folder of the tests holds crystals that are made to be refused
        assert done.exit_code == (2 if "structures --model" in line else 0), done.output
    assert len((folder / "all.jsonl").read_text().splitlines()) >= 10
    capsys.readouterr()
    (code,) = blocks("predicting.md", "python")
    exec(compile(code, "page", "exec"), {})
    assert capsys.readouterr().out.startswith("Zn 0.")


def test_screening(folder, vtc, database, mongo_server):
    prepare(database)
    database.sams.insert_many([{**each} for each in trained.records()])
    trained.store(database, trained.model(mongo_server.uri, None))
    assert vtc("import", "benchmarks/data/ten_crystals.jsonl").exit_code == 0
    build(FeatureBuilder())
    build(PredictionBuilder())
    for line in "".join(blocks("screening.md", "bash")).splitlines():
        done = vtc(*line.split()[1:])
        assert done.exit_code == 0, done.output
    assert (folder / "found.csv").is_file()
