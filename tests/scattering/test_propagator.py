from __future__ import annotations

import numpy as np
import pytest
from scipy.special import jv

from vtc_flows.scattering.angular import parity, real_harmonics, state_l
from vtc_flows.scattering.propagator import PairTable, free_block, outgoing_waves

MOMENTUM = 0.7 + 0.2j
VECTOR = np.array([3.1, 1.2, -2.0])


def test_first_waves_are_the_closed_forms():
    distances = np.array([1.5, 4.0])
    rho = MOMENTUM * distances
    waves = outgoing_waves(MOMENTUM, distances, 2)
    np.testing.assert_allclose(waves[:, 0], np.exp(1j * rho) / rho, rtol=1e-14)
    np.testing.assert_allclose(waves[:, 1], np.exp(1j * rho) / rho * (1 + 1j / rho), rtol=1e-14)
    np.testing.assert_allclose(
        waves[:, 2], np.exp(1j * rho) / rho * (1 + 3j / rho - 3 / rho**2), rtol=1e-13
    )


@pytest.mark.parametrize("source", range(9))
def test_outgoing_wave_expands_about_the_other_atom(source):
    # i^l' h_l' Y_L' about r_j equals sum_L i^l j_l Y_L G0[L, L'](r_i - r_j) about r_i.
    lmax = 7
    block = free_block(MOMENTUM, VECTOR, lmax)
    point = np.array([0.3, -0.4, 0.2])
    degree, radius = state_l(lmax), np.linalg.norm(point)
    bessel = np.sqrt(np.pi / (2 * MOMENTUM * radius)) * jv(degree + 0.5, MOMENTUM * radius)
    regular = 1j**degree * bessel * real_harmonics(lmax, point / radius)
    from_source = point + VECTOR
    distance = np.linalg.norm(from_source)
    outgoing = (
        outgoing_waves(MOMENTUM, np.array([distance]), 2)[0, state_l(2)[source]]
        * real_harmonics(2, from_source / distance)[source]
    )
    assert abs(regular @ block[:, source] - outgoing) < 1e-4 * abs(outgoing)


def test_blocks_are_symmetric_and_have_parity():
    block = free_block(MOMENTUM, VECTOR, 3)
    np.testing.assert_allclose(block, block.T, atol=1e-13)
    signs = parity(3)
    np.testing.assert_allclose(
        free_block(MOMENTUM, -VECTOR, 3), signs[:, None] * block * signs, atol=1e-12
    )


def test_pair_table_repeats_nothing_in_a_lattice():
    axis = np.arange(3) * 3.0
    positions = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    table = PairTable.from_positions(positions)
    assert len(table.vectors) == (5**3 - 1) // 2
    assert len(table.distances) == 9  # squares 1 2 3 4 5 6 8 9 12 without 7, 10, 11
    rows, columns = np.nonzero(table.vector_id >= 0)
    rebuilt = table.sign[rows, columns, None] * table.vectors[table.vector_id[rows, columns]]
    np.testing.assert_allclose(rebuilt, positions[rows] - positions[columns], atol=1e-12)


def test_pair_table_makes_the_blocks():
    positions = np.array([[0.0, 0, 0], VECTOR, [0, 4.0, 1.0]])
    table = PairTable.from_positions(positions)
    waves = outgoing_waves(MOMENTUM, table.distances, 4)
    blocks = (table.coefficients(2) @ waves.ravel()).reshape(-1, 9, 9)
    for vector, block in zip(table.vectors, blocks, strict=True):
        np.testing.assert_allclose(block, free_block(MOMENTUM, vector, 2), atol=1e-5)


def test_rounded_coordinates_count_as_equal():
    positions = np.array([[0.0, 0, 0], [3, 0, 0], [6 + 3e-6, 0, 0]])
    assert len(PairTable.from_positions(positions).vectors) == 2
