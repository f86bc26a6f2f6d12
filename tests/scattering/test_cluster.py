from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vtc_flows.errors import ClusterError
from vtc_flows.scattering.cluster import ClusterGeometry
from vtc_flows.scattering.partition import EXACT, Partition
from vtc_flows.scattering.propagator import free_block

OCTAHEDRON = np.array(
    [[0, 0, 0], [4, 0, 0], [-4, 0, 0], [0, 4, 0], [0, -4, 0], [0, 0, 5], [0, 0, -5]], dtype=float
)


def by_l_of(geometry, momentum, amplitudes):
    (sums,) = geometry.diagonals_by_l(np.array([momentum]), amplitudes[None])
    return sums


@pytest.mark.parametrize("lmax", [(2, 1, 3), (3, 3, 3), (1, 2, 0)])
def test_agrees_with_the_direct_solution(random_cluster, direct, direct_dipole, lmax):
    one = random_cluster(4, lmax=lmax)
    arguments = (one.positions, one.potentials, one.lmax, one.momentum, one.amplitudes)
    geometry = ClusterGeometry(one.positions, one.potentials, one.lmax)
    expected = direct_dipole(*arguments)
    found = geometry.dipole_block(one.momentum, one.amplitudes)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    diagonal = np.diagonal(direct(*arguments))
    sums = [diagonal[k * k : (k + 1) ** 2].sum() for k in range(lmax[0] + 1)]
    by_l = by_l_of(geometry, one.momentum, one.amplitudes)
    np.testing.assert_allclose(by_l, sums, atol=1e-5 * np.abs(sums).max())


@pytest.mark.parametrize("tilt", [0.0, 0.7])
def test_symmetry_sectors_change_nothing(random_cluster, direct_dipole, tilt):
    one = random_cluster(2)
    positions = OCTAHEDRON @ Rotation.from_euler("xz", [tilt, tilt]).as_matrix().T
    potentials = np.array([0, 1, 1, 1, 1, 2, 2])
    geometry = ClusterGeometry(positions, potentials, one.lmax)
    assert geometry.facts.n_sectors > 3
    expected = direct_dipole(positions, potentials, one.lmax, one.momentum, one.amplitudes)
    found = geometry.dipole_block(one.momentum, one.amplitudes)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_krylov_agrees_with_factorising_all(seed):
    generator = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(-1, 2) * 4.0] * 3), axis=-1).reshape(-1, 3)
    order = np.argsort(np.linalg.norm(grid, axis=1), kind="stable")
    positions = grid[order] + generator.uniform(-0.3, 0.3, size=(27, 3))
    potentials = np.r_[0, generator.integers(1, 3, size=26)]
    lmax = np.array([3, 3, 3])
    phases = generator.uniform(0, 1.2, size=(3, 4)) * [1, 0.5, 0.03, 0.002] + 1e-4j
    amplitudes = np.exp(1j * phases) * np.sin(phases)
    momentum = complex(generator.uniform(0.6, 1.3), 0.05)
    exact = ClusterGeometry(positions, potentials, lmax, source_l=(1,), partitions=(EXACT,))
    quick = ClusterGeometry(positions, potentials, lmax, source_l=(1,))
    expected = exact.dipole_block(momentum, amplitudes)
    found = quick.dipole_block(momentum, amplitudes)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert quick.facts.strong_states < exact.facts.strong_states


