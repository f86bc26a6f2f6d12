"""Where the states that emit begin, and what is left of a spectrum."""

from __future__ import annotations

from dataclasses import asdict, replace
from json import dumps, loads

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from vtc_flows.crystal.clusters import absorber_cluster
from vtc_flows.feff.cluster_input import site_input
from vtc_flows.feff.discovery import find_feff8l
from vtc_flows.feff.feff8l import Feff8lEngine
from vtc_flows.feff.recovery import FEFF8L_LADDER
from vtc_flows.feff.site_input import EnergyGrid, LowerEnd
from vtc_flows.feff.valence_bottom import (
    Level,
    ValenceBottom,
    bottom_from_background,
    bottom_from_fields,
    find_3p,
    levels_in,
    search_energies,
    wider_grid,
)
from vtc_flows.physics.tensors import isotropic
from vtc_flows.schemas import XesSettings
from vtc_flows.settings import load_settings

FERMI = -11.2
GRID = search_energies(FERMI, 30.0)
HALF_WIDTH = 0.45


def line_at(energy, height):
    return height * HALF_WIDTH**2 / ((GRID - energy) ** 2 + HALF_WIDTH**2)


VALENCE = 0.1 + line_at(FERMI - 5, 2.0)


class TestSearch:
    def test_it_reaches_below_the_deepest_bottom_and_ends_at_the_fermi_level(self):
        assert GRID[0] <= FERMI - 35.9
        assert GRID[-1] == pytest.approx(FERMI)
        assert (np.diff(GRID) > 0).all()
        assert len(GRID) < 130  # with the vertical points in one call of FEFF, which holds 150

    @pytest.mark.parametrize("depth", [5.0, 30.0, 40.0, 60.0, 200.0])
    def test_however_deep_it_fits_into_one_call(self, depth):
        grid = search_energies(FERMI, depth)
        assert len(grid) < 130
        assert (np.diff(grid) > 0).all()
        assert grid[0] <= FERMI - depth

    @pytest.mark.parametrize("below", [26.1, 28.93, 31.0, 33.3])
    def test_a_strong_line_is_the_3p_level(self, below):
        assert find_3p(GRID, VALENCE + line_at(FERMI - below, 120.0)) == pytest.approx(
            FERMI - below, abs=0.05
        )

    def test_a_ligands_level_is_not_strong_enough(self):
        assert find_3p(GRID, VALENCE + line_at(FERMI - 25, 4.0)) is None

    def test_a_line_outside_shows_only_its_flank(self):
        assert find_3p(GRID, VALENCE + line_at(FERMI - 38, 120.0)) is None


class TestBottom:
    def test_above_the_3p_level_in_whole_steps(self):
        background = VALENCE + line_at(FERMI - 31.23, 120.0)
        found = bottom_from_background(GRID, background, LowerEnd(30.0), 0.1)
        assert found.method == "3p"
        assert FERMI - found.energy_ev == pytest.approx(28.2)

    def test_at_the_depth_where_the_level_is_deep(self):
        for level in (33.5, 45.0):
            background = VALENCE + line_at(FERMI - level, 120.0)
            found = bottom_from_background(GRID, background, LowerEnd(30.0), 0.1)
            assert (found.method, found.energy_ev) == ("depth", FERMI - 30.0)

    def test_above_the_other_atoms_of_the_element(self):
        """Without a core hole their 3p levels lie 5 eV higher than the absorber's."""
        background = VALENCE + line_at(FERMI - 33.0, 120.0)
        levels = (
            Level("Sc", "p", FERMI - 28.0, same_element=True),
            Level("Ge", "p", FERMI - 20.0),
            Level("Sc", "s", FERMI - 20.0, same_element=True),
        )
        found = bottom_from_background(GRID, background, LowerEnd(30.0), 0.1, levels)
        assert (found.method, found.levels) == ("3p", levels)
        assert FERMI - found.energy_ev == pytest.approx(26.5)
        assert not any("left out" in told for told in found.remarks(FERMI))

    def test_given(self):
        background = VALENCE + line_at(FERMI - 31.23, 120.0)
        found = bottom_from_background(GRID, background, LowerEnd(27.0, above_3p=False), 0.1)
        assert (found.method, found.energy_ev) == ("given", FERMI - 27.0)
        assert found.level_3p_ev == pytest.approx(FERMI - 31.23, abs=0.05)

    def test_it_survives_the_way_between_processes(self):
        bottom = ValenceBottom(-40.0, "3p", -43.1, (Level("F", "s", -36.0),))
        assert bottom_from_fields(loads(dumps(asdict(bottom)))) == bottom
        assert bottom_from_fields(None) is None

    def test_levels_that_it_cuts_are_named(self):
        levels = (Level("F", "s", -38.9), Level("O", "s", -30.0), Level("N", "s", -44.0))
        told = ValenceBottom(-40.0, "3p", -43.1, levels).remarks(-11.0)
        where = "the bottom of the valence at E_F-29.0 eV (the absorber's 3p at E_F-32.1 eV)"
        assert told == (
            f"the s level of F lies 1.1 eV above {where}, which cuts it",
            f"the s level of N lies below {where} and is left out",
        )
        assert ValenceBottom(-40.0, "depth", None, levels[1:]).remarks(-11.0) == ()

    def test_levels_are_poles_of_the_amplitude(self):
        amplitude = 0.02 + 3.0 / np.abs(GRID + 1j * HALF_WIDTH - (FERMI - 21.0))
        assert levels_in(GRID, amplitude) == pytest.approx([FERMI - 21.0], abs=0.2)
        assert levels_in(GRID, np.linspace(0.1, 0.5, len(GRID))) == []


