"""The engine on real FEFF 8.5L: results that obey laws, and faults that happen for real."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from pymatgen.core import Structure

from vtc_flows.crystal.clusters import absorber_cluster
from vtc_flows.crystal.sites import site_orbits
from vtc_flows.errors import (
    ClusterError,
    ConfigurationError,
    EngineCrashError,
    EngineError,
    EngineTimeoutError,
    ScfNotConvergedError,
    ScratchLostError,
    StorageError,
)
from vtc_flows.feff.discovery import find_feff8l
from vtc_flows.feff.feff8l import Feff8lEngine
from vtc_flows.feff.recovery import FEFF8L_LADDER
from vtc_flows.feff.registry import create_engine
from vtc_flows.feff.site_input import EnergyGrid, PotentialSpec, ScfControl, SiteInput
from vtc_flows.physics.tensors import rotate, symmetry_residual
from vtc_flows.schemas import XesSettings
from vtc_flows.settings import load_settings

pytestmark = pytest.mark.engine

FIRST_TRY = FEFF8L_LADDER[:1]
STRUCTURES = Path(__file__).parents[1] / "data" / "structures"
NI_O = 2.085  # Angstrom


def octahedron(**changes) -> SiteInput:
    """Rock-salt NiO stretched by 5 % along z: 7 atoms in the scattering, 81 in the potentials."""
    sites = [
        (x, y, z)
        for x in range(-2, 3)
        for y in range(-2, 3)
        for z in range(-2, 3)
        if x * x + y * y + z * z <= 8
    ]
    sites.sort(key=lambda s: s[0] ** 2 + s[1] ** 2 + s[2] ** 2)
    site = SiteInput(
        positions_angstrom=tuple((NI_O * x, NI_O * y, 1.05 * NI_O * z) for x, y, z in sites),
        potential_index=(0, *(1 if sum(map(abs, s)) % 2 else 2 for s in sites[1:])),
        potentials=(
            PotentialSpec.with_default_lmax(28, "Ni", 0.01),
            PotentialSpec.with_default_lmax(8, "O", 1.0),
            PotentialSpec.with_default_lmax(28, "Ni", 1.0),
        ),
        scf=ScfControl(2.3),
        fms_radii_angstrom=(2.3,),
        grid=EnergyGrid(-12.0, 2.0, 0.5),
    )
    return replace(site, **changes)


@pytest.fixture(scope="module")
def installation():
    return find_feff8l(load_settings())


@pytest.fixture
def engine(installation, tmp_path):
    return Feff8lEngine(installation, scratch_directory=tmp_path, ladder=FIRST_TRY, timeout_s=300)


@pytest.fixture(scope="module")
def reference(installation, tmp_path_factory):
    """Two cluster sizes from one SCF."""
    scratch = tmp_path_factory.mktemp("reference")
    told = []
    engine = Feff8lEngine(installation, scratch_directory=scratch)
    spectra = engine.run_site(
        octahedron(fms_radii_angstrom=(2.3, 3.2)), progress=lambda *event: told.append(event)
    )
    return spectra, told, list(scratch.iterdir())


def test_one_scf_serves_several_cluster_sizes(reference):
    spectra, _, _ = reference
    assert [s.fms_atoms for s in spectra] == [7, 19]
    assert spectra[0].e_fermi_ev == spectra[1].e_fermi_ev
    assert np.abs(spectra[0].tensor - spectra[1].tensor).max() > 0.1 * spectra[0].tensor.max()


def test_spectrum_stands_on_the_grid_around_the_fermi_level(reference):
    for spectrum in reference[0]:
        relative = spectrum.energy_ev - spectrum.e_fermi_ev
        np.testing.assert_allclose(relative, np.arange(-24, 5) * 0.5, atol=1e-9)
        assert spectrum.scf.converged
        assert spectrum.scf.recovery == "none"
        assert spectrum.scf.fermi_history_ev[-1] == pytest.approx(spectrum.e_fermi_ev, abs=1e-3)
        assert spectrum.scf.attempts == ()
        nickel, oxygen, other_nickel = spectrum.scf.charges_e
        assert oxygen < 0 < other_nickel  # electrons lost
        assert nickel != other_nickel
        assert SiteInput.from_json(spectrum.input_text) == octahedron(fms_radii_angstrom=(2.3, 3.2))
        assert spectrum.checks["symmetry_operations"] == 16
        assert spectrum.checks["symmetry_residual"] < 1e-4
        assert spectrum.engine.name == "feff8l"
        assert spectrum.engine.route == "library"


def test_tensor_obeys_the_site_symmetry(reference):
    quarter_turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    for spectrum in reference[0]:
        assert symmetry_residual(spectrum.tensor, quarter_turn[None]) < 1e-3
        assert np.abs(spectrum.tensor[:, 3:]).max() < 1e-3 * spectrum.tensor.max()
        # stretched along z, so x and z differ
        assert np.abs(spectrum.tensor[:, 0] - spectrum.tensor[:, 2]).max() > 1e-2


def test_progress_tells_of_every_stage(reference):
    _, told, _ = reference
    assert [stage for stage, done, total in told if stage == "scf"]
    assert {stage for stage, *_ in told} == {"scf", "phases", "fms"}


def test_scratch_is_removed(reference):
    assert reference[2] == []


def test_timings_add_up(reference):
    for spectrum in reference[0]:
        parts = spectrum.timings_s
        assert 0 < parts["scf_fms"] < parts["scf"] < parts["total"]
        assert parts["scf"] + parts["phases"] + parts["fms"] <= parts["total"]


def test_turned_cluster_gives_the_turned_tensor(engine, reference):
    angle = 0.7
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    site = octahedron()
    turned = replace(site, positions_angstrom=tuple(map(tuple, (site.positions @ turn.T).tolist())))
    (spectrum,) = engine.run_site(turned)
    expected = rotate(reference[0][0].tensor, turn)
    assert np.abs(spectrum.tensor - expected).max() < 2e-3 * expected.max()


def test_without_core_hole_the_spectrum_is_another(engine, reference):
    (spectrum,) = engine.run_site(octahedron(core_hole=False))
    assert np.abs(spectrum.tensor - reference[0][0].tensor).max() > 0.01


def test_executables_agree_with_the_library(installation, reference, tmp_path):
    if not installation.executables:
        pytest.skip(f"the FEFF 8.5L of {installation.origin} has no executables")
    engine = Feff8lEngine(installation, route="executables", scratch_directory=tmp_path)
    (spectrum,) = engine.run_site(octahedron())
    assert spectrum.engine.route == "executables"
    assert spectrum.e_fermi_ev == pytest.approx(reference[0][0].e_fermi_ev, abs=0.02)
    assert spectrum.scf.charges_e == pytest.approx(reference[0][0].scf.charges_e, abs=5e-3)
    expected = reference[0][0].tensor
    assert np.abs(spectrum.tensor - expected).max() < 1.5e-2 * expected.max()


def test_more_iterations_than_the_mixing_remembers(engine):
    """FEFF 8.5L's library writes beyond its mixing memory after 30 iterations; ours starts anew."""
    slow = replace(octahedron().scf, mixing=0.02, n_plain_mixing=40)
    (spectrum,) = engine.run_site(octahedron(scf=slow))
    assert spectrum.scf.n_iterations > 30


