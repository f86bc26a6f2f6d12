"""The command line with FEFF 8.5L itself."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.engine

RECORDED = Path(__file__).parents[1] / "data" / "feff10"


@pytest.fixture
def scratch(monkeypatch, tmp_path):
    """The folder for run folders; it must be empty in the end, whatever happens."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("VTC_SCRATCH_DIRECTORY", str(folder))
    yield folder
    assert not list(folder.iterdir())


def test_rutile(vtc, structure_file, tmp_path, scratch):
    result = vtc("run", structure_file("rutile_TiO2"), "--json", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    (record,) = json.loads(result.stdout)
    (site,) = record["sites"]
    # FEFF10 driven by this package gives 0.439 for the valence alone
    assert record["sams"] == pytest.approx(0.438, abs=2e-3)
    assert record["sams"] <= record["sams_max"]
    assert site["symmetry_residual"] < 1e-3
    assert site["smallest_eigenvalue"] > -1e-3
    assert site["converged"] is True
    assert record["provenance"]["engine"]["name"] == "feff8l"
    assert len(record["provenance"]["engine"]["sha256"]) == 64
    assert {"scf", "phases", "fms", "total"} <= site["timings"].keys()
    pictures = list((tmp_path / "out").glob("*.png"))
    assert len(pictures) == 1


def test_feff_input_gives_feff10s_columns(vtc, tmp_path, scratch):
    with gzip.open(RECORDED / "wurtzite_ZnO.json.gz", "rt") as file:
        recorded = json.load(file)
    (tmp_path / "feff.inp").write_text(recorded["feff_inp"])
    result = vtc("feff", tmp_path / "feff.inp", "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    omega, energy, k, mu, mu0, chi = np.loadtxt(tmp_path / "xmu.dat", unpack=True)
    expected = np.array(recorded["spectra"]["x"]["mu"])
    assert np.abs(mu - expected).max() < 2e-3 * expected.max()
    assert np.abs(mu0 - recorded["spectra"]["x"]["mu0"]).max() < 2e-3 * expected.max()
    assert np.allclose(chi, mu - mu0, atol=1e-9)
    assert np.allclose(energy, recorded["e_eV"], atol=0.02)
    assert np.allclose(omega, recorded["omega_eV"], atol=0.03)
    at_fermi = int(np.argmin(np.abs(k)))
    assert abs(k[at_fermi]) < 1e-3
    assert energy[at_fermi] == pytest.approx(recorded["e_fermi_eV"], abs=0.03)


def test_site_that_takes_too_long_is_stopped(vtc, structure_file, tmp_path, scratch, monkeypatch):
    monkeypatch.setenv("VTC_SITE_TIMEOUT_S", "1")
    result = vtc("run", structure_file("NiO"), "--json", "--out", tmp_path / "out")
    assert result.exit_code == 1
    (record,) = json.loads(result.stdout)
    assert record["failures"][0]["reason"] == "timeout"
    assert record["sams"] is None


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupt_ends_feff_and_clears_its_folder(structure_file, tmp_path, scratch, workers):
    files = [str(structure_file(name)) for name in ("NiO", "rutile_TiO2")]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "vtc_flows", "run", *files),
            *("--workers", str(workers), "--out", str(tmp_path / "out")),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not processes_in(scratch):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in text
    assert "Traceback" not in text
    assert not processes_in(scratch)


def processes_in(folder: Path) -> list[int]:
    """Return the processes whose current folder lies in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                where = str((entry / "cwd").readlink())
            except OSError:
                continue
            if where.startswith(str(folder)):
                found.append(int(entry.name))
    return found
