"""`vtc strain`: files, database, continued runs, refusals."""

from __future__ import annotations

import csv
import json

import pytest

from vtc_flows.stores.studies import load_studies

QUICK = ("--engine", "analytic_engine:make", "--energies", 30, 5, 0.5)


def test_files_and_documents(vtc, structure_file, tmp_path, database):
    out = tmp_path / "out"
    arguments = (structure_file("NiO"), *QUICK, "--strain", -1, 1, 0.5, "--out", out)
    done = vtc("strain", *arguments, "--fms-atoms", "30,80", "--store", "--json")
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert [each["fms_atoms"] for each in printed] == [30, 80]
    stored = load_studies(database)
    assert [each.model_dump(mode="json") for each in stored] == printed
    assert database.sams.count_documents({}) == 0  # strained crystals are nothing to learn from
    for each in printed:
        file = out / f"{each['study_id']}.json"
        assert json.loads(file.read_text()) == each
        assert (out / f"{each['study_id']}.png").read_bytes().startswith(b"\x89PNG")
        table = (out / f"{each['study_id']}.csv").read_text().splitlines()
        rows = list(csv.DictReader(table))
        assert [float(row["strain"]) for row in rows] == [-0.01, -0.005, 0.0, 0.005, 0.01]
        assert [float(row["sams"]) for row in rows] == [p["sams"] for p in each["points"]]
    assert len(list((out / "sites").glob("*.json"))) == 5
    assert "compressed: SAMS over QAMS: slope" in done.stderr


def test_what_is_finished_is_kept(vtc, structure_file, tmp_path, analytic):
    arguments = ("strain", structure_file("NiO"), *QUICK, "--out", tmp_path / "out", "--no-plot")
    assert vtc(*arguments, "--strain", 0, 1, 0.5).exit_code == 0
    assert vtc(*arguments, "--strain", 0, 2, 0.5, "--workers", 2).exit_code == 0
    assert len(analytic.read_text().splitlines()) == 5
    assert not list((tmp_path / "out").glob("*.png"))


def test_one_failed_strain_loses_no_other(vtc, structure_file, tmp_path, monkeypatch):
    monkeypatch.setenv("ANALYTIC_FAIL", "0")
    out = tmp_path / "out"
    done = vtc("strain", structure_file("NiO"), *QUICK, "--strain", 0, 1, 1, "--out", out)
    assert done.exit_code == 1
    (study,) = out.glob("*-strain-c.json")
    assert {p["reason"] for p in json.loads(study.read_text())["points"]} == {"scf_not_converged"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--strain", 1, -1, 0.5), "give LOW up to HIGH"),
        (("--strain", 0, 60, 1), "60"),
        (("--element", "Cu"), "Cu"),
        (("--axis", "d"), "'d' is not one of"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(vtc, structure_file, tmp_path, arguments, says):
    done = vtc("strain", structure_file("NiO"), *QUICK, *arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert "Traceback" not in done.output
