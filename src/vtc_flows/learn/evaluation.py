"""How good a model is: scores, per element, against simple models, with fewer rows or elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.dummy import DummyRegressor
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vtc_flows.learn.forest import Forest, fit, predicted
from vtc_flows.learn.matrix import FloatArray, LearningData
from vtc_flows.schemas.models import (
    BalancedDoc,
    ElementScores,
    ImportanceDoc,
    LearningPoint,
    PartScores,
)

#: Gives predictions of rows from a model that was trained on others.
Learner = Callable[[LearningData, LearningData], FloatArray]

#: Name of the column of noise among importances.
NOISE = "noise"

#: Elements with less rows in training take no part in the balanced set.
FEWEST_BALANCED = 4
_SINGLE = ("qams", "in12")
_SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
_CURVE_REPEATS = 3
_FEWEST_CURVE = 10
_NOISE_COLUMNS = 3
_FEWEST_RESAMPLED = 20
_RESAMPLED = 400


def part_scores(target: FloatArray, predicted: FloatArray) -> PartScores:
    """
    Return how well rows are predicted.

    Parameters
    ----------
    target, predicted : ndarray of shape (n,)

    Returns
    -------
    PartScores
        R2 is None for less than two rows, or where all targets are equal; all are without rows.

    Examples
    --------
    >>> part_scores(np.array([0.0, 2.0]), np.array([0.0, 1.0])).r2
    0.5
    >>> part_scores(np.zeros(3), np.ones(3)).r2 is None
    True
    """
    if not len(target):
        return PartScores(n=0, r2=None, mae=None, rmse=None)
    whole = r2(target, predicted)
    mae = float(mean_absolute_error(target, predicted))
    return PartScores(
        n=len(target),
        r2=whole,
        mae=mae,
        rmse=float(np.sqrt(mean_squared_error(target, predicted))),
        r2_interval=None if whole is None else _resampled_r2(target, predicted),
        mae_over_sd=None if whole is None else mae / float(np.std(target)),
    )


def r2(target: FloatArray, predicted: FloatArray) -> float | None:
    """Return R2; None for less than two rows, or where all targets are equal."""
    varies = len(target) > 1 and float(np.ptp(target)) > 0.0
    return float(r2_score(target, predicted)) if varies else None


def _resampled_r2(target: FloatArray, predicted: FloatArray) -> tuple[float, float] | None:
    """Return limits of R2 over resampled rows; None for too few of them."""
    if len(target) < _FEWEST_RESAMPLED:
        return None
    rng = np.random.default_rng(0)
    found = []
    for _ in range(_RESAMPLED):  # one by one: all together would be 400 times the rows
        rows = rng.integers(0, len(target), len(target))
        total = float(np.var(target[rows]))
        if total > 0:
            found.append(1 - float(np.mean((target - predicted)[rows] ** 2)) / total)
    low, high = np.percentile(found, [5, 95])
    return float(low), float(high)


def scores_by_element(
    train: LearningData, test: LearningData, in_train: FloatArray, in_test: FloatArray
) -> dict[str, ElementScores]:
    """Return how well each element's rows are predicted, by the element."""
    names = sorted({*train.elements.tolist(), *test.elements.tolist()})
    return {
        name: ElementScores(
            train=_of(train, in_train, train.elements == name),
            test=_of(test, in_test, test.elements == name),
        )
        for name in names
    }


def forest_learner(parameters: Mapping[str, Any], *, seed: int, workers: int) -> Learner:
    """Return how forests with some hyper-parameters predict."""

    def learn(known: LearningData, asked: LearningData) -> FloatArray:
        return predicted(fit(known, parameters, seed=seed, workers=workers), asked)

    return learn


def balanced(
    train: LearningData, test: LearningData, learner: Learner, *, seed: int
) -> BalancedDoc | None:
    """
    Train and test once more with equally many rows of each element.

    As many as the rarest element with 4 training rows and one test row has, at random; None where
    fewer than two elements have these.
    """
    names = [
        name
        for name in sorted(set(train.elements.tolist()))
        if (train.elements == name).sum() >= FEWEST_BALANCED and (test.elements == name).any()
    ]
    if len(names) < 2:
        return None
    rng = np.random.default_rng(seed)
    known, asked = (_equal_part(part, names, rng) for part in (train, test))
    both = _join(known, asked)
    predicted = learner(known, both)
    in_train, in_test = predicted[: len(known)], predicted[len(known) :]
    return BalancedDoc(
        n_per_element=len(both) // len(names),
        elements=names,
        scores=ElementScores(
            train=part_scores(known.target, in_train), test=part_scores(asked.target, in_test)
        ),
        by_element=scores_by_element(known, asked, in_train, in_test),
    )


