"""Forests of regression trees: spaces they are searched in, and what a finished one gives."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import randint, uniform
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.model_selection import ParameterSampler
from sklearn.tree import DecisionTreeRegressor
from sklearn.tree._tree import Tree
from threadpoolctl import threadpool_limits

from vtc_flows.errors import InputError
from vtc_flows.learn.matrix import FloatArray, LearningData, in_32_bits
from vtc_flows.schemas.dataset import ModelKind

Parameters = dict[str, bool | int | float | str]

#: The best hyper-parameters of the VtC-XES anisotropy paper (its table 2): a baseline.
PAPER_BEST: Parameters = {
    "bootstrap": True,
    "criterion": "squared_error",
    "max_depth": 12,
    "max_features": 0.3,
    "max_samples": 0.6676,
    "min_samples_leaf": 6,
    "min_samples_split": 11,
    "n_estimators": 587,
}

#: Boosted models, each with other random features, whose mean is taken.
N_SEEDS = 3

#: Errors are noisy: few small trees.
_ERRORS = {
    "learning_rate": 0.05,
    "max_features": 0.3,
    "max_iter": 100,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 20,
    "n_seeds": 1,
}

_LOWEST_SAMPLES, _HIGHEST_SAMPLES = 0.6, 0.8
_LARGEST = float(np.finfo(np.float32).max)


def search_space(
    n_trees: tuple[int, int] = (300, 700), kind: ModelKind = "paper"
) -> dict[str, Any]:
    """
    Return the hyper-parameters that are tried.

    Parameters
    ----------
    n_trees : (int, int)
        Least, and one more than most.
    kind : {"paper", "v2"}

    Returns
    -------
    dict
        Lists and distributions as scikit-learn's `ParameterSampler` takes them.

    Notes
    -----
    "v2" is gradient boosting with histograms (Ke et al., NIPS 30, 3146 (2017)): few parameters
    matter, and its space is small.

    "paper" is the space of the VtC-XES anisotropy paper, section 2.7. Its ``uniform(0.6, 0.8)`` for
    ``max_samples`` is read as the interval from 0.6 to 0.8: scipy's function of that name would
    go up to 1.4, and no forest draws more than all rows. ``randint`` leaves out its upper end, as
    scipy's. Of eight features "sqrt" and 0.3 both are two, "log2" is three.

    Examples
    --------
    >>> low, high = search_space()["max_samples"].support()
    >>> round(float(low), 12), round(float(high), 12)
    (0.6, 0.8)
    """
    if kind == "v2":
        return {
            "learning_rate": [0.04],
            "max_features": [0.15, 0.3],
            "max_iter": randint(*n_trees),
            "max_leaf_nodes": [8, 16, 32],
            "min_samples_leaf": [4, 8, 15],
            "n_seeds": [N_SEEDS],
        }
    return {
        "bootstrap": [True],
        "criterion": ["squared_error"],
        "max_depth": [6, 8, 10, 12],
        "max_features": ["sqrt", "log2", 0.3],
        "max_samples": uniform(_LOWEST_SAMPLES, _HIGHEST_SAMPLES - _LOWEST_SAMPLES),
        "min_samples_leaf": randint(5, 25),
        "min_samples_split": randint(10, 50),
        "n_estimators": randint(*n_trees),
    }


def draws(
    count: int, seed: int, n_trees: tuple[int, int] = (300, 700), kind: ModelKind = "paper"
) -> list[Parameters]:
    """
    Return hyper-parameters at random; the first of more draws are those of fewer.

    Examples
    --------
    >>> draws(3, seed=0)[:2] == draws(2, seed=0)
    True
    """
    sampler = ParameterSampler(search_space(n_trees, kind), count, random_state=seed)
    return [{key: _plain(value) for key, value in sorted(drawn.items())} for drawn in sampler]


@dataclass(frozen=True, eq=False)
class Forest:
    """
    A trained forest as the numbers that it is made of.

    Attributes
    ----------
    n_features : int
    starts : ndarray of int of shape (n_trees + 1,)
        Where each tree's nodes begin in the other arrays.
    left, right : ndarray of int of shape (n_nodes,)
        Number of the next node within the tree; -1 in a leaf.
    feature : ndarray of int of shape (n_nodes,)
        Column that is compared; negative in a leaf.
    threshold : ndarray of shape (n_nodes,)
        Rows up to it go left.
    missing_left : ndarray of int of shape (n_nodes,)
        1 where rows without that feature go left.
    value : ndarray of shape (n_nodes,)
        Mean target of the node's training rows.
    impurity : ndarray of shape (n_nodes,)
        Variance of their targets.
    """

    n_features: int
    starts: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: FloatArray
    missing_left: NDArray[np.int64]
    value: FloatArray
    impurity: FloatArray

    def __post_init__(self) -> None:
        self._check()
        object.__setattr__(self, "_trees", [self._tree(k) for k in range(self.n_trees)])

    @property
    def n_trees(self) -> int:
        """Return how many trees it has."""
        return len(self.starts) - 1

    @classmethod
    def of(cls, trained: RandomForestRegressor) -> Forest:
        """Return scikit-learn's forest."""
        trees = [one.tree_ for one in trained.estimators_]
        states = [tree.__getstate__()["nodes"] for tree in trees]
        nodes = np.concatenate(states)
        return cls(
            n_features=int(trained.n_features_in_),
            starts=np.cumsum([0, *(len(state) for state in states)]),
            left=nodes["left_child"].astype(np.int64),
            right=nodes["right_child"].astype(np.int64),
            feature=nodes["feature"].astype(np.int64),
            threshold=nodes["threshold"].astype(np.float64),
            missing_left=nodes["missing_go_to_left"].astype(np.int64),
            value=np.concatenate([tree.value[:, 0, 0] for tree in trees]),
            impurity=nodes["impurity"].astype(np.float64),
        )

    @classmethod
    def of_boosted(cls, trained: Sequence[HistGradientBoostingRegressor]) -> Forest:
        """
        Return the mean of scikit-learn's boosted models as one forest.

        The mean over its trees is what they say: values of leaves times the number of trees of a
        model, and the model's baseline added to each.
        """
        parts = [
            (one[0].nodes, len(model._predictors), float(model._baseline_prediction.item()))
            for model in trained
            for one in model._predictors
        ]
        nodes = np.concatenate([part for part, _, _ in parts])
        is_leaf = nodes["is_leaf"].astype(bool)
        value = np.concatenate([part["value"] * count + base for part, count, base in parts])
        return cls(
            n_features=int(trained[0].n_features_in_),
            starts=np.cumsum([0, *(len(part) for part, _, _ in parts)]),
            left=np.where(is_leaf, -1, nodes["left"].astype(np.int64)),
            right=np.where(is_leaf, -1, nodes["right"].astype(np.int64)),
            feature=np.where(is_leaf, -1, nodes["feature_idx"].astype(np.int64)),
            threshold=np.where(is_leaf, 0.0, _below(nodes["num_threshold"])),
            missing_left=np.where(is_leaf, 0, nodes["missing_go_to_left"].astype(np.int64)),
            value=np.where(is_leaf, in_32_bits(value), 0.0),
            impurity=np.zeros(len(nodes)),
        )

    def values(self, features: FloatArray) -> FloatArray:
        """Return what the forest says of rows alone; see `moments`."""
        return self.moments(features)[0]

    def moments(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """
        Return what the forest says of rows, and how far targets like theirs are spread.

        Parameters
        ----------
        features : ndarray of shape (n, n_features)
            NaN where missing.

        Returns
        -------
        mean : ndarray of shape (n,)
            Mean over the trees of the leaves' values, as scikit-learn's ``predict``.
        spread : ndarray of shape (n,)
            Standard deviation of the mixture of the training targets in these leaves: the square
            root of mean(variance + value^2) - mean(value)^2.

        Notes
        -----
        Trees are summed in their order, so that the result is the same to the last digit whatever
        the number of threads that trained them. The mixture is that of quantile regression
        forests (Meinshausen, J. Mach. Learn. Res. 7, 983 (2006)), by its variance alone.
        """
        if features.ndim != 2 or features.shape[1] != self.n_features:
            raise InputError(
                f"features of shape {features.shape}: {self.n_features} columns expected"
            )
        if (np.abs(features) > _LARGEST).any():
            raise InputError("a feature is infinite, or too large for 32 bits")
        rows = np.ascontiguousarray(features, dtype=np.float32)  # as scikit-learn compares
        first, second = np.zeros(len(rows)), np.zeros(len(rows))
        trees: list[Tree] = self.__dict__["_trees"]
        for start, tree in zip(self.starts, trees, strict=False):
            leaf = start + tree.apply(rows)
            value = self.value[leaf]
            first += value
            second += self.impurity[leaf] + value * value
        mean = first / self.n_trees
        return mean, np.sqrt(np.maximum(second / self.n_trees - mean * mean, 0.0))

    def _tree(self, number: int) -> Tree:
        """Return a tree as scikit-learn runs it."""
        part = slice(self.starts[number], self.starts[number + 1])
        nodes = np.zeros(self.starts[number + 1] - self.starts[number], dtype=_node_type())
        nodes["left_child"], nodes["right_child"] = self.left[part], self.right[part]
        nodes["feature"], nodes["threshold"] = self.feature[part], self.threshold[part]
        nodes["missing_go_to_left"] = self.missing_left[part]
        nodes["impurity"] = self.impurity[part]
        values = np.ascontiguousarray(self.value[part].reshape(-1, 1, 1))
        tree = Tree(self.n_features, np.ones(1, dtype=np.intp), 1)
        state = {"max_depth": len(nodes), "node_count": len(nodes)}
        tree.__setstate__({**state, "nodes": nodes, "values": values})
        return tree

    def _check(self) -> None:
        """Refuse nodes that would lead out of a tree: scikit-learn itself looks at none."""
        each = (self.left, self.right, self.feature, self.missing_left)
        whole = (self.starts, *each, self.threshold, self.value, self.impurity)
        if any(part.ndim != 1 for part in whole):
            raise InputError("the forest's arrays have more than one dimension")
        sizes = {len(part) for part in whole[1:]}
        lengths = np.diff(self.starts)
        if (
            len(self.starts) < 2
            or self.starts[0] != 0
            or (lengths < 1).any()
            or sizes != {int(self.starts[-1])}
        ):
            raise InputError("the forest's arrays do not fit each other")
        numbers = np.arange(self.starts[-1]) - np.repeat(self.starts[:-1], lengths)
        ends = np.repeat(lengths, lengths)
        leaf = self.left == -1
        good_leaf = self.right == -1
        # children come after their node, so that every way ends
        good_node = (self.feature >= 0) & (self.feature < self.n_features)
        for child in (self.left, self.right):
            good_node &= (child > numbers) & (child < ends)
        if not np.where(leaf, good_leaf, good_node).all():
            raise InputError("a node of the forest leads nowhere")
        if not np.isin(self.missing_left, (0, 1)).all():
            raise InputError("a node of the forest has two ways for missing features")
        if not (np.isfinite(self.value).all() and np.isfinite(self.impurity).all()):
            raise InputError("a node of the forest has no finite value")
        if np.isnan(self.threshold[~leaf]).any():
            raise InputError("a node of the forest has no threshold")


def fit(data: LearningData, parameters: Mapping[str, Any], *, seed: int, workers: int) -> Forest:
    """
    Train a forest on the rows that are not zero by symmetry.

    Parameters
    ----------
    data : LearningData
    parameters : mapping
        Of scikit-learn's `RandomForestRegressor`, or, with a learning rate, of its
        `HistGradientBoostingRegressor` and ``n_seeds``, the number of models whose mean is taken.
    seed : int
    workers : int
        Threads; the result does not depend on them.
    """
    rows = data.learned()
    if "learning_rate" in parameters:
        return _fit_boosted(rows.features, rows.target, parameters, seed, workers)
    forest = RandomForestRegressor(**parameters, random_state=seed, n_jobs=workers)
    with warnings.catch_warnings():
        # small shares of few rows: the card says that they are few
        warnings.filterwarnings("ignore", "Using the fractional value max_samples", UserWarning)
        forest.fit(rows.features, rows.target)
    return Forest.of(forest)


def once(parameters: Mapping[str, Any]) -> Parameters:
    """Return the hyper-parameters of a single boosted model in the place of a mean of several."""
    single = {"n_seeds": 1} if "n_seeds" in parameters else {}
    return {**parameters, **single}


def fit_errors(data: LearningData, errors: FloatArray, *, seed: int, workers: int) -> Forest:
    """
    Train a forest on the size of errors: where a boosted model errs more.

    Parameters
    ----------
    data : LearningData
    errors : ndarray of shape (n,)
        Of rows that were predicted by models without them.
    seed, workers : int
    """
    return _fit_boosted(data.features, np.abs(errors), _ERRORS, seed, workers)


def predicted(forest: Forest, data: LearningData) -> FloatArray:
    """Return what a forest says of rows; zero where symmetry does."""
    return np.where(data.isotropic, 0.0, forest.values(data.features))


def _fit_boosted(
    features: FloatArray,
    target: FloatArray,
    parameters: Mapping[str, Any],
    seed: int,
    workers: int,
) -> Forest:
    own = {name: value for name, value in parameters.items() if name != "n_seeds"}
    models = []
    # trees of a forest compare in 32 bits, boosted ones in 64: so that both go the same way
    rows = in_32_bits(features)
    with threadpool_limits(workers):
        for number in range(int(parameters["n_seeds"])):
            model = HistGradientBoostingRegressor(
                **own, early_stopping=False, random_state=seed + 1000 * number
            )
            models.append(model.fit(rows, target))
    return Forest.of_boosted(models)


def _below(thresholds: FloatArray) -> FloatArray:
    """Return the largest numbers of 32 bits up to the thresholds: the same rows are up to them."""
    near = in_32_bits(thresholds)
    lower = np.nextafter(near.astype(np.float32), np.float32(-np.inf)).astype(np.float64)
    return np.where(near > thresholds, lower, near)


@cache
def _node_type() -> np.dtype[Any]:
    """Return how this version of scikit-learn lays out a node."""
    tree = DecisionTreeRegressor(random_state=0).fit([[0.0], [1.0]], [0.0, 1.0]).tree_
    found: np.dtype[Any] = tree.__getstate__()["nodes"].dtype
    return found


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
