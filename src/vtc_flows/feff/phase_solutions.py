"""
Spare FEFF 8.5L's library the radial solutions that no phase shift of ours comes from.

For the phase shifts at one energy its routine ``phase_`` solves for l = -L, ..., L with L of at
least 5. Without spin the solutions of -l and l are the same one, and beyond the largest l of the
multiple scattering nobody looks at them: of 11 solutions 4 are wanted.
"""

from __future__ import annotations

from typing import Any

from vtc_flows.feff.elf import HookedLibrary
from vtc_flows.feff.memory import complexes, floating, integer
from vtc_flows.feff.scf_arrays import Guard

# Arguments of dfovrg_, 0-based.
_KAPPA, _RADIUS, _LAST, _INSIDE, _ENERGY, _EDGE_LARGE, _EDGE_SMALL, _KIND = (
    1, 2, 3, 4, 5, 15, 16, 23,
)  # fmt: skip
_N_ARGUMENTS = 25


class PhaseSolutions:
    """
    The hook of the library's solver of the radial equation.

    Parameters
    ----------
    library : HookedLibrary
        FEFF 8.5L.
    lmax : int
        Largest l that is wanted.
    """

    def __init__(self, library: HookedLibrary, lmax: int) -> None:
        self._library = library
        self._least_kappa = -1 - lmax
        self._of: tuple[complex, float] | None = None
        self._edges: dict[int, tuple[complex, complex]] = {}

    def install(self, guarded: Guard) -> None:
        """Redirect the library's call; ``guarded`` takes care of exceptions."""
        self._dfovrg = self._library.replace("dfovrg_", _N_ARGUMENTS, guarded(self._solve))

    def _solve(self, *arguments: Any) -> None:
        if not _is_for_a_phase(arguments):
            self._dfovrg(*arguments)
            return
        kappa = integer(arguments[_KAPPA]).value
        large, small = (complexes(arguments[at], 1) for at in (_EDGE_LARGE, _EDGE_SMALL))
        if kappa < self._least_kappa:
            large[0], small[0] = 1.0, 0.0  # any finite phase will do
            return
        asked = complex(complexes(arguments[_ENERGY], 1)[0]), floating(arguments[_RADIUS]).value
        if asked != self._of:
            self._of = asked
            self._edges = {}
        if kappa not in self._edges:
            self._dfovrg(*arguments)
            self._edges[kappa] = complex(large[0]), complex(small[0])
        large[0], small[0] = self._edges[kappa]


def _is_for_a_phase(arguments: tuple[Any, ...]) -> bool:
    """Only there the solution ends at the sphere."""
    ends_there = integer(arguments[_LAST]).value == integer(arguments[_INSIDE]).value
    return ends_there and integer(arguments[_KIND]).value < 0
