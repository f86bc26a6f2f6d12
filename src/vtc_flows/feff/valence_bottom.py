"""
Where valence emission begins: above the absorber's own 3p level.

The K-beta main line, 3p to 1s, is dipole-allowed at the absorber itself and a hundred times
stronger than anything that the valence emits. Scandium's 3p lies some 33 eV below the Fermi level,
titanium's at 38; without a lower end of the states that emit, the line's Lorentzian reaches into
the spectrum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vtc_flows.feff.units import HARTREE_EV

#: How far the bottom stays above the absorber's 3p level (eV).
ABOVE_3P_EV = 3.0
#: How far the search goes below the deepest bottom; a 3p level further down does not matter.
_DEEPER_EV = ABOVE_3P_EV + 3.0
#: Where the search for the 3p level ends below the Fermi level: nothing more shallow is a core
#: level, and what is found there is the valence.
_SHALLOWEST_EV = 14.0
_SEARCH_STEP_EV, _VALENCE_STEP_EV = 0.25, 0.5
#: How much stronger than the valence the line has to be, to be taken for it.
_STRONGER = 8.0

#: How a bottom was found: at the depth that was asked for, above the absorber's 3p, or given.
Method = Literal["depth", "3p", "given"]


@dataclass(frozen=True)
class ValenceBottom:
    """
    The lower end of the states that emit.

    Attributes
    ----------
    energy_ev : float
        Absolute, on FEFF's scale: E_sep.
    method : {"depth", "3p", "given"}
        How it was found.
    level_3p_ev : float, optional
        The absorber's 3p level, absolute; None where it lies too deep to matter.
    """

    energy_ev: float
    method: Method
    level_3p_ev: float | None = None


def search_energies(fermi_ha: float, depth_ev: float) -> NDArray[np.float64]:
    """
    Return the energies among which the 3p level is looked for.

    Parameters
    ----------
    fermi_ha : float
        Fermi level in Hartree.
    depth_ev : float
        The deepest bottom below it.

    Returns
    -------
    ndarray of shape (n,)
        Ascending, Hartree, the Fermi level last.
    """
    deepest = max(depth_ev, _SHALLOWEST_EV) + _DEEPER_EV
    below = np.concatenate(
        [
            np.arange(-deepest, -_SHALLOWEST_EV, _SEARCH_STEP_EV),
            np.arange(-_SHALLOWEST_EV, _VALENCE_STEP_EV / 2, _VALENCE_STEP_EV),
        ]
    )
    return np.asarray(fermi_ha + below / HARTREE_EV)


def find_3p(
    energies_ha: NDArray[np.float64], background: NDArray[np.float64], fermi_ha: float
) -> float | None:
    """
    Return the absorber's 3p level from the emission of the embedded atom.

    Parameters
    ----------
    energies_ha : ndarray of shape (n,)
        See `search_energies`.
    background : ndarray of shape (n,)
        Imaginary part of the embedded atom's cross section, on the line E + i loss.
    fermi_ha : float
        Fermi level.

    Returns
    -------
    float or None
        Energy in Hartree; None if no line that strong is among them.

    Examples
    --------
    >>> grid = search_energies(0.0, 30.0)
    >>> line = 1 + 100 / (1 + ((grid * HARTREE_EV + 33.1) / 0.4) ** 2)
    >>> round(find_3p(grid, line, 0.0) * HARTREE_EV, 2)
    -33.1
    """
    deep = energies_ha < fermi_ha - (_SHALLOWEST_EV - 0.1) / HARTREE_EV
    peak = int(np.argmax(np.where(deep, background, -np.inf)))
    if peak == 0 or background[peak] < _STRONGER * np.abs(background[~deep]).max():
        return None
    # the inverse of a Lorentzian is a parabola
    around = slice(peak - 1, peak + 2)
    curvature, slope, _ = np.polyfit(
        energies_ha[around] - energies_ha[peak], 1 / background[around], 2
    )
    return float(energies_ha[peak] - slope / (2 * curvature))


def bottom_of_valence(
    fermi_ev: float, depth_ev: float, level_3p_ev: float | None, step_ev: float
) -> ValenceBottom:
    """
    Choose the lower end of the states that emit.

    Parameters
    ----------
    fermi_ev : float
        Fermi level, absolute.
    depth_ev : float
        How far below the Fermi level it may lie.
    level_3p_ev : float, optional
        The absorber's 3p level, absolute.
    step_ev : float
        Step of the grid: the bottom lies whole steps below the Fermi level.

    Examples
    --------
    >>> bottom_of_valence(-12.0, 30.0, -43.73, 0.1)
    ValenceBottom(energy_ev=-40.7, method='3p', level_3p_ev=-43.73)
    >>> bottom_of_valence(-12.0, 30.0, None, 0.1)
    ValenceBottom(energy_ev=-42.0, method='depth', level_3p_ev=None)
    """
    lowest = fermi_ev - depth_ev
    if level_3p_ev is None or level_3p_ev + ABOVE_3P_EV <= lowest:
        return ValenceBottom(lowest, "depth", level_3p_ev)
    steps = int((fermi_ev - level_3p_ev - ABOVE_3P_EV) / step_ev + 1e-6)
    return ValenceBottom(round(fermi_ev - steps * step_ev, 9), "3p", level_3p_ev)
