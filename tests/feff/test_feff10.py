"""The engine on a real FEFF10, where there is one: results, reuse, faults of the real programs."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feff10_process import mounted, start, told_by
from record_feff10 import SETTINGS, cluster_of, site_of
from recorded_valence import recorded_valence

from vtc_flows.errors import EngineCrashError, ScfNotConvergedError, StorageError
from vtc_flows.feff.feff10 import DIRECTIONS, REVISION, Feff10Engine, from_settings, xmu_name
from vtc_flows.feff.feff10_input import FEFF_INP
from vtc_flows.feff.feff10_output import read_xmu
from vtc_flows.feff.feff10_programs import PROGRAMS, ProgramRunner, find_feff10
from vtc_flows.feff.feffinp import parse_feff_input
from vtc_flows.feff.recovery import FEFF10_LADDER
from vtc_flows.physics.tensors import along
from vtc_flows.settings import load_settings

pytestmark = pytest.mark.feff10

REFERENCE = Path(__file__).parents[1] / "data" / "feff10" / "wurtzite_ZnO.json.gz"
SMALL = SETTINGS.for_size(SETTINGS.fms_atoms[0])


@pytest.fixture(scope="module")
def installation():
    return find_feff10(load_settings())


@pytest.fixture
def engine(installation, tmp_path):
    return Feff10Engine(installation, scratch_directory=tmp_path, timeout_s=1200)


@pytest.fixture(scope="module")
def small(installation, tmp_path_factory):
    """Return the spectra of the recorded site and the folder of its run."""
    folder = tmp_path_factory.mktemp("small") / "run"
    told = []
    spectra = Feff10Engine(installation).run(
        cluster_of("wurtzite_ZnO", "Zn"),
        SETTINGS,
        run_dir=folder,
        progress=lambda *event: told.append(event),
    )
    return spectra, folder, told


@pytest.mark.timeout(1500)
def test_zinc_oxide_agrees_with_feff10_run_by_hand(installation, tmp_path):
    """The recorded spectra come from six full runs, with no part of this package."""
    reference = json.loads(gzip.decompress(REFERENCE.read_bytes()))
    site = parse_feff_input(reference["feff_inp"], "ZnO").site
    engine = Feff10Engine(installation, scratch_directory=tmp_path)
    (spectrum,) = engine.run_site(site)
    assert spectrum.e_fermi_ev == pytest.approx(reference["e_fermi_eV"], abs=1e-3)
    np.testing.assert_allclose(spectrum.energy_ev, reference["e_eV"], atol=2e-3)
    for name, direction in DIRECTIONS.items():
        wanted = np.array(reference["spectra"][name]["mu"])
        assert np.abs(along(spectrum.tensor, direction) - wanted).max() < 2e-5 * wanted.max()
    # electrons that Zn lost and O gained, as often as they stand in the crystal; the absorber,
    # with a hole deep inside, is but one of many
    weights = np.array([kind.stoichiometry for kind in site.potentials])
    charges = np.array(spectrum.scf.charges_e)
    assert abs(weights @ charges) / weights.sum() < 1e-3
    assert charges[2] == pytest.approx(0.191, abs=2e-3)
    assert charges[1] == pytest.approx(-0.234, abs=2e-3)


def test_recorded_files_are_those_of_this_feff10(small):
    """To what compilers and libraries may differ; the fault suite stands on them."""
    spectra, folder, _ = small
    recorded = recorded_valence()
    for spectrum, wanted in zip(spectra, (one.valence() for one in recorded), strict=True):
        edge = spectrum.edge_cross_section_angstrom2
        assert np.abs(spectrum.tensor * edge - wanted.tensor).max() < 1e-5 * wanted.tensor.max()
        np.testing.assert_allclose(spectrum.energy_ev, wanted.energy_ev, atol=1e-4)
        assert spectrum.bottom.energy_ev == pytest.approx(wanted.bottom.energy_ev, abs=1e-4)
    for name, wanted in recorded[-1].xmu.items():  # those of the last size are kept
        found = read_xmu(folder / "try-1" / xmu_name(name))
        assert np.abs(found.mu - wanted.mu).max() < 1e-5 * wanted.mu.max()
        np.testing.assert_allclose(found.energy_ev, wanted.energy_ev, atol=1e-4)


def test_one_set_of_potentials_serves_both_sizes(small):
    spectra, folder, told = small
    assert [spectrum.fms_atoms for spectrum in spectra] == [5, 17]
    assert spectra[0].e_fermi_ev == spectra[1].e_fermi_ev
    assert {stage for stage, *_ in told} == {"scf", "phases", "fms"}
    assert [path.name for path in folder.glob("try-*")] == ["try-1"]
    for spectrum in spectra:
        assert spectrum.scf.recovery == "none"
        assert spectrum.scf.attempts == ()
        assert spectrum.checks["symmetry_operations"] == 6
        assert spectrum.checks["symmetry_residual"] < 1e-4
        assert spectrum.checks["grid_deviation_ev"] < 1e-9
        parts = spectrum.timings_s
        assert parts["scf"] + parts["phases"] + parts["fms"] <= parts["total"]


@pytest.mark.parametrize("name", ["y", "xz"])
def test_kept_potentials_and_greens_function_give_the_same_file(
    small, installation, tmp_path, name
):
    """Byte for byte what all programs give in a fresh folder, from the input in the document."""
    spectra, folder, _ = small
    text = spectra[1].input_text
    card = "POLARIZATION " + " ".join(f"{value:.10f}" for value in DIRECTIONS[name])
    (old,) = [line for line in text.splitlines() if line.startswith("POLARIZATION")]
    (tmp_path / FEFF_INP).write_text(text.replace(old, card))
    runner = ProgramRunner(installation, tmp_path, timeout_s=1200)
    for program in PROGRAMS:
        runner.run(program)
    ours = folder / "try-1" / xmu_name(name)
    assert (tmp_path / "xmu.dat").read_bytes() == ours.read_bytes()


def test_two_iterations_are_not_enough(installation, tmp_path):
    engine = Feff10Engine(installation, scratch_directory=tmp_path, ladder=FEFF10_LADDER[:1])
    with pytest.raises(ScfNotConvergedError, match=r"1 try .*converge in 5 iterations") as caught:
        engine.run_site(site_of("wurtzite_ZnO", "Zn", max_iterations=2))
    assert caught.value.reason == "scf_not_converged"
    assert "Convergence not reached" in caught.value.log_tail
    assert caught.value.input_text
    assert list(tmp_path.iterdir()) == []


def test_two_iterations_are_recovered(engine, small):
    spectra = engine.run_site(site_of("wurtzite_ZnO", "Zn", max_iterations=2))
    for spectrum, wanted in zip(spectra, small[0], strict=True):
        assert spectrum.scf.recovery == "half mixing"
        assert [attempt.reason for attempt in spectrum.scf.attempts] == ["scf_not_converged"]
        assert spectrum.e_fermi_ev == pytest.approx(wanted.e_fermi_ev, abs=0.01)
        assert np.abs(spectrum.tensor - wanted.tensor).max() < 0.02 * wanted.tensor.max()


#: BaTiO3, where the search for the gap of core and valence begins in the wrong place.
WRONG_GAP = {"core_valence_floor_ev": -20.0}


def test_impossible_occupations(installation, tmp_path):
    """Where FEFF10 is to go on as it does, it gives up in the end."""
    engine = Feff10Engine(installation, scratch_directory=tmp_path, ladder=FEFF10_LADDER[:1])
    with pytest.raises(ScfNotConvergedError, match="impossible occupations 6 times") as caught:
        engine.run_site(site_of("BaTiO3_P4mm", "Ti", on_bad_counts="separation", **WRONG_GAP))
    assert caught.value.reason == "bad_counts"
    assert "Bad counts found repeatedly" in caught.value.log_tail


def test_impossible_occupations_end_pot(installation, tmp_path):
    """Otherwise it is stopped at the first ones, and the next step is tried from scratch."""
    engine = Feff10Engine(installation, scratch_directory=tmp_path, ladder=FEFF10_LADDER[:2])
    with pytest.raises(ScfNotConvergedError, match="met impossible occupations") as caught:
        engine.run_site(
            site_of("BaTiO3_P4mm", "Ti", **WRONG_GAP),
            run_dir=tmp_path / "run",
        )
    attempts = [(attempt.step, attempt.reason) for attempt in caught.value.attempts]
    assert attempts == [("none", "bad_counts"), ("half mixing", "bad_counts")]
    for number in (1, 2):
        log = (tmp_path / "run" / f"try-{number}" / "pot.log").read_text(encoding="latin-1")
        assert "Found bad counts" in log
        assert "Bad counts found repeatedly" not in log


def test_impossible_occupations_of_the_first_try_are_recovered(engine):
    """BaTiO3 as it is: slower mixing from the start does not overshoot."""
    (spectrum, _) = engine.run_site(site_of("BaTiO3_P4mm", "Ti"))
    attempts = [(attempt.step, attempt.reason) for attempt in spectrum.scf.attempts]
    assert attempts == [("none", "bad_counts")]
    assert spectrum.scf.recovery == "half mixing"
    assert spectrum.scf.restarts == 0
    assert spectrum.scf.separation.moves_ev == ()


def test_a_sphere_that_cannot_hold_its_charge(installation, tmp_path):
    """BaTiO3 with a mixing that overshoots, and impossible occupations on the way."""
    engine = Feff10Engine(installation, scratch_directory=tmp_path, ladder=FEFF10_LADDER[:1])
    with pytest.raises(EngineCrashError, match="Cannot determine Norman radius") as caught:
        engine.run_site(site_of("BaTiO3_P4mm", "Ti", mixing=0.5, on_bad_counts="go_on"))
    assert caught.value.reason == "error_file"


def test_an_unknown_card_is_quoted(engine):
    site = replace(site_of("wurtzite_ZnO", "Zn"), extra_cards=("PRUNT 0",))
    with pytest.raises(EngineCrashError, match="refuses its input: Keyword unrecognized") as caught:
        engine.run_site(site)
    assert caught.value.reason == "bad_input"
    assert "PRUNT 0" in caught.value.input_text


def test_a_killed_program_is_tried_again(engine, small, tmp_path):
    killed = []

    def kill(stage: str, done: int, total: int) -> None:
        if stage == "scf" and not killed:
            (pid,) = [int(entry.name) for entry in Path("/proc").iterdir() if is_pot_in(entry)]
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    def is_pot_in(process: Path) -> bool:
        try:
            here = (process / "cwd").resolve().is_relative_to(tmp_path)
            return here and (process / "cmdline").read_text().startswith(str(engine_pot))
        except (OSError, ValueError):
            return False

    engine_pot = find_feff10(load_settings()).programs["pot"]
    spectra = engine.run(cluster_of("wurtzite_ZnO", "Zn"), SMALL, progress=kill)
    assert spectra[0].scf.recovery == "again"
    assert [attempt.reason for attempt in spectra[0].scf.attempts] == ["killed"]
    np.testing.assert_array_equal(spectra[0].tensor, small[0][0].tensor)


def test_a_small_stack_is_named(monkeypatch, tmp_path):
    """FEFF10's pot keeps large arrays there and ends by SIGSEGV."""
    monkeypatch.setenv("VTC_SCRATCH_DIRECTORY", str(tmp_path))
    small = (200 << 10, 200 << 10)
    told = told_by(start(lambda: resource.setrlimit(resource.RLIMIT_STACK, small)))
    assert told["reason"] == "stack_limit"
    assert "200 kB" in told["message"]


