"""
Everything an engine needs to know about one absorbing site, in one value.

It is made from a cluster and settings, or from an existing ``feff.inp``; it is what crosses the
border to the worker process, and its digest says whether two calculations are the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vtc_flows.errors import ClusterError, InputError

#: Compiled into FEFF 8.5L.
MAX_POTENTIALS = 12
MAX_ATOMS = 1000
MAX_SCF_ATOMS = 100


@dataclass(frozen=True)
class Limits:
    """
    What an engine's arrays can hold.

    Attributes
    ----------
    program : str
        For messages.
    potentials, atoms, scf_atoms : int
        Unique potentials, atoms listed, atoms in one cluster of the self-consistency.
    """

    program: str
    potentials: int
    atoms: int
    scf_atoms: int


FEFF8L_LIMITS = Limits("FEFF 8.5L", MAX_POTENTIALS, MAX_ATOMS, MAX_SCF_ATOMS)
#: nphx + 1, natx and nclusx of FEFF10's ``m_dimsmod.f90``.
FEFF10_LIMITS = Limits("FEFF10", 32, 4000, 3000)

_FIRST_SECOND_ROW = 6  # lighter elements get one angular momentum less, as FEFF does


@dataclass(frozen=True)
class PotentialSpec:
    """
    One unique potential.

    Attributes
    ----------
    atomic_number : int
        Z.
    label : str
        At most six characters.
    stoichiometry : float
        Weight of this potential in the crystal (only ratios matter).
    lmax_scf, lmax_fms : int
        Largest angular momentum in the self-consistency and in the multiple scattering.
    """

    atomic_number: int
    label: str
    stoichiometry: float
    lmax_scf: int
    lmax_fms: int

    @classmethod
    def with_default_lmax(
        cls, atomic_number: int, label: str, stoichiometry: float
    ) -> PotentialSpec:
        """Return a potential with FEFF's own angular momenta: 2 and 3, one less below carbon."""
        light = int(atomic_number < _FIRST_SECOND_ROW)
        return cls(atomic_number, label[:6], stoichiometry, 2 - light, 3 - light)


#: What follows impossible occupations; see `ScfControl`.
OnBadCounts = Literal["slow_down", "separation", "go_on"]


#: The path of integrals over the occupied states; see `ScfControl`.
Contour = Literal["arc", "feff"]


@dataclass(frozen=True)
class ScfControl:
    """
    How the potentials are made self-consistent.

    Attributes
    ----------
    radius_angstrom : float
        Atoms of the clusters in the self-consistency.
    max_iterations : int
        FEFF's ``nscmt``.
    mixing : float
        Share of the new density in the next iteration, FEFF's ``ca``.
    n_plain_mixing : int
        Iterations with plain mixing before Broyden's method, FEFF's ``nmix``.
    core_valence_ev : float
        Energy that separates core from valence states, FEFF's ``ecv``.
    on_bad_counts : {"slow_down", "separation", "go_on"}
        What follows impossible occupations: the same from the start with slower mixing, since they
        are an overshoot of the mixing as a rule; another core-valence separation, as FEFF10 does;
        or nothing, and only the last iteration must be free of them.
    center_separation : bool
        Put the core-valence separation into the middle of its gap (engine feff8l).
    contour : {"arc", "feff"}
        How the occupied states are integrated (engine feff8l): along an arc, exactly; or along
        FEFF's own path by its own rule, whose error is 10-20 meV in the Fermi level.
    cut_clusters : bool
        Cut the cluster around every other kind of atom to as many atoms as the absorber's has.
        FEFF10 does so and says nothing of it; shells are then incomplete, and which of their
        atoms go depends on rounding.
    ramp_from_angstrom : float, optional
        FEFF10 only: make a smaller cluster of this radius self-consistent first, then a middle
        one, then the whole (its card SCFRAMP).
    core_valence_floor_ev : float, optional
        FEFF10 only: where its search for the core-valence separation begins (its card CORVAL).
    """

    radius_angstrom: float
    max_iterations: int = 100
    mixing: float = 0.2
    n_plain_mixing: int = 1
    core_valence_ev: float = -40.0
    on_bad_counts: OnBadCounts = "slow_down"
    center_separation: bool = False
    contour: Contour = "arc"
    cut_clusters: bool = False
    ramp_from_angstrom: float | None = None
    core_valence_floor_ev: float | None = None


