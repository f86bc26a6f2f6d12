"""Our multiple scattering in the place of FEFF's own while the potentials are iterated."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtc_flows.feff.memory import complexes, integer, single_complexes
from vtc_flows.feff.site_input import SiteInput
from vtc_flows.feff.units import BOHR_ANGSTROM
from vtc_flows.scattering.cluster import ClusterGeometry

#: Angular momenta per potential in FEFF's arrays (its ``lx`` + 1).
N_ANGULAR = 5


class ScfScattering:
    """
    Answer the self-consistency's question for the density of states at each potential.

    FEFF asks, at one complex energy, for the angular-momentum traces of the scattering part of
    the Green's function at the first atom of one potential, in the cluster around that atom.

    Parameters
    ----------
    site : SiteInput
        Atoms, potentials and SCF radius.

    Attributes
    ----------
    calls : int
        Questions answered.
    cpu_s : float
        CPU seconds spent on them.
    """

    def __init__(self, site: SiteInput) -> None:
        self._lmax = np.array([p.lmax_scf for p in site.potentials])
        self._positions = site.positions / BOHR_ANGSTROM
        self._index = np.asarray(site.potential_index)
        # FEFF compares in single precision; so do we, or a shell on the rim is cut elsewhere
        self._radius = np.float32(np.float32(site.scf.radius_angstrom) / BOHR_ANGSTROM)
        self._most_atoms = self._within(0).sum() if site.scf.cut_clusters else None
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
        traces = self._cluster(potential).diagonal_by_l(momentum, scattering)
        degree = np.arange(len(traces))
        shift = np.exp(2j * phases[potential, : len(traces)]) / (2 * degree + 1)
        out = single_complexes(arguments[13] + 8 * N_ANGULAR * potential, len(traces))
        out[:] = (out + traces) * shift
        self.calls += 1
        self.cpu_s += time.process_time() - start

    def _cluster(self, potential: int) -> ClusterGeometry:
        if potential not in self._clusters:
            centre = int(np.argmax(self._index == potential))
            relative = self._positions - self._positions[centre]
            distance = np.linalg.norm(relative, axis=1)
            chosen = np.flatnonzero(self._within(centre))
            chosen = chosen[np.argsort(distance[chosen], kind="stable")][: self._most_atoms]
            self._clusters[potential] = ClusterGeometry(
                relative[chosen], self._index[chosen], self._lmax
            )
        return self._clusters[potential]

    def _within(self, centre: int) -> NDArray[np.bool_]:
        """Return which atoms lie within the SCF radius of an atom."""
        distance = np.linalg.norm(self._positions - self._positions[centre], axis=1)
        return np.asarray(distance.astype(np.float32) <= self._radius)
