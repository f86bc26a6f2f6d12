"""Shapes of the arrays with which FEFF 8.5L's self-consistency works."""

from __future__ import annotations

from collections.abc import Callable

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
