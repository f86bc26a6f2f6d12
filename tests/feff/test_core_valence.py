"""Which electrons were counted, and false solutions that FEFF takes for good."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from vtc_flows.crystal.clusters import absorber_cluster
from vtc_flows.errors import ScfNotConvergedError
from vtc_flows.feff.cluster_input import site_input
from vtc_flows.feff.core_valence import (
    CoreValence,
    Shell,
    require_one_solution,
    separation_of,
    valence_shells,
)
from vtc_flows.feff.discovery import find_feff8l
from vtc_flows.feff.engine import SecondStart
from vtc_flows.feff.feff8l import Feff8lEngine
from vtc_flows.feff.recovery import FEFF8L_LADDER
from vtc_flows.feff.second_start import is_straight, require_agreement, second_start
from vtc_flows.feff.site_input import PotentialSpec
from vtc_flows.schemas import XesSettings
from vtc_flows.settings import load_settings

TITANIUM = (
    Shell(4, 0, 1.0, deep=False),
    Shell(3, 1, 6.0, deep=True),
    Shell(4, 1, 1.0, deep=False),
    Shell(3, 2, 2.0, deep=False),
)
OXYGEN = (Shell(2, 0, 2.0, deep=True), Shell(2, 1, 4.0, deep=False))
POTENTIALS = tuple(
    PotentialSpec.with_default_lmax(*one, 1.0) for one in ((22, "Ti"), (8, "O"), (22, "Ti"))
)
#: Rutile with 48 atoms in the self-consistency, by this engine.
GOOD = CoreValence(
    -53.0,
    (),
    (TITANIUM, OXYGEN, TITANIUM),
    ((0.41, 6.72, 3.46, 0.0, 0.0), (1.84, 4.39, 0.07, 0.0, 0.0), (0.40, 6.68, 2.31, 0.0, 0.0)),
)
#: The same as FEFF10 left it: the 3s of the other titanium lies above the separation.
WITH_3S = replace(
    GOOD,
    energy_ev=-70.0,
    moves_ev=(-53.0, -63.5),
    occupations_e=(
        (0.43, 6.75, 3.06, 0.0, 0.0),
        (1.86, 4.17, 0.05, 0.0, 0.0),
        (2.33, 6.47, 1.05, 0.0, 0.0),
    ),
)
#: The same with FEFF10's mixing and no restarts: the absorber's 3p slipped below the separation.
WITHOUT_3P = replace(
    GOOD,
    occupations_e=(
        (0.45, 0.81, 9.18, 0.0, 0.0),
        (1.84, 4.39, 0.08, 0.0, 0.0),
        (0.41, 6.69, 2.29, 0.0, 0.0),
    ),
)


class TestVerdict:
    def test_a_solution_whose_electrons_are_those_counted_passes(self):
        require_one_solution(POTENTIALS, GOOD)

    def test_a_core_level_above_the_separation(self):
        with pytest.raises(ScfNotConvergedError, match=r"Ti holds 2\.33 s electrons") as caught:
            require_one_solution(POTENTIALS, WITH_3S)
        assert caught.value.reason == "valence_assignment"

    def test_a_valence_level_below_the_separation(self):
        with pytest.raises(ScfNotConvergedError, match=r"Ti holds 0\.81 p electrons"):
            require_one_solution(POTENTIALS, WITHOUT_3P)

    def test_electrons_where_the_atom_has_no_shell(self):
        """Palladium's 4p in ScPd3, after the separation was moved below it."""
        metal = (Shell(5, 0, 1.0, deep=False), Shell(4, 2, 9.0, deep=False))
        wrong = CoreValence(-61.5, (), (metal,), ((0.55, 6.42, 8.72, 0.0, 0.0),))
        with pytest.raises(ScfNotConvergedError, match=r"6\.42 p electrons"):
            require_one_solution([PotentialSpec.with_default_lmax(46, "Pd", 1.0)], wrong)
        require_one_solution(
            [PotentialSpec.with_default_lmax(46, "Pd", 1.0)],
            replace(wrong, occupations_e=((0.60, 0.59, 8.63, 0.0, 0.0),)),
        )

    def test_a_core_hole_may_make_a_shell_deep(self):
        """Zinc's 3d is at -33 eV in the atom with the hole, and at -20 eV in the others."""
        zinc = [PotentialSpec.with_default_lmax(30, "Zn", 1.0)] * 2
        shells = [
            (Shell(4, 0, 2.0, deep=False), Shell(3, 2, 10.0, deep=deep)) for deep in (True, False)
        ]
        occupations = ((0.9, 0.8, 9.9, 0.0, 0.0), (0.8, 0.8, 9.8, 0.0, 0.0))
        require_one_solution(zinc, CoreValence(-45.0, (), tuple(shells), occupations))

    def test_above_a_full_deep_shell_there_is_an_empty_one(self):
        """Sodium's 2p is full, and its sphere holds tails of the neighbors' p states."""
        sodium = (Shell(3, 0, 1.0, deep=False), Shell(2, 1, 6.0, deep=True))
        solution = CoreValence(-50.0, (), (sodium,), ((0.31, 6.42, 0.15, 0.0, 0.0),))
        potentials = [PotentialSpec.with_default_lmax(11, "Na", 1.0)]
        require_one_solution(potentials, solution)
        with_2s = replace(solution, occupations_e=((2.31, 6.42, 0.15, 0.0, 0.0),))
        with pytest.raises(ScfNotConvergedError, match=r"2\.31 s electrons"):
            require_one_solution(potentials, with_2s)

    def test_a_shell_that_is_valence_in_one_atom_and_core_in_another(self):
        with_3s = (Shell(3, 0, 2.0, deep=True), *TITANIUM)
        other = replace(
            GOOD,
            shells=(TITANIUM, OXYGEN, with_3s),
            occupations_e=(*GOOD.occupations_e[:2], (2.40, 6.68, 2.31, 0.0, 0.0)),
        )
        with pytest.raises(ScfNotConvergedError, match="3s counts as valence in only one"):
            require_one_solution(POTENTIALS, other)

    def test_atoms_of_one_element_that_are_filled_differently(self):
        with_3s = (Shell(3, 0, 2.0, deep=False), *TITANIUM)
        other = replace(
            GOOD,
            shells=(with_3s, OXYGEN, with_3s),
            occupations_e=(
                (0.9, 6.7, 3.4, 0.0, 0.0),
                GOOD.occupations_e[1],
                (2.4, 6.7, 2.3, 0.0, 0.0),
            ),
        )
        with pytest.raises(ScfNotConvergedError, match=r"0.90 \(Ti\) and 2.40 \(Ti\) s electrons"):
            require_one_solution(POTENTIALS, other)

    def test_the_electron_that_screens_the_hole_may_open_a_shell(self):
        """Copper with a 1s hole has a 4p electron that the other copper atoms do not have."""
        free = (Shell(4, 0, 1.0, deep=False), Shell(3, 2, 10.0, deep=False))
        screened = (*free, Shell(4, 1, 1.0, deep=False))
        copper = [PotentialSpec.with_default_lmax(29, "Cu", 1.0)] * 2
        occupations = ((0.5, 0.6, 9.6, 0.0, 0.0), (0.5, 0.6, 9.3, 0.0, 0.0))
        require_one_solution(copper, CoreValence(-40.0, (), (screened, free), occupations))


