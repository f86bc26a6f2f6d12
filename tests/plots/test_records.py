from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from analytic_engine import SHIFTED
from matplotlib import image

from vtc_flows.crystal.sources import load_structures
from vtc_flows.errors import InputError
from vtc_flows.plots.records import (
    comparison_figure,
    comparison_png,
    crystal_direction,
    record_figure,
    record_png,
)
from vtc_flows.workflow.batch import Task, run_task
from vtc_flows.workflow.compare import compare_records
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker


@pytest.fixture
def record(structure_file):
    (one,) = load_structures([structure_file("triclinic_Fe2P2O7")])
    maker = PolarizedXesFlowMaker(site_maker=SiteXesMaker(engine="analytic_engine:make"))
    (made,) = run_task(Task(one, "Fe", 2), maker)
    return made


def test_picture_shows_what_the_record_holds(record):
    figure = record_figure(record)
    spectra = [axes for axes in figure.axes if axes.lines]
    matrices = [axes for axes in figure.axes if axes.images]
    assert len(spectra) == len(matrices) == len(record.sites) == 2
    site = record.sites[0]
    isotropic, *polarized = spectra[0].lines[:4]
    total = np.sum([line.get_ydata() for line in polarized], axis=0)
    assert np.allclose(total / 3, isotropic.get_ydata())
    assert np.allclose(isotropic.get_xdata(), np.array(site.energy_ev) - site.e_fermi_ev)
    assert np.allclose(matrices[0].images[0].get_array(), site.sam)


def test_no_texts_overlap(record):
    figure = record_figure(record)
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    outside = [figure._suptitle, *(legend for legend in figure.legends)]
    titles = [axes.title if not axes.lines else axes._left_title for axes in figure.axes]
    boxes = [item.get_window_extent(renderer) for item in (*outside, *titles)]
    boxes += [axes.xaxis.get_tightbbox(renderer) for axes in figure.axes]
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlaps(b)]


def test_directions_carry_their_signs_and_crystal_indices(crystal):
    cell = crystal("tenorite_CuO").lattice.matrix
    for indices in [(1, 0, 0), (0, -1, 0), (1, 0, -1), (-1, 2, 3)]:
        assert crystal_direction(0.1 * np.array(indices) @ cell, cell) == indices
    (x, y, z) = np.eye(3)
    assert crystal_direction(x + 0.005 * y, np.eye(3)) == (1, 0, 0)
    assert crystal_direction(x + 0.015 * y, np.eye(3)) is None
    assert crystal_direction(x + 4 * z, np.eye(3)) is None


def test_legend_names_directions_of_the_conventional_cell(structure_file):
    (one,) = load_structures([structure_file("rutile_TiO2")])
    maker = PolarizedXesFlowMaker(site_maker=SiteXesMaker(engine="analytic_engine:make"))
    (made,) = run_task(Task(one, "Ti", 1), maker)
    figure = record_figure(made)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    # the file's first axis is the tetragonal c
    assert "f$_1$ = (1.00, 0.00, 0.00)  [$001$]" in labels
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= legend.x0
    assert legend.x1 <= figure.bbox.x1


def test_fermi_level_is_named(record):
    left = record_figure(record).axes[0]
    (label,) = [text for text in left.texts if text.get_text() == "E$_F$"]
    assert label.xy[0] == 0.0


def test_png_can_be_read(record, tmp_path):
    (tmp_path / "x.png").write_bytes(record_png(record))
    pixels = image.imread(tmp_path / "x.png")
    assert pixels.shape[0] > 500
    assert pixels.std() > 0.05


def test_pyplot_with_its_global_state_is_left_alone():
    code = "import sys, vtc_flows.plots; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_record_without_spectra_cannot_be_drawn(record):
    with pytest.raises(InputError, match=record.record_id):
        record_figure(record.model_copy(update={"sites": []}))


class TestComparison:
    @pytest.fixture
    def pair(self, structure_file):
        (one,) = load_structures([structure_file("triclinic_Fe2P2O7")])
        made = []
        for factory in ("make", "make_shifted"):
            maker = PolarizedXesFlowMaker(
                site_maker=SiteXesMaker(engine=f"analytic_engine:{factory}")
            )
            made += run_task(Task(one, "Fe", 2), maker)
        return tuple(made)

    def test_picture_shows_both_and_their_difference(self, pair):
        figure = comparison_figure(compare_records(*pair), *pair, 1)
        above, below = figure.axes[:4], figure.axes[4:]
        for upper, lower in zip(above, below, strict=True):
            (a, b), difference = upper.lines[:2], lower.lines[0]
            assert (a.get_linestyle(), b.get_linestyle()) == ("-", "--")
            assert np.allclose(a.get_xdata(), b.get_xdata())  # each from its own Fermi level
            assert np.allclose(b.get_ydata(), SHIFTED.scale * np.asarray(a.get_ydata()))
            assert np.allclose(difference.get_ydata(), b.get_ydata() - a.get_ydata())
        isotropic, *polarized = (axes.lines[0].get_ydata() for axes in above)
        assert np.allclose(np.mean(polarized, axis=0), isotropic)

    def test_texts_are_whole_and_apart(self, pair):
        figure = comparison_figure(compare_records(*pair), *pair, 1)
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == [
            "A: analytic, 30 neighbours",
            "B: analytic_shifted, 30 neighbours",
        ]
        items = [figure._suptitle, legend, *(axes._left_title for axes in figure.axes[:4])]
        boxes = [item.get_window_extent(renderer) for item in items]
        boxes += [axes.get_tightbbox(renderer, call_axes_locator=False) for axes in figure.axes[4:]]
        assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlaps(b)]
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)

    def test_png_can_be_read(self, pair, tmp_path):
        (tmp_path / "x.png").write_bytes(comparison_png(compare_records(*pair), *pair, 0))
        assert image.imread(tmp_path / "x.png").std() > 0.05

    def test_site_that_failed_cannot_be_drawn(self, pair):
        with pytest.raises(InputError, match="no two spectra"):
            comparison_figure(compare_records(*pair), *pair, 7)
