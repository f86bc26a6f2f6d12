from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtc_flows.errors import InputError
from vtc_flows.physics.frames import Frame, best_frame, principal_frame
from vtc_flows.physics.moments import Moments, carried, joined, mean, moments
from vtc_flows.physics.rotations import rotation_about
from vtc_flows.physics.sams import gram, gram_rotated, maximum_sams, mean_sams
from vtc_flows.physics.tensors import from_matrix

seeds = st.integers(0, 2**31)
LATTICE = np.array([[3.0, 0.2, 0.0], [0.5, 4.0, 0.1], [0.0, -0.4, 5.0]])


def given_moments(quadrupole, dipole=(0, 0, 0), inertia=(1, 1, 1)):
    """Moments with the tensors as stated, all scales 1."""
    one = np.asarray(1.0)
    return Moments(
        np.diag(np.asarray(quadrupole, float)),
        np.asarray(dipole, float),
        np.diag(np.asarray(inertia, float)),
        one,
        one,
    )


def flat_gram(matrix):
    """Gram of a spectrum that is the same at all energies."""
    return gram([0.0, 1.0], [from_matrix(matrix)] * 2, (0.0, 1.0))


def same_up_to_signs(one, two, atol=1e-9):
    return np.allclose(np.abs(np.sum(one * two, axis=0)), 1.0, atol=atol)


def assert_sound(frame):
    np.testing.assert_allclose(frame.axes.T @ frame.axes, np.eye(3), atol=1e-12)
    assert np.linalg.det(frame.axes) == pytest.approx(1.0)


@given(seed=seeds, sign=st.sampled_from([1.0, -1.0]))
def test_distinct_eigenvalues_need_nothing_else(seed, sign, make_rotation):
    w = sign * make_rotation(seed)
    frame = principal_frame(carried(given_moments([-3.0, 1.0, 2.0]), w), LATTICE)
    assert_sound(frame)
    assert same_up_to_signs(frame.axes, w)
    np.testing.assert_allclose(frame.eigenvalues, [-3.0, 1.0, 2.0], atol=1e-12)
    assert (frame.freedom, frame.free_axis, frame.resolved_by) == ("none", None, ("quadrupole",))


CASES = [
    # quadrupole, dipole, inertia -> freedom, free axis, resolved by
    ((-2, 1, 1), (0, 0, 0), (5, 2, 3), "none", None, ("quadrupole", "inertia")),
    ((-2, 1, 1), (3, 0.6, 0.8), (5, 2, 2), "none", None, ("quadrupole", "dipole")),
    ((-2, 1, 1), (1, 0, 0), (5, 2, 2), "axis", 0, ("quadrupole", "lattice")),
    ((-1, -1, 2), (0, 0, 1), (2, 2, 5), "axis", 2, ("quadrupole", "lattice")),
    ((0, 0, 0), (0, 0, 0), (1, 2, 3), "none", None, ("inertia",)),
    ((0, 0, 0), (0.6, 0.8, 0), (2, 2, 1), "none", None, ("inertia", "dipole")),
    ((0, 0, 0), (0, 0, 1), (2, 2, 1), "axis", 0, ("inertia", "lattice")),
    ((0, 0, 0), (0, 0, 1), (2, 2, 5), "axis", 2, ("inertia", "lattice")),
    ((0, 0, 0), (1, 1, 1), (2, 2, 2), "axis", 0, ("dipole", "lattice")),
    ((0, 0, 0), (0, 0, 0), (2, 2, 2), "all", None, ("lattice",)),
    ((1e-8, 0, -1e-8), (0, 0, 1e-8), (2, 2 + 1e-8, 2), "all", None, ("lattice",)),
]


@pytest.mark.parametrize(("q", "d", "i", "freedom", "free_axis", "resolved_by"), CASES)
@pytest.mark.parametrize("seed", range(4))
def test_equal_eigenvalues_are_resolved_in_turn(
    q, d, i, freedom, free_axis, resolved_by, seed, make_rotation
):
    mean_moments, w = given_moments(q, d, i), make_rotation(seed)
    frame = principal_frame(mean_moments, LATTICE)
    assert_sound(frame)
    assert (frame.freedom, frame.free_axis, frame.resolved_by) == (freedom, free_axis, resolved_by)
    assert np.all(np.diff(frame.eigenvalues) >= -1e-7)
    turned = principal_frame(carried(mean_moments, w), LATTICE @ w.T)
    assert_sound(turned)
    assert same_up_to_signs(turned.axes, w @ frame.axes)
    assert (turned.freedom, turned.resolved_by) == (freedom, resolved_by)


def test_the_dipole_direction_is_the_first_axis_of_the_free_plane():
    frame = principal_frame(given_moments((-2, 1, 1), (9, 0.6, 0.8), (5, 2, 2)), LATTICE)
    np.testing.assert_allclose(np.abs(frame.axes[:, 1]), [0.0, 0.6, 0.8], atol=1e-12)


def test_the_lattice_is_orthogonalised_in_the_free_space():
    frame = principal_frame(given_moments((0, 0, 0)), LATTICE)
    a, b = LATTICE[0], LATTICE[1]
    np.testing.assert_allclose(frame.axes[:, 0], a / np.linalg.norm(a), atol=1e-12)
    assert abs(np.cross(a, b) @ frame.axes[:, 2]) == pytest.approx(np.linalg.norm(np.cross(a, b)))


