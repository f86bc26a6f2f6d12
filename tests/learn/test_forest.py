from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from vtc_flows.errors import InputError
from vtc_flows.learn.forest import Forest, draws, fit, search_space

PARAMETERS = {"n_estimators": 7, "max_depth": 5, "min_samples_leaf": 3, "max_samples": 0.7}


@pytest.fixture(scope="module")
def pair(parts):
    train, _ = parts
    theirs = RandomForestRegressor(**PARAMETERS, random_state=4).fit(train.features, train.target)
    return theirs, fit(train, PARAMETERS, seed=4, workers=1)


def test_means_are_those_of_scikit_learn(pair, parts):
    theirs, ours = pair
    rows = parts[1].features.copy()
    rows[::5, 0] = np.nan  # never missing in training
    assert np.isnan(rows[:, 6]).any()
    np.testing.assert_allclose(ours.moments(rows)[0], theirs.predict(rows), rtol=1e-12)


def test_the_spread_is_that_of_the_targets_in_the_leaves(pair, parts):
    theirs, ours = pair
    train, test = parts
    pooled, weights = [], []
    row = test.features[:1]
    for tree, chosen in zip(theirs.estimators_, theirs.estimators_samples_, strict=True):
        leaf = tree.apply(row)[0]
        own = train.target[chosen][tree.apply(train.features[chosen]) == leaf]
        pooled.append(own)
        weights.append(np.full(len(own), 1.0 / len(own)))
    values, share = np.concatenate(pooled), np.concatenate(weights) / ours.n_trees
    mean = (share * values).sum()
    spread = np.sqrt((share * (values - mean) ** 2).sum())
    np.testing.assert_allclose(np.array(ours.moments(row))[:, 0], [mean, spread], rtol=1e-9)


def test_numbers_do_not_depend_on_threads(parts):
    train, test = parts
    one, two = (fit(train, PARAMETERS, seed=1, workers=n).moments(test.features) for n in (1, 2))
    assert (one[0] == two[0]).all()
    assert (one[1] == two[1]).all()


def first_inner(forest: Forest) -> int:
    return int(np.flatnonzero(forest.left >= 0)[0])


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("left", 0, "leads nowhere"),  # to itself: no way would end
        ("right", 10**6, "leads nowhere"),
        ("feature", 8, "leads nowhere"),
        ("feature", -2, "leads nowhere"),
        ("missing_left", 7, "two ways"),
        ("value", np.inf, "no finite value"),
        ("threshold", np.nan, "no threshold"),
    ],
)
def test_nodes_that_lead_out_of_a_tree_are_refused(pair, field, value, says):
    _, forest = pair
    changed = getattr(forest, field).copy()
    changed[first_inner(forest)] = value
    with pytest.raises(InputError, match=says):
        replace(forest, **{field: changed})


def test_arrays_that_do_not_fit_are_refused(pair):
    _, forest = pair
    for given in (
        {"starts": forest.starts[:-1]},
        {"starts": forest.starts[::-1].copy()},
        {"left": forest.left[:-1]},
        {"value": forest.value.reshape(1, -1)},
    ):
        with pytest.raises(InputError):
            replace(forest, **given)
    for rows in (np.zeros((2, 7)), np.zeros(8), np.full((1, 8), 1e300)):
        with pytest.raises(InputError):
            forest.moments(rows)


def test_draws_stay_in_the_space():
    space = search_space()
    found = draws(200, seed=3)
    for drawn in found:
        assert drawn["bootstrap"] is True
        assert drawn["criterion"] == "squared_error"
        assert drawn["max_depth"] in space["max_depth"]
        assert drawn["max_features"] in ("sqrt", "log2", 0.3)
        assert 0.6 <= drawn["max_samples"] <= 0.8
        assert 5 <= drawn["min_samples_leaf"] < 25
        assert 10 <= drawn["min_samples_split"] < 50
        assert 300 <= drawn["n_estimators"] < 700
    assert found == draws(200, seed=3) != draws(200, seed=4)
