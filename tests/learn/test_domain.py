from __future__ import annotations

import numpy as np
import pytest

from vtc_flows.learn.domain import learn_domain
from vtc_flows.learn.matrix import LearningData

NAMES = ("a", "b", "c")


def data(features, elements) -> LearningData:
    count = len(features)
    return LearningData(
        NAMES,
        np.asarray(features, dtype=float),
        np.zeros(count),
        np.asarray(elements),
        np.arange(count),
        np.zeros(count, bool),
    )


@pytest.fixture(scope="module")
def domain():
    rng = np.random.default_rng(0)
    features = np.column_stack([rng.normal(size=(200, 2)), np.full(200, np.nan)])
    features[0, 1] = np.nan
    return learn_domain(data(features, ["Ti"] * 197 + ["V"] * 3), NAMES, ("g", "", ""))


def reasons(domain, row, element="Ti") -> list[str]:
    rows = np.array([row], dtype=float)
    return domain.reasons(rows, [element], domain.distances(rows))[0]


def test_what_is_like_the_training_rows_is_inside(domain):
    assert reasons(domain, [0.1, -0.2, np.nan]) == []
    assert reasons(domain, [0.1, np.nan, np.nan]) == []  # as one training row


def test_each_reason_is_told_with_its_numbers(domain):
    assert reasons(domain, [0, 0, np.nan], "Zr") == ["no training row has the absorber Zr"]
    assert reasons(domain, [0, 0, np.nan], "V") == ["only 3 training rows have the absorber V"]
    low = domain.low[0]
    (below, *_) = reasons(domain, [low - 1, 0, np.nan])
    assert (
        below == f"a {low - 1:.4g} g is below the training rows' {low:.4g} to {domain.high[0]:.4g}"
    )
    assert reasons(domain, [np.nan, 0, np.nan]) == ["a is missing; no training row lacks it"]
    assert reasons(domain, [0, 0, 1.0])[0] == "c is given; all training rows lack it"
    # rounding is not outside
    assert reasons(domain, [low * (1 + 1e-15), 0, np.nan])[:1] != [below]


def test_a_combination_that_training_never_had_is_far():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, 300)
    line = learn_domain(data(np.column_stack([x, x, x]), ["Ti"] * 300), NAMES, ("", "", ""))
    (reason,) = reasons(line, [0.9, -0.9, 0.9])
    assert reason.startswith("distance ")
    assert f"is above {line.limit:.3g}" in reason
    assert reasons(line, [0.5, 0.5, 0.5]) == []


def test_distances_are_those_to_the_five_nearest(domain):
    row = np.array([[0.3, 0.4, np.nan]])
    scaled = np.arcsinh((row[0, :2] - domain.center[:2]) / domain.width[:2])
    each = np.sqrt(((domain.points[:, :2] - scaled) ** 2).sum(axis=1))
    assert domain.distances(row)[0] == pytest.approx(np.sort(each)[:5].mean())
    assert domain.distances(np.zeros((0, 3))).shape == (0,)


def test_few_or_equal_rows_make_a_domain():
    same = learn_domain(data([[1, 1, 1], [1, 1, 1]], ["Ti", "Ti"]), NAMES, ("", "", ""))
    assert same.limit == 0.0
    assert reasons(same, [1, 1, 1]) == ["only 2 training rows have the absorber Ti"]
