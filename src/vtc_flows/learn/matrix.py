"""Tables and features as arrays that a model takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vtc_flows.errors import InputError
from vtc_flows.schemas.dataset import (
    FEATURES_OF,
    FREEDOM_OF,
    PAPER_FEATURES,
    TARGETS,
    ModelKind,
)

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LearningData:
    """
    Rows of a table as arrays.

    Attributes
    ----------
    names : tuple of str
        Of the features.
    features : ndarray of shape (n, n_features)
        NaN where missing.
    target : ndarray of shape (n,)
    elements : ndarray of str of shape (n,)
        Absorbing element.
    groups : ndarray of str of shape (n,)
        Rows of one are near-duplicates.
    isotropic : ndarray of bool of shape (n,)
        Rows that are zero by symmetry and that the model does not learn; none where it knows of
        no symmetry.
    """

    names: tuple[str, ...]
    features: FloatArray
    target: FloatArray
    elements: NDArray[np.str_]
    groups: NDArray[np.str_]
    isotropic: Mask

    def __len__(self) -> int:
        return len(self.target)

    def take(self, chosen: NDArray[Any]) -> LearningData:
        """Return some rows: by a mask, or by their numbers."""
        return replace(
            self,
            features=self.features[chosen],
            target=self.target[chosen],
            elements=self.elements[chosen],
            groups=self.groups[chosen],
            isotropic=self.isotropic[chosen],
        )

    def learned(self) -> LearningData:
        """Return the rows that a model learns."""
        return self.take(~self.isotropic)


def feature_matrix(
    rows: Iterable[Mapping[str, float | None]], names: Sequence[str] = PAPER_FEATURES
) -> FloatArray:
    """
    Return features as a matrix.

    Parameters
    ----------
    rows : iterable of mapping
        Features by their names; further keys do not matter.
    names : sequence of str
        Features that are wanted, in this order.

    Returns
    -------
    ndarray of shape (n, n_names)
        NaN for None.

    Raises
    ------
    InputError
        If a feature is not there at all, or infinite.

    Examples
    --------
    >>> feature_matrix([{"density": 4.2, "en_std": None}], ["en_std", "density"])
    array([[nan, 4.2]])
    """
    values: list[list[float]] = []
    for row in rows:
        lacking = [name for name in names if name not in row]
        if lacking:
            raise InputError(f"features without {', '.join(lacking)}")
        found = (row[name] for name in names)
        values.append([np.nan if value is None else float(value) for value in found])
    matrix = np.asarray(values, dtype=float).reshape(-1, len(names))
    if np.isinf(matrix).any():
        row_number, column = np.argwhere(np.isinf(matrix))[0]
        raise InputError(f"{names[column]} of row {row_number} is infinite")
    return matrix


def in_32_bits(values: FloatArray) -> FloatArray:
    """Return values without the digits that 32 bits do not hold: files are half as large."""
    return values.astype(np.float32).astype(np.float64)


def isotropic_rows(features: FloatArray, names: Sequence[str], target: str) -> Mask:
    """
    Return which rows symmetry makes zero.

    A tensor that symmetry leaves no freedom is isotropic: that of all sites, or of their sum where
    the target is the crystal's.

    Parameters
    ----------
    features : ndarray of shape (n, n_names)
    names : sequence of str
        Of the features; without the one that tells, no row is known to be zero.
    target : str

    Returns
    -------
    ndarray of bool of shape (n,)

    Examples
    --------
    >>> isotropic_rows(np.array([[0.0], [1.0]]), ["tensor_freedom"], "sams")
    array([ True, False])
    """
    freedom = FREEDOM_OF[target]
    if freedom not in names:
        return np.zeros(len(features), dtype=bool)
    return np.asarray(features[:, list(names).index(freedom)] == 0.0)


def learning_data(
    table: pa.Table, target: str, kind: ModelKind = "paper"
) -> tuple[LearningData, LearningData]:
    """
    Return the training and the test part of a table, each in the order of its records' names.

    Parameters
    ----------
    table : pyarrow.Table
        See `vtc_flows.learn.tables`.
    target : str
        Column to be learned.
    kind : {"paper", "v2"}
        Of the model: it decides the features.

    Raises
    ------
    InputError
        If the target is none, a record is there twice, or rows lack the target or the features.
    """
    if target not in TARGETS:
        raise InputError(f"{target} is no target: take one of {', '.join(TARGETS)}")
    names = FEATURES_OF[kind]
    rows = sorted(table.to_pylist(), key=lambda row: str(row["record_id"]))
    ids = [row["record_id"] for row in rows]
    if len(set(ids)) < len(ids):
        twice = next(name for name, after in pairwise(ids) if name == after)
        raise InputError(f"the table holds {twice} twice")
    _require_columns(rows, (target, names[0]), kind)
    features = feature_matrix(rows, names)
    whole = LearningData(
        names,
        features,
        np.asarray([row[target] for row in rows], dtype=float),
        np.asarray([row["element"] for row in rows], dtype=np.str_),
        np.asarray([row["split_group"] for row in rows], dtype=np.str_),
        isotropic_rows(features, names, target),
    )
    is_test = np.asarray([row["split"] == "test" for row in rows], dtype=bool)
    return whole.take(~is_test), whole.take(is_test)


def _require_columns(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], kind: ModelKind
) -> None:
    """Refuse rows of versions that knew less."""
    for name in names:
        lacking = [row["record_id"] for row in rows if row.get(name) is None]
        if lacking:
            raise InputError(
                f"{len(lacking)} of {len(rows)} rows have no {name}, {lacking[0]} for one: records "
                "of older versions have none. Build them anew (`vtc build sams dataset --rebuild`)"
                + (", or train the model `paper`" if kind == "v2" else "")
            )
