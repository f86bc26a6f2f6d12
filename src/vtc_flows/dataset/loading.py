"""The data set in Python: the table of records, spectra of sites, crystals."""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pymatgen.core.structure import Structure

from vtc_flows.dataset.layout import Layout, find_dataset
from vtc_flows.dataset.records import newest, sams_of, sites_by_record
from vtc_flows.dataset.rows import tensor_of
from vtc_flows.dataset.shards import site_files, site_rows
from vtc_flows.errors import InputError
from vtc_flows.schemas import SamsRecord

_PARTS = ("train", "test")
_OF_SPECTRA = (
    *("material_id", "element", "site_index", "part", "multiplicity", "state", "engine"),
    *("e_fermi_ev", "photon_edge_ev", "edge_cross_section_angstrom2"),
    *("energy_start_ev", "energy_step_ev", "spectra"),
)


@dataclass(frozen=True, eq=False)
class SiteTensor:
    """
    The polarization-resolved emission of one site.

    Attributes
    ----------
    material_id, element : str
    site_index : int
        In the crystal's list of sites.
    multiplicity : int
        Sites in the cell that symmetry makes equivalent.
    fms_atoms : int
        Neighbors in the multiple scattering.
    energy_ev : ndarray of shape (n,)
        Relative to the Fermi level.
    tensor : ndarray of shape (n, 6)
        xx, yy, zz, yz, xz, xy in the Cartesian frame of the structure, in units of the atomic
        background of the site at its Fermi level.
    e_fermi_ev, photon_edge_ev : float
        Fermi level on FEFF's scale, and the photon energy of emission from it.
    edge_cross_section_angstrom2 : float
        Multiply the tensor by it to bring sites to one scale.
    """

    material_id: str
    element: str
    site_index: int
    multiplicity: int
    fms_atoms: int
    energy_ev: NDArray[np.float64]
    tensor: NDArray[np.float64]
    e_fermi_ev: float
    photon_edge_ev: float
    edge_cross_section_angstrom2: float


class Dataset:
    """
    A data set on disk; nothing is read before it is asked for.

    Parameters
    ----------
    layout : Layout
        Where its parts are.

    Examples
    --------
    >>> data = load_dataset("data")  # doctest: +SKIP
    >>> train = data.records("train").to_pandas()  # doctest: +SKIP
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def records(self, part: str | None = None, fms_atoms: int | None = 30) -> pa.Table:
        """
        Return the complete records, one row for each element of a crystal.

        Parameters
        ----------
        part : {"train", "test"}, optional
            Part of the data set; all if not given.
        fms_atoms : int, optional
            Size of the clusters: 30, which all records have, or 80; both if None.

        Returns
        -------
        pyarrow.Table
            Columns as the page on the data set lists them; ``.to_pandas()`` makes a frame of it.

        Raises
        ------
        InputError
            If there is no such part, or the file cannot be read.
        """
        if part is not None and part not in _PARTS:
            raise InputError(f"{part!r} is no part of the data set: take {' or '.join(_PARTS)}")
        chosen = pc.field("state") == "complete"
        if part is not None:
            chosen &= pc.field("part") == part
        if fms_atoms is not None:
            chosen &= pc.field("fms_atoms") == fms_atoms
        return self.all_records().filter(chosen)

    def all_records(self) -> pa.Table:
        """Return all records, those without a spectrum of every site among them."""
        try:
            return pq.read_table(self.layout.records)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{self.layout.records} cannot be read: {error}") from error

    def tensors(
        self,
        part: str | None = None,
        *,
        element: str | None = None,
        fms_atoms: int | None = None,
    ) -> Iterator[SiteTensor]:
        """
        Yield the spectra of sites, file by file.

        Parameters
        ----------
        part : {"train", "test"}, optional
            All if not given.
        element : str, optional
            Absorber; all if not given.
        fms_atoms : int, optional
            Size of the clusters; the largest that a site has if not given.
        """
        for path in site_files(self.layout.sites):
            rows = pq.read_table(path, columns=list(_OF_SPECTRA))
            chosen = (pc.field("state") == "successful") & (pc.field("engine") == self.engine)
            if part is not None:
                chosen &= pc.field("part") == part
            if element is not None:
                chosen &= pc.field("element") == element
            for row in rows.filter(chosen).to_pylist():
                yield from _site_tensor(row, fms_atoms)

    def structure(self, material_id: str) -> Structure:
        """
        Return a crystal.

        Raises
        ------
        InputError
            If it is none of the data set's.
        """
        if material_id not in self._lines:
            raise InputError(f"the data set holds no crystal {material_id}")
        return Structure.from_dict(json.loads(self._lines[material_id])["structure"])

    def sams_records(self, materials: Collection[str] | None = None) -> Iterator[SamsRecord]:
        """
        Yield records with spectra and provenance, as the database holds them.

        Parameters
        ----------
        materials : collection of str, optional
            Crystals whose records are wanted; all if not given.
        """
        found = sites_by_record(self.layout.sites, self.engine)
        for (material_id, element), rows in found.items():
            if material_id in self._lines and (materials is None or material_id in materials):
                structure = self.structure(material_id)
                yield from sams_of(structure, material_id, element, rows)

    @cached_property
    def engine(self) -> str:
        """Identity of the engine whose sites make up the records."""
        return newest(row["engine"] for row in site_rows(self.layout.sites, ["engine"]))

    @cached_property
    def _lines(self) -> dict[str, str]:
        with gzip.open(self.layout.structures, "rt") as stream:
            return {str(json.loads(line)["id"]): line for line in stream}


def load_dataset(folder: Path | str | None = None) -> Dataset:
    """
    Return the data set in a folder, or the one that this machine has.

    Parameters
    ----------
    folder : Path or str, optional
        See `vtc_flows.dataset.layout.find_dataset`.

    Raises
    ------
    InputError
        If there is none.
    """
    return Dataset(find_dataset(folder))


def _site_tensor(row: dict[str, Any], fms_atoms: int | None) -> Iterator[SiteTensor]:
    sizes = [each for each in row["spectra"] if fms_atoms in (None, each["fms_atoms"])]
    if not sizes:
        return
    spectrum = sizes[-1]
    tensor = tensor_of(spectrum)
    yield SiteTensor(
        **{name: row[name] for name in ("material_id", "element", "site_index", "multiplicity")},
        fms_atoms=spectrum["fms_atoms"],
        energy_ev=row["energy_start_ev"] + row["energy_step_ev"] * np.arange(len(tensor)),
        tensor=tensor,
        e_fermi_ev=row["e_fermi_ev"],
        photon_edge_ev=row["photon_edge_ev"],
        edge_cross_section_angstrom2=row["edge_cross_section_angstrom2"],
    )
