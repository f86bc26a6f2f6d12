"""Features of a crystal and an absorbing element, from the structure alone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.core.periodic_table import Element

from vtc_flows.crystal.checks import validate
from vtc_flows.crystal.neighbors import SHELL_TOLERANCE_ANGSTROM, neighbors_at_least
from vtc_flows.crystal.oxidation import guess_oxidation_states
from vtc_flows.crystal.sites import (
    TRANSITION_METALS,
    absorbers,
    atomic_numbers,
    crystal_symmetry,
    site_orbits,
)
from vtc_flows.crystal.surroundings import CUTOFF_ANGSTROM, surroundings_features
from vtc_flows.physics.anisotropy import (
    dam,
    iam,
    matrix_sum,
    normalized_inertia_anisotropy,
    qam,
)
from vtc_flows.physics.frames import Frame, principal_frame
from vtc_flows.physics.moments import (
    DEFAULT_EXPONENT,
    Moments,
    carried,
    joined,
    mean,
    moments_of_sites,
)
from vtc_flows.physics.tensors import tensor_freedom

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

    from vtc_flows.crystal.neighbors import Neighbors
    from vtc_flows.crystal.oxidation import Method, OxidationStates
    from vtc_flows.crystal.sites import CrystalSymmetry, SiteOrbit

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

#: The paper's features in the order in which a model takes them.
FEATURE_NAMES = ("qams", "dams", "iams", "density", "n_sg", "n_3d", "en_mean", "en_std")

#: Exponents p of the normalized anisotropy of the inertia, from the whole surroundings (4) to the
#: nearest neighbors alone (16).
NORMALIZED_EXPONENTS = (4, 8, 12, 16)

#: Features that depend neither on oxidation states nor on a frame.
FREE_FEATURE_NAMES = (
    "in4",
    "in8",
    "in12",
    "in16",
    "ic4",
    "ic8",
    "ic12",
    "ic16",
    "atomic_number",
    "atomic_fraction",
    "n_elements",
    "volume_per_atom",
    "tensor_freedom",
    "crystal_freedom",
)

#: Distance up to which neighbours count for the moments, Angstrom.
MOMENT_CUTOFF_ANGSTROM = 12.0

#: Neighbours, with their last shell complete, over which electronegativities are averaged: those
#: of the scattering cluster of the VtC-XES anisotropy paper.
CLUSTER_NEIGHBORS = 30

#: Moments that symmetry is broken in by less than this part of their size are made symmetric.
#: Rounded coordinates reach a tenth of it; a strain of 0.02 % passes it, and is kept, although
#: the search for symmetry operations allows for far larger displacements.
SYMMETRY_NOISE = 1e-3

_N_SPACE_GROUPS = 230
_ARGON_CORE_ELECTRONS = 18
#: Atomic mass unit per cubic Angstrom, in g/cm3.
_AMU_PER_CUBIC_ANGSTROM = 1.66053906660


@dataclass(frozen=True, eq=False)
class StructureFeatures:
    """
    Features of one crystal and one absorbing element, and what they were made from.

    Attributes
    ----------
    element : str
        The absorber.
    qams, dams, iams : float
        Sums of the quadrupole, dipole and inertia anisotropy matrices in the shared frame, mean
        over all sites of the element: e A^(2-p), e A^(1-p), A^(2-p).
    density : float
        Mass density, g/cm3.
    n_sg : float
        Space group number / 230.
    n_3d : float
        3d electrons of the absorber, Z - 18 - q, mean over its sites.
    en_mean, en_std : float
        Pauling electronegativity over the absorber and its 30 nearest neighbours (last shell
        complete): mean and population standard deviation, each averaged over the sites.
    in4, in8, in12, in16 : float
        Normalized anisotropy of the inertia with weights r^-p over the neighbors within 8
        Angstrom, mean over the sites: see `physics.anisotropy.normalized_inertia_anisotropy`.
    ic4, ic8, ic12, ic16 : float
        The same of the mean of the sites' inertia: of what a single crystal shows of them.
    atomic_number : float
        Of the absorber.
    atomic_fraction : float
        Of the absorber in the crystal.
    n_elements : float
        Different elements in the crystal.
    volume_per_atom : float
        Cubic Angstrom.
    tensor_freedom : float
        Numbers beside the trace that its symmetry leaves to a site's tensor, mean over the sites:
        0 where all are isotropic (`physics.tensors.tensor_freedom`).
    crystal_freedom : float
        The same of the crystal's point group: 0 where the sum over all sites is isotropic.
    surroundings : dict of str to float
        What `crystal.surroundings.SURROUNDINGS` lists, mean over the sites.
    n_without_electronegativity : int
        Atoms left out of that for want of a Pauling value; the most in the cluster of any site.
    oxidation_method : str
        Where the oxidation states come from.
    oxidation_states : ndarray of shape (n_sites,)
        Of every site of the structure, e.
    frame : Frame
        Principal axes shared by all sites of the element, in the Cartesian frame of the input.
    orbits : tuple of SiteOrbit
        The sites of the element.
    site_indices : ndarray of shape (n_absorbers,)
        Sites of the element, orbit after orbit.
    site_moments : Moments
        Leading shape (n_absorbers,), in the order of `site_indices`.
    space_group_number : int
    space_group_symbol : str
    exponent : float
        p in the moments' weights r^-p.
    moment_cutoff_angstrom : float
    """

    element: str
    qams: float
    dams: float
    iams: float
    density: float
    n_sg: float
    n_3d: float
    en_mean: float
    en_std: float
    in4: float
    in8: float
    in12: float
    in16: float
    ic4: float
    ic8: float
    ic12: float
    ic16: float
    atomic_number: float
    atomic_fraction: float
    n_elements: float
    volume_per_atom: float
    tensor_freedom: float
    crystal_freedom: float
    surroundings: dict[str, float]
    n_without_electronegativity: int
    oxidation_method: Method
    oxidation_states: FloatArray
    frame: Frame
    orbits: tuple[SiteOrbit, ...]
    site_indices: IntArray
    site_moments: Moments
    space_group_number: int
    space_group_symbol: str
    exponent: float
    moment_cutoff_angstrom: float

    def values(self) -> dict[str, float]:
        """Return the paper's features by name, in the order of `FEATURE_NAMES`."""
        return {name: float(getattr(self, name)) for name in FEATURE_NAMES}

    def free_values(self) -> dict[str, float]:
        """Return the others by name, in the order of `FREE_FEATURE_NAMES`, then surroundings."""
        return {name: float(getattr(self, name)) for name in FREE_FEATURE_NAMES} | self.surroundings