def test_unconverged_potentials_are_an_error_and_never_a_spectrum(engine, tmp_path):
    short = replace(octahedron().scf, max_iterations=2)
    with pytest.raises(ScfNotConvergedError, match=r"1 try.*2 iterations") as caught:
        engine.run_site(octahedron(scf=short))
    assert "SCF ITERATION NUMBER" in caught.value.log_tail or "mu_new" in caught.value.log_tail
    assert [(one.step, one.reason) for one in caught.value.attempts] == [
        ("none", "scf_not_converged")
    ]
    assert SiteInput.from_json(caught.value.input_text) == octahedron(scf=short)
    assert list(tmp_path.iterdir()) == []


def test_unconverged_potentials_are_recovered_by_the_ladder(installation, tmp_path):
    engine = Feff8lEngine(installation, scratch_directory=tmp_path)
    short = replace(octahedron().scf, max_iterations=2)
    (spectrum,) = engine.run_site(octahedron(scf=short))
    assert spectrum.scf.recovery == "centered separation"
    assert [one.step for one in spectrum.scf.attempts] == ["none"]
    assert SiteInput.from_json(spectrum.input_text).scf.mixing == short.mixing / 2


def test_time_limit(installation, tmp_path):
    engine = Feff8lEngine(installation, scratch_directory=tmp_path, timeout_s=0.5)
    with pytest.raises(EngineTimeoutError, match=r"0\.5 s"):
        engine.run_site(octahedron())
    assert list(tmp_path.iterdir()) == []


