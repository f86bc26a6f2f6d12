from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vtc_flows.schemas import SamsRecord

ENGINE = ("--engine", "analytic_engine:make")


def one_line(result) -> str:
    """Return the single line of an error."""
    assert "Traceback" not in result.stderr
    (line,) = result.stderr.strip().splitlines()
    return line


@pytest.fixture
def run(vtc, analytic, tmp_path):
    """Call `vtc run` with the analytic engine and a folder of its own."""

    def call(*arguments: object):
        return vtc("run", *arguments, *ENGINE, "--out", tmp_path / "out")

    return call


@pytest.fixture
def no_feff(monkeypatch, tmp_path):
    """A setting that makes sure that FEFF is not found, whatever the machine has."""
    monkeypatch.setenv("VTC_FEFF8L_DIRECTORY", str(tmp_path / "nowhere"))


class TestRun:
    def test_json_holds_the_records(self, run, structure_file):
        result = run(structure_file("rutile_TiO2"), "--fms-atoms", "30,80", "--json")
        assert result.exit_code == 0
        records = json.loads(result.stdout)
        assert [record["fms_atoms"] for record in records] == [30, 80]
        for record in records:
            assert SamsRecord.model_validate(record)
            assert record["window_ev"] == [-30.0, 5.0]
            (site,) = record["sites"]
            assert np.shape(site["tensor"]) == (351, 6)
            assert np.shape(record["frame"]) == (3, 3)
            assert record["sams"] == pytest.approx(site["sams"])
        assert "SAMS" in result.stderr

    def test_tables_fit_80_columns(self, run, structure_file):
        result = run(structure_file("triclinic_Fe2P2O7"), "--no-plot")
        lines = result.stdout.splitlines()
        assert lines[1].startswith("triclinic_Fe2P2O7  Fe  30 neighbours")
        assert "SAMS in eV^-1/2, E_F-30 ... E_F+5 eV" in lines
        assert max(map(len, lines)) <= 80
        assert all(line == line.rstrip() for line in lines)
        assert [line.split()[:2] for line in lines[-2:]] == [["0", "1"], ["1", "1"]]

    def test_folder_of_results(self, run, structure_file, tmp_path):
        result = run(structure_file("rutile_TiO2"))
        assert result.exit_code == 0
        assert "SAMS" in result.stdout
        files = sorted(path.name for path in (tmp_path / "out").iterdir())
        (name,) = [file.removesuffix(".json") for file in files if file.endswith(".json")]
        assert files == sorted([f"{name}.json", f"{name}.png", "sites", "summary.csv"])
        with (tmp_path / "out/summary.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        record = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert float(row["sams"]) == record["sams"]
        assert row["record_id"] == record["record_id"] == name

    def test_summary_keeps_the_rows_of_other_runs(self, run, structure_file, tmp_path):
        for name in ("rutile_TiO2", "NiO", "rutile_TiO2"):
            assert run(structure_file(name), "--no-plot").exit_code == 0
        with (tmp_path / "out/summary.csv").open(newline="") as file:
            assert [row["material_id"] for row in csv.DictReader(file)] == ["rutile_TiO2", "NiO"]

    def test_element_and_preset(self, run, structure_file):
        result = run(
            structure_file("NiO"), "--element", "ni", "--preset", "converged", "--json", "--no-plot"
        )
        (record,) = json.loads(result.stdout)
        assert (record["element"], record["fms_atoms"]) == ("Ni", 80)

    def test_workers_give_the_same_in_the_same_order(self, run, vtc, structure_file, tmp_path):
        files = [structure_file(name) for name in ("rutile_TiO2", "NiO", "tenorite_CuO")]
        one = json.loads(run(*files, "--json", "--no-plot").stdout)
        result = vtc(
            *("run", *files, *ENGINE, "--json", "--no-plot"),
            *("--workers", 2, "--out", tmp_path / "two"),
        )
        assert result.exit_code == 0, result.stderr
        two = json.loads(result.stdout)
        assert [r["record_id"] for r in two] == [r["record_id"] for r in one]
        assert [r["sams"] for r in two] == [r["sams"] for r in one]

    def test_window_follows_the_grid(self, run, structure_file):
        result = run(structure_file("NiO"), "--energies", 20, 3, 0.5, "--json", "--no-plot")
        (record,) = json.loads(result.stdout)
        assert record["window_ev"] == [-20.0, 3.0]
        assert len(record["sites"][0]["energy_ev"]) == 47


class TestRunGoesOn:
    def test_failed_site_is_reported_and_the_rest_done(self, run, structure_file, monkeypatch):
        monkeypatch.setenv("ANALYTIC_FAIL", "1")
        files = [structure_file("triclinic_Fe2P2O7"), structure_file("rutile_TiO2")]
        result = run(*files, "--json")
        assert result.exit_code == 1
        incomplete, complete = json.loads(result.stdout)
        assert (incomplete["state"], complete["state"]) == ("incomplete", "complete")
        assert incomplete["sams"] is None
        assert incomplete["failures"][0]["reason"] == "scf_not_converged"

    @pytest.mark.parametrize("bad", ["disordered_CoNiO2", "overlapping_TiO2", "broken_TiO2"])
    def test_bad_structure_is_one_line_and_the_rest_done(self, run, structure_file, bad):
        result = run(structure_file(bad), structure_file("NiO"), "--json", "--no-plot")
        assert result.exit_code == 2
        assert [record["material_id"] for record in json.loads(result.stdout)] == ["NiO"]
        assert result.stderr.splitlines()[0].startswith("vtc: ")
        assert bad in result.stderr.splitlines()[0]

    def test_interrupt_keeps_finished_sites_and_a_second_run_goes_on(
        self, run, structure_file, monkeypatch, analytic
    ):
        monkeypatch.setenv("ANALYTIC_INTERRUPT", "1")
        result = run(structure_file("triclinic_Fe2P2O7"))
        assert result.exit_code == 130
        finished, interrupted = result.stderr.splitlines()
        assert finished == "vtc: 1/2 triclinic_Fe2P2O7 Fe site 0: done"
        assert "the same command goes on" in interrupted
        monkeypatch.delenv("ANALYTIC_INTERRUPT")
        assert run(structure_file("triclinic_Fe2P2O7")).exit_code == 0
        assert analytic.read_text() == "0\n1\n1\n"

    def test_full_disk_stops_with_one_line(self, structure_file, tmp_path, analytic):
        """A limit on the size of files stands for the full disk."""
        arguments = f"run {structure_file('NiO')} {' '.join(ENGINE)} --out {tmp_path / 'out'}"
        done = subprocess.run(
            ["bash", "-c", f"ulimit -f 16; exec {sys.executable} -m vtc_flows {arguments}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "could not be written" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list((tmp_path / "out/sites").iterdir())

    @pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 2), (signal.SIGTERM, 1)])
    def test_signal_ends_a_real_process_cleanly(
        self, structure_file, tmp_path, analytic, number, workers
    ):
        command = [
            *(sys.executable, "-m", "vtc_flows", "run"),
            *(str(structure_file("triclinic_Fe2P2O7")), str(structure_file("NiO"))),
            *(*ENGINE, "--workers", str(workers), "--out", str(tmp_path / "out")),
        ]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, "ANALYTIC_SLOW": "1"}
        )
        wait_until(lambda: analytic.exists() and "1\n" in analytic.read_text(), process)
        process.send_signal(number)
        _, text = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in text
        assert "interrupted" in text
        kept = [path.name for path in (tmp_path / "out/sites").iterdir()]
        assert any(name.startswith("triclinic_Fe2P2O7-Fe-0") for name in kept)


