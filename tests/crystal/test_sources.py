from __future__ import annotations

import gzip
import json
import shutil

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from vtc_flows.crystal.sources import load_structures
from vtc_flows.errors import DisorderedStructureError, InputError, StructureError


@pytest.fixture
def tilted():
    """A cell whose vectors lie along no axis and are not reduced."""
    return Structure(
        Lattice([[3.1, 0.4, 0.2], [6.0, 3.3, -0.1], [0.3, -0.2, 8.0]]),
        ["Fe", "O"], [[0.1, 0.2, 0.9], [1.2, -0.4, 0.5]],
    )  # fmt: skip


def same_description(one, other):
    np.testing.assert_allclose(one.lattice.matrix, other.lattice.matrix, atol=1e-9)
    np.testing.assert_allclose(one.cart_coords, other.cart_coords, atol=1e-8)
    assert [s.specie.symbol for s in one] == [s.specie.symbol for s in other]


def test_json_keeps_cell_axes_and_order(tmp_path, tilted):
    path = tmp_path / "tilted.json"
    path.write_text(json.dumps(tilted.as_dict()))
    (record,) = load_structures([path])
    same_description(record.structure, tilted)
    assert (record.material_id, record.label, record.source) == ("tilted", "FeO", str(path))


@pytest.mark.parametrize("name", ["POSCAR", "tilted.vasp", "CONTCAR.gz", "POSCAR.relaxed"])
def test_poscar_keeps_cell_axes_and_order(tmp_path, tilted, name):
    path = tmp_path / name
    text = tilted.to(fmt="poscar").encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    (record,) = load_structures([path])
    same_description(record.structure, tilted)
    assert record.material_id == name.removesuffix(".gz").removesuffix(".vasp")


def test_cif_keeps_the_cell_stated(structure_path, tmp_path):
    packed = tmp_path / "rutile.cif.gz"
    packed.write_bytes(gzip.compress(structure_path("rutile_TiO2").read_bytes()))
    plain, zipped = load_structures([structure_path("rutile_TiO2"), packed])
    same_description(plain.structure, zipped.structure)
    assert (plain.material_id, zipped.material_id) == ("rutile_TiO2", "rutile")
    assert sorted(plain.structure.lattice.abc) == pytest.approx([2.96, 4.6, 4.6], abs=0.01)


def test_a_conventional_cif_is_not_reduced(tmp_path):
    nacl_type = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.2), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    path = tmp_path / "conventional.cif"
    path.write_text(nacl_type.to(fmt="cif"))
    (record,) = load_structures([path])
    assert len(record.structure) == 8


def test_readers_remarks_are_kept(tmp_path):
    # one third written with four digits: the reader rounds it and says so
    path = tmp_path / "rounded.cif"
    path.write_text(
        "data_x\n_cell_length_a 3.0\n_cell_length_b 3.0\n_cell_length_c 4.9\n"
        "_cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 120\n"
        "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
        "Co1 0.3333 0.6667 0.25\nCo2 0.6667 0.3333 0.75\n"
    )
    (record,) = load_structures([path])
    assert any("rounded" in remark for remark in record.warnings)


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_json_lines_are_streamed(tmp_path, tilted, suffix):
    lines = [
        json.dumps({"id": "mp-1", "structure": tilted.as_dict()}),
        "",
        json.dumps({"material_id": "mine", "id": "mp-2", "structure": tilted.as_dict()}),
        json.dumps(tilted.as_dict()),
        "{broken",
    ]
    path = tmp_path / f"many.{suffix}"
    text = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    records = load_structures([path])
    assert [next(records).material_id for _ in range(3)] == ["mp-1", "mine", "many-4"]
    with pytest.raises(StructureError, match="line 5 is not JSON"):
        next(records)


def test_json_list(tmp_path, tilted):
    path = tmp_path / "two.json"
    path.write_text(json.dumps([tilted.as_dict(), {"id": "a", "structure": tilted.as_dict()}]))
    assert [record.material_id for record in load_structures([path])] == ["two-0", "a"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"),
        ("3", "not a structure but a int"),
        ('{"id": "mp-1"}', 'neither "lattice" and "sites" nor "structure"'),
        ('{"lattice": {"matrix": [[1, 0, 0]]}, "sites": []}', "not a readable structure"),
    ],
)
def test_json_without_a_structure(tmp_path, content, says):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(StructureError, match=says):
        list(load_structures([path]))


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("broken_TiO2", StructureError, "holds no readable structure"),
        ("two_structures", StructureError, r"2 structures \(NiO, NaCl\): split"),
        ("over_occupied_FeO", DisorderedStructureError, "more than 1"),
    ],
)
def test_unusable_cif(structure_path, name, error, says):
    with pytest.raises(error, match=says) as caught:
        list(load_structures([structure_path(name)]))
    assert f"{name}.cif" in str(caught.value)


def test_cut_off_archive(tmp_path, structure_path):
    path = tmp_path / "cut.cif.gz"
    path.write_bytes(gzip.compress(structure_path("NiO").read_bytes())[:-30])
    with pytest.raises(StructureError, match="cannot be read"):
        list(load_structures([path]))
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n" * 100_000)[:-30])
    with pytest.raises(StructureError, match="cannot be read beyond line"):
        list(load_structures([path]))


def test_poscar_without_elements(tmp_path):
    path = tmp_path / "POSCAR"
    path.write_text("unnamed\n1.0\n4 0 0\n0 4 0\n0 0 4\n1 1\ndirect\n0 0 0\n0.5 0.5 0.5\n")
    with pytest.raises(StructureError, match="does not name its elements"):
        list(load_structures([path]))
    path.write_text("nonsense")
    with pytest.raises(StructureError, match="not a readable POSCAR"):
        list(load_structures([path]))


def test_unknown_paths(tmp_path):
    with pytest.raises(InputError, match=r"no such file: .*absent\.cif.*CIF .*POSCAR"):
        list(load_structures([tmp_path / "absent.cif"]))
    with pytest.raises(InputError, match="is a folder"):
        list(load_structures([tmp_path]))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="unknown kind"):
        list(load_structures([tmp_path / "notes.txt"]))


def test_a_file_goes_before_an_id(tmp_path, monkeypatch, structure_path):
    monkeypatch.chdir(tmp_path)
    shutil.copy(structure_path("NiO"), "mp-19009.cif")
    (record,) = load_structures(["mp-19009.cif"])
    assert record.material_id == "mp-19009"


def test_a_broken_line_does_not_hide_the_others(tmp_path, crystal):
    good = {"id": "a", "structure": crystal("NiO").as_dict()}
    lines = [json.dumps(good), "{broken", json.dumps({"id": "x"}), json.dumps({**good, "id": "b"})]
    path = tmp_path / "many.jsonl"
    path.write_text("\n".join(lines))
    problems = []
    records = list(load_structures([path], on_problem=problems.append))
    assert [record.material_id for record in records] == ["a", "b"]
    assert ["line 2" in str(problems[0]), "line 3" in str(problems[1])] == [True, True]
    with pytest.raises(StructureError, match="line 2 is not JSON"):
        list(load_structures([path]))
