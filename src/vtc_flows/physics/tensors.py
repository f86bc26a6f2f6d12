"""
The spectrum tensor: emission of one site or crystal for every direction of polarization.

Dipole emission along a unit vector e is I(E; e) = sum_ij e_i T_ij(E) e_j with T real and
symmetric. A tensor spectrum is an array of shape (n_energies, 6), last axis packed as
`COMPONENTS`, plain components (no factor sqrt2), in any unit of intensity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vtc_flows.errors import InputError
from vtc_flows.physics.validation import finite_array, orthonormal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

#: Order of the six components of a packed symmetric tensor.
COMPONENTS = ("xx", "yy", "zz", "yz", "xz", "xy")

#: Polarizations from which a whole tensor follows: xy means along (1, 1, 0)/sqrt(2).
POLARIZATIONS = ("x", "y", "z", "xy", "xz", "yz")

ROWS = np.array([0, 1, 2, 1, 0, 0])
COLUMNS = np.array([0, 1, 2, 2, 2, 1])
#: Where component (i, j) sits in the packed tensor.
PACKED = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


def to_matrix(tensor: ArrayLike) -> FloatArray:
    """
    Unpack tensors of shape (..., 6) into symmetric matrices of shape (..., 3, 3).

    Examples
    --------
    >>> to_matrix([1, 2, 3, 4, 5, 6]).tolist()
    [[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]]
    """
    return finite_array(tensor, "tensor", (6,))[..., PACKED]


def from_matrix(matrix: ArrayLike) -> FloatArray:
    """
    Pack matrices of shape (..., 3, 3) into tensors of shape (..., 6); the symmetric part is taken.

    Examples
    --------
    >>> from_matrix([[1, 6, 5], [6, 2, 4], [5, 4, 3]]).tolist()
    [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    """
    square = finite_array(matrix, "matrix", (3, 3))
    return 0.5 * (square[..., ROWS, COLUMNS] + square[..., COLUMNS, ROWS])


def from_polarizations(spectra: Mapping[str, ArrayLike]) -> FloatArray:
    """
    Build the tensor from spectra of six polarizations.

    T_ii = I(i), and T_xy = I(xy) - (T_xx + T_yy)/2 with xy along (1, 1, 0)/sqrt(2); so for xz, yz.

    Parameters
    ----------
    spectra : mapping of str to array_like of shape (n,)
        Exactly the keys of `POLARIZATIONS`, all on the same energies.

    Returns
    -------
    ndarray of shape (n, 6)

    Raises
    ------
    InputError
        If a polarization is missing, unknown, or of another length.

    Examples
    --------
    >>> flat = {"x": [1.0], "y": [2.0], "z": [3.0], "xy": [1.5], "xz": [2.5], "yz": [2.5]}
    >>> from_polarizations(flat).tolist()
    [[1.0, 2.0, 3.0, 0.0, 0.5, 0.0]]
    """
    if set(spectra) != set(POLARIZATIONS):
        raise InputError(
            f"polarizations given: {', '.join(sorted(spectra)) or 'none'}; "
            f"a tensor needs exactly {', '.join(POLARIZATIONS)}"
        )
    arrays = {
        name: finite_array(values, f"spectrum of polarization {name}", (None,), leading=False)
        for name, values in spectra.items()
    }
    if len({array.size for array in arrays.values()}) > 1:
        sizes = ", ".join(f"{name}: {array.size}" for name, array in arrays.items())
        raise InputError(f"the polarized spectra differ in length ({sizes})")
    x, y, z = arrays["x"], arrays["y"], arrays["z"]
    mixed = (arrays["yz"] - (y + z) / 2, arrays["xz"] - (x + z) / 2, arrays["xy"] - (x + y) / 2)
    return np.stack((x, y, z, *mixed), axis=-1)


def rotate(tensor: ArrayLike, rotation: ArrayLike) -> FloatArray:
    """
    Carry tensors by an operation: T' = W T W^T.

    Parameters
    ----------
    tensor : array_like of shape (..., 6)
        Any number of packed tensors.
    rotation : array_like of shape (3, 3)
        Cartesian W, active (r' = W r), proper or not. To express T in a frame F (axes as
        columns), give F^T.

    Returns
    -------
    ndarray of shape (..., 6)

    Examples
    --------
    >>> rotate([1, 2, 3, 0, 0, 0], [[0, -1, 0], [1, 0, 0], [0, 0, 1]]).tolist()
    [2.0, 1.0, 3.0, 0.0, 0.0, 0.0]
    """
    packed = finite_array(tensor, "tensor", (6,))
    w = orthonormal(finite_array(rotation, "rotation", (3, 3), leading=False), "rotation")
    return from_matrix(w @ packed[..., PACKED] @ w.T)


def along(tensor: ArrayLike, direction: ArrayLike) -> FloatArray:
    """
    Return the emission polarized along a direction, e^T T e with e of unit length.

    Parameters
    ----------
    tensor : array_like of shape (..., 6)
    direction : array_like of shape (3,)
        Any length but zero; only the direction counts.

    Returns
    -------
    ndarray of shape (...)

    Examples
    --------
    >>> round(float(along([1, 2, 3, 0, 0, 0.5], [2, 2, 0])), 12)
    2.0
    """
    vector = finite_array(direction, "direction", (3,), leading=False)
    length = float(np.linalg.norm(vector))
    if length == 0.0:
        raise InputError("direction has zero length; give a polarization direction")
    unit = vector / length
    weights = unit[ROWS] * unit[COLUMNS] * np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    return np.asarray(finite_array(tensor, "tensor", (6,)) @ weights)


def isotropic(tensor: ArrayLike) -> FloatArray:
    """
    Return the isotropic spectrum, trace T / 3, of shape (...) for tensors of shape (..., 6).

    Examples
    --------
    >>> isotropic([[1, 2, 3, 9, 9, 9]]).tolist()
    [2.0]
    """
    return np.asarray(finite_array(tensor, "tensor", (6,))[..., :3].mean(axis=-1))


def crystal_sum(tensor: ArrayLike, rotations: ArrayLike) -> FloatArray:
    """
    Add up the tensors of all sites that operations make of one: sum over W of W T W^T.

    Parameters
    ----------
    tensor : array_like of shape (n, 6)
        Tensor spectrum of the representative site.
    rotations : array_like of shape (m, 3, 3)
        One Cartesian W for EVERY site of the orbit, the representative included. (The
        representative times the multiplicity is right for isotropic quantities only.)

    Returns
    -------
    ndarray of shape (n, 6)

    Examples
    --------
    >>> two_sites = [np.eye(3), [[0, -1, 0], [1, 0, 0], [0, 0, 1]]]
    >>> crystal_sum([[1, 2, 3, 0, 0, 0.5]], two_sites).tolist()
    [[3.0, 3.0, 6.0, 0.0, 0.0, 0.0]]
    """
    packed = finite_array(tensor, "tensor", (None, 6), leading=False)
    w = orthonormal(finite_array(rotations, "rotations", (None, 3, 3), leading=False), "rotations")
    if len(w) == 0:
        raise InputError("rotations is empty; give one operation per site, the identity included")
    # sum_W W_ik W_jl as one 9 x 9 matrix: the cost does not grow with the number of sites
    summed = np.einsum("mik,mjl->ijkl", w, w, optimize=True).reshape(9, 9)
    matrices = packed[:, PACKED].reshape(-1, 9) @ summed.T
    return from_matrix(matrices.reshape(-1, 3, 3))


def symmetrised(tensor: ArrayLike, rotations: ArrayLike) -> FloatArray:
    """
    Return the mean of a tensor over a site's point group: exactly invariant under it.

    Parameters
    ----------
    tensor : array_like of shape (n, 6)
    rotations : array_like of shape (k, 3, 3)
        Cartesian operations of the site's point group, a whole group.

    Returns
    -------
    ndarray of shape (n, 6)

    Examples
    --------
    >>> symmetrised([[1, 2, 3, 0, 0, 1e-9]], [np.eye(3), np.diag([1, -1, -1])]).tolist()
    [[1.0, 2.0, 3.0, 0.0, 0.0, 0.0]]
    """
    return crystal_sum(tensor, rotations) / len(np.asarray(rotations))


def symmetry_residual(tensor: ArrayLike, rotations: ArrayLike) -> float:
    """
    Return how far a tensor is from invariant under a site's point group.

    The largest element of |W T W^T - T| over operations, energies and components, divided by the
    largest element of |T|: 0 for a perfect calculation, and a free test of a real one.

    Parameters
    ----------
    tensor : array_like of shape (..., 6)
    rotations : array_like of shape (k, 3, 3)
        Cartesian operations of the site's point group.

    Examples
    --------
    >>> inversion_and_mirror = [-np.eye(3), np.diag([1, 1, -1])]
    >>> symmetry_residual([1, 2, 3, 0, 0, 0.5], inversion_and_mirror)
    0.0
    """
    matrices = to_matrix(tensor)
    w = orthonormal(finite_array(rotations, "rotations", (None, 3, 3), leading=False), "rotations")
    largest = float(np.abs(matrices).max(initial=0.0))
    if largest == 0.0:
        return 0.0
    return max(
        (float(np.abs(each @ matrices @ each.T - matrices).max()) / largest for each in w),
        default=0.0,
    )


def tensor_freedom(rotations: ArrayLike) -> int:
    """
    Return how many numbers beside its trace symmetry leaves to a symmetric tensor.

    It is the number of invariants in the representation of angular momentum 2,
    n = 1/k sum_W chi(W) with chi(W) = (tr W)^2 - s tr W - 1 and s = det W: 0 in the cubic groups,
    where every tensor is isotropic, 1 with an axis of order three or more, 5 without symmetry.

    Parameters
    ----------
    rotations : array_like of shape (k, 3, 3)
        Cartesian operations of a point group, the whole group.

    Examples
    --------
    >>> tensor_freedom([np.eye(3)]), tensor_freedom([np.eye(3), np.diag([-1.0, -1.0, 1.0])])
    (5, 3)
    """
    w = orthonormal(finite_array(rotations, "rotations", (None, 3, 3), leading=False), "rotations")
    trace = np.trace(w, axis1=-2, axis2=-1) * np.linalg.det(w)  # of the proper part
    return round(float((trace * trace - trace - 1).mean()))


def smallest_eigenvalue(tensor: ArrayLike) -> float:
    """
    Return the smallest eigenvalue of T over all energies, in the unit of the tensor.

    An intensity cannot be negative, so a value below zero by more than noise means a wrong tensor.

    Examples
    --------
    >>> round(smallest_eigenvalue([[1, 1, 1, 0, 0, 0], [2, 2, 5, 0, 0, -1]]), 12)
    1.0
    """
    matrices = to_matrix(tensor)
    if matrices.size == 0:
        raise InputError("tensor has no energies")
    return float(np.linalg.eigvalsh(matrices).min())