def wait_until(condition, process) -> None:
    """Wait for a process to come to a point; stop with its words if it ends before."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--fms-atoms", "thirty"], "whole numbers"),
            (["--fms-atoms", "0"], "above 0"),
            (["--fms-atoms", "30,"], "'30,'"),
            (["--fwhm", "nan"], "--fwhm"),
            (["--moment-cutoff", "1e9"], "from 0.5 to 60"),
            (["--preset", "best"], "vtc run --help"),
            (["--nonsense"], "--nonsense"),
            (["--scf-atoms", "150"], "--scf-atoms"),
            (["--window", "-40", "5"], "beyond the spectrum's grid"),
            (["--window", "5", "-30"], "low < high"),
            (["--element", "Na"], "none of Sc"),
            (["--element", "Cu"], "Cu"),
            (["--fms-atoms", "1200"], "1000 atoms"),
            (["--energies", "30", "5", "0"], "--energies"),
            (["--energies", "30", "5", "0.0001"], "--energies"),
        ],
    )
    def test_is_refused_before_anything_runs(self, run, structure_file, analytic, arguments, says):
        result = run(structure_file("rutile_TiO2"), *arguments)
        assert result.exit_code == 2
        assert says in one_line(result)
        assert not analytic.exists()

    def test_two_structures_of_one_name(self, run, structure_file, tmp_path):
        copy = tmp_path / "NiO.cif"
        copy.write_bytes(structure_file("NiO").read_bytes())
        result = run(structure_file("NiO"), copy, "--no-plot")
        assert result.exit_code == 2
        assert "both called NiO" in result.stderr

    def test_unknown_file(self, run):
        result = run("nowhere.cif")
        assert (result.exit_code, "nowhere.cif" in one_line(result)) == (2, True)

    def test_id_without_a_key(self, run):
        result = run("mp-2657")
        assert result.exit_code == 2
        assert "MP_API_KEY" in one_line(result)

    def test_unknown_engine(self, vtc, structure_file):
        result = vtc("run", structure_file("NiO"), "--engine", "feff99")
        assert result.exit_code == 2
        assert "feff8l" in one_line(result)

    def test_missing_engine_says_what_to_do(self, vtc, structure_file, no_feff, tmp_path):
        result = vtc("run", structure_file("NiO"), "--out", tmp_path / "out")
        assert result.exit_code == 2
        assert "feff8l_directory" in one_line(result)
        assert not (tmp_path / "out").exists()

    def test_folder_that_cannot_be_written(self, vtc, structure_file, analytic, tmp_path):
        (tmp_path / "file").write_text("")
        result = vtc("run", structure_file("NiO"), *ENGINE, "--out", tmp_path / "file/out")
        assert result.exit_code == 1
        assert "could not be written" in one_line(result)
        assert not analytic.exists()  # known before the long part

    def test_table_of_somebody_else_is_left_alone(self, vtc, structure_file, analytic, tmp_path):
        (tmp_path / "summary.csv").write_text("name,price\nbread,3\n")
        result = vtc("run", structure_file("NiO"), *ENGINE, "--out", tmp_path)
        assert result.exit_code == 1
        assert "summary.csv" in one_line(result)
        assert (tmp_path / "summary.csv").read_text() == "name,price\nbread,3\n"
        assert not analytic.exists()

    def test_damaged_kept_site_is_computed_anew(self, run, structure_file, tmp_path, analytic):
        assert run(structure_file("NiO"), "--no-plot").exit_code == 0
        (kept,) = (tmp_path / "out/sites").iterdir()
        kept.write_text(kept.read_text()[:100])
        result = run(structure_file("NiO"), "--no-plot")
        assert result.exit_code == 0
        assert f"{kept.name} cannot be used (it is damaged)" in result.stderr
        assert analytic.read_text() == "0\n0\n"
        assert json.loads(kept.read_text())["state"] == "successful"

    def test_bug_is_one_line_and_debug_shows_where(
        self, vtc, structure_file, analytic, monkeypatch, tmp_path
    ):
        monkeypatch.setenv("ANALYTIC_BUG", "0")
        arguments = ("run", structure_file("NiO"), *ENGINE, "--out", tmp_path / "out")
        result = vtc(*arguments)
        assert result.exit_code == 1
        assert "unexpected ZeroDivisionError: a bug" in one_line(result)
        assert "Traceback" in vtc("--debug", *arguments).stderr

    def test_bug_does_not_lose_the_other_materials(
        self, run, structure_file, analytic, monkeypatch
    ):
        monkeypatch.setenv("ANALYTIC_BUG", "1")
        files = [structure_file("triclinic_Fe2P2O7"), structure_file("NiO")]
        result = run(*files, "--json", "--no-plot")
        assert result.exit_code == 1
        assert [record["material_id"] for record in json.loads(result.stdout)] == ["NiO"]
        assert "triclinic_Fe2P2O7 Fe: unexpected ZeroDivisionError: a bug" in result.stderr

    @pytest.mark.parametrize("command", ["run", "features"])
    def test_empty_file_of_lines(self, vtc, analytic, tmp_path, command):
        (tmp_path / "none.jsonl").write_text("\n")
        more = ENGINE if command == "run" else ()
        result = vtc(command, tmp_path / "none.jsonl", *more)
        assert result.exit_code == 2
        assert "none.jsonl holds no structure" in one_line(result)

    def test_same_name_twice_in_a_file_does_not_hide_the_rest(self, vtc, crystal, tmp_path):
        lines = [
            json.dumps({"id": name, "structure": crystal(what).as_dict()})
            for name, what in [("a", "NiO"), ("a", "NiO"), ("b", "rutile_TiO2")]
        ]
        (tmp_path / "some.jsonl").write_text("\n".join(lines))
        result = vtc("features", tmp_path / "some.jsonl", "--json")
        assert result.exit_code == 2
        assert [record["material_id"] for record in json.loads(result.stdout)] == ["a", "b"]
        assert "line 2" in one_line(result)

    @pytest.mark.parametrize(
        "arguments", [["--nonsense"], ["nonsense"], ["engine", "nonsense"], ["run"]]
    )
    def test_misused_command(self, vtc, arguments):
        result = vtc(*arguments)
        assert result.exit_code == 2
        assert "--help)" in one_line(result)

    def test_bytes_in_a_message_cannot_steer_the_terminal(self, vtc, analytic, tmp_path):
        (tmp_path / "feff.inp").write_bytes(b"\x1b[2J\x07CARD 1\n")
        result = vtc("feff", tmp_path / "feff.inp", "--out", tmp_path)
        assert result.exit_code == 2
        assert one_line(result).isprintable()


class TestFeatures:
    def test_json(self, vtc, structure_file):
        result = vtc("features", structure_file("rutile_TiO2"), "--json")
        assert result.exit_code == 0
        (record,) = json.loads(result.stdout)
        assert record["element"] == "Ti"
        assert record["features"]["n_sg"] == pytest.approx(136 / 230)
        assert record["features"]["qams"] > 0

    def test_table_fits_80_columns_and_states_units(self, vtc, structure_file):
        names = ("NiO", "BaTiO3_P4mm", "wurtzite_ZnO", "MnCl2O2")
        result = vtc("features", *(structure_file(name) for name in names))
        assert result.exit_code == 0
        header, rule, *rows, units, marks = result.stdout.splitlines()
        assert header.split()[:3] == ["material", "X", "qams"]
        assert [row.split()[1] for row in rows] == ["Ni", "Ti", "Zn", "Mn"]
        assert max(map(len, (header, rule, *rows, units, marks))) <= 80
        assert "qams e A^-6, dams e A^-7" in units
        assert marks.endswith("f formula guess, b bond valence")

    def test_closed_pipe_is_no_error(self, structure_file):
        command = f"{sys.executable} -m vtc_flows features --json {structure_file('NiO')}"
        done = subprocess.run(
            ["bash", "-c", f"{command} | true; exit ${{PIPESTATUS[0]}}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, "")  # it was written to, and nothing is said

    def test_full_standard_output_is_one_line(self, structure_file):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "vtc_flows", "features", str(structure_file("NiO"))],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 1
        assert done.stderr == "vtc: output: No space left on device\n"

    def test_exponent_changes_the_moments_alone(self, vtc, structure_file):
        first, second = (
            json.loads(vtc("features", structure_file("rutile_TiO2"), "--json", *more).stdout)[0][
                "features"
            ]
            for more in ((), ("--exponent", "4"))
        )
        changed = {name for name in first if first[name] != second[name]}
        assert changed == {"qams", "iams"} or changed == {"qams", "iams", "dams"}

    def test_bad_and_good_together(self, vtc, structure_file):
        result = vtc("features", structure_file("rocksalt_NaCl"), structure_file("NiO"), "--json")
        assert result.exit_code == 2
        assert len(json.loads(result.stdout)) == 1
        assert "none of Sc" in one_line(result)


class TestFeff:
    INPUT = """
