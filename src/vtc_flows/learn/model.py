"""A trained model: value, interval and domain of a row; to and from a file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError

from vtc_flows.errors import InputError
from vtc_flows.learn.domain import Domain
from vtc_flows.learn.forest import Forest
from vtc_flows.learn.intervals import LEVELS, Calibration
from vtc_flows.learn.matrix import FloatArray, isotropic_rows
from vtc_flows.learn.model_file import pack, unpack
from vtc_flows.learn.tables import column_units
from vtc_flows.schemas.models import ModelCard

_FOREST = tuple(each.name for each in fields(Forest) if each.name != "n_features")
_DOMAIN = ("low", "high", "may_lack", "center", "width", "points")
_N_PROBES = 20
_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Predictions:
    """
    What a model says of rows.

    Attributes
    ----------
    value : ndarray of shape (n,)
        Unit of the target.
    low, high : dict of float to ndarray of shape (n,)
        Ends of the interval of each level.
    distance : ndarray of shape (n,)
        Mean distance to the nearest training rows; see `vtc_flows.learn.domain`.
    reasons : list of list of str
        For each row why it is outside the domain; empty inside.
    """

    value: FloatArray
    low: dict[float, FloatArray]
    high: dict[float, FloatArray]
    distance: FloatArray
    reasons: list[list[str]]


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """
    A model that predicts.

    Attributes
    ----------
    card : ModelCard
        What it is, and how good.
    forest : Forest
    calibration : Calibration
    domain : Domain
    errors : Forest, optional
        Says how large errors are where the forest itself does not.
    """

    card: ModelCard
    forest: Forest
    calibration: Calibration
    domain: Domain
    errors: Forest | None = None

    def value_and_spread(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return what the forest says of rows and how far off it may be, without symmetry."""
        value, spread = self.forest.moments(features)
        return value, spread if self.errors is None else self.errors.values(features)

    def predict(
        self, features: ArrayLike, elements: Sequence[str], levels: Sequence[float] = LEVELS
    ) -> Predictions:
        """
        Predict rows.

        Parameters
        ----------
        features : array_like of shape (n, n_features)
            In the order of ``card.features``; NaN where missing. See
            `vtc_flows.learn.matrix.feature_matrix`.
        elements : sequence of str
            Absorbing element of each row; it decides nothing but the domain.
        levels : sequence of float
            Of the intervals, above 0 and below 1.

        Returns
        -------
        Predictions
            Nothing is refused for being outside the domain, but told.

        Raises
        ------
        InputError
            If shapes do not fit, a feature is infinite, or a level is more than the model carries.
        """
        rows = np.asarray(features, dtype=float)
        if rows.size == 0:
            rows = rows.reshape(0, self.forest.n_features)
        if len(rows) != len(elements):
            raise InputError(f"{len(rows)} rows of features and {len(elements)} elements")
        value, spread = self.value_and_spread(rows)
        zero = isotropic_rows(rows, self.card.features, self.card.target)
        value = np.where(zero, 0.0, value)
        ends = {
            level: tuple(
                np.where(zero, 0.0, end) for end in self.calibration.interval(value, spread, level)
            )
            for level in levels
        }
        distance = self.domain.distances(rows)
        return Predictions(
            value=value,
            low={level: low for level, (low, _) in ends.items()},
            high={level: high for level, (_, high) in ends.items()},
            distance=distance,
            reasons=self.domain.reasons(rows, elements, distance),
        )


def model_bytes(model: TrainedModel) -> bytes:
    """
    Return a model as the content of a file; equal models give equal bytes.

    The card in it says neither when it was made nor what the file is: these are known from
    outside.
    """
    probes = _probes(model.domain)
    arrays: dict[str, NDArray[Any]] = {
        **_forest_arrays("forest", model.forest),
        **({} if model.errors is None else _forest_arrays("errors", model.errors)),
        **{f"domain_{name}": getattr(model.domain, name) for name in _DOMAIN},
        "domain_limit": np.array([model.domain.limit]),
        "calibration_scores": model.calibration.scores,
        "calibration_floor": np.array([model.calibration.floor]),
        "calibration_positive": np.array([int(model.calibration.is_positive)]),
        "probe_value": model.forest.moments(probes)[0],
    }
    file = model.card.file.model_copy(update={"n_bytes": 0, "sha256": ""})
    card = model.card.model_copy(update={"file": file, "created_at": "", "current": True})
    return pack(card.model_dump_json(), arrays)