def structure_features(
    structure: Structure,
    element: str,
    *,
    exponent: float = DEFAULT_EXPONENT,
    moment_cutoff_angstrom: float = MOMENT_CUTOFF_ANGSTROM,
    symmetry: CrystalSymmetry | None = None,
    oxidation: OxidationStates | None = None,
) -> StructureFeatures:
    """
    Compute the features of one absorbing element of a crystal.

    Parameters
    ----------
    structure : Structure
        Any cell in any orientation: the features do not depend on it.
    element : str
        One of its 3d metals.
    exponent : float
        p in the moments' weights r^-p.
    moment_cutoff_angstrom : float
        How far neighbours count for the moments; whole shells are kept to within 1e-3 Angstrom.
    symmetry : CrystalSymmetry, optional
        The structure's, where it is already known.
    oxidation : OxidationStates, optional
        To be used in place of the guess.

    Returns
    -------
    StructureFeatures

    Raises
    ------
    StructureError
        If no spectrum can be computed for the structure (see `checks.validate`).

    Notes
    -----
    Every site of the element gets moments from its own neighbours, so that the result does not
    depend on which of the equivalent sites comes first. Where the moments are symmetric to the
    noise of the coordinates (`SYMMETRY_NOISE`) they are averaged over the symmetry operations, so
    that noise does not turn a frame that symmetry leaves free. A crystal strained by less than
    the tolerance of the symmetry search keeps its anisotropy.

    Where the frame is left free (a cubic crystal) the conventional lattice vectors are its axes.
    Sites whose own axes are the cube's diagonals, as in pyrite, show no anisotropy along them.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> nio = Structure.from_spacegroup(
    ...     "Fm-3m", Lattice.cubic(4.17), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ... )
    >>> features = structure_features(nio, "Ni")
    >>> round(features.qams, 9), round(features.n_3d, 9), features.oxidation_method
    (0.0, 8.0, 'formula guess')
    """
    return features_by_element(
        structure,
        [element],
        exponent=exponent,
        moment_cutoff_angstrom=moment_cutoff_angstrom,
        symmetry=symmetry,
        oxidation=oxidation,
    )[element]


