"""
Steer the self-consistency of FEFF 8.5L's library from iteration to iteration.

Four things are done better than the library alone does them:

* its convergence is judged, and it is kept from stopping too early
  (:mod:`vtc_flows.feff.convergence`);
* impossible occupations ("bad counts": a shallow core level was taken for valence, or the other
  way round) start the iterations anew with another core-valence separation. The library has that
  code, but never reaches it: it reports such an iteration as good. What it changed in that
  iteration is taken back, and the separation and mixing go on as in FEFF10;
* its mixing remembers 30 densities and writes on beyond that memory: its counter starts anew;
* lithium and beryllium get the angular momenta that were asked for, and not one more.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtc_flows.errors import ScfNotConvergedError
from vtc_flows.feff.convergence import ConvergenceJudge
from vtc_flows.feff.elf import HookedLibrary
from vtc_flows.feff.memory import complexes, doubles, floating, integer
from vtc_flows.feff.scf_scattering import N_ANGULAR, ScfScattering
from vtc_flows.feff.site_input import MAX_POTENTIALS, SiteInput
from vtc_flows.feff.watch import Progress

Guard = Callable[[Callable[..., None]], Callable[..., None]]

_RADIAL_POINTS = 251
_MIXING_MEMORY = 30

# Arguments of scmt_, 0-based.
_ITERATION, _SEPARATION, _FERMI, _CHARGES, _VALENCE, _OCCUPATIONS, _GOOD, _MIXING = (
    1, 2, 16, 12, 19, 38, 39, 44,
)  # fmt: skip
#: What an iteration changes: argument and number of doubles (overlapped Coulomb potential, density,
#: valence density, Fermi level, new valence density).
_CHANGED = (
    (5, MAX_POTENTIALS * _RADIAL_POINTS),
    (6, MAX_POTENTIALS * _RADIAL_POINTS),
    (7, MAX_POTENTIALS * _RADIAL_POINTS),
    (_FERMI, 1),
    (37, (MAX_POTENTIALS + 1) * _RADIAL_POINTS),
)

#: Occupations may differ from the free atom's by at most this many electrons (s, p, d, f, g).
_POSSIBLE_CHANGE = np.array([1.95, 5.1, 9.1, 13.1, 13.1])
_MOST_STARTS = 3
_SAME_SEPARATION_HA = 0.05
_SLOWER, _SLOWEST_MIXING = 5.0, 0.01

#: Atomic numbers for which the library adds an angular momentum: lithium and beryllium.
_TOO_MANY_L = (3, 4)


class ScfSteering:
    """
    The hooks of one self-consistency.

    Parameters
    ----------
    library : HookedLibrary
        FEFF 8.5L.
    site : SiteInput
        The site.
    progress : callable
        Called after each iteration.

    Attributes
    ----------
    history : ScfHistory
        What happened so far.
    scattering : ScfScattering
        Our part, with its counters.
    """

    def __init__(self, library: HookedLibrary, site: SiteInput, progress: Progress) -> None:
        self._library = library
        self._site = site
        self._progress = progress
        self._judge = ConvergenceJudge()
        self._starts = 1
        self._mixing = site.scf.mixing
        self._separation_before_restart: float | None = None
        self.history = self._judge.history
        self.scattering = ScfScattering(site)

    def install(self, guarded: Guard) -> None:
        """Redirect the library's calls; ``guarded`` takes care of exceptions."""
        self._library.replace("fmsie_", 14, guarded(self.scattering.answer))
        self._scmt = self._library.replace("scmt_", 47, guarded(self._iterate))
        if any(potential.atomic_number in _TOO_MANY_L for potential in self._site.potentials):
            self._embedded = EmbeddedAtom(self._library)
            self._embedded.install(guarded)

    def flush(self) -> None:
        """Bring what FEFF wrote into the log, in case it is the last that it writes."""
        self._library.routine("_gfortran_flush_i4", 1)(None)

    def _iterate(self, *arguments: Any) -> None:
        fermi = floating(arguments[_FERMI])
        if self._judge.true_fermi_ha is not None:
            fermi.value = self._judge.true_fermi_ha
        self._slow_down_after_restart(floating(arguments[_SEPARATION]).value)
        before = [doubles(arguments[i], count).copy() for i, count in _CHANGED]
        self._call(arguments)
        self.flush()
        n_potentials = len(self._site.potentials)
        charges = doubles(arguments[_CHARGES], n_potentials)
        occupations = _by_potential(arguments[_OCCUPATIONS], n_potentials)
        valence = _by_potential(arguments[_VALENCE], n_potentials)
        possible = not (np.abs(occupations - valence) > _POSSIBLE_CHANGE).any()
        if not possible and self._site.scf.restart_on_bad_counts:
            for (i, count), values in zip(_CHANGED, before, strict=True):
                doubles(arguments[i], count)[:] = values
            self._restart(arguments)
        else:
            fermi.value = self._judge.judge(fermi.value, charges, occupations, possible=possible)
        self._progress("scf", self.history.n_iterations, self._site.scf.max_iterations)

    def _call(self, arguments: tuple[Any, ...]) -> None:
        iteration = integer(arguments[_ITERATION]).value
        counter = ctypes.c_int32((iteration - 1) % _MIXING_MEMORY + 1)
        mixing = ctypes.c_double(self._mixing)
        own = list(arguments)
        own[_ITERATION] = ctypes.addressof(counter)
        own[_MIXING] = ctypes.addressof(mixing)
        self._scmt(*own)

    def _restart(self, arguments: tuple[Any, ...]) -> None:
        """Let FEFF look for another core-valence separation and start the iterations anew."""
        self._starts += 1
        if self._starts > _MOST_STARTS:
            raise ScfNotConvergedError(
                "impossible occupations came back with each core-valence separation that was tried",
                reason="bad_counts",
            )
        integer(arguments[_GOOD]).value = 0
        self._separation_before_restart = floating(arguments[_SEPARATION]).value
        self._judge.restarted()

    def _slow_down_after_restart(self, separation: float) -> None:
        if self._separation_before_restart is None:
            return
        unchanged = abs(separation - self._separation_before_restart) < _SAME_SEPARATION_HA
        if unchanged:
            self._starts = _MOST_STARTS
        if self._starts == _MOST_STARTS:
            self._mixing = max(self._mixing / _SLOWER, _SLOWEST_MIXING)
        self._separation_before_restart = None


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
        if number not in _TOO_MANY_L:
            self._rholie(*arguments)
            return
        self._density = complexes(arguments[self._YRHOCE], _RADIAL_POINTS)
        self._left = self._CALLS_PER_L * (lmax + 1)
        self._rholie(*arguments)
        self._left = None
        if self._noted is not None:
            self._density[:] = self._noted
            self._noted = None
        for argument in (self._XRHOLE, self._XRHOCE, self._PHASES):
            complexes(arguments[argument], N_ANGULAR)[lmax + 1 :] = 0
        regular = complexes(arguments[self._YRHOLE], N_ANGULAR * _RADIAL_POINTS)
        regular[(lmax + 1) * _RADIAL_POINTS :] = 0

    def _integrate(self, *arguments: Any) -> None:
        self._csomm2(*arguments)
        if self._left is not None:
            self._left -= 1
            if self._left == 0 and self._density is not None:
                self._noted = self._density.copy()


def _by_potential(address: int, n_potentials: int) -> NDArray[np.float64]:
    return doubles(address, n_potentials * N_ANGULAR).reshape(n_potentials, N_ANGULAR)
