"""Another crystal under a name that is there replaces nothing, wherever results go."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from pymatgen.core.structure import Structure

from vtc_flows.cli.results import write_record
from vtc_flows.errors import InputError
from vtc_flows.schemas import SamsRecord
from vtc_flows.stores.materials import load_materials
from vtc_flows.stores.records import load_records
from vtc_flows.stores.studies import load_studies

ENGINE = ("--engine", "analytic_engine:make")


@pytest.fixture(autouse=True)
def engine(analytic):
    return analytic


@pytest.fixture
def files(tmp_path, crystal) -> tuple[Path, Path]:
    """Two crystals of one name."""
    paths = []
    for folder, name in (("a", "NiO"), ("b", "rutile_TiO2")):
        path = tmp_path / folder / "POSCAR"
        path.parent.mkdir()
        crystal(name).to(path, fmt="poscar")
        paths.append(path)
    return paths[0], paths[1]


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


def run(vtc, out, *arguments):
    return vtc("run", *arguments, *ENGINE, "--no-plot", "--out", out)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_in_a_folder_of_results(vtc, files, out, structure_file):
    a, b = files
    assert run(vtc, out, a).exit_code == 0
    before = contents(out)
    refused = run(vtc, out, b, "--fms-atoms", 40)  # with any settings
    assert refused.exit_code == 2
    (line,) = refused.stderr.strip().splitlines()
    assert f"{b} is another crystal than the one called POSCAR in {out} (that of {a})" in line
    assert "rename the file, or choose another --out" in line
    assert contents(out) == before
    others = run(vtc, out, b, structure_file("tenorite_CuO"))  # which are done all the same
    assert others.exit_code == 2
    with (out / "summary.csv").open() as table:
        assert [row["material_id"] for row in csv.DictReader(table)] == ["POSCAR", "tenorite_CuO"]


def test_the_same_crystal_goes_on(vtc, files, out, engine, tmp_path):
    a, _ = files
    copied = tmp_path / "c" / "POSCAR"
    copied.parent.mkdir()
    shutil.copy(a, copied)
    for path in (a, a, copied):
        assert run(vtc, out, path).exit_code == 0
    assert engine.read_text() == "0\n"
    assert run(vtc, out, a, "--fms-atoms", 40).exit_code == 0
    assert len(list(out.glob("*.json"))) == 2


def test_the_same_file_with_another_content(vtc, files, out):
    a, b = files
    assert run(vtc, out, a).exit_code == 0
    shutil.copy(b, a)
    refused = run(vtc, out, a)
    assert refused.exit_code == 2
    assert "(what the same place held then)" in refused.stderr


def test_a_name_that_begins_alike_is_another_one(vtc, files, out, tmp_path):
    a, b = files
    longer = tmp_path / "POSCAR-2 x"
    shutil.copy(b, longer)
    assert [run(vtc, out, path).exit_code for path in (longer, a, longer)] == [0, 0, 0]


def test_in_one_call(vtc, files, out):
    a, b = files
    result = run(vtc, out, a, b)
    assert result.exit_code == 2
    assert f"{b} and {a} are both called POSCAR and hold different crystals" in result.stderr
    assert len(list(out.glob("*.json"))) == 1
    again = run(vtc, out, a, a.parent / ".." / "a" / "POSCAR")
    assert "hold the same crystal: it is taken once" in again.stderr


def test_who_writes_a_record_is_asked_too(vtc, files, out):
    a, _ = files
    run(vtc, out, a)
    (path,) = out.glob("*.json")
    record = SamsRecord.model_validate_json(path.read_bytes())
    record.provenance.structure["lattice"]["matrix"][0][0] += 0.1
    with pytest.raises(InputError, match="another crystal"):
        write_record(out, record, plot=False)
    path.write_text('{"material_id": "POSCAR", "provenance": {}}')  # of whatever else
    write_record(out, record, plot=False)


class TestDatabase:
    def test_records(self, vtc, files, out, tmp_path, database):
        a, b = files
        assert run(vtc, out, a, "--store").exit_code == 0
        refused = run(vtc, tmp_path / "other", b, "--store")
        assert refused.exit_code == 2
        assert f"{b} is another crystal than the one called POSCAR in the collection sams" in (
            refused.stderr
        )
        assert f"(that of {a})" in refused.stderr
        assert [record.element for record in load_records(database)] == ["Ni"]
        assert run(vtc, tmp_path / "third", a, "--store").exit_code == 0

    def test_materials(self, vtc, files, database, structure_file):
        a, b = files
        assert vtc("import", a).exit_code == 0
        refused = vtc("import", b, structure_file("tenorite_CuO"))
        assert refused.exit_code == 2
        assert refused.stdout.startswith("1 new, 0 changed, 0 unchanged")
        assert "add --replace to put it in the other's place" in refused.stderr
        assert {each.formula for each in load_materials(database)} == {"NiO", "CuO"}
        assert vtc("import", a).stdout.startswith("0 new, 0 changed, 1 unchanged")
        replaced = vtc("import", b, "--replace")
        assert (replaced.exit_code, replaced.stdout[:17]) == (0, "0 new, 1 changed,")

    def test_materials_under_the_name_of_records(self, vtc, files, out, database):
        a, b = files
        assert run(vtc, out, a, "--store").exit_code == 0
        refused = vtc("import", b)
        assert refused.exit_code == 2
        assert "in the collection sams of" in refused.stderr
        assert vtc("import", a).exit_code == 0

    def test_submissions(self, vtc, files, database):
        a, b = files
        assert vtc("submit", a, *ENGINE).exit_code == 0
        refused = vtc("submit", b, *ENGINE, "--fms-atoms", 40)
        assert refused.exit_code == 2
        assert f"{b} is another structure than the one that was submitted as POSCAR" in (
            refused.stderr
        )
        assert f"(that of {a})" in refused.stderr
        assert vtc("submit", b, *ENGINE, "--again").exit_code == 2
        vtc("import", a)
        assert "in the collection materials" in vtc("submit", b, *ENGINE).stderr
        assert database.workflows.count_documents({}) == 1
        assert vtc("import", b, "--replace").exit_code == 0
        assert vtc("submit", b, *ENGINE).stdout.startswith("1 crystals")

    def test_records_of_another_database(self, vtc, files, out, tmp_path, database):
        a, b = files
        run(vtc, out, b, "--store")
        vtc("export", tmp_path / "b.jsonl")
        database.sams.delete_many({})
        run(vtc, tmp_path / "other", a, "--store")
        refused = vtc("restore", tmp_path / "b.jsonl")
        assert refused.exit_code == 2
        assert refused.stdout.startswith("0 records restored")
        assert "is another crystal than the one called POSCAR" in refused.stderr
        assert [record.element for record in load_records(database)] == ["Ni"]

    def test_studies(self, vtc, files, tmp_path, crystal, database):
        a, _ = files
        strain = ("--strain", -1, 1, 1, "--no-plot", "--store", *ENGINE)
        assert vtc("strain", a, *strain, "--out", tmp_path / "one").exit_code == 0
        stretched = crystal("NiO")
        stretched.apply_strain(0.01)
        stretched.to(tmp_path / "POSCAR", fmt="poscar")
        refused = vtc("strain", tmp_path / "POSCAR", *strain, "--out", tmp_path / "two")
        assert refused.exit_code == 2
        assert "in the collection strain_studies" in refused.stderr
        (study,) = load_studies(database)
        assert study.provenance.source == str(a)


def test_workflows(vtc, files, out):
    a, b = files
    assert vtc("workflow", a, *ENGINE, "-o", out).exit_code == 0
    before = contents(out)
    refused = vtc("workflow", b, *ENGINE, "-o", out)
    assert refused.exit_code == 2
    assert (
        f"in {out / 'POSCAR.json'} (that of {a}): rename the file, or choose another --output"
        in (refused.stderr)
    )
    assert contents(out) == before
    assert vtc("workflow", a, *ENGINE, "-o", out, "--fms-atoms", 40).exit_code == 0


def test_studies(vtc, files, out, crystal, tmp_path):
    a, _ = files
    strain = ("--strain", -1, 1, 1, "--no-plot", *ENGINE, "--out", out)
    assert vtc("strain", a, *strain).exit_code == 0
    before = contents(out)
    stretched = crystal("NiO")
    stretched.apply_strain(0.01)
    stretched.to(tmp_path / "POSCAR", fmt="poscar")
    refused = vtc("strain", tmp_path / "POSCAR", *strain)
    assert refused.exit_code == 2
    assert "is another crystal than the one called POSCAR" in refused.stderr
    assert contents(out) == before
    assert run(vtc, out, tmp_path / "POSCAR").exit_code == 2
    assert vtc("strain", a, *strain).exit_code == 0


def test_comparisons(vtc, files, out, crystal, tmp_path):
    a, _ = files
    sides = ("compare", "analytic_engine:make", "analytic_engine:make_shifted")
    assert vtc(*sides, a, "--no-plot", "--out", out).exit_code == 0
    stretched = crystal("NiO")
    stretched.apply_strain(0.01)
    stretched.to(tmp_path / "POSCAR", fmt="poscar")
    refused = vtc(*sides, tmp_path / "POSCAR", "--no-plot", "--out", out)
    assert refused.exit_code == 2
    assert "is another crystal than the one called POSCAR" in refused.stderr
    (comparison,) = json.loads((out / "comparison.json").read_text())["comparisons"]
    assert comparison["source"] == str(a)
    volume = Structure.from_dict(comparison["structure"]).volume
    assert volume == pytest.approx(crystal("NiO").volume)
