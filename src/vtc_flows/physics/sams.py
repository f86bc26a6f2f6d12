r"""
SAM and SAMS: how much a spectrum changes with the direction of polarization.

In a frame with axes f_1 f_2 f_3 and mu_i(E) = f_i^T T(E) f_i, over an energy window,

    SAM_ij = sqrt( integral (mu_i - mu_j)^2 dE ) / integral mu_iso dE        eV^-1/2
    SAMS   = SAM_12 + SAM_13 + SAM_23

(eq 1 and 2 of the VtC-XES anisotropy paper). With the 6-vector t = (T_xx, T_yy, T_zz, sqrt2 T_yz,
sqrt2 T_xz, sqrt2 T_xy), the Gram matrix G = integral t t^T dE, N = integral mu_iso dE and m_i the
6-vector of f_i f_i^T, SAM_ij = sqrt((m_i - m_j)^T G (m_i - m_j)) / N: one integration serves every
frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vtc_flows.errors import InputError
from vtc_flows.physics.orientation import maximise, mean_values
from vtc_flows.physics.rotations import FIRST, SCALE, SECOND, pair_vectors, representation
from vtc_flows.physics.tensors import to_matrix
from vtc_flows.physics.validation import finite_array, orthonormal
from vtc_flows.physics.windows import (
    DEFAULT_WINDOW_EV,
    checked_window,
    clip,
    gaussian_broaden,
    increasing_energies,
    trapezoid_weights,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gram:
    """
    All that SAM and SAMS need of a tensor spectrum, for any frame.

    Attributes
    ----------
    factor : ndarray of shape (6, 6)
        R with G = R^T R, for the scaled components (xx, yy, zz, sqrt2 yz, sqrt2 xz, sqrt2 xy) of
        the spectrum without its isotropic part, which cancels in every difference. Kept instead
        of G so that SAM_ij = |R (m_i - m_j)| / N loses no digits: 1e-16 of the spectrum for a
        cubic site, where the root of a rounded G would leave 1e-8.
    norm : float
        N, the integral of the isotropic spectrum: intensity unit times eV.
    window_ev : tuple of float
        Window of both integrals relative to the Fermi level, eV.
    fwhm_ev : float
        Gaussian broadening applied before the integrals, eV.
    """

    factor: FloatArray
    norm: float
    window_ev: tuple[float, float]
    fwhm_ev: float = 0.0

    @property
    def matrix(self) -> FloatArray:
        """G, shape (6, 6), squared intensity times eV."""
        return self.factor.T @ self.factor


def gram(
    energy_ev: ArrayLike,
    tensor: ArrayLike,
    window_ev: tuple[float, float] = DEFAULT_WINDOW_EV,
    fwhm_ev: float = 0.0,
) -> Gram:
    """
    Integrate a tensor spectrum into its Gram form.

    Parameters
    ----------
    energy_ev : array_like of shape (n,)
        Energies relative to the Fermi level, strictly increasing, spacing free.
    tensor : array_like of shape (n, 6)
        Tensor spectrum packed as (xx, yy, zz, yz, xz, xy).
    window_ev : (low, high)
        Window relative to the Fermi level; an edge inside a grid step is interpolated.
    fwhm_ev : float
        Gaussian broadening, applied on the whole grid before the window is cut.

    Raises
    ------
    InputError
        On wrong shapes or NaN, a grid that does not increase, a window beyond the spectrum, or an
        isotropic spectrum whose integral is not positive.

    Examples
    --------
    >>> along_z = gram([-1.0, 0.0, 1.0], [[0, 0, 3.0, 0, 0, 0]] * 3, (-1, 1))
    >>> along_z.norm
    2.0
    """
    energy = increasing_energies(energy_ev)
    packed = finite_array(tensor, "tensor", (None, 6), leading=False)
    window = checked_window(window_ev)
    inside_ev, inside = clip(energy, gaussian_broaden(energy, packed, fwhm_ev), window)
    weights = trapezoid_weights(inside_ev)
    iso = inside[:, :3].mean(axis=1, keepdims=True)
    norm = float(weights @ iso[:, 0])
    if not norm > 0.0:
        raise InputError(
            f"the isotropic spectrum integrates to {norm:g} over {window} eV; SAMS needs a "
            "positive intensity: check the spectrum and the window"
        )
    scaled = inside * SCALE
    scaled[:, :3] -= iso
    rooted = np.sqrt(weights)[:, None] * scaled
    if len(rooted) < 6:  # a square factor whatever the number of points
        rooted = np.vstack((rooted, np.zeros((6 - len(rooted), 6))))
    factor = np.asarray(np.linalg.qr(rooted, mode="r"))
    return Gram(factor=factor, norm=norm, window_ev=window, fwhm_ev=float(fwhm_ev))


def frame_free_anisotropy(of: Gram) -> float:
    """
    Return how anisotropic a spectrum is, whatever the frame, eV^-1/2.

    ``A = sqrt(3/2 integral |T - tr(T)/3|^2 dE) / integral mu_iso dE``, with the Frobenius norm.
    For a site with an axis it is the SAM between the axis and any direction across it; in general
    it is smooth in the structure, which the largest SAMS over all frames is not.

    Examples
    --------
    >>> along_z = gram([0.0, 4.0], [[0, 0, 3.0, 0, 0, 0]] * 2, (0, 4))
    >>> round(frame_free_anisotropy(along_z), 12)
    1.5
    """
    return float(np.sqrt(1.5) * np.linalg.norm(of.factor) / of.norm)


def gram_rotated(of: Gram, rotation: ArrayLike) -> Gram:
    """
    Return the Gram form of the carried spectrum W T W^T without integrating again.

    Parameters
    ----------
    of : Gram
        Of the representative site.
    rotation : array_like of shape (3, 3)
        Cartesian W, active, proper or not.

    Examples
    --------
    >>> along_z = gram([0.0, 1.0], [[0, 0, 3.0, 0, 0, 0]] * 2, (0, 1))
    >>> z_to_x = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    >>> gram_rotated(along_z, z_to_x).matrix.diagonal()[:3].round(12).tolist()
    [4.0, 1.0, 1.0]
    """
    w = finite_array(rotation, "rotation", (3, 3), leading=False)
    return Gram(
        factor=of.factor @ representation(w).T,
        norm=of.norm,
        window_ev=of.window_ev,
        fwhm_ev=of.fwhm_ev,
    )


def sam(of: Gram, frame: ArrayLike) -> FloatArray:
    """
    Return the spectral anisotropy matrix in a frame, or in many.

    Parameters
    ----------
    of : Gram
        From `gram`.
    frame : array_like of shape (..., 3, 3)
        Orthonormal axes as columns; their signs do not matter.

    Returns
    -------
    ndarray of shape (..., 3, 3)
        Symmetric, zero diagonal, eV^-1/2.

    Examples
    --------
    >>> along_z = gram([0.0, 4.0], [[0, 0, 3.0, 0, 0, 0]] * 2, (0, 4))
    >>> sam(along_z, np.eye(3)).round(12).tolist()
    [[0.0, 0.0, 1.5], [0.0, 0.0, 1.5], [1.5, 1.5, 0.0]]
    """
    lengths = _pair_lengths(of, frame)
    matrix = np.zeros((*lengths.shape[:-1], 3, 3))
    matrix[..., FIRST, SECOND] = lengths
    matrix[..., SECOND, FIRST] = lengths
    return matrix


def sams(of: Gram, frame: ArrayLike) -> float:
    """
    Return the sum of the three elements of SAM above its diagonal, eV^-1/2, in one frame.

    Examples
    --------
    >>> along_z = gram([0.0, 4.0], [[0, 0, 3.0, 0, 0, 0]] * 2, (0, 4))
    >>> round(sams(along_z, np.eye(3)), 12)
    3.0
    """
    lengths = _pair_lengths(of, frame)
    if lengths.ndim > 1:
        raise InputError(f"SAMS is for one frame, these are {lengths.shape[:-1]}; use `sam`")
    return float(lengths.sum())


def sam_of_grid_sums(
    energy_ev: ArrayLike,
    tensor: ArrayLike,
    frame: ArrayLike,
    window_ev: tuple[float, float],
) -> FloatArray:
    """
    Return the spectral anisotropy matrix in the convention of the anisotropy paper's own group.

    SAM_ij = sqrt(sum_k (I_i(E_k) - I_j(E_k))^2) / sum_k mu_iso(E_k) over the points of the grid:
    no energy step, so that it depends on the grid. On an even grid of step h it is the SAM of `sam`
    times sqrt(h), but for the ends of the window. For comparison with labels of that kind only.

    Parameters
    ----------
    energy_ev : array_like of shape (n,)
        On the scale of the window.
    tensor : array_like of shape (n, 6)
        Packed as (xx, yy, zz, yz, xz, xy).
    frame : array_like of shape (3, 3)
        Orthonormal axes as columns.
    window_ev : (low, high)
        Points from low to high count.

    Returns
    -------
    ndarray of shape (3, 3)

    Raises
    ------
    InputError
        If no point lies in the window.

    Examples
    --------
    >>> along_z = [[0, 0, 3.0, 0, 0, 0]] * 4
    >>> float(sam_of_grid_sums([0.0, 1.0, 2.0, 3.0], along_z, np.eye(3), (0, 3))[0, 2])
    1.5
    """
    energy = finite_array(energy_ev, "energies", (None,), leading=False)
    inside = (energy >= window_ev[0]) & (energy <= window_ev[1])
    if not inside.any():
        raise InputError(f"no point of the grid lies in the window {window_ev}")
    axes = finite_array(frame, "frame", (3, 3), leading=False)
    matrices = to_matrix(tensor)[inside]
    polarized = np.einsum("ia,nij,ja->na", axes, matrices, axes)
    differences = polarized[:, :, None] - polarized[:, None, :]
    total = polarized.mean(axis=1).sum()
    return np.asarray(np.sqrt((differences**2).sum(axis=0)) / total)


def mean_sams(grams: Sequence[Gram], frame: ArrayLike) -> float:
    """
    Return the mean over sites of their SAMS in one shared frame, eV^-1/2.

    Parameters
    ----------
    grams : sequence of Gram
        One for EVERY site (whole orbits: `gram_rotated`).
    frame : array_like of shape (3, 3)
        Orthonormal axes as columns.

    Raises
    ------
    InputError
        If there are no sites, or their windows or broadenings differ.

    Examples
    --------
    >>> along_z = gram([0.0, 4.0], [[0, 0, 3.0, 0, 0, 0]] * 2, (0, 4))
    >>> round(mean_sams([along_z, along_z], np.eye(3)), 12)
    3.0
    """
    axes = orthonormal(finite_array(frame, "frame", (3, 3), leading=False), "frame")
    return float(mean_values(scaled_factors(grams), axes))


def maximum_sams(grams: Sequence[Gram], near: ArrayLike | None = None) -> tuple[float, FloatArray]:
    """
    Return the largest mean SAMS that any shared frame can give, and such a frame.

    The global maximum over all rotations; see `vtc_flows.physics.orientation` for how.

    Parameters
    ----------
    grams : sequence of Gram
        One for every site.
    near : array_like of shape (3, 3), optional
        Right-handed frame that settles what the maximum leaves open: the order and signs of the
        axes, equal maxima, and a rotation about an axis that changes nothing. The frame returned
        is the one nearest to it. By default the Cartesian axes; the crystal's shared frame makes
        the result turn along with the crystal.

    Returns
    -------
    value : float
        eV^-1/2.
    frame : ndarray of shape (3, 3)
        Right-handed, axes as columns.

    Examples
    --------
    >>> diagonal = [[1.0, 1, 1, 0, 0, 1]] * 2  # brightest along (1, 1, 0)
    >>> value, frame = maximum_sams([gram([0.0, 1.0], diagonal, (0, 1))])
    >>> round(value, 9), np.abs(frame[:, 0]).round(6).tolist()
    (4.0, [0.707107, 0.707107, 0.0])
    """
    start = np.eye(3) if near is None else right_handed(near)
    return maximise(scaled_factors(grams), start)


def scaled_factors(grams: Sequence[Gram]) -> FloatArray:
    """
    Return R/N of every site, shape (n_sites, 6, 6), eV^-1/2.

    Raises
    ------
    InputError
        If there are no sites, or their windows or broadenings differ: such SAMS must not be
        averaged.
    """
    if len(grams) == 0:
        raise InputError("there are no sites; SAMS needs the spectrum of at least one")
    made = {(one.window_ev, one.fwhm_ev) for one in grams}
    if len(made) > 1:
        raise InputError(
            f"the sites have different windows or broadenings, (window_ev, fwhm_ev): "
            f"{sorted(made)}; make all Grams with the same"
        )
    return np.stack([one.factor / one.norm for one in grams])


def right_handed(frame: ArrayLike) -> FloatArray:
    """Return a frame, checked, with its third axis turned round where it was left-handed."""
    axes = orthonormal(finite_array(frame, "frame", (3, 3), leading=False), "frame").copy()
    if np.linalg.det(axes) < 0:
        axes[:, 2] *= -1.0
    return axes


def _pair_lengths(of: Gram, frame: ArrayLike) -> FloatArray:
    """Return SAM_12, SAM_13, SAM_23, shape (..., 3)."""
    rooted = of.factor @ pair_vectors(orthonormal(frame, "frame"))
    return np.asarray(np.sqrt((rooted * rooted).sum(axis=-2)) / of.norm)
