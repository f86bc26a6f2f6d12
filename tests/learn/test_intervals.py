from __future__ import annotations

import numpy as np
import pytest
from learning import QUICK, reference, synthetic_table

from vtc_flows.errors import InputError
from vtc_flows.learn.intervals import LEVELS, calibrate
from vtc_flows.learn.matrix import learning_data
from vtc_flows.learn.training import train_model


def test_coverage_on_rows_that_training_did_not_see():
    table = synthetic_table(2000, seed=5)
    model = train_model(table, reference(2000), QUICK)
    _, test = learning_data(table, "sams")
    found = model.predict(test.features, test.elements)
    n = len(test)
    for level in LEVELS:
        inside = (test.target >= found.low[level]) & (test.target <= found.high[level])
        assert abs(inside.mean() - level) < 3.0 * np.sqrt(level * (1 - level) / n)
        (card,) = [one for one in model.card.interval.coverage if one.level == level]
        assert (card.coverage, card.n) == (pytest.approx(inside.mean()), n)
    widths = found.high[0.9] - found.low[0.9]
    assert np.percentile(widths, 90) > 1.2 * np.percentile(widths, 10)
    for inner, outer in ((0.5, 0.8), (0.8, 0.9)):
        assert (found.low[outer] <= found.low[inner]).all()
        assert (found.high[outer] >= found.high[inner]).all()
    assert all((found.low[level] <= found.value).all() for level in LEVELS)
    assert found.low[0.9].min() >= 0.0


def test_a_finite_number_of_errors_is_made_up_for():
    """With n errors the ends are the ranks that a further one exceeds as often as promised."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(4000):
        errors = rng.normal(size=30)
        one = calibrate(errors, np.zeros(30), np.ones(30))
        low, high = one.interval(np.zeros(1), np.ones(1), 0.8)
        inside.append(low[0] <= rng.normal() <= high[0])
    assert 0.79 < np.mean(inside) < 0.86  # ceil(31 * 0.9) of 31 at each end: 0.806 promised


def test_levels_beyond_the_data_are_refused_with_the_number_needed():
    one = calibrate(np.arange(30.0), np.zeros(30), np.ones(30))
    with pytest.raises(InputError, match="needs 199 training rows; the model has 30"):
        one.interval(np.zeros(1), np.ones(1), 0.99)
    enough = calibrate(np.arange(199.0), np.zeros(199), np.ones(199))
    assert enough.interval(np.zeros(1), np.ones(1), 0.99)[1] == 198.0
    for level in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="not between 0 and 1"):
            one.interval(np.zeros(1), np.ones(1), level)


def test_only_targets_that_are_never_negative_end_at_zero():
    down = calibrate(np.linspace(-1, 1, 50), np.zeros(50), np.ones(50))
    assert down.interval(np.zeros(1), np.ones(1), 0.8)[0] < 0
    up = calibrate(np.linspace(0, 2, 50), np.ones(50), np.ones(50))
    assert up.interval(np.zeros(1), np.ones(1), 0.8)[0] == 0