def read_model(content: bytes | Path) -> TrainedModel:
    """
    Return the model of a file.

    Parameters
    ----------
    content : bytes or Path
        What `model_bytes` gave, or the file with it.

    Raises
    ------
    InputError
        If it cannot be read, was changed, holds anything but text and numbers, or does not give
        the predictions that it gave where it was made. Nothing in a file is ever executed.
    """
    if isinstance(content, Path):
        path = content
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
    text, arrays = unpack(content)
    try:
        card = ModelCard.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"the model's card is none of this version of vtc-flows: {place}: {first['msg']}; "
            "train it again (`vtc train`)"
        ) from error
    try:
        model = _assemble(card, arrays)
    except KeyError as error:
        raise InputError(f"the model file lacks {error.args[0]}") from error
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(f"the model file holds what does not fit: {error}") from error
    _check_probes(model, arrays)
    return model


def _assemble(card: ModelCard, arrays: dict[str, NDArray[Any]]) -> TrainedModel:
    n_features = len(card.features)
    forest = _read_forest("forest", arrays, n_features)
    errors = _read_forest("errors", arrays, n_features) if "errors_value" in arrays else None
    scaled = {name: _array(arrays, f"domain_{name}", np.float64) for name in _DOMAIN}
    points = scaled.pop("points", None)
    if points is None or points.ndim != 2 or points.shape[1] != n_features or not len(points):
        raise InputError("the model file holds no training rows")
    if not np.isfinite(points).all():
        raise InputError("the model file holds training rows that are not finite")
    if any(one.shape != (n_features,) for one in scaled.values()):
        raise InputError("the model file's domain does not fit its features")
    units = column_units()
    domain = Domain(
        names=tuple(card.features),
        units=tuple(units.get(name, "") for name in card.features),
        elements=dict(card.domain.elements),
        points=points,
        limit=_number(arrays, "domain_limit"),
        **scaled,
    )
    scores = _array(arrays, "calibration_scores", np.float64)
    if scores.ndim != 1 or not np.isfinite(scores).all() or (np.diff(scores) < 0).any():
        raise InputError("the model file's calibration is none")
    calibration = Calibration(
        scores,
        floor=_number(arrays, "calibration_floor"),
        is_positive=bool(_number(arrays, "calibration_positive")),
    )
    return TrainedModel(card, forest, calibration, domain, errors)


def _forest_arrays(prefix: str, forest: Forest) -> dict[str, NDArray[Any]]:
    return {f"{prefix}_{name}": getattr(forest, name) for name in _FOREST}


def _read_forest(prefix: str, arrays: dict[str, NDArray[Any]], n_features: int) -> Forest:
    whole = {"starts", "left", "right", "feature", "missing_left"}
    numbers = {
        name: _array(arrays, f"{prefix}_{name}", np.int64 if name in whole else np.float64)
        for name in _FOREST
    }
    return Forest(n_features=n_features, **numbers)


def _check_probes(model: TrainedModel, arrays: dict[str, NDArray[Any]]) -> None:
    """Compare predictions with those made where the model was: libraries differ."""
    made = model.card.versions.get("scikit-learn", "unknown")
    here = metadata.version("scikit-learn")
    expected = arrays.get("probe_value", np.zeros(0))
    found = model.forest.moments(_probes(model.domain))[0]
    same = expected.shape == found.shape
    if not same or not np.allclose(expected, found, rtol=_TOLERANCE, atol=0.0):
        raise InputError(
            f"the model was made with scikit-learn {made} and predicts otherwise with {here}: "
            "train it again (`vtc train`), or install that version"
        )
    if made.split(".")[:1] != here.split(".")[:1]:
        warnings.warn(
            f"the model was made with scikit-learn {made}; here is {here}. Its test predictions "
            "are the same",
            stacklevel=3,
        )


def _probes(domain: Domain) -> FloatArray:
    """Return rows between and beyond the training rows whose predictions are compared."""
    low, high = np.nan_to_num(domain.low), np.nan_to_num(domain.high)
    shares = np.random.default_rng(0).uniform(-0.1, 1.1, size=(_N_PROBES, len(low)))
    rows = low + shares * (high - low)
    rows[1::4, np.flatnonzero(domain.may_lack)] = np.nan
    return np.asarray(rows)


def _array(arrays: dict[str, NDArray[Any]], name: str, kind: type[np.generic]) -> NDArray[Any]:
    found = arrays[name]
    if found.dtype != kind:
        raise InputError(f"{name} of the model file is of type {found.dtype}")
    return found


def _number(arrays: dict[str, NDArray[Any]], name: str) -> float:
    found = arrays[name]
    if found.shape != (1,) or not np.isfinite(found).all():
        raise InputError(f"{name} of the model file is no number")
    return float(found[0])
