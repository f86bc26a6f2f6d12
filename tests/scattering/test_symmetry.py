from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vtc_flows.scattering.angular import real_harmonics
from vtc_flows.scattering.symmetry import harmonic_signs, point_group, sign_symmetry

OCTAHEDRON = np.array(
    [[0, 0, 0], [4, 0, 0], [-4, 0, 0], [0, 4, 0], [0, -4, 0], [0, 0, 4], [0, 0, -4]], dtype=float
)
TETRAHEDRON = np.array([[0, 0, 0], [2, 2, 2], [2, -2, -2], [-2, 2, -2], [-2, -2, 2]], dtype=float)
TRIANGLE = np.array(
    [[0, 0, 0], [3, 0, 1], [-1.5, 1.5 * 3**0.5, 1], [-1.5, -1.5 * 3**0.5, 1]], dtype=float
)
ANY_WAY = Rotation.from_euler("zyx", [0.3, -1.1, 2.0]).as_matrix()


@pytest.mark.parametrize(
    ("positions", "order"),
    [
        (OCTAHEDRON, 8),
        (TETRAHEDRON, 4),
        (TRIANGLE, 2),
        (OCTAHEDRON[:3], 8),
        (OCTAHEDRON[:2], 4),
        (OCTAHEDRON[:1], 8),
        (np.random.default_rng(0).normal(size=(9, 3)) * 4, 1),
    ],
)
def test_order_of_the_group_does_not_depend_on_the_frame(positions, order):
    species = np.ones(len(positions), dtype=int)
    for rotation in (np.eye(3), ANY_WAY):
        turned = positions @ rotation.T + 0.7
        found = sign_symmetry(turned, species)
        assert len(found.signs) == order
        local = (turned - turned[0]) @ found.frame
        for signs, images in zip(found.signs, found.images, strict=True):
            np.testing.assert_allclose(local * signs, local[images], atol=1e-4)


@pytest.mark.parametrize(
    ("positions", "order"),
    [
        (OCTAHEDRON, 48),
        (TETRAHEDRON, 24),
        (TRIANGLE, 6),
        (OCTAHEDRON[:5], 16),  # all in one plane
        (OCTAHEDRON[:2], 4),  # on a line: only what commutes
        (OCTAHEDRON[:1], 8),
        (np.random.default_rng(0).normal(size=(9, 3)) * 4, 1),
    ],
)
@pytest.mark.parametrize("rounding", [0.0, 1e-5])
def test_point_group_is_whole_in_any_frame(positions, order, rounding):
    species = np.ones(len(positions), dtype=int)
    noise = np.random.default_rng(1).uniform(-rounding, rounding, positions.shape)
    for rotation in (np.eye(3), ANY_WAY):
        turned = positions @ rotation.T + 0.7 + noise
        group = point_group(turned, species)
        assert len(group) == order
        products = (group[:, None] @ group[None]).reshape(-1, 1, 3, 3)
        assert np.abs(products - group).max(axis=(2, 3)).min(axis=1).max() < 1e-4


def test_a_distorted_cluster_has_fewer_operations():
    stretched = OCTAHEDRON * [1, 1, 1.0005]
    assert len(point_group(stretched, np.ones(7, dtype=int))) == 16
    assert len(point_group(OCTAHEDRON, np.array([0, 1, 1, 1, 1, 1, 2]))) == 8


@given(seed=st.integers(0, 10_000), size=st.sampled_from([1e-5, 5e-5, 1e-4, 2e-4]))
def test_atoms_off_their_places_still_leave_a_group(seed, size):
    # Near the tolerance some operations pass and others do not.
    noise = np.random.default_rng(seed).uniform(-size, size, size=OCTAHEDRON.shape)
    found = sign_symmetry(OCTAHEDRON + noise, np.ones(7, dtype=int))
    operations = {tuple(signs) for signs in found.signs}
    products = {tuple(a * b) for a in found.signs for b in found.signs}
    assert products == operations
    np.testing.assert_array_equal(found.images[0], np.arange(7))


def test_unlike_atoms_are_not_exchanged():
    species = np.array([0, 1, 2, 1, 1, 1, 1])
    assert len(sign_symmetry(OCTAHEDRON, species).signs) == 4


def test_inversion_alone_is_found():
    half = np.random.default_rng(5).normal(size=(4, 3)) * 4
    positions = np.vstack([np.zeros(3), half, -half])
    found = sign_symmetry(positions, np.ones(9, dtype=int))
    np.testing.assert_array_equal(np.sort(found.signs, axis=0), [[-1, -1, -1], [1, 1, 1]])


def test_harmonics_take_the_signs_said():
    directions = np.random.default_rng(1).normal(size=(5, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    operations = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1], [-1, -1, 1], [-1] * 3])
    for signs, expected in zip(operations, harmonic_signs(4, operations), strict=True):
        np.testing.assert_allclose(
            real_harmonics(4, directions * signs),
            expected * real_harmonics(4, directions),
            atol=1e-13,
        )
