"""Shapes of the arrays with which FEFF 8.5L's self-consistency works."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from vtc_flows.feff.memory import doubles

#: Angular momenta per potential (FEFF's ``lx`` + 1).
N_ANGULAR = 5
#: Points of the radial grid.
RADIAL_POINTS = 251

#: Takes care of exceptions of a hook, which Fortran cannot pass on.
Guard = Callable[[Callable[..., None]], Callable[..., None]]


def by_potential(address: int, n_potentials: int) -> NDArray[np.float64]:
    """Return a view of one number per potential and angular momentum."""
    return doubles(address, n_potentials * N_ANGULAR).reshape(n_potentials, N_ANGULAR)


class Scmt(IntEnum):
    """Places of the arguments of ``scmt_``, one iteration of the library's self-consistency."""

    VERBOSE = 0
    NUMBER = 1
    SEPARATION = 2
    LAST_POTENTIAL = 3
    N_ATOMS = 4
    COULOMB = 5
    DENSITY = 6
    VALENCE_DENSITY = 7
    POTENTIAL = 8
    VALENCE_POTENTIAL = 9
    MUFFIN_TIN = 10
    NORMAN = 11
    CHARGES = 12
    EXCHANGE = 13
    INTERSTITIAL_DENSITY = 14
    INTERSTITIAL = 15
    FERMI = 16
    JUMP = 17
    ELECTRONS = 18
    VALENCE = 19
    ORBITAL_VALENCE = 20
    FIRST_RADIUS = 21
    RADII = 22
    STEP = 23
    STOICHIOMETRY = 24
    IONICITY = 25
    F_ELECTRONS = 26
    ATOMIC_NUMBERS = 27
    LARGE_SERIES = 28
    SMALL_SERIES = 29
    LARGE = 30
    SMALL = 31
    HOLE = 32
    POSITIONS = 33
    FIRST_ATOMS = 34
    POTENTIAL_INDEX = 35
    LMAX = 36
    NEW_DENSITY = 37
    OCCUPATIONS = 38
    GOOD = 39
    NEW_STEP = 40
    HOLE_KEPT = 41
    MOST_ITERATIONS = 42
    COULOMB_MODE = 43
    MIXING = 44
    RADIUS = 45
    ONE_CLUSTER = 46
