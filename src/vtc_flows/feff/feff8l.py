"""
The engine ``feff8l``: potentials and phases by FEFF 8.5L, full multiple scattering by ours.

Each site runs in a fresh process. The potentials are made in that process through FEFF's library
(route "library"), or by its executables (route "executables") where the library cannot be used.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np

from vtc_flows.crystal.clusters import Cluster
from vtc_flows.errors import (
    ConfigurationError,
    EngineError,
    EngineOutputError,
    FeffInputError,
    StorageError,
)
from vtc_flows.feff.cluster_input import site_input
from vtc_flows.feff.core_valence import separation_of
from vtc_flows.feff.discovery import Feff8lInstallation, find_feff8l
from vtc_flows.feff.engine import EngineFacts, ScfFacts, SecondStart, SiteSpectrum
from vtc_flows.feff.recovery import FEFF8L_LADDER, Step, recover
from vtc_flows.feff.run_folder import require_scratch, run_folder, watched_scratch
from vtc_flows.feff.second_start import is_straight, require_agreement, second_start
from vtc_flows.feff.site_input import FEFF8L_LIMITS, SiteInput
from vtc_flows.feff.supervise import Usage, log_tail, run_worker
from vtc_flows.feff.valence_bottom import bottom_from_fields
from vtc_flows.feff.verdict import require_good
from vtc_flows.feff.watch import Progress, silent
from vtc_flows.feff.worker import PROGRAM_FILE, SITE_FILE, SPECTRA_FILE
from vtc_flows.schemas import XesSettings
from vtc_flows.settings import VtcSettings

#: To be raised with every change of the steering, the verdict or the multiple scattering that may
#: change a number: what an older one made is computed anew. Version 0.1.0 began with 1.
REVISION = 3

Route = Literal["library", "executables"]


class Feff8lEngine:
    """
    FEFF 8.5L with our multiple scattering.

    Parameters
    ----------
    installation : Feff8lInstallation
        The files of FEFF 8.5L.
    route : {"library", "executables"}, optional
        How to use them; the library, which is much faster, where it is there.
    timeout_s : float
        Wall-clock limit for one try at one site.
    scratch_directory : Path, optional
        Where run folders are made; the system's temporary folder if not given.
    keep_scratch : bool
        Keep run folders instead of removing them.
    ladder : tuple of Step
        What is tried, in order, until the potentials converge.

    Raises
    ------
    ConfigurationError
        If the installation does not have what the route needs, or the scratch folder is missing.
    """

    name = "feff8l"

    def __init__(
        self,
        installation: Feff8lInstallation,
        *,
        route: Route | None = None,
        timeout_s: float = 3600.0,
        scratch_directory: Path | None = None,
        keep_scratch: bool = False,
        ladder: tuple[Step, ...] = FEFF8L_LADDER,
    ) -> None:
        self._installation = installation
        self._route: Route = route or ("library" if installation.library else "executables")
        if self._route == "library" and installation.library is None:
            raise ConfigurationError(f"the FEFF 8.5L of {installation.origin} has no library")
        if self._route == "executables" and not installation.executables:
            raise ConfigurationError(f"the FEFF 8.5L of {installation.origin} has no executables")
        require_scratch(scratch_directory)
        self._timeout_s = timeout_s
        self._scratch = scratch_directory
        self._keep = keep_scratch
        self._ladder = ladder

    @property
    def facts(self) -> EngineFacts:
        """Provenance of what this engine makes."""
        found = self._installation
        return EngineFacts(self.name, self._route, found.version, found.sha256, REVISION)

    def identity(self) -> str:
        """Return engine, revision, route and the digest of FEFF's file."""
        return f"{self.name}/{REVISION}/{self._route}/{self._installation.sha256}"

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
            If FEFF 8.5L cannot hold the cluster.
        EngineError
            If no try gave a spectrum; the class says why.
        """
        return self.run_site(site_input(cluster, settings), run_dir=run_dir, progress=progress)

    def run_site(
        self, site: SiteInput, *, run_dir: Path | None = None, progress: Progress = silent
    ) -> list[SiteSpectrum]:
        """Compute the spectra of a site; see :meth:`run`."""
        site.check()
        if site.extra_cards:
            raise FeffInputError(
                f"the card {site.extra_cards[0]!r} would change the result and is not supported by "
                "the engine feff8l: remove it, or use --engine feff10"
            )
        usage = Usage()
        with run_folder(run_dir, scratch=self._scratch, keep=self._keep) as folder:
            found = recover(
                site,
                lambda tried, fresh: self._attempt(
                    tried, fresh, progress, usage, recovered=tried.scf != site.scf
                ),
                folder,
                ladder=self._ladder,
                limits=FEFF8L_LIMITS,
                kept=self._keep or run_dir is not None,
            )
        return [
            replace(
                spectrum,
                scf=replace(spectrum.scf, recovery=found.step, attempts=found.attempts),
                timings_s={**spectrum.timings_s, "total": usage.cpu_s},
                memory_mib=usage.memory_mib,
            )
            for spectrum in found.value
        ]

    def _attempt(
        self,
        site: SiteInput,
        folder: Path,
        progress: Progress,
        usage: Usage,
        *,
        recovered: bool,
    ) -> list[SiteSpectrum]:
        text = site.to_json()
        try:
            with watched_scratch(folder, SITE_FILE):
                self._write_input(folder, text)
                told = run_worker(folder, timeout_s=self._timeout_s, progress=progress, usage=usage)
                spectra = self._spectra(site, folder, told)
                return self._confirmed(site, spectra, folder, usage, recovered=recovered)
        except EngineError as error:
            error.input_text = text
            raise

    def _confirmed(
        self,
        site: SiteInput,
        spectra: list[SiteSpectrum],
        folder: Path,
        usage: Usage,
        *,
        recovered: bool,
    ) -> list[SiteSpectrum]:
        """Look at solutions that were not reached straight from another start."""
        scf, first_ev = spectra[0].scf, spectra[0].e_fermi_ev
        follows_feff10 = site.scf.on_bad_counts == "separation"
        if follows_feff10 or is_straight(scf.separation, scf.restarts, recovered=recovered):
            return spectra
        fresh = folder / "second-start"
        try:
            fresh.mkdir()
            self._write_input(fresh, second_start(site, scf.mixing).to_json())
            told = run_worker(fresh, timeout_s=self._timeout_s, progress=silent, usage=usage)
        except OSError as error:
            raise StorageError(f"{fresh} cannot be made: {error.strerror}") from error
        except EngineError as error:
            second = SecondStart(None, error.reason)  # it says nothing of the first
        else:
            require_agreement(first_ev, told["e_fermi_ev"])
            second = SecondStart(told["e_fermi_ev"], None)
        return [replace(one, scf=replace(one.scf, second_start=second)) for one in spectra]

    def _write_input(self, folder: Path, text: str) -> None:
        try:
            (folder / SITE_FILE).write_text(text)
            (folder / PROGRAM_FILE).write_text(json.dumps(self._program()))
        except OSError as error:
            raise StorageError(f"{folder} cannot be written: {error.strerror}") from error

    def _program(self) -> dict[str, Any]:
        found = self._installation
        if self._route == "library":
            return {"route": "library", "library": str(found.library)}
        return {
            "route": "executables",
            "executables": {name: str(path) for name, path in found.executables.items()},
        }

    def _spectra(self, site: SiteInput, folder: Path, told: dict[str, Any]) -> list[SiteSpectrum]:
        history = tuple(told["fermi_history_ev"])
        scf = ScfFacts(
            True,
            len(history),
            fermi_history_ev=history,
            charges_e=tuple(told["charges_e"]),
            separation=separation_of(told["separation"]),
            restarts=told["restarts"],
            mixing=told["mixing"],
        )
        bottom = bottom_from_fields(told["bottom"])
        try:
            with np.load(folder / SPECTRA_FILE) as stored:
                arrays = dict(stored)
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            missing = isinstance(error, FileNotFoundError)
            raise EngineOutputError(
                f"the worker's spectra cannot be read: {error}",
                log_tail=log_tail(folder),
                reason="output_missing" if missing else "output_truncated",
            ) from error
        spectra = [
            SiteSpectrum(
                fms_atoms=int(arrays[f"atoms_{number}"]),
                fms_radius_angstrom=radius,
                energy_ev=arrays["energy_ev"],
                e_fermi_ev=told["e_fermi_ev"],
                tensor=arrays[f"tensor_{number}"],
                background=arrays[f"background_{number}"],
                edge_cross_section_angstrom2=float(arrays["edge_cross_section"]),
                photon_edge_ev=told["photon_edge_ev"],
                scf=scf,
                engine=self.facts,
                timings_s={**told["timings_s"], "fms": told["fms_s"][number]},
                input_text=site.to_json(),
                bottom=bottom,
            )
            for number, radius in enumerate(site.fms_radii_angstrom)
        ]
        checks = _smoothing_checks(told["smoothing"])
        return [replace(one, checks=require_good(one, site) | checks) for one in spectra]


def _smoothing_checks(smoothing: dict[str, Any] | None) -> dict[str, float]:
    """Return how much of FEFF's numbers was made smooth, as checks of a spectrum."""
    if smoothing is None:
        return {}
    return {
        "bridged_phases": float(smoothing["n_bridged"]),
        "ghost_levels": float(len(smoothing["ghosts_ev"])),
    }


def from_settings(settings: VtcSettings) -> Feff8lEngine:
    """
    Return the engine with what is found on this machine.

    Raises
    ------
    EngineNotFoundError
        If there is no FEFF 8.5L; says how to install it.
    """
    return Feff8lEngine(
        find_feff8l(settings),
        route=settings.feff8l_route,
        timeout_s=settings.site_timeout_s,
        scratch_directory=settings.scratch_directory,
        keep_scratch=settings.keep_scratch,
    )
