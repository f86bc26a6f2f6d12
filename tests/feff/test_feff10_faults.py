"""
What goes wrong with FEFF10, done for real, and what becomes of it.

The programs are those of `fake_feff10`: they check what they are given and answer with recorded
files of FEFF10. Each fault happens twice: every time, until the site is given up, and in the first
try only. docs/feff10.md has the same table.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from fake_feff10 import DIRECTIONS, FakeFeff10, fault, recorded_calls
from feff10_process import all_gone, mounted, signalling, start, told_by
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core.structure import Structure
from record_feff10 import FOLDER, SETTINGS, cluster_of, site_of, structure_of
from recorded_valence import recorded_valence

from vtc_flows.errors import (
    ConfigurationError,
    EngineCrashError,
    EngineError,
    ScfNotConvergedError,
    ScratchLostError,
    StorageError,
)
from vtc_flows.feff.engine import SiteSpectrum
from vtc_flows.feff.feff10 import from_settings
from vtc_flows.feff.feff10_valence import ValenceSpectra
from vtc_flows.feff.recovery import FEFF10_LADDER, REMEDIES
from vtc_flows.feff.valence_bottom import wider_grid
from vtc_flows.physics.tensors import along
from vtc_flows.schemas import SiteXesDoc, XesSettings
from vtc_flows.settings import load_settings
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker

ROOT = Path(__file__).parents[2]
SMALL = SETTINGS.for_size(SETTINGS.fms_atoms[0])


@dataclass(frozen=True)
class Fault:
    """
    One thing that goes wrong.

    Parameters
    ----------
    what : str
        As docs/feff10.md has it.
    plan : tuple
        Program, verb and arguments of each part; see `fake_feff10.fault`.
    reason : str
        The code that it gets.
    says : str
        A pattern of the message.
    step : str
        What the site is recovered by where it happens in the first try only; nothing where it is
        not tried again.
    calls : tuple of int
        Which calls of the program in each try, all if empty.
    kill : str
        The signal for programs that wait.
    both_sizes : bool
        Whether it takes two cluster sizes.
    timeout_s : float
        The time limit of a try.
    """

    what: str
    plan: tuple[tuple, ...]
    reason: str
    says: str
    step: str = ""
    calls: tuple[int, ...] = ()
    kill: str = ""
    both_sizes: bool = False
    timeout_s: float = 60.0

    @property
    def settings(self) -> XesSettings:
        return SETTINGS if self.both_sizes else SMALL

    def entries(self, tries: tuple[int, ...] = ()) -> list[list]:
        return [fault(*part, calls=self.calls, tries=tries) for part in self.plan]


AGAIN, HALF = "again", "half mixing"
FAULTS = [
    Fault(
        "`pot` ends with exit code 3", (("pot", "exit", 3),), "crash", "pot ended with code 3", HALF
    ),
    Fault(
        "`pot` gives up (par_stop): message, `.feff.error`, exit code 0",
        (("pot", "answer", "stopped"), ("pot", "leave")),
        "error_file",
        "pot .*Cannot determine Norman radius",
        HALF,
    ),
    Fault(
        "`ff2x` leaves `.feff.error` beside a spectrum, exit code 0",
        (("ff2x", "leave"),),
        "error_file",
        "ff2x .*left .feff.error",
        HALF,
    ),
    Fault(
        "`rdinp` refuses the input: message, `.feff.error`, exit code 0",
        (("rdinp", "say", " Keyword unrecognized.\nRDINP-2"),),
        "bad_input",
        "refuses its input: Keyword unrecognized",
    ),
    Fault(
        "`pot` is killed from outside (SIGKILL)",
        (("pot", "wait"),),
        "killed",
        "pot was ended from outside by SIGKILL",
        AGAIN,
        kill="SIGKILL",
    ),
    Fault(
        "`fms` is killed from outside (SIGTERM)",
        (("fms", "wait"),),
        "killed",
        "fms was ended from outside by SIGTERM",
        AGAIN,
        kill="SIGTERM",
    ),
    Fault(
        "`xsph` is ended by SIGSEGV",
        (("xsph", "wait"),),
        "crash",
        "xsph was ended by SIGSEGV",
        HALF,
        kill="SIGSEGV",
    ),
    Fault(
        "a launcher is killed, its own processes go on",
        (("pot", "children"), ("pot", "die", "SIGKILL")),
        "killed",
        "pot was ended from outside by SIGKILL",
        AGAIN,
    ),
    Fault(
        "the run folder is removed while `pot` runs",
        (("pot", "sweep", 2),),
        "scratch_lost",
        "was removed in the middle of the run",
        AGAIN,
    ),
    Fault(
        "`pot` and processes of its own hang; the time limit is small",
        (("pot", "children"), ("pot", "wait")),
        "timeout",
        "stopped after 2 s, in FEFF10's pot: raise the time limit",
        timeout_s=2.0,
    ),
    Fault(
        '2 iterations: "Convergence not reached", exit code 0, `pot.bin` written',
        (("pot", "answer", "not_converged"),),
        "scf_not_converged",
        "did not converge in 5 iterations",
        HALF,
    ),
    Fault(
        '"Bad counts found repeatedly", exit code 0',
        (("pot", "answer", "bad_counts"),),
        "bad_counts",
        "impossible occupations 6 times",
        HALF,
    ),
    Fault(
        '"Found bad counts" while `pot` runs: it is stopped',
        (("pot", "mutter", " Found bad counts.\n  Will repeat this iteration."), ("pot", "wait")),
        "bad_counts",
        "met impossible occupations and would look for another core-valence separation",
        HALF,
    ),
    Fault(
        '"Found bad counts" on the way to convergence',
        (("pot", "substitute", "log1.dat", r"(?=^SCF ITERATION NUMBER  3)", "Found bad counts\n"),),
        "bad_counts",
        "met impossible occupations",
        HALF,
    ),
    Fault(
        "a false solution: 2.33 s electrons in the valence of zinc, whose 4s holds two",
        (("pot", "substitute", "log1.dat", r"2     0    0\.661", "2     0    2.330"),),
        "valence_assignment",
        r"false solution: Zn holds 2\.33 s electrons .* above the core-valence separation",
        HALF,
    ),
    Fault(
        "`convergence.scf` says 0, the log that it converged",
        (("pot", "substitute", "convergence.scf", r"1$", "0"),),
        "scf_not_converged",
        "did not converge in 13 iterations",
        HALF,
    ),
    Fault(
        "`convergence.scf` says 1, the log that it did not converge",
        (
            (
                "pot",
                "substitute",
                "log1.dat",
                "Convergence reached.*",
                ":WARNING Convergence not reached",
            ),
        ),
        "scf_not_converged",
        "did not converge in 13 iterations",
        HALF,
    ),
    Fault(
        "`convergence.scf` holds NaN: the potentials diverged",
        (("pot", "substitute", "convergence.scf", r"  10 +-9.961", "  10  NaN"),),
        "scf_not_converged",
        "potentials diverged: after 12 iterations",
        HALF,
    ),
    Fault(
        "`convergence.scf` is missing",
        (("pot", "drop", "convergence.scf"),),
        "output_missing",
        "left no convergence.scf",
        AGAIN,
    ),
    Fault(
        "`convergence.scf` is cut off in a line",
        (("pot", "cut", "convergence.scf", 20),),
        "output_truncated",
        "convergence.scf holds a broken line",
        AGAIN,
    ),
    Fault(
        "the log `log1.dat` is cut off",
        (("pot", "cut", "log1.dat", 0.98),),
        "output_truncated",
        "log1.dat does not say that the potentials converged",
        AGAIN,
    ),
    Fault(
        "the log `log1.dat` names no core-valence separation",
        (("pot", "substitute", "log1.dat", r"^Core-valence separation.*\n", ""),),
        "output_truncated",
        "log1.dat names no core-valence separation",
        AGAIN,
    ),
    Fault(
        "`config.dat` is missing",
        (("atomic", "drop", "config.dat"),),
        "output_missing",
        "atomic left no config.dat",
        AGAIN,
    ),
    Fault(
        "`config.dat` is cut off in a line",
        (("atomic", "cut", "config.dat", 0.6),),
        "output_truncated",
        "config.dat is cut off",
        AGAIN,
    ),
    Fault(
        "`config.dat` has lost an atom",
        (("atomic", "substitute", "config.dat", r"^  2   30 .*\n.*\n", ""),),
        "output_truncated",
        "config.dat has 2 kinds of atoms and log1.dat 3",
        AGAIN,
    ),
    Fault(
        "`pot.bin` is missing",
        (("pot", "drop", "pot.bin"),),
        "output_missing",
        "left no pot.bin",
        AGAIN,
    ),
    Fault(
        "`pot.bin` is cut off",
        (("pot", "cut", "pot.bin", 0.2),),
        "output_truncated",
        "pot.bin cannot be read",
        AGAIN,
    ),
    Fault(
        "`pot.bin` is of another run",
        (("pot", "exchange", "pot.bin", "other"),),
        "output_stale",
        "pot.bin has the Fermi level -9.857 eV, convergence.scf -9.961 eV",
        AGAIN,
    ),
    Fault(
        "`phase.bin` is cut off",
        (("xsph", "cut", "phase.bin", 0.5),),
        "output_truncated",
        "phase.bin",
        AGAIN,
    ),
    Fault(
        "`xsect.dat` is cut off",
        (("xsph", "cut", "xsect.dat", 0.5),),
        "output_truncated",
        "xsect.dat holds",
        AGAIN,
    ),
    Fault(
        "`xsect.dat` is cut off where `ff2x` does not need it any more",
        (("xsph", "substitute", "xsect.dat", r"^.*\n.*\n\Z", ""),),
        "output_truncated",
        "xsect.dat holds 102 of the 104 points of fms.bin",
        AGAIN,
    ),
    Fault(
        "`xsect.dat` is of another run with the same grid",
        (("xsph", "substitute", "xsect.dat", r"0\.84643E-05$", "0.85643E-05"),),
        "output_stale",
        "integral over FEFF10's fine structure differs from its spectrum",
        AGAIN,
    ),
    Fault(
        "`xsect.dat` is of another run with another grid",
        (("xsph", "exchange", "xsect.dat", "other"),),
        "output_stale",
        "xsect.dat, fms.bin and xmu.dat have different meshes",
        AGAIN,
    ),
    Fault(
        "`fms` makes no Green's function for the second size; that of the first is there",
        (("fms", "nothing"),),
        "output_missing",
        "fms left no gg.bin",
        AGAIN,
        calls=(2,),
        both_sizes=True,
    ),
    Fault(
        "`mkgtr` makes nothing for a polarization; `fms.bin` of another is there",
        (("mkgtr", "nothing"),),
        "output_missing",
        "mkgtr left no fms.bin",
        AGAIN,
        calls=(3,),
    ),
    Fault(
        "`fms.bin` is cut off, which `ff2x` does not notice",
        (("mkgtr", "cut", "fms.bin", 0.6),),
        "output_truncated",
        "fms.bin cannot be read",
        AGAIN,
    ),
    Fault(
        "`fms.bin` is made anew, with other numbers, before `ff2x` reads it",
        (
            ("mkgtr", "substitute", "fms.bin", r"(?<=^\$..)[^\n](?=.{10})", "P"),
            ("ff2x", "remake", "fms.bin", "mkgtr"),
        ),
        "output_stale",
        "integral over FEFF10's fine structure differs from its spectrum",
        AGAIN,
    ),
    Fault(
        "`mkgtr` works on an old polarization",
        (("mkgtr", "exchange", "fms.bin", "0 x"),),
        "output_stale",
        "x and z have the very same spectrum",
        AGAIN,
        calls=(3,),
    ),
    Fault(
        "`feff.inp` is changed while it is read",
        (("rdinp", "tamper", "feff.inp", "TITLE vtc-flows", "TITLE another run"),),
        "output_stale",
        "feff.inp is not what was written",
        AGAIN,
    ),
    Fault(
        "`geom.dat` has lost atoms",
        (("rdinp", "cut", "geom.dat", 0.7),),
        "output_truncated",
        "geom.dat has 3. of the 48 atoms",
        AGAIN,
    ),
    Fault(
        "`geom.dat` is of another structure",
        (("rdinp", "substitute", "geom.dat", "1.86909", "1.76909"),),
        "output_stale",
        "geom.dat has other atoms",
        AGAIN,
    ),
    Fault(
        "`global.inp` has another polarization",
        (("rdinp", "substitute", "global.inp", r"(?<=spvec\n)(.*\n)(.*\n)(.*\n)", r"\2\3\1"),),
        "output_stale",
        "works on the polarization",
        AGAIN,
        calls=(2,),
    ),
    Fault(
        "`xmu.dat` is not written; one of another polarization was there",
        (("ff2x", "nothing"),),
        "output_missing",
        "left no xmu.dat",
        AGAIN,
        calls=(2,),
    ),
    Fault(
        "`xmu.dat` is an old one of another polarization",
        (("ff2x", "exchange", "xmu.dat", "0 z"),),
        "output_stale",
        "x and z have the very same spectrum",
        AGAIN,
        calls=(1,),
    ),
    Fault(
        "`xmu.dat` is an old one of another cluster size",
        (("ff2x", "exchange", "xmu.dat", "1 y"),),
        "output_stale",
        "xmu.dat is of a scattering radius of 3.2383 Angstrom",
        AGAIN,
        calls=(2,),
    ),
    Fault(
        "`xmu.dat` is of another Fermi level",
        (("ff2x", "edit", "xmu.dat", "shift 0.1"),),
        "output_stale",
        "xmu.dat has its Fermi level at -9.8613 eV",
        AGAIN,
    ),
    Fault(
        "`xmu.dat` of one polarization has another grid",
        (("ff2x", "edit", "xmu.dat", "short"),),
        "wrong_grid",
        "polarizations x and .* have different energies",
        AGAIN,
        calls=(2,),
    ),
    Fault(
        "`xmu.dat` of all polarizations has another grid",
        (("ff2x", "edit", "xmu.dat", "short"),),
        "wrong_grid",
        "78 energies .* where 83 were asked for",
        AGAIN,
    ),
    Fault(
        "one polarization has another atomic background",
        (("ff2x", "edit", "xmu.dat", "background 1.001"),),
        "output_stale",
        "x and .* have different atomic backgrounds",
        AGAIN,
        calls=(4,),
    ),
    Fault(
        "`xmu.dat` is empty",
        (("ff2x", "empty", "xmu.dat"),),
        "output_truncated",
        "xmu.dat holds no numbers",
        AGAIN,
    ),
    Fault(
        "`xmu.dat` is cut off in a line",
        (("ff2x", "cut", "xmu.dat", 30),),
        "output_truncated",
        "xmu.dat holds a broken line",
        AGAIN,
    ),
    Fault(
        "`xmu.dat` holds NaN",
        (("ff2x", "edit", "xmu.dat", "nan"),),
        "output_not_finite",
        "xmu.dat holds numbers that are not finite",
        AGAIN,
    ),
    Fault(
        "`xmu.dat` holds stars in the place of a number",
        (("ff2x", "edit", "xmu.dat", "stars"),),
        "output_truncated",
        "xmu.dat holds a broken line.*\\*\\*\\*",
        AGAIN,
    ),
    Fault(
        "negative intensities",
        (("ff2x", "edit", "xmu.dat", "negative"),),
        "negative_spectrum",
        "isotropic spectrum falls to -",
        HALF,
    ),
    Fault(
        "zeros alone",
        (("ff2x", "edit", "xmu.dat", "zero"),),
        "zero_spectrum",
        "nowhere above zero",
        HALF,
    ),
    Fault(
        "a tensor that is negative along a direction",
        (("ff2x", "edit", "xmu.dat", "scale 4"),),
        "tensor_not_positive",
        "polarized along one direction the spectrum falls to -",
        HALF,
        calls=(4,),
    ),
    Fault(
        "a tensor without the symmetry of the atoms",
        (("ff2x", "edit", "xmu.dat", "scale 1.05"),),
        "asymmetric_tensor",
        "tensor changes by .* under the symmetry",
        HALF,
        calls=(1,),
    ),
    Fault(
        "all spectra are larger by 1e-5 than what `fms.bin` and `xsect.dat` give",
        (("ff2x", "edit", "xmu.dat", "scale 1.00001"),),
        "output_stale",
        "integral over FEFF10's fine structure differs from its spectrum by 1.0e-05",
        AGAIN,
    ),
    Fault(
        "`fms` vanishes after the start",
        (("pot", "vanish", "fms"),),
        "program_missing",
        "fms cannot be started .*/fms",
    ),
    Fault(
        "`mkgtr` may not be executed any more",
        (("pot", "forbid", "mkgtr"),),
        "program_missing",
        "mkgtr cannot be started",
    ),
]


@pytest.fixture(scope="module")
def fake(tmp_path_factory) -> FakeFeff10:
    return FakeFeff10(tmp_path_factory.mktemp("feff10") / "programs", FOLDER)


@pytest.fixture
def scratch(fake, tmp_path, monkeypatch) -> Path:
    """Set the machine up: the programs, where they run, and no fault yet."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("VTC_FEFF10_DIRECTORY", str(fake.folder))
    monkeypatch.setenv("VTC_SCRATCH_DIRECTORY", str(folder))
    fake.install()
    fake.plan()
    return folder


