from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtc_flows.errors import InputError
from vtc_flows.physics.moments import carried, joined, mean, moments, moments_of_sites

seeds = st.integers(0, 2**31)
exponents = st.integers(1, 14)


def surroundings(seed, n=14):
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * rng.uniform(1.8, 6.0, (n, 1)), rng.integers(-3, 4, n).astype(float)


def assert_same(one, two, rtol=1e-12):
    scale = float(np.max(two.quadrupole_scale)) + float(np.max(np.abs(two.inertia)))
    for name in ("quadrupole", "dipole", "inertia", "quadrupole_scale", "dipole_scale"):
        np.testing.assert_allclose(
            getattr(one, name), getattr(two, name), atol=rtol * scale, err_msg=name
        )


@given(seed=seeds, exponent=exponents)
def test_sums_are_those_of_the_definition(seed, exponent):
    positions, charges = surroundings(seed)
    quadrupole, dipole, inertia = np.zeros((3, 3)), np.zeros(3), np.zeros((3, 3))
    for r, q in zip(positions, charges, strict=True):
        length = np.linalg.norm(r)
        w = length**-exponent
        quadrupole += q * (3 * np.outer(r, r) - length**2 * np.eye(3)) * w
        dipole += q * r * w
        inertia += (length**2 * np.eye(3) - np.outer(r, r)) * w
    got = moments(positions, charges, exponent)
    np.testing.assert_allclose(got.quadrupole, quadrupole, atol=1e-12)
    np.testing.assert_allclose(got.dipole, dipole, atol=1e-12)
    np.testing.assert_allclose(got.inertia, inertia, atol=1e-12)


def test_two_charges_on_an_axis_have_known_moments():
    # 2 e at +-2 A along z, p = 1: Q_zz = 2 * 2 * (2 * 4) / 2, I_xx = 2 * 4 / 2
    got = moments([[0, 0, 2.0], [0, 0, -2.0]], [2.0, 2.0], exponent=1)
    np.testing.assert_allclose(got.quadrupole, np.diag([-8.0, -8.0, 16.0]))
    np.testing.assert_allclose(got.inertia, np.diag([4.0, 4.0, 0.0]))
    np.testing.assert_allclose(got.dipole, 0.0)
    assert got.quadrupole_scale == pytest.approx(16.0)
    assert got.dipole_scale == pytest.approx(4.0)


@given(exponent=exponents, charge=st.floats(-4, 4), seed=seeds)
def test_a_turned_octahedron_has_no_quadrupole_and_no_dipole(
    exponent, charge, seed, octahedron, make_rotation
):
    got = moments(octahedron @ make_rotation(seed).T, [charge] * 6, exponent)
    np.testing.assert_allclose(got.quadrupole, 0.0, atol=1e-13 * 2**6)
    np.testing.assert_allclose(got.dipole, 0.0, atol=1e-13 * 2**6)
    np.testing.assert_allclose(got.inertia, got.inertia[0, 0] * np.eye(3), atol=1e-13 * 2**6)


@given(seed=seeds, sign=st.sampled_from([1.0, -1.0]), exponent=exponents)
def test_carrying_the_moments_is_carrying_the_neighbours(seed, sign, exponent, make_rotation):
    positions, charges = surroundings(seed)
    w = sign * make_rotation(seed)
    assert_same(
        moments(positions @ w.T, charges, exponent),
        carried(moments(positions, charges, exponent), w),
    )


@given(seed=seeds)
def test_the_order_of_neighbours_does_not_matter(seed):
    positions, charges = surroundings(seed)
    order = np.random.default_rng(seed).permutation(len(charges))
    assert_same(moments(positions[order], charges[order]), moments(positions, charges))


@given(seed=seeds, n_sites=st.integers(1, 6))
def test_a_batch_is_its_sites_one_by_one(seed, n_sites):
    rng = np.random.default_rng(seed)
    positions, charges = surroundings(seed, 40)
    absorber = rng.integers(0, n_sites, 40)  # unsorted; a site may have no neighbour at all
    batch = moments_of_sites(absorber, positions, charges, n_sites, 6)
    assert batch.shape == (n_sites,)
    for k in range(n_sites):
        mine = absorber == k
        assert_same(batch[k], moments(positions[mine], charges[mine], 6))


@given(seed=seeds)
def test_a_supercell_has_the_mean_of_the_cell(seed):
    parts = [moments(*surroundings(seed + k)) for k in range(3)]
    assert_same(mean(parts), mean([*parts[::-1], *parts]))
    assert_same(mean(joined(parts)), mean(parts))


def test_the_mean_over_the_cubic_group_is_cubic(cubic_group):
    got = mean(carried(moments(*surroundings(8)), cubic_group))
    np.testing.assert_allclose(got.quadrupole, 0.0, atol=1e-15)
    np.testing.assert_allclose(got.dipole, 0.0, atol=1e-15)
    np.testing.assert_allclose(got.inertia, got.inertia[0, 0] * np.eye(3), atol=1e-15)


def test_the_input_is_left_alone():
    positions, charges = surroundings(1)
    before = positions.copy()
    positions.setflags(write=False)
    charges.setflags(write=False)
    moments(positions, charges)
    np.testing.assert_array_equal(positions, before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: moments([[0, 0, 0.0]], [1.0]), "lies on its absorber"),
        (lambda: moments([[0, 0, 1.0]], [1.0, 2.0]), "do not belong together"),
        (lambda: moments([[0, 1.0]], [1.0]), r"positions has shape \(1, 2\)"),
        (lambda: moments([[0, 0, np.nan]], [1.0]), "NaN"),
        (lambda: moments([[0, 0, 1.0]], [1.0], np.inf), "exponent"),
        (lambda: moments_of_sites([2], [[0, 0, 1.0]], [1.0], 2), "out of range for 2 sites"),
        (lambda: moments_of_sites([0.5], [[0, 0, 1.0]], [1.0], 2), "whole numbers"),
        (lambda: moments_of_sites([-1], [[0, 0, 1.0]], [1.0], 2), "whole numbers"),
        (lambda: mean([]), "no moments"),
        (lambda: mean(moments_of_sites([], np.zeros((0, 3)), [], 0)), "no sites"),
        (
            lambda: carried(moments_of_sites([0], [[0, 0, 1.0]], [1.0], 2), np.eye(3)),
            "one site are carried at a time",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
