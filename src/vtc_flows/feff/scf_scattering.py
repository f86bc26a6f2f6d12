"""Our multiple scattering in the place of FEFF's own while the potentials are iterated."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtc_flows.feff.memory import complexes, doubles, integer, integers, single_complexes
from vtc_flows.feff.scf_arrays import N_ANGULAR
from vtc_flows.feff.site_input import SiteInput
from vtc_flows.feff.units import BOHR_ANGSTROM
from vtc_flows.scattering.cluster import ClusterGeometry


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

    def answer(self, *arguments: Any) -> None:
        """Do what ``fmsie_`` does: add the traces to ``gtr`` (its 14th argument)."""
        start = time.process_time()
        potential = integer(arguments[1]).value
        energy, reference = (complexes(arguments[i], 1)[0] for i in (5, 6))
        phases = complexes(arguments[7], len(self._lmax) * N_ANGULAR).reshape(-1, N_ANGULAR)
        momentum = np.sqrt(2.0 * (energy - reference))
        scattering = np.exp(1j * phases) * np.sin(phases)
        if potential not in self._clusters:
            self._clusters[potential] = self._cluster(potential, *_atoms(*arguments[10:13]))
        traces = self._clusters[potential].diagonal_by_l(momentum, scattering)
        degree = np.arange(len(traces))
        shift = np.exp(2j * phases[potential, : len(traces)]) / (2 * degree + 1)
        out = single_complexes(arguments[13] + 8 * N_ANGULAR * potential, len(traces))
        out[:] = (out + traces) * shift
        self.calls += 1
        self.cpu_s += time.process_time() - start

    def _cluster(
        self, potential: int, index: NDArray[np.intp], positions: NDArray[np.float64]
    ) -> ClusterGeometry:
        relative, chosen = self._around(potential, index, positions)
        chosen = chosen[: self._most_atoms]
        return ClusterGeometry(relative[chosen], index[chosen], self._lmax)

    def _around(
        self, potential: int, index: NDArray[np.intp], positions: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return the atoms as seen from a potential's first one, and the near ones in order."""
        relative = positions - positions[int(np.argmax(index == potential))]
        distance = np.linalg.norm(relative, axis=1)
        near = np.flatnonzero(distance.astype(np.float32) <= self._radius)
        return relative, near[np.argsort(distance[near], kind="stable")]


def _atoms(count: int, index: int, positions: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Copy FEFF's list of atoms: the potential of each and its place in Bohr."""
    n_atoms = integer(count).value
    kinds: NDArray[np.intp] = integers(index, n_atoms).astype(np.intp)
    places = doubles(positions, 3 * n_atoms).reshape(-1, 3).copy()
    return kinds, places
