"""
Spectra in few bytes, with a stated error.

An array is divided by its largest absolute value and rounded to multiples of 1e-4, so no number is
off by more than 5e-5 of the largest. Second differences along the energy, in 16 bits that may run
over (they run back when summed), with low and high bytes apart, are what compresses well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Steps from zero to the largest absolute value.
STEPS = 10_000
#: No number is off by more than this share of the largest.
LARGEST_ERROR = 0.5 / STEPS


def packed(values: ArrayLike) -> tuple[bytes, float]:
    """
    Return an array as bytes, and the size of its steps.

    Parameters
    ----------
    values : array_like of shape (n, m)
        m functions of the energy; finite.

    Returns
    -------
    data : bytes
        2 n m bytes, made to be compressed.
    step : float
        In the unit of the values.

    Examples
    --------
    >>> data, step = packed([[0.0, 1.0], [0.5, 2.0], [1.0, 4.0]])
    >>> len(data), step
    (12, 0.0004)
    >>> unpacked(data, step, 2).tolist()
    [[0.0, 1.0], [0.5, 2.0], [1.0, 4.0]]
    """
    array = np.asarray(values, dtype=np.float64)
    largest = float(np.abs(array).max(initial=0.0))
    step = largest / STEPS if largest else 1.0
    whole = np.rint(array / step).astype(np.int16).T
    for _ in range(2):
        whole = np.diff(whole, axis=1, prepend=np.int16(0))
    parts = np.ascontiguousarray(whole).view(np.uint8).reshape(-1, 2)
    return parts.T.tobytes(), step


def unpacked(data: bytes, step: float, n_functions: int) -> NDArray[np.float64]:
    """
    Return the array, shape (n, n_functions), of :func:`packed`.

    Raises
    ------
    ValueError
        If the bytes are not those of so many functions.
    """
    parts = np.frombuffer(data, np.uint8).reshape(2, -1).T
    whole = np.ascontiguousarray(parts).view(np.int16).reshape(n_functions, -1)
    for _ in range(2):
        whole = np.cumsum(whole, axis=1, dtype=np.int16)
    return np.asarray(whole.T * step, dtype=np.float64)
