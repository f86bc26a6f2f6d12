"""Crystals stretched or compressed along one of their own axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pymatgen.core.lattice import Lattice

from vtc_flows.crystal.sites import crystal_symmetry
from vtc_flows.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

    FloatArray = NDArray[np.float64]

Axis = Literal["a", "b", "c"]
AXES: tuple[Axis, ...] = ("a", "b", "c")

#: Relative elongations beyond it are no strain of a crystal any more.
LARGEST_STRAIN = 0.5


def axis_direction(structure: Structure, axis: Axis) -> FloatArray:
    """
    Return the direction of an axis of the conventional cell.

    Parameters
    ----------
    structure : Structure
    axis : {"a", "b", "c"}

    Returns
    -------
    ndarray of shape (3,)
        Unit vector, Cartesian, in the frame of the structure as it was given.

    Raises
    ------
    StructureError
        If the symmetry cannot be found.
    """
    vector = crystal_symmetry(structure).conventional_lattice[AXES.index(axis)]
    return np.asarray(vector / np.linalg.norm(vector))


def stretched(structure: Structure, direction: FloatArray, strain: float) -> Structure:
    """
    Return a crystal that is longer or shorter along a direction, and as wide as before.

    Parameters
    ----------
    structure : Structure
    direction : ndarray of shape (3,)
        Cartesian, of any length.
    strain : float
        Relative elongation; negative where the crystal is compressed.

    Returns
    -------
    Structure
        Fractional coordinates stay as they are: atoms do not relax within the cell.

    Raises
    ------
    InputError
        If the strain is beyond 50 %.

    Notes
    -----
    r' = (1 + e n n^T) r for every lattice vector r, with n along the direction and e the strain.

    Examples
    --------
    >>> from pymatgen.core.structure import Structure
    >>> cubic = Structure(np.eye(3) * 4.0, ["Ni"], [[0, 0, 0]])
    >>> [round(length, 6) for length in stretched(cubic, np.array([0, 0, 2.0]), 0.01).lattice.abc]
    [4.0, 4.0, 4.04]
    """
    if not abs(strain) <= LARGEST_STRAIN:
        raise InputError(f"a strain of {strain:.0%} is beyond {LARGEST_STRAIN:.0%}")
    unit = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    deformation = np.eye(3) + strain * np.outer(unit, unit)
    result = structure.copy()
    result.lattice = Lattice(structure.lattice.matrix @ deformation)  # rows; it is symmetric
    return result
