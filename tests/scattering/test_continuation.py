"""The way down to the real axis, continued from the line above it, against known functions."""

from __future__ import annotations

import numpy as np
import pytest

from vtc_flows.errors import InputError
from vtc_flows.scattering.continuation import continued, with_bottom
from vtc_flows.scattering.mesh import xes_mesh
from vtc_flows.scattering.occupied import occupied_spectrum

EV = 1 / 27.211386
FERMI, LOSS, BOTTOM = -0.4, 0.45 * EV, -0.4 - 28 * EV
#: A core line 3 eV below the bottom, a ligand's level 4 eV above it, bands further up.
POLES = np.array([BOTTOM - 3 * EV, BOTTOM + 4 * EV, FERMI - 6 * EV, FERMI - 2 * EV]) - 1e-5j
WEIGHTS = np.array([100.0, 3.0, 2.0, 1.0])


def emitting(energies, poles=POLES, weights=WEIGHTS):
    return -(weights / (energies[:, None] - poles)).sum(axis=1)[:, None] / np.pi


def mesh_below():
    below = 0.1 * EV * np.arange(340, 0, -1)
    return xes_mesh(np.append(FERMI - below, FERMI), FERMI, LOSS)


def test_values_below_the_line():
    line = mesh_below().energy_ha[:341]
    points = -1j * LOSS * np.array([0.0, 0.3, 0.9, 1.0])
    level = POLES[0].real - BOTTOM - 1j * LOSS
    found = continued(line.real, emitting(line), BOTTOM, points, level)[:, 0]
    expected = emitting(BOTTOM + 1j * LOSS + points)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_spectrum_is_that_of_the_mesh_with_a_bottom():
    mesh = mesh_below()
    upper, function = with_bottom(mesh, emitting(mesh.energy_ha), BOTTOM, POLES[0].real)
    line = mesh.energy_ha[: mesh.n_horizontal].real
    direct = xes_mesh(line[line > BOTTOM - 1e-6], FERMI, LOSS, bottom=True)
    omega = np.append(line, FERMI + 0.1)
    found = occupied_spectrum(upper, function, omega, 4)[:, 0].imag
    expected = occupied_spectrum(direct, emitting(direct.energy_ha), omega, 4)[:, 0].imag
    assert np.abs(found - expected).max() < 1e-3 * expected.max()


def test_too_few_energies_are_refused():
    with pytest.raises(InputError, match="too few"):
        continued(np.linspace(-1, 1, 5), np.ones((5, 1), complex), 0.0, np.array([-0.01j]))
