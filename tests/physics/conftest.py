"""Factories of random but reproducible input; session scope, so that hypothesis may use them."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import settings

# no clock decides a test, and a run can be repeated exactly
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def make_rotation():
    """Return seed -> a proper rotation, evenly distributed."""

    def make(seed):
        rotation, triangle = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
        rotation = rotation * np.sign(np.diag(triangle))
        return rotation * np.sign(np.linalg.det(rotation))

    return make


@pytest.fixture(scope="session")
def make_spectrum():
    """Return seed -> (energy_ev, tensor): an uneven grid and a positive tensor with peaks."""

    def make(seed, n_energies=90):
        rng = np.random.default_rng(seed)
        energy = np.sort(rng.uniform(-30.0, 5.0, n_energies - 2))
        energy = np.concatenate(([-31.0], energy, [6.0]))
        tensor = np.zeros((n_energies, 6))
        for _ in range(5):
            vector = rng.normal(size=3)
            peak = np.exp(-(((energy - rng.uniform(-25, 0)) / rng.uniform(1, 4)) ** 2))
            square = np.outer(vector, vector) + 0.3 * np.eye(3)
            tensor += peak[:, None] * square[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        return energy, tensor

    return make


@pytest.fixture(scope="session")
def cubic_group():
    """Return the 48 operations of the cube."""
    return np.array(
        [
            np.eye(3)[:, list(order)] * signs
            for order in permutations(range(3))
            for signs in product((1.0, -1.0), repeat=3)
        ]
    )


@pytest.fixture(scope="session")
def octahedron():
    """Return six neighbours at 2 Angstrom."""
    return 2.0 * np.vstack((np.eye(3), -np.eye(3)))


@pytest.fixture(scope="session")
def brute_frames():
    """Return 30,000 random frames: one every 4 degrees among those not equal up to axis names."""
    quaternions = np.random.default_rng(0).normal(size=(30_000, 4))
    w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)
