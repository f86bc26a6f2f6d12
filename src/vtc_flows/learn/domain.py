"""What a model knows: rows unlike those that it was trained on are told, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import KDTree

from vtc_flows.learn.matrix import FloatArray, LearningData

#: Less training rows of an element than this, and a prediction for it says so.
FEW_ROWS = 5

#: In words, for a card.
METHOD = (
    "outside: an element with less than 5 training rows; a feature beyond its range in training, "
    "or missing where it never was; a mean distance to the 5 nearest training rows above the 99th "
    "percentile of the training rows' own (features less their median, over the interquartile "
    "range, asinh of it)"
)

_NEIGHBORS = 5
_PERCENTILE = 99.0
_DIGITS = 4

#: A deviation of equal electronegativities is 4e-16 in one crystal and 0 in another.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Domain:
    """
    The training rows, as far as they say what is like them.

    Attributes
    ----------
    names : tuple of str
        Of the features.
    units : tuple of str
        Of the features; empty where they have none.
    elements : dict of str to int
        Training rows of each.
    low, high : ndarray of shape (n_features,)
        Of the training rows; NaN for a feature that all lack.
    may_lack : ndarray of bool of shape (n_features,)
        Some training row has no such feature.
    center, width : ndarray of shape (n_features,)
        Median and interquartile range (standard deviation where that is zero, 1 where both are).
    points : ndarray of shape (n_train, n_features)
        Training rows in the scaled space.
    limit : float
        Largest distance that counts as inside.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    elements: dict[str, int]
    low: FloatArray
    high: FloatArray
    may_lack: FloatArray
    center: FloatArray
    width: FloatArray
    points: FloatArray
    limit: float

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.points)

    def distances(self, features: FloatArray) -> FloatArray:
        """
        Return the mean distance of rows to the nearest training rows.

        Parameters
        ----------
        features : ndarray of shape (n, n_features)
            What is missing counts as the median.

        Returns
        -------
        ndarray of shape (n,)
        """
        if not len(features):
            return np.zeros(0)
        count = min(_NEIGHBORS, len(self.points))
        found, _ = self._tree.query(scale(features, self.center, self.width), count)
        each = np.asarray(found, dtype=float).reshape(len(features), count)
        return np.asarray(each.mean(axis=1))

    def reasons(
        self, features: FloatArray, elements: Sequence[str], distance: FloatArray
    ) -> list[list[str]]:
        """
        Return why rows are outside: one sentence each, none for what is inside.

        Parameters
        ----------
        features : ndarray of shape (n, n_features)
        elements : sequence of str
            Absorbing element of each row.
        distance : ndarray of shape (n,)
        """
        margin = _ROUNDING * np.maximum(np.abs(self.low), np.abs(self.high))
        outside = (features < self.low - margin) | (features > self.high + margin)
        outside |= np.isnan(features) & ~self.may_lack.astype(bool)
        outside |= ~np.isnan(features) & np.isnan(self.low)
        found: list[list[str]] = []
        for number, element in enumerate(elements):
            each = self._of_element(element)
            columns = np.flatnonzero(outside[number])
            each += [self._of_feature(int(k), float(features[number, k])) for k in columns]
            if distance[number] > self.limit:
                each.append(
                    f"distance {distance[number]:.3g} from the nearest training rows is above "
                    f"{self.limit:.3g}, which 99 % of these keep among themselves"
                )
            found.append(each)
        return found

    def _of_element(self, element: str) -> list[str]:
        count = self.elements.get(element, 0)
        if count == 0:
            return [f"no training row has the absorber {element}"]
        if count < FEW_ROWS:
            return [f"only {count} training rows have the absorber {element}"]
        return []

    def _of_feature(self, column: int, value: float) -> str:
        name, unit = self.names[column], self.units[column]
        if np.isnan(value):
            return f"{name} is missing; no training row lacks it"
        if np.isnan(self.low[column]):
            return f"{name} is given; all training rows lack it"
        side = "below" if value < self.low[column] else "above"
        low, high = self.low[column], self.high[column]
        return (
            f"{name} {value:.{_DIGITS}g}{unit and ' ' + unit} is {side} the training rows' "
            f"{low:.{_DIGITS}g} to {high:.{_DIGITS}g}"
        )


def learn_domain(data: LearningData, names: Sequence[str], units: Sequence[str]) -> Domain:
    """
    Return what training rows say of what is like them.

    Parameters
    ----------
    data : LearningData
        At least two rows.
    names, units : sequence of str
        Of the features.
    """
    features = data.features
    lacks = np.isnan(features)
    # columns of NaN alone: numbers that keep the arithmetic whole, and are not looked at
    filled = np.where(lacks.all(axis=0), 0.0, features)
    low, high = np.nanmin(filled, axis=0), np.nanmax(filled, axis=0)
    quartiles = np.nanpercentile(filled, [25.0, 50.0, 75.0], axis=0)
    width = quartiles[2] - quartiles[0]
    width = np.where(width > 0.0, width, np.nanstd(filled, axis=0))
    width = np.where(width > 0.0, width, 1.0)
    # 16 bits, three digits, hold distances well enough, and the file is a quarter as large
    points = scale(features, quartiles[1], width).astype(np.float16).astype(np.float64)
    count = min(_NEIGHBORS + 1, len(points))
    near, _ = KDTree(points).query(points, count)
    own = np.asarray(near)[:, 1:].mean(axis=1)  # the first is the row itself
    empty = lacks.all(axis=0)
    return Domain(
        names=tuple(names),
        units=tuple(units),
        elements=dict(sorted(Counter(data.elements.tolist()).items())),
        low=np.where(empty, np.nan, low),
        high=np.where(empty, np.nan, high),
        may_lack=lacks.any(axis=0).astype(float),
        center=quartiles[1],
        width=width,
        points=points,
        limit=float(np.percentile(own, _PERCENTILE)),
    )


def scale(features: FloatArray, center: FloatArray, width: FloatArray) -> FloatArray:
    """
    Return features in the space where distances are taken.

    Moments of charges span orders of magnitude: asinh keeps the few largest from ruling distances.

    Examples
    --------
    >>> scale(np.array([[1.0, np.nan]]), np.zeros(2), np.ones(2)).round(3)
    array([[0.881, 0.   ]])
    """
    return np.asarray(np.nan_to_num(np.arcsinh((features - center) / width), nan=0.0))
