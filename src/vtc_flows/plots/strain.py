"""Pictures of strain studies."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vtc_flows.plots.style import (
    COLOURS,
    GREY,
    MARKS,
    MINUS,
    SAMS_LABEL,
    moment_label,
    new_figure,
    with_gaps,
)
from vtc_flows.schemas.strain import StrainPoint, StrainStudyDoc

_SIDES = ("compressed", "stretched")


def strain_figure(study: StrainStudyDoc) -> Figure:
    """
    Draw QAMS and SAMS of a crystal over its strain, and one over the other.

    Parameters
    ----------
    study : StrainStudyDoc

    Returns
    -------
    Figure
        On the left QAMS, in the middle SAMS over the strain; on the right SAMS over QAMS with the
        straight line through each side.
    """
    figure = new_figure(11.0, 3.9)
    left, middle, right = figure.subplots(1, 3)
    qams = moment_label("qams", study.sams_settings.moment_exponent)
    strain = f"strain along {study.axis} (%)"
    percent = [100 * each.strain for each in study.points]
    left.plot(percent, [each.qams for each in study.points], color=COLOURS[0], marker="o", ms=4)
    _label(left, strain, qams)
    for number, (name, label) in enumerate(
        {"sams": "SAMS", "sams_max": "largest SAMS", "sams_crystal": "of the crystal"}.items()
    ):
        middle.plot(
            percent,
            with_gaps([getattr(each, name) for each in study.points]),
            color=COLOURS[number],
            marker=MARKS[number],
            ms=4 + 3 * number,  # the three may be one
            mfc="none",
            lw=1.2,
            label=label,
        )
    _label(middle, strain, SAMS_LABEL)
    middle.legend(fontsize=8, frameon=False)
    for number, side in enumerate(_SIDES):
        _draw_side(right, study, side, COLOURS[number], MARKS[number])
    _label(right, qams, SAMS_LABEL)
    right.legend(fontsize=8, frameon=False)
    for axes in (left, middle):
        axes.axvline(0.0, color="0.8", lw=0.8, zorder=0)
    figure.suptitle(
        f"{crystal_name(study)}: {study.element} K valence-to-core emission, "
        f"{study.n_neighbors} neighbours in the multiple scattering",
        fontsize=10,
    )
    return figure


def crystal_name(study: StrainStudyDoc) -> str:
    """Return what people call the crystal: its id, with the formula where that is not in it."""
    if study.formula in study.material_id:
        return study.material_id
    return f"{study.formula} ({study.material_id})"


def _draw_side(axes: Axes, study: StrainStudyDoc, side: str, colour: str, mark: str) -> None:
    points = [each for each in study.points if each.sams is not None and _is_on(each, side)]
    if not points:
        return
    line = next((e for e in study.lines if (e.side, e.of, e.over) == (side, "sams", "qams")), None)
    text = side
    if line is not None:
        ends = [min(each.qams for each in points), max(each.qams for each in points)]
        axes.plot(ends, [line.intercept + line.slope * x for x in ends], color=colour, lw=1.0)
        if line.r2 is not None:
            text += f", R$^2$ = {line.r2:.4f}".replace("-", MINUS)
    axes.plot(
        [each.qams for each in points],
        with_gaps([each.sams for each in points]),
        color=colour,
        marker=mark,
        ms=5,
        ls="",
        mfc="none",
        label=text,
    )
    unstrained = next((each for each in points if each.strain == 0.0), None)
    if unstrained is not None and unstrained.sams is not None:
        axes.plot(unstrained.qams, unstrained.sams, color=GREY, marker="*", ms=11, zorder=0)


def _is_on(point: StrainPoint, side: str) -> bool:
    return point.strain <= 0.0 if side == "compressed" else point.strain >= 0.0


def _label(axes: Axes, below: str, beside: str) -> None:
    axes.set_xlabel(below)
    axes.set_ylabel(beside)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(color="0.93")
    axes.set_axisbelow(True)
