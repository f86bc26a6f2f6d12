from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from vtc_flows.errors import InputError
from vtc_flows.learn.ranks import rank_curve, spearman


def noisy(n: int, noise: float, seed: int = 0):
    chance = np.random.default_rng(seed)
    x = chance.random(n)
    return x, x + noise * chance.random(n)


@pytest.mark.parametrize("noise", [0.0, 0.5, 5.0])
def test_it_is_that_of_scipy(noise):
    x, y = noisy(200, noise)
    x = np.round(x, 1)  # with ties
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_only_ranks_count():
    x, y = noisy(50, 0.3)
    assert spearman(np.exp(9 * x), y**3) == pytest.approx(spearman(x, y))


def test_where_it_is_not_defined():
    assert spearman([1, 2], [1, 2]) is None
    assert spearman([], []) is None
    assert rank_curve(np.zeros((2, 5)), np.arange(5)).model_dump() == {
        "rho": [None, None],
        "low": [None, None],
        "high": [None, None],
    }
    with pytest.raises(InputError, match="3 and 4"):
        spearman([1, 2, 3], [1, 2, 3, 4])


def test_the_interval_holds_the_truth_as_often_as_it_says():
    truth = spearman(*noisy(200_000, 1.0, seed=99))
    curves = [rank_curve(x[None], y, seed=7) for x, y in (noisy(100, 1.0, s) for s in range(200))]
    held = [curve.low[0] <= truth <= curve.high[0] for curve in curves]
    assert 0.88 <= np.mean(held) <= 0.99
    assert all(c.low[0] <= c.rho[0] <= c.high[0] for c in curves)
