from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtc_flows.feff.convergence import (
    CHARGE_TOLERANCE,
    FERMI_TOLERANCE_HA,
    FEWEST_ITERATIONS,
    OCCUPATION_TOLERANCE,
    ConvergenceJudge,
)

#: What FEFF 8.5L takes for converged (Hartree).
FEFF_TOLERANCE_HA = 3e-3
CHARGES = np.array([0.1, -0.2])
OCCUPATIONS = np.array([[0.5, 0.6, 9.0, 0, 0], [1.8, 4.9, 0.1, 0, 0]])


def settled(judge: ConvergenceJudge, iterations: int, fermi_ha: float = -0.4) -> None:
    for _ in range(iterations):
        judge.judge(fermi_ha, CHARGES, OCCUPATIONS)


def test_nothing_converges_before_the_fewest_iterations():
    judge = ConvergenceJudge()
    settled(judge, FEWEST_ITERATIONS - 1)
    assert not judge.history.converged
    settled(judge, 1)
    assert judge.history.converged


@pytest.mark.parametrize(
    ("fermi", "charge", "occupation"),
    [
        (1.5 * FERMI_TOLERANCE_HA, 0, 0),
        (0, 1.5 * CHARGE_TOLERANCE, 0),
        (0, 0, 1.5 * OCCUPATION_TOLERANCE),
    ],
)
def test_each_change_alone_keeps_it_going(fermi, charge, occupation):
    judge = ConvergenceJudge()
    settled(judge, 10)
    judge.judge(-0.4 + fermi, CHARGES + charge, OCCUPATIONS + occupation)
    assert not judge.history.converged
    assert judge.history.fermi_ha[-1] == -0.4 + fermi


def test_impossible_occupations_never_converge():
    judge = ConvergenceJudge()
    settled(judge, 10)
    judge.judge(-0.4, CHARGES, OCCUPATIONS, possible=False)
    assert not judge.history.converged
    assert not judge.history.possible


def test_charges_are_electrons_lost():
    judge = ConvergenceJudge()
    settled(judge, 2)
    assert judge.history.charges_e == [-0.1, 0.2]
    assert judge.history.possible


def test_a_restart_begins_anew():
    judge = ConvergenceJudge()
    settled(judge, 10)
    judge.restarted()
    assert (judge.history.converged, judge.history.bad_counts) == (False, 1)
    assert not judge.history.possible
    assert judge.true_fermi_ha is None
    settled(judge, FEWEST_ITERATIONS - 1)
    assert not judge.history.converged


@given(st.lists(st.floats(-0.01, 0.01), min_size=5, max_size=40))
def test_feff_is_told_to_go_on_exactly_while_it_should(changes):
    """FEFF stops when what it is told changes by less than its tolerance."""
    judge = ConvergenceJudge()
    told: list[float] = []
    level, occupations = -0.4, OCCUPATIONS
    for number, change in enumerate(changes):
        level += change
        occupations = OCCUPATIONS + 0.01 * (number % 2)  # never converged
        told.append(judge.judge(level, CHARGES, occupations))
        assert judge.history.fermi_ha[-1] == level
        assert judge.true_fermi_ha == level
    assert (np.abs(np.diff(told)) > FEFF_TOLERANCE_HA).all()
    # once converged it hears the truth, and soon stops
    told += [judge.judge(level, CHARGES, occupations) for _ in range(3)]
    assert judge.history.converged
    assert told[-1] == told[-2] == level
