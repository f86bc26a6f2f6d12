"""
The shared frame of a crystal: principal axes of its mean moments, with rules for equal eigenvalues.

The axes are the eigenvectors of Q averaged over all sites, eigenvalues ascending. Where Q leaves a
plane or all of space undetermined, these decide in turn, each within what is still free:

1. the mean inertia I, eigenvalues ascending;
2. the direction of the mean dipole D, which becomes the first axis of the free space;
3. the lattice vectors a, b, c, orthogonalised in this order.

Step 3 is a convention and not physics: `best_frame` replaces it by the choice that maximises the
mean SAMS. (The quadrupole frame is that of the VtC-XES anisotropy paper; the rules are ours.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from vtc_flows.errors import InputError
from vtc_flows.physics.orientation import maximise, maximise_about, mean_values
from vtc_flows.physics.rotations import with_canonical_signs
from vtc_flows.physics.sams import scaled_factors
from vtc_flows.physics.validation import finite_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from vtc_flows.physics.moments import Moments
    from vtc_flows.physics.sams import Gram

    FloatArray = NDArray[np.float64]

Freedom = Literal["none", "axis", "all"]

#: Eigenvalues nearer than this part of the largest are equal.
RELATIVE_TOLERANCE = 1e-6

#: Eigenvalues (or a dipole) below this part of what the same neighbours could give are noise:
#: atoms of a relaxed structure lie on their symmetric places to about 1e-6 of a bond.
NOISE_FLOOR = 1e-6

#: A lattice vector with less than this part of its length in the free space is skipped.
LATTICE_FLOOR = 1e-4

#: Mean SAMS must gain more than this part of it, and more than this in eV^-1/2, for a frame to
#: leave the lattice's axes: less is the noise of a spectrum.
WORTHWHILE_GAIN = 1e-6


@dataclass(frozen=True, eq=False)
class Frame:
    """
    A crystal's shared frame and what fixed it.

    Attributes
    ----------
    axes : ndarray of shape (3, 3)
        Right-handed, the axes as COLUMNS, in the Cartesian frame of the structure as given. The
        signs are a convention.
    eigenvalues : ndarray of shape (3,)
        Diagonal of F^T Q F for the mean quadrupole, ascending (to rounding), e A^(2-p).
    freedom : {"none", "axis", "all"}
        What the moments leave undetermined: nothing, the angle about one axis, everything.
    free_axis : int or None
        Column about which the frame may still turn, with freedom "axis".
    resolved_by : tuple of str
        What had a say, in order, of "quadrupole", "inertia", "dipole", "lattice", "sams".
    """

    axes: FloatArray
    eigenvalues: FloatArray
    freedom: Freedom
    free_axis: int | None
    resolved_by: tuple[str, ...]


def principal_frame(mean: Moments, lattice: ArrayLike) -> Frame:
    """
    Return the principal frame of moments averaged over all sites of the absorbing element.

    Parameters
    ----------
    mean : Moments
        Mean over ALL sites in the cell, orbit operations applied.
    lattice : array_like of shape (3, 3)
        Lattice vectors as rows, Angstrom, oriented as the structure. The conventional cell's, so
        that the result does not depend on the cell chosen.

    Raises
    ------
    InputError
        If the moments are of several sites, or the lattice vectors lie in a plane.

    Notes
    -----
    Eigenvalues of Q count as equal when they differ by less than `RELATIVE_TOLERANCE` of the
    largest or `NOISE_FLOOR` of ``quadrupole_scale``; all three do when none exceeds that floor.
    For I the floor is that part of its trace, for D that part of ``dipole_scale``.

    Examples
    --------
    >>> from vtc_flows.physics.moments import moments
    >>> chain = moments([[0, 0, 1.0], [0, 0, -1.0]], [1.0, 1.0])
    >>> frame = principal_frame(chain, [[0, 3, 0], [-3, 0, 0], [0, 0, 2]])
    >>> np.abs(frame.axes[:, 2]).tolist(), frame.freedom, frame.free_axis, frame.resolved_by
    ([0.0, 0.0, 1.0], 'axis', 2, ('quadrupole', 'lattice'))
    """
    if mean.shape != ():
        raise InputError(
            f"the frame comes from moments averaged over sites, these are of shape {mean.shape}"
        )
    rows = finite_array(lattice, "lattice", (3, 3), leading=False)
    lengths = np.linalg.norm(rows, axis=1)
    if abs(np.linalg.det(rows)) <= 1e-6 * np.prod(lengths):
        raise InputError("the lattice vectors lie in a plane; give three that span space")

    resolved_by = ["quadrupole"]
    spaces = _split(np.eye(3), mean.quadrupole, NOISE_FLOOR * float(mean.quadrupole_scale))
    if len(spaces) == 1:
        resolved_by = []
    for name, further in (("inertia", _by_inertia), ("dipole", _by_dipole)):
        finer = [part for space in spaces for part in further(space, mean)]
        if len(finer) > len(spaces):
            resolved_by.append(name)
        spaces = finer
    freedom, free_axis = _freedom(spaces)
    if freedom != "none":
        resolved_by.append("lattice")
    axes = with_canonical_signs(np.hstack([_along_lattice(space, rows) for space in spaces]))
    return Frame(
        axes=axes,
        eigenvalues=np.einsum("ia,ij,ja->a", axes, mean.quadrupole, axes),
        freedom=freedom,
        free_axis=free_axis,
        resolved_by=tuple(resolved_by),
    )


def best_frame(frame: Frame, grams: Sequence[Gram]) -> Frame:
    """
    Use the freedom that the moments leave to maximise the mean SAMS.

    Parameters
    ----------
    frame : Frame
        From `principal_frame`.
    grams : sequence of Gram
        One for every site.

    Returns
    -------
    Frame
        The same with freedom "none"; also where no frame gains more than `WORTHWHILE_GAIN`, so
        that rounding does not turn the axes. Else its axes are, of all that reach the
        maximum, those nearest the lattice's, and ``resolved_by`` names "sams" for "lattice".

    Raises
    ------
    InputError
        If there are no sites, or their windows or broadenings differ.

    Examples
    --------
    >>> from vtc_flows.physics.moments import moments
    >>> from vtc_flows.physics.sams import gram
    >>> uncharged = principal_frame(moments([[1.0, 0, 0]], [0.0]), np.eye(3))
    >>> along_yz = gram([0.0, 1.0], [[2, 1, 1, 1, 0, 0.0]] * 2, (0, 1))
    >>> uncharged.freedom, best_frame(uncharged, [along_yz]).resolved_by
    ('axis', ('inertia', 'sams'))
    """
    if frame.freedom == "none":
        return frame
    factors = scaled_factors(grams)
    if frame.free_axis is None:
        value, axes = maximise(factors, frame.axes)
    else:
        value, axes = maximise_about(factors, frame.axes, frame.free_axis)
    if value - float(mean_values(factors, frame.axes)) <= WORTHWHILE_GAIN * max(value, 1.0):
        return frame
    decided = (*(name for name in frame.resolved_by if name != "lattice"), "sams")
    turn = frame.axes.T @ axes
    eigenvalues = np.einsum("ji,j->i", turn**2, frame.eigenvalues)
    return replace(frame, axes=axes, eigenvalues=eigenvalues, resolved_by=decided)


def _split(space: FloatArray, matrix: FloatArray, floor: float) -> list[FloatArray]:
    """Split a space (columns) into the eigenspaces of a matrix in it, eigenvalues ascending."""
    values, vectors = np.linalg.eigh(space.T @ matrix @ space)
    largest = float(np.abs(values).max())
    if largest <= floor:
        return [space]
    apart = np.diff(values) > max(RELATIVE_TOLERANCE * largest, floor)
    return np.split(space @ vectors, np.flatnonzero(apart) + 1, axis=1)


def _by_inertia(space: FloatArray, mean: Moments) -> list[FloatArray]:
    """Split a space by the mean inertia."""
    if space.shape[1] == 1:
        return [space]
    return _split(space, mean.inertia, NOISE_FLOOR * float(np.trace(mean.inertia)))


def _by_dipole(space: FloatArray, mean: Moments) -> list[FloatArray]:
    """Split a space into the direction of the mean dipole in it and what is perpendicular."""
    if space.shape[1] == 1:
        return [space]
    inside = space.T @ mean.dipole
    if np.linalg.norm(inside) <= NOISE_FLOOR * float(mean.dipole_scale):
        return [space]
    # the full QR completes the direction to a basis of the space
    basis = space @ np.linalg.qr(inside[:, None], mode="complete").Q
    return [basis[:, :1], basis[:, 1:]]


def _freedom(spaces: list[FloatArray]) -> tuple[Freedom, int | None]:
    """Return what one to three eigenspaces leave open."""
    if len(spaces) == 3:
        return "none", None
    if len(spaces) == 1:
        return "all", None
    return "axis", 0 if spaces[0].shape[1] == 1 else 2


def _along_lattice(space: FloatArray, lattice: FloatArray) -> FloatArray:
    """Return axes that span a space: the parts of a, b, c in it, orthogonalised in this order."""
    if space.shape[1] == 1:
        return space
    axes = np.zeros((3, 0))
    for vector in lattice:
        rest = space @ (space.T @ vector)
        rest -= axes @ (axes.T @ rest)
        length = np.linalg.norm(rest)
        if length > LATTICE_FLOOR * np.linalg.norm(vector):
            axes = np.column_stack((axes, rest / length))
    return axes
