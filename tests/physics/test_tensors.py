from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtc_flows.errors import InputError
from vtc_flows.physics import tensors

seeds = st.integers(0, 2**31)


@given(seed=seeds)
def test_matrix_and_packed_form_are_inverse(seed, make_spectrum):
    _, tensor = make_spectrum(seed)
    np.testing.assert_array_equal(tensors.from_matrix(tensors.to_matrix(tensor)), tensor)


@given(seed=seeds)
def test_six_polarizations_determine_the_tensor(seed, make_spectrum):
    _, tensor = make_spectrum(seed)
    directions = {
        "x": [1, 0, 0], "y": [0, 1, 0], "z": [0, 0, 1],
        "xy": [1, 1, 0], "xz": [1, 0, 1], "yz": [0, 1, 1],
    }  # fmt: skip
    spectra = {name: tensors.along(tensor, e) for name, e in directions.items()}
    np.testing.assert_allclose(tensors.from_polarizations(spectra), tensor, atol=1e-12)


@given(seed=seeds)
def test_carried_emission_along_carried_direction_is_the_same(seed, make_spectrum, make_rotation):
    _, tensor = make_spectrum(seed)
    w = make_rotation(seed)
    direction = np.random.default_rng(seed).normal(size=3)
    np.testing.assert_allclose(
        tensors.along(tensors.rotate(tensor, w), w @ direction),
        tensors.along(tensor, direction),
        atol=1e-12,
    )


@given(seed=seeds)
def test_isotropic_and_smallest_eigenvalue_do_not_depend_on_orientation(
    seed, make_spectrum, make_rotation
):
    _, tensor = make_spectrum(seed)
    turned = tensors.rotate(tensor, make_rotation(seed))
    np.testing.assert_allclose(tensors.isotropic(turned), tensors.isotropic(tensor), atol=1e-12)
    assert tensors.smallest_eigenvalue(turned) == pytest.approx(
        tensors.smallest_eigenvalue(tensor), abs=1e-12
    )
    assert tensors.smallest_eigenvalue(tensor) > -1e-12


@given(seed=seeds)
def test_two_rotations_after_each_other_are_their_product(seed, make_spectrum, make_rotation):
    _, tensor = make_spectrum(seed)
    one, two = make_rotation(seed), make_rotation(seed + 1)
    np.testing.assert_allclose(
        tensors.rotate(tensors.rotate(tensor, one), two),
        tensors.rotate(tensor, two @ one),
        atol=1e-12,
    )


@given(seed=seeds)
def test_crystal_sum_is_the_sum_of_carried_sites(seed, make_spectrum, make_rotation):
    _, tensor = make_spectrum(seed)
    rotations = np.array([make_rotation(seed + k) * (-1) ** k for k in range(5)])
    one_by_one = sum(tensors.rotate(tensor, w) for w in rotations)
    np.testing.assert_allclose(tensors.crystal_sum(tensor, rotations), one_by_one, atol=1e-11)


def test_crystal_sum_over_the_cubic_group_is_isotropic(make_spectrum, cubic_group):
    _, tensor = make_spectrum(3)
    summed = tensors.crystal_sum(tensor, cubic_group)
    iso = 48 * tensors.isotropic(tensor)
    np.testing.assert_allclose(summed[:, :3], np.stack([iso] * 3, axis=1), atol=1e-11)
    np.testing.assert_allclose(summed[:, 3:], 0.0, atol=1e-11)


def test_symmetry_residual_is_the_relative_change():
    tensor = np.array([[4.0, 1.0, 1.0, 0.0, 0.0, 0.0]])
    quarter_turn_about_z = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    quarter_turn_about_x = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    assert tensors.symmetry_residual(tensor, quarter_turn_about_x[None]) == 0.0
    both = np.array([quarter_turn_about_x, quarter_turn_about_z])
    assert tensors.symmetry_residual(tensor, both) == pytest.approx(0.75)
    assert tensors.symmetry_residual(np.zeros((2, 6)), both) == 0.0


def test_negative_intensity_is_seen():
    assert tensors.smallest_eigenvalue([[1, 1, 1, 0, 0, 2.0]]) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tensors.to_matrix([1.0, 2.0]), r"tensor has shape \(2,\)"),
        (lambda: tensors.to_matrix([np.nan] * 6), "NaN"),
        (lambda: tensors.to_matrix(["a"] * 6), "real numbers"),
        (lambda: tensors.from_matrix(np.eye(2)), "matrix has shape"),
        (lambda: tensors.along(np.zeros(6), [0, 0, 0]), "zero length"),
        (lambda: tensors.rotate(np.zeros(6), 2 * np.eye(3)), "not orthonormal"),
        (lambda: tensors.crystal_sum(np.zeros((1, 6)), np.zeros((0, 3, 3))), "empty"),
        (lambda: tensors.smallest_eigenvalue(np.zeros((0, 6))), "no energies"),
        (lambda: tensors.from_polarizations({"x": [1.0]}), "needs exactly"),
        (
            lambda: tensors.from_polarizations(
                {name: [1.0] * (2 if name == "xz" else 1) for name in tensors.POLARIZATIONS}
            ),
            "differ in length",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
