"""
Radial solutions inside the atoms' spheres, by FEFF 8.5L's Dirac solver, for many energies at once.

What the library's ``rholie_`` and its surroundings do for one energy is done here for a batch: the
solver ``dfovrg_`` is called for each energy and angular momentum, and all else is a few array
operations. The spheres have the radial grid of the free atoms, so nothing is interpolated.

With the regular solution ``R_l``, normalized at the muffin-tin radius, and the outgoing one
``H_l``, the Green's function at equal points of a sphere, averaged over angles, is

    G(r, E) = sum_l a_l(E) { H_l(r) R_l(r) + chi_l(E) R_l(r)**2 },   a_l = 2 k (2 l + 1) / pi,

(large and small component each, ``a_l`` corrected for the small one), where ``chi_l`` comes from
scattering by the neighbors: A. L. Ankudinov et al., Phys. Rev. B 58, 7565 (1998).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import spherical_jn, spherical_yn

from vtc_flows.feff.elf import HookedLibrary
from vtc_flows.feff.scf_arrays import N_ANGULAR, RADIAL_POINTS

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

#: Points of the library's longest radial grid, and orbitals of an atom.
_POINTS, _ORBITALS = 1251, 30
_FIRST_LOG, _STEP_LOG = -8.8, 0.05
_FINE_STRUCTURE = 1 / 137.035999139  # the library's own
_REGULAR, _IRREGULAR = -1, 1
_LARGE, _SMALL = 0, 1


@dataclass(frozen=True)
class SphereFunctions:
    """
    What one sphere contributes at each energy of a batch.

    Attributes
    ----------
    phases : ndarray, shape (n, N_ANGULAR), complex
        Phase shifts; zero beyond the potential's largest l.
    scattered, embedded : ndarray, shape (n, N_ANGULAR), complex
        Integrals to the Norman radius of what multiplies ``chi_l``, and of the embedded atom.
    scattered_density : ndarray, shape (n, N_ANGULAR, n_radii), complex
        The first of them at each radius.
    embedded_density : ndarray, shape (n, n_radii), complex
        The other at each radius, summed over l.
    """

    phases: Complex
    scattered: Complex
    embedded: Complex
    scattered_density: Complex
    embedded_density: Complex


@dataclass(frozen=True)
class AtomFacts:
    """
    What the solver wants to know of an atom, none of which changes a local potential's solutions.

    Attributes
    ----------
    number, hole, f_electrons : int
        Atomic number, FEFF's ``ihole`` and ``iunf``.
    ionicity : float
        FEFF's ``xion``.
    """

    number: int
    hole: int
    f_electrons: int
    ionicity: float


def radii_to(radius_bohr: float) -> int:
    """Return how many points of the radial grid lie within a radius."""
    return int((np.log(radius_bohr) - _FIRST_LOG) / _STEP_LOG) + 1


def radial_points(norman_bohr: float) -> int:
    """Return how many points densities have: four more than lie within the Norman radius."""
    return min(radii_to(norman_bohr) + 4, RADIAL_POINTS)


class DiracSolver:
    """
    The library's solver of the radial Dirac equation at complex energies.

    Parameters
    ----------
    library : HookedLibrary
        FEFF 8.5L.
    """

    def __init__(self, library: HookedLibrary) -> None:
        self._dfovrg = library.routine("dfovrg_", 25)
        radii = np.exp(_FIRST_LOG + _STEP_LOG * np.arange(_POINTS))
        # Only an exchange that is not local would need the orbitals. They are not zero, because
        # the solver looks for the last point of each that is not.
        self._arrays = (radii, np.ones(_POINTS * _ORBITALS), np.zeros(10 * _ORBITALS))
        self._radii, self._orbitals, self._zeros = (each.ctypes.data for each in self._arrays)
        self._step = ctypes.c_double(_STEP_LOG)
        self._local = ctypes.c_int32(0)
        self._kappa, self._last, self._inside, self._kind, self._correction = (
            ctypes.c_int32() for _ in range(5)
        )
        self._radius = ctypes.c_double()

    def solve(
        self,
        sphere: Sphere,
        kinetic: Complex,
        kind: int,
        edges: Complex,
    ) -> Complex:
        """
        Solve for all energies and angular momenta.

        Parameters
        ----------
        sphere : Sphere
            Potential and atom.
        kinetic : ndarray, shape (n,)
            Energies above the potential at the sphere.
        kind : {-1, 1}
            Regular or irregular solutions.
        edges : ndarray, shape (n, n_l, 2)
            Large and small component at the muffin-tin radius: written for the regular solutions,
            read for the irregular ones.

        Returns
        -------
        ndarray, shape (n, n_l, 2, RADIAL_POINTS)
        """
        n, n_l = edges.shape[:2]
        solutions = np.empty((n, n_l, 2, RADIAL_POINTS), complex)
        # The library extends the potential beyond the sphere in place: each batch gets a copy.
        potential = sphere.potential.copy()
        energies = np.ascontiguousarray(kinetic)
        atom = sphere.atom
        number, hole, frozen = (
            ctypes.c_int32(value) for value in (atom.number, atom.hole, atom.f_electrons)
        )
        ionicity = ctypes.c_double(atom.ionicity)
        self._radius.value = sphere.muffin_tin
        self._inside.value = sphere.n_inside
        self._kind.value = kind
        where = ctypes.addressof
        before = (
            where(self._local), where(self._kappa), where(self._radius), where(self._last),
            where(self._inside),
        )  # fmt: skip
        middle = (
            where(self._step), self._radii, potential.ctypes.data, potential.ctypes.data,
            self._orbitals, self._orbitals, self._zeros, self._zeros, self._zeros,
        )  # fmt: skip
        after = (
            where(number), where(hole), where(ionicity), where(frozen), where(self._kind),
            where(self._correction),
        )  # fmt: skip
        energy_at, edge_at, solution_at = (
            each.ctypes.data for each in (energies, edges, solutions)
        )
        size, row = energies.itemsize, RADIAL_POINTS * energies.itemsize
        for k in range(n):
            for degree in range(n_l):
                self._kappa.value = -1 - degree
                self._correction.value = int(degree > 0)
                self._last.value = sphere.n_radii
                edge = edge_at + 2 * size * (k * n_l + degree)
                solution = solution_at + 2 * row * (k * n_l + degree)
                self._dfovrg(
                    *before, energy_at + size * k, *middle,
                    edge, edge + size, solution, solution + row, *after,
                )  # fmt: skip
        return solutions


class Sphere:
    """
    One potential in one iteration.

    Parameters
    ----------
    solver : DiracSolver
        The library's solver.
    atom : AtomFacts
        The atom inside.
    potential : ndarray, shape (RADIAL_POINTS,)
        Total potential, Hartree.
    interstitial : float
        The potential outside, Hartree.
    radii_bohr : tuple of float
        Muffin-tin and Norman radius.
    lmax : int
        Largest l.

    Attributes
    ----------
    n_radii : int
        Points of the radial grid that densities have: four more than lie within the Norman radius.
    """

    def __init__(
        self,
        solver: DiracSolver,
        atom: AtomFacts,
        potential: Floats,
        interstitial: float,
        radii_bohr: tuple[float, float],
        lmax: int,
    ) -> None:
        self._solver = solver
        self.atom = atom
        self.muffin_tin, norman = radii_bohr
        self.n_inside = radii_to(self.muffin_tin) + 1
        self.n_radii = radial_points(norman)
        self.interstitial = interstitial
        self._n_l = min(lmax + 1, N_ANGULAR)
        self.potential = np.zeros(_POINTS, complex)
        self.potential[: self.n_inside] = potential[: self.n_inside] - interstitial
        powers = [*(2 * degree + 2 for degree in range(self._n_l)), 1]
        self._weights = np.array([norman_weights(norman, power) for power in powers])

    def solve(self, energies_ha: Complex) -> SphereFunctions:
        """
        Solve at complex energies.

        Parameters
        ----------
        energies_ha : ndarray, shape (n,), complex

        Returns
        -------
        SphereFunctions
        """
        n, n_l = len(energies_ha), self._n_l
        kinetic = energies_ha - self.interstitial
        momenta = np.sqrt(2 * kinetic + (kinetic * _FINE_STRUCTURE) ** 2)
        ratio = -momenta * _FINE_STRUCTURE
        ratio = (ratio / (1 + np.sqrt(1 + ratio**2)))[:, None]
        edges = np.empty((n, n_l, 2), complex)
        regular = self._solver.solve(self, kinetic, _REGULAR, edges)
        bessel, neumann = self._waves(momenta)
        phases, norm = _matched(self.muffin_tin, momenta, ratio, edges, bessel, neumann)
        starts = _outgoing_edges(self.muffin_tin, ratio, phases, bessel, neumann)
        irregular = self._solver.solve(self, kinetic, _IRREGULAR, starts)
        scale = (2 / np.pi * momenta[:, None] / (1 + ratio**2)) * (2 * np.arange(n_l) + 1)
        outgoing = _product(irregular, regular)[..., : self.n_radii]
        outgoing *= (scale * norm * self._inverse_wronskian(regular, irregular, norm, momenta))[
            ..., None
        ]
        squares = _product(regular, regular)[..., : self.n_radii]
        squares *= (scale * norm**2)[..., None]
        return self._collected(phases, squares, outgoing)

    def _waves(self, momenta: Complex) -> tuple[Complex, Complex]:
        """Return Bessel and Neumann functions at the muffin-tin radius, one l more than asked."""
        argument = (self.muffin_tin * momenta)[:, None]
        degree = np.arange(self._n_l + 1)
        bessel, neumann = (
            np.asarray(wave(degree, argument), complex) for wave in (spherical_jn, spherical_yn)
        )
        return bessel, neumann

    def _inverse_wronskian(
        self, regular: Complex, irregular: Complex, norm: Complex, momenta: Complex
    ) -> Complex:
        """Return what normalizes the irregular solution against the regular one."""
        at = self.n_inside - 1
        cross = irregular[..., _LARGE, at] * regular[..., _SMALL, at]
        cross -= regular[..., _LARGE, at] * irregular[..., _SMALL, at]
        inverse: Complex = _FINE_STRUCTURE / (2 * momenta[:, None] * norm * cross)
        return inverse

    def _collected(self, phases: Complex, squares: Complex, outgoing: Complex) -> SphereFunctions:
        n, n_l, n_radii = squares.shape
        phase, scattered, embedded = np.zeros((3, n, N_ANGULAR), complex)
        density = np.zeros((n, N_ANGULAR, n_radii), complex)
        used = min(self._weights.shape[1], n_radii)
        weights = self._weights[:, :used]
        phase[:, :n_l] = phases
        scattered[:, :n_l] = np.einsum("nlr,lr->nl", squares[..., :used], weights[:n_l])
        embedded[:, :n_l] = outgoing[..., :used] @ weights[n_l]
        density[:, :n_l] = squares
        return SphereFunctions(phase, scattered, embedded, density, outgoing.sum(axis=1))


def _product(left: Complex, right: Complex) -> Complex:
    product = left[..., _LARGE, :] * right[..., _LARGE, :]
    product += left[..., _SMALL, :] * right[..., _SMALL, :]
    return product


def _matched(
    muffin_tin: float,
    momenta: Complex,
    ratio: Complex,
    edges: Complex,
    bessel: Complex,
    neumann: Complex,
) -> tuple[Complex, Complex]:
    """Match solutions to ``A r (j cos(delta) - n sin(delta))``; return ``delta`` and ``1/A``."""
    wronskian = muffin_tin * momenta[:, None] ** 2
    large, small = edges[..., 0], edges[..., 1] / ratio
    cosine = wronskian * (small * neumann[:, :-1] - large * neumann[:, 1:])
    sine = wronskian * (small * bessel[:, :-1] - large * bessel[:, 1:])
    # the smaller over the larger: the arc tangent is precise there
    steep = np.abs(sine) >= np.abs(cosine)
    with np.errstate(divide="ignore", invalid="ignore"):
        phases: Complex = np.where(
            steep, np.pi / 2 - np.arctan(cosine / sine), np.arctan(sine / cosine)
        )
    amplitude: Complex = np.where(steep, sine / np.sin(phases), cosine / np.cos(phases))
    negative = amplitude.real < 0
    phases[negative] += np.pi
    amplitude[negative] *= -1
    norm: Complex = 1 / amplitude
    return phases, norm


def _outgoing_edges(
    muffin_tin: float, ratio: Complex, phases: Complex, bessel: Complex, neumann: Complex
) -> Complex:
    """Return both components of the irregular solutions at the muffin-tin radius."""
    cosine, sine = muffin_tin * np.cos(phases), muffin_tin * np.sin(phases)
    large = neumann[:, :-1] * cosine + bessel[:, :-1] * sine
    small = (neumann[:, 1:] * cosine + bessel[:, 1:] * sine) * ratio
    return np.stack([large, small], axis=-1)


def norman_weights(norman_bohr: float, power: int) -> Floats:
    """
    Return the weights of an integral from 0 to the Norman radius.

    Parameters
    ----------
    norman_bohr : float
        The radius; any, it need not be a point of the grid.
    power : int
        The integrand's power of r at the origin.

    Returns
    -------
    ndarray, shape (n,)
        For the first n points of the radial grid. The rule is FEFF's ``csomm2``, a trapezoid rule
        with corrections at both ends.

    Examples
    --------
    >>> radii = np.exp(-8.8 + 0.05 * np.arange(251))
    >>> weights = norman_weights(2.0, 2)
    >>> round(float(weights @ radii[: len(weights)] ** 2), 6)
    2.666645
    """
    n = radii_to(norman_bohr) + 2
    radii = np.exp(_FIRST_LOG + _STEP_LOG * np.arange(n))
    beyond = np.log(norman_bohr / radii[n - 3]) / _STEP_LOG
    second, third = beyond**2 / 8, beyond**3 / 12
    weights = np.ones(n)
    weights[:3] = np.array([9, 28, 23]) / 24
    weights[n - 4 :] = (
        25 / 24 - second + third,
        0.5 + beyond - 3 * second - third,
        -1 / 24 + 5 * second - third,
        -second + third,
    )
    weights *= _STEP_LOG * radii
    growth, order = np.exp(_STEP_LOG) - 1, power + 1
    weights[0] += radii[0] * (1 + 1 / (growth * (order + 1))) / order
    weights[1] -= radii[0] / (order * (order + 1) * growth * np.exp((order - 1) * _STEP_LOG))
    return weights
