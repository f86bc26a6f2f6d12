"""
Potentials and phase shifts by FEFF 8.5L's library, in this very process.

Some of the library's own calls are redirected (:mod:`vtc_flows.feff.elf`):

``scmt_``   each iteration is ours (:mod:`vtc_flows.feff.scf_iteration`) and is steered by
            :mod:`vtc_flows.feff.scf_steering`;
``corval_`` the core-valence separation (:mod:`vtc_flows.feff.separation_steering`);
``phmesh_`` the energy mesh is ours, without the library's limits on it;
``xsph_``   is called once for each window of energies, because one call holds 150 of them;
``dfovrg_`` is spared solutions that nobody looks at (:mod:`vtc_flows.feff.phase_solutions`);
``moveh_``  bonds with hydrogen are lengthened by :mod:`vtc_flows.feff.hydrogen`, which ends.

The library keeps state between calls and ends the process where it gives up, so a process may
run one site only: :mod:`vtc_flows.feff.worker` is that process.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from vtc_flows.errors import EngineOutputError, ScfNotConvergedError
from vtc_flows.feff.core_hole import k_level_width_ev
from vtc_flows.feff.core_valence import CoreValence, require_one_solution
from vtc_flows.feff.elf import HookedLibrary
from vtc_flows.feff.hydrogen import lengthened_bonds
from vtc_flows.feff.memory import doubles, floating, integer, integers
from vtc_flows.feff.phase_files import read_cross_section, read_phase_pad
from vtc_flows.feff.phase_solutions import PhaseSolutions
from vtc_flows.feff.phase_tables import (
    Window,
    deep_levels,
    emission_mesh,
    merge_windows,
    search_mesh,
    windows,
)
from vtc_flows.feff.scf_steering import ScfSteering
from vtc_flows.feff.site_input import MAX_ATOMS, MAX_POTENTIALS, SiteInput
from vtc_flows.feff.units import BOHR_ANGSTROM, HARTREE_EV
from vtc_flows.feff.valence_bottom import ValenceBottom, bottom_from_background
from vtc_flows.feff.watch import Progress
from vtc_flows.scattering.mesh import EnergyMesh
from vtc_flows.scattering.tensor import PhaseData

_MAX_ENERGIES = 150
_TITLES, _TITLE_LENGTH, _LABEL_LENGTH, _PATH_LENGTH = 30, 80, 6, 256
_GRID_STEP = 0.05  # logarithmic radial grid
_K_HOLE, _HOLE_KEPT, _HOLE_IGNORED = 1, -1, 0
_PHASE_FILE, _SECTION_FILE = "phase.pad", "xsect.json"


class PotentialsAndPhases:
    """
    One run of FEFF 8.5L's library for one site.

    Parameters
    ----------
    library : Path
        ``libfeff8lpotph.so``.
    site : SiteInput
        The site.
    directory : Path
        The current directory, where the library leaves its files.
    progress : callable
        Called as ``progress(stage, done, total)``.
    abort : callable
        Ends this process with an error that happened inside FEFF's run.

    Attributes
    ----------
    scf : ScfHistory
        Filled as the run goes on.
    scattering : ScfScattering
        Our part in the self-consistency, with its counters.
    scf_cpu_s, phases_cpu_s : float
        CPU seconds.
    photon_edge_ha : float
        Photon energy of emission from the Fermi level.
    bottom : ValenceBottom, optional
        Where the states that emit begin.
    """

    def __init__(
        self,
        library: Path,
        site: SiteInput,
        directory: Path,
        progress: Progress,
        abort: Callable[[BaseException], NoReturn],
    ) -> None:
        self._abort = abort
        self._site = site
        self._directory = directory
        self._progress = progress
        self._library = HookedLibrary(library)
        self._windows: list[Window] = []
        self._mesh: EnergyMesh | None = None
        self._whole_mesh: EnergyMesh | None = None
        self._steering = ScfSteering(self._library, site, progress)
        self.scf = self._steering.history
        self.scattering = self._steering.scattering
        self.scf_cpu_s = self.phases_cpu_s = 0.0
        self.photon_edge_ha = 0.0
        self.bottom: ValenceBottom | None = None

    @property
    def separation(self) -> CoreValence:
        """Core-valence separation and occupations of the potentials."""
        return self._steering.separation

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
            If the self-consistency ran out of iterations.
        EngineOutputError
            If the library left no phases.
        """
        lib = self._library
        self._steering.install(self._guarded)
        lmax = max(potential.lmax_fms for potential in self._site.potentials)
        PhaseSolutions(lib, lmax).install(self._guarded)
        lib.replace("phmesh_", 14, self._guarded(self._give_mesh))
        lib.replace("moveh_", 4, self._guarded(_lengthen_bonds))
        self._original_xsph = lib.replace("xsph_", 84, self._guarded(self._make_phases))
        self._start = time.process_time()
        arguments = _Arguments(self._site)
        lib.routine("libpotph_", 48)(*arguments.addresses)
        if not self._windows or self._whole_mesh is None:
            raise EngineOutputError("FEFF 8.5L came back without phases")
        self.photon_edge_ha = self._windows[-1][1].photon_edge_ha
        return merge_windows(self._windows, self._whole_mesh, self._site)

    def _guarded(self, hook: Callable[..., None]) -> Callable[..., None]:
        """Let an exception of a hook end the process: FEFF could not be made to stop otherwise."""

        def call(*arguments: Any) -> None:
            try:
                hook(*arguments)
            except BaseException as error:
                self._steering.flush()
                self._abort(error)

        return call

    def _make_phases(self, *arguments: Any) -> None:
        self.scf_cpu_s = time.process_time() - self._start
        if self._site.scf.max_iterations and not self.scf.converged:
            raise ScfNotConvergedError(
                f"the potentials did not converge in {self.scf.n_iterations} iterations "
                f"(Fermi level of the last three: {_listed(self.scf.fermi_ha[-3:])} eV)",
                reason=None if self.scf.possible else "bad_counts",
            )
        if self._site.scf.max_iterations and self._site.scf.on_bad_counts != "separation":
            require_one_solution(self._site.potentials, self.separation)
        fermi_ha = floating(arguments[40]).value
        call = _XsphCall(self._original_xsph, arguments, self._directory)
        self.bottom = self._bottom(call, fermi_ha)
        bottom_ha = None if self.bottom is None else self.bottom.energy_ev / HARTREE_EV
        self._whole_mesh = emission_mesh(self._site, fermi_ha, bottom_ha)
        pieces = windows(self._whole_mesh, _MAX_ENERGIES)
        for done, self._mesh in enumerate(pieces):
            self._windows.append(call())
            self._progress("phases", done + 1, len(pieces))
        self.phases_cpu_s = time.process_time() - self._start - self.scf_cpu_s

    def _bottom(self, call: _XsphCall, fermi_ha: float) -> ValenceBottom | None:
        """Return where the states that emit begin."""
        end = self._site.lower_end
        if end is None:
            return None
        self._mesh = mesh = search_mesh(self._site, fermi_ha, end.depth_ev)
        phases, section = call()
        line = slice(0, mesh.n_horizontal)
        energies_ev = mesh.energy_ha[line].real * HARTREE_EV
        return bottom_from_background(
            energies_ev,
            section.cross_section_angstrom2[line].imag,
            end,
            self._site.grid.step_ev,
            deep_levels(phases, energies_ev, self._site),
        )

    def _give_mesh(self, *arguments: Any) -> None:
        mesh = self._mesh
        assert mesh is not None
        energies = np.zeros(_MAX_ENERGIES, complex)
        energies[: len(mesh.energy_ha)] = mesh.energy_ha
        ctypes.memmove(arguments[11], energies.ctypes.data, energies.nbytes)
        integer(arguments[9]).value = len(mesh.energy_ha)
        integer(arguments[10]).value = mesh.n_horizontal
        integer(arguments[12]).value = mesh.fermi_index + 1
        integer(arguments[13]).value = 0


