"""`vtc compare` with the analytic engine and its variant, whose differences are known."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from analytic_engine import PLAIN, SHIFTED

from vtc_flows.cli.sides import parse_side
from vtc_flows.errors import InputError
from vtc_flows.schemas import SamsRecord
from vtc_flows.schemas.comparison import ComparisonsDoc, RecordComparison

ROOT = Path(__file__).parents[2]
A, B = "analytic_engine:make", "analytic_engine:make_shifted"


def one_line(result) -> str:
    """Return the single line of an error."""
    assert "Traceback" not in result.stderr
    (line,) = result.stderr.strip().splitlines()
    return line


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "comparison.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def compare(vtc, analytic, out):
    """Call `vtc compare` with a folder of its own."""

    def call(*arguments: object):
        return vtc("compare", *arguments, "--out", out)

    return call


@pytest.fixture
def made(vtc, analytic, tmp_path):
    """Make a folder of results with `vtc run`."""

    def make(name, *arguments: object, engine=A) -> Path:
        folder = tmp_path / name
        done = vtc("run", *arguments, "--engine", engine, "--no-plot", "--out", folder)
        assert done.exit_code == 0, done.stderr
        return folder

    return make


class TestSides:
    @pytest.mark.parametrize(
        ("text", "means"),
        [
            ("seed", ("feff8l", "seed")),
            ("feff8l", ("feff8l", "seed")),
            ("feff10:seed", ("feff10", "seed")),
            ("feff8l:converged", ("feff8l", "converged")),
            ("a.b:seed:seed", ("a.b:seed", "seed")),
            ("a.b:make", ("a.b:make", "seed")),
        ],
    )
    def test_preset_is_the_last_part_alone(self, text, means):
        assert parse_side(text) == means

    @pytest.mark.parametrize("text", ["", "feff8l:best", "feff8l:", "feff99", "seeds"])
    def test_what_names_nothing_is_refused(self, text, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError):
            parse_side(text)

    def test_names_go_before_folders(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name in ("seed", "feff8l", "other"):
            (tmp_path / name).mkdir()
        assert parse_side("seed") == ("feff8l", "seed")
        assert parse_side("feff8l") == ("feff8l", "seed")
        assert parse_side("./seed") == tmp_path / "seed"
        assert parse_side("other") == tmp_path / "other"

    @pytest.mark.parametrize(
        ("a", "b", "more"),
        [
            ("seed", "seed", ()),
            ("feff8l", "seed", ()),
            ("feff8l", "vtc_flows.feff.feff8l:from_settings", ()),
            (A, f"{A}:seed", ()),
            (A, f"{A}:converged", ("--fms-atoms", "50")),
        ],
    )
    def test_two_of_the_same_are_refused(self, compare, structure_file, a, b, more, analytic):
        result = compare(a, b, structure_file("NiO"), *more)
        assert result.exit_code == 2
        line = one_line(result)
        assert "mean the same" in line
        assert ("--fms-atoms" in line) == bool(more)
        assert not analytic.exists()

    def test_two_engines_that_call_themselves_one_are_refused(
        self, compare, structure_file, tmp_path, monkeypatch
    ):
        (tmp_path / "other_place.py").write_text("from analytic_engine import make\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        result = compare(A, "other_place:make", structure_file("NiO"))
        assert result.exit_code == 2
        assert "both call themselves analytic/1" in one_line(result)


class TestCompare:
    def test_figures_of_engines_that_differ_by_known_amounts(self, compare, structure_file, out):
        result = compare(A, B, structure_file("triclinic_Fe2P2O7"), "--json", "--no-plot")
        assert result.exit_code == 0, result.stderr
        (comparison,) = json.loads(result.stdout)
        document = RecordComparison.model_validate(comparison)
        assert [site.figures.area_ratio for site in document.sites] == pytest.approx(
            [SHIFTED.scale] * 2
        )
        stored = ComparisonsDoc.model_validate_json((out / "comparison.json").read_text())
        assert stored.comparisons == [document]
        first, second = rows(out)
        assert (first["site_index"], second["site_index"]) == ("0", "1")
        for row in (first, second):
            assert all(value for name, value in row.items() if name != "failure"), row
            assert (row["engine_a"], row["engine_b"]) == (PLAIN.name, SHIFTED.name)
            assert float(row["fermi_shift_ev"]) == pytest.approx(SHIFTED.fermi_shift_ev)
            assert float(row["largest_deviation_xy"]) == pytest.approx(SHIFTED.scale - 1.0)
            assert float(row["relative_l2_z"]) == pytest.approx(SHIFTED.scale - 1.0)
            assert float(row["cpu_ratio"]) == SHIFTED.cpu_s / PLAIN.cpu_s
            assert row["scf_iterations_b"] == str(SHIFTED.n_iterations)
            assert len(row["settings_hash_a"]) == 64
        assert "largest, L2" in result.stderr

    def test_folder_and_pictures(self, compare, structure_file, out):
        assert compare(A, B, structure_file("triclinic_Fe2P2O7")).exit_code == 0
        names = sorted(path.name for path in out.iterdir())
        assert names[:3] == ["comparison.csv", "comparison.json", "sites"]
        pattern = r"triclinic_Fe2P2O7-Fe-(\d)-analytic-30-\w{8}-analytic_shifted-30-\w{8}\.png"
        assert [re.fullmatch(pattern, name)[1] for name in names[3:]] == ["0", "1"]

    def test_tables_fit_80_columns(self, compare, structure_file):
        result = compare(A, f"{B}:converged", structure_file("triclinic_Fe2P2O7"), "--no-plot")
        lines = result.stdout.splitlines()
        assert lines[1:5] == [
            "triclinic_Fe2P2O7  Fe",
            "A analytic, 30 neighbours in the multiple scattering",
            "B analytic_shifted, 80 neighbours in the multiple scattering",
            "SAMS in eV^-1/2, E_F-30 ... E_F+5 eV",
        ]
        assert max(map(len, lines)) <= 80
        assert all(line == line.rstrip() for line in lines)

    def test_presets_of_an_own_engine(self, compare, structure_file, out):
        result = compare(A, f"{A}:converged", structure_file("NiO"), "--no-plot")
        assert result.exit_code == 0
        (row,) = rows(out)
        assert (row["fms_atoms_a"], row["fms_atoms_b"]) == ("30", "80")

    def test_several_sizes_are_compared_each_with_its_own(self, compare, structure_file, out):
        result = compare(A, B, structure_file("NiO"), "--fms-atoms", "30,80", "--no-plot")
        assert result.exit_code == 0
        sizes = [(row["fms_atoms_a"], row["fms_atoms_b"]) for row in rows(out)]
        assert sizes == [("30", "30"), ("80", "80")]

    def test_rows_of_other_runs_stay(self, compare, structure_file, out):
        for name in ("rutile_TiO2", "NiO", "rutile_TiO2"):
            assert compare(A, B, structure_file(name), "--no-plot").exit_code == 0
        assert [row["material_id"] for row in rows(out)] == ["rutile_TiO2", "NiO"]

    def test_workers_give_the_same_in_the_same_order(self, vtc, analytic, structure_file, tmp_path):
        files = [structure_file(name) for name in ("rutile_TiO2", "NiO", "tenorite_CuO")]
        found = []
        for workers in (1, 2):
            folder = tmp_path / str(workers)
            result = vtc(
                *("compare", A, B, *files, "--json", "--no-plot"),
                *("--workers", workers, "--out", folder),
            )
            assert result.exit_code == 0, result.stderr
            found.append(json.loads(result.stdout))
        one, two = ([(c["a"]["record_id"], c["sites"]) for c in each] for each in found)
        assert one == two


class TestFolders:
    def test_nothing_is_computed_between_two_folders(
        self, compare, made, structure_file, analytic, out
    ):
        files = [structure_file(name) for name in ("NiO", "rutile_TiO2")]
        one, other = made("one", *files), made("other", *files, engine=B)
        calculated = analytic.read_text()
        result = compare(one, other)
        assert result.exit_code == 0, result.stderr
        assert analytic.read_text() == calculated
        assert not (out / "sites").exists()
        assert [row["material_id"] for row in rows(out)] == ["NiO", "rutile_TiO2"]
        (titanium,) = json.loads(compare(one, other, "--element", "Ti", "--json").stdout)
        assert titanium["element"] == "Ti"
        # a structure names what of the folders is meant
        (chosen,) = json.loads(compare(one, other, files[0], "--json", "--no-plot").stdout)
        assert chosen["material_id"] == "NiO"

    def test_folder_against_an_engine(self, compare, made, structure_file, analytic, out):
        folder = made("one", structure_file("NiO"), "--fms-atoms", "30,80")
        result = compare(folder, B, structure_file("NiO"), "--no-plot")
        assert result.exit_code == 0, result.stderr
        assert analytic.read_text() == "0\n0\n"  # once for the folder, once for B
        (row,) = rows(out)
        assert (row["fms_atoms_a"], row["fms_atoms_b"]) == ("30", "30")
        assert float(row["area_ratio"]) == pytest.approx(SHIFTED.scale)

    def test_sites_that_vtc_run_kept_are_used(self, vtc, made, structure_file, analytic):
        folder = made("one", structure_file("NiO"))
        result = vtc(*("compare", A, B, structure_file("NiO")), *("--no-plot", "--out", folder))
        assert result.exit_code == 0
        assert "1/2 NiO Ni site 0: kept" in result.stderr
        assert analytic.read_text() == "0\n0\n"

    def test_what_does_not_fit_is_known_before_anything_runs(
        self, compare, made, structure_file, analytic, tmp_path
    ):
        folder = made("one", structure_file("NiO"), "--window", -15, 3)
        calculated = analytic.read_text()
        result = compare(folder, B, structure_file("NiO"), structure_file("rutile_TiO2"))
        assert result.exit_code == 2
        window, missing = result.stderr.splitlines()
        assert "--window" in window
        assert "holds no record of rutile_TiO2 Ti" in missing
        assert analytic.read_text() == calculated
        fitting = compare(folder, B, structure_file("NiO"), "--window", -15, 3, "--no-plot")
        assert fitting.exit_code == 0

    def test_two_records_of_one_size(self, compare, made, structure_file):
        folder = made("one", structure_file("NiO"))
        made("one", structure_file("NiO"), "--scf-atoms", 20)
        result = compare(folder, B, structure_file("NiO"))
        assert result.exit_code == 2
        assert "A has 2 records of NiO Ni with 30 neighbours" in one_line(result)

    def test_other_structure_of_the_same_name(
        self, compare, made, structure_file, crystal, tmp_path
    ):
        folder = made("one", structure_file("NiO"))
        strained = crystal("NiO").apply_strain(0.02, inplace=False)
        (tmp_path / "NiO.json").write_text(strained.to_json())
        result = compare(folder, B, tmp_path / "NiO.json")
        assert result.exit_code == 2
        assert "different structures of this name" in result.stderr

    @pytest.mark.parametrize(
        ("content", "says"),
        [(None, "no record of"), ("{", "cannot be read"), ('{"record_id": "x"}', "no record of")],
    )
    def test_folder_without_records(self, compare, structure_file, tmp_path, content, says):
        folder = tmp_path / "empty"
        folder.mkdir()
        if content is not None:
            (folder / "x.json").write_text(content)
        result = compare(folder, B, structure_file("NiO"))
        assert result.exit_code == 2
        assert says in one_line(result)

    def test_record_of_another_version(self, compare, made, structure_file):
        folder = made("one", structure_file("NiO"))
        (path,) = folder.glob("*.json")
        record = json.loads(path.read_text())
        assert SamsRecord.model_validate(record)
        path.write_text(json.dumps({**record, "new_field": 1}))
        result = compare(folder, B, structure_file("NiO"))
        assert result.exit_code == 2
        assert "no record of this version" in one_line(result)


class TestGoesOn:
    @pytest.mark.parametrize(
        ("fails", "says"), [("analytic:1", "failed in A"), ("analytic_shifted:1", "failed in B")]
    )
    def test_failed_site_is_a_row_that_says_so(
        self, compare, structure_file, out, monkeypatch, fails, says
    ):
        monkeypatch.setenv("ANALYTIC_FAIL", fails)
        files = [structure_file("triclinic_Fe2P2O7"), structure_file("NiO")]
        result = compare(A, B, *files)
        assert result.exit_code == 1
        assert f"site 1 {says} (scf_not_converged)" in result.stdout
        good, bad, other = rows(out)
        assert (good["state"], bad["state"], other["material_id"]) == ("compared", "failed", "NiO")
        assert bad["failure"].startswith(says)
        assert not any(bad[name] for name in ("area_ratio", "worst_deviation", "sams_a", "cpu_s_b"))
        assert len(list(out.glob("*.png"))) == 2

    def test_interrupt_keeps_finished_sites_and_a_second_run_goes_on(
        self, compare, structure_file, monkeypatch, analytic
    ):
        monkeypatch.setenv("ANALYTIC_INTERRUPT", "analytic_shifted:1")
        result = compare(A, B, structure_file("triclinic_Fe2P2O7"))
        assert result.exit_code == 130
        assert "0 of 1 comparisons are finished" in result.stderr
        assert "the same command goes on from there" in result.stderr
        assert analytic.read_text() == "0\n1\n0\n1\n"
        monkeypatch.delenv("ANALYTIC_INTERRUPT")
        assert compare(A, B, structure_file("triclinic_Fe2P2O7"), "--no-plot").exit_code == 0
        assert analytic.read_text() == "0\n1\n0\n1\n1\n"

    def test_signal_ends_a_real_process_cleanly(self, structure_file, out, analytic):
        command = [
            *(sys.executable, "-m", "vtc_flows", "compare", A, B),
            *(str(structure_file("triclinic_Fe2P2O7")), "--out", str(out), "--workers", "2"),
        ]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "ANALYTIC_SLOW": "analytic_shifted:1"},
        )
        deadline = time.monotonic() + 120
        while not analytic.exists() or len(analytic.read_text().split()) < 4:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in text
        assert "interrupted" in text

    def test_bug_on_one_side_does_not_lose_the_other_materials(
        self, compare, structure_file, monkeypatch, out
    ):
        monkeypatch.setenv("ANALYTIC_BUG", "analytic_shifted:1")
        files = [structure_file("triclinic_Fe2P2O7"), structure_file("NiO")]
        result = compare(A, B, *files, "--no-plot")
        assert result.exit_code == 1
        assert "unexpected ZeroDivisionError" in result.stderr
        assert [row["material_id"] for row in rows(out)] == ["NiO"]

    def test_bad_structure_is_one_line_and_the_rest_done(self, compare, structure_file, out):
        result = compare(A, B, structure_file("broken_TiO2"), structure_file("NiO"), "--no-plot")
        assert result.exit_code == 2
        assert "broken_TiO2" in result.stderr.splitlines()[0]
        assert [row["material_id"] for row in rows(out)] == ["NiO"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ((), "STRUCTURE"),
            (("NiO", "--window", -40, 5), "beyond the spectrum's grid"),
            (("NiO", "--fms-atoms", "30,"), "'30,'"),
            (("NiO", "--element", "Cu"), "Cu"),
            (("NiO", "--fms-atoms", "1200"), "1000 atoms"),
        ],
    )
    def test_is_refused_before_anything_runs(
        self, compare, structure_file, analytic, arguments, says
    ):
        named = [structure_file("NiO") if each == "NiO" else each for each in arguments]
        result = compare(A, B, *named)
        assert result.exit_code == 2
        assert says in one_line(result)
        assert not analytic.exists()

    def test_unknown_engine(self, compare, structure_file):
        result = compare("feff99", "seed", structure_file("NiO"))
        assert result.exit_code == 2
        assert "'feff99' is no engine (feff8l, " in one_line(result)

    def test_option_without_effect_between_folders(self, compare, made, structure_file):
        one, other = made("one", structure_file("NiO")), made("other", structure_file("NiO"))
        result = compare(one, other, "--window", -15, 3)
        assert result.exit_code == 2
        assert "--window has no effect between two folders" in one_line(result)
        assert "mean the same" in one_line(compare(one, one))

    def test_folders_with_nothing_in_common(self, compare, made, structure_file):
        one, other = (
            made("one", structure_file("NiO")),
            made("other", structure_file("tenorite_CuO")),
        )
        result = compare(one, other)
        assert result.exit_code == 2
        assert "no record of the same element" in one_line(result)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("comparison.csv", "name,price\nbread,3\n"),
            ("comparison.json", "[]"),
            ("comparison.json", '{"comparisons": [{"material_id": "x"}]}'),
        ],
    )
    def test_files_of_somebody_else_are_left_alone(
        self, compare, structure_file, analytic, out, name, content
    ):
        out.mkdir()
        (out / name).write_text(content)
        result = compare(A, B, structure_file("NiO"))
        assert result.exit_code == 1
        assert name in one_line(result)
        assert (out / name).read_text() == content
        assert not analytic.exists()


@pytest.mark.engine
def test_commands_of_the_page_run(tmp_path, monkeypatch):
    """Two presets of FEFF 8.5L, then two folders of results."""
    page = (ROOT / "docs/compare.md").read_text()
    commands = re.findall(r"^vtc .*$", page, re.MULTILINE)
    commands = [command for command in commands if "feff10" not in command]
    assert any(command.startswith("vtc compare seed converged") for command in commands)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command.replace("examples/", f"{ROOT}/examples/")],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    sizes, potentials = rows(tmp_path / "vtc-compare")
    assert float(sizes["sams_a"]) == pytest.approx(0.438, abs=2e-3)
    assert float(sizes["sams_b"]) == pytest.approx(0.260, abs=2e-3)
    # potentials do not depend on the scattering's size, so nothing but the scattering differs
    assert float(sizes["fermi_shift_ev"]) == 0.0
    assert float(sizes["edge_cross_section_ratio"]) == 1.0
    assert 0.1 < float(sizes["worst_deviation"]) < 0.6
    assert float(potentials["fermi_shift_ev"]) != 0.0
    assert len(list((tmp_path / "vtc-compare").glob("*.png"))) == 2