def test_a_partition_that_stalls_is_followed_by_the_next(random_cluster, direct_dipole):
    one = random_cluster(11, n_atoms=25, lmax=(3, 3, 3))
    stalling = Partition(strong=1e3, kept=0.0, max_products=1)
    geometry = ClusterGeometry(
        one.positions, one.potentials, one.lmax, source_l=(1,), partitions=(stalling, EXACT)
    )
    found = geometry.dipole_block(one.momentum, one.amplitudes)
    assert geometry.facts.partitions == {1: 1}
    expected = direct_dipole(one.positions, one.potentials, one.lmax, one.momentum, one.amplitudes)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_propagator_turns_with_the_cluster(random_cluster, seed):
    one = random_cluster(seed)
    rotation = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    before = ClusterGeometry(one.positions, one.potentials, one.lmax)
    after = ClusterGeometry(one.positions @ rotation.T, one.potentials, one.lmax)
    plain = before.dipole_block(one.momentum, one.amplitudes)
    turned = after.dipole_block(one.momentum, one.amplitudes)
    np.testing.assert_allclose(
        turned, rotation @ plain @ rotation.T, atol=1e-4 * np.abs(plain).max()
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_order_of_the_neighbours_does_not_matter(random_cluster, seed):
    one = random_cluster(seed)
    order = np.r_[0, 1 + np.random.default_rng(seed).permutation(len(one.positions) - 1)]
    plain = ClusterGeometry(one.positions, one.potentials, one.lmax)
    shuffled = ClusterGeometry(one.positions[order], one.potentials[order], one.lmax)
    expected = plain.dipole_block(one.momentum, one.amplitudes)
    found = shuffled.dipole_block(one.momentum, one.amplitudes)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_propagator_is_symmetric_between_p_states(random_cluster):
    # Time reversal: real harmonics of one parity.
    one = random_cluster(8)
    geometry = ClusterGeometry(one.positions, one.potentials, one.lmax)
    block = geometry.dipole_block(one.momentum, one.amplitudes)
    np.testing.assert_allclose(block, block.T, atol=1e-6 * np.abs(block).max())


def test_one_atom_scatters_nothing_back(random_cluster):
    one = random_cluster(1)
    geometry = ClusterGeometry(np.zeros((1, 3)), np.zeros(1, dtype=int), one.lmax)
    assert not geometry.dipole_block(one.momentum, one.amplitudes).any()
    assert by_l_of(geometry, one.momentum, one.amplitudes).shape == (3,)


def test_an_absorber_without_p_states_has_no_p_block(random_cluster):
    one = random_cluster(1, lmax=(0, 1, 2))
    geometry = ClusterGeometry(one.positions, one.potentials, one.lmax, source_l=(1,))
    assert not geometry.dipole_block(one.momentum, one.amplitudes).any()


def test_two_atoms_are_single_and_double_scattering(random_cluster):
    # s waves only, so the whole series sums to g t g / (1 - g t g t_c).
    positions, potentials, lmax = np.array([[0, 0, 0], [0, 0, 4.0]]), np.array([0, 1]), [0, 0]
    amplitudes = np.array([[0.3 + 0.4j], [0.2 + 0.6j]])
    step = free_block(0.8 + 0.1j, positions[1], 0)[0, 0]
    once = step * amplitudes[1, 0] * step
    geometry = ClusterGeometry(positions, potentials, np.array(lmax))
    (found,) = by_l_of(geometry, 0.8 + 0.1j, amplitudes)
    assert abs(found - once / (1 - once * amplitudes[0, 0])) < 1e-6 * abs(found)


def test_amplitudes_that_are_no_numbers_show_in_the_result(random_cluster):
    one = random_cluster(3)
    amplitudes = one.amplitudes.copy()
    amplitudes[one.potentials[1], 0] = np.nan
    geometry = ClusterGeometry(one.positions, one.potentials, one.lmax)
    assert np.isnan(geometry.dipole_block(one.momentum, amplitudes)).any()


def test_phases_beyond_lmax_are_not_used(random_cluster):
    one = random_cluster(3, lmax=(2, 1, 2))
    geometry = ClusterGeometry(one.positions, one.potentials, one.lmax)
    spoiled = one.amplitudes.copy()
    spoiled[:, 3] = np.nan
    spoiled[1, 2:] = np.nan
    np.testing.assert_array_equal(
        by_l_of(geometry, one.momentum, spoiled),
        by_l_of(geometry, one.momentum, one.amplitudes),
    )


@pytest.mark.parametrize(
    ("positions", "potentials"),
    [
        (np.zeros((0, 3)), np.zeros(0, dtype=int)),
        (np.zeros((2, 2)), np.zeros(2, dtype=int)),
        (np.eye(3), np.zeros(2, dtype=int)),
        (np.eye(3), np.array([0, 1, 5])),
        (np.eye(3)[[0, 1, 1]], np.array([0, 1, 1])),
    ],
)
def test_refuses_what_is_no_cluster(positions, potentials):
    with pytest.raises(ClusterError):
        ClusterGeometry(positions, potentials, np.array([2, 2]))