def importances(
    train: LearningData,
    test: LearningData,
    parameters: Mapping[str, Any],
    *,
    repeats: int,
    seed: int,
    workers: int,
) -> list[ImportanceDoc]:
    """
    Return how much worse predictions of the test part get when a feature is permuted.

    Parameters
    ----------
    train, test : LearningData
    parameters : mapping
        Hyper-parameters of the forest.
    repeats : int
        Permutations of each feature, for each forest.
    seed, workers : int

    Returns
    -------
    list of ImportanceDoc
        In units of the importance of noise, largest first; empty where noise has none, or there is
        nothing to test on.

    Notes
    -----
    Equations 11 to 15 of the VtC-XES anisotropy paper: scikit-learn's `permutation_importance` with
    ``neg_mean_squared_error`` on the test part, for a forest that was trained with a column of
    normal noise beside the features, over the importance of that column. As noise's importance is
    small and of either sign, one column would make an accidental unit: three forests are trained,
    each with its own column, and the unit is the mean size (absolute value) over forests and
    permutations. Where noise hurts or helps by chance only, its own mean is thus below 1; it
    stands as 1 in the list, with the spread of its permutations.
    """
    test = test.learned()  # of the others, no feature decides anything
    if len(test) < 2:
        return []
    rng = np.random.default_rng(seed)
    found: list[FloatArray] = []
    for number in range(_NOISE_COLUMNS):
        known, asked = (_with_noise(part, rng) for part in (train, test))
        forest = fit(known, parameters, seed=seed + number, workers=workers)
        result = permutation_importance(
            _AsEstimator(forest),
            asked.features,
            asked.target,
            scoring="neg_mean_squared_error",
            n_repeats=repeats,
            random_state=seed + number,
        )
        found.append(result.importances)
    every = np.concatenate(found, axis=1)
    unit = float(np.abs(every[-1]).mean())
    if unit == 0.0:
        return []
    relative = every / unit
    documents = [
        ImportanceDoc(feature=name, importance=float(row.mean()), std=float(row.std()))
        for name, row in zip(train.names, relative, strict=False)
    ]
    documents.append(ImportanceDoc(feature=NOISE, importance=1.0, std=float(relative[-1].std())))
    return sorted(documents, key=lambda one: -one.importance)


def learning_curve(
    train: LearningData, test: LearningData, learner: Learner, *, seed: int
) -> list[LearningPoint]:
    """
    Return how well models from fewer rows predict the test part.

    Each size (10, 25, 50, 75, 100 % of the training rows, 10 at least) is drawn three times, whole
    groups in random order until there are enough rows; the whole is trained with three seeds' worth
    of orders and so shows the forest's own scatter.
    """
    points = []
    sizes = sorted({max(_FEWEST_CURVE, round(share * len(train))) for share in _SHARES})
    for size in (size for size in sizes if size <= len(train) and len(test)):
        tries = [
            part_scores(test.target, learner(train.take(chosen), test))
            for chosen in _subsets(train, size, seed)
        ]
        found = [one.r2 for one in tries if one.r2 is not None]
        mae = [one.mae for one in tries if one.mae is not None]
        points.append(
            LearningPoint(
                n_train=size,
                r2=float(np.mean(found)) if found else None,
                r2_std=float(np.std(found)) if found else None,
                mae=float(np.mean(mae)),
                mae_std=float(np.std(mae)),
            )
        )
    return points


def baselines(train: LearningData, test: LearningData) -> dict[str, ElementScores]:
    """
    Return how well simple models do on the same features.

    Returns
    -------
    dict of str to ElementScores
        ``mean``: the mean target. ``element_mean``: that of the element. ``ridge``: linear, scaled,
        missing features as medians. ``qams`` or ``in12``, whichever is there: the best rising
        function of it alone.
    """
    single = next(name for name in _SINGLE if name in train.names)
    simple: dict[str, Learner] = {
        "mean": _sklearn(DummyRegressor),
        "element_mean": _element_mean,
        "ridge": _sklearn(_ridge),
        single: _rising(single),
    }
    return {name: scores(learner, train, test) for name, learner in simple.items()}


