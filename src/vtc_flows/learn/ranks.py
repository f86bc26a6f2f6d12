"""Rank correlations with an interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from vtc_flows.errors import InputError
from vtc_flows.schemas.exponents import RankCurve

FloatArray = NDArray[np.float64]

_FEWEST_ROWS = 3
_RESAMPLES = 400
_LIMITS = (2.5, 97.5)


def spearman(x: ArrayLike, y: ArrayLike) -> float | None:
    """
    Return Spearman's rank correlation; None where it is not defined.

    Parameters
    ----------
    x, y : array_like of shape (n,)
        Equal values share the mean of their ranks.

    Returns
    -------
    float or None
        From -1 to 1; None for less than three rows, or where x or y does not vary.

    Examples
    --------
    >>> spearman([1, 2, 3], [10, 100, 1000])
    1.0
    >>> spearman([1, 1, 1], [1, 2, 3]) is None
    True
    """
    one, other = _ranks(x), _ranks(y)
    if one.shape != other.shape:
        raise InputError(f"{one.size} and {other.size} values have no correlation")
    if one.size < _FEWEST_ROWS:
        return None
    value = float(_pearson(one[None], other[None])[0])
    return value if np.isfinite(value) else None


def rank_curve(x: ArrayLike, y: ArrayLike, *, seed: int = 0) -> RankCurve:
    """
    Return the rank correlation for each of several versions of a quantity, with an interval.

    Parameters
    ----------
    x : array_like of shape (k, n)
        A quantity of n rows in k versions.
    y : array_like of shape (k, n) or (n,)
        The other, in as many versions or in one.
    seed : int
        Of the resampling.

    Returns
    -------
    RankCurve
        The interval holds 95 % of the correlations of 400 data sets drawn from the rows with
        replacement (ranks as in the whole); the same draws for all versions.

    Examples
    --------
    >>> rank_curve([[1, 2, 3, 4], [4, 3, 2, 1]], [1, 2, 3, 4]).rho
    [1.0, -1.0]
    """
    versions = np.atleast_2d(np.asarray(x, dtype=float))
    others = np.broadcast_to(np.asarray(y, dtype=float), versions.shape)
    n = versions.shape[1]
    draws = np.random.default_rng(seed).integers(0, max(n, 1), size=(_RESAMPLES, n))
    rho: list[float | None] = []
    low: list[float | None] = []
    high: list[float | None] = []
    for one, other in zip(versions, others, strict=True):
        value = spearman(one, other)
        rho.append(value)
        limits: tuple[float | None, float | None] = (None, None)
        if value is not None:
            drawn = _pearson(_ranks(one)[draws], _ranks(other)[draws])
            drawn = drawn[np.isfinite(drawn)]
            if drawn.size:
                ends = np.percentile(drawn, _LIMITS)
                limits = (float(ends[0]), float(ends[1]))
        low.append(limits[0])
        high.append(limits[1])
    return RankCurve(rho=rho, low=low, high=high)


def _ranks(values: ArrayLike) -> FloatArray:
    return np.asarray(rankdata(np.asarray(values, dtype=float)), dtype=np.float64)


def _pearson(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the correlation along the last axis; NaN where one does not vary."""
    x = x - x.mean(axis=-1, keepdims=True)
    y = y - y.mean(axis=-1, keepdims=True)
    scale = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.clip((x * y).sum(axis=-1) / scale, -1.0, 1.0))