@pytest.fixture(scope="module")
def cluster():
    return cluster_of("wurtzite_ZnO", "Zn")


@pytest.fixture(scope="module")
def structure() -> Structure:
    return structure_of("wurtzite_ZnO")


@pytest.fixture(scope="module")
def recorded() -> list[dict[str, np.ndarray]]:
    """Return the recorded spectra of both sizes, in the columns of xmu.dat."""
    calls = [c for c in recorded_calls(FOLDER, "converged") if c["program"] == "ff2x"]
    tables = [
        np.array([line.split() for line in text.splitlines() if line[0] != "#"], dtype=float)
        for text in (call["files"]["xmu.dat"] for call in calls)
    ]
    names = list(DIRECTIONS)
    return [dict(zip(names, tables[first : first + 6], strict=True)) for first in (0, 6)]


@pytest.fixture(scope="module")
def emitted() -> list[ValenceSpectra]:
    """Return what the valence emits by the recorded files, without the engine."""
    return [one.valence() for one in recorded_valence()]


def require_emission(spectrum: SiteSpectrum, wanted: ValenceSpectra) -> None:
    """Require the emission of the recorded files, to rounding."""
    edge = spectrum.edge_cross_section_angstrom2
    np.testing.assert_allclose(spectrum.energy_ev, wanted.energy_ev, rtol=1e-12)
    for found, by_files in (
        (spectrum.tensor * edge, wanted.tensor),
        (spectrum.background * edge, wanted.background),
    ):
        np.testing.assert_allclose(found, by_files, rtol=1e-12, atol=1e-12 * by_files.max())
    assert spectrum.bottom is not None
    assert replace(spectrum.bottom, levels=()) == wanted.bottom
    assert [(level.label, level.letter) for level in spectrum.bottom.levels] == [("O", "s")]


