"""
An engine without FEFF: a closed formula of the neighbours' directions.

It obeys every law of a real engine (it turns with the crystal, is positive, whole shells count),
so everything around an engine can be tested with it. Use it as ``analytic_engine:make``, and as
``analytic_engine:make_shifted`` where a second one is needed that differs from it by known amounts
(`SHIFTED`): a comparison of the two has its figures in closed form. The environment steers its
faults: ANALYTIC_FAIL names sites without convergence, ANALYTIC_INTERRUPT and ANALYTIC_BUG and
ANALYTIC_SLOW name sites with that event (``1`` for any engine, ``analytic:1`` for one),
ANALYTIC_LOG a file that gets a line for each calculation, ANALYTIC_TAKES the seconds that each
takes, ANALYTIC_REVISION the revision of the engine.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vtc_flows.crystal.clusters import Cluster, count_within, shell_radius
from vtc_flows.errors import ScfNotConvergedError
from vtc_flows.feff.engine import EngineFacts, Progress, ScfFacts, SiteSpectrum, silent
from vtc_flows.feff.site_input import SiteInput
from vtc_flows.physics.tensors import from_matrix
from vtc_flows.schemas import XesSettings
from vtc_flows.settings import VtcSettings

REVISION = int(os.environ.get("ANALYTIC_REVISION", "1"))


@dataclass(frozen=True)
class Variant:
    """By what an engine differs from the formula."""

    name: str
    fermi_shift_ev: float = 0.0
    scale: float = 1.0
    cross_section_scale: float = 1.0
    cpu_s: float = 2.0
    n_iterations: int = 2


PLAIN = Variant("analytic")
SHIFTED = Variant("analytic_shifted", 0.5, 1.1, 0.75, 5.0, 7)


class AnalyticEngine:
    def __init__(self, variant: Variant = PLAIN) -> None:
        self._variant = variant
        self.name = variant.name

    def identity(self) -> str:
        return f"{self.name}/{REVISION}"

    def run(
        self,
        cluster: Cluster,
        settings: XesSettings,
        *,
        run_dir: Path | None = None,
        progress: Progress = silent,
    ) -> list[SiteSpectrum]:
        site = cluster.absorber_index
        if os.environ.get("ANALYTIC_LOG"):
            with Path(os.environ["ANALYTIC_LOG"]).open("a") as log:
                log.write(f"{site}\n")
        progress("scf", 1, 100)
        if self._named("ANALYTIC_FAIL", site):
            raise ScfNotConvergedError("it did not converge", log_tail="last line")
        if self._named("ANALYTIC_INTERRUPT", site):
            raise KeyboardInterrupt
        if self._named("ANALYTIC_BUG", site):
            raise ZeroDivisionError("a bug")
        time.sleep(float(os.environ.get("ANALYTIC_TAKES", "0")))
        if self._named("ANALYTIC_SLOW", site):
            time.sleep(60)
        progress("fms", 1, 1)
        n_below = round(settings.energy_below_ev / settings.energy_step_ev)
        n_above = round(settings.energy_above_ev / settings.energy_step_ev)
        relative = settings.energy_step_ev * np.arange(-n_below, n_above + 1)
        numbers = cluster.atomic_numbers
        spectra = []
        for size in settings.fms_atoms:
            radius = shell_radius(cluster, size)
            inside = cluster.distances_angstrom <= radius
            spectra.append(
                self._spectrum(
                    cluster.positions_angstrom[inside],
                    numbers[inside],
                    relative,
                    count_within(cluster, radius),
                    radius,
                )
            )
        return spectra

    def run_site(
        self, site: SiteInput, *, run_dir: Path | None = None, progress: Progress = silent
    ) -> list[SiteSpectrum]:
        numbers = np.array([site.potentials[i].atomic_number for i in site.potential_index])
        e_fermi = -10.0 - 0.01 * float(numbers[0])
        relative = site.grid.energies_ev(e_fermi) - e_fermi
        distances = np.linalg.norm(site.positions, axis=1)
        return [
            self._spectrum(
                site.positions[distances <= radius],
                numbers[distances <= radius],
                relative,
                site.count_within(radius),
                radius,
            )
            for radius in site.fms_radii_angstrom
        ]

    def _named(self, variable: str, site: int) -> bool:
        sites = os.environ.get(variable, "").split(",")
        return str(site) in sites or f"{self.name}:{site}" in sites

    def _spectrum(self, *formula) -> SiteSpectrum:
        plain, variant = _spectrum(*formula), self._variant
        e_fermi = plain.e_fermi_ev + variant.fermi_shift_ev
        return replace(
            plain,
            energy_ev=plain.energy_ev + variant.fermi_shift_ev,
            e_fermi_ev=e_fermi,
            tensor=variant.scale * plain.tensor,
            edge_cross_section_angstrom2=(
                variant.cross_section_scale * plain.edge_cross_section_angstrom2
            ),
            scf=ScfFacts(True, variant.n_iterations, "none", (e_fermi + 0.1, e_fermi)),
            engine=EngineFacts(variant.name, "formula", "1", "0" * 64, REVISION),
            timings_s={"scf": variant.cpu_s, "phases": 0.0, "fms": 0.0, "total": variant.cpu_s},
        )


def make(_settings: VtcSettings) -> AnalyticEngine:
    return AnalyticEngine()


def make_shifted(_settings: VtcSettings) -> AnalyticEngine:
    return AnalyticEngine(SHIFTED)


def _spectrum(positions, numbers, relative, n_atoms, radius) -> SiteSpectrum:
    e_fermi = -10.0 - 0.01 * float(numbers[0])
    matrices = np.zeros((len(relative), 3, 3))
    for position, number in zip(positions[1:], numbers[1:], strict=True):
        length = np.linalg.norm(position)
        direction = position / length
        peak = np.exp(-(((relative + 30.0 / number + 0.5 * length) / 1.5) ** 2))
        shape = 0.2 * np.eye(3) + np.outer(direction, direction)
        matrices += (peak / length**3)[:, None, None] * shape
    return SiteSpectrum(
        fms_atoms=n_atoms,
        fms_radius_angstrom=radius,
        energy_ev=e_fermi + relative,
        e_fermi_ev=e_fermi,
        tensor=from_matrix(matrices) + 0.01 * np.array([1.0, 1, 1, 0, 0, 0]),
        background=np.full(len(relative), 0.01),
        edge_cross_section_angstrom2=1e-4,
        photon_edge_ev=5000.0,
        scf=ScfFacts(True, 2, "none", (e_fermi + 0.1, e_fermi)),
        engine=EngineFacts("analytic", "formula", "1", "0" * 64),
        timings_s={"scf": 0.0, "phases": 0.0, "fms": 0.0, "total": 0.0},
    )
