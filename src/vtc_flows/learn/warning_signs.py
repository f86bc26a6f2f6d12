"""What the data behind a model do not carry, in sentences for its card."""

from __future__ import annotations

from vtc_flows.learn.domain import FEW_ROWS
from vtc_flows.schemas.models import ModelCard

_ENOUGH_ROWS = 1000
_ENOUGH_TEST = 30
_ENOUGH_OF_ELEMENT = 50


def warning_signs(card: ModelCard) -> list[str]:
    """
    Return what one should know before believing a model's numbers.

    Parameters
    ----------
    card : ModelCard
        Complete but for its warnings.
    """
    return [*_size(card), *_elements(card), *_quality(card), *_intervals(card)]


def _size(card: ModelCard) -> list[str]:
    train, test = card.scores.train.n, card.scores.test.n
    found = []
    if train < _ENOUGH_ROWS:
        found.append(
            f"{train} training rows are few: the published model had about 9,200, and hyper-"
            "parameters, importances and scores of this one will change with more"
        )
    if test < _ENOUGH_TEST:
        found.append(f"scores and coverage are of {test} test rows: they are rough")
    return found


def _elements(card: ModelCard) -> list[str]:
    rows = card.domain.elements
    found = []
    scarce = {name: count for name, count in rows.items() if count < _ENOUGH_OF_ELEMENT}
    if scarce:
        each = ", ".join(f"{name} {count}" for name, count in scarce.items())
        found.append(f"elements with less than {_ENOUGH_OF_ELEMENT} training rows: {each}")
    alone = [name for name, count in rows.items() if count < FEW_ROWS]
    if alone:
        found.append(
            f"predictions for {', '.join(alone)} count as outside the domain: less than "
            f"{FEW_ROWS} training rows"
        )
    bad = [
        name
        for name, scores in card.by_element.items()
        if scores.test.r2 is not None and scores.test.r2 <= 0.0
    ]
    if bad:
        found.append(f"no better than the element's own mean on the test rows of: {', '.join(bad)}")
    return found


def _quality(card: ModelCard) -> list[str]:
    test = card.scores.test
    found = []
    if test.r2 is not None and test.r2 <= 0.0:
        found.append(f"test R2 is {test.r2:.2f}: no better than the mean of the test rows")
    if card.search.cv_r2 <= 0.0:
        found.append(
            f"cross-validated R2 is {card.search.cv_r2:.2f}: no better than the mean of the rows "
            "held out"
        )
    for name, scores in card.baselines.items():
        theirs = scores.test.rmse
        if theirs is not None and test.rmse is not None and theirs <= test.rmse:
            found.append(
                f"the baseline {name} is as good on the test rows: RMSE {theirs:.3g} against "
                f"{test.rmse:.3g}"
            )
    if not card.importances:
        found.append("importances are not defined: permuted noise changed no prediction")
    return found


def _intervals(card: ModelCard) -> list[str]:
    found = []
    for one in card.interval.coverage:
        # twice the standard deviation of a share of n rows
        margin = 2.0 * (one.level * (1.0 - one.level) / one.n) ** 0.5
        if one.coverage < one.level - margin:
            found.append(
                f"intervals of {one.level:.0%} hold {one.coverage:.0%} of the {one.n} test rows"
            )
    return found
