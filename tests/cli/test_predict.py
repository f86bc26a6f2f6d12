from __future__ import annotations

import gzip
import json
import shutil

import campaign as made
import pytest
import trained

from vtc_flows.stores.collections import prepare
from vtc_flows.stores.materials import save_materials


@pytest.fixture(scope="module")
def model(mongo_server):
    with pytest.MonkeyPatch.context() as patch:
        return trained.model(mongo_server.uri, patch)


@pytest.fixture
def file(model, tmp_path):
    return trained.write(model, tmp_path / "m.skops")


@pytest.fixture
def many(tmp_path):
    """Return a file of JSON lines with one crystal that cannot be used."""
    path = tmp_path / "many.jsonl.gz"
    with gzip.open(path, "wt") as lines:
        for name in [*made.STRUCTURES, "rocksalt_NaCl"]:
            document = made.material(name)
            lines.write(json.dumps({"id": name, "structure": document.structure}) + "\n")
        lines.write("{\n")
    return path


def test_people_see_value_interval_domain_and_features(vtc, file, structure_file):
    done = vtc("predict", structure_file("ferrocene"), "--model", file, "--level", "0.8")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    names = ("material", "formula", "X", "SAMS", "80", "%", "distance", "domain")
    assert lines[0].split() == [*names]
    assert lines[2].split()[:3] == ["ferrocene", "Fe(HC)10", "Fe"]
    assert lines[2].split()[-1] == "outside"
    assert "SAMS in the shared frame in eV^-1/2" in done.stdout
    assert "ferrocene Fe is outside the domain: density 1.564 g/cm^3 is below" in done.stdout
    assert "en_mean" in done.stdout


def test_programs_get_json_and_problems_beside(vtc, file, structure_file):
    done = vtc(
        *("predict", structure_file("rutile_TiO2"), structure_file("rocksalt_NaCl")),
        *("--model", file, "--json"),
    )
    assert done.exit_code == 2
    (found,) = json.loads(done.stdout)
    assert found["element"] == "Ti"
    assert [each["level"] for each in found["intervals"]] == [0.5, 0.8, 0.9]
    assert "NaCl holds none of Sc ... Zn" in done.stderr
    none = vtc("predict", structure_file("rocksalt_NaCl"), "--model", file, "--json")
    assert (none.exit_code, json.loads(none.stdout)) == (2, [])


def test_a_file_is_continued(vtc, file, many, tmp_path):
    out = tmp_path / "all.jsonl"
    first = vtc("predict", many, "--model", file, "-o", out)
    assert first.exit_code == 2
    assert "5 predictions written, 0 there already, 2 crystals that cannot be" in first.stderr
    assert "line 6: NaCl holds none" in first.stderr
    assert "line 7 is not JSON" in first.stderr
    whole = out.read_bytes()
    again = vtc("predict", many, "--model", file, "-o", out)
    assert "0 predictions written, 5 there already" in again.stderr
    out.write_bytes(whole[: len(whole) // 2])
    rest = vtc("predict", many, "--model", file, "-o", out, "--workers", 2)
    assert "the last line was cut off" in rest.stderr
    assert out.read_bytes() == whole
    other = vtc("predict", many, "--model", file, "-o", out, "--level", 0.5)
    assert other.exit_code == 2
    assert "choose another file, or --level as before" in other.stderr


def test_folders_elements_and_limits(vtc, file, structure_file, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in made.STRUCTURES:
        shutil.copy(structure_file(name), folder)
    done = vtc("predict", folder, "--model", file, "--json", "--element", "Ti", "--element", "Ni")
    assert done.exit_code == 0, done.output
    assert [each["element"] for each in json.loads(done.stdout)] == ["Ni", "Ti"]
    none = vtc("predict", folder, "--model", file, "--element", "Zn")
    assert none.exit_code == 2
    assert "no crystal that holds Zn" in none.stderr


def test_the_database_has_models_and_materials(vtc, database, model, structure_file):
    prepare(database)
    nothing = vtc("predict", structure_file("NiO"), "--model", "current")
    assert nothing.exit_code == 2
    assert "vtc train" in nothing.stderr
    trained.store(database, model)
    save_materials(database, [made.material(name) for name in made.STRUCTURES])
    done = vtc("predict", "--materials", "--query", '{"elements": "Fe"}', "--json")
    assert done.exit_code == 0, done.output
    assert [each["material_id"] for each in json.loads(done.stdout)] == ["triclinic_Fe2P2O7"]
    named = vtc("predict", structure_file("NiO"), "--model", "nobody")
    assert named.exit_code == 2
    assert "no model nobody" in named.stderr


def test_build_and_screen(vtc, database, model, tmp_path):
    prepare(database)
    everything = vtc("build", "--json")
    assert "PredictionBuilder" not in json.loads(everything.stdout)  # there is no model
    assert vtc("build", "predictions").exit_code == 2
    trained.store(database, model)
    save_materials(database, [made.material(name) for name in made.STRUCTURES])
    built = vtc("build", "features", "predictions", "--json")
    assert built.exit_code == 0, built.output
    assert json.loads(built.stdout)["PredictionBuilder"]["written"] == len(made.STRUCTURES)
    shown = vtc("screen", "--elements", "Ti,O")
    assert shown.exit_code == 0, shown.output
    (row,) = [line for line in shown.stdout.splitlines() if "rutile" in line]
    assert row.split()[:5] == ["rutile_TiO2", "TiO2", "Ti", "136", "30"]
    rows = json.loads(vtc("screen", "--predicted", "--sort", "material", "--json").stdout)
    assert [each["material_id"] for each in rows] == sorted(made.STRUCTURES)


@pytest.mark.parametrize("arguments", [[], ["nowhere.cif"], ["--materials", "--limit", "0"]])
def test_what_cannot_be_is_refused_in_one_line(vtc, file, arguments):
    done = vtc("predict", *arguments, "--model", file)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_tampered_model_is_refused(vtc, file, structure_file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    done = vtc("predict", structure_file("NiO"), "--model", file)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_another_crystal_of_the_name_is_not_taken_for_done(vtc, file, crystal, tmp_path):
    for folder, name in (("a", "NiO"), ("b", "rutile_TiO2"), ("c", "NiO")):
        (tmp_path / folder).mkdir()
        structure = crystal(name)
        if folder == "c":  # as the first, but stretched
            structure.apply_strain(0.01)
        structure.to(tmp_path / folder / "POSCAR", fmt="poscar")
    out = tmp_path / "all.jsonl"
    files = [tmp_path / folder / "POSCAR" for folder in "abc"]
    first, second, third = (vtc("predict", path, "--model", file, "--out", out) for path in files)
    assert first.exit_code == 0
    for path, refused in zip(files[1:], (second, third), strict=True):
        assert refused.exit_code == 2
        assert f"{path} is another crystal than the one called POSCAR in {out}" in refused.stderr
    assert len(out.read_text().splitlines()) == 1
    assert vtc("predict", files[0], "--model", file, "--out", out).exit_code == 0
