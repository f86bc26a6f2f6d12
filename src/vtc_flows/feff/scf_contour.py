"""
Electrons below the Fermi level, by contour integrals of the Green's function.

Per potential, ``n = -2/pi Im int G(z) dz`` from the core-valence separation E_cv to the Fermi
level E_F (the factors ``-1/pi`` are within the Green's function here, the 2 is for spin), and E_F
is where the electrons of all atoms add up. Two contours:

* :class:`Arc`: Gauss-Legendre nodes on the arc from E_cv to E_F + 0.05i eV, dense near
  both ends. The Green's function is analytic above the real axis, so the error falls off
  exponentially with the number of nodes; 12 to 16, by the length of the arc, count a level to
  2e-4 electrons at the worst.
* :class:`FeffContour`: FEFF's own, a trapezoid rule along three sides of a rectangle (9 points up
  at E_cv, some 40 at Im z = 4 eV, 16 down at E_F) and then along Im z = 0.05 eV to the Fermi level
  in steps of 12.5 meV. Its error is 10-20 meV in E_F, and what FEFF gives contains it.

Both end with a cap: straight down to the real axis with a constant Green's function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtc_flows.errors import ScfNotConvergedError
from vtc_flows.feff.units import HARTREE_EV

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

#: The least imaginary part of an energy (Hartree).
LEAST_IMAGINARY_HA = 0.05 / HARTREE_EV
#: Spacing of FEFF's points near the Fermi level (Hartree).
FERMI_STEP_HA = LEAST_IMAGINARY_HA / 4
#: Nodes of an arc that spans at most so much (Hartree).
_NODES = ((32 / HARTREE_EV, 12), (45 / HARTREE_EV, 14), (np.inf, 16))
#: FEFF parts core and valence at least this far from any level (Hartree).
_NEAREST_LEVEL_HA = 5 / HARTREE_EV


@dataclass(frozen=True)
class Samples:
    """
    The Green's function at some energies.

    Attributes
    ----------
    energy_ha : ndarray, shape (n,), complex
    states : ndarray, shape (n, n_potentials, n_l), complex
        Integrated to the Norman radius, by angular momentum.
    density : ndarray, shape (n, n_potentials, n_radii), complex
        At each radius, times its square.
    """

    energy_ha: Complex
    states: Complex
    density: Complex

    def __getitem__(self, part: slice) -> Samples:
        return Samples(self.energy_ha[part], self.states[part], self.density[part])

    def split(self) -> list[Samples]:
        """Return one for each energy."""
        return [self[k : k + 1] for k in range(len(self.energy_ha))]


#: Gives the Green's function at complex energies in Hartree.
Evaluate = Callable[[Complex], Samples]


@dataclass(frozen=True)
class Electrons:
    """
    Occupied states.

    Attributes
    ----------
    fermi_ha : float
        The level up to which they are occupied.
    occupations : ndarray, shape (n_potentials, n_l)
        Electrons within the Norman radius.
    density : ndarray, shape (n_potentials, n_radii)
        At each radius, times its square.
    """

    fermi_ha: float
    occupations: Floats
    density: Floats


@dataclass(frozen=True)
class Balance:
    """
    How many electrons there have to be.

    Attributes
    ----------
    electrons : float
        Valence electrons of all atoms.
    weights : ndarray, shape (n_potentials, n_l)
        Atoms of each kind; zero for angular momenta that are not counted.
    """

    electrons: float
    weights: Floats

    def excess(self, occupations: Floats) -> float:
        """Return how many electrons there are too many."""
        return float((self.weights * occupations).sum() - self.electrons)

    def total(self, states: Complex) -> Complex:
        """Return the states of all atoms, ``states`` of shape (n_potentials, n_l)."""
        return np.asarray((self.weights * states).sum())


@dataclass
class _Path:
    """A running integral, and the two last points of its path."""

    last: Samples
    before: Samples
    occupations: Floats
    density: Floats

    @classmethod
    def started(cls, first: Samples) -> _Path:
        """Begin on the real axis below the first point, with its Green's function."""
        begin = Samples(first.energy_ha.real.astype(complex), first.states, first.density)
        shapes = first.states.shape[1:], first.density.shape[1:]
        path = cls(begin, begin, np.zeros(shapes[0]), np.zeros(shapes[1]))
        path.step(first)
        return path

    def step(self, to: Samples, *, cap_before: bool = False, cap_after: bool = False) -> None:
        """Go on to a point by the trapezoid rule; take off the cap before, put on the one after."""
        self.before, self.last = self.last, to
        ahead = behind = complex((self.last.energy_ha - self.before.energy_ha)[0])
        if cap_after:
            ahead -= 2j * self.last.energy_ha[0].imag
        if cap_before:
            behind += 2j * self.before.energy_ha[0].imag
        self.occupations += (ahead * self.last.states[0] + behind * self.before.states[0]).imag
        self.density += (ahead * self.last.density[0] + behind * self.before.density[0]).imag

    def excess(self, balance: Balance) -> float:
        """Return how many electrons there are too many below the end of the path."""
        return balance.excess(self.occupations)

    def missing(self, balance: Balance) -> float:
        """Estimate how far beyond the end of the path the Fermi level lies (Hartree)."""
        step = float((self.last.energy_ha - self.before.energy_ha)[0].real)
        gained = -float(self._gained(1.0, *self._totals(balance)))
        excess = self.excess(balance)
        if gained <= 0:  # in a gap: somewhere on that side
            return -float(np.copysign(np.inf, excess))
        return -excess / gained * step

    def up_to_fermi_level(self, balance: Balance) -> Electrons:
        """
        Return the electrons up to the level, near the two last points, where they are balanced.

        The points have the same imaginary part, the sum has its cap, and the Green's function is
        taken as linear between them.
        """
        excess = self.excess(balance)
        totals = self._totals(balance)
        share = -excess / float(self._gained(1.0, *totals))
        for _ in range(4):
            gain = float(self._gained(share, *totals))
            share = -excess / gain
        states, density = (
            share * self._gained(share, getattr(self.before, part)[0], getattr(self.last, part)[0])
            for part in ("states", "density")
        )
        left, right = self.before.energy_ha[0].real, self.last.energy_ha[0].real
        counted = balance.weights != 0
        return Electrons(
            float((1 - share) * right + share * left),
            np.where(counted, self.occupations + states, 0.0),
            self.density + density,
        )

    def _totals(self, balance: Balance) -> tuple[Complex, Complex]:
        left, right = (balance.total(point.states[0]) for point in (self.before, self.last))
        return left, right

    def _gained(self, share: float, left: Complex, right: Complex) -> Floats:
        """Return what going back a share of the last step would add, over that share."""
        back = complex((self.before.energy_ha - self.last.energy_ha)[0])
        height = float(self.last.energy_ha[0].imag)
        mean = right + share * (left - right) / 2
        gain: Floats = (2 * back * mean + 2j * height * (right - left)).imag
        return gain