def features_by_element(
    structure: Structure,
    elements: Sequence[str] | None = None,
    *,
    exponent: float = DEFAULT_EXPONENT,
    moment_cutoff_angstrom: float = MOMENT_CUTOFF_ANGSTROM,
    symmetry: CrystalSymmetry | None = None,
    oxidation: OxidationStates | None = None,
) -> dict[str, StructureFeatures]:
    """
    Compute the features for several absorbing elements, sharing what they have in common.

    Parameters
    ----------
    structure : Structure
        Any cell in any orientation.
    elements : sequence of str, optional
        All 3d metals of the structure if not given.
    exponent, moment_cutoff_angstrom, symmetry, oxidation
        See `structure_features`.

    Returns
    -------
    dict
        Features by element.

    Raises
    ------
    StructureError
        If no spectrum can be computed for the structure (see `checks.validate`).
    """
    if elements is None or len(elements) != 1:
        validate(structure)
    for element in elements or ():
        validate(structure, element)
    if symmetry is None:
        symmetry = crystal_symmetry(structure)
    if oxidation is None:
        oxidation = guess_oxidation_states(structure, symmetry=symmetry)
    numbers = atomic_numbers(structure)
    density = float(_atomic_masses()[numbers].sum()) / structure.volume * _AMU_PER_CUBIC_ANGSTROM
    found = {}
    for element in elements or absorbers(structure):
        orbits = site_orbits(structure, element, symmetry=symmetry)
        sites = np.concatenate([orbit.indices for orbit in orbits])
        reach = max(moment_cutoff_angstrom, CUTOFF_ANGSTROM)
        near = neighbors_at_least(structure, sites, reach, CLUSTER_NEIGHBORS)
        site_moments = _site_moments(
            near, oxidation.values, orbits, exponent, moment_cutoff_angstrom
        )
        frame = principal_frame(mean(site_moments), symmetry.conventional_lattice)
        en_mean, en_std, n_without = _electronegativity(near, numbers, sites)
        core = TRANSITION_METALS[element] - _ARGON_CORE_ELECTRONS
        around = surroundings_features(near, numbers, sites)
        found[element] = StructureFeatures(
            element=element,
            qams=float(matrix_sum(qam(site_moments, frame.axes)).mean()),
            dams=float(matrix_sum(dam(site_moments, frame.axes)).mean()),
            iams=float(matrix_sum(iam(site_moments, frame.axes)).mean()),
            density=density,
            n_sg=symmetry.number / _N_SPACE_GROUPS,
            n_3d=core - float(oxidation.values[sites].mean()),
            en_mean=en_mean,
            en_std=en_std,
            **_normalized(near, len(structure), orbits),
            atomic_number=TRANSITION_METALS[element],
            atomic_fraction=len(sites) / len(structure),
            n_elements=len(np.unique(numbers)),
            volume_per_atom=structure.volume / len(structure),
            tensor_freedom=_freedom(orbits),
            crystal_freedom=tensor_freedom(symmetry.rotations),
            surroundings={name: float(values.mean()) for name, values in around.items()},
            n_without_electronegativity=n_without,
            oxidation_method=oxidation.method,
            oxidation_states=oxidation.values,
            frame=frame,
            orbits=tuple(orbits),
            site_indices=sites,
            site_moments=site_moments,
            space_group_number=symmetry.number,
            space_group_symbol=symmetry.symbol,
            exponent=exponent,
            moment_cutoff_angstrom=moment_cutoff_angstrom,
        )
    return found


