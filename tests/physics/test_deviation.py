from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtc_flows.errors import InputError
from vtc_flows.physics.deviation import (
    anisotropic_agreement,
    area_ratio,
    largest_deviations,
    on_common_grid,
    polarized,
    relative_l2,
)
from vtc_flows.physics.tensors import POLARIZATIONS, from_polarizations, rotate

SEEDS = st.integers(0, 10_000)


@pytest.fixture
def pair(make_spectrum):
    """Two different spectra on one uneven grid."""
    energy, a = make_spectrum(1)
    return energy, a, a + 0.1 * make_spectrum(2)[1][::-1]


def test_polarizations_make_the_tensor_again(make_spectrum):
    _, tensor = make_spectrum(0)
    columns = dict(zip(POLARIZATIONS, polarized(tensor).T, strict=True))
    assert np.allclose(from_polarizations(columns), tensor, atol=1e-14)


@given(SEEDS)
def test_spectrum_agrees_with_itself(make_spectrum, seed):
    energy, tensor = make_spectrum(seed)
    assert not largest_deviations(tensor, tensor).any()
    assert not relative_l2(energy, tensor, tensor).any()
    deviation, correlation = anisotropic_agreement(energy, tensor, tensor)
    assert (deviation, correlation) == (0.0, pytest.approx(1.0))
    assert area_ratio(energy, tensor, tensor) == 1.0


@given(SEEDS, st.floats(0.2, 5.0))
def test_factor_shows_in_all_figures(make_spectrum, seed, factor):
    energy, tensor = make_spectrum(seed)
    off = abs(factor - 1.0)
    assert largest_deviations(tensor, factor * tensor) == pytest.approx(off, abs=1e-12)
    assert relative_l2(energy, tensor, factor * tensor) == pytest.approx(off, abs=1e-12)
    assert anisotropic_agreement(energy, tensor, factor * tensor) == pytest.approx(
        (off, 1.0), abs=1e-12
    )
    assert area_ratio(energy, tensor, factor * tensor) == pytest.approx(factor)


def test_deviation_is_symmetric_but_for_what_it_is_relative_to(pair):
    energy, a, b = pair
    largest_a, largest_b = polarized(a).max(axis=0), polarized(b).max(axis=0)
    assert np.allclose(largest_deviations(a, b) * largest_a, largest_deviations(b, a) * largest_b)
    there, back = anisotropic_agreement(energy, a, b), anisotropic_agreement(energy, b, a)
    assert there.correlation == pytest.approx(back.correlation)
    assert area_ratio(energy, a, b) == pytest.approx(1.0 / area_ratio(energy, b, a))


@given(SEEDS)
def test_frame_does_not_matter_to_invariants(make_rotation, make_spectrum, seed):
    energy, a = make_spectrum(1)
    b = make_spectrum(2)[1][::-1] + a
    rotation = make_rotation(seed)
    turned_a, turned_b = rotate(a, rotation), rotate(b, rotation)
    assert anisotropic_agreement(energy, turned_a, turned_b) == pytest.approx(
        anisotropic_agreement(energy, a, b)
    )
    assert area_ratio(energy, turned_a, turned_b) == pytest.approx(area_ratio(energy, a, b))


def test_turning_one_of_them_shows_in_the_anisotropic_part_alone(make_spectrum):
    energy, tensor = make_spectrum(3)
    turned = rotate(tensor, [[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    deviation, correlation = anisotropic_agreement(energy, tensor, turned)
    assert deviation > 0.1
    assert correlation < 0.99
    # of equal sizes, the two figures say the same: |a - b|^2 = 2 |a|^2 (1 - cos)
    assert deviation**2 == pytest.approx(2.0 * (1.0 - correlation))
    assert area_ratio(energy, tensor, turned) == pytest.approx(1.0)


def test_known_answer():
    energy = [0.0, 1.0, 3.0]
    a = np.array([[1.0, 2.0, 3.0, 0, 0, 0]] * 3)
    b = a.copy()
    b[1, 0] = 1.5
    assert largest_deviations(a, b) == pytest.approx([0.5, 0, 0, 0.25 / 1.5, 0.25 / 2, 0])
    # weights 0.5, 1.5, 1 eV
    assert relative_l2(energy, a, b)[0] == pytest.approx(np.sqrt(1.5 * 0.25 / 3.0))
    assert area_ratio(energy, a, b) == pytest.approx(1.0 + 1.5 * 0.5 / 3.0 / 6.0)


class TestCommonGrid:
    def test_equal_grids_are_left_as_they_are(self, pair):
        energy, a, b = pair
        grid = on_common_grid(energy, a, energy + 2e-6, b)
        assert not grid.interpolated
        assert np.array_equal(grid.a, a)
        assert np.array_equal(grid.b, b)

    def test_denser_grid_of_the_same_lines_is_no_deviation(self, make_spectrum):
        energy, tensor = make_spectrum(4)
        dense = np.unique(np.concatenate((energy, np.linspace(energy[3], energy[-5], 200))))
        lines = np.stack([np.interp(dense, energy, column) for column in tensor.T], axis=-1)
        grid = on_common_grid(energy, tensor, dense, lines)
        assert grid.interpolated
        assert largest_deviations(grid.a, grid.b).max() < 1e-12
        assert area_ratio(grid.energy_ev, grid.a, grid.b) == pytest.approx(1.0)

    def test_only_what_both_cover_counts(self, make_spectrum):
        energy, tensor = make_spectrum(5)
        inside = slice(10, -10)
        grid = on_common_grid(energy, tensor, energy[inside], tensor[inside])
        assert (grid.energy_ev[0], grid.energy_ev[-1]) == (energy[10], energy[-11])
        assert not largest_deviations(grid.a, grid.b).any()

    def test_order_does_not_matter(self, make_spectrum):
        (energy_a, a), (energy_b, b) = make_spectrum(6), make_spectrum(7, 60)
        there = on_common_grid(energy_a, a, energy_b, b)
        back = on_common_grid(energy_b, b, energy_a, a)
        assert np.array_equal(there.energy_ev, back.energy_ev)
        assert np.array_equal(there.a, back.b)

    def test_grids_apart_are_refused(self, make_spectrum):
        energy, tensor = make_spectrum(8)
        with pytest.raises(InputError, match="no range in common"):
            on_common_grid(energy, tensor, energy + 100.0, tensor)

    def test_lengths_must_match(self, make_spectrum):
        energy, tensor = make_spectrum(8)
        with pytest.raises(InputError, match="B has"):
            on_common_grid(energy, tensor, energy[:-1], tensor)


class TestNought:
    def test_isotropic_site_has_nothing_to_be_relative_to(self, make_spectrum):
        energy, tensor = make_spectrum(9)
        round_one = np.zeros_like(tensor)
        round_one[:, :3] = tensor[:, :3].mean(axis=1, keepdims=True)
        noisy = round_one * (1.0 + 1e-9 * np.arange(6))
        assert anisotropic_agreement(energy, noisy, tensor) == (None, None)
        deviation, correlation = anisotropic_agreement(energy, tensor, noisy)
        assert deviation == pytest.approx(1.0, abs=1e-6)
        assert correlation is None

    def test_darkness_is_refused(self, make_spectrum):
        energy, tensor = make_spectrum(9)
        dark = np.zeros_like(tensor)
        with pytest.raises(InputError, match="polarized along x"):
            largest_deviations(dark, tensor)
        with pytest.raises(InputError, match="integrates to 0"):
            area_ratio(energy, dark, tensor)
