"""
Where FEFF 8.5L's library parts core and valence, and what is taken from it.

Its routine ``corval_`` looks for levels between -70 and -20 eV and puts the separation E_cv 5 eV or
more from all of them. It misses levels that are deeper in the free atom and that the crystal lifts
(selenium's 3d is at -71 eV there and at -52 eV in V4GaSe8), and it leaves E_cv at the edge of its
gap, where a level that swings during the iterations can pass it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtc_flows.feff.core_valence import CoreValence, Shell, counted_core_shells, valence_shells
from vtc_flows.feff.elf import HookedLibrary
from vtc_flows.feff.memory import doubles, floating, integers
from vtc_flows.feff.scf_arrays import N_ANGULAR, RADIAL_POINTS, Guard, by_potential
from vtc_flows.feff.site_input import MAX_POTENTIALS, SiteInput
from vtc_flows.feff.units import HARTREE_EV

# Arguments of corval_, 0-based.
_PROPOSED, _COUNTED, _ENERGIES, _ORBITALS, _ORBITAL_VALENCE, _KAPPA, _CORVAL_DENSITY = (
    1, 2, 3, 4, 5, 6, 11,
)  # fmt: skip
_LARGE, _SMALL = 28, 29  # components of the orbitals
#: The logarithmic radial grid of free atoms.
_FIRST_RADIUS_LOG, _RADIUS_STEP_LOG = -8.8, 0.05
#: How far an occupation may be below and above that of a full shell more than the valence has.
_LACKING_E, _BEYOND_E = 0.5, 1.0
_MOST_ORBITALS = 30
_NO_ELECTRON = 0.1
#: What it changes: argument and number of doubles.
_CORVAL_CHANGES = (
    (_PROPOSED, 1),
    (_COUNTED, (MAX_POTENTIALS + 1) * N_ANGULAR),
    (_ORBITAL_VALENCE, MAX_POTENTIALS * _MOST_ORBITALS),
    (_CORVAL_DENSITY, MAX_POTENTIALS * RADIAL_POINTS),
)
#: Steps in which the gap around the separation is felt for, and how many on either side (Hartree).
_FEELER_HA, _MOST_FEELERS = 1.0 / HARTREE_EV, 10


class SeparationSteering:
    """
    The hook of the library's core-valence separation.

    Parameters
    ----------
    library : HookedLibrary
        FEFF 8.5L.
    site : SiteInput
        The site.
    """

    def __init__(self, library: HookedLibrary, site: SiteInput) -> None:
        self._library = library
        self._n_potentials = len(site.potentials)
        self._as_feff10 = site.scf.on_bad_counts == "separation"
        self._center = site.scf.center_separation
        self._found = False
        self._energy_ha = 0.0
        self._moves_ev: list[float] = []
        self._shells: tuple[tuple[Shell, ...], ...] = ()
        self._core_shells: list[tuple[int, int]] = []
        self._once: set[tuple[int, int]] = set()

    def install(self, guarded: Guard) -> None:
        """Redirect the library's call; ``guarded`` takes care of exceptions."""
        self._corval = self._library.replace("corval_", 32, guarded(self._separate))

    def facts(self, occupations_e: list[list[float]]) -> CoreValence:
        """Return separation, shells, and the occupations that the potentials ended with."""
        return CoreValence(
            self._energy_ha * HARTREE_EV,
            tuple(self._moves_ev),
            self._shells,
            tuple(tuple(row) for row in occupations_e),
        )

    def center(self) -> None:
        """Put E_cv into the middle of its gap at the next start."""
        self._center = True

    def take_from_core(
        self, occupations: NDArray[np.float64], valence: NDArray[np.float64]
    ) -> bool:
        """
        Let full core shells that were counted become valence at the next start.

        Parameters
        ----------
        occupations, valence : ndarray of shape (n_potentials, N_ANGULAR)
            Electrons counted in an iteration, and those of the free atoms' valence.

        Returns
        -------
        bool
            Whether there are such shells; each is taken only once.
        """
        full = 2.0 * (2 * np.arange(N_ANGULAR) + 1)
        excess = occupations - valence - full
        more = (excess > -_LACKING_E) & (excess < _BEYOND_E)
        return self._take([(int(i), int(m)) for i, m in np.argwhere(more)])

    def take_what_was_counted(self, occupations_e: list[list[float]]) -> bool:
        """Do the same for a converged solution in which core shells were counted."""
        return self._take(counted_core_shells(self.facts(occupations_e)))

    def _take(self, shells: list[tuple[int, int]]) -> bool:
        new = [shell for shell in shells if shell not in self._once]
        self._once.update(new)
        self._core_shells += new
        return bool(new)

    def _separate(self, *arguments: Any) -> None:
        """Let FEFF part core and valence, but not again where only the mixing was too fast."""
        if not self._found or self._as_feff10:
            self._corval(*arguments)
        while self._core_shells:
            _promote(arguments, *self._core_shells.pop())
        if self._center:
            floating(arguments[_PROPOSED]).value = self._middle_of_gap(arguments)
            self._center = False
        energy = floating(arguments[_PROPOSED]).value
        if self._found and energy != self._energy_ha:
            self._moves_ev.append(self._energy_ha * HARTREE_EV)
        self._found = True
        self._energy_ha = energy
        self._shells = _valence_shells(arguments, self._n_potentials)

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


def _valence_shells(arguments: tuple[Any, ...], n_potentials: int) -> tuple[tuple[Shell, ...], ...]:
    counts = integers(arguments[_ORBITALS], n_potentials)
    shape = (n_potentials, _MOST_ORBITALS)
    kappa = integers(arguments[_KAPPA], n_potentials * _MOST_ORBITALS).reshape(shape)
    energies, valence = (
        doubles(arguments[argument], n_potentials * _MOST_ORBITALS).reshape(shape)
        for argument in (_ENERGIES, _ORBITAL_VALENCE)
    )
    by_l = by_potential(arguments[_COUNTED], n_potentials)
    return tuple(
        valence_shells(kappa[i, :count], energies[i, :count], valence[i, :count], by_l[i])
        for i, count in enumerate(counts)
    )


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
    radius = np.exp(_FIRST_RADIUS_LOG + _RADIUS_STEP_LOG * np.arange(RADIAL_POINTS))
    density = doubles(arguments[_CORVAL_DENSITY], (potential + 1) * RADIAL_POINTS)[
        potential * RADIAL_POINTS :
    ]
    last = int(core[-1])  # j = l + 1/2; the one before it is j = l - 1/2
    shell = [(last, 2.0 * momentum + 2), (last - 1, 2.0 * momentum)]
    for orbital, electrons in shell[: 2 if momentum else 1]:
        at = (start + orbital) * RADIAL_POINTS
        large, small = (
            doubles(arguments[part], at + RADIAL_POINTS)[at:] for part in (_LARGE, _SMALL)
        )
        density += electrons * (large**2 + small**2) / radius**2
        valence[orbital] = electrons
    counted = doubles(arguments[_COUNTED], potential * N_ANGULAR + momentum + 1)
    counted[-1] += 2.0 * (2 * momentum + 1)
