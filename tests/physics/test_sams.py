from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtc_flows.errors import InputError
from vtc_flows.physics import tensors
from vtc_flows.physics.rotations import axis_relabellings, rotation_about
from vtc_flows.physics.sams import (
    frame_free_anisotropy,
    gram,
    gram_rotated,
    maximum_sams,
    mean_sams,
    sam,
    sams,
)
from vtc_flows.physics.windows import clip, gaussian_broaden

seeds = st.integers(0, 2**31)
WINDOW = (-29.3, 4.7)


def direct_sam(energy, tensor, frame, window, fwhm=0.0):
    """Eq 1 as it stands: spectra along the axes, then the two integrals."""
    inside, cut = clip(energy, gaussian_broaden(energy, tensor, fwhm), window)
    mu = [tensors.along(cut, axis) for axis in frame.T]
    norm = np.trapezoid(tensors.isotropic(cut), inside)
    return np.array([[np.sqrt(np.trapezoid((a - b) ** 2, inside)) / norm for b in mu] for a in mu])


def uniaxial(axis, strength=3.0, length_ev=4.0):
    """Gram of a spectrum that is flat in energy and emitted along one axis only."""
    axis = np.asarray(axis) / np.linalg.norm(axis)
    tensor = tensors.from_matrix(strength * np.outer(axis, axis))
    return gram([0.0, length_ev], np.stack([tensor, tensor]), (0.0, length_ev))


@given(seed=seeds, fwhm=st.sampled_from([0.0, 0.7, 2.5]))
def test_gram_form_is_the_direct_integral(seed, fwhm, make_spectrum, make_rotation):
    energy, tensor = make_spectrum(seed)
    frame = make_rotation(seed)
    one = gram(energy, tensor, WINDOW, fwhm)
    expected = direct_sam(energy, tensor, frame, WINDOW, fwhm)
    np.testing.assert_allclose(sam(one, frame), expected, atol=1e-12)
    assert sams(one, frame) == pytest.approx(expected.sum() / 2, abs=1e-12)
    assert (one.window_ev, one.fwhm_ev) == (WINDOW, fwhm)


def test_emission_along_z_alone_has_a_known_sams():
    # SAM_13 = sqrt(9 * 4) / (1 * 4), in eV^-1/2
    one = uniaxial([0, 0, 1])
    expected = [[0, 0, 1.5], [0, 0, 1.5], [1.5, 1.5, 0]]
    np.testing.assert_allclose(sam(one, np.eye(3)), expected, atol=1e-14)
    assert sams(one, np.eye(3)) == pytest.approx(3.0)


@given(seed=seeds)
def test_an_isotropic_spectrum_has_none_in_any_frame(seed, make_spectrum, make_rotation):
    energy, tensor = make_spectrum(seed)
    iso = tensors.isotropic(tensor)[:, None] * np.array([1.0, 1, 1, 0, 0, 0])
    one = gram(energy, iso, WINDOW)
    assert sams(one, make_rotation(seed)) == pytest.approx(0.0, abs=1e-14)
    value, frame = maximum_sams([one])
    assert value == pytest.approx(0.0, abs=1e-14)
    np.testing.assert_allclose(frame.T @ frame, np.eye(3), atol=1e-12)


def test_the_crystal_sum_over_a_cubic_group_has_none(make_spectrum, cubic_group):
    energy, tensor = make_spectrum(11)
    one = gram(energy, tensors.crystal_sum(tensor, cubic_group), WINDOW)
    assert sams(one, rotation_about([0.4, -0.3, 0.9])) == pytest.approx(0.0, abs=1e-14)


@given(seed=seeds, k=st.integers(0, 23), signs=st.tuples(*[st.sampled_from([1.0, -1.0])] * 3))
def test_order_and_signs_of_the_axes_do_not_matter(seed, k, signs, make_spectrum, make_rotation):
    one = gram(*make_spectrum(seed), WINDOW)
    frame = make_rotation(seed)
    renamed = frame @ axis_relabellings()[k] * np.array(signs)
    assert sams(one, renamed) == pytest.approx(sams(one, frame), abs=1e-13)


