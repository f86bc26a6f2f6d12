from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtc_flows.errors import InputError
from vtc_flows.physics.windows import (
    FWHM_PER_SIGMA,
    clip,
    gaussian_broaden,
    increasing_energies,
    trapezoid_weights,
)

seeds = st.integers(0, 2**31)


def uneven(seed, n=60):
    return np.sort(np.random.default_rng(seed).uniform(-10, 10, n))


@given(seed=seeds, low=st.floats(-8, -1), high=st.floats(0, 8))
def test_a_straight_line_is_integrated_exactly_in_any_window(seed, low, high):
    energy = np.concatenate(([-10.0], uneven(seed), [10.0]))
    inside, values = clip(energy, 2.0 * energy + 3.0, (low, high))
    assert (inside[0], inside[-1]) == (low, high)
    exact = high**2 - low**2 + 3.0 * (high - low)
    assert trapezoid_weights(inside) @ values == pytest.approx(exact, abs=1e-10)


@given(seed=seeds, edge=st.floats(-7, 7))
def test_two_adjoining_windows_add_up(seed, edge):
    energy = np.concatenate(([-10.0], uneven(seed), [10.0]))
    values = np.random.default_rng(seed + 1).normal(size=(energy.size, 6))

    def integral(window):
        inside, cut = clip(energy, values, window)
        return trapezoid_weights(inside) @ cut

    np.testing.assert_allclose(
        integral((-8, edge)) + integral((edge, 8)), integral((-8, 8)), atol=1e-10
    )


def test_an_edge_on_a_grid_point_gives_that_point_once():
    energy, values = clip([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 4.0, 9.0], (1.0, 3.0))
    assert energy.tolist() == [1.0, 2.0, 3.0]
    assert values.tolist() == [1.0, 4.0, 9.0]


def test_a_window_inside_one_step_is_interpolated():
    energy, values = clip([0.0, 10.0], [0.0, 20.0], (2.0, 3.0))
    assert energy.tolist() == [2.0, 3.0]
    assert values.tolist() == pytest.approx([4.0, 6.0])


def test_a_grid_that_starts_a_fraction_of_a_step_late_passes_and_is_not_extrapolated():
    energy = np.arange(-29.96, 5.0, 0.1)
    inside, _ = clip(energy, energy, (-30.0, 5.0))
    assert (inside[0], inside[-1]) == (energy[0], energy[-1])


@pytest.mark.parametrize("window", [(-31.0, 4.0), (-29.0, 6.0), (-200.0, -100.0)])
def test_a_window_beyond_the_data_is_refused(window):
    energy = np.arange(-30.0, 5.0, 0.1)
    with pytest.raises(InputError, match="wider than the spectrum"):
        clip(energy, energy, window)


@given(seed=seeds, fwhm=st.floats(0, 20), value=st.floats(-5, 5))
def test_a_flat_spectrum_stays_flat_to_its_ends(seed, fwhm, value):
    energy = uneven(seed)
    np.testing.assert_array_equal(
        gaussian_broaden(energy, np.full((60, 2), value), fwhm), np.full((60, 2), value)
    )


@given(seed=seeds, fwhm=st.floats(0.1, 1.0))
def test_a_straight_line_is_kept_away_from_the_ends(seed, fwhm):
    energy = np.concatenate(([-20.0], uneven(seed), [20.0]))
    broad = gaussian_broaden(energy, 3.0 * energy - 1.0, fwhm)
    np.testing.assert_allclose(broad[1:-1], 3.0 * energy[1:-1] - 1.0, atol=1e-10)


@given(seed=seeds, fwhm=st.floats(0.05, 3.0))
def test_broadening_agrees_with_numerical_folding_of_the_same_straight_lines(seed, fwhm):
    rng = np.random.default_rng(seed)
    energy = np.cumsum(rng.uniform(0.3, 2.0, 15))
    values = rng.uniform(0, 1, 15)
    sigma = fwhm / FWHM_PER_SIGMA
    u = np.linspace(-8.5, 8.5, 20001)
    kernel = np.exp(-0.5 * u * u)
    kernel /= kernel.sum()
    folded = [kernel @ np.interp(e + sigma * u, energy, values) for e in energy]
    np.testing.assert_allclose(gaussian_broaden(energy, values, fwhm), folded, atol=2e-6)


def test_a_gaussian_becomes_the_wider_gaussian():
    energy = np.linspace(-20, 20, 2001)
    narrow, fwhm = 1.0, 2.0
    wide = np.hypot(narrow, fwhm / FWHM_PER_SIGMA)
    broad = gaussian_broaden(energy, np.exp(-0.5 * (energy / narrow) ** 2), fwhm)
    np.testing.assert_allclose(
        broad, narrow / wide * np.exp(-0.5 * (energy / wide) ** 2), atol=5e-5
    )


@given(seed=seeds, fwhm=st.floats(0.01, 10.0))
def test_broadening_keeps_a_positive_tensor_positive(seed, fwhm, make_spectrum):
    energy, tensor = make_spectrum(seed)
    square = gaussian_broaden(energy, tensor, fwhm)[:, [[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    assert np.linalg.eigvalsh(square).min() > -1e-10


def test_zero_width_returns_a_copy():
    values = np.arange(3.0)
    copy = gaussian_broaden([0, 1, 2], values, 0.0)
    copy[0] = 9.0
    assert values[0] == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: increasing_energies([0.0]), "at least 2"),
        (lambda: increasing_energies([0.0, 2.0, 2.0]), r"point 2 \(2 eV\) follows 2 eV"),
        (lambda: increasing_energies([0.0, np.inf]), "NaN or infinity"),
        (lambda: clip([0, 1], [0, 1], (1, 0)), "empty"),
        (lambda: clip([0, 1], [0, 1, 2], (0, 1)), "does not fit 2 energies"),
        (lambda: gaussian_broaden([0, 1], [0, 1, 2], 1.0), "does not fit 2 energies"),
        (lambda: gaussian_broaden([0, 1], [0, 1], -1.0), "not a width"),
        (lambda: gaussian_broaden([0, 1], [0, 1], np.nan), "not a width"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