def test_a_lattice_vector_along_the_unique_axis_is_passed_over():
    lattice = [[0, 0, 4.0], [0, 3.0, 0], [3.0, 0, 0]]
    frame = principal_frame(given_moments((-1, -1, 2)), lattice)
    np.testing.assert_allclose(np.abs(frame.axes), [[0, 1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)


@given(seed=seeds, noise=st.floats(1e-12, 1e-8))
def test_noise_of_the_coordinates_does_not_turn_the_frame(seed, noise, octahedron):
    rng = np.random.default_rng(seed)
    moved = octahedron + noise * rng.normal(size=(6, 3))
    frame = principal_frame(moments(moved, [-2.0] * 6), 4.0 * np.eye(3))
    assert frame.freedom == "all"
    np.testing.assert_allclose(frame.axes, np.eye(3), atol=1e-12)


def test_a_stretched_octahedron_has_its_axis(octahedron):
    stretched = octahedron * np.array([1.0, 1.0, 1.01])
    frame = principal_frame(moments(stretched, [-2.0] * 6), 4.0 * np.eye(3))
    # fewer negative charges near along z: Q_zz is the highest
    assert (frame.freedom, frame.free_axis) == ("axis", 2)
    np.testing.assert_allclose(frame.axes, np.eye(3), atol=1e-12)


@given(seed=seeds)
def test_order_and_number_of_sites_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    sites = [moments(rng.normal(size=(9, 3)) * 3, rng.integers(-2, 3, 9), 2) for _ in range(3)]
    one = principal_frame(mean(sites), LATTICE)
    two = principal_frame(mean(joined([*sites[::-1], *sites])), LATTICE)
    np.testing.assert_allclose(two.axes, one.axes, atol=1e-6)


def axis_free():
    return principal_frame(given_moments((-1, -1, 2), (0, 0, 1), (2, 2, 5)), 4.0 * np.eye(3))


def all_free():
    return principal_frame(given_moments((0, 0, 0), (0, 0, 0), (2, 2, 2)), 4.0 * np.eye(3))


def test_a_settled_frame_stays():
    frame = principal_frame(given_moments((-3, 1, 2)), LATTICE)
    assert best_frame(frame, [flat_gram(np.diag([1.0, 2, 5]))]) is frame


@given(angle=st.floats(-0.7, 0.7))
def test_a_free_angle_goes_to_the_best_sams(angle):
    w = rotation_about([0.0, 0.0, angle])
    site = flat_gram(w @ np.diag([1.0, 2.0, 4.0]) @ w.T)
    frame = best_frame(axis_free(), [site])
    assert_sound(frame)
    np.testing.assert_allclose(frame.axes[:, 2], [0, 0, 1], atol=1e-12)
    if abs(angle) > 0.01:
        assert frame.resolved_by == ("quadrupole", "sams")
        np.testing.assert_allclose(frame.axes, w, atol=1e-5)
        assert mean_sams([site], frame.axes) == pytest.approx(mean_sams([site], w), rel=1e-9)


@given(seed=seeds)
def test_full_freedom_reaches_the_global_maximum(seed, make_spectrum):
    sites = [gram(*make_spectrum(seed + k)) for k in range(2)]
    frame = best_frame(all_free(), sites)
    assert_sound(frame)
    assert frame.resolved_by == ("sams",)
    assert mean_sams(sites, frame.axes) == pytest.approx(maximum_sams(sites)[0], rel=1e-9)


@pytest.mark.parametrize("start", [axis_free, all_free])
def test_where_nothing_is_gained_the_lattice_keeps_its_axes(start):
    frame = start()
    assert best_frame(frame, [flat_gram(np.diag([1.0, 1, 3]))]) is frame
    assert best_frame(frame, [flat_gram(np.diag([1.0, 1, 1]))]) is frame


@given(seed=seeds)
def test_the_best_frame_turns_along_with_the_crystal(seed, make_spectrum, make_rotation):
    w = make_rotation(seed)
    sites = [gram(*make_spectrum(seed + k)) for k in range(2)]
    turned_sites = [gram_rotated(one, w) for one in sites]
    uniaxial = given_moments((-1, -1, 2), (0, 0, 1), (2, 2, 5))
    for of in (uniaxial, given_moments((0, 0, 0), inertia=(2, 2, 2))):
        frame = best_frame(principal_frame(of, LATTICE), sites)
        turned = best_frame(principal_frame(carried(of, w), LATTICE @ w.T), turned_sites)
        assert mean_sams(turned_sites, turned.axes) == pytest.approx(
            mean_sams(sites, frame.axes), rel=1e-9
        )
        assert turned.resolved_by == frame.resolved_by


def test_eigenvalues_follow_the_axes():
    quadrupole = np.diag([-1.0, -1.0 + 5e-7, 2.0])
    of = Moments(quadrupole, np.zeros(3), 2 * np.eye(3), np.asarray(4.0), np.asarray(1.0))
    w = rotation_about([0.0, 0.0, 0.5])
    frame = best_frame(
        principal_frame(of, 4.0 * np.eye(3)), [flat_gram(w @ np.diag([1.0, 2, 4]) @ w.T)]
    )
    assert isinstance(frame, Frame)
    np.testing.assert_allclose(
        frame.eigenvalues, np.diag(frame.axes.T @ quadrupole @ frame.axes), atol=1e-12
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: principal_frame(joined([given_moments((0, 0, 0))] * 2), LATTICE),
            "averaged over sites",
        ),
        (
            lambda: principal_frame(given_moments((0, 0, 0)), [[1, 0, 0], [0, 1, 0], [1, 1, 0]]),
            "lie in a plane",
        ),
        (lambda: principal_frame(given_moments((0, 0, 0)), np.eye(2)), "lattice has shape"),
        (lambda: best_frame(all_free(), []), "no sites"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