TITLE one oxygen pair on z
EDGE K
XES -20 -5 0.5
FMS 3.0
SCF 3.0
POLARIZATION 0 0 1
POTENTIALS
 0 28 Ni
 1 8 O
ATOMS
 0 0 0 0
 0 0 2.1 1
 0 0 -2.1 1
 2.2 0 0 1
"""

    @pytest.fixture
    def feff_inp(self, tmp_path) -> Path:
        path = tmp_path / "feff.inp"
        path.write_text(self.INPUT)
        return path

    def test_files(self, vtc, feff_inp, tmp_path):
        out = tmp_path / "out"
        result = vtc("feff", feff_inp, *ENGINE, "--out", out)
        assert result.exit_code == 0, result.stderr
        assert sorted(path.name for path in out.iterdir()) == ["tensor.json", "xmu.dat"]
        assert "converged in 2 iterations, E_F = -10.280 eV, 4 atoms" in result.stderr
        content = json.loads((out / "tensor.json").read_text())
        assert content["converged"] is True
        tensor = np.array(content["tensor"])
        columns = np.loadtxt(out / "xmu.dat")
        assert columns.shape == (31, 6)
        assert np.allclose(columns[:, 3], tensor[:, 2])  # the card's polarization
        assert np.allclose(columns[:, 5], columns[:, 3] - columns[:, 4])
        assert np.allclose(columns[:, 1], content["energy_ev"], atol=1e-9)
        below = columns[:, 1] < content["e_fermi_ev"]
        assert (columns[below, 2] < 0).all()
        header = (out / "xmu.dat").read_text().splitlines()
        assert header[0] == "# one oxygen pair on z"
        assert any("xsedge" in line for line in header)

    def test_each_polarization_gets_its_file(self, vtc, feff_inp, tmp_path):
        out = tmp_path / "out"
        directions = ("--polarization", 1, 0, 0, "--polarization", -1, 0, -1)
        assert vtc("feff", feff_inp, *ENGINE, *directions, "--out", out).exit_code == 0
        tensor = np.array(json.loads((out / "tensor.json").read_text())["tensor"])
        assert np.allclose(np.loadtxt(out / "xmu.dat")[:, 3], tensor[:, 0])
        diagonal = (tensor[:, 0] + tensor[:, 2]) / 2 + tensor[:, 4]
        assert np.allclose(np.loadtxt(out / "xmu02.dat")[:, 3], diagonal)

    def test_without_polarization_the_average(self, vtc, feff_inp, tmp_path):
        feff_inp.write_text(self.INPUT.replace("POLARIZATION 0 0 1\n", ""))
        assert vtc("feff", feff_inp, *ENGINE, "--out", tmp_path / "out").exit_code == 0
        tensor = np.array(json.loads((tmp_path / "out/tensor.json").read_text())["tensor"])
        mu = np.loadtxt(tmp_path / "out/xmu.dat")[:, 3]
        assert np.allclose(mu, tensor[:, :3].mean(axis=1))

    def test_card_that_cannot_be_honoured(self, vtc, feff_inp, tmp_path):
        feff_inp.write_text(self.INPUT + "\nEND\n")
        feff_inp.write_text("ELLIPTICITY 1 0 0 1\n" + self.INPUT)
        result = vtc("feff", feff_inp, *ENGINE, "--out", tmp_path / "out")
        assert result.exit_code == 2
        assert "ELLIPTICITY" in one_line(result)

    def test_missing_file_and_no_direction(self, vtc, feff_inp, tmp_path):
        assert vtc("feff", tmp_path / "none.inp").exit_code == 2
        assert vtc("feff", feff_inp, "--polarization", 0, 0, 0).exit_code == 2


class TestMachine:
    def test_doctor_without_engine(self, vtc, no_feff):
        result = vtc("doctor")
        assert result.exit_code == 2
        assert "feff8l_directory" in result.stdout
        assert "numpy" in result.stdout

    def test_list_marks_the_one_that_is_used(self, vtc, tmp_path, monkeypatch):
        (tmp_path / "own").mkdir()
        (tmp_path / "own/libfeff8lpotph.so").write_bytes(b"library")
        monkeypatch.setenv("VTC_FEFF8L_DIRECTORY", str(tmp_path / "own"))
        result = vtc("engine", "list")
        assert result.exit_code == 0
        first, *others = result.stdout.splitlines()
        assert first.startswith("* feff8l  settings")
        assert not any(line.startswith("*") for line in others)

    def test_version(self, vtc):
        from vtc_flows import __version__

        assert __version__ in vtc("--version").stdout