def _lengthen_bonds(n_atoms: int, index: int, numbers: int, positions: int) -> None:
    """Do what ``moveh_`` does."""
    count = integer(n_atoms).value
    of_potentials = integers(numbers, MAX_POTENTIALS)
    places = doubles(positions, 3 * count).reshape(count, 3)
    places[:], _ = lengthened_bonds(places, of_potentials[integers(index, count)])


class _XsphCall:
    """Calls of the library's ``xsph_`` with the same arguments, one for each window of energies."""

    def __init__(
        self, routine: Callable[..., None], arguments: tuple[Any, ...], directory: Path
    ) -> None:
        self._routine = routine
        self._directory = directory
        self._write_section = ctypes.c_int32(1)  # the library passes a constant, which must stay
        self._arguments = [ctypes.addressof(self._write_section), *arguments[1:]]
        self._titles = integer(arguments[37])
        self._n_titles = self._titles.value

    def __call__(self) -> Window:
        self._titles.value = self._n_titles  # each call adds titles of its own
        for name in (_PHASE_FILE, _SECTION_FILE):
            (self._directory / name).unlink(missing_ok=True)
        self._routine(*self._arguments)
        return (
            read_phase_pad(self._directory / _PHASE_FILE),
            read_cross_section(self._directory / _SECTION_FILE),
        )


