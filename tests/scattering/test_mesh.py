from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtc_flows.errors import InputError
from vtc_flows.scattering.mesh import xes_mesh

EV = 1 / 27.211386
GRID = -0.45 + 0.1 * EV * np.arange(-30, 11)


@given(loss_ev=st.floats(0.02, 5.0))
def test_loss_is_half_way_between_two_vertical_points(loss_ev):
    mesh = xes_mesh(GRID, GRID[30], loss_ev * EV)
    heights = mesh.energy_ha[mesh.n_horizontal :].imag / EV
    np.testing.assert_allclose(heights[:2], [0.005, 0.01])
    growing = heights[2:]
    np.testing.assert_allclose(growing[1:] / growing[:-1], np.exp(0.4))
    assert np.abs((growing[1:] + growing[:-1]) / 2 - loss_ev).min() < 1e-9
    assert np.all(np.diff(heights) > 0)
    assert heights[-1] < 62


def test_points_that_matter_end_at_the_fermi_level_and_the_loss():
    mesh = xes_mesh(GRID, GRID[30], 0.45 * EV)
    assert mesh.fermi_index == 30
    assert mesh.loss_ha == pytest.approx(0.45 * EV)
    energies = mesh.energy_ha[mesh.matters]
    assert energies.real.max() == pytest.approx(GRID[30])
    assert energies.imag.max() == pytest.approx(0.45 * EV)
    assert mesh.matters[:31].all()
    assert not mesh.matters[31 : mesh.n_horizontal].any()


@pytest.mark.parametrize(
    ("grid", "fermi", "loss"),
    [
        (GRID[::-1], GRID[30], 0.01),
        (GRID, GRID[30] + 0.001, 0.01),
        (GRID, GRID[30], 0.0),
        (np.zeros(0), 0.0, 0.01),
    ],
)
def test_refuses_grids_without_a_fermi_point(grid, fermi, loss):
    with pytest.raises(InputError):
        xes_mesh(grid, fermi, loss)
