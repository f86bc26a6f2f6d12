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
  the core that turns up among the valence states becomes valence: FEFF looks for such shells among
  those at -70 eV or above in the free atom, and selenium's 3d is at -71, but at -52 in a crystal;
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
from vtc_flows.feff.core_valence import CoreValence, Shell, valence_shells
from vtc_flows.feff.elf import HookedLibrary
from vtc_flows.feff.memory import complexes, doubles, floating, integer, integers
from vtc_flows.feff.scf_scattering import N_ANGULAR, ScfScattering
from vtc_flows.feff.site_input import MAX_POTENTIALS, SiteInput
from vtc_flows.feff.units import HARTREE_EV
from vtc_flows.feff.watch import Progress

Guard = Callable[[Callable[..., None]], Callable[..., None]]

_RADIAL_POINTS = 251
_MIXING_MEMORY = 30

# Arguments of scmt_, 0-based.
_ITERATION, _SEPARATION, _CHARGES, _FERMI, _VALENCE, _OCCUPATIONS, _GOOD, _MIXING = (
    1, 2, 12, 16, 19, 38, 39, 44,
)  # fmt: skip
#: What an iteration and what follows it change: argument and number of doubles (overlapped Coulomb
#: potential, density, valence density, potential and its valence part, muffin-tin and Norman
#: radii, charges, interstitial density and level, Fermi level, new valence density).
_CHANGED: tuple[tuple[int, int], ...] = (
    *((argument, MAX_POTENTIALS * _RADIAL_POINTS) for argument in (5, 6, 7, 8, 9)),
    *((argument, MAX_POTENTIALS) for argument in (10, 11, _CHARGES)),
    *((argument, 1) for argument in (14, 15, _FERMI)),
    (37, (MAX_POTENTIALS + 1) * _RADIAL_POINTS),
)
# Arguments of corval_, 0-based.
_PROPOSED, _COUNTED, _ENERGIES, _ORBITALS, _ORBITAL_VALENCE, _KAPPA, _CORVAL_DENSITY = (
    1, 2, 3, 4, 5, 6, 11,
)  # fmt: skip
_LARGE, _SMALL = 28, 29  # components of the orbitals
#: The logarithmic radial grid of free atoms.
_FIRST_RADIUS_LOG, _RADIUS_STEP_LOG = -8.8, 0.05
#: By how much an occupation may differ from that of a full shell more than the valence has.
_ANOTHER_SHELL_E = 1.0
_MOST_ORBITALS = 30
#: What it changes: argument and number of doubles.
_CORVAL_CHANGES = (
    (_PROPOSED, 1),
    (_COUNTED, (MAX_POTENTIALS + 1) * N_ANGULAR),
    (_ORBITAL_VALENCE, MAX_POTENTIALS * _MOST_ORBITALS),
    (_CORVAL_DENSITY, MAX_POTENTIALS * _RADIAL_POINTS),
)
#: Steps in which the gap around the separation is felt for, and how many on either side (Hartree).
_FEELER_HA, _MOST_FEELERS = 1.0 / HARTREE_EV, 10