def test_without_a_fault(fake, scratch, cluster, emitted):
    spectra = from_settings(load_settings()).run(cluster, SETTINGS)
    for spectrum, wanted in zip(spectra, emitted, strict=True):
        require_emission(spectrum, wanted)
        assert (spectrum.scf.recovery, spectrum.scf.attempts) == ("none", ())
    assert fake.lines("refusals") == []


def test_where_all_occupied_states_emit_the_spectra_are_those_of_feff10(fake, scratch, recorded):
    site = site_of("wurtzite_ZnO", "Zn")
    all_states = replace(site, grid=wider_grid(site.grid, site.lower_end), lower_end=None)
    spectra = from_settings(load_settings()).run_site(all_states)
    for spectrum, tables in zip(spectra, recorded, strict=True):
        assert spectrum.bottom is None
        for name, direction in DIRECTIONS.items():
            found = along(spectrum.tensor, direction) * spectrum.edge_cross_section_angstrom2
            np.testing.assert_allclose(found, tables[name][:, 3], rtol=1e-12)


@pytest.mark.parametrize("one", FAULTS, ids=lambda one: one.what.replace("`", ""))
def test_what_goes_wrong_every_time_is_a_failed_site(
    one, fake, scratch, structure, tmp_path, monkeypatch
):
    """Nothing is stored as successful, and the document has all to see it fail again."""
    monkeypatch.setenv("VTC_SITE_TIMEOUT_S", str(one.timeout_s))
    fake.plan(*one.entries())
    kept = tmp_path / "kept"
    maker = PolarizedXesFlowMaker(
        site_maker=SiteXesMaker(
            engine="short_feff10:make", settings=one.settings, cache_directory=str(kept)
        )
    )
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    flow = maker.make(structure, "Zn", "ZnO")
    with signalling(fake, one.kill):
        responses = run_locally(flow, store=store, log=False, raise_immediately=True)

    document = SiteXesDoc.model_validate(responses[flow.jobs[0].uuid][1].output)
    assert document.state == "failed"
    assert document.spectra == []
    failure = document.failure
    assert failure.reason == one.reason
    (reasons,) = {tuple(attempt.reason for attempt in failure.attempts)}
    assert reasons == (one.reason,) * (2 if one.step else 1)
    assert [attempt.step for attempt in failure.attempts] == ["none", one.step][: len(reasons)]
    for attempt in failure.attempts:
        assert re.search(one.says, attempt.message), attempt.message
    assert re.search(one.says, failure.message)
    silent = ("program_missing", "killed", "timeout", "scratch_lost")
    printed_something = not one.kill and one.reason not in silent
    assert bool(failure.log_tail) == printed_something
    assert "POTENTIALS" in failure.engine_input
    assert "END" in failure.engine_input

    for record in responses[flow.jobs[-1].uuid][1].output.records:
        assert record.state == "incomplete"
        assert record.sams is None
        assert record.sites == []
        assert [lost.reason for lost in record.failures] == [one.reason]
    assert not list(kept.rglob("*.json*"))
    assert list(scratch.iterdir()) == []
    assert all_gone(fake)
    assert [line for line in fake.lines("refusals") if not line.startswith("rdinp:  Key")] == []