@dataclass(frozen=True)
class EnergyGrid:
    """
    The photon energies at which the spectrum is wanted, on FEFF's scale of electron energies.

    Attributes
    ----------
    start_ev, stop_ev, step_ev : float
        First and last energy and the step.
    origin : {"fermi", "absolute"}
        Whether start and stop count from the Fermi level, which is then a point of the grid, or
        from FEFF's energy zero, as in the XES card; FEFF then moves the point nearest to the
        Fermi level onto it.
    """

    start_ev: float
    stop_ev: float
    step_ev: float
    origin: Literal["fermi", "absolute"] = "fermi"

    def __post_init__(self) -> None:
        if not (self.step_ev > 0 and self.stop_ev > self.start_ev):
            raise InputError(
                f"an energy grid from {self.start_ev} to {self.stop_ev} eV in steps of "
                f"{self.step_ev} eV is empty: give start < stop and a positive step"
            )

    def energies_ev(self, fermi_ev: float) -> NDArray[np.float64]:
        """
        Return the grid as absolute energies.

        Parameters
        ----------
        fermi_ev : float
            Fermi level in eV on FEFF's scale.

        Returns
        -------
        ndarray of shape (n,)
            Increasing energies in eV; the Fermi level is one of them if it lies inside.

        Examples
        --------
        >>> EnergyGrid(-0.2, 0.1, 0.1).energies_ev(-7.0).round(3).tolist()
        [-7.2, -7.1, -7.0, -6.9]
        >>> EnergyGrid(-7.2, -6.9, 0.1, "absolute").energies_ev(-7.02).round(3).tolist()
        [-7.2, -7.1, -7.02, -6.9]
        """
        if self.origin == "fermi":
            first = round(self.start_ev / self.step_ev)
            last = round(self.stop_ev / self.step_ev)
            return np.asarray(fermi_ev + self.step_ev * np.arange(first, last + 1))
        count = round((self.stop_ev - self.start_ev) / self.step_ev)
        energies = self.start_ev + self.step_ev * np.arange(count + 1)
        nearest = int(np.argmin(np.abs(energies - fermi_ev)))
        if abs(energies[nearest] - fermi_ev) <= self.step_ev:
            energies[nearest] = fermi_ev
        return np.asarray(energies)


@dataclass(frozen=True)
class LowerEnd:
    """
    Where the states that emit begin.

    Attributes
    ----------
    depth_ev : float
        Below the Fermi level.
    above_3p : bool
        Whether it is raised above the absorber's own 3p level.
    """

    depth_ev: float = 30.0
    above_3p: bool = True


