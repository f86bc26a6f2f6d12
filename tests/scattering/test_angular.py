from __future__ import annotations

import numpy as np
import pytest

from vtc_flows.scattering.angular import gaunt, parity, real_harmonics, state_l

DIRECTIONS = np.random.default_rng(3).normal(size=(20, 3))
DIRECTIONS /= np.linalg.norm(DIRECTIONS, axis=1)[:, None]


def test_first_harmonics_are_y_z_x():
    expected = np.sqrt(3 / (4 * np.pi)) * DIRECTIONS[:, [1, 2, 0]]
    np.testing.assert_allclose(real_harmonics(1, DIRECTIONS)[:, 1:], expected, atol=1e-14)


def test_d_harmonics_are_the_textbook_ones():
    x, y, z = DIRECTIONS.T
    expected = np.sqrt(15 / (4 * np.pi)) * np.stack(
        [x * y, y * z, (3 * z**2 - 1) / (2 * np.sqrt(3)), x * z, (x**2 - y**2) / 2], axis=1
    )
    np.testing.assert_allclose(real_harmonics(2, DIRECTIONS)[:, 4:], expected, atol=1e-14)


@pytest.mark.parametrize("degree", range(9))
def test_addition_theorem(degree):
    shell = real_harmonics(8, DIRECTIONS)[:, degree**2 : (degree + 1) ** 2]
    cosines = np.clip(DIRECTIONS @ DIRECTIONS.T, -1, 1)
    legendre = np.polynomial.legendre.legval(cosines, np.eye(9)[degree])
    np.testing.assert_allclose(
        shell @ shell.T, (2 * degree + 1) / (4 * np.pi) * legendre, atol=1e-12
    )


def test_poles_are_finite():
    pole = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    values = real_harmonics(6, pole)
    assert np.isfinite(values).all()
    assert np.count_nonzero(np.abs(values[0]) > 1e-14) == 7  # only m = 0


@pytest.mark.parametrize("lmax", [1, 2, 3])
def test_gaunt_integrals_multiply_harmonics(lmax):
    small, large = real_harmonics(lmax, DIRECTIONS), real_harmonics(2 * lmax, DIRECTIONS)
    product = np.einsum("na,nb->nab", small, small)
    np.testing.assert_allclose(np.einsum("abc,nc->nab", gaunt(lmax), large), product, atol=1e-12)


def test_gaunt_selection_rules():
    coefficients = gaunt(3)
    left, wave = state_l(3), state_l(6)
    total = left[:, None, None] + left[None, :, None] + wave
    outside = (wave < np.abs(left[:, None, None] - left[None, :, None])) | (
        wave > left[:, None, None] + left[None, :, None]
    )
    assert not coefficients[(total % 2 == 1) | outside].any()
    np.testing.assert_allclose(coefficients, coefficients.swapaxes(0, 1), atol=1e-14)


def test_gaunt_with_a_constant_is_orthonormality():
    np.testing.assert_allclose(gaunt(3)[:, :, 0] * np.sqrt(4 * np.pi), np.eye(16), atol=1e-12)


def test_parity_is_that_of_inversion():
    np.testing.assert_allclose(
        real_harmonics(4, -DIRECTIONS), parity(4) * real_harmonics(4, DIRECTIONS), atol=1e-13
    )
