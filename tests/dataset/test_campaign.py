"""A campaign goes on where it stopped, however it was stopped, and loses nothing."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from pymatgen.core import Lattice, Structure

from vtc_flows.cli import main
from vtc_flows.crystal.sites import site_orbits
from vtc_flows.dataset import shards as shards_module
from vtc_flows.dataset.quantized import LARGEST_ERROR
from vtc_flows.dataset.rows import document_of, row_of, tensor_of
from vtc_flows.dataset.shards import SiteShards, key_of, site_files, site_rows
from vtc_flows.schemas import SiteXesDoc, XesSettings
from vtc_flows.workflow.analysis import structure_dict
from vtc_flows.workflow.jobs import SiteXesMaker

ENGINE = "analytic_engine:make"
ROOT = Path(__file__).parents[2]


def crystal(metal="Fe", a=4.3, c=4.6):
    """Return a crystal with two kinds of sites of the metal."""
    return Structure(
        Lattice.orthorhombic(a, a + 0.2, c),
        [metal, metal, "O", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.45], [0.5, 0.5, 0], [0, 0, 0.52]],
    )


def inputs(folder, records, structures):
    with gzip.open(folder / "structures.jsonl.gz", "wt") as stream:
        for name, structure in structures.items():
            stream.write(json.dumps({"id": name, "structure": structure.as_dict()}) + "\n")
    with (folder / "order.csv").open("w") as stream:
        writer = csv.writer(stream)
        writer.writerow(["rank", "material_id", "element", "part"])
        writer.writerows(records)
    return [str(folder / "structures.jsonl.gz"), str(folder / "order.csv")]


@pytest.fixture
def two(tmp_path):
    records = [(1, "a", "Fe", "test"), (2, "b", "Co", "train"), (10, "b", "Co", "train")]
    return inputs(tmp_path, records[:2], {"a": crystal(), "b": crystal("Co", 4.4)})


def run(*arguments):
    return CliRunner().invoke(
        main, ["campaign", *arguments, "--engine", ENGINE, "--nice", "0"], catch_exceptions=False
    )


def rows(folder):
    return list(site_rows(folder))


def test_every_site_becomes_a_row(two, tmp_path):
    assert run(*two, "--out", str(tmp_path / "data")).exit_code == 0
    found = rows(tmp_path / "data")
    assert len({key_of(row) for row in found}) == len(found) == 4
    assert {row["state"] for row in found} == {"successful"}
    sizes = {row["part"]: [one["fms_atoms"] for one in row["spectra"]] for row in found}
    assert sizes == {"test": [30, 80], "train": [30]}
    assert all(np.isclose(row["energy_start_ev"], -30.0) for row in found)


def test_rows_become_documents_again():
    structure = crystal()
    document = SiteXesMaker(engine=ENGINE, settings=XesSettings(fms_atoms=(30, 80))).compute(
        structure, 0, "a", multiplicity=1
    )
    (orbit, _) = site_orbits(structure, "Fe")
    row = row_of(document, orbit, part="test", rank=1, engine="analytic/1")
    again = document_of(row, structure_dict(structure))
    assert isinstance(again, SiteXesDoc)
    for before, after in zip(document.spectra, again.spectra, strict=True):
        tensor = np.array(before.tensor)
        off = np.abs(np.array(after.tensor) - tensor).max()
        assert off <= (LARGEST_ERROR + 1e-3) * np.abs(tensor).max()  # symmetry, then steps
        np.testing.assert_allclose(after.energy_ev, before.energy_ev, atol=1e-9)
        left_out = {"tensor", "background", "energy_ev", "engine_input"}
        assert after.model_dump(exclude=left_out) == before.model_dump(exclude=left_out)
    assert tensor_of(row["spectra"][-1]).shape == (351, 6)


def test_failures_are_rows_too(two, tmp_path, monkeypatch):
    monkeypatch.setenv("ANALYTIC_FAIL", "0")
    assert run(*two, "--out", str(tmp_path / "data")).exit_code == 0
    found = {key_of(row): row for row in rows(tmp_path / "data")}
    assert found["a", "Fe", 0]["reason"] == "scf_not_converged"
    assert found["a", "Fe", 1]["state"] == "successful"
    again = document_of(found["a", "Fe", 0], structure_dict(crystal()))
    assert again.failure is not None
    assert again.failure.reason == "scf_not_converged"


def test_nothing_is_computed_twice(two, tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("ANALYTIC_LOG", str(log))
    for most in ("1", "2", "9"):
        assert run(*two, "--out", str(tmp_path / "data"), "--most", most).exit_code == 0
    assert len(log.read_text().splitlines()) == 4
    files = site_files(tmp_path / "data")
    assert [pq.read_metadata(path).num_rows for path in files] == [1, 2, 1]
    assert "no site was left" in run(*two, "--out", str(tmp_path / "data")).output


def test_a_newer_engine_computes_anew(two, tmp_path, monkeypatch):
    import analytic_engine

    run(*two, "--out", str(tmp_path / "data"))
    monkeypatch.setattr(analytic_engine, "REVISION", 2)
    run(*two, "--out", str(tmp_path / "data"))
    shards = SiteShards(tmp_path / "data")
    assert len(list(site_rows(shards.folder))) == 8
    assert len(shards.known("analytic/1")) == len(shards.known("analytic/2")) == 4


def test_shares_do_the_whole_together(two, tmp_path):
    for share in ("1/2", "2/2"):
        assert run(*two, "--out", str(tmp_path / "data"), "--shard", share).exit_code == 0
    assert len({key_of(row) for row in rows(tmp_path / "data")}) == 4
    names = {path.name for path in site_files(tmp_path / "data")}
    assert names == {"sites-1of2-00001.parquet", "sites-2of2-00001.parquet"}


def test_what_cannot_be_computed_is_said_and_passed_over(tmp_path):
    given = inputs(
        tmp_path,
        [(1, "missing", "Fe", "train"), (2, "a", "Ti", "train"), (3, "a", "Fe", "train")],
        {"a": crystal()},
    )
    done = run(*given, "--out", str(tmp_path / "data"))
    assert "no structure missing" in done.output
    assert "a Ti" in done.output
    assert len(rows(tmp_path / "data")) == 2


@pytest.mark.parametrize("share", ["0/2", "3/2", "two"])
def test_shares_that_are_none_are_refused(two, tmp_path, share):
    done = CliRunner().invoke(main, ["campaign", *two, "--shard", share, "--engine", ENGINE])
    assert done.exit_code == 2
    assert "write the share" in done.output


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_finished_outlives_the_process(tmp_path, how):
    given = inputs(
        tmp_path,
        [(k, str(k), "Fe", "train") for k in range(1, 40)],
        {str(k): crystal(a=4.3 + 0.01 * k) for k in range(1, 40)},
    )
    data, log = tmp_path / "data", tmp_path / "log"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "tests" / "support"),
        "ANALYTIC_TAKES": "0.2",
        "ANALYTIC_LOG": str(log),
    }
    command = [str(Path(sys.executable).parent / "vtc"), "campaign", *given, "--engine", ENGINE]
    with subprocess.Popen([*command, "--out", str(data), "--workers", "2"], env=environment) as one:
        deadline = time.monotonic() + 60
        journal = data / "open-1of1.jsonl"
        while not journal.exists() or len(journal.read_text().splitlines()) < 6:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        one.send_signal(how)
    kept = SiteShards(data).known("analytic/1")
    assert len(kept) >= 6
    assert one.returncode == (130 if how == signal.SIGTERM else -how)
    calculated = len(log.read_text().splitlines())
    done = run(*given, "--out", str(data), "--most", "4")
    assert done.exit_code == 0
    after = SiteShards(data)
    assert len(after.known("analytic/1")) == len(kept) + 4
    assert len(list(site_rows(after.folder))) == len(kept) + 4
    assert calculated - len(kept) <= 4  # those that were under way


def test_a_line_that_was_cut_off_is_left_out(two, tmp_path):
    run(*two, "--out", str(tmp_path / "data"), "--most", "2")
    shards = SiteShards(tmp_path / "data", "3of3")
    shards.add({**rows(tmp_path / "data")[0], "site_index": 7})
    journal = tmp_path / "data" / "open-3of3.jsonl"
    journal.write_text(journal.read_text() + '{"material_id": "b", "elem')
    again = SiteShards(tmp_path / "data", "3of3")
    again.close()
    assert len(rows(tmp_path / "data")) == 3
    assert not journal.exists()


def test_files_are_closed_at_their_size(two, tmp_path, monkeypatch):
    monkeypatch.setattr(shards_module, "ROWS_PER_FILE", 2)
    run(*two, "--out", str(tmp_path / "data"))
    sizes = [pq.read_metadata(path).num_rows for path in site_files(tmp_path / "data")]
    assert sizes == [2, 2]
