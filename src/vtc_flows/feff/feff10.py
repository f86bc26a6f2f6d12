"""
The engine ``feff10``: all physics by the programs of FEFF10.

The potentials are made once. For each size of the multiple scattering the Green's function is made
once, and only the programs that know of the polarization run six times: six spectra, from which
the tensor follows, for little more than the price of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vtc_flows.crystal.clusters import Cluster
from vtc_flows.errors import (
    EngineError,
    EngineOutputError,
    ScfNotConvergedError,
    StorageError,
)
from vtc_flows.feff.cluster_input import site_input
from vtc_flows.feff.core_valence import require_one_solution
from vtc_flows.feff.engine import EngineFacts, ScfFacts, SiteSpectrum
from vtc_flows.feff.feff10_input import (
    FEFF_INP,
    Feff10InputGenerator,
    Feff10InputSet,
    Polarization,
    absolute_grid,
)
from vtc_flows.feff.feff10_output import (
    BAD_COUNTS,
    FEFF10_HARTREE_EV,
    FINE_STRUCTURE_FILE,
    GEOMETRY_FILE,
    PHASE_FILE,
    POT_FILE,
    SECTION_FILE,
    XMU_FILE,
    Feff10Scf,
    Xmu,
    read_edge_cross_section,
    read_fermi_level,
    read_fine_structure,
    read_polarization,
    read_scf,
    read_section,
    read_xmu,
    require_atoms,
)
from vtc_flows.feff.feff10_programs import (
    Feff10Installation,
    ProgramRunner,
    find_feff10,
    log_tail,
    require_space,
)
from vtc_flows.feff.feff10_valence import valence_spectra
from vtc_flows.feff.phase_files import read_phase_pad
from vtc_flows.feff.phase_tables import deep_levels
from vtc_flows.feff.recovery import FEFF10_LADDER, Step, recover
from vtc_flows.feff.run_folder import require_scratch, run_folder, watched_scratch
from vtc_flows.feff.site_input import FEFF10_LIMITS, SiteInput
from vtc_flows.feff.valence_bottom import Level, wider_grid
from vtc_flows.feff.verdict import require_good
from vtc_flows.feff.watch import Progress, silent
from vtc_flows.physics.tensors import from_polarizations
from vtc_flows.schemas import XesSettings
from vtc_flows.settings import VtcSettings

#: To be raised with every change of the input, the order of programs or the reading of their files
#: that may change a number: what an older one made is computed anew. Version 0.1.0 began with 1.
REVISION = 2

FloatArray = NDArray[np.float64]

#: What runs once for the potentials, once for each radius, and once for each polarization.
POTENTIAL_PROGRAMS = ("rdinp", "atomic", "pot")
SCATTERING_PROGRAMS = ("screen", "opconsat", "xsph", "fms")
POLARIZATION_PROGRAMS = ("mkgtr", "path", "genfmt", "ff2x")

_DIAGONAL = 0.5**0.5
#: Directions of the six polarizations, in the frame of the atoms.
DIRECTIONS: Mapping[str, Polarization] = {
    "x": (1.0, 0.0, 0.0),
    "y": (0.0, 1.0, 0.0),
    "z": (0.0, 0.0, 1.0),
    "xy": (_DIAGONAL, _DIAGONAL, 0.0),
    "xz": (_DIAGONAL, 0.0, _DIAGONAL),
    "yz": (0.0, _DIAGONAL, _DIAGONAL),
}

_VERSION = "FEFF 10.0.0"  # what every build of it states
_ITERATION = re.compile(r"^New Fermi level:", re.MULTILINE)
_ENERGY_POINT = re.compile(r"Energy point\s+(\d+)/\s*(\d+)")
_SAME_DIRECTION = 1e-4  # FEFF10's own files have five decimals
_SAME_LEVEL_EV = 1e-3
_LINE_ANGSTROM = 1e-3


def xmu_name(polarization: str) -> str:
    """Return the name under which the file of a polarization is kept; the last radius's stays."""
    return f"xmu_{polarization}.dat"


