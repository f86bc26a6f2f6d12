"""
How far two tensor spectra of one site are apart: figures for comparing engines or settings.

A is what B is held against: every relative number is relative to A, every ratio is B / A. Both
spectra count their energies from their own Fermi level, so that a shift of it is no deviation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vtc_flows.errors import InputError
from vtc_flows.physics.rotations import SCALE
from vtc_flows.physics.tensors import POLARIZATIONS, along, isotropic
from vtc_flows.physics.validation import finite_array
from vtc_flows.physics.windows import increasing_energies, trapezoid_weights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

#: Two grids whose energies differ by less than this are one (eV): programs round what they write.
SAME_GRID_EV = 1e-5

#: An anisotropic part below this share of the tensor is the rounding of an isotropic site.
SMALLEST_ANISOTROPY = 1e-6

_DIRECTIONS = {name: [float(axis in name) for axis in "xyz"] for name in POLARIZATIONS}


class CommonGrid(NamedTuple):
    """
    Two spectra on the same energies.

    Attributes
    ----------
    energy_ev : ndarray of shape (n,)
    a, b : ndarray of shape (n, 6)
    interpolated : bool
        Whether the grids differed.
    """

    energy_ev: FloatArray
    a: FloatArray
    b: FloatArray
    interpolated: bool


def on_common_grid(
    energy_a_ev: ArrayLike, tensor_a: ArrayLike, energy_b_ev: ArrayLike, tensor_b: ArrayLike
) -> CommonGrid:
    """
    Bring two spectra to the same energies.

    Parameters
    ----------
    energy_a_ev, energy_b_ev : array_like of shape (n,) and (m,)
        Strictly increasing, relative to the Fermi level of each.
    tensor_a, tensor_b : array_like of shape (n, 6) and (m, 6)

    Returns
    -------
    CommonGrid
        Equal grids: the spectra as they are. Others: all points of both within the range that
        both cover, straight lines between a spectrum's own points; the largest distance of the
        two lines is then found exactly, and neither goes before the other.

    Raises
    ------
    InputError
        If no range is covered by both.

    Examples
    --------
    >>> ramp = [[2.0, 2, 2, 0, 0, 0], [4.0, 4, 4, 0, 0, 0]]
    >>> grid = on_common_grid([0.0, 2.0], ramp, [1.0, 3.0], ramp)
    >>> grid.energy_ev.tolist(), grid.a[:, 0].tolist(), grid.b[:, 0].tolist()
    ([1.0, 2.0], [3.0, 4.0], [2.0, 3.0])
    """
    energy_a, energy_b = increasing_energies(energy_a_ev), increasing_energies(energy_b_ev)
    a = finite_array(tensor_a, "tensor A", (None, 6), leading=False)
    b = finite_array(tensor_b, "tensor B", (None, 6), leading=False)
    for name, energy, tensor in (("A", energy_a, a), ("B", energy_b, b)):
        if len(energy) != len(tensor):
            raise InputError(f"{name} has {len(energy)} energies and {len(tensor)} tensors")
    if len(energy_a) == len(energy_b) and np.abs(energy_a - energy_b).max() < SAME_GRID_EV:
        return CommonGrid(energy_a, a, b, False)
    low, high = max(energy_a[0], energy_b[0]), min(energy_a[-1], energy_b[-1])
    if not low < high:
        raise InputError(
            f"A covers {energy_a[0]:g} ... {energy_a[-1]:g} eV and B {energy_b[0]:g} ... "
            f"{energy_b[-1]:g} eV about the Fermi level: they have no range in common"
        )
    points = np.unique(np.concatenate((energy_a, energy_b)))
    points = points[(points >= low) & (points <= high)]
    return CommonGrid(points, _lines(points, energy_a, a), _lines(points, energy_b, b), True)


def polarized(tensor: ArrayLike) -> FloatArray:
    """
    Return the spectra of the six polarizations, shape (n, 6), in the order of `POLARIZATIONS`.

    Examples
    --------
    >>> polarized([[1.0, 2.0, 3.0, 0.0, 0.5, 0.0]]).round(12).tolist()
    [[1.0, 2.0, 3.0, 1.5, 2.5, 2.5]]
    """
    return np.stack([along(tensor, _DIRECTIONS[name]) for name in POLARIZATIONS], axis=-1)


def largest_deviations(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """
    Return max over E of |mu_B - mu_A|, over max mu_A, for each of the six polarizations.

    Parameters
    ----------
    a, b : array_like of shape (n, 6)
        Tensors on the same energies.

    Examples
    --------
    >>> flat = np.array([[1.0, 1, 1, 0, 0, 0], [2.0, 2, 2, 0, 0, 0]])
    >>> largest_deviations(flat, 1.5 * flat).round(12).tolist()
    [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """
    mu_a, mu_b = polarized(a), polarized(b)
    return np.asarray(np.abs(mu_b - mu_a).max(axis=0) / _positive(np.abs(mu_a).max(axis=0)))


def relative_l2(energy_ev: ArrayLike, a: ArrayLike, b: ArrayLike) -> FloatArray:
    r"""
    Return :math:`\sqrt{\int (\mu_B - \mu_A)^2 dE / \int \mu_A^2 dE}` for the six polarizations.

    Parameters
    ----------
    energy_ev : array_like of shape (n,)
    a, b : array_like of shape (n, 6)
        Tensors at these energies.

    Examples
    --------
    >>> flat = np.array([[1.0, 1, 1, 0, 0, 0], [2.0, 2, 2, 0, 0, 0]])
    >>> relative_l2([0.0, 1.0], flat, 1.5 * flat).round(12).tolist()
    [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """
    weights = trapezoid_weights(energy_ev)
    mu_a, mu_b = polarized(a), polarized(b)
    return np.asarray(np.sqrt(weights @ (mu_b - mu_a) ** 2) / _positive(np.sqrt(weights @ mu_a**2)))


class AnisotropicAgreement(NamedTuple):
    """
    How the traceless parts of two tensors compare; None where one of them is nought.

    Attributes
    ----------
    deviation : float or None
        ||dB - dA|| / ||dA||; 0 for equal ones, about 1.4 for unrelated ones of equal size.
    correlation : float or None
        <dA, dB> / (||dA|| ||dB||): 1 where they differ by a factor at most.
    """

    deviation: float | None
    correlation: float | None


def anisotropic_agreement(energy_ev: ArrayLike, a: ArrayLike, b: ArrayLike) -> AnisotropicAgreement:
    r"""
    Compare what makes spectra depend on polarization, dT = T - (trace T / 3) 1.

    The product of two is :math:`\langle A, B\rangle = \int \sum_{ij} A_{ij} B_{ij} dE`, which is
    the same in every frame.

    Parameters
    ----------
    energy_ev : array_like of shape (n,)
    a, b : array_like of shape (n, 6)
        Tensors at these energies.

    Examples
    --------
    >>> along_z = np.array([[0.0, 0, 3, 0, 0, 0]] * 2)
    >>> agreement = anisotropic_agreement([0.0, 1.0], along_z, 2.0 * along_z)
    >>> [round(value, 12) for value in agreement]
    [1.0, 1.0]
    """
    weights = trapezoid_weights(energy_ev)[:, None]
    scaled_a, scaled_b = (
        np.sqrt(weights) * finite_array(tensor, "tensor", (None, 6), leading=False) * SCALE
        for tensor in (a, b)
    )
    part_a, part_b = _traceless(scaled_a), _traceless(scaled_b)
    size_a, size_b = float(np.linalg.norm(part_a)), float(np.linalg.norm(part_b))
    if size_a <= SMALLEST_ANISOTROPY * float(np.linalg.norm(scaled_a)):
        return AnisotropicAgreement(None, None)
    deviation = float(np.linalg.norm(part_b - part_a)) / size_a
    if size_b <= SMALLEST_ANISOTROPY * float(np.linalg.norm(scaled_b)):
        return AnisotropicAgreement(deviation, None)
    return AnisotropicAgreement(deviation, float((part_a * part_b).sum()) / (size_a * size_b))


def area_ratio(energy_ev: ArrayLike, a: ArrayLike, b: ArrayLike) -> float:
    """
    Return the area under the isotropic spectrum of B over that of A.

    Parameters
    ----------
    energy_ev : array_like of shape (n,)
    a, b : array_like of shape (n, 6)
        Tensors at these energies.

    Examples
    --------
    >>> flat = np.array([[1.0, 2, 3, 0, 0, 0]] * 2)
    >>> area_ratio([0.0, 1.0], flat, 3.0 * flat)
    3.0
    """
    weights = trapezoid_weights(energy_ev)
    area_a, area_b = (float(weights @ isotropic(tensor)) for tensor in (a, b))
    if not area_a > 0.0:
        raise InputError(f"the isotropic spectrum of A integrates to {area_a:g}: no ratio to it")
    return area_b / area_a


def _lines(points: FloatArray, energy: FloatArray, tensor: FloatArray) -> FloatArray:
    columns = [np.interp(points, energy, column) for column in tensor.T]
    return np.stack(columns, axis=-1)


def _traceless(scaled: FloatArray) -> FloatArray:
    part = scaled.copy()
    part[:, :3] -= scaled[:, :3].mean(axis=1, keepdims=True)
    return part


def _positive(sizes: FloatArray) -> FloatArray:
    if not (sizes > 0.0).all():
        dark = POLARIZATIONS[int(np.argmin(sizes))]
        raise InputError(f"A has no emission polarized along {dark}: nothing is relative to it")
    return sizes
