"""Random clusters and a direct solution to compare with."""

from __future__ import annotations

import numpy as np
import pytest

from vtc_flows.scattering.angular import P_STATES, state_l
from vtc_flows.scattering.multiple_scattering import scattering_amplitudes
from vtc_flows.scattering.propagator import free_block


class RandomCluster:
    """Atoms some Bohr apart around the first, with phase shifts that fall with l."""

    def __init__(self, seed, n_atoms=6, lmax=(2, 1, 3)):
        generator = np.random.default_rng(seed)
        self.lmax = np.array(lmax)
        positions = [np.zeros(3)]
        while len(positions) < n_atoms:
            trial = generator.uniform(-6, 6, size=3)
            if min(np.linalg.norm(trial - other) for other in positions) > 3:
                positions.append(trial)
        self.positions = np.array(positions)
        self.potentials = generator.integers(1, len(lmax), size=n_atoms)
        self.potentials[0] = 0
        falloff = np.array([1.0, 1.0, 0.7, 0.1])
        self.phases = generator.uniform(0.2, 1.5, size=(len(lmax), 4)) * falloff + 0.03j
        self.momentum = complex(generator.uniform(0.4, 1.2), 0.08)
        self.amplitudes = scattering_amplitudes(self.phases)


def direct_propagator(positions, potentials, lmax, momentum, amplitudes):
    """(1 - G0 T)^-1 G0 of the first atom, element by element, in double precision."""
    counts = (lmax[potentials] + 1) ** 2
    ends = np.cumsum(counts)
    free = np.zeros((ends[-1], ends[-1]), dtype=complex)
    scattering = np.concatenate([amplitudes[p][state_l(lmax[p])] for p in potentials])
    for i, end_i in enumerate(ends):
        for j, end_j in enumerate(ends):
            if i != j:
                block = free_block(momentum, positions[i] - positions[j], int(lmax.max()))
                free[end_i - counts[i] : end_i, end_j - counts[j] : end_j] = block[
                    : counts[i], : counts[j]
                ]
    full = np.linalg.solve(np.eye(len(free)) - free * scattering, free)
    return full[: counts[0], : counts[0]]


@pytest.fixture(scope="session")
def random_cluster():
    return RandomCluster


@pytest.fixture
def direct():
    return direct_propagator


@pytest.fixture
def direct_dipole():
    def solve(*arguments):
        return direct_propagator(*arguments)[np.ix_(P_STATES, P_STATES)]

    return solve
