"""
One iteration of FEFF 8.5L's self-consistency: what its routine ``scmt_`` does, done by us.

The library makes potentials of densities, solves the radial equation and mixes the densities; the
scattering and the integrals over the occupied states are ours, so that all energies of an
iteration go through each of them together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtc_flows.feff.elf import HookedLibrary
from vtc_flows.feff.memory import doubles, floating, integer, integers
from vtc_flows.feff.radial import AtomFacts, DiracSolver, Sphere, radial_points
from vtc_flows.feff.scf_arrays import N_ANGULAR, RADIAL_POINTS, Scmt, by_potential
from vtc_flows.feff.scf_contour import Arc, Balance, Electrons, FeffContour, Samples
from vtc_flows.feff.scf_scattering import Atoms, ScfScattering
from vtc_flows.feff.site_input import SiteInput
from vtc_flows.feff.units import HARTREE_EV

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

#: Angular momenta that are counted where f electrons are frozen: s, p and d.
_COUNTED_FROZEN = 3
#: Where Fermi levels lie on FEFF's scale as a rule (Hartree).
_USUAL_FERMI_HA = (-14 / HARTREE_EV, -6 / HARTREE_EV)


class ScfIteration:
    """
    The iterations of one site's self-consistency.

    Parameters
    ----------
    library : HookedLibrary
        FEFF 8.5L.
    site : SiteInput
        Angular momenta of the potentials, and the contour of integrals.
    scattering : ScfScattering
        Scattering in the clusters around the potentials.
    """

    def __init__(self, library: HookedLibrary, site: SiteInput, scattering: ScfScattering) -> None:
        self._broydn = library.routine("broydn_", 11)
        self._coulom = library.routine("coulom_", 14)
        self._solver = DiracSolver(library)
        self._lmax = [potential.lmax_scf for potential in site.potentials]
        self._contour = site.scf.contour
        self._scattering = scattering
        self._iterations = 0

    def __call__(self, *arguments: Any) -> None:
        """Do what ``scmt_`` does, with its arguments."""
        self._iterations += 1
        electrons = self._electrons(arguments)
        floating(arguments[Scmt.FERMI]).value = electrons.fermi_ha
        integer(arguments[Scmt.GOOD]).value = 1
        n_potentials = len(self._lmax)
        by_potential(arguments[Scmt.OCCUPATIONS], n_potentials)[:] = electrons.occupations
        _radial(arguments[Scmt.NEW_DENSITY], n_potentials)[:] = electrons.density
        self._mix(arguments)

    def _electrons(self, arguments: tuple[Any, ...]) -> Electrons:
        spheres = self._spheres(arguments)
        frozen = not integer(arguments[Scmt.F_ELECTRONS]).value
        green = GreensFunction(
            spheres, self._scattering, _atoms(arguments), _COUNTED_FROZEN if frozen else N_ANGULAR
        )
        weights = np.zeros((len(spheres), N_ANGULAR))
        weights[:, : green.n_counted] = doubles(arguments[Scmt.STOICHIOMETRY], len(spheres))[
            :, None
        ]
        balance = Balance(floating(arguments[Scmt.ELECTRONS]).value, weights)
        bottom = floating(arguments[Scmt.SEPARATION]).value
        guess = floating(arguments[Scmt.FERMI]).value
        first = self._iterations == 1
        if self._contour == "feff":
            return FeffContour(green, bottom, balance, first=first).electrons(guess)
        if first:  # that of free electrons between the spheres, off by as much as 20 eV
            guess = float(np.clip(guess, *_USUAL_FERMI_HA))
        return Arc(green, bottom, balance).electrons(guess)

    def _spheres(self, arguments: tuple[Any, ...]) -> list[Sphere]:
        n_potentials = len(self._lmax)
        potentials = _radial(arguments[Scmt.POTENTIAL], n_potentials)
        muffin_tin, norman, ionicity = (
            doubles(arguments[argument], n_potentials)
            for argument in (Scmt.MUFFIN_TIN, Scmt.NORMAN, Scmt.IONICITY)
        )
        numbers = integers(arguments[Scmt.ATOMIC_NUMBERS], n_potentials)
        keeps_hole = integer(arguments[Scmt.HOLE_KEPT]).value < 0
        hole = integer(arguments[Scmt.HOLE]).value if keeps_hole else 0
        f_electrons = integer(arguments[Scmt.F_ELECTRONS]).value
        return [
            Sphere(
                self._solver,
                AtomFacts(int(numbers[i]), 0 if i else hole, f_electrons, float(ionicity[i])),
                potentials[i],
                floating(arguments[Scmt.INTERSTITIAL]).value,
                (float(muffin_tin[i]), float(norman[i])),
                lmax,
            )
            for i, lmax in enumerate(self._lmax)
        ]

    def _mix(self, arguments: tuple[Any, ...]) -> None:
        """Mix the new density with those before, and make its Coulomb potential."""
        a, n_potentials = arguments, len(self._lmax)
        norman = doubles(a[Scmt.NORMAN], n_potentials)
        n_radii = np.array([radial_points(radius) for radius in norman], np.int32)
        charges = np.zeros(n_potentials)
        points, gained = n_radii.ctypes.data, charges.ctypes.data
        self._broydn(
            a[Scmt.NUMBER], a[Scmt.MIXING], a[Scmt.LAST_POTENTIAL], a[Scmt.VALENCE], points,
            a[Scmt.STOICHIOMETRY], a[Scmt.NORMAN], a[Scmt.CHARGES], a[Scmt.VALENCE_DENSITY],
            a[Scmt.NEW_DENSITY], gained,
        )  # fmt: skip
        self._coulom(
            a[Scmt.COULOMB_MODE], a[Scmt.LAST_POTENTIAL], points, a[Scmt.NEW_DENSITY],
            a[Scmt.VALENCE_DENSITY], a[Scmt.DENSITY], a[Scmt.N_ATOMS], a[Scmt.POSITIONS],
            a[Scmt.FIRST_ATOMS], a[Scmt.POTENTIAL_INDEX], a[Scmt.NORMAN], gained,
            a[Scmt.ATOMIC_NUMBERS], a[Scmt.COULOMB],
        )  # fmt: skip
        density, valence, new = (
            _radial(a[argument], n_potentials)
            for argument in (Scmt.DENSITY, Scmt.VALENCE_DENSITY, Scmt.NEW_DENSITY)
        )
        for i, last in enumerate(n_radii):
            density[i, :last] += new[i, :last] - valence[i, :last]
            density[i, last:] = valence[i, last:] = 0


class GreensFunction:
    """
    The Green's function in all spheres, at equal points.

    Parameters
    ----------
    spheres : list of Sphere
        The potentials.
    scattering : ScfScattering
        Scattering by the neighbors.
    atoms : Atoms
        Their places.
    n_counted : int
        Angular momenta whose scattered part has a density.
    """

    def __init__(
        self, spheres: list[Sphere], scattering: ScfScattering, atoms: Atoms, n_counted: int
    ) -> None:
        self._spheres = spheres
        self._scattering = scattering
        self._atoms = atoms
        self.n_counted = n_counted

    def __call__(self, energies_ha: Complex) -> Samples:
        """Return it at complex energies, shape (n,)."""
        n = len(energies_ha)
        functions = [sphere.solve(energies_ha) for sphere in self._spheres]
        phases = np.stack([each.phases for each in functions], axis=1)
        momenta = np.sqrt(2 * (energies_ha - self._spheres[0].interstitial))
        states = np.empty((n, len(functions), N_ANGULAR), complex)
        density = np.zeros((n, len(functions), RADIAL_POINTS), complex)
        for i, each in enumerate(functions):
            chi = self._scattering.chi(i, self._atoms, momenta, phases)
            states[:, i] = each.embedded + chi * each.scattered
            seen = slice(0, self.n_counted)
            density[:, i, : each.embedded_density.shape[1]] = each.embedded_density + np.einsum(
                "nl,nlr->nr", chi[:, seen], each.scattered_density[:, seen]
            )
        return Samples(energies_ha, states, density)


def _radial(address: int, n_potentials: int) -> Floats:
    """Return a view of one number for each potential and radius."""
    return doubles(address, n_potentials * RADIAL_POINTS).reshape(n_potentials, RADIAL_POINTS)


def _atoms(arguments: tuple[Any, ...]) -> Atoms:
    n_atoms = integer(arguments[Scmt.N_ATOMS]).value
    return Atoms(
        doubles(arguments[Scmt.POSITIONS], 3 * n_atoms).reshape(-1, 3),
        integers(arguments[Scmt.POTENTIAL_INDEX], n_atoms),
    )
