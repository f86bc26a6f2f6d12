"""Keep d states out of embedded lithium and beryllium atoms in FEFF 8.5L's library."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtc_flows.feff.elf import HookedLibrary
from vtc_flows.feff.memory import complexes, integer
from vtc_flows.feff.scf_arrays import N_ANGULAR, RADIAL_POINTS, Guard

#: Atomic numbers for which the library adds an angular momentum: lithium and beryllium.
TOO_MANY_L = (3, 4)


class EmbeddedAtom:
    """
    Keep d states out of the embedded lithium and beryllium atom.

    For these, FEFF 8.5L goes to l = 2 whatever angular momenta were asked for (FEFF10 does not).
    The density of the embedded atom is summed over l inside ``rholie_``, so it is noted when the
    last wanted l is done, and put back at the end. The end of each half of an l shows in a call of
    ``csomm2_``.

    Parameters
    ----------
    library : HookedLibrary
        FEFF 8.5L.
    """

    # Arguments of rholie_, 0-based.
    _XRHOLE, _XRHOCE, _YRHOLE, _YRHOCE, _PHASES, _NUMBER, _LMAX = 17, 18, 19, 20, 21, 22, 26
    _CALLS_PER_L = 2

    def __init__(self, library: HookedLibrary) -> None:
        self._library = library
        self._left: int | None = None
        self._density: NDArray[np.complex128] | None = None
        self._noted: NDArray[np.complex128] | None = None

    def install(self, guarded: Guard) -> None:
        """Redirect the library's calls."""
        self._rholie = self._library.replace("rholie_", 27, guarded(self._solve))
        self._csomm2 = self._library.replace("csomm2_", 6, guarded(self._integrate))

    def _solve(self, *arguments: Any) -> None:
        number, lmax = integer(arguments[self._NUMBER]).value, integer(arguments[self._LMAX]).value
        if number not in TOO_MANY_L:
            self._rholie(*arguments)
            return
        self._density = complexes(arguments[self._YRHOCE], RADIAL_POINTS)
        self._left = self._CALLS_PER_L * (lmax + 1)
        self._rholie(*arguments)
        self._left = None
        if self._noted is not None:
            self._density[:] = self._noted
            self._noted = None
        for argument in (self._XRHOLE, self._XRHOCE, self._PHASES):
            complexes(arguments[argument], N_ANGULAR)[lmax + 1 :] = 0
        regular = complexes(arguments[self._YRHOLE], N_ANGULAR * RADIAL_POINTS)
        regular[(lmax + 1) * RADIAL_POINTS :] = 0

    def _integrate(self, *arguments: Any) -> None:
        self._csomm2(*arguments)
        if self._left is not None:
            self._left -= 1
            if self._left == 0 and self._density is not None:
                self._noted = self._density.copy()
