"""
Moments of the surroundings of an absorber: quadrupole, dipole and inertia.

With neighbours n at r_n from the absorber (Angstrom), charges q_n (e) and weights w_n = r_n^-p:

    Q_ij = sum_n q_n (3 r_i r_j - r^2 d_ij) w_n     quadrupole   e A^(2-p)
    D_i  = sum_n q_n r_i w_n                        dipole       e A^(1-p)
    I_ij = sum_n     (r^2 d_ij - r_i r_j) w_n       inertia        A^(2-p)

Source: eq 3 of the VtC-XES anisotropy paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vtc_flows.errors import InputError
from vtc_flows.physics.tensors import COLUMNS, PACKED, ROWS
from vtc_flows.physics.validation import finite_array, orthonormal

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

#: Default exponent p of the weights.
DEFAULT_EXPONENT = 8.0


@dataclass(frozen=True, eq=False)
class Moments:
    """
    Moments of one absorber, or of many along leading axes.

    Attributes
    ----------
    quadrupole : ndarray of shape (..., 3, 3)
        Q, e A^(2-p), symmetric and traceless.
    dipole : ndarray of shape (..., 3)
        D, e A^(1-p).
    inertia : ndarray of shape (..., 3, 3)
        I, A^(2-p), symmetric.
    quadrupole_scale : ndarray of shape (...)
        2 sum |q| r^2 w: the largest eigenvalue that Q could have. What is left of Q in a cubic
        surrounding is rounding of this.
    dipole_scale : ndarray of shape (...)
        sum |q| r w: the greatest length that D could have.
    """

    quadrupole: FloatArray
    dipole: FloatArray
    inertia: FloatArray
    quadrupole_scale: FloatArray
    dipole_scale: FloatArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Leading axes: () for one absorber, (n_sites,) for n_sites of them."""
        return self.dipole.shape[:-1]

    def __getitem__(self, index: int | slice | NDArray[np.intp]) -> Moments:
        """Return the moments of one absorber, or of some."""
        return Moments(
            self.quadrupole[index],
            self.dipole[index],
            self.inertia[index],
            self.quadrupole_scale[index],
            self.dipole_scale[index],
        )


def moments(
    positions: ArrayLike, charges: ArrayLike, exponent: float = DEFAULT_EXPONENT
) -> Moments:
    """
    Return the moments of one absorber's surroundings.

    Parameters
    ----------
    positions : array_like of shape (n, 3)
        Neighbours relative to the absorber, Angstrom; the absorber itself left out.
    charges : array_like of shape (n,)
        Oxidation state of each neighbour, e.
    exponent : float
        p in w = r^-p.

    Raises
    ------
    InputError
        On a wrong shape, NaN, or a neighbour on top of the absorber.

    Examples
    --------
    >>> octahedron = np.vstack((2.0 * np.eye(3), -2.0 * np.eye(3)))
    >>> cubic = moments(octahedron, [-2.0] * 6, exponent=0)
    >>> np.abs(cubic.quadrupole).max().item(), cubic.inertia.diagonal().tolist()
    (0.0, [16.0, 16.0, 16.0])
    """
    table = finite_array(positions, "positions", (None, 3), leading=False)
    absorber = np.zeros(len(table), dtype=np.intp)
    return moments_of_sites(absorber, table, charges, 1, exponent)[0]


def moments_of_sites(
    absorber: ArrayLike,
    positions: ArrayLike,
    charges: ArrayLike,
    n_sites: int,
    exponent: float = DEFAULT_EXPONENT,
) -> Moments:
    """
    Return the moments of many absorbers at once, from one flat neighbour list.

    Parameters
    ----------
    absorber : array_like of int, shape (n,)
        Which absorber (0 to n_sites - 1) each neighbour belongs to, in any order.
    positions : array_like of shape (n, 3)
        Neighbours relative to their absorber, Angstrom.
    charges : array_like of shape (n,)
        Oxidation state of each neighbour, e.
    n_sites : int
        Number of absorbers. One without neighbours has zero moments.
    exponent : float
        p in w = r^-p.

    Returns
    -------
    Moments
        With leading shape (n_sites,).

    Raises
    ------
    InputError
        On a wrong shape, NaN, an absorber out of range, or a neighbour on top of its absorber.

    Examples
    --------
    >>> both = moments_of_sites([0, 1, 1], [[0, 0, 1], [1, 0, 0], [-1, 0, 0]], [2, 1, 1], 2)
    >>> both.dipole.tolist(), both.quadrupole[1].diagonal().tolist()
    ([[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]], [4.0, -2.0, -2.0])
    """
    r = finite_array(positions, "positions", (None, 3), leading=False)
    q = finite_array(charges, "charges", (None,), leading=False)
    site = np.asarray(absorber)
    if site.shape != (len(r),) or q.shape != (len(r),):
        raise InputError(
            f"{len(r)} neighbours, {q.size} charges and absorber indices of shape {site.shape} "
            "do not belong together; give one of each per neighbour"
        )
    if len(r) and (not np.issubdtype(site.dtype, np.integer) or site.min() < 0):
        raise InputError("absorber indices must be whole numbers from 0 on")
    if len(r) and site.max() >= n_sites:
        raise InputError(f"absorber index {site.max()} is out of range for {n_sites} sites")
    if not np.isfinite(exponent):
        raise InputError(f"exponent {exponent} is not a finite number")
    squared = np.einsum("ni,ni->n", r, r)
    if len(r) and squared.min() == 0.0:
        raise InputError("a neighbour lies on its absorber; leave the absorber itself out")
    return _summed(site.astype(np.intp), r, q, squared, n_sites, float(exponent))


