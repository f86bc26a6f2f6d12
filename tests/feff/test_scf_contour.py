"""Integrals over occupied states: poles on the real axis are what a Green's function is made of."""

import numpy as np
import pytest

from vtc_flows.errors import ScfNotConvergedError
from vtc_flows.feff.scf_contour import Arc, Balance, FeffContour, Samples, arc
from vtc_flows.feff.units import HARTREE_EV

BOTTOM_HA = -45.0 / HARTREE_EV
WEIGHTS = np.array([[0.01, 0.01], [1.0, 1.0]])


class Levels:
    """
    Levels of two kinds of atoms: energy in eV, kind, l, states with one spin.

    What FEFF calls the Green's function holds the factor -1/pi.
    """

    def __init__(self, levels, width_ev=0.5):
        self._levels = [(energy / HARTREE_EV, *rest) for energy, *rest in levels]
        self._width = width_ev / HARTREE_EV
        self.asked = []

    def __call__(self, energies):
        self.asked += list(energies)
        states = np.zeros((len(energies), 2, 2), complex)
        density = np.zeros((len(energies), 2, 3), complex)
        for energy, kind, degree, number in self._levels:
            pole = -number / np.pi / (energies - energy + 1j * self._width)
            states[:, kind, degree] += pole
            density[:, kind] += pole[:, None] * [1.0, 2.0, 3.0]
        return Samples(energies, states, density)

    def occupied(self, fermi_ev):
        """Return the electrons of each kind and l below a level."""
        found = np.zeros((2, 2))
        for energy, kind, degree, number in self._levels:
            ends = [(end - energy) / self._width for end in (fermi_ev / HARTREE_EV, BOTTOM_HA)]
            found[kind, degree] += 2 * number * (np.arctan(ends[0]) - np.arctan(ends[1])) / np.pi
        return found


#: Semicore 5 eV above the separation, a valence band, a partly filled shell, empty states.
METAL = Levels(
    [
        (-40.0, 1, 0, 1),
        (-18.0, 1, 0, 1),
        (-11.0, 1, 1, 3),
        (-8.0, 0, 1, 5),
        (-8.2, 1, 1, 5),
        (4.0, 1, 0, 9),
    ]
)
INSULATOR = Levels([(-20.0, 1, 0, 1), (-12.0, 1, 1, 3), (-3.0, 1, 0, 5)], width_ev=0.1)


def balance_for(levels, fermi_ev):
    return Balance(float((WEIGHTS * levels.occupied(fermi_ev)).sum()), WEIGHTS)


@pytest.mark.parametrize(("bottom_ev", "n_nodes"), [(-25, 12), (-41, 12), (-54, 14), (-70, 16)])
def test_the_arc_counts_levels_that_are_near_its_ends_too(bottom_ev, n_nodes):
    nodes, weights = arc(bottom_ev / HARTREE_EV, -10 / HARTREE_EV + 0.05j / HARTREE_EV)
    assert len(nodes) == n_nodes
    for level_ev, inside in (
        *((bottom_ev - 15, 0), (bottom_ev - 5, 0), (bottom_ev + 5, 1), (bottom_ev / 2 - 5, 1)),
        *((-11, 1), (-10.1, 1), (-9.9, 0), (-9, 0), (0, 0)),
    ):
        count = -(weights @ (1 / (nodes - level_ev / HARTREE_EV))).imag / np.pi
        cap = np.arctan(0.05 / abs(level_ev + 10)) / np.pi  # what lies below the end of the arc
        assert count == pytest.approx(inside, abs=cap + 2e-4)


@pytest.mark.parametrize("guess_ev", [-7.9, -8.3, -5.0, -14.0, 3.0])
def test_the_fermi_level_is_found_from_any_guess(guess_ev):
    found = Arc(METAL, BOTTOM_HA, balance_for(METAL, -7.9)).electrons(guess_ev / HARTREE_EV)
    assert found.fermi_ha * HARTREE_EV == pytest.approx(-7.9, abs=0.02)


def test_at_the_fixed_point_nothing_but_the_arc_counts():
    balance = balance_for(METAL, -7.9)
    level = Arc(METAL, BOTTOM_HA, balance).electrons(-7.9 / HARTREE_EV).fermi_ha
    METAL.asked.clear()
    found = Arc(METAL, BOTTOM_HA, balance).electrons(level)
    assert len(METAL.asked) == 16
    assert found.fermi_ha * HARTREE_EV == pytest.approx(-7.9, abs=3e-3)  # of the cap
    np.testing.assert_allclose(found.occupations, METAL.occupied(-7.9), atol=1e-2)
    of_kind = found.occupations.sum(axis=1)
    np.testing.assert_allclose(found.density, of_kind[:, None] * [1.0, 2.0, 3.0], rtol=1e-9)
    assert balance.excess(found.occupations) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("guess_ev", [-9.0, -6.0, -12.0, 1.0])
def test_a_fermi_level_in_a_gap_is_found(guess_ev):
    balance = balance_for(INSULATOR, -8.0)
    arc_to = Arc(INSULATOR, BOTTOM_HA, balance)
    found = arc_to.electrons(arc_to.electrons(guess_ev / HARTREE_EV).fermi_ha)  # as iterations do
    assert -11.0 < found.fermi_ha * HARTREE_EV < -4.0
    np.testing.assert_allclose(found.occupations, INSULATOR.occupied(-8.0), atol=5e-3)


@pytest.mark.parametrize("first", [True, False])
def test_the_contour_of_feff_errs_by_little(first):
    balance = balance_for(METAL, -7.9)
    contour = FeffContour(METAL, BOTTOM_HA, balance, first=first)
    found = contour.electrons(-8.1 / HARTREE_EV)
    assert found.fermi_ha * HARTREE_EV == pytest.approx(-7.9, abs=0.05)
    np.testing.assert_allclose(found.occupations, METAL.occupied(-7.9), atol=0.05)
    assert balance.excess(found.occupations) == pytest.approx(0.0, abs=1e-6)


def test_the_contour_of_feff_starts_as_its_source_says():
    METAL.asked.clear()
    FeffContour(METAL, BOTTOM_HA, balance_for(METAL, -7.9)).electrons(-8.0 / HARTREE_EV)
    asked = np.array(METAL.asked) * HARTREE_EV
    up, down = asked[:9], asked[9:][np.isclose(asked[9:].real, -8.0)][-16:]
    np.testing.assert_allclose(up, -45.0 + 0.05j * np.arange(1, 10) ** 2)
    np.testing.assert_allclose(down.imag, 0.05 * np.arange(17, 1, -1) ** 2 / 4)


def test_a_path_without_an_end_is_given_up():
    nothing = Levels([])
    with pytest.raises(ScfNotConvergedError, match="does not end"):
        FeffContour(nothing, BOTTOM_HA, Balance(1.0, WEIGHTS)).electrons(-8.0 / HARTREE_EV)


def test_momenta_that_are_not_counted_have_no_electrons():
    weights = WEIGHTS * [1.0, 0.0]
    balance = Balance(float((weights * METAL.occupied(-7.9)).sum()), weights)
    found = Arc(METAL, BOTTOM_HA, balance).electrons(-15.0 / HARTREE_EV)
    assert not found.occupations[:, 1].any()