#: One for each program and reason: what follows depends on these alone, and takes a whole run.
EACH_KIND = list({(one.plan[0][0], one.reason): one for one in reversed(FAULTS)}.values())


@pytest.mark.parametrize("one", EACH_KIND, ids=lambda one: one.what.replace("`", ""))
def test_what_goes_wrong_once_is_recovered_where_a_new_try_can(
    one, fake, scratch, cluster, emitted
):
    fake.plan(*one.entries(tries=(1,)))
    engine = from_settings(load_settings(site_timeout_s=one.timeout_s))
    if not one.step:
        with signalling(fake, one.kill), pytest.raises(EngineError, match=one.says) as caught:
            engine.run(cluster, one.settings)
        assert caught.value.reason == one.reason
        assert [attempt.reason for attempt in caught.value.attempts] == [one.reason]
        return
    with signalling(fake, one.kill):
        spectra = engine.run(cluster, one.settings)
    for spectrum, wanted in zip(spectra, emitted, strict=False):
        assert spectrum.scf.recovery == one.step
        assert [(a.step, a.reason) for a in spectrum.scf.attempts] == [("none", one.reason)]
        require_emission(spectrum, wanted)
    step = "half mixing" if one.step == HALF else "none"
    assert fake.lines("potentials")[-1] == step
    assert fake.lines("refusals") == []