def processes(*chosen: str) -> list[int]:
    """Return what ``pgrep`` finds."""
    found = subprocess.run(["pgrep", *chosen], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def workers() -> list[int]:
    """Return the worker processes of this one: the forks of its server."""
    servers = processes("-P", str(os.getpid()), "-f", "vtc_flows.feff.fork_server")
    return [fork for server in servers for fork in processes("-P", str(server))]


class Killer:
    """Ends the worker in its second iteration, as often as it is told."""

    def __init__(self, how: signal.Signals, times: int) -> None:
        self.how, self.left = how, times

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage == "scf" and done == 2 and self.left:
            self.left -= 1
            for pid in workers():
                os.kill(pid, self.how)


def test_a_site_whose_worker_was_killed_runs_once_more_unchanged(engine, reference):
    (spectrum,) = engine.run_site(octahedron(), progress=Killer(signal.SIGTERM, 1))
    assert spectrum.scf.recovery == "again"
    assert [(one.step, one.reason) for one in spectrum.scf.attempts] == [("none", "killed")]
    assert np.array_equal(spectrum.tensor, reference[0][0].tensor)


def test_a_worker_that_is_killed_again_is_named(engine):
    with pytest.raises(EngineCrashError, match=r"2 tries.*SIGKILL.*with again.*SIGKILL") as caught:
        engine.run_site(octahedron(), progress=Killer(signal.SIGKILL, 9))
    assert caught.value.reason == "killed"


def test_a_worker_that_crashes_is_tried_with_the_next_step(installation, tmp_path):
    engine = Feff8lEngine(installation, scratch_directory=tmp_path)
    (spectrum,) = engine.run_site(octahedron(), progress=Killer(signal.SIGSEGV, 1))
    assert spectrum.scf.recovery == "centered separation"
    assert [one.reason for one in spectrum.scf.attempts] == ["crash"]


def test_interrupt_ends_the_worker(engine, tmp_path):
    def interrupt(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run_site(octahedron(), progress=interrupt)
    assert workers() == []
    assert list(tmp_path.iterdir()) == []


def test_run_folder_is_kept_on_request(engine, tmp_path):
    folder = tmp_path / "kept"
    engine.run_site(octahedron(), run_dir=folder)
    assert (folder / "custodian.json").is_file()
    kept = {path.name for path in (folder / "try-1").iterdir()}
    assert {"site.json", "feff.log", "spectra.npz"} <= kept


def test_no_room_for_the_run(engine, installation, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StorageError, match="no run folder"):
        engine.run_site(octahedron(), run_dir=blocked / "run")
    with pytest.raises(ConfigurationError, match="VTC_SCRATCH_DIRECTORY"):
        Feff8lEngine(installation, scratch_directory=blocked)


@pytest.mark.parametrize(
    ("route", "what"),
    [
        ("library", "try"),
        ("library", "run folder"),
        ("executables", "files"),  # which the library does not need once it has begun
        ("executables", "run folder"),
    ],
)
def test_a_folder_that_is_swept_fails_one_site_and_not_the_batch(
    installation, tmp_path, what, route
):
    """Systems clean their temporary folders, also while FEFF runs in one."""

    def sweep(stage: str, done: int, total: int) -> None:
        runs = list(tmp_path.glob("vtc-site-*/try-*"))
        if stage != "scf" or not runs or max(runs) in swept or len(swept) == most:
            return
        last = max(runs)
        swept.add(last)
        if what == "files":
            for path in last.iterdir():
                path.unlink()
        else:
            shutil.rmtree({"try": last, "run folder": last.parent}[what])

    engine = Feff8lEngine(installation, scratch_directory=tmp_path, route=route)
    most, swept = 1, set()
    (spectrum,) = engine.run_site(octahedron(), progress=sweep)
    assert spectrum.scf.recovery == "again"
    assert [attempt.reason for attempt in spectrum.scf.attempts] == ["scratch_lost"]
    most, swept = 2, set()
    with pytest.raises(ScratchLostError, match="removed in the middle of the run") as caught:
        engine.run_site(octahedron(), progress=sweep)
    attempts = [(attempt.step, attempt.reason) for attempt in caught.value.attempts]
    assert attempts == [("none", "scratch_lost"), ("again", "scratch_lost")]
    assert SiteInput.from_json(caught.value.input_text) == octahedron()
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_named(installation, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        engine = Feff8lEngine(installation, scratch_directory=disk, ladder=FIRST_TRY)
        with pytest.raises(StorageError, match="space"):
            engine.run_site(octahedron())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_library_of_another_kind_is_refused(installation, tmp_path):
    other = tmp_path / "libfeff8lpotph.so"
    other.write_bytes(b"not a library")
    engine = Feff8lEngine(replace(installation, library=other), scratch_directory=tmp_path)
    with pytest.raises(EngineError, match="cannot be loaded"):
        engine.run_site(octahedron())


def test_sites_beyond_the_limits_never_start(engine, tmp_path):
    with pytest.raises(ClusterError, match="12"):
        engine.run_site(octahedron(potentials=octahedron().potentials * 5))
    assert list(tmp_path.iterdir()) == []


def test_route_needs_its_files(installation):
    bare = replace(installation, executables=MappingProxyType({}))
    with pytest.raises(ConfigurationError, match="no executables"):
        Feff8lEngine(bare, route="executables")
    with pytest.raises(ConfigurationError, match="no library"):
        Feff8lEngine(replace(installation, library=None), route="library")


def test_overlapped_atoms_alone_give_a_spectrum_too(engine, reference):
    """Without an SCF card FEFF stays with the free atoms' potentials."""
    (spectrum,) = engine.run_site(octahedron(scf=ScfControl(0.0, max_iterations=0)))
    assert spectrum.scf.n_iterations == 0
    assert spectrum.e_fermi_ev != pytest.approx(reference[0][0].e_fermi_ev, abs=0.05)
    assert (spectrum.tensor[:, :3] > 0).all()


@pytest.mark.parametrize(
    ("name", "reason", "words", "n_tries"),
    [
        ("overlap_LiCuH4Cl3O2", "overlap_limit", "overlap by more than FEFF's tables hold", 1),
        ("core_level_CuH2N2O7", "crash", "CORVAL-1", len(FEFF8L_LADDER)),
    ],
)
def test_what_makes_feff_give_up_is_said(name, reason, words, n_tries):
    structure = Structure.from_file(STRUCTURES / f"{name}.cif")
    settings = XesSettings()
    cluster = absorber_cluster(
        structure,
        site_orbits(structure, "Cu")[0].representative,
        settings.listed_radius_angstrom,
        n_neighbors=30,
    )
    with pytest.raises(EngineCrashError, match=words) as caught:
        create_engine("feff8l", load_settings()).run(cluster, settings)
    assert caught.value.reason == reason
    assert len(caught.value.attempts) == n_tries