@given(seed=seeds, sign=st.sampled_from([1.0, -1.0]))
def test_rotating_the_gram_is_rotating_the_spectrum(seed, sign, make_spectrum, make_rotation):
    energy, tensor = make_spectrum(seed)
    w, frame = sign * make_rotation(seed), make_rotation(seed + 1)
    carried = gram_rotated(gram(energy, tensor, WINDOW), w)
    again = gram(energy, tensors.rotate(tensor, w), WINDOW)
    np.testing.assert_allclose(carried.matrix, again.matrix, atol=1e-12)
    assert carried.norm == pytest.approx(again.norm)
    # and input and frame turned together change nothing
    assert sams(carried, w @ frame) == pytest.approx(
        sams(gram(energy, tensor, WINDOW), frame), abs=1e-12
    )


@given(seed=seeds, factor=st.floats(1e-6, 1e6))
def test_the_intensity_unit_cancels(seed, factor, make_spectrum, make_rotation):
    energy, tensor = make_spectrum(seed)
    frame = make_rotation(seed)
    assert sams(gram(energy, factor * tensor, WINDOW), frame) == pytest.approx(
        sams(gram(energy, tensor, WINDOW), frame), rel=1e-9
    )


def test_energies_in_another_unit_scale_as_the_inverse_square_root(make_spectrum):
    energy, tensor = make_spectrum(4)
    stretched = gram(4 * energy, tensor, (4 * WINDOW[0], 4 * WINDOW[1]))
    assert sams(stretched, np.eye(3)) == pytest.approx(
        sams(gram(energy, tensor, WINDOW), np.eye(3)) / 2
    )


def test_splitting_a_grid_step_only_refines_the_quadrature(make_spectrum):
    energy = np.linspace(-30, 5, 701)
    _, coarse = make_spectrum(5)
    tensor = np.stack(
        [np.interp(energy, np.linspace(-30, 5, len(coarse)), c) for c in coarse.T], axis=1
    )
    keep = np.random.default_rng(0).random(701) < 0.8
    keep[[0, -1]] = True
    assert sams(gram(energy[keep], tensor[keep]), np.eye(3)) == pytest.approx(
        sams(gram(energy, tensor), np.eye(3)), rel=5e-3
    )


@given(seed=seeds)
def test_the_input_is_left_alone(seed, make_spectrum):
    energy, tensor = make_spectrum(seed)
    energy.setflags(write=False)
    tensor.setflags(write=False)
    before = tensor.copy()
    maximum_sams([gram(energy, tensor, WINDOW, 1.0)])
    np.testing.assert_array_equal(tensor, before)


def test_sam_takes_many_frames_at_once(make_spectrum, make_rotation):
    one = gram(*make_spectrum(6), WINDOW)
    frames = np.array([make_rotation(k) for k in range(4)])
    np.testing.assert_allclose(sam(one, frames), [sam(one, f) for f in frames], atol=1e-14)


def test_the_mean_is_over_sites(make_spectrum, make_rotation):
    sites = [gram(*make_spectrum(k), WINDOW) for k in range(3)]
    frame = make_rotation(1)
    expected = np.mean([sams(one, frame) for one in sites])
    assert mean_sams(sites, frame) == pytest.approx(expected)
    assert mean_sams(sites[::-1] * 2, frame) == pytest.approx(expected)


@pytest.mark.parametrize("axis", [(0, 0, 1), (1, 1, 0), (1, -2, 3), (1, 1, 1)])
def test_the_best_frame_of_a_single_axis_holds_that_axis(axis):
    value, frame = maximum_sams([uniaxial(axis)])
    assert value == pytest.approx(3.0, abs=1e-12)
    cosines = np.abs(np.asarray(axis) / np.linalg.norm(axis) @ frame)
    assert cosines.max() == pytest.approx(1.0, abs=1e-7)


def test_a_free_angle_is_spent_on_being_near_the_frame_asked_for(make_rotation):
    near = rotation_about([0.0, 0.0, 0.3])
    _, frame = maximum_sams([uniaxial([0, 0, 1])], near)
    np.testing.assert_allclose(frame, near, atol=1e-6)


@settings(max_examples=30)
@given(seed=seeds, n_sites=st.integers(1, 4))
def test_no_frame_of_a_dense_set_beats_the_maximum(seed, n_sites, make_spectrum, brute_frames):
    sites = [gram(*make_spectrum(seed + k), WINDOW) for k in range(n_sites)]
    value, frame = maximum_sams(sites)
    assert value == pytest.approx(mean_sams(sites, frame), abs=1e-14)
    brute = np.mean([sam(one, brute_frames).sum(axis=(1, 2)) / 2 for one in sites], axis=0)
    assert brute.max() <= value + 1e-12
    assert brute.max() > 0.98 * value  # the set is dense enough for the comparison to mean much


