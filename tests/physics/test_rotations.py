from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtc_flows.errors import InputError
from vtc_flows.physics.rotations import (
    axis_relabellings,
    nearest_relabelling,
    representation,
    rotation_about,
    with_canonical_signs,
)
from vtc_flows.physics.tensors import rotate

seeds = st.integers(0, 2**31)
SCALE = np.array([1.0, 1.0, 1.0, 2**0.5, 2**0.5, 2**0.5])


@given(seed=seeds, sign=st.sampled_from([1.0, -1.0]))
def test_representation_acts_as_the_rotation_of_the_tensor(seed, sign, make_rotation):
    w = sign * make_rotation(seed)
    tensor = np.random.default_rng(seed).normal(size=6)
    np.testing.assert_allclose(
        representation(w) @ (SCALE * tensor), SCALE * rotate(tensor, w), atol=1e-12
    )
    np.testing.assert_allclose(representation(w).T @ representation(w), np.eye(6), atol=1e-12)


@given(seed=seeds)
def test_rotation_vector_fixes_its_axis_and_turns_by_its_length(seed):
    omega = np.random.default_rng(seed).normal(size=3)
    rotation = rotation_about(omega)
    np.testing.assert_allclose(rotation @ omega, omega, atol=1e-12)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    assert np.trace(rotation) == pytest.approx(1 + 2 * np.cos(np.linalg.norm(omega)))


def test_relabellings_are_the_24_proper_ones():
    group = axis_relabellings()
    assert len(np.unique(group.round().reshape(24, 9), axis=0)) == 24
    np.testing.assert_allclose(np.linalg.det(group), 1.0)


@given(seed=seeds, k=st.integers(0, 23))
def test_nearest_relabelling_forgets_how_the_axes_were_named(seed, k, make_rotation):
    frame, near = make_rotation(seed), make_rotation(seed + 1)
    chosen = nearest_relabelling(frame[None], near)
    again = nearest_relabelling((frame @ axis_relabellings()[k])[None], near)
    np.testing.assert_allclose(again, chosen, atol=1e-12)
    assert np.linalg.det(chosen) == pytest.approx(1.0)


@given(seed=seeds, signs=st.tuples(*[st.sampled_from([1.0, -1.0])] * 3))
def test_canonical_signs_forget_the_signs_given(seed, signs, make_rotation):
    frame = make_rotation(seed)
    fixed = with_canonical_signs(frame * np.array(signs))
    np.testing.assert_allclose(fixed, with_canonical_signs(frame), atol=1e-12)
    assert np.linalg.det(fixed) == pytest.approx(1.0)


def test_a_skewed_matrix_is_refused():
    with pytest.raises(InputError, match="not orthonormal"):
        representation([[1, 0, 0], [0.1, 1, 0], [0, 0, 1]])
