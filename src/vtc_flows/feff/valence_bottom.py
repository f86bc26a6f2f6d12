"""
Where valence emission begins: above the absorber's own 3p level.

The K-beta main line, 3p to 1s, is dipole-allowed at the absorber itself and a hundred times
stronger than anything that the valence emits. Scandium's 3p lies some 33 eV below the Fermi level,
titanium's at 38; without a lower end of the states that emit, the line's Lorentzian reaches into
the spectrum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from vtc_flows.feff.site_input import EnergyGrid, LowerEnd

FloatArray = NDArray[np.float64]

#: How far the bottom stays above the absorber's 3p level, and above those of the other atoms of its
#: element, which emit a thousand times less into its hole (eV).
ABOVE_3P_EV, ABOVE_OTHERS_EV = 3.0, 1.5
#: How far the search goes below the deepest bottom; a 3p level further down does not matter.
_DEEPER_EV = ABOVE_3P_EV + 3.0
#: Where the search for the 3p level ends below the Fermi level: nothing more shallow is a core
#: level, and what is found there is the valence.
_SHALLOWEST_EV = 14.0
_SEARCH_STEP_EV, _VALENCE_STEP_EV = 0.25, 0.5
#: Most points of the search below that: with the others they fit into one call of FEFF.
_MOST_POINTS = 88
#: How much stronger than the valence the line has to be, to be taken for it.
_STRONGER = 8.0
#: A level this near to the bottom (eV) is cut by it.
NEAR_BOTTOM_EV = 2.0
_PROMINENCE = 1.0  # of a peak of the logarithm of an amplitude

#: How a bottom was found: at the depth that was asked for, above the absorber's 3p, or given.
Method = Literal["depth", "3p", "given"]


@dataclass(frozen=True)
class Level:
    """
    A level of an atom other than the absorber, in its own sphere of the potential.

    Attributes
    ----------
    label : str
        Of its potential.
    letter : str
        s, p or d.
    energy_ev : float
        Absolute.
    same_element : bool
        Whether it is an atom of the absorber's element.
    """

    label: str
    letter: str
    energy_ev: float
    same_element: bool = False


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
    levels : tuple of Level
        Deep levels of the other atoms, where the engine tells of them.
    """

    energy_ev: float
    method: Method
    level_3p_ev: float | None = None
    levels: tuple[Level, ...] = ()

    def remarks(self, fermi_ev: float) -> tuple[str, ...]:
        """
        Say which levels of other atoms lie so near to the bottom that it parts them.

        Parameters
        ----------
        fermi_ev : float
            Fermi level, absolute.
        """
        where = f"the bottom of the valence at E_F{self.energy_ev - fermi_ev:+.1f} eV"
        if self.method == "3p" and self.level_3p_ev is not None:
            where += f" (the absorber's 3p at E_F{self.level_3p_ev - fermi_ev:+.1f} eV)"
        told = []
        for level in self.levels:
            above = level.energy_ev - self.energy_ev
            name = f"the {level.letter} level of {level.label}"
            if abs(above) <= NEAR_BOTTOM_EV:
                side = "above" if above > 0 else "below"
                told.append(f"{name} lies {abs(above):.1f} eV {side} {where}, which cuts it")
            elif above < 0 and self.method == "3p" and not level.same_element:
                told.append(f"{name} lies below {where} and is left out")
        return tuple(told)


def bottom_from_fields(fields: Mapping[str, Any] | None) -> ValenceBottom | None:
    """Return a bottom from the fields that `dataclasses.asdict` and JSON made of it."""
    if fields is None:
        return None
    levels = tuple(Level(**level) for level in fields["levels"])
    return ValenceBottom(**{**fields, "levels": levels})


def levels_in(energies_ev: FloatArray, amplitudes: FloatArray) -> list[float]:
    """
    Return the energies of bound levels from an atom's scattering amplitude.

    Parameters
    ----------
    energies_ev : ndarray of shape (n,)
        Ascending.
    amplitudes : ndarray of shape (n,)
        Absolute value of ``exp(i delta) sin(delta)`` on the line E + i loss: it has a pole at each
        level.
    """
    deep = energies_ev < energies_ev[-1] - _SHALLOWEST_EV
    peaks, _ = find_peaks(np.log(np.maximum(amplitudes[deep], 1e-30)), prominence=_PROMINENCE)
    return [float(energies_ev[peak]) for peak in peaks]