def arc(bottom_ha: float, end_ha: complex) -> tuple[Complex, Complex]:
    """
    Return nodes and weights of an integral along an arc.

    Parameters
    ----------
    bottom_ha : float
        Where it begins, on the real axis.
    end_ha : complex
        Where it ends, above the real axis.

    Returns
    -------
    nodes, weights : ndarray, shape (n,), complex

    Notes
    -----
    With ``t`` the angle from the real axis, the nodes are those of Gauss and Legendre in
    ``ln(t / (pi + s - t))``. So they are dense near the end, whose distance from the axis is the
    scale there, and near the beginning, where ``s`` stands for 5 eV: no level is nearer to the
    core-valence separation.

    Examples
    --------
    >>> nodes, weights = arc(-1.0, 0.3 + 0.002j)
    >>> inside, outside = (weights @ (1 / (nodes - level)) for level in (-0.2, 1.0))
    >>> [bool(abs(z.imag / np.pi - n) < 3e-3) for z, n in ((inside, -1), (outside, 0))]
    [True, True]
    """
    center = (abs(end_ha) ** 2 - bottom_ha**2) / (2 * (end_ha.real - bottom_ha))
    radius = center - bottom_ha
    beyond = np.pi + _NEAREST_LEVEL_HA / radius
    first, last = (np.log(t / (beyond - t)) for t in (np.pi, np.angle(end_ha - center)))
    span = end_ha.real - bottom_ha
    n_nodes = next(number for most, number in _NODES if span <= most)
    points, weights = np.polynomial.legendre.leggauss(n_nodes)
    angle = beyond / (1 + np.exp(-(first + last) / 2 - (last - first) / 2 * points))
    way = radius * np.exp(1j * angle)
    speed = angle * (1 - angle / beyond) * (last - first) / 2
    return center + way, 1j * way * speed * weights