class Feff10Engine:
    """
    FEFF10, by its programs.

    Parameters
    ----------
    installation : Feff10Installation
        The programs.
    launcher : str
        What starts the parallel ones, e.g. ``mpirun -n 4``.
    timeout_s : float
        Wall-clock limit for one try at one site.
    scratch_directory : Path, optional
        Where run folders are made; the system's temporary folder if not given.
    keep_scratch : bool
        Keep run folders instead of removing them.
    ladder : tuple of Step
        What is tried, in order, until a run is good.

    Raises
    ------
    ConfigurationError
        If the scratch folder is missing.
    """

    name = "feff10"

    def __init__(
        self,
        installation: Feff10Installation,
        *,
        launcher: str = "",
        timeout_s: float = 3600.0,
        scratch_directory: Path | None = None,
        keep_scratch: bool = False,
        ladder: tuple[Step, ...] = FEFF10_LADDER,
    ) -> None:
        require_scratch(scratch_directory)
        self._installation = installation
        self._launcher = launcher
        self._timeout_s = timeout_s
        self._scratch = scratch_directory
        self._keep = keep_scratch
        self._ladder = ladder

    @property
    def facts(self) -> EngineFacts:
        """Provenance of what this engine makes."""
        return EngineFacts(self.name, "executables", _VERSION, self._installation.sha256, REVISION)

    def identity(self) -> str:
        """Return engine, revision and the digest of its programs."""
        return f"{self.name}/{REVISION}/{self._installation.sha256}"

    def run(
        self,
        cluster: Cluster,
        settings: XesSettings,
        *,
        run_dir: Path | None = None,
        progress: Progress = silent,
    ) -> list[SiteSpectrum]:
        """
        Compute the spectra of the absorber of a cluster.

        Parameters
        ----------
        cluster : Cluster
            Atoms around the absorber.
        settings : XesSettings
            Sizes, grid, core hole.
        run_dir : Path, optional
            Empty folder for the run's files, which are then kept.
        progress : callable
            ``progress(stage, done, total)``.

        Returns
        -------
        list of SiteSpectrum
            One for each FMS size, all from the same potentials.

        Raises
        ------
        ClusterError
            If FEFF10 cannot hold the cluster.
        EngineError
            If no try gave a good spectrum; the class and its reason say why.
        StorageError
            If the disk is full or cannot be written.
        """
        return self.run_site(site_input(cluster, settings), run_dir=run_dir, progress=progress)

    def run_site(
        self, site: SiteInput, *, run_dir: Path | None = None, progress: Progress = silent
    ) -> list[SiteSpectrum]:
        """Compute the spectra of a site; see :meth:`run`."""
        site.check(FEFF10_LIMITS)
        spent: dict[str, float] = {}

        def attempt(tried: SiteInput, folder: Path) -> list[SiteSpectrum]:
            return self._attempt(tried, folder, progress, spent)

        with run_folder(run_dir, scratch=self._scratch, keep=self._keep) as folder:
            recovered = recover(
                site,
                attempt,
                folder,
                ladder=self._ladder,
                limits=FEFF10_LIMITS,
                kept=self._keep or run_dir is not None,
            )
        total_s = sum(spent.values())
        return [
            replace(
                spectrum,
                scf=replace(spectrum.scf, recovery=recovered.step, attempts=recovered.attempts),
                timings_s={**spectrum.timings_s, "total": total_s},
            )
            for spectrum in recovered.value
        ]

    def _attempt(
        self, site: SiteInput, folder: Path, progress: Progress, spent: dict[str, float]
    ) -> list[SiteSpectrum]:
        """Run one site once in a fresh folder; add the CPU seconds of each program to ``spent``."""
        run = _Run(
            site,
            ProgramRunner(
                self._installation, folder, timeout_s=self._timeout_s, launcher=self._launcher
            ),
            folder,
            progress,
            self.facts,
        )
        try:
            with watched_scratch(folder, FEFF_INP):
                return self._spectra(run, folder)
        except EngineError as error:
            error.input_text = run.input_text
            if run.runner.last_log is not None:
                error.log_tail = error.log_tail or log_tail(run.runner.last_log)
            raise
        finally:
            for program, seconds in run.runner.cpu_s.items():
                spent[program] = spent.get(program, 0.0) + seconds

    def _spectra(self, run: _Run, folder: Path) -> list[SiteSpectrum]:
        try:
            return run.spectra()
        except EngineOutputError:
            require_space(folder)  # a file that is cut off may be a disk that is full
            raise