def search_energies(fermi_ev: float, depth_ev: float) -> FloatArray:
    """
    Return the energies among which the 3p level is looked for.

    Parameters
    ----------
    fermi_ev : float
        Fermi level, absolute.
    depth_ev : float
        The deepest bottom below it.

    Returns
    -------
    ndarray of shape (n,)
        Ascending, absolute, the Fermi level last.
    """
    deepest = max(depth_ev, _SHALLOWEST_EV) + _DEEPER_EV
    step = max(_SEARCH_STEP_EV, (deepest - _SHALLOWEST_EV) / _MOST_POINTS)
    below = [
        np.arange(-deepest, -_SHALLOWEST_EV - step / 2, step),
        np.arange(-_SHALLOWEST_EV, _VALENCE_STEP_EV / 2, _VALENCE_STEP_EV),
    ]
    return np.asarray(fermi_ev + np.concatenate(below))


def find_3p(energies_ev: FloatArray, background: FloatArray) -> float | None:
    """
    Return the absorber's 3p level from the emission of the embedded atom.

    Parameters
    ----------
    energies_ev : ndarray of shape (n,)
        Ascending up to the Fermi level; see `search_energies`.
    background : ndarray of shape (n,)
        Imaginary part of the embedded atom's cross section, on the line E + i loss.

    Returns
    -------
    float or None
        None if no line that strong is among the energies.

    Examples
    --------
    >>> grid = search_energies(-12.0, 30.0)
    >>> line = 1 + 100 / (1 + ((grid + 45.1) / 0.4) ** 2)
    >>> round(find_3p(grid, line), 2)
    -45.1
    """
    deep = energies_ev < energies_ev[-1] - _SHALLOWEST_EV + 0.1
    peak = int(np.argmax(np.where(deep, background, -np.inf)))
    if peak == 0 or background[peak] < _STRONGER * np.abs(background[~deep]).max():
        return None
    # the inverse of a Lorentzian is a parabola
    around = slice(peak - 1, peak + 2)
    curvature, slope, _ = np.polyfit(
        energies_ev[around] - energies_ev[peak], 1 / background[around], 2
    )
    return float(energies_ev[peak] - slope / (2 * curvature))


def bottom_of_valence(
    fermi_ev: float,
    depth_ev: float,
    level_3p_ev: float | None,
    step_ev: float,
    levels: Sequence[Level] = (),
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
    levels : sequence of Level
        Deep levels of the other atoms.

    Examples
    --------
    >>> bottom_of_valence(-12.0, 30.0, -43.73, 0.1)
    ValenceBottom(energy_ev=-40.7, method='3p', level_3p_ev=-43.73, levels=())
    >>> bottom_of_valence(-12.0, 30.0, None, 0.1)
    ValenceBottom(energy_ev=-42.0, method='depth', level_3p_ev=None, levels=())
    """
    lowest = fermi_ev - depth_ev
    ends = [
        level.energy_ev + ABOVE_OTHERS_EV
        for level in levels
        if level.same_element and level.letter == "p"
    ]
    if level_3p_ev is not None:
        ends.append(level_3p_ev + ABOVE_3P_EV)
    highest = max(ends, default=lowest)
    if highest <= lowest:
        return ValenceBottom(lowest, "depth", level_3p_ev, tuple(levels))
    steps = int((fermi_ev - highest) / step_ev + 1e-6)
    return ValenceBottom(round(fermi_ev - steps * step_ev, 9), "3p", level_3p_ev, tuple(levels))


def bottom_from_background(
    energies_ev: FloatArray,
    background: FloatArray,
    end: LowerEnd,
    step_ev: float,
    levels: Sequence[Level] = (),
) -> ValenceBottom:
    """
    Return the lower end that a site asks for, from its embedded atom's emission.

    Parameters
    ----------
    energies_ev, background : ndarray of shape (n,)
        See `find_3p`; the last energy is the Fermi level.
    end : LowerEnd
        What is asked for.
    step_ev : float
        Step of the grid.
    levels : sequence of Level
        Deep levels of the other atoms.
    """
    fermi_ev = float(energies_ev[-1])
    level = find_3p(energies_ev, background)
    if not end.above_3p:
        return ValenceBottom(fermi_ev - end.depth_ev, "given", level, tuple(levels))
    return bottom_of_valence(fermi_ev, end.depth_ev, level, step_ev, levels)


def wider_grid(grid: EnergyGrid, end: LowerEnd) -> EnergyGrid:
    """
    Return a grid that reaches below the bottom of the valence, in whole steps.

    The absorber's 3p level is looked for there, and the functions are continued from both sides.

    Examples
    --------
    >>> wider_grid(EnergyGrid(-30.0, 5.0, 0.1), LowerEnd(30.0)).start_ev
    -36.0
    """
    if grid.origin != "fermi":
        return grid
    steps = int(np.ceil((end.depth_ev + _DEEPER_EV + grid.start_ev) / grid.step_ev - 1e-9))
    return replace(grid, start_ev=round(grid.start_ev - max(steps, 0) * grid.step_ev, 9))