def test_shells_taken_from_the_core_are_found():
    """FEFF counts two more s electrons than its table of valence has: 3s has become valence."""
    kappa = np.array([-1, -1, 1, -2, -1, 1, -2, 2, -1], np.int32)
    energies = np.array([-180.0, -20.0, -17.0, -16.8, -3.0, -2.0, -1.9, -0.5, -0.3])
    valence = np.array([0, 0, 0, 0, 0, 2, 4, 2, 2], float)
    counted = np.array([2.0, 6.0, 2.0, 0.0, 0.0])
    as_tabled = valence_shells(kappa, energies, valence, counted)
    assert [(s.name, s.deep) for s in as_tabled] == [("4s", False), ("3p", True), ("3d", False)]
    with_3s = valence_shells(kappa, energies, valence, np.add(counted, [2.0, 0, 0, 0, 0]))
    assert [s.name for s in with_3s] == ["3s", "4s", "3p", "3d"]


def test_facts_survive_the_way_between_processes():
    from dataclasses import asdict
    from json import dumps, loads

    assert separation_of(loads(dumps(asdict(WITH_3S)))) == WITH_3S
    assert separation_of(None) is None


def test_a_start_is_straight_without_restarts_moves_and_recovery():
    moved = replace(WITH_3S, moves_ev=(-53.0,))
    still = replace(WITH_3S, moves_ev=())
    assert is_straight(still, 0, recovered=False)
    assert is_straight(None, 0, recovered=False)
    assert not is_straight(moved, 0, recovered=False)
    assert not is_straight(still, 1, recovered=False)
    assert not is_straight(still, 0, recovered=True)


def test_fermi_levels_of_two_starts_agree_to_three_tenths_of_an_ev():
    require_agreement(-12.12, -12.40)
    with pytest.raises(ScfNotConvergedError) as caught:
        require_agreement(-12.12, -15.98)
    assert caught.value.reason == "second_solution"


