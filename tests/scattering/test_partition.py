from __future__ import annotations

import numpy as np

from vtc_flows.scattering.angular import state_l
from vtc_flows.scattering.partition import EXACT, CouplingStrength, Partition
from vtc_flows.scattering.propagator import PairTable, free_block, outgoing_waves


def test_strength_is_the_mean_norm_of_a_row(random_cluster):
    one = random_cluster(21, n_atoms=7, lmax=(2, 1, 2))
    block_lmax = 2
    pairs = PairTable.from_positions(one.positions)
    strength = CouplingStrength(one.potentials, pairs, one.lmax, block_lmax)
    waves = outgoing_waves(one.momentum, pairs.distances, 2 * block_lmax)
    found = strength.of_kinds(np.abs(one.amplitudes[:, :3]), np.abs(waves) ** 2).reshape(3, 3)
    weights = np.sqrt(np.abs(one.amplitudes[:, state_l(block_lmax)]))
    weights *= state_l(block_lmax) <= one.lmax[:, None]
    squares = np.zeros((len(one.positions), 9))
    for i, j in np.argwhere(~np.eye(len(one.positions), dtype=bool)):
        block = free_block(one.momentum, one.positions[i] - one.positions[j], block_lmax)
        scaled = weights[one.potentials[i]][:, None] * block * weights[one.potentials[j]]
        squares[i] += (np.abs(scaled) ** 2).sum(axis=1)
    for potential in np.unique(one.potentials):
        rows = squares[one.potentials == potential]
        expected = [np.sqrt(rows[:, state_l(block_lmax) == degree].mean()) for degree in range(3)]
        np.testing.assert_allclose(found[potential], expected, rtol=1e-10)


def test_partition_divides_by_strength():
    strong, kept = Partition(0.3, 0.001, 5).divide(np.array([0.5, 0.3, 0.1, 1e-4, np.nan]))
    assert strong.tolist() == [True, True, False, False, True]
    assert kept.tolist() == [True, True, True, False, True]
    assert all(mask.all() for mask in EXACT.divide(np.array([0.0, 1.0])))