class _Run:
    """One try at one site."""

    def __init__(
        self,
        site: SiteInput,
        runner: ProgramRunner,
        folder: Path,
        progress: Progress,
        facts: EngineFacts,
    ) -> None:
        self.site, self.runner, self.folder = site, runner, folder
        self.progress, self.facts = progress, facts
        self.generator = Feff10InputGenerator()
        self.input_text = ""

    def spectra(self) -> list[SiteSpectrum]:
        """Return a good spectrum for each radius, or raise."""
        scf = self._potentials()
        before_s = dict(self.runner.cpu_s)
        found = []
        for number, radius in enumerate(self.site.fms_radii_angstrom):
            start = dict(self.runner.cpu_s)
            found.append(self._spectrum(radius, scf, before_s, start))
            self.progress("fms", number + 1, len(self.site.fms_radii_angstrom))
        return found

    def _potentials(self) -> Feff10Scf:
        self._read_input(self.generator.get_input_set(self._listed(None)))
        most = self.site.scf.max_iterations

        def watch(said: str) -> None:
            self.progress("scf", len(_ITERATION.findall(said)), most)
            self._require_possible(BAD_COUNTS in said)

        for program in POTENTIAL_PROGRAMS[1:]:
            self.runner.run(program, watch if program == "pot" else None)
        if not (most and self.site.scf.radius_angstrom):
            return Feff10Scf((), read_fermi_level(self.folder / POT_FILE), (), 0)
        scf = read_scf(self.folder)
        self._require_possible(scf.bad_counts > 0)  # of a program too fast to be watched
        if scf.separation is not None and self.site.scf.on_bad_counts != "separation":
            require_one_solution(self.site.potentials, scf.separation)
        return scf

    def _require_possible(self, bad_counts: bool) -> None:
        """Stop at impossible occupations: what FEFF10 does next can mislead it."""
        if bad_counts and self.site.scf.on_bad_counts == "slow_down":
            raise ScfNotConvergedError(
                "FEFF10 met impossible occupations and would look for another core-valence "
                "separation",
                reason="bad_counts",
            )

    def _spectrum(
        self,
        radius: float,
        scf: Feff10Scf,
        before_s: dict[str, float],
        start_s: dict[str, float],
    ) -> SiteSpectrum:
        asked = self._listed(radius)
        site = asked
        if asked.lower_end is not None:
            site = replace(asked, grid=wider_grid(asked.grid, asked.lower_end))
        spectra: dict[str, Xmu] = {}
        fine: dict[str, NDArray[np.complex128]] = {}
        for name, direction in DIRECTIONS.items():
            inputs = self.generator.get_input_set(
                site, radius, polarization=direction, fermi_ev=scf.e_fermi_ev
            )
            self._read_input(inputs)
            if not spectra:  # the same for all polarizations
                first_input = inputs.text
                self._scatter()
            spectra[name], fine[name] = self._polarized(direction, name, radius)
        xmu = spectra["x"]
        self._require_one_run(spectra, on_a_line=_on_a_line(site, radius))
        at_fermi = int(np.argmin(np.abs(xmu.wave_number)))
        e_fermi_ev = self._fermi_level(xmu, scf)
        edge = read_edge_cross_section(self.folder / SECTION_FILE, e_fermi_ev)
        made = SiteSpectrum(
            fms_atoms=site.count_within(radius),
            fms_radius_angstrom=radius,
            energy_ev=xmu.energy_ev,
            e_fermi_ev=e_fermi_ev,
            tensor=from_polarizations({name: one.mu for name, one in spectra.items()}) / edge,
            background=xmu.mu0 / edge,
            edge_cross_section_angstrom2=edge,
            photon_edge_ev=float(
                xmu.photon_energy_ev[at_fermi] - xmu.energy_ev[at_fermi] + e_fermi_ev
            ),
            scf=self._facts_of(scf),
            engine=self.facts,
            timings_s=self._timings(before_s, start_s),
            input_text=first_input,
        )
        made = replace(made, checks=require_good(made, _told(site, scf.e_fermi_ev)))
        if asked.lower_end is None:
            return made
        emission = valence_spectra(
            read_section(self.folder / SECTION_FILE),
            fine,
            {name: one.mu for name, one in spectra.items()},
            _nearest(xmu.energy_ev, asked.grid.energies_ev(e_fermi_ev)),
            asked.lower_end,
            levels=self._levels(site, e_fermi_ev),
            step_ev=asked.grid.step_ev,
            refine=asked.mesh_refinement,
            amplitude=asked.amplitude_reduction,
        )
        valence = replace(
            made,
            energy_ev=emission.energy_ev,
            tensor=emission.tensor / edge,
            background=emission.background / edge,
            bottom=emission.bottom,
        )
        return replace(valence, checks=require_good(valence, _told(asked, scf.e_fermi_ev)))

    def _levels(self, site: SiteInput, e_fermi_ev: float) -> tuple[Level, ...]:
        """Return the deep levels of the other atoms, from FEFF10's phases."""
        try:
            phases = read_phase_pad(self.folder / PHASE_FILE)
        except EngineOutputError as error:
            raise EngineOutputError(error.message, reason="output_truncated") from error
        upto = phases.energy_ha[: phases.fermi_index + 1].real * FEFF10_HARTREE_EV
        return deep_levels(phases, upto, site)

    def _facts_of(self, scf: Feff10Scf) -> ScfFacts:
        return ScfFacts(
            True,
            len(scf.fermi_history_ev),
            fermi_history_ev=scf.fermi_history_ev,
            charges_e=scf.charges_e,
            separation=scf.separation,
            restarts=scf.bad_counts,
            mixing=self.site.scf.mixing,
        )

    def _scatter(self) -> None:
        def watch(said: str) -> None:
            points = _ENERGY_POINT.findall(said)
            if points:
                self.progress("fms", int(points[-1][0]), int(points[-1][1]))

        for program in SCATTERING_PROGRAMS:
            self.runner.run(program, watch if program == "fms" else None)
            if program == "xsph":
                self.progress("phases", 1, 1)

    def _polarized(
        self, direction: Polarization, name: str, radius: float
    ) -> tuple[Xmu, NDArray[np.complex128]]:
        """
        Return spectrum and fine structure of the polarization that was written last.

        The file of the spectrum is kept apart.
        """
        self._require_direction(direction)
        for program in POLARIZATION_PROGRAMS:
            self.runner.run(program)
            if program == "mkgtr":
                fine_structure = read_fine_structure(self.folder / FINE_STRUCTURE_FILE)
        path = self.folder / XMU_FILE
        spectrum = read_xmu(path, radius)
        self._require_direction(direction)  # nobody else's, all the while
        path.replace(self.folder / xmu_name(name))
        return spectrum, fine_structure

    def _require_direction(self, direction: Polarization) -> None:
        read = np.asarray(read_polarization(self.folder))
        if np.abs(read - np.asarray(direction)).max() > _SAME_DIRECTION:
            raise EngineOutputError(
                f"FEFF10 works on the polarization {read.tolist()}, not on {list(direction)}: its "
                "files are of another run",
                reason="output_stale",
            )

    def _require_one_run(self, spectra: dict[str, Xmu], *, on_a_line: bool) -> None:
        first = spectra["x"]
        for name, one in spectra.items():
            same = len(one.energy_ev) == len(first.energy_ev)
            if not same or np.any(one.energy_ev != first.energy_ev):
                raise EngineOutputError(
                    f"the polarizations x and {name} have different energies: their files are of "
                    "different runs",
                    reason="wrong_grid",
                )
            if np.any(one.mu0 != first.mu0):
                raise EngineOutputError(
                    f"the polarizations x and {name} have different atomic backgrounds: their "
                    "files are of different runs",
                    reason="output_stale",
                )
        # also where symmetry makes two spectra equal, they differ in their last digits
        for (name, one), (other, two) in combinations(spectra.items(), 2):
            if not on_a_line and one.mu.any() and np.array_equal(one.mu, two.mu):
                raise EngineOutputError(
                    f"the polarizations {name} and {other} have the very same spectrum: one of "
                    "their files is an old one",
                    reason="output_stale",
                )

    def _fermi_level(self, xmu: Xmu, scf: Feff10Scf) -> float:
        """Return the Fermi level, which is a point of the spectrum where it lies inside."""
        if not xmu.energy_ev[0] <= scf.e_fermi_ev <= xmu.energy_ev[-1]:
            return scf.e_fermi_ev
        at_fermi = int(np.argmin(np.abs(xmu.wave_number)))
        level = float(xmu.energy_ev[at_fermi])
        if xmu.wave_number[at_fermi] or abs(level - scf.e_fermi_ev) > _SAME_LEVEL_EV:
            raise EngineOutputError(
                f"{XMU_FILE} has its Fermi level at {level:.4f} eV, the potentials at "
                f"{scf.e_fermi_ev:.4f} eV: they are of different runs",
                reason="output_stale",
            )
        return level

    def _timings(self, before_s: dict[str, float], start_s: dict[str, float]) -> dict[str, float]:
        now = self.runner.cpu_s
        own = {name: seconds - start_s.get(name, 0.0) for name, seconds in now.items()}
        programs = {f"program {name}": before_s.get(name, 0.0) for name in POTENTIAL_PROGRAMS}
        for name, seconds in own.items():
            key = f"program {name}"
            programs[key] = programs.get(key, 0.0) + seconds
        return {
            "scf": sum(before_s.values()),
            "phases": own["xsph"],
            "fms": sum(own.values()) - own["xsph"],
            **programs,
        }

    def _listed(self, radius: float | None) -> SiteInput:
        """
        Return the site with the atoms that FEFF10 is told of.

        These are those that make the potentials, so that these are the same for every radius, or
        all within the radius where that is more.
        """
        site = self.site
        if site.n_potential_atoms is None:
            return site
        count = site.n_potential_atoms
        if radius is not None:
            count = max(count, site.count_within(radius))
        return replace(site, n_potential_atoms=count).for_potentials()

    def _read_input(self, inputs: Feff10InputSet) -> None:
        """Let FEFF10 read an input, and see that it read all of this one."""
        self.input_text = inputs.text
        path = self.folder / FEFF_INP
        try:
            inputs.write_input(self.folder)
            self.runner.run("rdinp")
            untouched = path.read_text(encoding="latin-1") == inputs.text
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}") from error
        if not untouched:
            raise EngineOutputError(
                f"{FEFF_INP} is not what was written: something else writes into {self.folder}",
                reason="output_stale",
            )
        require_atoms(self.folder / GEOMETRY_FILE, inputs.site)


