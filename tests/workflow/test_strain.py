"""Crystals under strain: their cells, their clusters, and the studies of their records."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtc_flows.crystal.sites import crystal_symmetry
from vtc_flows.crystal.sources import load_structures
from vtc_flows.crystal.strain import axis_direction, stretched
from vtc_flows.errors import InputError
from vtc_flows.schemas import SamsSettings, XesSettings
from vtc_flows.workflow.batch import plan_records, run_task
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker
from vtc_flows.workflow.strain import (
    StrainPlan,
    fit_line,
    strain_studies,
    strains_between,
)

SETTINGS = XesSettings(fms_atoms=(30, 80), energy_step_ev=0.5)


@pytest.fixture
def plan_of(structure_file):
    def make(name: str, element: str, strains, settings=SETTINGS) -> StrainPlan:
        (record,) = load_structures([structure_file(name)])
        return StrainPlan(record, element, "c", tuple(strains), settings)

    return make


def run(plan: StrainPlan):
    """Run a study as the command does; return the study of each size."""
    maker = PolarizedXesFlowMaker(
        site_maker=SiteXesMaker(engine="analytic_engine:make", settings=plan.settings_at_strain)
    )
    todo = plan_records(plan.crystals(), [plan.element], plan.settings_at_strain)
    assert not todo.problems
    records = {
        value: run_task(task, maker) for value, task in zip(plan.strains, todo.tasks, strict=True)
    }
    return strain_studies(plan, records, SamsSettings())


@given(st.floats(-0.3, 0.3), st.floats(0, np.pi), st.floats(0, 2 * np.pi))
def test_lengths_change_along_the_direction_alone(strain, polar, azimuth):
    from pymatgen.core.structure import Structure

    direction = np.array(
        [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)]
    )
    crystal = Structure(
        [[3.0, 0.2, 0.0], [0.0, 4.0, -0.3], [0.5, 0.0, 5.0]],
        ["Ni", "O"],
        [[0, 0, 0], [0.4, 0.5, 0.6]],
    )
    longer = stretched(crystal, 3.0 * direction, strain)
    assert np.array_equal(longer.frac_coords, crystal.frac_coords)
    before, after = crystal.cart_coords[1], longer.cart_coords[1]
    along = before @ direction
    assert after @ direction == pytest.approx((1 + strain) * along, abs=1e-12)
    assert np.allclose(after - (after @ direction) * direction, before - along * direction)
    assert longer.volume == pytest.approx((1 + strain) * crystal.volume)


def test_the_axis_is_that_of_the_conventional_cell(crystal):
    primitive = crystal("NiO").get_primitive_structure()
    direction = axis_direction(primitive, "c")
    conventional = crystal_symmetry(primitive).conventional_lattice
    assert np.allclose(np.cross(direction, conventional[2]), 0.0)
    longer = stretched(primitive, direction, 0.02)
    assert crystal_symmetry(longer).number == 139  # I4/mmm: cubic no more, and no less than this


@pytest.mark.parametrize("strain", [-0.6, 0.51, np.nan])
def test_what_is_no_strain_is_refused(crystal, strain):
    with pytest.raises(InputError, match="beyond 50%"):
        stretched(crystal("NiO"), np.array([0, 0, 1.0]), strain)


def test_strains_are_those_of_the_names():
    assert strains_between(-0.3, 0.3, 0.1) == [-0.003, -0.002, -0.001, 0.0, 0.001, 0.002, 0.003]
    assert strains_between(2, 2, 1) == [0.02]
    for wrong in ((1, -1, 0.5), (0, 1, 0), (0, 1, 0.001)):
        with pytest.raises(InputError, match="step"):
            strains_between(*wrong)


def test_the_same_atoms_scatter_at_every_strain(plan_of):
    plan = plan_of("NiO", "Ni", (-0.03, -0.005, 0.0, 0.005, 0.03))
    assert plan.sizes == {30: 32, 80: 80}  # 6 + 12 + 8 + 6, and 24 + 24 more
    for study in run(plan):
        assert {tuple(point.n_fms_atoms) for point in study.points} == {(study.n_neighbors + 1,)}


def test_a_cubic_crystal_has_no_anisotropy_until_it_is_strained(plan_of):
    small, large = run(plan_of("NiO", "Ni", strains_between(-2, 2, 0.5)))
    assert (small.fms_atoms, large.fms_atoms) == (30, 80)
    for study in (small, large):
        zero = study.points[4]
        assert zero.strain == 0.0
        assert zero.qams == pytest.approx(0.0, abs=1e-12)
        assert zero.sams == pytest.approx(0.0, abs=1e-9)
        others = [each for each in study.points if each.strain]
        assert min(each.qams for each in others) > 1e-3
        assert min(each.sams for each in others) > 1e-3
        r2 = {(line.side, line.of, line.over): line.r2 for line in study.lines}
        assert len(r2) == 6
        assert min(r2.values()) > 0.99
        slopes = {(line.side, line.of): line.slope for line in study.lines if line.over != "qams"}
        assert slopes["compressed", "qams"] < 0 < slopes["stretched", "qams"]


def test_a_study_belongs_to_the_crystal_without_strain(plan_of, crystal):
    (study,) = run(plan_of("rutile_TiO2", "Ti", (0.0, 0.01), XesSettings(energy_step_ev=0.5)))
    assert study.study_id.startswith("rutile_TiO2-Ti-analytic-30-")
    assert study.study_id.endswith("-strain-c")
    assert np.allclose(
        study.provenance.structure["lattice"]["matrix"], crystal("rutile_TiO2").lattice.matrix
    )
    assert [point.record_id.split("-Ti-")[0] for point in study.points] == [
        "rutile_TiO2-c+0.00",
        "rutile_TiO2-c+1.00",
    ]
    assert study.lines == []  # two points carry no line


def test_failed_sites_are_points_without_sams(plan_of, monkeypatch):
    monkeypatch.setenv("ANALYTIC_FAIL", "0")
    (study,) = run(plan_of("NiO", "Ni", (0.0, 0.01), XesSettings(energy_step_ev=0.5)))
    assert [(p.state, p.reason, p.sams) for p in study.points] == 2 * [
        ("incomplete", "scf_not_converged", None)
    ]
    assert study.points[1].qams > 0


def test_a_line_through_points_that_do_not_vary_has_no_r2():
    assert fit_line([0, 1, 2], [3, 3, 3])[2] is None
    slope, intercept, r2 = fit_line([0, 1, 2, 3], [0, 1, 0, 1])
    assert (round(slope, 9), round(intercept, 9), round(r2, 9)) == (0.2, 0.2, 0.2)
