"""Intervals that hold the true value as often as they say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vtc_flows.errors import InputError
from vtc_flows.learn.matrix import FloatArray
from vtc_flows.schemas.models import CoverageDoc

#: Levels that a card reports.
LEVELS = (0.5, 0.8, 0.9)

#: In words, for a card.
METHOD = (
    "cross-conformal: quantiles of the errors of training rows that were predicted by a forest "
    "without their group, each divided by the error to be expected there (spread of targets in the "
    "leaves, or a forest of errors); both ends apart"
)

#: The spread counts as at least this share of that of the training targets.
_FLOOR = 0.05


@dataclass(frozen=True, eq=False)
class Calibration:
    """
    Errors of rows that were predicted by forests that had not seen them.

    Attributes
    ----------
    scores : ndarray of shape (n,)
        Ascending; each (true - predicted) / spread.
    floor : float
        Least spread, unit of the target.
    is_positive : bool
        No target is below zero, and no interval goes there.

    Notes
    -----
    Conformal prediction with normalised errors (Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018));
    errors are those of cross-validation (Vovk, Ann. Math. Artif. Intell. 74, 9 (2015)), whose folds
    hold near-duplicates together. Lower and upper end are calibrated apart, as errors are skewed.
    The promise holds for rows like the training rows: outside the domain there is none.
    """

    scores: FloatArray
    floor: float
    is_positive: bool

    def interval(
        self, value: FloatArray, spread: FloatArray, level: float
    ) -> tuple[FloatArray, FloatArray]:
        """
        Return both ends of an interval.

        Parameters
        ----------
        value, spread : ndarray of shape (n,)
            See `vtc_flows.learn.forest.Forest.moments`.
        level : float
            Share of true values that it is to hold, above 0 and below 1.

        Raises
        ------
        InputError
            If the level is no share, or so high that the calibration rows do not carry it.

        Examples
        --------
        >>> scores = np.linspace(-2.0, 2.0, 99)
        >>> one = Calibration(scores, floor=0.1, is_positive=False)
        >>> low, high = one.interval(np.array([1.0]), np.array([0.5]), 0.5)
        >>> float(low[0].round(2)), float(high[0].round(2))
        (0.49, 1.51)
        """
        rank = self._rank(level)
        width = np.maximum(spread, self.floor)
        low = value + self.scores[len(self.scores) - rank] * width
        high = value + self.scores[rank - 1] * width
        # where errors are biased, both quantiles may lie on one side of the value
        low, high = np.minimum(low, value), np.maximum(high, value)
        return (np.maximum(low, 0.0) if self.is_positive else low), high

    def _rank(self, level: float) -> int:
        if not 0.0 < level < 1.0:
            raise InputError(f"level {level:g} is not between 0 and 1")
        count = len(self.scores)
        # less rounding, so that a rank that is a whole number stays it
        rank = math.ceil((count + 1) * (1.0 + level) / 2.0 - 1e-9)
        if rank > count:
            needed = math.ceil(2.0 / (1.0 - level) - 1e-9) - 1
            raise InputError(
                f"an interval of level {level:g} needs {needed} training rows; the model has "
                f"{count}: take a lower level"
            )
        return rank


def calibrate(target: FloatArray, predicted: FloatArray, spread: FloatArray) -> Calibration:
    """
    Return the calibration from rows that were predicted by forests without them.

    Parameters
    ----------
    target, predicted, spread : ndarray of shape (n,)
    """
    floor = max(_FLOOR * float(np.std(target)), np.finfo(float).tiny)
    scores = np.sort((target - predicted) / np.maximum(spread, floor))
    return Calibration(scores, floor, bool((target >= 0.0).all()))


def coverage(
    target: ArrayLike, ends: Sequence[tuple[float, FloatArray, FloatArray]]
) -> list[CoverageDoc]:
    """
    Return how many true values lie in their intervals.

    Parameters
    ----------
    target : array_like of shape (n,)
    ends : sequence of (level, low, high)
    """
    true = np.asarray(target, dtype=float)
    return [
        CoverageDoc(
            level=level,
            coverage=float(np.mean((true >= low) & (true <= high))),
            n=len(true),
            mean_width=float(np.mean(high - low)),
        )
        for level, low, high in ends
        if len(true)
    ]
