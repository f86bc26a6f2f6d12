"""Checks on arrays that come in from outside: one clear message, before any arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vtc_flows.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: How far a rotation or a frame may be from orthonormal, largest element of F^T F - 1.
ORTHONORMAL_TOLERANCE = 1e-6


_UNIT = np.eye(3)


def finite_array(
    value: ArrayLike, name: str, trailing: tuple[int | None, ...], *, leading: bool = True
) -> NDArray[np.float64]:
    """
    Return `value` as float64 after checking its shape and that every element is finite.

    Parameters
    ----------
    value : array_like
        What was given. It is never modified.
    name : str
        How to call it in a message.
    trailing : tuple of int or None
        Sizes of the last axes, None for any size.
    leading : bool
        Whether more axes may stand in front.

    Raises
    ------
    InputError
        If it is not numeric, has another shape, or holds NaN or infinity.

    Examples
    --------
    >>> finite_array([1, 2, 3], "direction", (3,))
    array([1., 2., 3.])
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is not an array of real numbers: {error}") from error
    rank = len(trailing)
    fits = array.ndim >= rank if leading else array.ndim == rank
    tail = array.shape[array.ndim - rank :] if fits else ()
    if not fits or any(want not in (None, have) for want, have in zip(trailing, tail, strict=True)):
        sizes = ["n" if size is None else str(size) for size in trailing]
        wanted = ", ".join((["..."] if leading else []) + sizes)
        raise InputError(f"{name} has shape {array.shape}; it must be ({wanted})")
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds NaN or infinity")
    return array


def orthonormal(value: ArrayLike, name: str) -> NDArray[np.float64]:
    """
    Return one or many orthonormal 3 x 3 matrices (rotations, reflections, frames) as float64.

    Raises
    ------
    InputError
        If the shape is not (..., 3, 3) or a matrix is off by more than `ORTHONORMAL_TOLERANCE`.

    Examples
    --------
    >>> orthonormal([[0, 1, 0], [1, 0, 0], [0, 0, -1]], "rotation").shape
    (3, 3)
    """
    matrices = finite_array(value, name, (3, 3))
    products = matrices.swapaxes(-1, -2) @ matrices
    off = np.abs(products - _UNIT).max(initial=0.0)
    if off > ORTHONORMAL_TOLERANCE:
        raise InputError(
            f"{name} is not orthonormal: M^T M differs from 1 by {off:.1e} "
            f"(at most {ORTHONORMAL_TOLERANCE:.0e}); give orthonormal Cartesian matrices"
        )
    return matrices
