"""Tables and features as arrays that a model takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vtc_flows.errors import InputError
from vtc_flows.schemas.dataset import FEATURES, TARGETS

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LearningData:
    """
    Rows of a table as arrays.

    Attributes
    ----------
    features : ndarray of shape (n, n_features)
        In the order of `vtc_flows.schemas.dataset.FEATURES`; NaN where missing.
    target : ndarray of shape (n,)
    elements : ndarray of str of shape (n,)
        Absorbing element.
    groups : ndarray of str of shape (n,)
        Rows of one are near-duplicates.
    """

    features: FloatArray
    target: FloatArray
    elements: NDArray[np.str_]
    groups: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.target)

    def take(self, chosen: NDArray[Any]) -> LearningData:
        """Return some rows: by a mask, or by their numbers."""
        return LearningData(
            self.features[chosen], self.target[chosen], self.elements[chosen], self.groups[chosen]
        )


def feature_matrix(rows: Iterable[Mapping[str, float | None]]) -> FloatArray:
    """
    Return features as a matrix.

    Parameters
    ----------
    rows : iterable of mapping
        Features by their names; further keys do not matter.

    Returns
    -------
    ndarray of shape (n, 8)
        In the order of `vtc_flows.schemas.dataset.FEATURES`; NaN for None.

    Raises
    ------
    InputError
        If a feature is not there at all, or infinite.

    Examples
    --------
    >>> row = dict.fromkeys(FEATURES, 1.0) | {"en_std": None}
    >>> feature_matrix([row])
    array([[ 1.,  1.,  1.,  1.,  1.,  1.,  1., nan]])
    """
    values: list[list[float]] = []
    for row in rows:
        lacking = [name for name in FEATURES if name not in row]
        if lacking:
            raise InputError(f"features without {', '.join(lacking)}")
        found = (row[name] for name in FEATURES)
        values.append([np.nan if value is None else float(value) for value in found])
    matrix = np.asarray(values, dtype=float).reshape(-1, len(FEATURES))
    if np.isinf(matrix).any():
        row_number, column = np.argwhere(np.isinf(matrix))[0]
        raise InputError(f"{FEATURES[column]} of row {row_number} is infinite")
    return matrix


def learning_data(table: pa.Table, target: str) -> tuple[LearningData, LearningData]:
    """
    Return the training and the test part of a table, each in the order of its records' names.

    Parameters
    ----------
    table : pyarrow.Table
        See `vtc_flows.learn.tables`.
    target : str
        Column to be learnt.

    Raises
    ------
    InputError
        If the target is none, or a record is there twice.
    """
    if target not in TARGETS:
        raise InputError(f"{target} is no target: take one of {', '.join(TARGETS)}")
    rows = sorted(table.to_pylist(), key=lambda row: str(row["record_id"]))
    names = [row["record_id"] for row in rows]
    if len(set(names)) < len(names):
        twice = next(name for name, after in pairwise(names) if name == after)
        raise InputError(f"the table holds {twice} twice")
    whole = LearningData(
        feature_matrix(rows),
        np.asarray([row[target] for row in rows], dtype=float),
        np.asarray([row["element"] for row in rows], dtype=np.str_),
        np.asarray([row["split_group"] for row in rows], dtype=np.str_),
    )
    is_test = np.asarray([row["split"] == "test" for row in rows], dtype=bool)
    return whole.take(~is_test), whole.take(is_test)
