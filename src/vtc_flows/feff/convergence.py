"""
When potentials count as self-consistent.

FEFF 8.5L stops at changes of the Fermi level below 0.08 eV, and does not say whether it stopped for
that or because its iterations were used up. So each iteration is judged here, by the criteria of
FEFF10, which are three times tighter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

#: Largest changes in one iteration (FEFF10's defaults): Fermi level in Hartree, charge of an atom,
#: and occupation of one of its angular momenta, both in electrons.
FERMI_TOLERANCE_HA = 1e-3
CHARGE_TOLERANCE = 1e-3
OCCUPATION_TOLERANCE = 2e-4
FEWEST_ITERATIONS = 4

#: A change of the Fermi level that FEFF 8.5L takes for the end (Hartree).
FEFF_STOPS_HA = 3e-3
_BEYOND = 1.01


@dataclass
class ScfHistory:
    """
    What happened in the self-consistency.

    Attributes
    ----------
    fermi_ha : list of float
        Fermi level after each iteration, restarts included.
    converged : bool
        Whether the last iteration met all criteria.
    bad_counts : int
        How often impossible occupations started the iterations anew.
    possible : bool
        Whether the occupations of the last iteration were possible ones.
    charges_e : list of float
        Electrons that each kind of atom had lost after the last iteration.
    occupations_e : list of list of float
        Electrons of each kind of atom by angular momentum in the last iteration.
    mixing : float
        Share of the new density in the last iteration.
    """

    fermi_ha: list[float] = field(default_factory=list)
    converged: bool = False
    bad_counts: int = 0
    possible: bool = True
    charges_e: list[float] = field(default_factory=list)
    occupations_e: list[list[float]] = field(default_factory=list)
    mixing: float = 0.0

    @property
    def n_iterations(self) -> int:
        """Iterations done."""
        return len(self.fermi_ha)


class ConvergenceJudge:
    """
    Judge iteration by iteration, and keep FEFF from stopping too early.

    Attributes
    ----------
    history : ScfHistory
        Filled as the iterations go on.
    """

    def __init__(self) -> None:
        self.history = ScfHistory()
        self._charges: NDArray[np.float64] | None = None
        self._occupations: NDArray[np.float64] | None = None
        self._since_restart = 0
        self._told_ha: float | None = None

    @property
    def true_fermi_ha(self) -> float | None:
        """Fermi level of the last iteration, None at the start or after a restart."""
        return self.history.fermi_ha[-1] if self._since_restart else None

    def restarted(self) -> None:
        """Take note that impossible occupations start the iterations anew."""
        self.history.bad_counts += 1
        self.history.converged = self.history.possible = False
        self._since_restart = 0
        self._charges = self._occupations = self._told_ha = None

    def judge(
        self,
        fermi_ha: float,
        charges: NDArray[np.float64],
        occupations: NDArray[np.float64],
        *,
        possible: bool = True,
    ) -> float:
        """
        Judge an iteration.

        Parameters
        ----------
        fermi_ha : float
            Its Fermi level.
        charges : ndarray of shape (n_potentials,)
            Electrons that each kind of atom has gained.
        occupations : ndarray of shape (n_potentials, n_l)
            Electrons of each kind of atom by angular momentum.
        possible : bool
            Whether the occupations are possible ones; impossible ones are never converged.

        Returns
        -------
        float
            The Fermi level to tell FEFF: the true one, or, where FEFF would stop and should not,
            one just far enough from what it was told last.
        """
        self._since_restart += 1
        self.history.converged = possible and self._is_converged(fermi_ha, charges, occupations)
        self.history.possible = possible
        self.history.charges_e = (-charges).tolist()
        self.history.occupations_e = occupations.tolist()
        self.history.fermi_ha.append(fermi_ha)
        self._charges, self._occupations = charges.copy(), occupations.copy()
        told = fermi_ha
        if self._told_ha is not None and not self.history.converged:
            change = fermi_ha - self._told_ha
            if abs(change) <= FEFF_STOPS_HA:
                told = self._told_ha + np.copysign(_BEYOND * FEFF_STOPS_HA, change)
        self._told_ha = float(told)
        return self._told_ha

    def _is_converged(
        self, fermi_ha: float, charges: NDArray[np.float64], occupations: NDArray[np.float64]
    ) -> bool:
        if self._since_restart < FEWEST_ITERATIONS:
            return False
        assert self._charges is not None
        assert self._occupations is not None
        return bool(
            abs(fermi_ha - self.history.fermi_ha[-1]) <= FERMI_TOLERANCE_HA
            and np.abs(charges - self._charges).max() <= CHARGE_TOLERANCE
            and np.abs(occupations - self._occupations).max() <= OCCUPATION_TOLERANCE
        )