#: Occupations may differ from the free atom's by at most this many electrons (s, p, d, f, g).
_POSSIBLE_CHANGE = np.array([1.95, 5.1, 9.1, 13.1, 13.1])
_MOST_STARTS = 3
_NO_ELECTRON = 0.1
_SAME_SEPARATION_HA = 0.05
_FEFF10_SLOWER, _FEFF10_SLOWEST = 5.0, 0.01
_SLOWER, _MORE_PLAIN = 2.0, 4

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
        self._plain = site.scf.n_plain_mixing
        self._centered = site.scf.center_separation
        self._separated = False
        self._since_start = 0
        self._promoted: list[tuple[int, int]] = []
        self._once: set[tuple[int, int]] = set()
        self._beginning: list[NDArray[np.float64]] | None = None
        self._separation_before_restart: float | None = None
        self._moves: list[float] = []
        self._separation_ha = 0.0
        self._shells: tuple[tuple[Shell, ...], ...] = ()
        self.history = self._judge.history
        self.scattering = ScfScattering(site)

    def install(self, guarded: Guard) -> None:
        """Redirect the library's calls; ``guarded`` takes care of exceptions."""
        self._library.replace("fmsie_", 14, guarded(self.scattering.answer))
        self._scmt = self._library.replace("scmt_", 47, guarded(self._iterate))
        self._corval = self._library.replace("corval_", 32, guarded(self._separate))
        if any(potential.atomic_number in _TOO_MANY_L for potential in self._site.potentials):
            self._embedded = EmbeddedAtom(self._library)
            self._embedded.install(guarded)

    @property
    def separation(self) -> CoreValence:
        """Core-valence separation and occupations after the last iteration."""
        return CoreValence(
            self._separation_ha * HARTREE_EV,
            tuple(self._moves),
            self._shells,
            tuple(tuple(row) for row in self.history.occupations_e),
        )

    def flush(self) -> None:
        """Bring what FEFF wrote into the log, in case it is the last that it writes."""
        self._library.routine("_gfortran_flush_i4", 1)(None)

    def _separate(self, *arguments: Any) -> None:
        """Let FEFF part core and valence, but not again where only the mixing was too fast."""
        if not self._separated or self._site.scf.on_bad_counts == "separation":
            self._corval(*arguments)
        while self._promoted:
            _promote(arguments, *self._promoted.pop())
        if self._centered:
            floating(arguments[_PROPOSED]).value = self._middle_of_gap(arguments)
            self._centered = False
        energy = floating(arguments[_PROPOSED]).value
        if self._shells and energy != self._separation_ha:
            self._moves.append(self._separation_ha * HARTREE_EV)
        self._separation_ha = energy
        n_potentials = len(self._site.potentials)
        counts = integers(arguments[_ORBITALS], n_potentials)
        shape = (n_potentials, _MOST_ORBITALS)
        kappa = integers(arguments[_KAPPA], n_potentials * _MOST_ORBITALS).reshape(shape)
        energies, valence = (
            doubles(arguments[argument], n_potentials * _MOST_ORBITALS).reshape(shape)
            for argument in (_ENERGIES, _ORBITAL_VALENCE)
        )
        by_l = _by_potential(arguments[_COUNTED], n_potentials)
        self._shells = tuple(
            valence_shells(kappa[i, :count], energies[i, :count], valence[i, :count], by_l[i])
            for i, count in enumerate(counts)
        )

    def _middle_of_gap(self, arguments: tuple[Any, ...]) -> float:
        """
        Return the energy half-way between the limits within which FEFF accepts a separation.

        FEFF takes what is proposed if it is 5 eV or more from all levels that could be taken for
        core or valence, and changes nothing then.
        """
        chosen = floating(arguments[_PROPOSED]).value
        state = [doubles(arguments[i], count).copy() for i, count in _CORVAL_CHANGES]
        ends = []
        for sign in (-1, 1):
            end = chosen
            for step in range(1, _MOST_FEELERS + 1):
                proposed = chosen + sign * step * _FEELER_HA
                floating(arguments[_PROPOSED]).value = proposed
                self._corval(*arguments)
                accepted = abs(floating(arguments[_PROPOSED]).value - proposed) < 1e-9
                for (i, count), values in zip(_CORVAL_CHANGES, state, strict=True):
                    doubles(arguments[i], count)[:] = values
                if not accepted:
                    break
                end = proposed
            ends.append(end)
        return (ends[0] + ends[1]) / 2

    def _iterate(self, *arguments: Any) -> None:
        fermi = floating(arguments[_FERMI])
        if self._judge.true_fermi_ha is not None:
            fermi.value = self._judge.true_fermi_ha
        self._slow_down_after_move(floating(arguments[_SEPARATION]).value)
        before = self._state(arguments)
        if self._beginning is None:
            self._beginning = before
        self._call(arguments)
        self.flush()
        n_potentials = len(self._site.potentials)
        charges = doubles(arguments[_CHARGES], n_potentials)
        occupations = _by_potential(arguments[_OCCUPATIONS], n_potentials)
        valence = _by_potential(arguments[_VALENCE], n_potentials)
        possible = not (np.abs(occupations - valence) > _POSSIBLE_CHANGE).any()
        self.history.mixing = self._mixing
        policy = self._site.scf.on_bad_counts
        if policy != "separation":
            self._promoted = self._core_shells_above(occupations, valence)
        if self._promoted:
            self._put_back(arguments, self._beginning)
            self._start_again(arguments)
        elif possible or policy == "go_on":
            fermi.value = self._judge.judge(fermi.value, charges, occupations, possible=possible)
        elif policy == "separation":
            self._put_back(arguments, before)
            self._separation_before_restart = floating(arguments[_SEPARATION]).value
            self._count_start()
            self._start_again(arguments)
        else:
            self._put_back(arguments, self._beginning)
            self._mixing /= _SLOWER
            self._plain += _MORE_PLAIN
            self._centered = True
            self._count_start()
            self._start_again(arguments)
        self._progress("scf", self.history.n_iterations, self._site.scf.max_iterations)

    def _core_shells_above(
        self, occupations: NDArray[np.float64], valence: NDArray[np.float64]
    ) -> list[tuple[int, int]]:
        """Return potential and l of core shells whose electrons are counted, each only once."""
        full = 2.0 * (2 * np.arange(N_ANGULAR) + 1)
        more = np.abs(occupations - valence - full) < _ANOTHER_SHELL_E
        more &= occupations - valence > _POSSIBLE_CHANGE
        found = [(int(i), int(m)) for i, m in np.argwhere(more) if (i, m) not in self._once]
        self._once.update(found)
        return found

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
        own[_ITERATION] = ctypes.addressof(counter)
        own[_MIXING] = ctypes.addressof(mixing)
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
        integer(arguments[_GOOD]).value = 0
        self._separated = True
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