def test_the_page_has_the_table_of_faults():
    rows = ["| what happens | reason code | if it happens once |", "|---|---|---|"]
    rows += [f"| {one.what} | `{one.reason}` | {_after(one)} |" for one in FAULTS]
    page = (ROOT / "docs" / "feff10.md").read_text(encoding="utf-8")
    assert "\n".join(rows) in page


def _after(one: Fault) -> str:
    return {HALF: "recovered: half mixing", AGAIN: "recovered: the same again", "": "failed"}[
        one.step
    ]


def test_the_table_agrees_with_the_policy():
    remedies = {AGAIN: "again", HALF: "ladder", "": "fail"}
    assert all(REMEDIES[one.reason] == remedies[one.step] for one in FAULTS)
    assert len(FAULTS) >= 18


@pytest.mark.parametrize("levels", [0, 1, 2], ids=["files", "try", "run folder"])
def test_a_folder_that_is_swept_fails_one_site_and_not_the_batch(
    fake, scratch, cluster, recorded, levels
):
    """Whatever part of it is removed, and whenever: in a program here, between two below."""
    fake.plan(fault("pot", "sweep", levels))
    with pytest.raises(ScratchLostError, match="removed in the middle of the run") as caught:
        from_settings(load_settings()).run(cluster, SMALL)
    attempts = [(attempt.step, attempt.reason) for attempt in caught.value.attempts]
    assert attempts == [("none", "scratch_lost"), ("again", "scratch_lost")]
    assert "POTENTIALS" in caught.value.input_text
    fake.plan(fault("fms", "sweep", levels, tries=(1,)))
    (spectrum,) = from_settings(load_settings()).run(cluster, SMALL)
    assert spectrum.scf.recovery == "again"
    assert list(scratch.iterdir()) == []


