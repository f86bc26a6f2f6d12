"""
Shape of the surroundings of absorbers: neighbors with any weights, and no frame.

With unit vectors u_n towards the neighbors and weights w_n >= 0:

    M   = sum_n w_n u_n u_n^T,  eigenvalues l_1 <= l_2 <= l_3,  l_1 + l_2 + l_3 = W = sum_n w_n
    anisotropy  = 2 (l_3 - l_1) / W              0 (cubic) to 2 (all on a line)
    biaxiality  = (2 l_2 - l_1 - l_3) / W        -1 (a line) to 1/2 (a plane); 0 where halfway
    q_l = sqrt(sum_nm w_n w_m P_l(u_n . u_m)) / W

q_l is the bond-orientational order parameter (Steinhardt, Nelson and Ronchetti, Phys. Rev. B 28,
784 (1983)) with weights; by the addition theorem its sum over pairs is one over spherical
harmonics.
"""

from __future__ import annotations

from math import factorial
from typing import TYPE_CHECKING

import numpy as np

from vtc_flows.errors import InputError
from vtc_flows.physics.tensors import COLUMNS, PACKED, ROWS
from vtc_flows.physics.validation import finite_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

_UNIT_TOLERANCE = 1e-6


class Surroundings:
    """
    Directions of the neighbors of many absorbers, in one flat list.

    Parameters
    ----------
    absorber : array_like of int, shape (n,)
        Which absorber (0 to n_sites - 1) each neighbor belongs to, in any order.
    directions : array_like of shape (n, 3)
        Unit vectors from the absorber.
    n_sites : int
        Number of absorbers; one without neighbors has zeros everywhere.

    Raises
    ------
    InputError
        On a wrong shape, NaN, an absorber out of range, or directions that are no unit vectors.

    Examples
    --------
    >>> square = Surroundings([0] * 4, [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], 1)
    >>> anisotropy, biaxiality = square.shape(np.ones(4))
    >>> anisotropy.tolist(), biaxiality.tolist()
    ([1.0], [0.5])
    """

    def __init__(self, absorber: ArrayLike, directions: ArrayLike, n_sites: int) -> None:
        self._directions = finite_array(directions, "directions", (None, 3), leading=False)
        self._absorber = np.asarray(absorber, dtype=np.int64)
        self.n_sites = n_sites
        n = len(self._directions)
        if self._absorber.shape != (n,):
            raise InputError(
                f"{n} directions and absorber indices of shape {self._absorber.shape} do not "
                "belong together; give one index for each direction"
            )
        if n and (self._absorber.min() < 0 or self._absorber.max() >= n_sites):
            raise InputError(f"absorber indices must lie between 0 and {n_sites - 1}")
        if n and abs(np.linalg.norm(self._directions, axis=1) - 1).max() > _UNIT_TOLERANCE:
            raise InputError("directions must be unit vectors")

    def total(self, terms: ArrayLike) -> FloatArray:
        """
        Add up numbers of the neighbors for each absorber.

        Parameters
        ----------
        terms : array_like of shape (n,)

        Returns
        -------
        ndarray of shape (n_sites,)
        """
        values = np.asarray(terms, dtype=float)
        return np.asarray(np.bincount(self._absorber, values, self.n_sites), dtype=float)

    def mean(self, values: ArrayLike, weights: ArrayLike) -> FloatArray:
        """
        Return the weighted mean of numbers of the neighbors, 0 where nothing has a weight.

        Parameters
        ----------
        values, weights : array_like of shape (n,)

        Returns
        -------
        ndarray of shape (n_sites,)
        """
        weight = np.asarray(weights, dtype=float)
        return _ratio(self.total(weight * np.asarray(values)), self.total(weight))

    def deviation(self, values: ArrayLike, weights: ArrayLike) -> FloatArray:
        """
        Return the weighted standard deviation (of the population) of numbers of the neighbors.

        Parameters and shapes as for `mean`.
        """
        rest = np.asarray(values) - self.mean(values, weights)[self._absorber]
        return np.sqrt(self.mean(rest**2, weights))

    def least(self, values: ArrayLike) -> FloatArray:
        """
        Return the smallest number of the neighbors, infinite where there is none.

        Parameters
        ----------
        values : array_like of shape (n,)

        Returns
        -------
        ndarray of shape (n_sites,)
        """
        found = np.full(self.n_sites, np.inf)
        np.minimum.at(found, self._absorber, np.asarray(values, dtype=float))
        return found

    def shape(self, weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """
        Return how anisotropic the surroundings are, and whether as a line or as a plane.

        Parameters
        ----------
        weights : array_like of shape (n,)
            None below zero.

        Returns
        -------
        anisotropy : ndarray of shape (n_sites,)
            2 (l_3 - l_1) / W, 0 to 2.
        biaxiality : ndarray of shape (n_sites,)
            (2 l_2 - l_1 - l_3) / W, -1 to 1/2.

        Raises
        ------
        InputError
            If a weight is below zero or not finite.
        """
        weight = self._weights(weights)
        x = self._directions.T
        packed = [self.total(weight * x[i] * x[j]) for i, j in zip(ROWS, COLUMNS, strict=True)]
        values = np.linalg.eigvalsh(np.stack(packed, axis=-1)[:, PACKED])
        total = self.total(weight)
        low, middle, high = values.T
        return _ratio(2 * (high - low), total), _ratio(2 * middle - low - high, total)

    def order(self, weights: ArrayLike, degree: int) -> FloatArray:
        """
        Return the bond-orientational order parameter q_l.

        Parameters
        ----------
        weights : array_like of shape (n,)
            None below zero.
        degree : int
            l, from 0 on; q_0 is 1.

        Returns
        -------
        ndarray of shape (n_sites,)
            0 to 1.

        Raises
        ------
        InputError
            If a weight is below zero or not finite.

        Examples
        --------
        The six bonds of an octahedron (Steinhardt et al.: q_4 = 0.764, q_6 = 0.354):

        >>> ends = np.vstack((np.eye(3), -np.eye(3)))
        >>> octahedron = Surroundings([0] * 6, ends, 1)
        >>> [round(float(octahedron.order(np.ones(6), l)[0]), 3) for l in (2, 4, 6)]
        [0.0, 0.764, 0.354]
        """
        weight = self._weights(weights)
        x, y, z = self._directions.T
        squares = np.zeros(self.n_sites)
        for m in range(degree + 1):
            harmonic = weight * _legendre(z, degree, m) * (x + 1j * y) ** m
            parts = self.total(harmonic.real), self.total(harmonic.imag)
            share = factorial(degree - m) / factorial(degree + m) * (1 if m == 0 else 2)
            squares += share * (parts[0] ** 2 + parts[1] ** 2)
        return _ratio(np.sqrt(squares), self.total(weight))

    def _weights(self, weights: ArrayLike) -> FloatArray:
        weight = finite_array(weights, "weights", (len(self._directions),), leading=False)
        if len(weight) and weight.min() < 0:
            raise InputError(f"a weight is below zero ({weight.min():g})")
        return weight


def _legendre(z: FloatArray, degree: int, m: int) -> FloatArray:
    """
    Return the associated Legendre function P_l^m(z) without (1 - z^2)^(m/2) and the sign (-1)^m.

    Upwards in the degree: (k - m) P_k = (2k - 1) z P_(k-1) - (k + m - 1) P_(k-2).
    """
    before, here = np.zeros_like(z), np.full_like(z, np.prod(np.arange(1, 2 * m, 2), dtype=float))
    for k in range(m + 1, degree + 1):
        before, here = here, ((2 * k - 1) * z * here - (k + m - 1) * before) / (k - m)
    return here


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return a quotient, 0 where there is nothing to divide by."""
    some = denominator > 0
    return np.where(some, numerator / np.where(some, denominator, 1.0), 0.0)
