from __future__ import annotations

import gzip
import json

import pytest

from vtc_flows.stores.materials import load_materials


@pytest.fixture
def lines(tmp_path, crystal):
    """Write a file of JSON lines as collections of structures are kept."""
    path = tmp_path / "structures.jsonl.gz"
    known = {"source": "MP", "licence": "CC-BY-4.0", "experimental": True, "spacegroup": 225}
    with gzip.open(path, "wt") as file:
        for name in ("NiO", "rutile_TiO2", "tenorite_CuO"):
            entry = {"id": f"x-{name}", **known, "structure": crystal(name).as_dict()}
            file.write(json.dumps(entry) + "\n")
        file.write('{"id": "broken"}\n')
        file.write(json.dumps({"id": "x-NiO", "structure": crystal("NiO").as_dict()}) + "\n")
    return path


def test_what_the_source_says_is_kept(vtc, database, lines):
    result = vtc("import", lines)
    assert result.exit_code == 2
    assert result.stdout.startswith("3 new, 0 changed, 0 unchanged")
    assert "line 4 has no pymatgen structure" in result.stderr
    assert "line 5 and" in result.stderr
    assert "are both called x-NiO" in result.stderr
    material = next(load_materials(database, {"elements": "Ti"}))
    assert (material.material_id, material.formula, material.n_sites) == (
        "x-rutile_TiO2",
        "TiO2",
        6,
    )
    assert (material.source, material.licence, material.experimental) == ("MP", "CC-BY-4.0", True)
    assert material.facts == {"spacegroup": 225}


def test_files_with_what_they_do_not_say(vtc, database, structure_file):
    files = [structure_file(name) for name in ("NiO", "rocksalt_NaCl")]
    assert vtc("import", *files, "--licence", "CC0", "--computed").exit_code == 0
    materials = {material.material_id: material for material in load_materials(database)}
    assert (materials["NiO"].licence, materials["NiO"].experimental) == ("CC0", False)
    assert materials["rocksalt_NaCl"].source == str(files[1])
    again = vtc("import", *files, "--licence", "CC0", "--computed")
    assert again.stdout.startswith("0 new, 0 changed, 2 unchanged")
    assert vtc("import", *files).stdout.startswith("0 new, 2 changed, 0 unchanged")


def test_a_choice_among_many(vtc, database, lines):
    vtc("import", lines, "--element", "Ni", "--element", "Ti", "--max-atoms", 5)
    assert [material.material_id for material in load_materials(database)] == ["x-NiO"]
    vtc("import", lines, "--limit", 2)
    assert database.materials.count_documents({}) == 2


def test_nothing_given(vtc, database):
    result = vtc("import")
    assert result.exit_code == 2
    assert "no crystals: give files" in result.stderr