@pytest.mark.engine
class TestOnRutile:
    """48 SCF atoms: FEFF10 and version 0.1 went to E_F -15.979 eV, with half the maximum there."""

    @pytest.fixture
    def run(self, crystal, tmp_path):
        settings = XesSettings(n_scf_atoms=48, energy_below_ev=1.0, energy_step_ev=0.5)
        site = site_input(absorber_cluster(crystal("rutile_TiO2"), 0, n_neighbors=48), settings)

        def run_with(*, first_only: bool, **scf):
            engine = Feff8lEngine(
                find_feff8l(load_settings()),
                scratch_directory=tmp_path,
                ladder=FEFF8L_LADDER[:1] if first_only else FEFF8L_LADDER,
            )
            changed = replace(site, scf=replace(site.scf, **scf), lower_end=None)
            return engine.run_site(changed)[0]

        return run_with

    def test_the_first_try_finds_the_solution(self, run):
        found = run(first_only=True)
        assert found.e_fermi_ev == pytest.approx(-12.119, abs=2e-3)
        assert found.scf.separation.moves_ev == ()
        assert found.scf.second_start is None
        assert found.scf.separation.shell_names()[0] == ("4s", "3p", "4p", "3d")

    def test_the_contour_of_feff_errs_by_its_rule(self, run):
        """FEFF10 itself, without the overshoot, comes to -12.106 eV."""
        found = run(first_only=True, contour="feff")
        assert found.e_fermi_ev == pytest.approx(-12.106, abs=2e-3)

    def test_an_overshoot_starts_again_in_the_middle_of_the_gap(self, run):
        found = run(first_only=True, mixing=0.2, n_plain_mixing=1)
        assert found.scf.restarts >= 1
        assert found.scf.mixing < 0.2
        assert found.scf.separation.energy_ev == pytest.approx(-58.0, abs=2.0)
        assert found.e_fermi_ev == pytest.approx(-12.119, abs=2e-3)
        assert found.scf.second_start.e_fermi_ev == pytest.approx(-12.119, abs=0.05)

    def test_a_solution_that_another_start_contradicts_is_refused(self, run, monkeypatch):
        monkeypatch.setattr("vtc_flows.feff.second_start.AGREEMENT_EV", -1.0)
        with pytest.raises(ScfNotConvergedError, match=r"two solutions.*another start") as caught:
            run(first_only=True, mixing=0.2, n_plain_mixing=1)
        assert caught.value.reason == "second_solution"

    def test_a_second_start_that_fails_says_nothing_of_the_first(self, run, monkeypatch):
        def hopeless(site, mixing):
            other = second_start(site, mixing)
            return replace(other, scf=replace(other.scf, max_iterations=2))

        monkeypatch.setattr("vtc_flows.feff.feff8l.second_start", hopeless)
        found = run(first_only=True, mixing=0.2, n_plain_mixing=1)
        assert found.e_fermi_ev == pytest.approx(-12.119, abs=2e-3)
        assert found.scf.second_start == SecondStart(None, "scf_not_converged")

    def test_what_ran_into_a_false_solution_is_refused_and_cured(self, run):
        """Going on through impossible occupations, the absorber loses its 3p."""
        wrong = {"mixing": 0.1, "n_plain_mixing": 1, "on_bad_counts": "go_on"}
        with pytest.raises(ScfNotConvergedError):
            run(first_only=True, **wrong)
        found = run(first_only=False, **wrong)
        assert found.scf.recovery == "centered separation"
        assert found.e_fermi_ev == pytest.approx(-12.119, abs=2e-3)
        assert found.scf.second_start.reason is None

    def test_feff10_is_reproduced_where_that_is_asked_for(self, run):
        as_feff10 = {"on_bad_counts": "separation", "contour": "feff"}
        found = run(first_only=True, mixing=0.2, n_plain_mixing=1, **as_feff10)
        assert found.e_fermi_ev == pytest.approx(-15.979, abs=5e-3)
        assert found.scf.separation.moves_ev == (-53.0, -63.5)
        assert found.scf.second_start is None


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "shell", "fermi_ev"), [("VSe", "3d", -10.05), ("NbCr2", "4s", -15.83)]
)
def test_levels_that_the_crystal_lifts_among_the_valence(name, shell, fermi_ev, tmp_path):
    """Se 3d and Nb 4s are just below -70 eV in the free atom, where FEFF does not look for them."""
    structure = {
        "VSe": Structure.from_spacegroup(  # mp-29131
            "P6_3/mmc",
            Lattice.hexagonal(3.645, 5.953),
            ["V", "Se"],
            [[0, 0, 0], [1 / 3, 2 / 3, 1 / 4]],
        ),
        "NbCr2": Structure(  # mp-548
            [[1.4142, 4.0, 2.4495], [4.2427, 0.0, 2.4495], [0.0, 0.0, 4.899]],
            ["Nb"] * 2 + ["Cr"] * 4,
            [[0.875] * 3, [0.125] * 3, [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5] * 3, [0.5, 0.5, 0]],
        ),
    }[name]
    metal = next(i for i, site in enumerate(structure) if site.specie.symbol in ("V", "Cr"))
    site = site_input(
        absorber_cluster(structure, metal), XesSettings(energy_below_ev=1.0, energy_step_ev=0.5)
    )
    engine = Feff8lEngine(
        find_feff8l(load_settings()), scratch_directory=tmp_path, ladder=FEFF8L_LADDER[:1]
    )
    (found,) = engine.run_site(replace(site, lower_end=None))
    last = found.scf.separation.shell_names()[-1]  # of the other element
    assert shell in last
    assert found.scf.restarts >= 1
    assert found.e_fermi_ev == pytest.approx(fermi_ev, abs=0.4)