def test_a_folder_that_is_swept_between_programs(fake, scratch, cluster):
    def sweep(stage: str, done: int, total: int) -> None:
        if stage == "phases" and len(swept) < 1:
            (folder,) = scratch.iterdir()
            shutil.rmtree(folder)
            swept.append(folder)

    swept: list[Path] = []
    (spectrum,) = from_settings(load_settings()).run(cluster, SMALL, progress=sweep)
    assert spectrum.scf.recovery == "again"
    assert [attempt.reason for attempt in spectrum.scf.attempts] == ["scratch_lost"]


def test_a_scratch_folder_that_is_swept_itself(fake, scratch, cluster):
    engine = from_settings(load_settings())
    scratch.rmdir()
    (spectrum,) = engine.run(cluster, SMALL)
    assert spectrum.scf.recovery == "none"


def test_no_step_helps(fake, scratch, cluster):
    """Every step gets its cards, a fresh folder and a place in the list of tries."""
    fake.plan(fault("pot", "answer", "not_converged"))
    with pytest.raises(ScfNotConvergedError, match="after 7 tries") as caught:
        from_settings(load_settings()).run(cluster, SMALL)
    names = [step.name for step in FEFF10_LADDER]
    assert [attempt.step for attempt in caught.value.attempts] == names
    assert fake.lines("potentials") == names
    folders = {line.partition(" ")[2] for line in fake.lines("calls")}
    assert [Path(folder).name for folder in sorted(folders)] == [f"try-{n}" for n in range(1, 8)]
    assert "AFOLP" not in caught.value.input_text  # that of the last try
    assert fake.lines("refusals") == []


def test_impossible_occupations_end_pot_at_once(fake, scratch, cluster, emitted):
    """What FEFF10 would do next can mislead it; the next step starts from scratch."""
    fake.plan(
        fault("pot", "mutter", " Found bad counts.", tries=[1]), fault("pot", "wait", tries=[1])
    )
    began = time.monotonic()
    (spectrum,) = from_settings(load_settings(site_timeout_s=60)).run(cluster, SMALL)
    assert time.monotonic() - began < 50  # nobody waited for the program
    assert len(fake.lines("waiting")) == 1
    assert all_gone(fake)
    assert [(a.step, a.reason) for a in spectrum.scf.attempts] == [("none", "bad_counts")]
    assert spectrum.scf.recovery == "half mixing"
    assert fake.lines("potentials") == ["half mixing"]  # the first pot never came to its end
    require_emission(spectrum, emitted[0])


