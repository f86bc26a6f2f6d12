"""Which texts of a figure lie over each other, or beyond its edge."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

#: Boxes of texts hold room above and below the letters (pixels).
_SLACK = 2.0


def overlapping_texts(figure: Figure) -> list[str]:
    """Return pairs of texts of a figure that overlap, and texts that are cut off."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    found = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in _texts(figure)
        if text.get_visible() and text.get_text().strip()
    ]
    problems = []
    for (one, box), (other, another) in combinations(found, 2):
        width = min(box.x1, another.x1) - max(box.x0, another.x0)
        height = min(box.y1, another.y1) - max(box.y0, another.y0)
        if width > _SLACK and height > _SLACK:
            problems.append(f"{one!r} over {other!r}")
    (left, below), (right, above) = figure.bbox.get_points()
    problems += [
        f"{text!r} is cut off"
        for text, box in found
        if box.x0 < left or box.x1 > right or box.y0 < below or box.y1 > above
    ]
    return problems


def _texts(figure: Figure) -> Iterator[Text]:
    yield from figure.texts
    for legend in figure.legends:
        yield from (legend.get_title(), *legend.get_texts())
    for axes in figure.axes:
        yield from axes.texts
        if axes.get_legend() is not None:
            yield from axes.get_legend().get_texts()
        if axes.axison:
            yield from (axes.title, axes._left_title, axes._right_title)
            yield from _of_axes(axes)


def _of_axes(axes: Axes) -> Iterator[Text]:
    """Yield labels of axes, and those of the ticks that lie on them: matplotlib keeps others."""
    for number, (axis, limits) in enumerate(
        ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))
    ):
        yield axis.label
        low, high = sorted(limits)
        for label in axis.get_ticklabels():
            if low <= label.get_position()[number] <= high:
                yield label
