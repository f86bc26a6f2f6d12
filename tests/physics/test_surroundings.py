"""Shapes of surroundings: known polyhedra, pair sums, rotations, bad input."""

import numpy as np
import pytest
from numpy.polynomial.legendre import Legendre
from scipy.spatial.transform import Rotation

from vtc_flows.errors import InputError
from vtc_flows.physics.surroundings import Surroundings
from vtc_flows.physics.tensors import tensor_freedom

AXES = np.vstack((np.eye(3), -np.eye(3)))


def random_directions(n, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, 3))
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]


@pytest.mark.parametrize("degree", range(8))
def test_orders_are_those_of_the_sum_over_pairs(degree):
    directions, weights = random_directions(40), np.random.default_rng(1).uniform(size=40)
    around = Surroundings(np.zeros(40, int), directions, 1)
    cosines = np.clip(directions @ directions.T, -1, 1)
    squared = weights @ Legendre.basis(degree)(cosines) @ weights
    expected = np.sqrt(max(squared, 0)) / weights.sum()
    assert around.order(weights, degree)[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("directions", "anisotropy", "biaxiality"),
    [
        (AXES, 0.0, 0.0),
        (AXES[[2, 5]], 2.0, -1.0),
        (AXES[[0, 1, 3, 4]], 1.0, 0.5),
        (np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5, 0.0, 0.0),
    ],
)
def test_shapes_of_known_polyhedra(directions, anisotropy, biaxiality):
    around = Surroundings(np.zeros(len(directions), int), directions, 1)
    found = around.shape(np.ones(len(directions)))
    assert (found[0][0], found[1][0]) == pytest.approx((anisotropy, biaxiality), abs=1e-12)


def test_sites_are_apart_and_no_frame_matters():
    directions, weights = random_directions(50), np.random.default_rng(2).uniform(size=50)
    site = np.random.default_rng(3).integers(0, 3, 50)
    together = Surroundings(site, directions, 4)
    turned = Surroundings(site, directions @ Rotation.random(random_state=1).as_matrix().T, 4)
    for number in range(3):
        own = site == number
        alone = Surroundings(np.zeros(own.sum(), int), directions[own], 1)
        for one, other in zip(together.shape(weights), alone.shape(weights[own]), strict=True):
            assert one[number] == pytest.approx(other[0])
        assert together.order(weights, 4)[number] == pytest.approx(alone.order(weights[own], 4)[0])
        assert together.least(weights)[number] == weights[own].min()
        assert together.mean(weights, weights)[number] == pytest.approx(
            np.average(weights[own], weights=weights[own])
        )
        assert together.deviation(weights, np.ones(50))[number] == pytest.approx(weights[own].std())
    assert together.shape(weights)[0][3] == together.order(weights, 2)[3] == 0
    np.testing.assert_allclose(turned.shape(weights), together.shape(weights), atol=1e-12)
    np.testing.assert_allclose(turned.order(weights, 6), together.order(weights, 6), atol=1e-12)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="unit vectors"):
        Surroundings([0], [[0, 0, 2.0]], 1)
    with pytest.raises(InputError, match="between 0 and 0"):
        Surroundings([1], [[0, 0, 1.0]], 1)
    with pytest.raises(InputError, match="one index for each"):
        Surroundings([0, 0], [[0, 0, 1.0]], 1)
    around = Surroundings([0], [[0, 0, 1.0]], 1)
    with pytest.raises(InputError, match="below zero"):
        around.shape([-1.0])
    with pytest.raises(InputError, match="weights"):
        around.order([np.nan], 4)


def test_freedom_of_tensors():
    """Counts of independent components of a symmetric traceless tensor, by point group."""
    cube = [
        matrix
        for matrix in (
            np.array(rows)
            for rows in np.stack(np.meshgrid(*[[-1, 0, 1]] * 9), axis=-1).reshape(-1, 3, 3)
        )
        if np.allclose(matrix @ matrix.T, np.eye(3))
    ]
    assert len(cube) == 48
    assert tensor_freedom(cube) == 0
    tetragonal = [matrix for matrix in cube if abs(matrix[2, 2]) == 1]
    assert tensor_freedom(tetragonal) == 1
    orthorhombic = [matrix for matrix in cube if np.count_nonzero(np.diag(matrix)) == 3]
    assert tensor_freedom(orthorhombic) == 2
    assert tensor_freedom([np.eye(3), np.diag([-1, -1, 1])]) == 3
    assert tensor_freedom([np.eye(3), -np.eye(3)]) == 5