class _Bracket:
    """Ends of arcs below and above the Fermi level, with the electrons that are too many there."""

    def __init__(self, low: float, excess: float) -> None:
        self._low, self._high = (low, excess), (np.inf, np.inf)
        self._arcs = 0

    def narrow(self, end: float, excess: float) -> None:
        """Take in an arc."""
        self._arcs += 1
        if excess > 0:
            self._high = end, excess
        else:
            self._low = end, excess

    def next_end(self, foretold: float) -> float:
        """Return where the next arc is to end: where it is foretold, while there is no bracket."""
        (low, few), (high, many) = self._low, self._high
        if high == np.inf or self._arcs == 1:
            return foretold if low < foretold < high else (low + min(high, low + 1.0)) / 2
        share = np.clip(few / (few - many), 0.1, 0.9)  # the chord, but never an end once more
        return float(low + share * (high - low))


class Arc:
    """
    Electrons by integration along an arc in the complex plane.

    Parameters
    ----------
    evaluate : callable
        Gives the Green's function.
    bottom_ha : float
        The core-valence separation.
    balance : Balance
        How many electrons there have to be.
    """

    #: A Fermi level this near (Hartree) to the end of the path is interpolated; to one this near
    #: the path is extended; for any other there is a new arc, this much from the last at the most.
    _NEAR, _STEP, _FARTHEST = 2 * FERMI_STEP_HA, 0.05 / HARTREE_EV, 3.0 / HARTREE_EV
    _MOST_ARCS, _MOST_STEPS = 12, 4

    def __init__(self, evaluate: Evaluate, bottom_ha: float, balance: Balance) -> None:
        self._evaluate = evaluate
        self._bottom = bottom_ha
        self._balance = balance

    def electrons(self, guess_ha: float) -> Electrons:
        """
        Find the Fermi level and what is occupied below it.

        Parameters
        ----------
        guess_ha : float
            Where the Fermi level may be.

        Returns
        -------
        Electrons
        """
        end = max(guess_ha, self._bottom + 3 * self._STEP)
        bracket = _Bracket(self._bottom + 2 * self._STEP, -self._balance.electrons)
        for _ in range(self._MOST_ARCS):
            path = self._along_arc(end)
            missing = path.missing(self._balance)
            if abs(missing) <= self._STEP:
                break
            bracket.narrow(end, path.excess(self._balance))
            step = float(np.clip(missing, -self._FARTHEST, self._FARTHEST))
            end = bracket.next_end(end + step)
        for _ in range(self._MOST_STEPS):
            if abs(missing) <= self._NEAR:
                break
            end += float(np.clip(missing, -self._STEP, self._STEP))
            for point in self._evaluate(_last_two(end)).split():
                path.step(point, cap_before=True, cap_after=True)
            missing = path.missing(self._balance)
        return path.up_to_fermi_level(self._balance)

    def _along_arc(self, end: float) -> _Path:
        before, last = _last_two(end)
        nodes, weights = arc(self._bottom, last)
        samples = self._evaluate(np.concatenate([nodes, [before, last]]))
        on_arc, (left, right) = samples[: len(nodes)], samples[len(nodes) :].split()
        cap = -2j * last.imag
        return _Path(
            right,
            left,
            (np.tensordot(2 * weights, on_arc.states, 1) + cap * right.states[0]).imag,
            (np.tensordot(2 * weights, on_arc.density, 1) + cap * right.density[0]).imag,
        )