def _promote(arguments: tuple[Any, ...], potential: int, momentum: int) -> None:
    """Let the highest core shell of one l count as valence, as ``corval_`` does it."""
    count = int(integers(arguments[_ORBITALS], potential + 1)[potential])
    start = potential * _MOST_ORBITALS
    kappa = integers(arguments[_KAPPA], start + count)[start:]
    valence = doubles(arguments[_ORBITAL_VALENCE], start + count)[start:]
    angular = np.where(kappa < 0, -kappa - 1, kappa)
    core = np.flatnonzero((angular == momentum) & (valence < _NO_ELECTRON) & (kappa < 0))
    if not len(core):
        return
    radius = np.exp(_FIRST_RADIUS_LOG + _RADIUS_STEP_LOG * np.arange(_RADIAL_POINTS))
    density = doubles(arguments[_CORVAL_DENSITY], (potential + 1) * _RADIAL_POINTS)[
        potential * _RADIAL_POINTS :
    ]
    last = int(core[-1])  # j = l + 1/2; the one before it is j = l - 1/2
    shell = [(last, 2.0 * momentum + 2), (last - 1, 2.0 * momentum)]
    for orbital, electrons in shell[: 2 if momentum else 1]:
        at = (start + orbital) * _RADIAL_POINTS
        large, small = (
            doubles(arguments[part], at + _RADIAL_POINTS)[at:] for part in (_LARGE, _SMALL)
        )
        density += electrons * (large**2 + small**2) / radius**2
        valence[orbital] = electrons
    counted = doubles(arguments[_COUNTED], potential * N_ANGULAR + momentum + 1)
    counted[-1] += 2.0 * (2 * momentum + 1)


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