def _summed(
    site: NDArray[np.intp],
    r: FloatArray,
    q: FloatArray,
    squared: FloatArray,
    n_sites: int,
    exponent: float,
) -> Moments:
    """Add up the checked neighbours, absorber by absorber."""
    w = squared ** (-0.5 * exponent)
    qw = q * w
    x = np.ascontiguousarray(r.T)

    def per_site(terms: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(site, weights=terms, minlength=n_sites), dtype=np.float64)

    products = [x[i] * x[j] for i, j in zip(ROWS, COLUMNS, strict=True)]
    second = np.stack([per_site(qw * each) for each in products], axis=-1)[:, PACKED]
    free = np.stack([per_site(w * each) for each in products], axis=-1)[:, PACKED]
    size = np.abs(qw)
    return Moments(
        quadrupole=3.0 * second - _traces(second),
        dipole=np.stack([per_site(qw * each) for each in x], axis=-1),
        inertia=_traces(free) - free,
        quadrupole_scale=2.0 * per_site(size * squared),
        dipole_scale=per_site(size * np.sqrt(squared)),
    )


def _traces(matrices: FloatArray) -> FloatArray:
    """Return trace(M) times the unit matrix, shape (..., 3, 3)."""
    return np.asarray(np.trace(matrices, axis1=-2, axis2=-1)[..., None, None] * np.eye(3))


def carried(of: Moments, rotations: ArrayLike) -> Moments:
    """
    Carry the moments of one absorber by one or many operations.

    Q' = W Q W^T, I' = W I W^T, D' = W D: the moments of the sites that symmetry makes of it.

    Parameters
    ----------
    of : Moments
        Of one absorber (leading shape ()).
    rotations : array_like of shape (..., 3, 3)
        Cartesian W, active, proper or not.

    Returns
    -------
    Moments
        With the leading shape of `rotations`.

    Examples
    --------
    >>> one = moments([[0, 0, 1]], [1.0])
    >>> carried(one, -np.eye(3)).dipole.tolist()
    [0.0, 0.0, -1.0]
    """
    if of.shape != ():
        raise InputError(f"moments of one site are carried at a time, these are {of.shape}")
    w = orthonormal(rotations, "rotations")
    transposed = np.swapaxes(w, -1, -2)
    leading = w.shape[:-2]
    return Moments(
        quadrupole=w @ of.quadrupole @ transposed,
        dipole=w @ of.dipole,
        inertia=w @ of.inertia @ transposed,
        quadrupole_scale=np.broadcast_to(of.quadrupole_scale, leading),
        dipole_scale=np.broadcast_to(of.dipole_scale, leading),
    )


def joined(parts: list[Moments]) -> Moments:
    """
    Put moments of several sites, or of several orbits, into one batch of shape (n_sites,).

    Examples
    --------
    >>> one = moments([[0, 0, 1]], [1.0])
    >>> joined([one, carried(one, [np.eye(3), -np.eye(3)])]).shape
    (3,)
    """
    if not parts:
        raise InputError("there are no moments to put together")
    return Moments(
        quadrupole=np.concatenate([m.quadrupole.reshape(-1, 3, 3) for m in parts]),
        dipole=np.concatenate([m.dipole.reshape(-1, 3) for m in parts]),
        inertia=np.concatenate([m.inertia.reshape(-1, 3, 3) for m in parts]),
        quadrupole_scale=np.concatenate([m.quadrupole_scale.reshape(-1) for m in parts]),
        dipole_scale=np.concatenate([m.dipole_scale.reshape(-1) for m in parts]),
    )


def mean(of: Moments | list[Moments]) -> Moments:
    """
    Return the mean over all sites: of a batch, or of a list.

    The mean over ``carried(m, site_rotations)`` makes the moments of one site exactly symmetric
    under its point group, whatever the noise of the coordinates.

    Examples
    --------
    >>> one = moments([[0, 0, 1]], [1.0])
    >>> mean(carried(one, [np.eye(3), -np.eye(3)])).dipole.tolist()
    [0.0, 0.0, 0.0]
    """
    batch = joined(of if isinstance(of, list) else [of])
    if batch.shape == (0,):
        raise InputError("the mean over no sites is not defined")
    return Moments(
        quadrupole=batch.quadrupole.mean(axis=0),
        dipole=batch.dipole.mean(axis=0),
        inertia=batch.inertia.mean(axis=0),
        quadrupole_scale=batch.quadrupole_scale.mean(axis=0),
        dipole_scale=batch.dipole_scale.mean(axis=0),
    )