@settings(max_examples=30)
@given(seed=seeds)
def test_the_maximum_turns_along_with_the_input(seed, make_spectrum, make_rotation):
    site = gram(*make_spectrum(seed), WINDOW)
    w, near = make_rotation(seed), make_rotation(seed + 1)
    value, frame = maximum_sams([site], near)
    turned_value, turned_frame = maximum_sams([gram_rotated(site, w)], w @ near)
    assert turned_value == pytest.approx(value, rel=1e-10)
    assert mean_sams([site], w.T @ turned_frame) == pytest.approx(value, rel=1e-10)
    assert np.linalg.det(frame) == pytest.approx(1.0)


@given(seed=seeds, repeats=st.integers(2, 5))
def test_repeated_and_reordered_sites_have_the_same_maximum(seed, repeats, make_spectrum):
    sites = [gram(*make_spectrum(seed + k), WINDOW) for k in range(2)]
    value, frame = maximum_sams(sites)
    again, frame_again = maximum_sams(sites[::-1] * repeats)
    assert again == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(frame_again, frame, atol=1e-5)


def test_the_same_call_gives_the_same_bits(make_spectrum):
    sites = [gram(*make_spectrum(k), WINDOW) for k in range(3)]
    one, two = maximum_sams(sites), maximum_sams(sites)
    assert one[0] == two[0]
    np.testing.assert_array_equal(one[1], two[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gram([0, 1], np.zeros((2, 6)), (0, 1)), "integrates to 0"),
        (lambda: gram([0, 1], -np.ones((2, 6)), (0, 1)), "positive intensity"),
        (lambda: gram([0, 1], np.ones((2, 3)), (0, 1)), r"tensor has shape \(2, 3\)"),
        (lambda: gram([0, 1], np.ones((3, 6)), (0, 1)), "does not fit 2 energies"),
        (lambda: gram([1, 0], np.ones((2, 6)), (0, 1)), "increase strictly"),
        (lambda: gram([0, 1], np.full((2, 6), np.nan), (0, 1)), "NaN"),
        (lambda: gram([0, 1], np.ones((2, 6)), (-5, 1)), "wider than the spectrum"),
        (lambda: mean_sams([], np.eye(3)), "no sites"),
        (lambda: maximum_sams([]), "no sites"),
        (
            lambda: maximum_sams([uniaxial([0, 0, 1]), uniaxial([0, 0, 1], length_ev=5.0)]),
            "different windows",
        ),
        (lambda: sam(uniaxial([0, 0, 1]), 1.1 * np.eye(3)), "not orthonormal"),
        (lambda: gram_rotated(uniaxial([0, 0, 1]), np.ones((3, 3))), "not orthonormal"),
        (lambda: sams(uniaxial([0, 0, 1]), np.stack([np.eye(3)] * 2)), "for one frame"),
        (lambda: mean_sams([uniaxial([0, 0, 1])], np.eye(2)), "frame has shape"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@given(seed=seeds, fwhm=st.sampled_from([0.0, 2.0]))
def test_frame_free_anisotropy_is_its_integral_in_any_frame(
    seed, fwhm, make_spectrum, make_rotation
):
    energy, tensor = make_spectrum(seed)
    one = gram(energy, tensor, WINDOW, fwhm)
    inside, cut = clip(energy, gaussian_broaden(energy, tensor, fwhm), WINDOW)
    iso = tensors.isotropic(cut)
    rest = cut - iso[:, None] * np.array([1.0, 1, 1, 0, 0, 0])
    squares = (rest[:, :3] ** 2).sum(axis=1) + 2 * (rest[:, 3:] ** 2).sum(axis=1)
    expected = np.sqrt(1.5 * np.trapezoid(squares, inside)) / np.trapezoid(iso, inside)
    assert frame_free_anisotropy(one) == pytest.approx(expected, rel=1e-9)
    turned = gram_rotated(one, make_rotation(seed))
    assert frame_free_anisotropy(turned) == pytest.approx(expected, rel=1e-9)


def test_frame_free_anisotropy_of_an_axis_is_its_sam():
    one = uniaxial([1, 1, 1])
    largest, _ = maximum_sams([one])
    assert largest == pytest.approx(2 * frame_free_anisotropy(one), rel=1e-6)