@pytest.mark.parametrize("on_bad_counts", ["separation", "go_on"])
def test_where_feff10_shall_go_on_it_does(fake, scratch, emitted, on_bad_counts):
    """As a feff.inp has it: FEFF10 looks for another core-valence separation."""
    said = "Found bad counts.\n"
    fake.plan(
        fault("pot", "mutter", said),
        fault("pot", "linger", 0.8),
        fault("pot", "substitute", "log1.dat", r"(?=^SCF ITERATION NUMBER  3)", said),
    )
    site = site_of("wurtzite_ZnO", "Zn", on_bad_counts=on_bad_counts)
    (spectrum,) = from_settings(load_settings()).run_site(
        replace(site, fms_radii_angstrom=site.fms_radii_angstrom[:1])
    )
    assert (spectrum.scf.recovery, spectrum.scf.attempts) == ("none", ())
    assert spectrum.scf.restarts == 1
    assert fake.lines("potentials") == ["none"]
    require_emission(spectrum, emitted[0])


FALSE = ("substitute", "log1.dat", r"2     0    0\.661", "2     0    2.330")


def test_a_false_solution_is_refused_until_one_is_none(fake, scratch, cluster, emitted):
    """It converges like a good one; the electrons of zinc's 4s give it away."""
    fake.plan(fault("pot", *FALSE, tries=[1, 2]))
    (spectrum,) = from_settings(load_settings()).run(cluster, SMALL)
    assert [(a.step, a.reason) for a in spectrum.scf.attempts] == [
        ("none", "valence_assignment"),
        ("half mixing", "valence_assignment"),
    ]
    assert spectrum.scf.recovery == "quarter mixing"
    assert fake.lines("potentials") == ["none", "half mixing", "quarter mixing"]
    require_emission(spectrum, emitted[0])


def test_a_false_solution_passes_where_feff10_is_to_be_reproduced(fake, scratch):
    fake.plan(fault("pot", *FALSE))
    site = site_of("wurtzite_ZnO", "Zn", on_bad_counts="separation")
    (spectrum,) = from_settings(load_settings()).run_site(
        replace(site, fms_radii_angstrom=site.fms_radii_angstrom[:1])
    )
    assert spectrum.scf.attempts == ()
    assert spectrum.scf.separation.occupations_e[2][0] == 2.33


def test_the_last_step_helps(fake, scratch, cluster):
    fake.plan(fault("pot", "answer", "bad_counts", tries=range(1, 7)))
    (spectrum,) = from_settings(load_settings()).run(cluster, SMALL)
    assert spectrum.scf.recovery == "wider SCF cluster"
    assert [attempt.reason for attempt in spectrum.scf.attempts] == ["bad_counts"] * 6


def test_a_lost_process_is_tried_again_once_only(fake, scratch, cluster):
    """Between steps of the ladder, too."""
    fake.plan(
        fault("pot", "answer", "not_converged", tries=[1]),
        fault("xsph", "die", "SIGKILL", tries=[2, 3]),
    )
    with pytest.raises(EngineCrashError) as caught:
        from_settings(load_settings()).run(cluster, SMALL)
    attempts = [(attempt.step, attempt.reason) for attempt in caught.value.attempts]
    assert attempts == [
        ("none", "scf_not_converged"),
        ("half mixing", "killed"),
        ("half mixing, again", "killed"),
    ]


def test_nothing_is_left_of_the_programs_when_the_user_interrupts(fake, scratch, cluster):
    fake.plan(fault("pot", "children"), fault("pot", "wait"))
    with signalling(fake, "SIGINT", os.getpid()), pytest.raises(KeyboardInterrupt):
        from_settings(load_settings()).run(cluster, SMALL)
    assert len(fake.lines("waiting")) == 3
    assert all_gone(fake)
    assert list(scratch.iterdir()) == []


def test_programs_end_with_the_process_that_runs_them(fake, scratch):
    fake.plan(fault("pot", "wait"))
    process = start()
    while not fake.lines("waiting"):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert all_gone(fake)


def test_a_small_stack_is_named(fake, scratch):
    fake.plan(fault("pot", "stack", 64 << 20))
    small = (8 << 20, 8 << 20)
    told = told_by(start(lambda: resource.setrlimit(resource.RLIMIT_STACK, small)))
    assert told["reason"] == "stack_limit"
    assert "pot was ended by SIGSEGV with a stack of at most 8192 kB" in told["message"]
    assert "ulimit -Hs unlimited" in told["message"]
    assert fake.lines("potentials") == []  # and tried once only
    assert fake.lines("calls")[-1].startswith("pot ")
    assert len(fake.lines("calls")) == 3


