"""
Solve for the first atom: eliminate the strongly scattering states, then Krylov for the others.

Wanted is ``W = B^T D^-1 B`` with a symmetric ``D``. States of high ``l`` scatter so weakly that
only the strong block ``D_ss`` is factorised. What remains is the Schur complement on the weak
states, symmetric again and close to ``P = (-1)**l``:

    W = B_s^T D_ss^-1 B_s + C^T Z^-1 C,
    C = B_w - D_ws D_ss^-1 B_s,   Z = D_ww - D_ws D_ss^-1 D_sw.

``Z`` is never formed. In a block Krylov space ``V`` started from ``P C`` the Galerkin value
``(V^T C)^T (V^T Z V)^-1 (V^T C)`` is right to second order in the residual, because ``Z`` is
symmetric: one or two products with ``Z`` are usually enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from vtc_flows.scattering.sectors import Layout, Sector

Complex64 = NDArray[np.complex64]
Complex = NDArray[np.complex128]

_FEW_COLUMNS = 4


@dataclass(frozen=True)
class Solution:
    """
    Source block and how it was reached.

    Attributes
    ----------
    block : ndarray, shape (n_sources, n_sources)
        ``W``.
    error : float
        Estimated error, relative to the largest element; 0 where all states were strong.
    products : int
        Products with the Schur complement.
    states : ndarray, shape (n, n_sources)
        ``D^-1 B``.
    """

    block: Complex
    error: float
    products: int
    states: Complex64


def solve_sector(
    sector: Sector,
    layout: Layout,
    table: Complex64,
    columns: Complex64,
    tolerance: float,
    max_products: int,
    guess: Complex64 | None = None,
) -> Solution | None:
    """
    Solve one sector.

    Parameters
    ----------
    sector : Sector
        Supplies the parities.
    layout : Layout
        Which states are strong, weak or left out.
    table : ndarray
        Values of ``-S H S``, from `ValueTable.scaled`.
    columns : ndarray, shape (n, n_sources)
        ``B``, from `Sector.columns`.
    tolerance : float
        Relative error of the block that is good enough.
    max_products : int
        Products with the Schur complement before giving up.
    guess : ndarray, shape (n, n_sources), optional
        What ``D^-1 B`` may be like: where the Krylov space begins.

    Returns
    -------
    Solution or None
        None where the tolerance is not reached: more states have to be strong.
    """
    strong_strong, weak_strong, weak_weak = layout.fill(table)
    strong = _StrongBlock(strong_strong, sector.states.parity[layout.strong])
    right = np.asfortranarray(columns[layout.strong])
    solved = strong.solve(right)
    direct = (right.T @ solved).astype(np.complex128)
    states = np.zeros(columns.shape, dtype=np.complex64)
    states[layout.strong] = solved
    if len(layout.weak) == 0:
        return Solution(direct, 0.0, 0, states)

    signs = sector.states.parity[layout.weak].astype(np.complex64)[:, None]
    start = columns[layout.weak] - _times(weak_strong, solved)
    basis: list[Complex64] = []
    images: list[Complex64] = []
    following: Complex64 = signs * start if guess is None else guess[layout.weak]
    scale = float(np.abs(direct).max())
    for n_products in range(1, max_products + 1):
        vectors = _orthonormal(following, basis)
        through = strong.solve(np.asfortranarray(_times(weak_strong.T, vectors)))
        image = signs * vectors + _times(weak_weak, vectors) - _times(weak_strong, through)
        basis.append(vectors)
        images.append(image)
        space, mapped = np.hstack(basis), np.hstack(images)
        overlap = (space.T @ start).astype(np.complex128)
        try:
            amplitudes = np.linalg.solve((space.T @ mapped).astype(np.complex128), overlap)
        except np.linalg.LinAlgError:
            return None
        block = direct + overlap.T @ amplitudes
        residual = start - mapped @ amplitudes.astype(np.complex64)
        following = signs * residual
        scale = max(scale, float(np.abs(block).max()))
        error = float(np.abs(residual.T @ following).max()) / scale
        if error < tolerance:
            states[layout.weak] = weak = space @ amplitudes.astype(np.complex64)
            back = np.asfortranarray(_times(weak_strong.T, weak))
            states[layout.strong] -= strong.solve(back)
            return Solution(block, error, n_products, states)
    return None


def diagonal_of_sector(
    sector: Sector, layout: Layout, table: Complex64, columns: Complex64
) -> Complex:
    """
    Return the diagonal of the source block where all states that are kept are factorised.

    Parameters
    ----------
    sector, layout, table, columns
        As for `solve_sector`; the layout has no weak states.

    Returns
    -------
    ndarray, shape (n_sources,)
    """
    strong = _StrongBlock(layout.fill(table)[0], sector.states.parity[layout.strong])
    right = np.asfortranarray(columns[layout.strong])
    diagonal: Complex = (right * strong.solve(right)).sum(axis=0, dtype=np.complex128)
    return diagonal


def _orthonormal(columns: Complex64, basis: list[Complex64]) -> Complex64:
    """Orthonormal columns that span what ``columns`` add to the basis."""
    for previous in basis:
        columns = columns - (previous @ (np.conj(previous.T) @ columns)).astype(np.complex64)
    vectors: Complex64 = np.linalg.qr(columns)[0]
    return vectors


def _times(matrix: Complex64, columns: Complex64) -> Complex64:
    """Multiply by a few columns one by one: three times faster than BLAS does them together."""
    if columns.shape[1] > _FEW_COLUMNS:
        together: Complex64 = matrix @ columns
        return together
    return np.stack([matrix @ np.ascontiguousarray(column) for column in columns.T], axis=1)


class _StrongBlock:
    """The block of the strong states, factorised in place."""

    def __init__(self, block: Complex64, signs: NDArray[np.float32]) -> None:
        self._empty = len(block) == 0
        if self._empty:
            return
        block.ravel()[:: len(block) + 1] += signs
        # Symmetric, so rows in C order serve as LAPACK's columns.
        self._factors, self._pivots, _ = lapack.cgetrf(block.T, overwrite_a=1)

    def solve(self, right: Complex64) -> Complex64:
        if self._empty:
            return right
        solved: Complex64 = lapack.cgetrs(self._factors, self._pivots, right)[0]
        return solved