def _site_moments(
    near: Neighbors,
    charges: FloatArray,
    orbits: Sequence[SiteOrbit],
    exponent: float,
    cutoff_angstrom: float,
) -> Moments:
    """Return the moments of all sites of the orbits, exactly symmetric where they nearly are."""
    inside = near.distances_angstrom <= cutoff_angstrom + SHELL_TOLERANCE_ANGSTROM
    own = moments_of_sites(
        near.centers[inside],
        near.vectors_angstrom[inside],
        charges[near.indices[inside]],
        len(near.starts) - 1,
        exponent,
    )
    parts = []
    first = 0
    for orbit in orbits:
        last = first + orbit.multiplicity
        one = _carried_back(own[slice(first, last)], orbit.rotations)
        parts.append(carried(mean(carried(one, orbit.site_rotations)), orbit.rotations))
        first = last
    symmetric = joined(parts)
    return symmetric if _asymmetry(own, symmetric) < SYMMETRY_NOISE else own


def _normalized(near: Neighbors, n_atoms: int, orbits: Sequence[SiteOrbit]) -> dict[str, float]:
    """Return the normalized anisotropy of the inertia: of the sites, and of their mean inertia."""
    found = {}
    for p in NORMALIZED_EXPONENTS:
        site_moments = _site_moments(near, np.zeros(n_atoms), orbits, p, CUTOFF_ANGSTROM)
        found[f"in{p}"] = float(normalized_inertia_anisotropy(site_moments).mean())
        found[f"ic{p}"] = float(normalized_inertia_anisotropy(mean(site_moments)))
    return found


def _freedom(orbits: Sequence[SiteOrbit]) -> float:
    """Return what symmetry leaves to the tensor of a site, mean over the sites."""
    each = [tensor_freedom(orbit.site_rotations) for orbit in orbits]
    return float(np.average(each, weights=[orbit.multiplicity for orbit in orbits]))


def _asymmetry(own: Moments, symmetric: Moments) -> float:
    """Return the largest difference of two batches of moments, as a part of their size."""
    charged = own.quadrupole_scale.max() > 0
    parts = [
        abs(own.inertia - symmetric.inertia).max()
        / max(np.trace(own.inertia, axis1=-2, axis2=-1).max(), np.finfo(float).tiny)
    ]
    if charged:
        parts += [
            abs(own.quadrupole - symmetric.quadrupole).max() / own.quadrupole_scale.max(),
            abs(own.dipole - symmetric.dipole).max() / own.dipole_scale.max(),
        ]
    return float(max(parts))


def _carried_back(of: Moments, rotations: FloatArray) -> Moments:
    """Return the mean of an orbit's moments, each carried to the representative."""
    inverse = np.swapaxes(rotations, -1, -2)
    return mean(
        Moments(
            quadrupole=inverse @ of.quadrupole @ rotations,
            dipole=(inverse @ of.dipole[:, :, None])[:, :, 0],
            inertia=inverse @ of.inertia @ rotations,
            quadrupole_scale=of.quadrupole_scale,
            dipole_scale=of.dipole_scale,
        )
    )


def _electronegativity(
    near: Neighbors, numbers: IntArray, sites: IntArray
) -> tuple[float, float, int]:
    """Return mean and spread over the sites' clusters, and the most atoms left out of one."""
    n_sites = len(sites)
    limits = near.distances_angstrom[near.starts[:-1] + CLUSTER_NEIGHBORS - 1]
    inside = near.distances_angstrom <= limits[near.centers] + SHELL_TOLERANCE_ANGSTROM
    owner = np.concatenate([np.arange(n_sites), near.centers[inside]])
    value = _electronegativities()[np.concatenate([numbers[sites], numbers[near.indices[inside]]])]
    known = ~np.isnan(value)
    without = np.bincount(owner[~known], minlength=n_sites)
    owner, value = owner[known], value[known]
    count = np.bincount(owner, minlength=n_sites)  # the absorber itself has a value: at least 1
    means = np.bincount(owner, value, minlength=n_sites) / count
    variance = np.bincount(owner, (value - means[owner]) ** 2, minlength=n_sites) / count
    return float(means.mean()), float(np.sqrt(variance).mean()), int(without.max())


@lru_cache(maxsize=1)
def _electronegativities() -> FloatArray:
    """Return Pauling electronegativities by atomic number, NaN where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one warning for each element without
        return np.array([np.nan, *(float(Element.from_Z(z).X) for z in range(1, 119))])


@lru_cache(maxsize=1)
def _atomic_masses() -> FloatArray:
    """Return standard atomic masses by atomic number, in atomic mass units."""
    return np.array([np.nan, *(float(Element.from_Z(z).atomic_mass) for z in range(1, 119))])