def test_the_stack_may_grow_as_far_as_the_system_allows(fake, scratch):
    """A small soft limit is no fault."""
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if 0 <= hard < 64 << 20:
        pytest.skip(f"the stack is limited to {hard} bytes here")
    fake.plan(fault("pot", "stack", 64 << 20))
    told = told_by(start(lambda: resource.setrlimit(resource.RLIMIT_STACK, (8 << 20, hard))))
    assert told["kind"] == ""


@pytest.mark.parametrize("size", [3 << 10, 8 << 10])
def test_too_large_a_file_is_named(fake, scratch, size):
    limit = (size, size)
    told = told_by(start(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)))
    assert told["kind"] == "StorageError"
    assert re.search("File too large|cannot write so large a file", told["message"])
    assert list(scratch.iterdir()) == []


STORAGE = [
    ("No space left on device", "free some"),
    ("Disk quota exceeded", "free some"),
    ("File too large", "ulimit -f unlimited"),
    ("Read-only file system", "VTC_SCRATCH_DIRECTORY"),
    ("Input/output error", "disk or the network"),
]


@pytest.mark.parametrize(("words", "advice"), STORAGE, ids=[words for words, _ in STORAGE])
def test_what_a_program_says_of_its_disk_is_believed(fake, scratch, cluster, words, advice):
    """And not tried again: FEFF10's Fortran repeats the system's words and ends with code 2."""
    fake.plan(fault("atomic", "complain", f"Fortran runtime error: {words}"))
    with pytest.raises(StorageError, match=f"{words}.*{advice}"):
        from_settings(load_settings()).run(cluster, SMALL)
    assert len(fake.lines("calls")) == 2
    assert list(scratch.iterdir()) == []


def test_a_signal_for_too_large_a_file_is_a_matter_of_storage(fake, scratch, cluster):
    fake.plan(fault("atomic", "die", "SIGXFSZ"))
    with pytest.raises(StorageError, match=r"atomic cannot write so large a file.*ulimit -f"):
        from_settings(load_settings()).run(cluster, SMALL)


@pytest.mark.parametrize("size", ["16k", "64k", "144k"])
def test_a_full_disk_is_named(fake, scratch, cluster, monkeypatch, size):
    disk = scratch / "disk"
    with mounted(disk, f"size={size}"):
        monkeypatch.setenv("VTC_SCRATCH_DIRECTORY", str(disk))
        with pytest.raises(StorageError, match=r"No space|no space"):
            from_settings(load_settings()).run(cluster, SETTINGS)
        assert list(disk.iterdir()) == []


def test_a_disk_that_is_read_only_from_the_start(fake, scratch, cluster, monkeypatch):
    disk = scratch / "disk"
    with mounted(disk, "ro"):
        monkeypatch.setenv("VTC_SCRATCH_DIRECTORY", str(disk))
        engine = from_settings(load_settings())
        with pytest.raises(StorageError, match=f"no run folder can be made.*{disk}"):
            engine.run(cluster, SMALL)
        with pytest.raises(StorageError, match="Read-only file system"):
            engine.run(cluster, SMALL, run_dir=disk)
    assert fake.lines("calls") == []


def test_a_disk_that_becomes_read_only(fake, scratch, cluster, monkeypatch):
    """As disks do that fail."""
    disk = scratch / "disk"

    def lock(stage: str, done: int, total: int) -> None:
        if stage == "phases":
            command = ["mount", "-o", "remount,ro", str(disk)]
            subprocess.run(command, check=True, capture_output=True)

    with mounted(disk, "size=8m"):
        monkeypatch.setenv("VTC_SCRATCH_DIRECTORY", str(disk))
        with pytest.raises(StorageError, match="Read-only file system"):
            from_settings(load_settings()).run(cluster, SMALL, progress=lock)
    assert fake.lines("calls")[-1].startswith("xsph ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into any folder")
def test_a_folder_without_the_right_to_write(fake, scratch, cluster):
    scratch.chmod(0o555)
    try:
        with pytest.raises(StorageError, match="no run folder can be made"):
            from_settings(load_settings()).run(cluster, SMALL)
    finally:
        scratch.chmod(0o755)


@pytest.mark.parametrize("how", ["missing", "not executable"])
def test_a_program_that_is_missing_at_the_start(fake, scratch, structure, how):
    """Nothing runs, and no document says that a site failed: the machine is to be mended."""
    own = fake.folder / "genfmt"
    own.unlink() if how == "missing" else own.chmod(0o644)
    maker = SiteXesMaker(engine="feff10", settings=SMALL)
    job = maker.make(structure, 0, "ZnO")
    with pytest.raises(ConfigurationError, match=r"no program genfmt that can be executed"):
        job.run(JobStore(MemoryStore(), additional_stores={"data": MemoryStore()}))
    assert fake.lines("calls") == []
