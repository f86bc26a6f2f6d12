"""
Anisotropy of an absorber's surroundings in a shared frame: QAM, IAM, DAM and their sums.

Every matrix is symmetric with a zero diagonal; "..." stands for any number of sites.
Source: eq 4 and 5 of the VtC-XES anisotropy paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vtc_flows.physics.validation import finite_array, orthonormal

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from vtc_flows.physics.moments import Moments

    FloatArray = NDArray[np.float64]


def qam(of: Moments, frame: ArrayLike) -> FloatArray:
    """
    Return the quadrupole anisotropy matrices, QAM_ij = |Q'_ii - Q'_jj|.

    Parameters
    ----------
    of : Moments
        Of one or many sites.
    frame : array_like of shape (3, 3)
        Orthonormal axes as columns; Q' = F^T Q F. In the site's own frame Q'_ii are the
        eigenvalues.

    Returns
    -------
    ndarray of shape (..., 3, 3)
        e A^(2-p).

    Examples
    --------
    >>> from vtc_flows.physics.moments import moments
    >>> qam(moments([[0, 0, 1.0]], [1.0]), np.eye(3)).tolist()
    [[0.0, 0.0, 3.0], [0.0, 0.0, 3.0], [3.0, 3.0, 0.0]]
    """
    return _differences(_diagonal(of.quadrupole, frame))


def iam(of: Moments, frame: ArrayLike) -> FloatArray:
    """
    Return the inertia anisotropy matrices, IAM_ij = |I'_ii - I'_jj|, A^(2-p).

    Parameters and shapes as for `qam`.

    Examples
    --------
    >>> from vtc_flows.physics.moments import moments
    >>> iam(moments([[0, 0, 1.0]], [1.0]), np.eye(3)).tolist()
    [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    """
    return _differences(_diagonal(of.inertia, frame))


def normalized_inertia_anisotropy(of: Moments) -> FloatArray:
    """
    Return the spread of the inertia's eigenvalues in units of what the neighbors could give.

    With ``A = sum_n r_n^(2-p) u_n u_n^T`` over unit vectors u_n to the neighbors, and its
    eigenvalues l, it is ``2 (l_max - l_min) / tr A``: 2 where all neighbors lie on one line, 1
    where they fill a plane evenly, 0 where they leave no direction out. Unlike IAMS it depends
    neither on a frame nor on the bond lengths' common scale.

    Parameters
    ----------
    of : Moments
        Of one or many sites.

    Returns
    -------
    ndarray of shape (...)
        Without unit; 0 for a site without neighbors.

    Examples
    --------
    >>> from vtc_flows.physics.moments import moments
    >>> float(normalized_inertia_anisotropy(moments([[0, 0, 1.5], [0, 0, -2.0]], [1.0, -1.0])))
    2.0
    """
    values = np.linalg.eigvalsh(of.inertia)
    total = np.trace(of.inertia, axis1=-2, axis2=-1)  # twice that of A
    spread = 4 * (values[..., -1] - values[..., 0])
    normalized: FloatArray = np.where(total > 0, spread / np.where(total > 0, total, 1.0), 0.0)
    return normalized


def dam(of: Moments, frame: ArrayLike) -> FloatArray:
    """
    Return the dipole anisotropy matrices, DAM_ij = ||D'_i| - |D'_j||, e A^(1-p).

    D' = F^T D. The inner absolute values make it independent of the arbitrary signs of the axes.
    Parameters and shapes as for `qam`.

    Examples
    --------
    >>> from vtc_flows.physics.moments import moments
    >>> dam(moments([[0, 0, -2.0]], [1.0], exponent=0), np.eye(3)).tolist()
    [[0.0, 0.0, 2.0], [0.0, 0.0, 2.0], [2.0, 2.0, 0.0]]
    """
    return _differences(np.abs(of.dipole @ _axes(frame)))


def matrix_sum(matrix: ArrayLike) -> FloatArray:
    """
    Return the sum of the three elements above the diagonal: SAMS of SAM, QAMS of QAM, and so on.

    Parameters
    ----------
    matrix : array_like of shape (..., 3, 3)

    Returns
    -------
    ndarray of shape (...)

    Examples
    --------
    >>> matrix_sum([[0, 1, 2], [1, 0, 3], [2, 3, 0]]).item()
    6.0
    """
    square = finite_array(matrix, "anisotropy matrix", (3, 3))
    return np.asarray(square[..., 0, 1] + square[..., 0, 2] + square[..., 1, 2])


def _axes(frame: ArrayLike) -> FloatArray:
    """Return one frame's axes, checked."""
    return orthonormal(finite_array(frame, "frame", (3, 3), leading=False), "frame")


def _diagonal(matrices: FloatArray, frame: ArrayLike) -> FloatArray:
    """Return the diagonal of F^T M F, shape (..., 3)."""
    axes = _axes(frame)
    return np.asarray(((matrices @ axes) * axes).sum(axis=-2))


def _differences(diagonal: FloatArray) -> FloatArray:
    """Return |a_i - a_j|, shape (..., 3, 3)."""
    return np.abs(diagonal[..., :, None] - diagonal[..., None, :])