@pytest.mark.parametrize(("start", "wider"), [(-30.0, -36.0), (-20.05, -36.05), (-40.0, -40.0)])
def test_a_wider_grid_keeps_its_points(start, wider):
    grid = wider_grid(EnergyGrid(start, 5.0, 0.1), LowerEnd(30.0))
    assert grid.start_ev == pytest.approx(wider)
    assert (grid.stop_ev, grid.step_ev) == (5.0, 0.1)


@pytest.fixture(scope="module")
def spectrum_of(tmp_path_factory):
    engine = Feff8lEngine(
        find_feff8l(load_settings()),
        scratch_directory=tmp_path_factory.mktemp("runs"),
        ladder=FEFF8L_LADDER[:1],
    )

    def run(structure, index=0, **settings):
        chosen = XesSettings(**settings)
        site = site_input(absorber_cluster(structure, index), chosen)
        return engine.run_site(site)[0]

    return run


@pytest.fixture(scope="module")
def scpd3():
    """ScPd3 as mp-2677; FEFF10's restarts lead to a false solution with its 3p at E_F-26.2 eV."""
    return Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(3.997), ["Sc", "Pd"], [[0, 0, 0], [0.5, 0.5, 0]]
    )


@pytest.mark.engine
class TestScandium:
    def test_its_3p_line_and_the_tail_of_it_are_gone(self, spectrum_of, scpd3):
        whole, valence = (spectrum_of(scpd3, valence_only=v) for v in (False, True))
        depth = valence.e_fermi_ev - valence.bottom.level_3p_ev
        assert depth == pytest.approx(33.2, abs=0.5)
        energy = valence.energy_ev - valence.e_fermi_ev
        deep, bands = energy < -20, energy > -10
        before, after = isotropic(whole.tensor), isotropic(valence.tensor)
        assert before[deep].max() > 0.5 * before[bands].max()
        assert np.abs(after[deep]).max() < 5e-3 * after[bands].max()
        assert np.abs(after - before)[bands].max() < 2e-2 * before[bands].max()
        assert after.min() > 0
        assert valence.checks["ghost_levels"] >= 1

    def test_the_self_consistency_counts_what_it_integrates(self, spectrum_of, scpd3):
        found = spectrum_of(scpd3, energy_below_ev=2.0, energy_step_ev=0.5)
        assert found.e_fermi_ev == pytest.approx(-7.2, abs=0.15)
        for shells, occupations in zip(
            found.scf.separation.shells, found.scf.separation.occupations_e, strict=True
        ):
            assert sum(occupations) == pytest.approx(sum(s.electrons for s in shells), abs=1.0)


@pytest.mark.engine
def test_where_no_level_lies_near_the_bottom_can_move(spectrum_of, crystal):
    """Titanium dioxide: O 2s at E_F-18.7, titanium's 3p at E_F-38 eV."""
    tensors = [
        spectrum_of(crystal("rutile_TiO2"), valence_bottom_ev=bottom, energy_step_ev=0.2).tensor
        for bottom in (-30.0, -28.0, -26.0)
    ]
    largest = tensors[0].max()
    for other in tensors[1:]:
        assert np.abs(other - tensors[0]).max() < 2e-3 * largest


@pytest.mark.engine
def test_the_executables_reach_the_same_bottom(crystal, tmp_path):
    """Their mesh has no second vertical axis: the functions are continued down to the axis."""
    site = site_input(
        absorber_cluster(crystal("rutile_TiO2"), 0, n_neighbors=6),
        XesSettings(n_scf_atoms=6, fms_atoms=(6,), energy_step_ev=0.2),
    )
    site = replace(site, smooth=False, scf=replace(site.scf, mixing=0.2, n_plain_mixing=1))
    found = [
        Feff8lEngine(
            find_feff8l(load_settings()),
            route=route,
            scratch_directory=tmp_path,
            ladder=FEFF8L_LADDER[:1],
        ).run_site(site)[0]
        for route in ("library", "executables")
    ]
    library, executables = found
    assert executables.bottom.energy_ev == pytest.approx(library.bottom.energy_ev, abs=0.1)
    largest = library.tensor.max()
    assert np.abs(executables.tensor - library.tensor).max() < 2e-2 * largest
