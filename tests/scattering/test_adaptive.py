"""Interpolation along a line above the real axis, where and as well as the module says."""

import numpy as np
import pytest

from vtc_flows.scattering.adaptive import along_line, lagrange_weights

ENERGY = np.linspace(-1.1, 0.0, 301)  # 0.1 eV
LOSS = 0.45 / 27.2


def function(poles):
    def values(energy):
        z = energy + 1j * LOSS
        return sum(
            residue * np.array([[1.0, 0.5], [0.5, -0.3]]) / (z[:, None, None] - pole)
            for pole, residue in poles
        )

    return values


def solved_by(values, importance=None, spoil=None):
    asked = []

    def solve(points):
        asked.extend(points)
        found = values(ENERGY[points])
        if spoil in points:
            found[points.index(spoil)] = np.nan
        return found

    ones = np.ones(len(ENERGY)) if importance is None else importance
    found, solved = along_line(ENERGY, solve, ones)
    assert sorted(asked) == np.flatnonzero(solved).tolist()
    return found, solved


@pytest.mark.parametrize(
    "poles",
    [
        [(-0.4, 1.0)],
        [(-0.4, 1.0), (-0.403, -0.5), (-0.9, 0.2)],
        [(-0.3 - 0.01 * k, 0.1 + 0.05 * np.sin(k)) for k in range(12)],
        [(0.0, 1.0), (-1.1, 0.3)],
        [(-0.5, 1.0), (-1.2, 1e-3)],
    ],
)
def test_values_are_those_of_solving_everywhere(poles):
    values = function(poles)
    found, solved = solved_by(values)
    expected = values(ENERGY)
    assert np.abs(found - expected).max() < 2e-5 * np.abs(expected).max()
    assert solved.sum() < 250


def test_an_empty_part_is_not_solved():
    _, solved = solved_by(function([(-0.1, 1.0)]))
    assert solved[:150].sum() < 40
    assert solved.sum() < 120


def test_what_matters_little_may_err_more():
    poles = [(-0.2, 1.0), (-0.9, 1.0)]
    importance = np.where(ENERGY < -0.5, 1e-5, 1.0)
    _, solved = solved_by(function(poles), importance)
    _, everywhere = solved_by(function(poles))
    assert solved[:150].sum() < 45 < everywhere[:150].sum()


def test_numbers_that_are_none_show():
    found, _ = solved_by(function([(-0.4, 1.0)]), spoil=160)
    assert np.isnan(found[160]).all()


def test_short_lines_are_solved_everywhere():
    found, solved = along_line(np.array([0.0, 0.1]), lambda k: np.ones((len(k), 1)), np.ones(2))
    assert solved.all()
    np.testing.assert_array_equal(found, np.ones((2, 1)))


def test_lagrange_weights_reproduce_polynomials_off_the_line():
    nodes = np.array([0.1, 0.4 + 0.2j, 1.0, 1.3j])
    weights = lagrange_weights(nodes, 0.7 + 0.1j)
    for power in range(4):
        assert weights @ nodes**power == pytest.approx((0.7 + 0.1j) ** power)
