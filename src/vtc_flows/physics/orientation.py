"""
The frame that maximises a mean of SAMS: a global search over all rotations.

In a frame F = F_0 exp(omega) the SAMS of a site is a sum of three lengths |R rho(F) d|, with d the
constant vectors of the pairs of axes and rho the 6 x 6 representation. A length is a square root
of a quartic in F and has a downward kink where it vanishes, never a maximum there. Renaming the
axes changes nothing, so only 1/24 of all rotations need be looked at. The search takes

1. the mean SAMS on a fixed, even set of 320 rotations in that part;
2. from the best of them a damped Newton ascent with the exact gradient and Hessian in omega, all
   starts at once, in stages that go on with the best only (`STAGES`).

The hard case is many sites of exactly uniaxial emission about unrelated axes: kinks cut the
rotations into pieces with a maximum each, of nearly the same height. Starting from local maxima of
the grid alone misses some; the stages do not.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from vtc_flows.physics.rotations import (
    axis_relabellings,
    nearest_relabelling,
    pair_vectors,
    representation_of,
    rotation_about,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

#: Rotations of the search grid on the whole sphere of quaternions; 1/48 of them are distinct.
GRID_POINTS = 48 * 320

#: How many of the best starts go on, and for how many Newton steps at most.
STAGES = ((128, 2), (64, 2), (24, 60))

#: Maxima whose values agree to this (relative) count as equal.
EQUAL_MAXIMA = 1e-9

#: Longest Newton step, radians, and the predicted relative gain below which a start is done.
LONGEST_STEP = 0.3
SMALLEST_GAIN = 1e-14

_UPPER = np.triu_indices(6)
_TANGENT = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


def maximise(factors: FloatArray, near: FloatArray) -> tuple[float, FloatArray]:
    """
    Return the global maximum of the mean SAMS over frames, and the frame nearest `near`.

    Parameters
    ----------
    factors : ndarray of shape (n_sites, 6, 6)
        R/N of every site.
    near : ndarray of shape (3, 3)
        Right-handed frame that settles what the maximum leaves open.

    Returns
    -------
    value : float
    frame : ndarray of shape (3, 3)
    """
    forms, weights = _distinct_forms(factors)
    frames, designs = _search_grid()
    scan = np.sqrt(np.maximum(forms @ designs, 0.0)).reshape(len(forms), len(frames), 3)
    values = weights @ scan.sum(axis=2)
    if values.max() == 0.0:
        return 0.0, near.copy()
    for n_starts, n_steps in STAGES:
        frames = frames[np.argsort(-values, kind="stable")[:n_starts]]
        values, frames = _ascend(forms, weights, frames, (0, 1, 2), n_steps)
    frame = nearest_relabelling(_highest(factors, frames), near)
    frame = _turned_where_free(factors, frame, near)
    return float(mean_values(factors, frame)), frame


def maximise_about(factors: FloatArray, axes: FloatArray, fixed: int) -> tuple[float, FloatArray]:
    """
    Return the maximum of the mean SAMS over rotations of `axes` about its column `fixed`.

    The columns keep their places; of the equivalent angles (90 degrees apart) and of equal maxima
    the smallest turn is taken.

    Parameters
    ----------
    factors : ndarray of shape (n_sites, 6, 6)
        R/N of every site.
    axes : ndarray of shape (3, 3)
        Right-handed frame to start from.
    fixed : int
        The column that stays.

    Returns
    -------
    value : float
    frame : ndarray of shape (3, 3)
    """
    forms, weights = _distinct_forms(factors)
    angles = np.deg2rad(np.arange(-45.0, 45.0))
    turns = rotation_about(angles[:, None] * np.eye(3)[fixed])
    values, _, _ = _derivatives(forms, weights, axes @ turns)
    peaks = (values >= np.roll(values, 1)) & (values >= np.roll(values, -1))
    # the axes as given are a candidate too: they win where the angle makes no difference
    starts = np.concatenate((axes[None], (axes @ turns)[peaks]))
    _, found = _ascend(forms, weights, starts, (fixed,), STAGES[-1][1])
    reduced = _smallest_turns(axes, _highest(factors, found), fixed)
    order = np.lexsort((reduced, np.abs(reduced).round(6)))
    frame = axes @ rotation_about(reduced[order[0]] * np.eye(3)[fixed])
    return float(mean_values(factors, frame)), frame


def mean_values(factors: FloatArray, axes: FloatArray) -> FloatArray:
    """
    Return the mean SAMS of sites in frames, to the last digits also where a length vanishes.

    Parameters
    ----------
    factors : ndarray of shape (n_sites, 6, 6)
        R/N of every site.
    axes : ndarray of shape (..., 3, 3)
        Frames.

    Returns
    -------
    ndarray of shape (...)
    """
    rooted = factors @ pair_vectors(axes)[..., None, :, :]
    lengths = np.sqrt((rooted * rooted).sum(axis=-2))
    return np.asarray(lengths.sum(axis=-1).mean(axis=-1))


def _highest(factors: FloatArray, frames: FloatArray) -> FloatArray:
    """Return the frames whose mean SAMS equals the highest of them."""
    values = mean_values(factors, frames)
    return np.asarray(frames[values >= values.max() * (1.0 - EQUAL_MAXIMA)])


def _distinct_forms(factors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """
    Return the upper triangles of R^T R, equal sites merged, and their weights.

    Sites related by a translation or an inversion have the same form, so an orbit of 192 sites
    costs 24 at most. Shapes (n_forms, 21) and (n_forms,).
    """
    forms = (np.swapaxes(factors, 1, 2) @ factors)[:, _UPPER[0], _UPPER[1]]
    scale = float(np.abs(forms).max(initial=0.0))
    if scale == 0.0:
        return forms[:1], np.ones(1)
    _, first, counts = np.unique(
        (forms / scale).round(12), axis=0, return_index=True, return_counts=True
    )
    return forms[first], counts / len(forms)


def _ascend(
    forms: FloatArray, weights: FloatArray, frames: FloatArray, free: Sequence[int], n_steps: int
) -> tuple[FloatArray, FloatArray]:
    """
    Climb from every start to a maximum; only rotations about the `free` axes of the frame.

    Returns the values, shape (n,), and the frames, shape (n, 3, 3).
    """
    here = list(free)
    value, gradient, hessian = _derivatives(forms, weights, frames)
    damping = np.zeros(len(frames))
    for _ in range(n_steps):
        curvature, modes = np.linalg.eigh(hessian[:, here][:, :, here])
        # |curvature| turns a saddle's ascent directions uphill; the floor keeps flat ones finite
        floor = 1e-9 * value[:, None] + np.finfo(float).tiny
        stiffness = np.maximum(np.abs(curvature), floor) + damping[:, None]
        slope = np.einsum("nij,ni->nj", modes, gradient[:, here])
        step = np.einsum("nij,nj->ni", modes, slope / stiffness)
        length = np.linalg.norm(step, axis=1, keepdims=True)
        step *= np.minimum(1.0, LONGEST_STEP / np.maximum(length, np.finfo(float).tiny))
        gain = np.einsum("ni,ni->n", step, gradient[:, here])
        if not (gain > SMALLEST_GAIN * value).any():
            break
        omega = np.zeros((len(frames), 3))
        omega[:, here] = step
        trial = frames @ rotation_about(omega)
        trial_value, trial_gradient, trial_hessian = _derivatives(forms, weights, trial)
        better = trial_value > value
        stiffest = np.abs(curvature).max(axis=1) + floor[:, 0]
        damping = np.where(better, damping / 8.0, np.maximum(4.0 * damping, 0.5 * stiffest))
        frames = np.where(better[:, None, None], trial, frames)
        value = np.where(better, trial_value, value)
        gradient = np.where(better[:, None], trial_gradient, gradient)
        hessian = np.where(better[:, None, None], trial_hessian, hessian)
    return value, frames


def _derivatives(
    forms: FloatArray, weights: FloatArray, frames: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """
    Return the mean SAMS with its gradient and Hessian in omega, at F exp(omega), omega = 0.

    A squared length q and its derivatives are linear in the form seen from the frame, so one
    constant matrix gives all 30 numbers of a site; then sqrt(q) by the chain rule.
    """
    n = len(frames)
    m = representation_of(frames)
    full = np.empty((len(forms), 6, 6))
    full[:, _UPPER[0], _UPPER[1]] = forms
    full[:, _UPPER[1], _UPPER[0]] = forms
    seen = np.swapaxes(m, 1, 2)[:, None] @ full @ m[:, None]
    table = (seen.reshape(n, len(forms), 36) @ _derivative_table()).reshape(n, len(forms), 3, 10)
    squared, first, second = table[..., 0], table[..., 1:4], table[..., 4:]
    # below the rounding of q there is no slope to be had: leave such a length out of it
    noise = 1e-13 * np.trace(seen, axis1=2, axis2=3)[..., None]
    length = np.sqrt(np.maximum(squared, 0.0))
    inverse = np.where(squared > noise, 1.0 / np.maximum(length, np.finfo(float).tiny), 0.0)
    slope = 0.5 * first * inverse[..., None]
    crossed = np.stack([slope[..., a] * slope[..., b] for a, b in _TANGENT], axis=-1)
    bend = (0.5 * second - crossed) * inverse[..., None]
    value = length.sum(axis=2) @ weights
    gradient = np.einsum("nspa,s->na", slope, weights)
    packed = np.einsum("nspa,s->na", bend, weights)
    hessian = packed[:, np.array([[0, 3, 4], [3, 1, 5], [4, 5, 2]])]
    return value, gradient, hessian


@cache
def _derivative_table() -> FloatArray:
    """
    Return the matrix, shape (36, 30), from a form to q, its gradient and its Hessian, per pair.

    With d' = rho(exp omega) d = d + sum_a w_a J_a d + 1/2 sum_ab w_a w_b J_a J_b d + ... and
    q = d'^T A d': q_a = 2 d^T A J_a d, and
    q_ab = 2 (J_a d)^T A (J_b d) + d^T A (J_a J_b + J_b J_a) d.
    """
    generators = _generators()
    columns = []
    for d in pair_vectors(np.eye(3)).T:
        moved = generators @ d
        columns.append(np.outer(d, d))
        columns += [2.0 * np.outer(d, moved[a]) for a in range(3)]
        for a, b in _TANGENT:
            twice = generators[a] @ moved[b] + generators[b] @ moved[a]
            columns.append(2.0 * np.outer(moved[a], moved[b]) + np.outer(d, twice))
    return np.stack([column.reshape(36) for column in columns], axis=1)


def _generators() -> FloatArray:
    """Return J_a = d rho(exp(w e_a))/dw at w = 0, shape (3, 6, 6), by exact quarter turns."""

    # rho has the frequencies 0, 1, 2 only, so two angles give the derivative exactly:
    # sin-part at angle w is s1 sin w + s2 sin 2w and the derivative is s1 + 2 s2
    def odd_part(angle: float) -> FloatArray:
        turn = rotation_about(angle * np.eye(3))
        back = representation_of(np.swapaxes(turn, 1, 2))
        return np.asarray(0.5 * (representation_of(turn) - back))

    quarter, eighth = odd_part(np.pi / 2), odd_part(np.pi / 4)
    return np.asarray(quarter + 2.0 * (eighth - np.sqrt(0.5) * quarter))


@cache
def _search_grid() -> tuple[FloatArray, FloatArray]:
    """
    Return the fixed grid of rotations that are distinct up to the names of the axes.

    Super-Fibonacci spirals (M. Alexa, CVPR 2022) fill the sphere of quaternions evenly; those
    nearer to the identity than to any other relabelling are kept.

    Returns
    -------
    frames : ndarray of shape (n, 3, 3)
    designs : ndarray of shape (21, 3 n)
        Column (k, pair) weighs the upper triangle of a form to the squared length of the pair.
    """
    s = np.arange(GRID_POINTS) + 0.5
    alpha = 2.0 * np.pi * s / np.sqrt(2.0)
    beta = 2.0 * np.pi * s / 1.533751168755204288118041
    inner, outer = np.sqrt(s / GRID_POINTS), np.sqrt(1.0 - s / GRID_POINTS)
    w, x = inner * np.sin(alpha), inner * np.cos(alpha)
    y, z = outer * np.sin(beta), outer * np.cos(beta)
    frames = np.moveaxis(
        np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        ),
        2,
        0,
    )
    closeness = np.einsum("nij,pij->np", frames, axis_relabellings())
    frames = frames[np.trace(frames, axis1=1, axis2=2) >= closeness.max(axis=1) - 1e-12]
    pairs = np.swapaxes(pair_vectors(frames), 1, 2)
    outer_products = pairs[..., :, None] * pairs[..., None, :]
    twice = np.where(_UPPER[0] == _UPPER[1], 1.0, 2.0)
    designs = outer_products[..., _UPPER[0], _UPPER[1]].reshape(-1, 21).T * twice[:, None]
    return frames, np.ascontiguousarray(designs)


def _smallest_turns(axes: FloatArray, frames: FloatArray, fixed: int) -> FloatArray:
    """Return the angles of frames about the column `fixed` of `axes`, within (-45, 45] degrees."""
    i, j = (fixed + 1) % 3, (fixed + 2) % 3
    cosine, sine = axes[:, i] @ frames[:, :, i].T, axes[:, j] @ frames[:, :, i].T
    angles = np.arctan2(sine, cosine)
    reduced: FloatArray = angles - np.ceil(angles / (np.pi / 2) - 0.5) * (np.pi / 2)
    return reduced


def _turned_where_free(factors: FloatArray, frame: FloatArray, near: FloatArray) -> FloatArray:
    """Turn a maximal frame towards `near` about an axis whose rotation changes nothing."""
    angles = np.deg2rad([11.0, 23.0, 37.0, 59.0, 71.0])
    for fixed in range(3):
        turned = frame @ rotation_about(angles[:, None] * np.eye(3)[fixed])
        value = mean_values(factors, np.concatenate((frame[None], turned)))
        if np.ptp(value) <= EQUAL_MAXIMA * value[0]:
            i, j = (fixed + 1) % 3, (fixed + 2) % 3
            relative = near.T @ frame
            # the trace of relative @ turn is greatest at this angle
            angle = np.arctan2(relative[i, j] - relative[j, i], relative[i, i] + relative[j, j])
            return np.asarray(frame @ rotation_about(angle * np.eye(3)[fixed]))
    return frame
