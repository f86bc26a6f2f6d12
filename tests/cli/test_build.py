from __future__ import annotations

import json

import pytest
from campaign import SIZES, STRUCTURES, material, read, seed

from vtc_flows.learn.tables import read_parquet
from vtc_flows.plots.datasets import distribution_figure, exponent_figure
from vtc_flows.schemas.exponents import ExponentCurveDoc
from vtc_flows.stores.collections import prepare
from vtc_flows.stores.materials import save_materials

N = len(STRUCTURES)


@pytest.fixture
def materials(database):
    prepare(database)
    save_materials(database, [material(name) for name in STRUCTURES])
    return database


def test_everything_is_built_once(vtc, database, tmp_path):
    seed(database)
    first = vtc("build", "--json", "--out", tmp_path)
    assert first.exit_code == 0, first.output
    report = json.loads(first.stdout)
    assert list(report) == [
        *("FeatureBuilder", "SiteSpectraBuilder", "SamsBuilder", "DatasetBuilder"),
        *("ExponentBuilder", "ExponentCurveBuilder"),
    ]
    assert report["FeatureBuilder"]["states"] == {"successful": N}
    assert report["SamsBuilder"]["states"] == {"complete": N * len(SIZES)}
    tables = sorted(tmp_path.glob("*.parquet"))
    assert len(tables) == len(SIZES)
    assert all(read_parquet(table)[0].num_rows == N for table in tables)
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert "features-p8-r12.png" in pictures
    assert len(pictures) == 1 + 2 * len(SIZES)
    again = vtc("build", "all", "--json")
    assert {each["derived"] for each in json.loads(again.stdout).values()} == {0}
    other = vtc("build", "sams", "dataset", "--window", -15, 5)
    assert other.exit_code == 0, other.output
    assert len(database.datasets.distinct("name")) == 2 * len(SIZES)


def test_the_table_and_the_exit_code_tell_failures(vtc, materials):
    save_materials(materials, [material("salt", read("rocksalt_NaCl"))])
    result = vtc("build", "features")
    assert result.exit_code == 1
    assert "Feature: 1 failed: no_transition_metal" in result.stderr
    (row,) = [line.split() for line in result.stdout.splitlines() if line.startswith("Feature")]
    assert row[1:7] == ["0", str(N + 1), str(N + 1), "0", "0", "1"]
    assert vtc("build", "features").exit_code == 0  # nothing was tried
    assert vtc("build", "features", "--retry-failed").exit_code == 1


def test_a_query_and_other_moments(vtc, materials):
    query = '{"material_id": "NiO"}'
    done = vtc("build", "features", "--query", query, "--exponent", 3, "--moment-cutoff", 7.5)
    assert done.exit_code == 0, done.output
    assert materials.features.distinct("record_id") == ["NiO-Ni-p3-r7.5"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--query", "{}x"], "--query is no JSON"),
        (["--query", '{"a": 1}'], "name the step"),
        (["sams", "--window", 5, -5], "window_ev from 5 to -5 eV is empty"),
        (["nothing"], "nothing"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(vtc, database, arguments, says):
    result = vtc("build", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_without_a_database(vtc, tmp_path, monkeypatch):
    monkeypatch.setenv("VTC_DATA_DIRECTORY", str(tmp_path))
    result = vtc("build")
    assert result.exit_code == 2
    assert "no database" in result.stderr


def curve(n_rows: int) -> ExponentCurveDoc:
    exponents = list(range(1, 15))
    one = {"rho": [0.05 * p for p in exponents], "low": [0.0] * 14, "high": [0.8] * 14}
    return ExponentCurveDoc(
        curve_id="name",
        dataset_id="name-0",
        exponents=exponents,
        n_rows=n_rows,
        best_exponent=14,
        as_good=[14],
        qams_sams=one,
        iams_sams=one,
        dams_sams={"rho": [None] * 14, "low": [None] * 14, "high": [None] * 14},
        qams_sams_max=one,
        by_element={"Ti": one["rho"], "Fe": [None] * 14},
        n_by_element={"Ti": n_rows - 1, "Fe": 1},
    )


def test_the_picture_of_a_scan_shows_the_document():
    figure = exponent_figure(curve(20))
    left, right = figure.axes
    assert list(left.lines[0].get_ydata()) == curve(20).qams_sams.rho
    assert [line.get_label() for line in right.lines if line.get_label()[0] != "_"] == ["Ti (19)"]
    assert exponent_figure(curve(2)).axes  # too few rows for any element


def test_distributions_leave_out_what_symmetry_makes_zero():
    values = {"QAMS": {"Ti": [0.0, 0.0, 1.0, 2.0], "Cu": [0.0]}, "SAMS": {"Ti": [0.1, 0.2]}}
    counts, qams, _ = distribution_figure(values).axes
    assert [text.get_text() for text in counts.texts] == ["4", "1"]
    assert [text.get_text() for text in qams.texts] == ["50% zero", "100% zero"]
    assert [line.get_xdata()[0] for line in qams.lines if len(line.get_xdata()) == 1] == [1.5]
    assert distribution_figure({"QAMS": {}}).axes