class _Arguments:
    """The 45 arguments of ``libpotph_`` and the hidden lengths of its strings, kept alive."""

    def __init__(self, site: SiteInput) -> None:
        n_atoms, n_potentials = len(site.potential_index), len(site.potentials)
        positions = np.zeros((MAX_ATOMS, 3))
        positions[:n_atoms] = site.positions / BOHR_ANGSTROM
        index = np.zeros(MAX_ATOMS, np.int32)
        index[:n_atoms] = site.potential_index

        def per_potential(attribute: str, kind: Any) -> Any:
            values = np.zeros(MAX_POTENTIALS, kind)
            values[:n_potentials] = [getattr(p, attribute) for p in site.potentials]
            return values

        labels = b"".join(p.label.encode().ljust(_LABEL_LENGTH) for p in site.potentials)
        width_ev = k_level_width_ev(site.potentials[0].atomic_number)
        zero, real_zero = ctypes.c_int32, ctypes.c_double  # called: no two arguments share memory
        self._values: list[Any] = [
            ctypes.create_string_buffer(_PHASE_FILE.encode().ljust(_PATH_LENGTH)),
            ctypes.c_int32(1),  # verbose: its log is our evidence when it dies
            ctypes.c_int32(1),
            ctypes.create_string_buffer(b"vtc-flows".ljust(_TITLES * _TITLE_LENGTH)),
            ctypes.c_int32(n_atoms),
            positions,
            index,
            ctypes.c_int32(n_potentials - 1),
            per_potential("atomic_number", np.int32),
            ctypes.create_string_buffer(labels.ljust(MAX_POTENTIALS * _LABEL_LENGTH)),
            per_potential("lmax_scf", np.int32),
            per_potential("lmax_fms", np.int32),
            per_potential("stoichiometry", np.float64),
            np.zeros(MAX_POTENTIALS),  # spins
            ctypes.c_int32(_K_HOLE),
            ctypes.c_float(site.scf.radius_angstrom / BOHR_ANGSTROM),
            zero(0),  # lfms1: a cluster around each potential
            ctypes.c_int32(site.scf.max_iterations),
            ctypes.c_double(site.scf.mixing),
            ctypes.c_int32(site.scf.n_plain_mixing),
            ctypes.c_double(site.scf.core_valence_ev / HARTREE_EV),
            zero(0),  # icoul
            zero(0),  # ipol: the tensor is contracted by us
            np.zeros(3),
            real_zero(0.0),
            np.zeros(3),
            zero(0),  # ispin
            np.zeros(3),
            real_zero(0.0),
            np.eye(3, dtype=complex) / 3,
            ctypes.c_double(width_ev / HARTREE_EV),
            zero(0),  # ixc: Hedin-Lundqvist
            real_zero(0.0),
            real_zero(0.0),
            zero(0),  # ixc0
            zero(0),  # iafolp
            np.full(MAX_POTENTIALS, site.overlap),
            np.zeros(MAX_POTENTIALS),  # ionicities
            ctypes.c_double(_GRID_STEP),
            zero(0),  # iunf: f electrons frozen
            zero(0),  # inters
            real_zero(0.0),  # totvol
            zero(0),  # jumprm
            ctypes.c_int32(_HOLE_KEPT if site.core_hole else _HOLE_IGNORED),
            zero(0),  # iplsmn
        ]
        lengths = [_PATH_LENGTH, _TITLE_LENGTH, _LABEL_LENGTH]
        self.addresses = [_address(value) for value in self._values] + lengths


def _address(value: Any) -> int:
    return int(value.ctypes.data) if isinstance(value, np.ndarray) else ctypes.addressof(value)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value * HARTREE_EV:.3f}" for value in values)
