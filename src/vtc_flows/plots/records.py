"""Pictures of records and of comparisons of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray
from pymatgen.core.structure import Structure

from vtc_flows.crystal.sites import crystal_symmetry
from vtc_flows.errors import InputError, StructureError
from vtc_flows.physics.deviation import on_common_grid
from vtc_flows.physics.tensors import along, isotropic
from vtc_flows.plots.crystals import draw_surroundings
from vtc_flows.plots.style import COLOURS, GREY, MINUS, STYLES, new_figure, png
from vtc_flows.schemas import RecordSite, SamsRecord
from vtc_flows.schemas.comparison import ComparedRecord, RecordComparison, SiteFigures

#: What makes a spectrum of tensors.
Spectrum = Callable[[ArrayLike], NDArray[np.float64]]

_DASHES = (0.0, (4.0, 2.5))
_MOST_SITES = 4
_LARGEST_INDEX = 3
_SAME_DIRECTION_DEGREES = 0.5


def record_figure(record: SamsRecord) -> Figure:
    """
    Draw a record: for each orbit of sites its polarized spectra and its SAM.

    Parameters
    ----------
    record : SamsRecord
        With at least one site's spectrum.

    Returns
    -------
    Figure
        One row for each orbit, at most four, those with the most sites.

    Raises
    ------
    InputError
        If the record has no spectra.
    """
    if not record.sites:
        raise InputError(f"{record.record_id} has no spectra to draw")
    shown = sorted(record.sites, key=lambda site: -site.multiplicity)[:_MOST_SITES]
    figure = new_figure(9.0, 1.5 + 3.0 * len(shown))
    rows = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(2.6, 1.0))
    for site, (left, right) in zip(shown, rows, strict=True):
        _draw_spectra(left, site, record)
        _draw_sam(right, site)
    rows[-1][0].set_xlabel("E $-$ E$_F$ (eV)")
    figure.legend(  # outside, where no spectrum can run into it; the frame is the same for all
        *rows[0][0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        fontsize=8,
        frameon=False,
        title="polarization along the shared frame: components on the Cartesian axes of the "
        "structure, [direction] in the conventional cell",
        title_fontsize=8,
    )
    figure.suptitle(_title(record, len(shown)), fontsize=11)
    return figure


def record_png(record: SamsRecord) -> bytes:
    """Return the picture of a record as a PNG file; see `record_figure`."""
    return png(record_figure(record))


def compound_figure(record: SamsRecord) -> Figure:
    """
    Draw one site of a record: its surroundings, its polarized spectra, how they differ, its SAM.

    Parameters
    ----------
    record : SamsRecord
        With at least one site's spectrum.

    Returns
    -------
    Figure
        Of the site with the largest SAMS, in the record's shared frame.

    Raises
    ------
    InputError
        If the record has no spectra.
    """
    if not record.sites:
        raise InputError(f"{record.record_id} has no spectra to draw")
    site = max(record.sites, key=lambda each: each.sams)
    figure = new_figure(12.0, 5.6)
    parts = figure.subplot_mosaic(
        [["atoms", "spectra", "sam"], ["atoms", "differences", "sam"]],
        width_ratios=(1.15, 1.9, 0.95),
        height_ratios=(2.0, 1.0),
    )
    structure = Structure.from_dict(record.provenance.structure)
    draw_surroundings(parts["atoms"], structure, site.site_index, record.frame)
    _draw_spectra(parts["spectra"], site, record)
    parts["differences"].sharex(parts["spectra"])
    _draw_differences(parts["differences"], site, record)
    _draw_sam(parts["sam"], site)
    figure.legend(
        *parts["spectra"].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        fontsize=8,
        frameon=False,
    )
    figure.suptitle(_title(record, len(record.sites)), fontsize=11)
    return figure


def comparison_figure(
    comparison: RecordComparison, a: SamsRecord, b: SamsRecord, site_index: int
) -> Figure:
    """
    Draw the spectra of one site from two records over each other, and their difference below.

    Parameters
    ----------
    comparison : RecordComparison
        Of the two records.
    a, b : SamsRecord
        A is drawn solid, B dashed, each over the energies from its own Fermi level.
    site_index : int
        A site with a spectrum in both.

    Returns
    -------
    Figure
        The isotropic spectrum, then those polarized along the axes of A's shared frame, for both.

    Raises
    ------
    InputError
        If the site has no spectrum in one of them.
    """
    row = next((row for row in comparison.sites if row.site_index == site_index), None)
    if row is None or row.figures is None:
        raise InputError(f"site {site_index} has no two spectra to draw")
    site_a, site_b = (
        next(site for site in record.sites if site.site_index == site_index) for record in (a, b)
    )
    figure = new_figure(12.0, 5.6)
    columns = _comparison_columns(a)
    grid = figure.subplots(2, len(columns), sharex=True, sharey="row", height_ratios=(2.6, 1.0))
    for (above, below), (name, colour, spectrum) in zip(grid.T, columns, strict=True):
        _draw_pair(above, below, site_a, site_b, colour, spectrum)
        above.set_title(name, fontsize=9, loc="left")
        below.set_xlabel("E $-$ E$_F$ (eV)")
    grid[0, 0].set_ylabel("emission / atomic background at E$_F$")
    grid[1, 0].set_ylabel(f"B {MINUS} A")
    figure.align_ylabels(grid[:, 0])
    figure.legend(  # outside, where no spectrum can run into it
        handles=[
            Line2D([], [], color=GREY, linewidth=2.0, label=_side_text("A", comparison.a)),
            Line2D([], [], color="black", ls=_DASHES, label=_side_text("B", comparison.b)),
        ],
        loc="outside lower center",
        ncols=2,
        fontsize=9,
        frameon=False,
        title="f: axes of A's shared frame, for both; components on the Cartesian axes of the "
        "structure, [direction] in the conventional cell",
        title_fontsize=8,
    )
    title = (
        f"{a.material_id}: {a.element} K valence-to-core emission, site {site_index} "
        f"({row.multiplicity} in the cell)"
    )
    figure.suptitle(f"{title}\n{_comparison_text(row.figures)}", fontsize=11)
    return figure


def comparison_png(
    comparison: RecordComparison, a: SamsRecord, b: SamsRecord, site_index: int
) -> bytes:
    """Return the picture of a compared site as a PNG file; see `comparison_figure`."""
    return png(comparison_figure(comparison, a, b, site_index))


def _comparison_columns(a: SamsRecord) -> list[tuple[str, str, Spectrum]]:
    """Return name, colour and spectrum of each column of a comparison."""
    cell = _conventional_cell(a)
    columns: list[tuple[str, str, Spectrum]] = [("isotropic", GREY, isotropic)]
    for number, (direction, colour) in enumerate(
        zip(np.asarray(a.frame).T, COLOURS, strict=False), start=1
    ):
        name = f"f$_{number}$ = {_direction(direction)}{_indices_text(direction, cell)}"
        columns.append((name, colour, partial(along, direction=direction)))
    return columns


def _draw_pair(
    above: Axes, below: Axes, a: RecordSite, b: RecordSite, colour: str, spectrum: Spectrum
) -> None:
    """Draw one kind of spectrum of a site, A solid and B dashed, and the difference below."""
    energy_a, energy_b = (np.asarray(site.energy_ev) - site.e_fermi_ev for site in (a, b))
    above.plot(energy_a, spectrum(a.tensor), color=colour, linewidth=2.0)
    above.plot(energy_b, spectrum(b.tensor), color="black", linestyle=_DASHES, linewidth=1.1)
    common = on_common_grid(energy_a, a.tensor, energy_b, b.tensor)
    difference = spectrum(common.b) - spectrum(common.a)
    below.plot(common.energy_ev, difference, color=colour, linewidth=1.3)
    below.axhline(0.0, color="0.3", linewidth=0.6)
    below.ticklabel_format(axis="y", scilimits=(-2, 3))  # differences may be tiny
    for axes in (above, below):
        axes.axvline(0.0, color="0.3", linewidth=0.8, linestyle=":")
        axes.margins(y=0.1)
    _name_fermi_level(above)
    above.set_xlim(min(energy_a[0], energy_b[0]), max(energy_a[-1], energy_b[-1]))


def _side_text(name: str, record: ComparedRecord) -> str:
    return f"{name}: {record.engine}, {record.fms_atoms} neighbours"


def _comparison_text(figures: SiteFigures) -> str:
    shift = f"{figures.fermi_shift_ev:+.3f}".replace("-", MINUS)
    parts = [
        f"largest deviation {100.0 * figures.worst_deviation:.2g} % of A's maximum",
        f"isotropic area \N{MULTIPLICATION SIGN} {figures.area_ratio:.3f}",
        f"E$_F$ shifted by {shift} eV",
        f"SAMS {figures.sams.a:.3f} and {figures.sams.b:.3f} eV$^{{-1/2}}$",
    ]
    return ", ".join(parts)


def _draw_spectra(axes: Axes, site: RecordSite, record: SamsRecord) -> None:
    energy = np.asarray(site.energy_ev) - site.e_fermi_ev
    tensor = np.asarray(site.tensor)
    frame = np.asarray(record.frame)
    cell = _conventional_cell(record)
    axes.plot(energy, isotropic(tensor), color="0.55", linewidth=3.0, label="isotropic")
    for number, (direction, colour, style) in enumerate(
        zip(frame.T, COLOURS, STYLES, strict=False), start=1
    ):
        axes.plot(
            energy,
            along(tensor, direction),
            color=colour,
            linestyle=style,
            linewidth=1.3,
            label=f"f$_{number}$ = {_direction(direction)}{_indices_text(direction, cell)}",
        )
    axes.axvline(0.0, color="0.3", linewidth=0.8, linestyle=":")
    _name_fermi_level(axes)
    low, high = record.window_ev
    for start, stop in ((energy[0], low), (high, energy[-1])):
        if stop - start > np.diff(energy).max():
            axes.axvspan(start, stop, color="0.93", zorder=0)  # not in SAMS
    axes.set_xlim(energy[0], energy[-1])
    axes.set_ylim(bottom=min(0.0, float(tensor[:, :3].min())))
    axes.set_ylim(top=1.08 * axes.get_ylim()[1])  # room for the name of the Fermi level
    axes.set_ylabel("emission / atomic background at E$_F$")
    axes.set_title(
        f"{record.element}, site {site.site_index} ({site.multiplicity} in the cell)",
        fontsize=9,
        loc="left",
    )


def _draw_differences(axes: Axes, site: RecordSite, record: SamsRecord) -> None:
    """Draw the squared differences of polarizations, whose integrals make SAM."""
    energy = np.asarray(site.energy_ev) - site.e_fermi_ev
    spectra = [along(np.asarray(site.tensor), axis) for axis in np.asarray(record.frame).T]
    for number, (one, other) in enumerate(((0, 1), (0, 2), (1, 2))):
        axes.plot(
            energy,
            (spectra[one] - spectra[other]) ** 2,
            color=f"C{number + 3}",
            linestyle=STYLES[number],
            lw=1.2,
            label=f"(f$_{one + 1}$ {MINUS} f$_{other + 1}$)$^2$",
        )
    axes.axvline(0.0, color="0.3", linewidth=0.8, linestyle=":")
    axes.set_xlabel("E $-$ E$_F$ (eV)")
    axes.set_ylabel("squared difference")
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    axes.margins(y=0.15)


def _name_fermi_level(axes: Axes) -> None:
    axes.annotate(
        "E$_F$",
        (0.0, 1.0),
        (3, -3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
        fontsize=8,
        color="0.3",
    )


def _draw_sam(axes: Axes, site: RecordSite) -> None:
    matrix = np.asarray(site.sam)
    scale = float(matrix.max()) or 1.0
    axes.imshow(matrix, cmap="Blues", vmin=0.0, vmax=1.6 * scale)  # dark text stays readable
    names = ["f$_1$", "f$_2$", "f$_3$"]
    axes.set_xticks(range(3), names)
    axes.set_yticks(range(3), names)
    axes.tick_params(length=0)
    for row in range(3):
        for column in range(3):
            text = f"{matrix[row, column]:.3f}" if row != column else "0"
            axes.text(column, row, text, ha="center", va="center", fontsize=9)
    axes.set_title(f"SAM (eV$^{{-1/2}}$)\nSAMS = {site.sams:.3f}", fontsize=9)


def _title(record: SamsRecord, n_shown: int) -> str:
    atoms = sorted({site.n_fms_atoms for site in record.sites})
    counts = f"{atoms[0]}" if len(atoms) == 1 else f"{atoms[0]} to {atoms[-1]}"
    what = f"{record.element} K valence-to-core emission"
    first = f"{record.material_id}: {what}, {counts} atoms in the FMS"
    parts = []
    if record.sams is not None and record.sams_max is not None:
        low, high = record.window_ev
        window = f"E$_F${low:+g} ... E$_F${high:+g} eV".replace("-", MINUS)
        parts = [f"{window}: SAMS {record.sams:.3f}", f"largest {record.sams_max:.3f}"]
    if record.sams_crystal is not None:
        parts.append(f"of the crystal {record.sams_crystal:.3f} eV$^{{-1/2}}$")
    if record.failures:
        parts.append(f"{len(record.failures)} site(s) failed")
    hidden = len(record.sites) - n_shown
    if hidden:
        parts.append(f"{hidden} more kind(s) of sites not shown")
    return first + "\n" + ", ".join(parts)


def _direction(vector: NDArray[np.float64]) -> str:
    """Return a direction with two digits, minus signs as printed."""
    values: Sequence[float] = [0.0 if abs(value) < 0.005 else float(value) for value in vector]
    return "(" + ", ".join(f"{value:.2f}".replace("-", MINUS) for value in values) + ")"


def crystal_direction(
    vector: NDArray[np.float64], cell: NDArray[np.float64]
) -> tuple[int, int, int] | None:
    """
    Return the indices [u v w] of the crystal direction that a vector lies along.

    Parameters
    ----------
    vector : ndarray of shape (3,)
        Cartesian, of any length.
    cell : ndarray of shape (3, 3)
        Lattice vectors as rows.

    Returns
    -------
    tuple of int or None
        The smallest indices up to 3 whose direction is within 0.5 degrees; None where there are
        none.

    Examples
    --------
    >>> crystal_direction(np.array([0.0, -1.0, 1.0]), np.diag([3.0, 4.6, 4.6]))
    (0, -1, 1)
    """
    steps = np.arange(-_LARGEST_INDEX, _LARGEST_INDEX + 1)
    indices = np.array(np.meshgrid(steps, steps, steps)).reshape(3, -1).T
    indices = indices[np.gcd.reduce(indices, axis=1) == 1]  # [2 0 0] is [1 0 0]
    indices = indices[np.argsort(np.abs(indices).sum(axis=1), kind="stable")]
    directions = indices @ cell
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    away = np.linalg.norm(directions - vector / np.linalg.norm(vector), axis=1)
    near = np.flatnonzero(away < np.radians(_SAME_DIRECTION_DEGREES))
    if not near.size:
        return None
    u, v, w = (int(value) for value in indices[near[0]])
    return u, v, w


def _conventional_cell(record: SamsRecord) -> NDArray[np.float64] | None:
    """Return the conventional cell, as rows, in the axes of the structure as it was given."""
    try:
        structure = Structure.from_dict(record.provenance.structure)
        return crystal_symmetry(structure).conventional_lattice
    except StructureError:
        return None  # symmetry was not found: Cartesian components must do


def _indices_text(vector: NDArray[np.float64], cell: NDArray[np.float64] | None) -> str:
    indices = None if cell is None else crystal_direction(vector, cell)
    if indices is None:
        return ""
    parts = (str(value) if value >= 0 else rf"\bar{{{-value}}}" for value in indices)
    return f"  [${''.join(parts)}$]"
