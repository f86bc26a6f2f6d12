from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vtc_flows.scattering.contraction import (
    PACKED_COLUMNS,
    PACKED_ROWS,
    fine_structure,
    spectrum_function,
)

GENERATOR = np.random.default_rng(6)
PROPAGATOR = GENERATOR.normal(size=(4, 3, 3)) + 1j * GENERATOR.normal(size=(4, 3, 3))
DIPOLE = GENERATOR.normal(size=(4, 2)) + 1j * GENERATOR.normal(size=(4, 2))


def unpacked(tensor):
    matrix = np.empty((len(tensor), 3, 3), dtype=tensor.dtype)
    matrix[:, PACKED_ROWS, PACKED_COLUMNS] = tensor
    matrix[:, PACKED_COLUMNS, PACKED_ROWS] = tensor
    return matrix


def test_agrees_with_the_sum_over_spin_and_projectors():
    # M_j = sum over p1/2, p3/2 of (element) (projector), contracted over spin by hand.
    levi = np.zeros((3, 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        levi[i, j, k], levi[i, k, j] = 1, -1
    orbital = -1j * levi  # (L_a)_ij for Cartesian p states
    pauli = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    spin_orbit = np.einsum("aij,ast->isjt", orbital, pauli).reshape(6, 6) / 3
    one = np.eye(6)
    upper, lower = 2 / 3 * one + spin_orbit, one / 3 - spin_orbit
    np.testing.assert_allclose(upper @ upper, upper, atol=1e-14)
    np.testing.assert_allclose(upper @ lower, 0 * one, atol=1e-14)
    for propagator, (to_p32, to_p12), found in zip(
        PROPAGATOR, DIPOLE, unpacked(fine_structure(PROPAGATOR, DIPOLE)), strict=True
    ):
        # Normalised so that the trace is -(a32^2 + a12^2) Tr G / 3; opposite sign of a12.
        elements = to_p32 / np.sqrt(2) * upper - to_p12 * lower
        full = np.einsum("ij,st->isjt", propagator, np.eye(2)).reshape(6, 6)
        spin_traced = np.einsum("isjs->ij", (elements @ full @ elements).reshape(3, 2, 3, 2)) / 2
        expected = -(spin_traced + spin_traced.T) / 2
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_trace_is_that_of_the_unpolarised_spectrum():
    chi = fine_structure(PROPAGATOR, DIPOLE)
    expected = -(DIPOLE**2).sum(axis=1) * np.trace(PROPAGATOR, axis1=1, axis2=2) / 3
    np.testing.assert_allclose(chi[:, :3].sum(axis=1), expected)


def test_turns_with_the_propagator():
    rotation = Rotation.from_euler("zyx", [0.4, 1.0, -0.3]).as_matrix()
    turned = fine_structure(rotation @ PROPAGATOR @ rotation.T, DIPOLE)
    plain = unpacked(fine_structure(PROPAGATOR, DIPOLE))
    np.testing.assert_allclose(unpacked(turned), rotation @ plain @ rotation.T, atol=1e-12)


def test_background_is_isotropic_and_amplitude_scales_only_the_fine_structure():
    chi = fine_structure(PROPAGATOR, DIPOLE)
    section, norm = np.arange(1, 5) + 2j, np.arange(2.0, 6.0)
    half = spectrum_function(chi, section, norm, amplitude=0.5)
    none = spectrum_function(chi, section, norm, amplitude=0.0)
    np.testing.assert_array_equal(none[:, :3], np.repeat(section[:, None], 3, axis=1))
    assert not none[:, 3:].any()
    np.testing.assert_allclose(half - none, 0.5 * norm[:, None] * chi)


def test_without_spin_orbit_coupling_only_the_propagator_enters():
    dipole = np.array([[np.sqrt(2), -1.0]])
    chi = fine_structure(PROPAGATOR[:1], dipole)
    symmetric = (PROPAGATOR[0] + PROPAGATOR[0].T) / 2
    np.testing.assert_allclose(unpacked(chi)[0], -symmetric, rtol=1e-12)
    assert chi[0, 0] == pytest.approx(-PROPAGATOR[0, 0, 0])
