"""
Filling the matrices of all symmetry sectors at one energy.

The distinct values of all sectors are one product of a fixed sparse matrix with the radial waves;
a sector's matrix is then gathered from that table by fixed lists.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from vtc_flows.scattering.elements import SectorElements

Integers = NDArray[np.intp]
Complex64 = NDArray[np.complex64]

_CACHED_LAYOUT_BYTES = 2**28


class ValueTable:
    """
    Values of the elements of all sectors; with their negatives and a zero they fill the matrices.

    Parameters
    ----------
    sectors : sequence of SectorElements
        The sectors.
    n_kinds : int
        Kinds of states.

    Attributes
    ----------
    n_values : int
        Distinct values.
    """

    def __init__(self, sectors: Sequence[SectorElements], n_kinds: int) -> None:
        stacked = vstack([sector.waves_of_values for sector in sectors], format="csr")
        self._waves_of_values = csr_array(
            (
                stacked.data.astype(np.float32),
                stacked.indices.astype(np.int32),
                stacked.indptr.astype(np.int32),
            ),
            shape=stacked.shape,
        )
        pairs = np.concatenate([sector.kind_pair for sector in sectors])
        self._kind_pair = pairs[:, 0] * n_kinds + pairs[:, 1]
        self.n_values = stacked.shape[0]
        self._scaled = np.zeros(2 * self.n_values + 1, dtype=np.complex64)

    def places(self, number: NDArray[np.int32], offset: int) -> NDArray[np.int32]:
        """Where elements stand in the table, for a sector whose values start at ``offset``."""
        positive = np.where(number > 0, number + offset, 0)
        negative = np.where(number < 0, self.n_values - number + offset, 0)
        return (positive + negative).astype(np.int32)

    def bare(self, waves: Complex64) -> Complex64:
        """
        Compute the elements of ``H`` at several energies.

        Parameters
        ----------
        waves : ndarray, shape (n, n_distances * n_waves)
            Radial waves.

        Returns
        -------
        ndarray, shape (n, n_values)
        """
        # Real factors: real and imaginary parts of all energies are columns of one product.
        parts = np.ascontiguousarray(waves.T).view(np.float32)
        values: Complex64 = np.ascontiguousarray(
            (self._waves_of_values @ parts).view(np.complex64).T
        )
        return values

    def scaled(self, bare: Complex64, weights: Complex64) -> Complex64:
        """
        Return the table of the elements of ``-S H S`` at one energy, valid until the next call.

        Parameters
        ----------
        bare : ndarray, shape (n_values,)
            Elements of ``H``.
        weights : ndarray, shape (n_kinds,)
            ``S = sqrt(T)`` of each kind of state.
        """
        n = self.n_values
        pairs = np.take(np.outer(weights, weights), self._kind_pair)
        np.multiply(bare, pairs, out=self._scaled[n + 1 :])
        np.negative(self._scaled[n + 1 :], out=self._scaled[1 : n + 1])
        return self._scaled


class Layout:
    """
    Division of a sector's states, with the lists and the workspaces to fill its matrix.

    Parameters
    ----------
    strong, weak : ndarray
        States that are factorised, and states left to the Krylov space. The others are left out.
    place : ndarray, shape (n, n)
        Where each element of the matrix stands in the table of values.
    """

    def __init__(self, strong: Integers, weak: Integers, place: NDArray[np.int32]) -> None:
        self.strong = strong
        self.weak = weak
        self._blocks = tuple(
            # Workspaces are kept: fresh memory of this size costs more than filling it.
            (place[np.ix_(rows, columns)].astype(np.intp), _workspace(rows, columns))
            for rows, columns in ((strong, strong), (weak, strong), (weak, weak))
        )

    def fill(self, table: Complex64) -> tuple[Complex64, Complex64, Complex64]:
        """Return the blocks strong-strong, weak-strong and weak-weak, valid until the next call."""
        for place, block in self._blocks:
            if place.size:
                np.take(table, place, out=block, mode="clip")
        return self._blocks[0][1], self._blocks[1][1], self._blocks[2][1]

    @property
    def n_bytes(self) -> int:
        """Memory it holds."""
        return sum(place.nbytes + block.nbytes for place, block in self._blocks)


def _workspace(rows: Integers, columns: Integers) -> Complex64:
    return np.empty((len(rows), len(columns)), dtype=np.complex64)


class Sector:
    """
    Lists that gather the matrix of one sector.

    Parameters
    ----------
    elements : SectorElements
        Its states and elements.
    table : ValueTable
        The table of all sectors.
    offset : int
        Values of the sectors before this one.
    """

    def __init__(self, elements: SectorElements, table: ValueTable, offset: int) -> None:
        self.states = elements.states
        self._place = table.places(elements.number, offset)
        number = elements.number[:, self.states.sources]
        self._source_sign = np.sign(number).astype(np.float32)
        self._source_value = np.where(number == 0, 0, np.abs(number) - 1 + offset).astype(np.intp)
        self._layouts: OrderedDict[bytes, Layout] = OrderedDict()

    def layout(self, strong_kinds: NDArray[np.bool_], kept_kinds: NDArray[np.bool_]) -> Layout:
        """Return the lists for given strong kinds; kinds that are not kept are left out."""
        key = strong_kinds.tobytes() + kept_kinds.tobytes()
        if key in self._layouts:
            self._layouts.move_to_end(key)
            return self._layouts[key]
        strong = np.flatnonzero(strong_kinds[self.states.kind])
        weak = np.flatnonzero((kept_kinds & ~strong_kinds)[self.states.kind])
        made = Layout(strong, weak, self._place)
        self._layouts[key] = made
        while (
            len(self._layouts) > 1
            and sum(layout.n_bytes for layout in self._layouts.values()) > _CACHED_LAYOUT_BYTES
        ):
            self._layouts.popitem(last=False)
        return made

    def columns(self, bare: Complex64, weights: Complex64) -> Complex64:
        """Return ``S H`` of the source columns, shape (n, n_sources)."""
        columns = np.take(bare, self._source_value)
        columns *= self._source_sign
        columns *= weights[self.states.kind][:, None]
        return columns
