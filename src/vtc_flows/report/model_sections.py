"""The parts of a report that a model fills: how it was found, how good it is and for what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vtc_flows.learn.forest import PAPER_BEST, search_space
from vtc_flows.learn.matrix import LearningData
from vtc_flows.learn.model import TrainedModel
from vtc_flows.plots.learning import (
    Parity,
    element_figure,
    importance_figure,
    learning_curve_figure,
    parity_figure,
)
from vtc_flows.report.contents import Contents
from vtc_flows.report.parts import Picture, Section, Table, by_number, number_text
from vtc_flows.schemas.models import PartScores

#: Scores of the VtC-XES anisotropy paper, table 3, to compare with.
PAPER_SCORES = {"train": (0.8526, 0.0256), "test": (0.7935, 0.0298)}

_LEVEL = 0.9
_NO_MODEL = "There is no model of this data set: vtc train makes one."


def model_sections(contents: Contents) -> list[Section]:
    """Return the parts that a model fills; without one they say what makes it."""
    return [
        _training(contents),
        _results(contents),
        _importances(contents),
        _elements(contents),
        _more_rows(contents),
    ]


def _training(contents: Contents) -> Section:
    title = "Search for hyper-parameters"
    if contents.model is None:
        return Section("training", title, missing=_NO_MODEL)
    card = contents.model.card
    space = search_space(card.train_settings.n_trees, card.train_settings.kind)
    rows = tuple(
        (name, _space(space[name]), _setting(value), _setting(PAPER_BEST.get(name, "")))
        for name, value in card.hyper_parameters.items()
    )
    search = card.search
    text = (
        f"{search.n_draws} random draws, each judged by R² over {search.n_folds} folds; the best "
        f"has {search.cv_r2:.3f} ± {search.cv_r2_std:.3f} (spread over the folds)."
    )
    head = ("hyper-parameter", "space", "best here", "best in the paper")
    return Section(
        "training", title, texts=(text,), tables=(Table("Space and choice.", head, rows),)
    )


def _results(contents: Contents) -> Section:
    title = "How well it predicts"
    model, train, test = contents.model, contents.train, contents.test
    if model is None or train is None or test is None:
        return Section("results", title, missing=_NO_MODEL)
    card = model.card
    picture = Picture(
        "parity",
        parity_figure(
            [
                _parity(model, train, "training part"),
                _parity(model, test, f"test part, bars: {_LEVEL:.0%} intervals", with_ends=True),
            ],
            f"{card.target.upper()} (eV$^{{-1/2}}$)",
        ),
        "Predicted over computed values.",
    )
    scores = [
        ("random forest", *_four(card.scores.train, card.scores.test)),
        (
            "the paper's, 11,500 rows",
            *(f"{x:.4f}" for part in ("train", "test") for x in PAPER_SCORES[part]),
        ),
    ]
    scores += [
        (f"baseline: {name}", *_four(each.train, each.test))
        for name, each in card.baselines.items()
    ]
    if card.balanced is not None:
        scores.append(
            (
                f"balanced set, {card.balanced.n_per_element} of each element",
                *_four(card.balanced.scores.train, card.balanced.scores.test),
            )
        )
    coverage = tuple(
        (f"{each.level:.0%}", f"{each.coverage:.0%}", str(each.n), f"{each.mean_width:.4f}")
        for each in card.interval.coverage
    )
    tables = (
        Table(
            f"Scores of {card.target}; MAE in {card.target_unit}.",
            ("predicted by", "training R²", "training MAE", "test R²", "test MAE"),
            tuple(scores),
        ),
        Table(
            "How many test rows lie in their intervals.",
            ("interval", "rows inside", "rows", f"mean width ({card.target_unit})"),
            coverage,
        ),
    )
    share = card.domain.share_inside
    texts = () if share is None else (f"{share:.0%} of the test rows are inside the domain.",)
    return Section("results", title, texts=texts, pictures=(picture,), tables=tables)


def _importances(contents: Contents) -> Section:
    title = "What decides"
    if contents.model is None:
        return Section("importances", title, missing=_NO_MODEL)
    found = contents.model.card.importances
    if not found:
        return Section(
            "importances",
            title,
            missing="Noise, the unit, has no importance: more test rows or trees tell.",
        )
    picture = Picture(
        "importances",
        importance_figure(found),
        "How much the mean squared error of the test part grows when a feature is permuted, in "
        "units of a column of noise; lines: spread over permutations and forests.",
    )
    return Section("importances", title, pictures=(picture,))


def _elements(contents: Contents) -> Section:
    title = "Element by element"
    model, test = contents.model, contents.test
    if model is None or test is None:
        return Section("elements", title, missing=_NO_MODEL)
    card = model.card
    panels = {"all rows": {name: each.test for name, each in by_number(card.by_element)}}
    if card.balanced is not None:
        panels[f"balanced set, {card.balanced.n_per_element} of each element"] = {
            name: each.test for name, each in by_number(card.balanced.by_element)
        }
    pictures = [
        Picture(
            "elements",
            element_figure(panels),
            "R² of each element's test rows; of fewer than two rows there is none.",
        )
    ]
    chosen = [
        _parity(model, test.take(test.elements == name), name, with_ends=True)
        for name in contents.elements
    ]
    pictures.append(
        Picture(
            "two-elements",
            parity_figure(chosen, f"{card.target.upper()} (eV$^{{-1/2}}$)"),
            f"Test rows of {' and '.join(contents.elements)}; bars: {_LEVEL:.0%} intervals.",
        )
    )
    rows = tuple(
        (
            name,
            str(each.train.n),
            str(each.test.n),
            *_four(each.train, each.test),
            number_text(card.leave_one_element_out[name].r2)
            if name in card.leave_one_element_out
            else "–",
        )
        for name, each in by_number(card.by_element)
    )
    table = Table(
        "By element; the last column by a model that knows all other elements.",
        (
            *("element", "training rows", "test rows", "training R²", "training MAE"),
            *("test R²", "test MAE", "left out R²"),
        ),
        rows,
    )
    return Section("elements", title, pictures=tuple(pictures), tables=(table,))


def _more_rows(contents: Contents) -> Section:
    title = "What more rows would do"
    if contents.model is None:
        return Section("more-rows", title, missing=_NO_MODEL)
    card = contents.model.card
    if len(card.learning_curve) < 2:
        return Section("more-rows", title, missing="Too few rows for a learning curve.")
    picture = Picture(
        "learning-curve",
        learning_curve_figure(card.learning_curve, "eV$^{-1/2}$"),
        "Scores of the test part by models from a part of the training rows; lines: spread over "
        "three random choices.",
    )
    return Section("more-rows", title, pictures=(picture,))


def _parity(
    model: TrainedModel, data: LearningData, title: str, *, with_ends: bool = False
) -> Parity:
    levels = [_LEVEL] if with_ends else []
    found = model.predict(data.features, data.elements.tolist(), levels)
    return Parity(
        title,
        data.target,
        found.value,
        low=found.low[_LEVEL] if with_ends else None,
        high=found.high[_LEVEL] if with_ends else None,
    )


def _four(train: PartScores, test: PartScores) -> tuple[str, str, str, str]:
    return (
        number_text(train.r2),
        number_text(train.mae),
        number_text(test.r2),
        number_text(test.mae),
    )


def _setting(value: bool | int | float | str) -> str:
    return f"{value:.4f}" if isinstance(value, float) and not value.is_integer() else str(value)


def _space(space: object) -> str:
    """Return a list or a distribution as the paper writes it."""
    if isinstance(space, Sequence):
        return ", ".join(str(each) for each in space)
    low, high = (float(end) for end in space.support())  # type: ignore[attr-defined]
    return f"{low:g} ... {high:g}" if np.isfinite([low, high]).all() else str(space)
