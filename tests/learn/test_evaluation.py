from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vtc_flows.learn.evaluation import (
    NOISE,
    balanced,
    baselines,
    forest_learner,
    importances,
    join,
    learning_curve,
    leave_one_element_out,
    part_scores,
)
from vtc_flows.learn.matrix import LearningData
from vtc_flows.schemas.dataset import PAPER_FEATURES

PARAMETERS = {"n_estimators": 15, "max_depth": 8, "min_samples_leaf": 3, "max_samples": 0.8}
LEARNER = forest_learner(PARAMETERS, seed=0, workers=1)


def data(n: int, seed: int, elements=("Ti", "Fe")) -> LearningData:
    """Return rows whose target is twice the first feature, a little of the second, no other."""
    rng = np.random.default_rng(seed)
    features = rng.uniform(size=(n, 8))
    return LearningData(
        PAPER_FEATURES,
        features,
        2.0 * features[:, 0] + 0.3 * features[:, 1],
        np.resize(np.array(elements), n),
        np.array([f"{seed}-{k}" for k in range(n)]),
        np.zeros(n, bool),
    )


TRAIN, TEST = data(200, 1), data(80, 2)


def test_importances_are_in_units_of_noise():
    found = importances(TRAIN, TEST, PARAMETERS, repeats=5, seed=0, workers=1)
    by_name = {one.feature: one for one in found}
    assert [one.importance for one in found] == sorted((o.importance for o in found), reverse=True)
    assert found[0].feature == "qams"
    assert by_name["qams"].importance > 10 * max(1.0, abs(by_name["n_3d"].importance))
    assert by_name["dams"].importance > 1.0
    assert by_name[NOISE].importance == 1.0
    assert by_name[NOISE].std > 0.0
    again = importances(TRAIN, TEST, PARAMETERS, repeats=5, seed=0, workers=2)
    assert again == found


def test_without_use_of_noise_there_is_no_unit():
    stump = {"n_estimators": 3, "min_samples_leaf": 150}
    assert importances(TRAIN, TEST, stump, repeats=2, seed=0, workers=1) == []
    nothing = TEST.take(np.zeros(len(TEST), dtype=bool))
    assert importances(TRAIN, nothing, PARAMETERS, repeats=2, seed=0, workers=1) == []


def test_baselines_by_hand():
    found = baselines(TRAIN, TEST)
    assert found["ridge"].test.r2 > 0.99
    off = TEST.target - TRAIN.target.mean()
    assert found["mean"].test.rmse == pytest.approx(np.sqrt((off**2).mean()))
    means = {name: TRAIN.target[TRAIN.elements == name].mean() for name in ("Ti", "Fe")}
    off = TEST.target - np.array([means[name] for name in TEST.elements])
    assert found["element_mean"].test.mae == pytest.approx(np.abs(off).mean())
    assert 0.9 < found["qams"].test.r2 < found["ridge"].test.r2


def test_missing_features_are_nothing_to_baselines():
    lacking = replace(TRAIN, features=TRAIN.features.copy())
    lacking.features[:, 6] = np.nan
    lacking.features[::3, 7] = np.nan
    assert baselines(lacking, TEST)["ridge"].test.r2 > 0.9


def test_the_balanced_set_has_equally_many_of_each():
    train = data(200, 1, ("Ti", "Ti", "Ti", "Fe"))
    found = balanced(train, TEST, LEARNER, seed=0)
    assert found.elements == ["Fe", "Ti"]
    assert found.n_per_element == 50 + 40
    assert {one.train.n for one in found.by_element.values()} == {50}
    assert {one.test.n for one in found.by_element.values()} == {40}
    assert found.scores.test.r2 > 0.5
    assert balanced(data(200, 1, ("Ti",)), TEST, LEARNER, seed=0) is None


def test_an_element_is_left_out_with_all_its_groups():
    whole = join(TRAIN, TEST)
    shared = whole.groups.copy()
    shared[1] = shared[0]  # a compound of both elements
    whole = replace(whole, groups=shared)
    seen = {}

    def watching(known, asked):
        seen[asked.elements[0]] = known
        return LEARNER(known, asked)

    n_done = []
    found = leave_one_element_out(whole, watching, lambda: n_done.append(1))
    assert len(n_done) == 2
    for name, known in seen.items():
        assert name not in known.elements
        assert shared[0] not in known.groups
        assert len(known) == 139
    assert found["Ti"].n == 140
    assert found["Ti"].r2 > 0.5


def test_the_learning_curve_rises():
    found = learning_curve(TRAIN, TEST, LEARNER, seed=0)
    assert [one.n_train for one in found] == [20, 50, 100, 150, 200]
    assert found[-1].r2 > found[0].r2
    assert found[-1].mae < found[0].mae
    assert all(one.mae_std >= 0 for one in found)
    small = learning_curve(TRAIN.take(np.arange(12)), TEST, LEARNER, seed=0)
    assert [one.n_train for one in small] == [10, 12]


def test_scores_of_few_rows():
    assert part_scores(np.zeros(0), np.zeros(0)).mae is None
    assert part_scores(np.ones(1), np.zeros(1)).r2 is None
    assert part_scores(np.array([1.0, 3.0]), np.array([2.0, 2.0])).r2 == 0.0
