"""The table of records is made from the files of sites alone, and says what the documents say."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Lattice, Structure

from vtc_flows.crystal.sites import site_orbits
from vtc_flows.dataset.quantized import LARGEST_ERROR
from vtc_flows.dataset.records import record_rows, sites_by_record
from vtc_flows.dataset.rows import row_of
from vtc_flows.dataset.shards import SiteShards
from vtc_flows.physics.sams import frame_free_anisotropy, gram
from vtc_flows.schemas import SamsSettings, XesSettings
from vtc_flows.workflow.analysis import sams_records
from vtc_flows.workflow.jobs import SiteXesMaker

SETTINGS = XesSettings(fms_atoms=(30, 80))


def crystal():
    """Return a crystal with two kinds of sites of iron."""
    return Structure(
        Lattice.orthorhombic(4.3, 4.5, 4.6),
        ["Fe", "Fe", "O", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.45], [0.5, 0.5, 0], [0, 0, 0.52]],
    )


def documents(structure, engine="analytic_engine:make"):
    maker = SiteXesMaker(engine=engine, settings=SETTINGS)
    return [
        maker.compute(structure, orbit.representative, "a", multiplicity=orbit.multiplicity)
        for orbit in site_orbits(structure, "Fe")
    ]


def put(folder, structure, found, engine="analytic/1"):
    shards = SiteShards(folder)
    for orbit, document in zip(site_orbits(structure, "Fe"), found, strict=False):
        shards.add(row_of(document, orbit, part="train", rank=7, engine=engine))
    shards.close()
    return folder


def lines(structure, name="a"):
    return {name: json.dumps({"id": name, "structure": structure.as_dict()})}


def raised(material_id, element, error):
    raise AssertionError(f"{material_id} {element}: {error}")


def test_records_are_those_of_the_documents(tmp_path):
    structure = crystal()
    found = documents(structure)
    expected = sams_records(structure, "Fe", "a", found, SETTINGS, SamsSettings())
    folder = put(tmp_path, structure, found)
    made = list(record_rows(sites_by_record(folder), lines(structure), raised))
    assert [row["fms_atoms"] for row in made] == [30, 80]
    for row, record in zip(made, expected, strict=True):
        assert row["record_id"] == record.record_id
        assert (row["part"], row["rank"], row["formula"]) == ("train", 7, "FeO")
        assert (row["n_sites"], row["n_orbits"], row["reason"]) == (2, 2, None)
        for name in ("sams", "sams_site", "sams_max", "sams_crystal", "sams_crystal_max"):
            # the tensors were rounded
            assert row[name] == pytest.approx(getattr(record, name), abs=20 * LARGEST_ERROR)
        for name, value in record.features.numbers().items():
            assert row[name] == value
        assert row["cpu_s"] == pytest.approx(
            sum(site.timings["total"] for site in record.sites), rel=1e-6
        )
        values = {
            width: [
                frame_free_anisotropy(
                    gram(np.array(s.energy_ev) - s.e_fermi_ev, s.tensor, record.window_ev, width)
                )
                for s in record.sites
            ]
            for width in (0.0, 2.0)
        }
        assert row["anisotropy"] == pytest.approx(np.mean(values[0.0]), abs=20 * LARGEST_ERROR)
        assert row["anisotropy_2ev"] == pytest.approx(np.mean(values[2.0]), abs=20 * LARGEST_ERROR)
        assert row["anisotropy_max"] == pytest.approx(max(values[0.0]), abs=20 * LARGEST_ERROR)
        assert row["anisotropy_2ev"] < row["anisotropy"]  # broadening takes contrast away


def test_a_record_with_a_site_missing_has_no_sams_but_a_reason(tmp_path):
    structure = crystal()
    folder = put(tmp_path, structure, documents(structure)[:1])
    for row in record_rows(sites_by_record(folder), lines(structure), raised):
        assert row["reason"] == "job_failed"
        assert row["sams"] is row["anisotropy"] is row["anisotropy_max_2ev"] is None
        assert row["in8"] > 0


def test_rows_of_another_engine_stay_out(tmp_path):
    structure = crystal()
    found = documents(structure)
    put(tmp_path, structure, found, engine="analytic/0")
    folder = put(tmp_path, structure, found[:1], engine="analytic/1")
    newest, old = sites_by_record(folder), sites_by_record(folder, "analytic/0")
    assert [len(rows) for rows in newest.values()] == [1]
    assert [len(rows) for rows in old.values()] == [2]
    assert sites_by_record(tmp_path / "empty") == {}


def test_one_bad_record_does_not_stop_the_others(tmp_path):
    structure = crystal()
    sites = sites_by_record(put(tmp_path, structure, documents(structure)))
    told = []
    sites = {("lost", "Fe"): sites["a", "Fe"], **sites}
    made = list(record_rows(sites, lines(structure), lambda *what: told.append(what[:2])))
    assert [row["material_id"] for row in made] == ["a", "a"]
    assert told == [("lost", "Fe")]


def test_the_table_has_its_types_and_the_command_says_what_there_is(tmp_path, vtc):
    structure = crystal()
    put(tmp_path / "sites", structure, documents(structure)[:1])
    (tmp_path / "structures.jsonl").write_text(lines(structure)["a"] + "\n")
    structures = tmp_path / "structures.jsonl"
    done = vtc("data", "pack", tmp_path, structures)
    assert done.exit_code == 0, done.output
    table = pq.read_table(tmp_path / "records.parquet")
    assert table.num_rows == 2
    assert table.schema.field("sams").type == "double"  # although all of it is missing
    assert table.column("reason").to_pylist() == ["job_failed"] * 2
    told = vtc("data", "info", tmp_path / "sites")
    assert "1 sites in 1 files" in told.output
    assert "analytic/1: 1 records, 1 sites" in told.output
    assert "analytic/1: 1 records, 1 sites" in vtc("data", "info", tmp_path).output
    assert vtc("data", "verify", tmp_path).exit_code == 0
    (tmp_path / "records.parquet").write_bytes(b"")
    wrong = vtc("data", "verify", tmp_path)
    assert (wrong.exit_code, "its digest differs" in wrong.output) == (1, True)
    (tmp_path / "none.jsonl").write_text("")
    lost = vtc("data", "pack", tmp_path, tmp_path / "none.jsonl")
    assert lost.exit_code == 2
    assert "there is no structure a" in lost.output
