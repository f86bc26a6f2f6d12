"""The contour sum against the convolution integral that it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from vtc_flows.scattering.mesh import xes_mesh
from vtc_flows.scattering.occupied import contour_weights, occupied_spectrum

EV = 1 / 27.211386
FERMI, LOSS = -0.4, 0.5 * EV
POLES = np.array([-0.45 - 0.02j, -0.6 - 0.05j, -0.38 - 0.03j])
RESIDUES = np.array([1.0, 0.6, -0.8 + 0.3j])


def analytic(energy):
    return (RESIDUES / (np.asarray(energy)[..., None] - POLES) ** 2).sum(axis=-1)


def mesh_with(step_ev):
    """Even steps over 40 eV, then growing ones far down, where the Lorentzian's tail ends."""
    step = step_ev * EV
    n_even = round(40 / step_ev)
    far = (np.exp(0.03 * np.arange(400, 0, -1)) - 1) * step / 0.03
    even = step * np.arange(-n_even, 30)
    return xes_mesh(FERMI + np.concatenate([even[0] - far, even]), FERMI, LOSS)


def convolved(omega):
    """Integral of f times the Lorentzian over the occupied energies."""

    def integrand(energy):
        return analytic(energy) * LOSS / np.pi / ((energy - omega) ** 2 + LOSS**2)

    points = [p for p in (omega, FERMI - 0.05, *POLES.real) if -3 < p < FERMI]
    near = quad(integrand, -3, FERMI, points=points, limit=500, complex_func=True)[0]
    far = quad(integrand, -100, -3, complex_func=True)[0]
    return near + far


@pytest.mark.parametrize(("refine", "tolerance"), [(1, 3e-3), (4, 2e-4), (8, 7e-5)])
def test_contour_sum_is_the_convolution(refine, tolerance):
    mesh = mesh_with(0.1)
    on_mesh = mesh.energy_ha[: mesh.n_horizontal].real[-150::12]
    omega = np.concatenate([on_mesh, FERMI - np.array([0.0123, 0.0707, 0.2311])])
    expected = np.array([convolved(value) for value in omega])
    function = analytic(mesh.energy_ha)[:, None]
    found = occupied_spectrum(mesh, function, omega, refine)[:, 0]
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()


def test_a_constant_gives_the_cut_lorentzian():
    mesh = mesh_with(0.2)
    omega = FERMI + np.array([-0.3, -0.02, 0.0, 0.05])
    found = occupied_spectrum(mesh, np.ones((len(mesh.energy_ha), 1)), omega)[:, 0]
    expected = 0.5 - np.arctan((omega - FERMI) / LOSS) / np.pi
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_functions_are_treated_alike_and_linearly():
    mesh = mesh_with(0.5)
    one, other = analytic(mesh.energy_ha), analytic(mesh.energy_ha + 0.01)
    omega = mesh.energy_ha[: mesh.n_horizontal].real[-60:]
    both = occupied_spectrum(mesh, np.stack([one, 2 * one - 3j * other], axis=1), omega, 2)
    alone = occupied_spectrum(mesh, other[:, None], omega, 2)[:, 0]
    np.testing.assert_allclose(both[:, 1], 2 * both[:, 0] - 3j * alone, atol=1e-10)


def test_above_the_fermi_level_the_mesh_is_not_needed():
    mesh = mesh_with(0.2)
    function = analytic(mesh.energy_ha)[:, None]
    spoiled = np.where(mesh.matters[:, None], function, np.nan)
    omega = FERMI + np.linspace(-0.1, 0.3, 20)
    np.testing.assert_array_equal(
        occupied_spectrum(mesh, spoiled, omega, 4), occupied_spectrum(mesh, function, omega, 4)
    )


def test_weights_of_a_pole_on_the_contour_are_finite():
    contour = FERMI + np.concatenate(
        [1j * LOSS * np.array([0.1, 0.5]), 1j * LOSS - np.array([0.0, 0.1])]
    )
    weights, start = contour_weights(contour, np.array([FERMI, FERMI - 0.1]), FERMI, LOSS)
    assert np.isfinite(weights).all()
    assert np.isfinite(start).all()


BOTTOM = -0.75


def mesh_from_bottom(step_ev):
    step = step_ev * EV
    below = np.arange(round((FERMI - BOTTOM) / step), 0, -1)
    return xes_mesh(np.append(FERMI - step * below, FERMI), FERMI, LOSS, bottom=True)


@pytest.mark.parametrize(("refine", "tolerance"), [(1, 3e-3), (4, 2e-4), (8, 7e-5)])
def test_with_a_bottom_only_the_states_above_it_emit(refine, tolerance):
    mesh = mesh_from_bottom(0.1)
    bottom = mesh.bottom_ha
    omega = np.concatenate([np.linspace(bottom - 0.3, FERMI + 0.2, 41), [bottom, bottom + 1e-6]])
    expected = np.array(
        [
            quad(
                lambda energy, at: analytic(energy) * LOSS / np.pi / ((energy - at) ** 2 + LOSS**2),
                bottom,
                FERMI,
                args=(value,),
                points=[p for p in (value, *POLES.real) if bottom < p < FERMI],
                limit=500,
                complex_func=True,
            )[0]
            for value in omega
        ]
    )
    found = occupied_spectrum(mesh, analytic(mesh.energy_ha)[:, None], omega, refine)[:, 0]
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()


def test_two_windows_of_states_add_up():
    whole, upper = mesh_from_bottom(0.05), mesh_from_bottom(0.05)
    middle = whole.n_horizontal // 2
    energies = whole.energy_ha[: whole.n_horizontal].real
    upper = xes_mesh(energies[middle:], FERMI, LOSS, bottom=True)
    lower = xes_mesh(energies[: middle + 1], energies[middle], LOSS, bottom=True)
    omega = np.linspace(BOTTOM - 0.1, FERMI + 0.1, 30)
    all_states, above, below = (
        occupied_spectrum(mesh, analytic(mesh.energy_ha)[:, None], omega, 8)
        for mesh in (whole, upper, lower)
    )
    np.testing.assert_allclose(above + below, all_states, atol=1e-4 * np.abs(all_states).max())


def test_a_line_below_the_bottom_leaves_nothing_behind():
    mesh = mesh_from_bottom(0.1)
    line = 1e3 / (mesh.energy_ha - (BOTTOM - 3 * EV - 1e-6j))
    spectrum = occupied_spectrum(mesh, -line[:, None] / np.pi, np.linspace(BOTTOM, FERMI, 50), 4)
    flank = 1e3 * LOSS / np.pi / (3 * EV) ** 2  # of the line, at the bottom
    assert np.abs(spectrum.imag).max() < 2e-3 * flank
