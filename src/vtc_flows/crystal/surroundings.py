"""
What surrounds an absorbing element, in numbers that depend on no frame and no oxidation states.

Distances count relative to bonds, x = r / (R_absorber + R_neighbor) with covalent radii R of
Cordero et al. (Dalton Trans. 2832 (2008)), wherever neighbors of different size are compared. What
is called the shell here are all atoms nearer than x = 1.25, with a soft edge,
1 / (1 + exp((x - 1.25) / 0.06)), so that no feature jumps when an atom moves. Neighbors count up to
8 Angstrom; each feature is the mean over the sites.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.analysis.molecule_structure_comparator import CovalentRadius
from pymatgen.core.periodic_table import Element

from vtc_flows.crystal.neighbors import SHELL_TOLERANCE_ANGSTROM
from vtc_flows.physics.surroundings import Surroundings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtc_flows.crystal.neighbors import Neighbors

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

#: Distance up to which neighbors count, Angstrom.
CUTOFF_ANGSTROM = 8.0

_BOND_EXPONENTS = (6, 12, 18)
_BIAXIAL_EXPONENTS = (8, 14)
_WEIGHTED_EXPONENTS = (4, 8, 12)
_ORDERS = (1, 3, 4, 6)
_ORDER_EXPONENT, _NEAR_EXPONENT, _METAL_EXPONENT = 8, 12, 6
_SHELL_EDGE, _SHELL_WIDTH = 1.25, 0.06

#: Each feature and what it is.
SURROUNDINGS = {
    **{f"xn{p}": f"anisotropy with weights x^-{p}" for p in _BOND_EXPONENTS},
    **{f"xb{p}": f"biaxiality with weights x^-{p}" for p in _BOND_EXPONENTS},
    **{f"ib{p}": f"biaxiality with weights r^(2-{p})" for p in _BIAXIAL_EXPONENTS},
    **{
        f"en_in{p}": f"anisotropy with weights max(0, electronegativity difference) r^(2-{p})"
        for p in _WEIGHTED_EXPONENTS
    },
    **{f"z_in{p}": f"anisotropy with weights Z r^(2-{p})" for p in _WEIGHTED_EXPONENTS},
    "metal_xn6": "anisotropy of the transition metals alone, weights x^-6",
    "shell_n": "anisotropy of the shell",
    "shell_count": "atoms in the shell",
    "nearest_angstrom": "distance of the nearest neighbor",
    "nearest_x": "distance of the neighbor with the shortest bond, relative to the radii",
    "shell_angstrom": "mean distance in the shell",
    "shell_en": "mean Pauling electronegativity of the shell",
    "shell_en_std": "standard deviation of it",
    "shell_z": "mean atomic number of the shell",
    "shell_group": "mean group of the periodic table in the shell",
    "metal_share": "share of the transition metals in the sum of x^-12",
    "hydrogen_share": "share of hydrogen in the sum of x^-12",
    **{f"q{degree}": f"bond-orientational order of degree {degree}" for degree in _ORDERS},
}

#: Their names, in the order in which they stand in documents and tables.
SURROUNDINGS_NAMES = tuple(SURROUNDINGS)


@dataclass(frozen=True, eq=False)
class _Elements:
    """Numbers of the elements, by atomic number."""

    radii_angstrom: FloatArray
    electronegativity: FloatArray
    group: FloatArray


def surroundings_features(
    near: Neighbors, numbers: IntArray, sites: IntArray
) -> dict[str, FloatArray]:
    """
    Return the surroundings of sites in numbers.

    Parameters
    ----------
    near : Neighbors
        Of the sites, up to `CUTOFF_ANGSTROM` or further.
    numbers : ndarray of int of shape (n_atoms,)
        Atomic numbers of the structure's sites.
    sites : ndarray of int of shape (n_sites,)
        Which of them are the centers of `near`.

    Returns
    -------
    dict of str to ndarray of shape (n_sites,)
        In the order of `SURROUNDINGS_NAMES`, which say what each is.
    """
    inside = near.distances_angstrom <= CUTOFF_ANGSTROM + SHELL_TOLERANCE_ANGSTROM
    centers = near.centers[inside]
    distance = near.distances_angstrom[inside]
    own, other = numbers[sites][centers], numbers[near.indices[inside]]
    around = Surroundings(centers, near.vectors_angstrom[inside] / distance[:, None], len(sites))
    known = _elements()
    x = distance / (known.radii_angstrom[own] + known.radii_angstrom[other])
    found: dict[str, FloatArray] = {}
    for p in _BOND_EXPONENTS:
        found[f"xn{p}"], found[f"xb{p}"] = around.shape(x**-p)
    for p in _BIAXIAL_EXPONENTS:
        found[f"ib{p}"] = around.shape(distance ** (2.0 - p))[1]
    excess = known.electronegativity[other] - known.electronegativity[own]
    excess = np.maximum(np.nan_to_num(excess), 0.0)
    for p in _WEIGHTED_EXPONENTS:
        found[f"en_in{p}"] = around.shape(excess * distance ** (2.0 - p))[0]
        found[f"z_in{p}"] = around.shape(other * distance ** (2.0 - p))[0]
    is_metal = (known.group[other] >= 3) & (known.group[other] <= 12)
    found["metal_xn6"] = around.shape(is_metal * x**-_METAL_EXPONENT)[0]
    found |= _shell(around, distance, x, other)
    near_weight = x**-_NEAR_EXPONENT
    found["metal_share"] = around.mean(is_metal, near_weight)
    found["hydrogen_share"] = around.mean(other == 1, near_weight)
    for degree in _ORDERS:
        found[f"q{degree}"] = around.order(x**-_ORDER_EXPONENT, degree)
    return {name: found[name] for name in SURROUNDINGS_NAMES}


def _shell(
    around: Surroundings, distance: FloatArray, x: FloatArray, other: IntArray
) -> dict[str, FloatArray]:
    """Return what the shell is of."""
    known = _elements()
    share = 1 / (1 + np.exp((x - _SHELL_EDGE) / _SHELL_WIDTH))
    electronegativity = known.electronegativity[other]
    has_one = share * ~np.isnan(electronegativity)
    electronegativity = np.nan_to_num(electronegativity)
    return {
        "shell_n": around.shape(share)[0],
        "shell_count": around.total(share),
        "nearest_angstrom": around.least(distance),
        "nearest_x": around.least(x),
        "shell_angstrom": around.mean(distance, share),
        "shell_en": around.mean(electronegativity, has_one),
        "shell_en_std": around.deviation(electronegativity, has_one),
        "shell_z": around.mean(other, share),
        "shell_group": around.mean(known.group[other], share),
    }


@lru_cache(maxsize=1)
def _elements() -> _Elements:
    elements = [Element.from_Z(z) for z in range(1, 119)]
    largest = max(CovalentRadius.radius.values())  # stands for the heaviest, which have none
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one warning for each element without a value
        electronegativity = [float(element.X) for element in elements]
    return _Elements(
        np.array([np.nan, *(CovalentRadius.radius.get(e.symbol, largest) for e in elements)]),
        np.array([np.nan, *electronegativity]),
        np.array([0.0, *(float(element.group) for element in elements)]),
    )