@dataclass(frozen=True)
class SiteInput:
    """
    One absorbing site, ready for an engine.

    Attributes
    ----------
    positions_angstrom : tuple of (float, float, float)
        Atoms, absorber first and at the origin, nearest first.
    potential_index : tuple of int
        Potential of each atom; 0 is the absorber alone.
    potentials : tuple of PotentialSpec
        The unique potentials.
    scf : ScfControl
        Self-consistency.
    fms_radii_angstrom : tuple of float
        One spectrum is made for each radius of full multiple scattering.
    grid : EnergyGrid
        Energies of the spectrum.
    lower_end : LowerEnd, optional
        Where the states that emit begin; all occupied ones emit if not given, as in FEFF.
    smooth : bool
        Whether what FEFF leaves unsmooth in its phases and cross section is mended; see
        :mod:`vtc_flows.feff.smoothing` (engine feff8l).
    core_hole : bool
        Whether the absorber keeps its 1s hole (final-state rule).
    mesh_refinement : int
        The contour integral is done on a mesh this many times finer than the grid.
    amplitude_reduction : float
        S0^2, the factor of the fine structure.
    overlap : float
        Overlap factor of the muffin-tin spheres, FEFF's ``folp``.
    n_potential_atoms : int, optional
        How many of the atoms, the nearest ones, make the potentials; all if not given. So the
        potentials do not depend on the size of the multiple scattering.
    extra_cards : tuple of str
        Lines of a ``feff.inp`` that only FEFF10 understands; any other engine refuses them.
    """

    positions_angstrom: tuple[tuple[float, float, float], ...]
    potential_index: tuple[int, ...]
    potentials: tuple[PotentialSpec, ...]
    scf: ScfControl
    fms_radii_angstrom: tuple[float, ...]
    grid: EnergyGrid
    lower_end: LowerEnd | None = None
    smooth: bool = False
    core_hole: bool = True
    mesh_refinement: int = 4
    amplitude_reduction: float = 1.0
    overlap: float = 1.15
    n_potential_atoms: int | None = None
    extra_cards: tuple[str, ...] = ()

    def for_potentials(self) -> SiteInput:
        """Return the site with only those atoms that make the potentials."""
        return replace(
            self,
            positions_angstrom=self.positions_angstrom[: self.n_potential_atoms],
            potential_index=self.potential_index[: self.n_potential_atoms],
            n_potential_atoms=None,
        )

    @property
    def positions(self) -> NDArray[np.float64]:
        """Positions as an array of shape (n, 3), Angstrom."""
        return np.asarray(self.positions_angstrom, dtype=float).reshape(-1, 3)

    @property
    def atomic_numbers(self) -> NDArray[np.int64]:
        """Atomic number of each atom."""
        return np.array([self.potentials[index].atomic_number for index in self.potential_index])

    def count_within(self, radius_angstrom: float) -> int:
        """Return how many atoms, the absorber among them, lie within a radius of the absorber."""
        return int((np.linalg.norm(self.positions, axis=1) <= radius_angstrom).sum())

    def check(self, limits: Limits = FEFF8L_LIMITS) -> None:
        """
        Refuse what an engine cannot hold.

        Raises
        ------
        ClusterError
            Names the limit that is passed and what to do about it.
        """
        self.for_potentials().check_potentials(limits)
        if not self.fms_radii_angstrom:
            raise ClusterError("no radius for the full multiple scattering was given")

    def check_potentials(self, limits: Limits = FEFF8L_LIMITS) -> None:
        """Refuse potentials that an engine cannot make; see :meth:`check`."""
        n_atoms, n_potentials = len(self.potential_index), len(self.potentials)
        if n_potentials > limits.potentials:
            raise ClusterError(
                f"{n_potentials} unique potentials, but {limits.program} holds "
                f"{limits.potentials}: a structure of at most {limits.potentials - 1} elements is "
                "needed"
            )
        if n_atoms > limits.atoms:
            raise ClusterError(
                f"{n_atoms} atoms listed, but {limits.program} holds {limits.atoms}: list fewer "
                "(a smaller listed radius)"
            )
        if not n_atoms or any(self.positions_angstrom[0]) or self.potential_index[0] != 0:
            raise ClusterError("the first atom must be the absorber: potential 0 at the origin")
        if self.potential_index.count(0) != 1:
            raise ClusterError("exactly one atom must have potential 0, the absorber")
        missing = set(range(n_potentials)) - set(self.potential_index)
        if missing or max(self.potential_index) >= n_potentials:
            raise ClusterError(
                f"atoms and potentials do not match: potentials without an atom {sorted(missing)}, "
                f"highest potential of an atom {max(self.potential_index)} of {n_potentials - 1}"
            )
        n_scf = self.largest_scf_cluster()
        if n_scf > limits.scf_atoms:
            raise ClusterError(
                f"{n_scf} atoms within the SCF radius {self.scf.radius_angstrom:.3f} Angstrom, but "
                f"{limits.program} holds {limits.scf_atoms}: ask for fewer SCF atoms"
            )

    def largest_scf_cluster(self) -> int:
        """Return how many atoms the largest cluster of the self-consistency has."""
        positions, index = self.positions, np.asarray(self.potential_index)
        centres = [positions[int(np.argmax(index == i))] for i in range(len(self.potentials))]
        distances = [np.linalg.norm(positions - centre, axis=1) for centre in centres]
        return max(int((d <= self.scf.radius_angstrom).sum()) for d in distances)

    def to_json(self) -> str:
        """Return the input as canonical JSON text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SiteInput:
        """Return the input that :meth:`to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        fields["positions_angstrom"] = tuple((x, y, z) for x, y, z in fields["positions_angstrom"])
        fields["potential_index"] = tuple(fields["potential_index"])
        fields["potentials"] = tuple(PotentialSpec(**p) for p in fields["potentials"])
        fields["scf"] = ScfControl(**fields["scf"])
        fields["fms_radii_angstrom"] = tuple(fields["fms_radii_angstrom"])
        fields["grid"] = EnergyGrid(**fields["grid"])
        lower_end = fields["lower_end"]
        fields["lower_end"] = LowerEnd(**lower_end) if lower_end is not None else None
        fields["extra_cards"] = tuple(fields["extra_cards"])
        return cls(**fields)

    def digest(self) -> str:
        """Return a SHA-256 over everything that decides the result."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()
