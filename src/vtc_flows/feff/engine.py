"""What every engine takes and gives, whichever program stands behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vtc_flows.crystal.clusters import Cluster
from vtc_flows.errors import Attempt
from vtc_flows.feff.core_valence import CoreValence
from vtc_flows.feff.site_input import SiteInput
from vtc_flows.feff.valence_bottom import ValenceBottom
from vtc_flows.feff.watch import Progress, silent
from vtc_flows.schemas import XesSettings


@dataclass(frozen=True)
class SecondStart:
    """
    What another start of the self-consistency came to (:mod:`vtc_flows.feff.second_start`).

    Attributes
    ----------
    e_fermi_ev : float or None
        Its Fermi level, which agrees with the first; None where it gave no solution.
    reason : str or None
        Why it gave none.
    """

    e_fermi_ev: float | None
    reason: str | None


@dataclass(frozen=True)
class ScfFacts:
    """
    What the self-consistency did.

    Attributes
    ----------
    converged : bool
        Always true in a spectrum: what did not converge is an error.
    n_iterations : int
        Iterations of the run that converged.
    recovery : str
        Name of the recovery step that led there, "none" for the first try.
    fermi_history_ev : tuple of float
        Fermi level after each iteration.
    attempts : tuple of Attempt
        Tries that failed before the one that gave the spectrum.
    charges_e : tuple of float
        Electrons that each kind of atom lost (positive) or gained, absorber first; empty where the
        engine does not tell.
    separation : CoreValence, optional
        Core-valence separation, valence shells and occupations.
    restarts : int
        How often impossible occupations started the iterations anew.
    mixing : float
        Share of the new density in the last iteration; 0 where the engine does not tell.
    second_start : SecondStart, optional
        Where the first was not straight, and the engine looks.
    """

    converged: bool
    n_iterations: int
    recovery: str = "none"
    fermi_history_ev: tuple[float, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    charges_e: tuple[float, ...] = ()
    separation: CoreValence | None = None
    restarts: int = 0
    mixing: float = 0.0
    second_start: SecondStart | None = None


@dataclass(frozen=True)
class EngineFacts:
    """
    Which program made a spectrum.

    Attributes
    ----------
    name : str
        The engine, e.g. "feff8l".
    route : str
        How it was used: "library" or "executables".
    version : str
        The version it states.
    sha256 : str
        Digest of the file that made the potentials.
    revision : int
        Of what this package, or the package of an engine of one's own, does with the program: its
        steering and its physics. It rises whenever the numbers may change.
    """

    name: str
    route: str
    version: str
    sha256: str
    revision: int = 1


@dataclass(frozen=True)
class SiteSpectrum:
    """
    The polarization-resolved spectrum of one site from one cluster size.

    Attributes
    ----------
    fms_atoms : int
        Atoms in the full multiple scattering, the absorber among them.
    fms_radius_angstrom : float
        Its radius.
    energy_ev : ndarray of shape (n,)
        Absolute energies on FEFF's scale.
    e_fermi_ev : float
        Fermi level on the same scale.
    tensor : ndarray of shape (n, 6)
        xx, yy, zz, yz, xz, xy in the frame of the positions, in units of the atomic background
        at the Fermi level.
    background : ndarray of shape (n,)
        The atomic background, FEFF's ``mu0``.
    edge_cross_section_angstrom2 : float
        What the tensor was divided by; multiply to put sites on one scale.
    photon_edge_ev : float
        Photon energy of emission from the Fermi level.
    scf : ScfFacts
        Self-consistency.
    engine : EngineFacts
        Provenance.
    timings_s : dict of str to float
        CPU seconds: "scf", "scf_fms" (a part of it), "phases", "fms", and "total", start-up and
        failed tries included. An engine of several programs adds one entry for each,
        "program <name>".
    input_text : str
        What the engine was given, so that the run can be repeated: the text of a ``feff.inp``, or
        the site as JSON.
    checks : dict of str to float
        Figures by which the spectrum was found good; see :mod:`vtc_flows.feff.verdict`.
    bottom : ValenceBottom, optional
        Where the states that emit begin; None where all occupied ones do.
    memory_mib : float
        Most memory that a process of the site held; 0 where the engine does not tell.
    """

    fms_atoms: int
    fms_radius_angstrom: float
    energy_ev: NDArray[np.float64]
    e_fermi_ev: float
    tensor: NDArray[np.float64]
    background: NDArray[np.float64]
    edge_cross_section_angstrom2: float
    photon_edge_ev: float
    scf: ScfFacts
    engine: EngineFacts
    timings_s: dict[str, float] = field(default_factory=dict)
    input_text: str = ""
    checks: dict[str, float] = field(default_factory=dict)
    bottom: ValenceBottom | None = None
    memory_mib: float = 0.0


class Engine(Protocol):
    """Anything that turns the atoms around an absorber into spectra."""

    @property
    def name(self) -> str:
        """The engine's name in documents."""

    def identity(self) -> str:
        """Return a text that differs whenever results may differ: program, digest, revision."""

    def run(
        self,
        cluster: Cluster,
        settings: XesSettings,
        *,
        run_dir: Path | None = None,
        progress: Progress = silent,
    ) -> list[SiteSpectrum]:
        """Compute one spectrum for each FMS size of the settings from one SCF."""

    def run_site(
        self, site: SiteInput, *, run_dir: Path | None = None, progress: Progress = silent
    ) -> list[SiteSpectrum]:
        """Compute one spectrum for each FMS radius of the site from one SCF."""