def test_too_large_a_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("VTC_SCRATCH_DIRECTORY", str(tmp_path))
    small = (1 << 20, 1 << 20)
    told = told_by(start(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, small)))
    assert told["kind"] == "StorageError"
    assert "atomic cannot write so large a file" in told["message"]


@pytest.mark.parametrize("size", ["64k", "1m", "2600k", "3m", "3500k"])
def test_a_full_disk_is_named(installation, tmp_path, size):
    """In each of the programs that write much."""
    with mounted(tmp_path / "disk", f"size={size}"):
        engine = Feff10Engine(installation, scratch_directory=tmp_path / "disk")
        with pytest.raises(StorageError, match=r"No space|no space"):
            engine.run(cluster_of("wurtzite_ZnO", "Zn"), SMALL)


def test_without_self_consistency(installation, tmp_path):
    """Overlapped atoms alone have a Fermi level, too."""
    engine = Feff10Engine(installation, scratch_directory=tmp_path)
    site = replace(
        site_of("wurtzite_ZnO", "Zn", max_iterations=0, radius_angstrom=0.0),
        fms_radii_angstrom=(1.9808194,),
    )
    (spectrum,) = engine.run_site(site)
    assert spectrum.scf.n_iterations == 0
    assert spectrum.scf.fermi_history_ev == ()
    assert spectrum.e_fermi_ev == pytest.approx(-0.218, abs=2e-3)


def test_identity_is_that_of_the_programs(installation):
    engine = from_settings(load_settings())
    assert engine.identity() == f"feff10/{REVISION}/{installation.sha256}"
    assert engine.facts.sha256 == installation.sha256