def scores(learner: Learner, train: LearningData, test: LearningData) -> ElementScores:
    """Return how well a model predicts the rows that it was trained on, and others."""
    return ElementScores(
        train=part_scores(train.target, learner(train, train)),
        test=part_scores(test.target, learner(train, test))
        if len(test)
        else part_scores(test.target, test.target),
    )


def leave_one_element_out(
    whole: LearningData, learner: Learner, done: Callable[[], None]
) -> dict[str, PartScores]:
    """
    Return how well an element is predicted by a model that knows the others.

    Rows of other elements in the same groups are left out as well: of one compound, the oxygens
    around one metal say too much of those around the other.

    Parameters
    ----------
    whole : LearningData
        Training and test part.
    learner : callable
    done : callable
        Called after each element.
    """
    found = {}
    for name in sorted(set(whole.elements.tolist())):
        ours = whole.elements == name
        known = ~np.isin(whole.groups, whole.groups[ours])
        if known.sum() >= _FEWEST_CURVE:
            asked = whole.take(ours)
            found[name] = part_scores(asked.target, learner(whole.take(known), asked))
        done()
    return found


class _AsEstimator(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # no types there
    """A trained forest as scikit-learn's functions for estimators take it."""

    def __init__(self, forest: Forest) -> None:
        self.forest = forest

    def fit(self, *_: Any) -> _AsEstimator:
        """Return itself: it is trained."""
        return self

    def predict(self, features: FloatArray) -> FloatArray:
        """Return what the forest says of rows."""
        return self.forest.values(features)


def _of(data: LearningData, predicted: FloatArray, chosen: NDArray[np.bool_]) -> PartScores:
    return part_scores(data.target[chosen], predicted[chosen])


def _equal_part(data: LearningData, names: Sequence[str], rng: np.random.Generator) -> LearningData:
    numbers = [np.flatnonzero(data.elements == name) for name in names]
    count = min(len(each) for each in numbers)
    chosen = [rng.choice(each, count, replace=False) for each in numbers]
    return data.take(np.sort(np.concatenate(chosen)))


def _join(one: LearningData, other: LearningData) -> LearningData:
    return replace(
        one,
        features=np.concatenate([one.features, other.features]),
        target=np.concatenate([one.target, other.target]),
        elements=np.concatenate([one.elements, other.elements]),
        groups=np.concatenate([one.groups, other.groups]),
        isotropic=np.concatenate([one.isotropic, other.isotropic]),
    )


#: Both parts of a table again as one.
join = _join


def _with_noise(data: LearningData, rng: np.random.Generator) -> LearningData:
    noise = rng.standard_normal((len(data), 1))
    return replace(data, features=np.concatenate([data.features, noise], axis=1))


def _subsets(data: LearningData, size: int, seed: int) -> list[NDArray[np.int64]]:
    """Return the numbers of some rows, several times: whole groups but for the last."""
    found = []
    for repeat in range(_CURVE_REPEATS):
        rng = np.random.default_rng([seed, size, repeat])
        names, of = np.unique(data.groups, return_inverse=True)
        rank = rng.permutation(len(names))[of]
        found.append(np.argsort(rank, kind="stable")[:size].astype(np.int64))
    return found


def _sklearn(make: Callable[[], Any]) -> Learner:
    def learn(known: LearningData, asked: LearningData) -> FloatArray:
        model = make().fit(known.features, known.target)
        return np.asarray(model.predict(asked.features), dtype=float)

    return learn


def _ridge() -> Any:
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(imputer, StandardScaler(), Ridge())


def _element_mean(known: LearningData, asked: LearningData) -> FloatArray:
    means = {
        name: float(known.target[known.elements == name].mean())
        for name in set(known.elements.tolist())
    }
    whole = float(known.target.mean())
    return np.asarray([means.get(name, whole) for name in asked.elements.tolist()])


def _rising(name: str) -> Learner:
    def learn(known: LearningData, asked: LearningData) -> FloatArray:
        column = known.names.index(name)
        model = IsotonicRegression(increasing=True, out_of_bounds="clip")
        model.fit(known.features[:, column], known.target)
        return np.asarray(model.predict(asked.features[:, column]), dtype=float)

    return learn
