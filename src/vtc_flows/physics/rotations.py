"""Rotations: how they act on symmetric tensors, and the 24 ways to name the axes of one frame."""

from __future__ import annotations

from functools import cache
from itertools import permutations, product
from typing import TYPE_CHECKING

import numpy as np

from vtc_flows.physics.tensors import COLUMNS, ROWS
from vtc_flows.physics.validation import finite_array, orthonormal

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

#: Factors that turn packed components into the scaled 6-vector, whose norm is that of the tensor.
SCALE = np.array([1.0, 1.0, 1.0, np.sqrt(2.0), np.sqrt(2.0), np.sqrt(2.0)])

#: Pairs of axes (12), (13), (23), as indices of the first and of the second.
FIRST, SECOND = np.array([0, 0, 1]), np.array([1, 2, 2])

#: Two frames count as equally near a third when the cosines of their distances differ by less.
TIE_DECIMALS = 6


def representation(rotation: ArrayLike) -> FloatArray:
    """
    Return the 6 x 6 matrix by which a rotation acts on scaled symmetric tensors.

    For the 6-vector t = (T_xx, T_yy, T_zz, sqrt2 T_yz, sqrt2 T_xz, sqrt2 T_xy) of a symmetric T,
    ``representation(W) @ t`` is the 6-vector of W T W^T. The matrix is orthogonal, and column i
    (i < 3) is the 6-vector of ``f_i f_i^T`` with f_i the column i of W.

    Parameters
    ----------
    rotation : array_like of shape (..., 3, 3)
        W, or a frame with its axes as columns. Proper or not.

    Returns
    -------
    ndarray of shape (..., 6, 6)

    Examples
    --------
    >>> quarter_turn_about_z = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    >>> scaled_xx = [1, 0, 0, 0, 0, 0]
    >>> (representation(quarter_turn_about_z) @ scaled_xx).tolist()
    [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    return representation_of(orthonormal(rotation, "rotation"))


def representation_of(w: FloatArray) -> FloatArray:
    """Return what `representation` returns, for matrices known to be orthonormal."""
    upper, lower = w[..., ROWS, :], w[..., COLUMNS, :]
    # element (ij, kl) of sym(W (x) W): the mean of W_ik W_jl and W_il W_jk
    direct = upper[..., ROWS] * lower[..., COLUMNS]
    crossed = upper[..., COLUMNS] * lower[..., ROWS]
    return np.asarray((direct + crossed) * (0.5 * SCALE[:, None] * SCALE))


def pair_vectors(axes: FloatArray) -> FloatArray:
    """
    Return the 6-vectors m_i - m_j of the pairs of axes (12), (13), (23) as columns.

    m_i is the scaled 6-vector of ``f_i f_i^T``: the spectrum along f_i is m_i . t(E).

    Parameters
    ----------
    axes : ndarray of shape (..., 3, 3)
        Frames known to be orthonormal.

    Returns
    -------
    ndarray of shape (..., 6, 3)

    Examples
    --------
    >>> pair_vectors(np.eye(3))[:3].tolist()
    [[1.0, 1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, -1.0, -1.0]]
    """
    m = axes[..., ROWS, :] * axes[..., COLUMNS, :] * SCALE[:, None]
    return np.asarray(m[..., FIRST] - m[..., SECOND])


def rotation_about(omega: ArrayLike) -> FloatArray:
    """
    Return the rotation by |omega| radians about the direction of omega (Rodrigues' formula).

    Parameters
    ----------
    omega : array_like of shape (..., 3)
        Rotation vectors, radians.

    Returns
    -------
    ndarray of shape (..., 3, 3)

    Examples
    --------
    >>> rotation_about([0, 0, np.pi / 2]).round(12).tolist()
    [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    vector = finite_array(omega, "rotation vector", (3,))
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    cross = np.zeros((*vector.shape, 3))
    cross[..., 2, 1], cross[..., 0, 2], cross[..., 1, 0] = np.moveaxis(vector, -1, 0)
    cross = cross - np.swapaxes(cross, -1, -2)
    # np.sinc(x) is sin(pi x)/(pi x): no division by zero at omega = 0
    half = np.sinc(angle / (2.0 * np.pi))
    return np.asarray(np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * half**2 * (cross @ cross))


@cache
def axis_relabellings() -> FloatArray:
    """
    Return the 24 right-handed signed permutations P, shape (24, 3, 3), read-only.

    F P has the axes of the frame F under other names and signs: every SAMS is the same.

    Examples
    --------
    >>> axis_relabellings().shape
    (24, 3, 3)
    """
    found = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = np.eye(3)[:, list(order)] * signs
            if np.linalg.det(matrix) > 0:
                found.append(matrix)
    stacked = np.array(found)
    stacked.setflags(write=False)
    return stacked


def nearest_relabelling(frames: FloatArray, near: FloatArray) -> FloatArray:
    """
    Return, of all frames and all their relabellings, the one nearest `near`.

    Nearest is the smallest rotation angle. Equally near ones (the cosines agree to
    `TIE_DECIMALS`) are told apart by their elements in the frame `near`, read row by row, the
    largest first: a rule that turns along with the input.

    Parameters
    ----------
    frames : ndarray of shape (n, 3, 3)
        Right-handed frames, axes as columns.
    near : ndarray of shape (3, 3)
        The frame to be near to, right-handed.

    Returns
    -------
    ndarray of shape (3, 3)

    Examples
    --------
    >>> swapped = np.array([[[0.0, 1, 0], [1, 0, 0], [0, 0, -1]]])
    >>> nearest_relabelling(swapped, np.eye(3)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    candidates = (frames[:, None] @ axis_relabellings()).reshape(-1, 3, 3)
    relative = near.T @ candidates
    closeness = np.trace(relative, axis1=1, axis2=2)
    keys = np.column_stack((closeness, relative.reshape(-1, 9))).round(TIE_DECIMALS)
    best = np.lexsort(keys.T[::-1])[-1]
    chosen: FloatArray = candidates[best] + 0.0  # no negative zeros
    return chosen


def with_canonical_signs(axes: FloatArray) -> FloatArray:
    """
    Return the frame with its signs fixed: right-handed, first two axes pointing "up".

    The largest component (the first of equals) of columns 0 and 1 is made positive; column 2 is
    their cross product. An eigenvector's sign is arbitrary, so one has to be chosen for two runs
    to store the same numbers.

    Parameters
    ----------
    axes : ndarray of shape (3, 3)
        Orthonormal columns.

    Examples
    --------
    >>> with_canonical_signs(-np.eye(3)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    fixed = axes.copy()
    for column in (0, 1):
        size = np.abs(fixed[:, column])
        largest = int(np.argmax(size >= size.max() - 10.0**-TIE_DECIMALS))
        if fixed[largest, column] < 0:
            fixed[:, column] *= -1.0
    fixed[:, 2] = np.cross(fixed[:, 0], fixed[:, 1])
    return fixed + 0.0
