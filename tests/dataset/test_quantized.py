"""Spectra in few bytes are off by no more than is stated."""

import zlib

import numpy as np
import pytest

from vtc_flows.dataset.quantized import LARGEST_ERROR, packed, unpacked

ENERGY = np.linspace(-30, 5, 351)


def spectrum(seed):
    rng = np.random.default_rng(seed)
    centers, heights = rng.uniform(-25, 0, (8, 1)), rng.normal(size=(8, 6))
    lines = 1 / ((ENERGY - centers) ** 2 + 0.4)
    return lines.T @ heights


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_the_error_is_as_stated(seed, scale):
    values = scale * spectrum(seed)
    data, step = packed(values)
    found = unpacked(data, step, 6)
    assert np.abs(found - values).max() <= LARGEST_ERROR * np.abs(values).max() * (1 + 1e-9)


def test_what_jumps_runs_over_and_back():
    values = np.array([[1.0], [-1.0], [1.0], [-1.0], [0.0]])
    np.testing.assert_allclose(unpacked(*packed(values), 1), values)


def test_zeros_stay_zeros():
    data, step = packed(np.zeros((351, 6)))
    assert not unpacked(data, step, 6).any()


def test_a_spectrum_is_small():
    data, _ = packed(spectrum(0))
    assert len(zlib.compress(data, 9)) < 2500


def test_bytes_of_another_shape_are_refused():
    data, step = packed(spectrum(0))
    with pytest.raises(ValueError, match="reshape"):
        unpacked(data, step, 5)
