"""Our multiple scattering in the place of FEFF's own while the potentials are iterated."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtc_flows.feff.scf_arrays import N_ANGULAR
from vtc_flows.feff.site_input import SiteInput
from vtc_flows.feff.units import BOHR_ANGSTROM
from vtc_flows.scattering.cluster import ClusterGeometry

Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class Atoms:
    """
    FEFF's own list of atoms.

    Attributes
    ----------
    positions_bohr : ndarray, shape (n_atoms, 3)
    potential_index : ndarray, shape (n_atoms,)
    """

    positions_bohr: NDArray[np.float64]
    potential_index: NDArray[np.int32]


class ScfScattering:
    """
    Answer the self-consistency's question for the density of states at each potential.

    FEFF asks, at one complex energy, for the angular-momentum traces of the scattering part of
    the Green's function at the first atom of one potential, in the cluster around that atom. The
    atoms are those of FEFF's own list, as they stand in its question: it has lengthened the bonds
    with hydrogen there, and its radii and overlapped densities belong to the longer ones.

    Parameters
    ----------
    site : SiteInput
        Angular momenta of the potentials, SCF radius and whether clusters are cut.

    Attributes
    ----------
    calls : int
        Questions answered.
    cpu_s : float
        CPU seconds spent on them.
    """

    def __init__(self, site: SiteInput) -> None:
        self._lmax = np.array([p.lmax_scf for p in site.potentials])
        # FEFF compares in single precision; so do we, or a shell on the rim is cut elsewhere
        self._radius = np.float32(np.float32(site.scf.radius_angstrom) / BOHR_ANGSTROM)
        # FEFF10 counts before it lengthens bonds with hydrogen
        distances = np.linalg.norm(site.positions / BOHR_ANGSTROM, axis=1).astype(np.float32)
        self._most_atoms = int((distances <= self._radius).sum()) if site.scf.cut_clusters else None
        self._clusters: dict[int, ClusterGeometry] = {}
        self.calls = 0
        self.cpu_s = 0.0

    def chi(self, potential: int, atoms: Atoms, momenta: Complex, phases: Complex) -> Complex:
        """
        Return the scattered part of the Green's function at one potential, for each l.

        Parameters
        ----------
        potential : int
            Which potential.
        atoms : Atoms
            Where atoms are; asked for once for each potential.
        momenta : ndarray, shape (n,), complex
            ``sqrt(2 (E - V))`` outside the spheres, atomic units.
        phases : ndarray, shape (n, n_potentials, N_ANGULAR), complex
            Phase shifts.

        Returns
        -------
        ndarray, shape (n, N_ANGULAR), complex
            Traces over m of the propagator, times ``exp(2i delta)/(2 l + 1)``.
        """
        start = time.process_time()
        if potential not in self._clusters:
            self._clusters[potential] = self._cluster(potential, atoms)
        scattering = np.exp(1j * phases) * np.sin(phases)
        traces = self._clusters[potential].diagonals_by_l(momenta, scattering)
        degree = np.arange(traces.shape[1])
        chi = np.zeros((len(momenta), N_ANGULAR), complex)
        chi[:, degree] = traces * np.exp(2j * phases[:, potential, degree]) / (2 * degree + 1)
        self.calls += len(momenta)
        self.cpu_s += time.process_time() - start
        return chi

    def _cluster(self, potential: int, atoms: Atoms) -> ClusterGeometry:
        relative, chosen = self._around(potential, atoms)
        chosen = chosen[: self._most_atoms]
        index = atoms.potential_index.astype(np.intp)
        return ClusterGeometry(relative[chosen], index[chosen], self._lmax)

    def _around(self, potential: int, atoms: Atoms) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return the atoms as seen from a potential's first one, and the near ones in order."""
        first = int(np.argmax(atoms.potential_index == potential))
        relative = atoms.positions_bohr - atoms.positions_bohr[first]
        distance = np.linalg.norm(relative, axis=1)
        near = np.flatnonzero(distance.astype(np.float32) <= self._radius)
        return relative, near[np.argsort(distance[near], kind="stable")]
