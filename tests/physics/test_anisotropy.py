from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtc_flows.errors import InputError
from vtc_flows.physics.anisotropy import (
    dam,
    iam,
    matrix_sum,
    normalized_inertia_anisotropy,
    qam,
)
from vtc_flows.physics.frames import principal_frame
from vtc_flows.physics.moments import carried, joined, moments

seeds = st.integers(0, 2**31)


def random_moments(seed):
    rng = np.random.default_rng(seed)
    return moments(rng.normal(size=(12, 3)) + 2.0, rng.integers(-2, 3, 12), 3)


@given(seed=seeds)
def test_qam_in_its_own_frame_is_the_differences_of_eigenvalues(seed):
    of = random_moments(seed)
    values = np.linalg.eigvalsh(of.quadrupole)
    got = qam(of, principal_frame(of, np.eye(3)).axes)
    np.testing.assert_allclose(got, np.abs(values[:, None] - values), atol=1e-10)
    # ascending: the outer difference is the sum of the inner two
    assert matrix_sum(got) == pytest.approx(2 * (values[2] - values[0]))


def test_known_matrices():
    of = moments([[1.0, 0, 0], [0, 2.0, 0], [0, 0, -3.0]], [1.0, 1.0, 1.0], exponent=0)
    # diagonals: Q (3, 12, 27) - 14, I 14 - (1, 4, 9), |D| (1, 2, 3)
    np.testing.assert_allclose(qam(of, np.eye(3)), [[0, 9, 24], [9, 0, 15], [24, 15, 0]])
    np.testing.assert_allclose(iam(of, np.eye(3)), [[0, 3, 8], [3, 0, 5], [8, 5, 0]])
    np.testing.assert_allclose(dam(of, np.eye(3)), [[0, 1, 2], [1, 0, 1], [2, 1, 0]])
    assert [float(matrix_sum(m(of, np.eye(3)))) for m in (qam, iam, dam)] == [48.0, 16.0, 4.0]


@given(
    seed=seeds,
    order=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([1.0, -1.0])] * 3),
)
def test_sums_do_not_depend_on_order_and_signs_of_the_axes(seed, order, signs, make_rotation):
    of, frame = random_moments(seed), make_rotation(seed)
    renamed = frame[:, order] * np.array(signs)
    for matrix in (qam, iam, dam):
        assert matrix_sum(matrix(of, renamed)) == pytest.approx(
            float(matrix_sum(matrix(of, frame))), rel=1e-9, abs=1e-9
        )


@given(seed=seeds)
def test_turning_surroundings_and_frame_together_changes_nothing(seed, make_rotation):
    of, frame, w = random_moments(seed), make_rotation(seed), make_rotation(seed + 1)
    for matrix in (qam, iam, dam):
        np.testing.assert_allclose(
            matrix(carried(of, w), w @ frame), matrix(of, frame), rtol=1e-8, atol=1e-8
        )


def test_a_cubic_surrounding_has_none_in_any_frame(octahedron, make_rotation):
    of = moments(octahedron, [-2.0] * 6)
    for matrix in (qam, iam, dam):
        np.testing.assert_allclose(matrix(of, make_rotation(5)), 0.0, atol=1e-16)


def test_many_sites_at_once(make_rotation):
    sites = [random_moments(k) for k in range(4)]
    frame = make_rotation(0)
    for matrix in (qam, iam, dam):
        np.testing.assert_allclose(
            matrix(joined(sites), frame), [matrix(one, frame) for one in sites], rtol=1e-12
        )


def test_a_skewed_frame_is_refused():
    with pytest.raises(InputError, match="not orthonormal"):
        qam(random_moments(0), np.ones((3, 3)))
    with pytest.raises(InputError, match="frame has shape"):
        dam(random_moments(0), np.stack([np.eye(3)] * 2))


@given(seed=seeds, scale=st.floats(0.1, 10.0))
def test_normalized_anisotropy_knows_neither_scale_nor_frame(seed, scale):
    rng = np.random.default_rng(seed)
    positions, rotation = rng.normal(size=(9, 3)) + 0.5, np.linalg.qr(rng.normal(size=(3, 3)))[0]
    values = [
        float(normalized_inertia_anisotropy(moments(p, np.zeros(9), 8)))
        for p in (positions, scale * positions, positions @ rotation)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-6, abs=1e-9)
    assert values[0] == pytest.approx(values[2], rel=1e-6, abs=1e-9)
    assert 0 <= values[0] <= 2 + 1e-12


def test_normalized_anisotropy_of_known_surroundings():
    axes = np.vstack((np.eye(3), -np.eye(3)))
    known = {
        "octahedron": (axes, 0.0),
        "square": (axes[[0, 1, 3, 4]], 1.0),
        "pair": (axes[:1], 2.0),
    }
    for positions, expected in known.values():
        of = moments(2.1 * positions, np.ones(len(positions)), 12)
        assert float(normalized_inertia_anisotropy(of)) == pytest.approx(expected, abs=1e-12)
    none = moments(np.zeros((0, 3)), np.zeros(0), 12)
    assert float(normalized_inertia_anisotropy(none)) == 0.0
