"""Comparisons of records; the second analytic engine differs from the first by known amounts."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_engine import PLAIN, SHIFTED
from pydantic import ValidationError

from vtc_flows.crystal.sources import load_structures
from vtc_flows.errors import InputError
from vtc_flows.physics.tensors import rotate
from vtc_flows.schemas import SamsSettings, XesSettings
from vtc_flows.schemas.comparison import RecordComparison, SiteComparison
from vtc_flows.workflow.batch import Task, run_task
from vtc_flows.workflow.compare import compare_records, pair_records, site_figures
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker


@pytest.fixture
def made(structure_file):
    """Return the records of a structure, made with the analytic engine."""

    def make(name="triclinic_Fe2P2O7", element="Fe", engine="make", window=(-30.0, 5.0), **fields):
        (one,) = load_structures([structure_file(name)])
        maker = PolarizedXesFlowMaker(
            site_maker=SiteXesMaker(
                engine=f"analytic_engine:{engine}", settings=XesSettings(**fields)
            ),
            sams_settings=SamsSettings(window_ev=window),
        )
        return run_task(Task(one, element, 1), maker)

    return make


@pytest.fixture
def plain(made):
    return made()[0]


def changed_site(site, **changes):
    return site.model_copy(update=changes)


def test_record_agrees_with_itself(plain):
    comparison = compare_records(plain, plain)
    assert comparison.state == "complete"
    assert comparison.sams_relative_difference == 0.0
    assert comparison.sams_max_relative_difference == 0.0
    assert [site.site_index for site in comparison.sites] == [0, 1]
    for site in comparison.sites:
        figures = site.figures
        assert figures.fermi_shift_ev == figures.worst_deviation == figures.worst_relative_l2 == 0.0
        assert not any(figures.largest_deviation.model_dump().values())
        assert figures.anisotropic_deviation == 0.0
        assert figures.anisotropic_correlation == pytest.approx(1.0)
        assert figures.area_ratio == figures.edge_cross_section_ratio == figures.cpu_ratio == 1.0
        assert figures.sams_relative_difference == 0.0
        assert not figures.interpolated


def test_engine_that_differs_by_known_amounts(made, plain):
    (shifted,) = made(engine="make_shifted")
    comparison = compare_records(plain, shifted)
    assert comparison.a.engine_provenance.name == PLAIN.name
    assert comparison.b.engine_provenance.name == SHIFTED.name
    assert comparison.a.settings_hash == plain.provenance.settings_hash
    off = SHIFTED.scale - 1.0
    for site in comparison.sites:
        figures = site.figures
        assert figures.fermi_shift_ev == pytest.approx(SHIFTED.fermi_shift_ev)
        assert list(figures.largest_deviation.model_dump().values()) == pytest.approx([off] * 6)
        assert list(figures.relative_l2.model_dump().values()) == pytest.approx([off] * 6)
        assert figures.worst_deviation == pytest.approx(off)
        assert figures.anisotropic_deviation == pytest.approx(off)
        assert figures.anisotropic_correlation == pytest.approx(1.0)
        assert figures.area_ratio == pytest.approx(SHIFTED.scale)
        assert figures.edge_cross_section_ratio == pytest.approx(SHIFTED.cross_section_scale)
        assert figures.sams_relative_difference == pytest.approx(0.0, abs=1e-12)
        assert (figures.cpu_s.a, figures.cpu_s.b) == (PLAIN.cpu_s, SHIFTED.cpu_s)
        assert figures.cpu_ratio == SHIFTED.cpu_s / PLAIN.cpu_s
        assert (figures.scf_iterations.a, figures.scf_iterations.b) == (2, 7)
        assert (figures.scf_recovery.a, figures.scf_recovery.b) == ("none", "none")
    assert comparison.sams.a == pytest.approx(comparison.sams.b)


def test_shift_of_the_fermi_level_alone_is_no_deviation(plain):
    site = plain.sites[0]
    moved = changed_site(
        site,
        e_fermi_ev=site.e_fermi_ev + 1.7,
        energy_ev=[energy + 1.7 for energy in site.energy_ev],
    )
    figures = site_figures(site, moved)
    assert figures.fermi_shift_ev == pytest.approx(1.7)
    assert figures.worst_deviation == figures.worst_relative_l2 == 0.0
    assert figures.area_ratio == 1.0


def test_more_anisotropy_shows_in_sams_and_in_the_anisotropic_part(plain):
    site = plain.sites[0]
    tensor = np.array(site.tensor)
    iso = np.zeros_like(tensor)
    iso[:, :3] = tensor[:, :3].mean(axis=1, keepdims=True)
    more = changed_site(site, tensor=(iso + 1.2 * (tensor - iso)).tolist(), sams=1.2 * site.sams)
    figures = site_figures(site, more)
    assert figures.anisotropic_deviation == pytest.approx(0.2)
    assert figures.anisotropic_correlation == pytest.approx(1.0)
    assert figures.sams_relative_difference == pytest.approx(0.2)
    assert figures.area_ratio == pytest.approx(1.0)
    assert 0.0 < figures.worst_deviation < 0.2


def test_rotated_frame_leaves_invariants_alone(made, plain):
    (large,) = made(fms_atoms=(80,))
    a, b = plain.sites[0], large.sites[0]
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = [changed_site(one, tensor=rotate(one.tensor, rotation).tolist()) for one in (a, b)]
    before, after = site_figures(a, b), site_figures(*turned)
    assert before.anisotropic_deviation > 1e-3
    for name in ("anisotropic_deviation", "anisotropic_correlation", "area_ratio"):
        assert getattr(after, name) == pytest.approx(getattr(before, name))
    assert after.worst_deviation != pytest.approx(before.worst_deviation)


def test_grids_that_differ_are_compared_where_both_are(made, plain):
    (other,) = made(window=(-20.0, 4.0), energy_below_ev=20.0, energy_step_ev=0.07)
    figures = site_figures(plain.sites[0], other.sites[0])
    assert figures.interpolated
    assert figures.range_ev == pytest.approx((-286 * 0.07, 71 * 0.07))
    assert figures.worst_deviation < 5e-3  # what is left is the width of a step
    assert figures.area_ratio == pytest.approx(1.0, abs=1e-3)


def test_cubic_site_has_no_relative_anisotropy(made):
    (record,) = made("NiO", "Ni")
    comparison = compare_records(record, record)
    assert comparison.sams_relative_difference is None
    figures = comparison.sites[0].figures
    assert figures.anisotropic_deviation is None
    assert figures.anisotropic_correlation is None
    assert figures.sams_relative_difference is None
    assert figures.worst_deviation == 0.0


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        ("analytic:1", "failed in A (scf_not_converged): it did not converge"),
        ("analytic_shifted:1", "failed in B (scf_not_converged): it did not converge"),
        ("1", "failed in A (scf_not_converged): it did not converge; failed in B"),
    ],
)
def test_failed_site_is_a_row_that_says_so(made, monkeypatch, fails, says):
    monkeypatch.setenv("ANALYTIC_FAIL", fails)
    (a,), (b,) = made(), made(engine="make_shifted")
    comparison = compare_records(a, b)
    assert comparison.state == "incomplete"
    good, bad = comparison.sites
    assert (good.state, good.failure) == ("compared", "")
    assert good.figures.area_ratio == pytest.approx(SHIFTED.scale)
    assert (bad.site_index, bad.state, bad.figures) == (1, "failed", None)
    assert bad.failure.startswith(says)
    assert comparison.sams_relative_difference is None
    assert (comparison.sams.a is None) == ("analytic:1" in fails or fails == "1")


def test_document_goes_there_and_back(made, plain):
    comparison = compare_records(plain, made(engine="make_shifted")[0])
    assert RecordComparison.model_validate_json(comparison.model_dump_json()) == comparison
    assert comparison.units.sams == "eV^-1/2"


def test_failed_site_with_figures_is_refused(plain):
    good = compare_records(plain, plain).sites[0].model_dump()
    with pytest.raises(ValidationError, match="no figures"):
        SiteComparison(**{**good, "state": "failed", "failure": "it did not converge"})


class TestWhatCannotBeCompared:
    def test_other_element_or_material(self, made, plain):
        (other,) = made("NiO", "Ni")
        with pytest.raises(InputError, match="NiO Ni"):
            compare_records(plain, other)

    def test_other_window(self, made, plain):
        (other,) = made(window=(-15.0, 3.0))
        with pytest.raises(InputError, match="--window"):
            compare_records(plain, other)

    def test_other_structure_of_the_same_name(self, plain):
        structure = dict(plain.provenance.structure)
        lattice = dict(structure["lattice"])
        lattice["matrix"] = (1.01 * np.array(lattice["matrix"])).tolist()
        structure["lattice"] = lattice
        provenance = plain.provenance.model_copy(update={"structure": structure})
        other = plain.model_copy(update={"provenance": provenance})
        with pytest.raises(InputError, match="different structures"):
            compare_records(plain, other)

    def test_same_structure_with_other_digits_is_the_same(self, plain):
        structure = dict(plain.provenance.structure)
        structure["sites"] = [
            {**site, "abc": [value + 1.0 + 1e-6 for value in site["abc"]]}
            for site in structure["sites"]
        ]
        provenance = plain.provenance.model_copy(update={"structure": structure})
        other = plain.model_copy(update={"provenance": provenance})
        assert compare_records(plain, other).sites[0].figures.worst_deviation == 0.0


class TestPairs:
    def test_same_sizes_belong_together(self, made):
        a, b = made(fms_atoms=(30, 80)), made(fms_atoms=(30, 50, 80), engine="make_shifted")
        pairs = [(one.fms_atoms, other.fms_atoms) for one, other in pair_records(a, b)]
        assert pairs == [(30, 30), (80, 80)]

    def test_one_of_each_belong_together(self, made):
        a, b = made(fms_atoms=(30,)), made(fms_atoms=(80,))
        assert pair_records(a, b) == [(a[0], b[0])]

    def test_what_is_not_clear_is_refused(self, made):
        a, b = made(fms_atoms=(30, 50)), made(fms_atoms=(80,))
        with pytest.raises(InputError, match="A has 30, 50 neighbours"):
            pair_records(a, b)
        with pytest.raises(InputError, match="2 records of triclinic_Fe2P2O7 Fe with 80"):
            pair_records(a, [*b, *b])
