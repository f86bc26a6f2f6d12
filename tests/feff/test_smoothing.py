"""What FEFF leaves unsmooth, on functions that are known."""

from __future__ import annotations

import numpy as np
import pytest

from vtc_flows.feff.smoothing import bridged_phases, ghost_levels
from vtc_flows.feff.units import HARTREE_EV
from vtc_flows.scattering.multiple_scattering import scattering_amplitudes

LINE = np.arange(-30.0, 0.05, 0.1) / HARTREE_EV
LOSS = 0.45 / HARTREE_EV
INTERSTITIAL = -9.0 / HARTREE_EV


def phases_of(l_max=3):
    """Amplitudes t_l = c_l(E) p^(2l+1) with slowly varying c_l."""
    momenta = np.sqrt(2 * (LINE + 1j * LOSS - INTERSTITIAL))
    columns = [
        np.log1p(2j * (0.3 + 0.1 * LINE) * 0.2**degree * momenta ** (2 * degree + 1)) / 2j
        for degree in range(l_max + 1)
    ]
    return momenta, np.stack(columns, axis=1)[:, None, :]


def test_phases_set_to_zero_are_filled_in():
    momenta, whole = phases_of()
    holed = whole.copy()
    near = np.abs(LINE - INTERSTITIAL) < 1.2 / HARTREE_EV
    holed[near, 0, 3] = 0
    filled, count = bridged_phases(LINE, momenta, holed)
    assert count == near.sum() > 20
    wanted, found = scattering_amplitudes(whole), scattering_amplitudes(filled)
    scale = np.abs(momenta[near]) ** 7
    assert (np.abs(found - wanted)[near, 0, 3] < 1e-4 * scale).all()
    np.testing.assert_array_equal(filled[~near], whole[~near])


def test_a_potential_that_does_not_scatter_stays_as_it_is():
    momenta, whole = phases_of()
    whole[:, 0, 3] = 0
    filled, count = bridged_phases(LINE, momenta, whole)
    assert count == 0
    np.testing.assert_array_equal(filled, whole)


def test_nothing_is_invented_at_the_ends():
    momenta, whole = phases_of()
    whole[:15, 0, 2] = 0
    filled, count = bridged_phases(LINE, momenta, whole)
    assert count == 0
    assert (filled[:15, 0, 2] == 0).all()


def section_with(ghosts, others=()):
    z = LINE + 1j * LOSS
    smooth = (0.2 - 4j * (1 + 3 * LINE)) * 1j
    poles = sum((r / (z - e / HARTREE_EV) for e, r in (*ghosts, *others)), start=0 * z)
    normalization = 1 + sum(
        (20 / ((LINE - e / HARTREE_EV) ** 2 + LOSS**2) * LOSS**2 for e, _ in ghosts),
        start=np.zeros(len(LINE)),
    )
    return z, smooth + poles, normalization


@pytest.mark.parametrize("places", [(-16.6,), (-18.3, -17.3), (-25.4, -23.7)])
def test_poles_of_negative_weight_are_found(places):
    residue = 0.004 / HARTREE_EV
    z, section, normalization = section_with([(place, residue) for place in places])
    found = ghost_levels(z, section, normalization)
    assert [at * HARTREE_EV for at, _ in found] == pytest.approx(places, abs=0.02)
    assert [r.real for _, r in found] == pytest.approx([residue] * len(places), rel=0.02)


def test_levels_that_emit_are_left_alone():
    """A pole of positive weight is a level, whatever the normalization does there."""
    z, section, normalization = section_with([(-16.6, -0.02 / HARTREE_EV)])
    assert ghost_levels(z, section, normalization) == []


def test_a_smooth_section_has_none():
    z, section, _ = section_with([])
    assert ghost_levels(z, section, np.linspace(1, 2, len(z))) == []