def _told(site: SiteInput, e_fermi_ev: float) -> SiteInput:
    """Return a site with the grid as FEFF10 was told it, so that one of another run shows."""
    return replace(site, grid=absolute_grid(site.grid, e_fermi_ev))


def _nearest(energies_ev: FloatArray, wanted_ev: FloatArray) -> FloatArray:
    """Return FEFF10's own energies, which it rounds, for those that are wanted."""
    return np.asarray(energies_ev[np.abs(energies_ev[:, None] - wanted_ev).argmin(axis=0)])


def _on_a_line(site: SiteInput, radius_angstrom: float) -> bool:
    """Say whether the atoms that scatter lie on a line: then two spectra may be the same."""
    inside = site.positions[: site.count_within(radius_angstrom)]
    return bool(np.linalg.matrix_rank(inside, tol=_LINE_ANGSTROM) < 2)


def from_settings(settings: VtcSettings) -> Feff10Engine:
    """
    Return the engine with what is found on this machine.

    Raises
    ------
    EngineNotFoundError
        If there is no FEFF10; says how to get it.
    """
    return Feff10Engine(
        find_feff10(settings),
        launcher=settings.feff10_launcher,
        timeout_s=settings.site_timeout_s,
        scratch_directory=settings.scratch_directory,
        keep_scratch=settings.keep_scratch,
    )
