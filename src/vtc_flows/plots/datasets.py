"""Pictures of data sets: the scan of exponents, correlations, distributions over the elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vtc_flows.crystal.sites import TRANSITION_METALS
from vtc_flows.plots.style import COLOURS, MARKS, MINUS, STYLES, new_figure, with_gaps
from vtc_flows.schemas.exponents import ExponentCurveDoc, RankCurve

_PERCENTILES = (5, 25, 50, 75, 95)
#: Below this part of the median a value is zero by symmetry, and has no place on a logarithmic
#: axis.
_ZERO = 1e-6
_FEW_PARTS = 3
_ROOM = 0.25
#: Correlations above it stand on a dark ground.
_DARK = 0.6


def exponent_figure(curve: ExponentCurveDoc) -> Figure:
    """
    Draw the rank correlations of a data set over the exponent of the moments.

    Parameters
    ----------
    curve : ExponentCurveDoc
        With the interval of the correlation of QAMS with SAMS.

    Returns
    -------
    Figure
        On the left all rows, on the right QAMS with SAMS for each element with at least 3 rows.
    """
    figure = new_figure(10.0, 4.2)
    left, right = figure.subplots(1, 2, sharey=True)
    shown = {
        "QAMS, SAMS": curve.qams_sams,
        "IAMS, SAMS": curve.iams_sams,
        "DAMS, SAMS": curve.dams_sams,
        "QAMS, largest SAMS": curve.qams_sams_max,
    }
    for (name, each), colour, style, mark in zip(
        shown.items(), COLOURS, STYLES, MARKS, strict=True
    ):
        left.plot(
            *(curve.exponents, with_gaps(each.rho)),
            color=colour,
            ls=style,
            marker=mark,
            ms=4,
            label=name,
        )
    _draw_interval(left, curve.exponents, curve.qams_sams)
    if curve.best_exponent is not None:
        left.axvline(curve.best_exponent, color="0.8", lw=6, zorder=0)
    left.set_ylabel("Spearman's rank correlation")
    left.set_title(f"all elements, {curve.n_rows} rows of the training part", fontsize=9)
    left.legend(fontsize=8, frameon=False)
    for element, count in curve.n_by_element.items():
        if count >= _FEW_PARTS:
            number = list(TRANSITION_METALS).index(element)
            right.plot(
                *(curve.exponents, with_gaps(curve.by_element[element])),
                color=f"C{number}",
                ls=STYLES[number % len(STYLES)],
                lw=1.2,
                label=f"{element} ({count})",
            )
    right.set_title("QAMS, SAMS by element (rows)", fontsize=9)
    if right.lines:
        right.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for axes in (left, right):
        axes.set_xlabel("exponent p of the weight r$^{-p}$")
        axes.set_xticks(curve.exponents)
        axes.axhline(0.0, color="0.7", lw=0.8)
    best = "" if curve.best_exponent is None else f": best p = {curve.best_exponent}"
    figure.suptitle(f"{curve.dataset_id}{best}", fontsize=10)
    return figure


def distribution_figure(values: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """
    Draw how quantities are distributed, for each element.

    Parameters
    ----------
    values : mapping of str to mapping of str to sequence of float
        Label of each quantity with its unit; for each element its values, none of them negative.

    Returns
    -------
    Figure
        A panel for the number of values, and one for each quantity on a logarithmic axis: the
        middle half as a bar, 90 % as a line, the median as a point. What symmetry makes zero is
        left out and its share is written beside.
    """
    figure = new_figure(2.2 + 3.0 * len(values), 4.4)
    elements = [
        element for element in TRANSITION_METALS if any(element in of for of in values.values())
    ]
    counts, *panels = figure.subplots(
        1, 1 + len(values), sharey=True, squeeze=False, width_ratios=(1.0, *[2.0] * len(values))
    )[0]
    first = next(iter(values.values()))
    places = np.arange(len(elements))
    numbers = [len(first.get(element, ())) for element in elements]
    counts.barh(places, numbers, color="0.7")
    for place, number in zip(places, numbers, strict=True):
        counts.annotate(
            f"{number}",
            (number, place),
            (2, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    counts.set_xlim(0, 1.35 * max(numbers, default=1))
    counts.set_yticks(places, elements)
    counts.invert_yaxis()
    counts.set_xlabel("records")
    for axes, (label, of) in zip(panels, values.items(), strict=True):
        _draw_distributions(axes, [np.asarray(of.get(element, ())) for element in elements])
        axes.set_xlabel(label)
    return figure


def correlation_figure(columns: Mapping[str, Sequence[float | None]]) -> Figure:
    """
    Draw the correlation matrix of columns.

    Parameters
    ----------
    columns : mapping of str to sequence of float or None
        Of equal length; pairs in which one is None do not count.

    Returns
    -------
    Figure
        Pearson's coefficient of each pair as colour and number; empty where one does not vary.
    """
    names = list(columns)
    values = np.array([with_gaps(columns[name]) for name in names])
    matrix = np.array([[_pearson(one, other) for other in values] for one in values])
    figure = new_figure(1.6 + 0.62 * len(names), 1.2 + 0.55 * len(names))
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1.0, vmax=1.0)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    for row, column in np.argwhere(np.isfinite(matrix)):
        value = matrix[row, column]
        axes.text(
            *(column, row, f"{value:.2f}".replace("-", MINUS)),
            ha="center",
            va="center",
            fontsize=8,
            color="white" if abs(value) > _DARK else "black",
        )
    figure.colorbar(image, ax=axes, shrink=0.8, label="Pearson's correlation")
    return figure


def _pearson(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 2 or not np.ptp(one[both]) or not np.ptp(other[both]):
        return np.nan
    return float(np.corrcoef(one[both], other[both])[0, 1])


def _draw_interval(axes: Axes, exponents: Sequence[int], curve: RankCurve) -> None:
    axes.fill_between(
        exponents,
        with_gaps(curve.low),
        with_gaps(curve.high),
        color=COLOURS[0],
        alpha=0.15,
        lw=0,
        label="95 % of resampled rows",
    )


def _draw_distributions(axes: Axes, values: Sequence[NDArray[np.float64]]) -> None:
    axes.set_xscale("log")
    everything = np.concatenate([np.zeros(0), *values])
    positive = everything[everything > 0.0]
    floor = _ZERO * float(np.median(positive)) if positive.size else 0.0
    for place, each in enumerate(values):
        above = each[each > floor]
        if above.size:
            low, quarter, middle, three, high = np.percentile(above, _PERCENTILES)
            axes.plot([low, high], [place, place], color=COLOURS[0], lw=1.0)
            axes.plot([quarter, three], [place, place], color=COLOURS[0], lw=6.0, alpha=0.5)
            axes.plot([middle], [place], color=COLOURS[0], marker="o", ms=4)
        if each.size:
            axes.annotate(
                f"{(each.size - above.size) / each.size:.0%} zero",
                *((1.0, place), (-3, 0)),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=6,
                color="0.4",
            )
    lowest, highest = axes.get_xlim()
    axes.set_xlim(lowest, highest * (highest / lowest) ** _ROOM)  # for the shares
    axes.grid(axis="x", color="0.92")
