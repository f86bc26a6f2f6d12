"""
Potentials and phase shifts by FEFF 8.5L's executables: the way that works without the library.

Slower, because FEFF's own scattering serves the self-consistency, and a little less accurate:
the program sets its own energy mesh with at most 90 points up to the Fermi level, from which the
phases are interpolated to ours.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from vtc_flows.errors import EngineCrashError, EngineOutputError, ScfNotConvergedError
from vtc_flows.feff.convergence import ScfHistory
from vtc_flows.feff.core_valence import CoreValence
from vtc_flows.feff.phase_files import read_cross_section, read_phase_pad
from vtc_flows.feff.phase_tables import deep_levels, emission_mesh, interpolated
from vtc_flows.feff.site_input import EnergyGrid, SiteInput
from vtc_flows.feff.units import HARTREE_EV
from vtc_flows.feff.valence_bottom import ValenceBottom, bottom_from_background, wider_grid
from vtc_flows.feff.watch import Progress
from vtc_flows.scattering.tensor import PhaseData

_POINTS_BELOW_FERMI = 89
_MOST_ITERATIONS = 30  # the mixing writes beyond its memory after that
_K_STEP = 0.001  # so small that the whole mesh is regular in energy
_XES = 2  # ispec
_ITERATION = re.compile(r"SCF ITERATION NUMBER\s*(\d+)")
_CHARGE = re.compile(r"^ +\d+ +(-?\d+\.\d+)\s*$", re.MULTILINE)
_FERMI_LEVEL = re.compile(r"mu_new=\s*(-?[\d.]+)")


class ExecutedPotentialsAndPhases:
    """
    One run of FEFF 8.5L's executables for one site.

    Has the interface of :class:`vtc_flows.feff.potph.PotentialsAndPhases`.

    Parameters
    ----------
    executables : dict of str to str
        Paths of ``rdinp``, ``pot`` and ``xsph``.
    site : SiteInput
        The site.
    directory : Path
        The current directory, where the programs leave their files.
    progress : callable
        Called as ``progress(stage, done, total)``.
    """

    def __init__(
        self, executables: dict[str, str], site: SiteInput, directory: Path, progress: Progress
    ) -> None:
        self._executables = executables
        self._site = site
        self._directory = directory
        self._progress = progress
        self._most_iterations = min(site.scf.max_iterations, _MOST_ITERATIONS)
        self.scf = ScfHistory()
        self.scattering = SimpleNamespace(cpu_s=0.0, calls=0)  # none of it is ours on this route
        self.scf_cpu_s = self.phases_cpu_s = 0.0
        self.photon_edge_ha = 0.0
        self.separation: CoreValence | None = None  # the programs do not tell all of it
        self.bottom: ValenceBottom | None = None

    def run(self) -> PhaseData:
        """
        Make potentials and phases.

        Returns
        -------
        PhaseData
            The scattering properties on the mesh that the site's grid asks for.

        Raises
        ------
        ScfNotConvergedError
            If the self-consistency used up its iterations.
        EngineCrashError, EngineOutputError
            If a program failed or left no output.
        """
        (self._directory / "feff.inp").write_text(feff_input_text(self._site))
        self._execute("rdinp")
        self._edit(
            "pot.json",
            ecv=self._site.scf.core_valence_ev,
            nscmt=self._most_iterations,
            folp=[self._site.overlap] * 12,
        )
        self.scf_cpu_s = self._execute("pot")
        self._progress("scf", self.scf.n_iterations, self._most_iterations)
        if self._site.scf.max_iterations and not self.scf.converged:
            raise ScfNotConvergedError(
                f"the potentials did not converge in {self.scf.n_iterations} iterations",
                reason=None if self.scf.possible else "bad_counts",
            )
        lowest_ev = self._lowest_energy_ev()
        fermi_ev = self.scf.fermi_ha[-1] * HARTREE_EV if self.scf.fermi_ha else 0.0
        step_ev = max((fermi_ev - lowest_ev) / _POINTS_BELOW_FERMI, 0.01)
        self._edit(
            "xsph.json",
            ispec=_XES,
            xkmax=lowest_ev - 2 * step_ev,
            xkstep=_K_STEP,
            vixan=step_ev * (1 + 2 / _POINTS_BELOW_FERMI),
        )
        self.phases_cpu_s = self._execute("xsph")
        self._progress("phases", 1, 1)
        phases = read_phase_pad(self._directory / "phase.pad")
        section = read_cross_section(self._directory / "xsect.json")
        self.photon_edge_ha = section.photon_edge_ha
        end = self._site.lower_end
        if end is not None:
            upto = phases.fermi_index + 1
            energies_ev = phases.energy_ha[:upto].real * HARTREE_EV
            self.bottom = bottom_from_background(
                energies_ev,
                section.cross_section_angstrom2[:upto].imag,
                end,
                self._grid.step_ev,
                deep_levels(phases, energies_ev, self._site),
            )
        wider = replace(self._site, grid=self._grid)
        return interpolated(phases, section, emission_mesh(wider, phases.fermi_ha), wider)

    @property
    def _grid(self) -> EnergyGrid:
        """The grid, carried on below the bottom of the valence."""
        end = self._site.lower_end
        return self._site.grid if end is None else wider_grid(self._site.grid, end)

    def _lowest_energy_ev(self) -> float:
        if self._grid.origin == "absolute":
            return self._grid.start_ev
        if not self.scf.fermi_ha:
            raise EngineOutputError("a grid that starts from the Fermi level needs an SCF")
        return self.scf.fermi_ha[-1] * HARTREE_EV + self._grid.start_ev

    def _execute(self, program: str) -> float:
        """Run a program; return its CPU seconds."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        log = self._directory / f"{program}.log"
        with log.open("wb") as stream:
            done = subprocess.run(
                [self._executables[program]],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                check=False,
            )
        text = log.read_text(encoding="latin-1")
        print(text, flush=True)  # noqa: T201 - this process's output is the run's log
        if done.returncode:
            raise EngineCrashError(f"feff8l_{program} ended with code {done.returncode}")
        if program == "pot":
            self._read_history(text)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    def _read_history(self, text: str) -> None:
        """
        Judge convergence from the log.

        The program never says that it converged. It stops early when it did, so one that used
        its last iteration counts as not converged, and so does one that ended on impossible
        occupations, which the program takes for good.
        """
        iterations = [int(number) for number in _ITERATION.findall(text)]
        self.scf.fermi_ha = [float(level) / HARTREE_EV for level in _FERMI_LEVEL.findall(text)]
        last_iteration = text.rpartition("SCF ITERATION NUMBER")[2]
        self.scf.possible = "bad counts" not in last_iteration
        self.scf.charges_e = [
            float(charge)
            for charge in _CHARGE.findall(last_iteration.rpartition("Charge transfer")[2])
        ]
        self.scf.converged = (
            bool(iterations) and max(iterations) < self._most_iterations and self.scf.possible
        )

    def _edit(self, name: str, **changes: object) -> None:
        path = self._directory / name
        try:
            fields = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise EngineOutputError(f"feff8l_rdinp left no usable {name}: {error}") from error
        path.write_text(json.dumps({**fields, **changes}))


def feff_input_text(site: SiteInput) -> str:
    """
    Return the ``feff.inp`` of a site for FEFF 8.5L's ``rdinp``.

    It has no XES, FMS and POLARIZATION card: the mesh is set behind it, and the scattering and
    the polarization are ours.
    """
    scf = site.scf
    lines = [
        "TITLE vtc-flows",
        "EDGE K",
        f"S02 {site.amplitude_reduction}",
        "EXCHANGE 0 0.0 0.0 0",
        "RPATH 0.1",
        f"SCF {scf.radius_angstrom:.6f} 0 {scf.max_iterations} {scf.mixing} {scf.n_plain_mixing}",
    ]
    if not site.core_hole:
        lines.append("NOHOLE")
    lines.append("POTENTIALS")
    lines += [
        f" {i} {p.atomic_number} {p.label} {p.lmax_scf} {p.lmax_fms} {p.stoichiometry}"
        for i, p in enumerate(site.potentials)
    ]
    lines.append("ATOMS")
    lines += [
        f" {x:.8f} {y:.8f} {z:.8f} {index}"
        for (x, y, z), index in zip(site.positions_angstrom, site.potential_index, strict=True)
    ]
    return "\n".join([*lines, "END", ""])
