"""Pictures of models: how well they predict, by what, for which elements, from how many rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vtc_flows.learn.evaluation import NOISE, part_scores
from vtc_flows.plots.style import COLOURS, GREY, MARKS, MINUS, new_figure, with_gaps
from vtc_flows.schemas.models import ImportanceDoc, LearningPoint, PartScores

#: More points than these are drawn as pixels: a picture of lines would be too large.
_MANY_POINTS = 2000
#: R2 below it is cut off and written beside its bar.
_LOWEST_R2 = -1.0


@dataclass(frozen=True, eq=False)
class Parity:
    """
    Values of some rows and what a model says of them.

    Attributes
    ----------
    title : str
    true, predicted : ndarray of shape (n,)
    low, high : ndarray of shape (n,), optional
        Ends of an interval of each prediction.
    """

    title: str
    true: NDArray[np.float64]
    predicted: NDArray[np.float64]
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None


def parity_figure(panels: Sequence[Parity], label: str) -> Figure:
    """
    Draw predicted over true values.

    Parameters
    ----------
    panels : sequence of Parity
        One square for each, on the same axes.
    label : str
        Of the values, with their unit.

    Returns
    -------
    Figure
        R2 and mean absolute error stand in each title; the line is where both are equal.
    """
    figure = new_figure(4.6 * len(panels), 4.7)
    places = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    values = [np.zeros(1)]
    for panel in panels:
        values += [panel.true, panel.predicted]
    end = 1.05 * float(np.concatenate(values).max()) or 1.0
    for number, (axes, panel) in enumerate(zip(places, panels, strict=True)):
        axes.plot([0.0, end], [0.0, end], color="0.6", lw=1.0, zorder=1)
        if panel.low is not None and panel.high is not None:
            axes.vlines(panel.true, panel.low, panel.high, color="0.82", lw=1.0, zorder=0)
        axes.plot(
            panel.true,
            panel.predicted,
            ls="",
            marker=MARKS[number],
            ms=4,
            color=COLOURS[number],
            alpha=0.6,
            mew=0.5,
            rasterized=len(panel.true) > _MANY_POINTS,
            clip_on=False,  # much is zero
        )
        axes.set_title(
            f"{panel.title}\n{_scores(part_scores(panel.true, panel.predicted))}", fontsize=9
        )
        axes.set_xlabel(f"{label}, computed")
        axes.set_xlim(0.0, end)
        axes.set_ylim(0.0, end)
        axes.set_aspect("equal")
        axes.grid(color="0.93")
        axes.set_axisbelow(True)
    places[0].set_ylabel(f"{label}, predicted")
    return figure


def importance_figure(importances: Sequence[ImportanceDoc]) -> Figure:
    """
    Draw permutation importances in units of noise, with their spread.

    Parameters
    ----------
    importances : sequence of ImportanceDoc
        Largest first, noise among them.
    """
    figure = new_figure(6.4, 1.2 + 0.36 * len(importances))
    axes = figure.subplots()
    places = np.arange(len(importances))
    axes.barh(
        places,
        [each.importance for each in importances],
        xerr=[each.std for each in importances],
        color=["0.7" if each.feature == NOISE else COLOURS[0] for each in importances],
        error_kw={"elinewidth": 1.0, "capsize": 2.5, "ecolor": "0.25"},
    )
    axes.set_yticks(places, [each.feature for each in importances])
    axes.invert_yaxis()
    axes.axvline(1.0, color=COLOURS[1], ls="--", lw=1.0)
    axes.axvline(0.0, color="0.3", lw=0.8)
    axes.set_xlabel("permutation importance (noise = 1)")
    return figure


def element_figure(
    panels: Mapping[str, Mapping[str, PartScores]],
) -> Figure:
    """
    Draw R2 of each element's test rows.

    Parameters
    ----------
    panels : mapping of str to mapping of str to PartScores
        Title of each panel; for each element the scores of its test rows.

    Returns
    -------
    Figure
        A bar and its number of rows for each element. Bars below -1 are cut off, with their value
        beside.
    """
    figure = new_figure(5.6 * len(panels), 3.6)
    places = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, scores) in zip(places, panels.items(), strict=True):
        for place, (element, part) in enumerate(scores.items()):
            _draw_r2(axes, place, part, element)
        axes.set_xticks(
            range(len(scores)), [f"{name}\n{part.n}" for name, part in scores.items()], fontsize=8
        )
        axes.axhline(0.0, color="0.3", lw=0.8)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("element, test rows")
        axes.set_ylim(1.18 * _LOWEST_R2, 1.15)
        axes.set_xlim(-0.7, len(scores) - 0.3)
    places[0].set_ylabel("R$^2$ of the test rows")
    return figure


def learning_curve_figure(points: Sequence[LearningPoint], unit: str) -> Figure:
    """
    Draw R2 and mean absolute error of the test rows over the number of training rows.

    Parameters
    ----------
    points : sequence of LearningPoint
    unit : str
        Of the error, for an axis.
    """
    figure = new_figure(9.0, 3.6)
    left, right = figure.subplots(1, 2)
    rows = [each.n_train for each in points]
    for axes, values, spreads, label, colour in (
        (left, [p.r2 for p in points], [p.r2_std for p in points], "R$^2$", COLOURS[0]),
        (
            right,
            [p.mae for p in points],
            [p.mae_std for p in points],
            f"MAE ({unit})",
            COLOURS[1],
        ),
    ):
        axes.errorbar(
            rows, with_gaps(values), with_gaps(spreads), color=colour, marker="o", ms=5, capsize=3
        )
        axes.set_xlabel("training rows")
        axes.set_ylabel(f"{label} of the test rows")
        axes.grid(color="0.93")
        axes.set_xlim(left=0)
    right.set_ylim(bottom=0.0)
    return figure


def _draw_r2(axes: Axes, place: int, part: PartScores, element: str) -> None:
    if part.r2 is None:
        axes.text(place, 0.03, MINUS, ha="center", va="bottom", fontsize=9, color=GREY)
        return
    shown = max(part.r2, _LOWEST_R2)
    axes.bar(place, shown, color=COLOURS[0] if part.r2 >= 0.0 else COLOURS[1], label=element)
    above = shown >= 0.0
    axes.text(
        place,
        shown + (0.02 if above else -0.02),
        f"{part.r2:.2f}".replace("-", MINUS),
        ha="center",
        va="bottom" if above else "top",
        fontsize=7,
    )


def _scores(scores: PartScores) -> str:
    r2 = "R$^2$ undefined" if scores.r2 is None else f"R$^2$ = {scores.r2:.3f}"
    mae = "" if scores.mae is None else f", MAE = {scores.mae:.4f}"
    return f"{scores.n} rows, {r2}{mae}".replace("-", MINUS)
