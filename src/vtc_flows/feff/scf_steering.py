"""
Steer the self-consistency of FEFF 8.5L's library from iteration to iteration.

Four things are done better than the library alone does them:

* its convergence is judged, and it is kept from stopping too early
  (:mod:`vtc_flows.feff.convergence`);
* impossible occupations ("bad counts") are noticed. The library has code for them, but never
  reaches it: it reports such an iteration as good. They are an overshoot of the mixing as a rule,
  so the iterations start again from the free atoms with slower mixing, and with the core-valence
  separation in the middle of its gap, where a level that swings does not reach it. FEFF10 looks
  for another separation in the potentials of that moment instead and goes on from there, which
  can end in a solution with a core level among the valence states; that is done only where FEFF10
  is to be reproduced (:attr:`vtc_flows.feff.site_input.ScfControl.on_bad_counts`). A full shell of
  the core that turns up among the valence states becomes valence
  (:mod:`vtc_flows.feff.separation_steering`);
* its mixing remembers 30 densities and writes on beyond that memory: its counter starts anew.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtc_flows.errors import ScfNotConvergedError
from vtc_flows.feff.convergence import ConvergenceJudge
from vtc_flows.feff.core_valence import CoreValence
from vtc_flows.feff.elf import HookedLibrary
from vtc_flows.feff.memory import doubles, floating, integer
from vtc_flows.feff.scf_arrays import RADIAL_POINTS, Guard, Scmt, by_potential
from vtc_flows.feff.scf_iteration import ScfIteration
from vtc_flows.feff.scf_scattering import ScfScattering
from vtc_flows.feff.separation_steering import SeparationSteering
from vtc_flows.feff.site_input import MAX_POTENTIALS, SiteInput
from vtc_flows.feff.watch import Progress

_MIXING_MEMORY = 30

#: What an iteration and what follows it change: argument and number of doubles (overlapped Coulomb
#: potential, density, valence density, potential and its valence part, muffin-tin and Norman
#: radii, charges, interstitial density and level, Fermi level, new valence density).
_CHANGED: tuple[tuple[int, int], ...] = (
    *(
        (argument, MAX_POTENTIALS * RADIAL_POINTS)
        for argument in range(Scmt.COULOMB, Scmt.VALENCE_POTENTIAL + 1)
    ),
    *((argument, MAX_POTENTIALS) for argument in (Scmt.MUFFIN_TIN, Scmt.NORMAN, Scmt.CHARGES)),
    *((argument, 1) for argument in (Scmt.INTERSTITIAL_DENSITY, Scmt.INTERSTITIAL, Scmt.FERMI)),
    (Scmt.NEW_DENSITY, (MAX_POTENTIALS + 1) * RADIAL_POINTS),
)
#: Occupations may differ from the free atom's by at most this many electrons (s, p, d, f, g).
_POSSIBLE_CHANGE = np.array([1.95, 5.1, 9.1, 13.1, 13.1])
_MOST_STARTS = 3
_SAME_SEPARATION_HA = 0.05
_FEFF10_SLOWER, _FEFF10_SLOWEST = 5.0, 0.01
_SLOWER, _MORE_PLAIN = 2.0, 4


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
        self._plain = site.scf.n_plain_mixing
        self._since_start = 0
        self._beginning: list[NDArray[np.float64]] | None = None
        self._separation_before_restart: float | None = None
        self._separation = SeparationSteering(library, site)
        self.history = self._judge.history
        self.scattering = ScfScattering(site)
        self._scmt = ScfIteration(library, site, self.scattering)

    def install(self, guarded: Guard) -> None:
        """Redirect the library's calls; ``guarded`` takes care of exceptions."""
        self._library.replace("scmt_", len(Scmt), guarded(self._iterate))
        self._separation.install(guarded)

    @property
    def separation(self) -> CoreValence:
        """Core-valence separation and occupations after the last iteration."""
        return self._separation.facts(self.history.occupations_e)

    def flush(self) -> None:
        """Bring what FEFF wrote into the log, in case it is the last that it writes."""
        self._library.routine("_gfortran_flush_i4", 1)(None)

    def _iterate(self, *arguments: Any) -> None:
        fermi = floating(arguments[Scmt.FERMI])
        if self._judge.true_fermi_ha is not None:
            fermi.value = self._judge.true_fermi_ha
        self._slow_down_after_move(floating(arguments[Scmt.SEPARATION]).value)
        before = self._state(arguments)
        if self._beginning is None:
            self._beginning = before
        self._call(arguments)
        self.flush()
        n_potentials = len(self._site.potentials)
        charges = doubles(arguments[Scmt.CHARGES], n_potentials)
        occupations = by_potential(arguments[Scmt.OCCUPATIONS], n_potentials)
        valence = by_potential(arguments[Scmt.VALENCE], n_potentials)
        possible = not (np.abs(occupations - valence) > _POSSIBLE_CHANGE).any()
        self.history.mixing = self._mixing
        policy = self._site.scf.on_bad_counts
        if policy == "separation" and not possible:
            self._put_back(arguments, before)
            self._separation_before_restart = floating(arguments[Scmt.SEPARATION]).value
            self._count_start()
            self._start_again(arguments)
        elif not possible and self._separation.take_from_core(occupations, valence):
            self._start_with_core_shells(arguments)
        elif not possible and policy == "slow_down":
            self._put_back(arguments, self._beginning)
            self._mixing /= _SLOWER
            self._plain += _MORE_PLAIN
            self._separation.center()
            self._count_start()
            self._start_again(arguments)
        else:
            fermi.value = self._judge.judge(fermi.value, charges, occupations, possible=possible)
            if (
                policy != "separation"
                and self.history.converged
                and self._separation.take_what_was_counted(self.history.occupations_e)
            ):
                self._start_with_core_shells(arguments)
        self._progress("scf", self.history.n_iterations, self._site.scf.max_iterations)

    def _start_with_core_shells(self, arguments: tuple[Any, ...]) -> None:
        """Start again with more shells as valence: the mixing was not to blame."""
        assert self._beginning is not None
        self._put_back(arguments, self._beginning)
        self._beginning = None  # the next one has the density of these shells
        self._start_again(arguments)

    def _state(self, arguments: tuple[Any, ...]) -> list[NDArray[np.float64]]:
        return [doubles(arguments[i], count).copy() for i, count in _CHANGED]

    def _put_back(self, arguments: tuple[Any, ...], state: list[NDArray[np.float64]]) -> None:
        for (i, count), values in zip(_CHANGED, state, strict=True):
            doubles(arguments[i], count)[:] = values

    def _call(self, arguments: tuple[Any, ...]) -> None:
        # the plain iterations all have the number 1, as in FEFF, which makes them only once
        self._since_start += 1
        number = max(self._since_start - self._plain, 0)
        counter = ctypes.c_int32(number % _MIXING_MEMORY + 1)
        mixing = ctypes.c_double(self._mixing)
        own = list(arguments)
        own[Scmt.NUMBER] = ctypes.addressof(counter)
        own[Scmt.MIXING] = ctypes.addressof(mixing)
        self._scmt(*own)

    def _count_start(self) -> None:
        """Count the starts that impossible occupations cost; there is an end to them."""
        self._starts += 1
        if self._starts > _MOST_STARTS:
            tried = (
                "core-valence separation"
                if self._site.scf.on_bad_counts == "separation"
                else "mixing"
            )
            raise ScfNotConvergedError(
                f"impossible occupations came back with each {tried} that was tried",
                reason="bad_counts",
            )

    def _start_again(self, arguments: tuple[Any, ...]) -> None:
        """Tell FEFF to part core and valence and to begin with the first iteration."""
        integer(arguments[Scmt.GOOD]).value = 0
        self._since_start = 0
        self._judge.restarted()

    def _slow_down_after_move(self, separation: float) -> None:
        """Do what FEFF10 does to its mixing after it looked for another separation."""
        if self._separation_before_restart is None:
            return
        unchanged = abs(separation - self._separation_before_restart) < _SAME_SEPARATION_HA
        if unchanged:
            self._starts = _MOST_STARTS
        if self._starts == _MOST_STARTS:
            self._mixing = max(self._mixing / _FEFF10_SLOWER, _FEFF10_SLOWEST)
        self._separation_before_restart = None