def _last_two(end: float) -> Complex:
    """Return the end of a path and the point before it, from which the Fermi level is told."""
    return np.array([end - FERMI_STEP_HA, end]) + 1j * LEAST_IMAGINARY_HA


class FeffContour:
    """
    Electrons by integration as FEFF does it.

    Parameters
    ----------
    evaluate : callable
        Gives the Green's function.
    bottom_ha : float
        The core-valence separation.
    balance : Balance
        How many electrons there have to be.
    first : bool
        Whether it is the first iteration of all: the path to the Fermi level then begins at once,
        at the greatest imaginary part.
    """

    _FLOORS = 17
    _MOST_HORIZONTAL = 55
    _MOST_POINTS = 5000
    #: Within how many horizontal steps the Fermi level has to be, or the path goes up a floor.
    _FAR = 10.0

    def __init__(
        self, evaluate: Evaluate, bottom_ha: float, balance: Balance, *, first: bool = False
    ) -> None:
        self._evaluate = evaluate
        self._bottom = bottom_ha
        self._balance = balance
        self._first = first

    def electrons(self, guess_ha: float) -> Electrons:
        """
        Find the Fermi level and what is occupied below it.

        Parameters
        ----------
        guess_ha : float
            Fermi level of the iteration before: where the path goes down.

        Returns
        -------
        Electrons

        Raises
        ------
        ScfNotConvergedError
            If the path does not come to a Fermi level.
        """
        points = self._points(guess_ha)
        if self._first:
            points = points[: self._FLOORS]
        first, *others = self._evaluate(points).split()
        path = _Path.started(first)
        for point in others[:-1]:
            path.step(point)
        path.step(others[-1], cap_after=not self._first)
        return self._searched(path)

    def _points(self, fermi_ha: float) -> Complex:
        heights = LEAST_IMAGINARY_HA * np.arange(1, (self._FLOORS + 1) // 2 + 1) ** 2
        up = self._bottom + 1j * heights
        span = fermi_ha - self._bottom
        wanted = int(np.floor(4 * span / heights[-1] + 0.5))
        n_across = max(min(wanted, self._MOST_HORIZONTAL), len(heights))
        across = up[-1] + span / n_across * np.arange(1, n_across + 1)
        down = fermi_ha + 1j * self._heights()[-2::-1]
        return np.concatenate([up, across, down])

    def _heights(self) -> Floats:
        """Return the imaginary parts of the floors."""
        return LEAST_IMAGINARY_HA * np.arange(2, self._FLOORS + 2) ** 2 / 4

    def _searched(self, path: _Path) -> Electrons:
        """Go left and right, up and down, until the Fermi level is between the last two points."""
        heights = self._heights()
        floor = floor_before = self._FLOORS - 1 if self._first else 0
        may_rise = not self._first
        excess = path.excess(self._balance)
        direction = -1 if excess > 0 else 1
        energy = complex(path.last.energy_ha[0]) + direction * heights[floor] / 4
        for _ in range(self._MOST_POINTS):
            path.step(
                self._evaluate(np.array([energy])),
                cap_before=floor_before == 0,
                cap_after=floor == 0,
            )
            excess_before, excess = excess, path.excess(self._balance)
            crossed = excess_before * excess <= 0
            if floor == floor_before == 0 and crossed:
                return path.up_to_fermi_level(self._balance)
            level, floor_before_now = floor == floor_before, floor
            if not level:
                direction = -1 if excess >= 0 else 1
            elif crossed:
                may_rise = False
                floor -= 1
            elif abs(excess) > self._FAR * abs(excess - excess_before) and may_rise:
                floor = min(floor + 1, self._FLOORS - 1)
            floor_before = floor_before_now
            if floor == floor_before:
                energy += direction * heights[floor] / 4
            else:
                energy = energy.real + 1j * heights[floor]
        raise ScfNotConvergedError("the path to the Fermi level of an iteration does not end")
