"""A drawing of the atoms around a site, seen in a frame."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from numpy.typing import ArrayLike, NDArray
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure
from pymatgen.vis.structure_vtk import EL_COLORS

from vtc_flows.crystal.checks import covalent_radii
from vtc_flows.crystal.clusters import absorber_cluster
from vtc_flows.plots.style import COLOURS

#: Neighbours up to so many times the distance of the nearest one are drawn, within limits.
_REACH, _FEWEST, _MOST = 1.45, 4, 18
_LISTED_ANGSTROM = 9.0

#: Where the eye is, in the frame: f1 points to the right, f2 away from the eye, f3 upwards.
_EYE = (0.42, -1.0, 0.34)
_BALL = 0.4  # of the covalent radius, so that sticks stay visible
_ARROW, _ROOM = 1.25, 1.35

_PALETTE = EL_COLORS["Jmol"]


def draw_surroundings(axes: Axes, structure: Structure, site_index: int, frame: ArrayLike) -> None:
    """
    Draw a site's nearest atoms as balls and sticks, with the axes of a frame as arrows.

    Parameters
    ----------
    axes : Axes
        Empty.
    structure : Structure
    site_index : int
        The site in the middle.
    frame : array_like of shape (3, 3)
        Columns are the axes f1, f2, f3, Cartesian.
    """
    cluster = absorber_cluster(structure, site_index, _LISTED_ANGSTROM, n_neighbors=_MOST)
    shown = _n_shown(cluster.distances_angstrom)
    axes_of_view = _view() @ np.asarray(frame, dtype=float).T
    points = cluster.positions_angstrom[:shown] @ axes_of_view.T
    numbers = cluster.atomic_numbers[:shown]
    from_behind = np.argsort(np.argsort(points[:, 2]))
    for point, number, place in zip(points, numbers, from_behind, strict=True):
        axes.plot(
            *zip((0.0, 0.0), point[:2], strict=True),
            color="0.6",
            lw=2.5,
            zorder=1 + 2 * min(place, from_behind[0]),
        )
        axes.add_patch(
            Circle(
                (float(point[0]), float(point[1])),
                _BALL * float(covalent_radii()[number]),
                facecolor=_colour(int(number)),
                edgecolor="0.3",
                lw=0.8,
                zorder=2 + 2 * place,
            )
        )
    length = _ARROW * float(np.linalg.norm(points, axis=1).max())
    _draw_frame(axes, length, zorder=3.0 + 2 * len(points))
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_xlim(-_ROOM * length, _ROOM * length)
    axes.set_ylim(-_ROOM * length, _ROOM * length)
    _name_elements(axes, numbers)


def _draw_frame(axes: Axes, length: float, zorder: float) -> None:
    """Draw the axes of the frame as arrows from the middle."""
    for number, (x, y, _) in enumerate(length * _view().T):
        colour = COLOURS[number]
        arrow = {"arrowstyle": "-|>", "lw": 1.6, "shrinkA": 0.0, "color": colour}
        axes.annotate("", (x, y), (0.0, 0.0), arrowprops=arrow, zorder=zorder)
        axes.text(
            *(1.12 * x, 1.12 * y, f"f$_{number + 1}$"),
            color=colour,
            ha="center",
            va="center",
            zorder=zorder,
        )


def _n_shown(distances: NDArray[np.float64]) -> int:
    """Return how many atoms are drawn, the one in the middle included."""
    near = int(np.searchsorted(distances, _REACH * distances[1]))
    return min(max(near, 1 + _FEWEST), 1 + _MOST, len(distances))


def _view() -> NDArray[np.float64]:
    """Return the directions to the right, upwards and to the eye, as rows in the frame."""
    to_eye = np.asarray(_EYE) / np.linalg.norm(_EYE)
    right = np.cross((0.0, 0.0, 1.0), to_eye)
    right /= np.linalg.norm(right)
    return np.array([right, np.cross(to_eye, right), to_eye])


def _colour(number: int) -> tuple[float, float, float]:
    red, green, blue = _PALETTE.get(Element.from_Z(number).symbol, (160, 160, 160))
    return red / 255, green / 255, blue / 255


def _name_elements(axes: Axes, numbers: NDArray[np.int64]) -> None:
    balls = [
        Line2D(
            *([], []),
            marker="o",
            ls="",
            ms=8,
            color=_colour(number),
            mec="0.3",
            label=Element.from_Z(number).symbol,
        )
        for number in dict.fromkeys(int(each) for each in numbers)
    ]
    axes.legend(
        handles=balls,
        loc="upper left",
        fontsize=8,
        frameon=False,
        ncols=len(balls),
        handletextpad=0.1,
        columnspacing=0.8,
    )
