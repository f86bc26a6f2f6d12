"""
Sites of a campaign on disk: Parquet files that are written once, and a journal of the newest.

A finished site goes into the journal, a file of JSON lines, at once. When there are enough of them
they become the next Parquet file and the journal begins anew. So nothing that was finished is lost
with the process, and files that are there never change.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vtc_flows.errors import StorageError
from vtc_flows.writing import write_whole

Row = dict[str, Any]
#: What a site is called: material, element, index of the site.
Key = tuple[str, str, int]

_SPECTRUM = pa.struct(
    [
        ("fms_atoms", pa.int16()),
        ("n_fms_atoms", pa.int16()),
        ("tensor_step", pa.float64()),
        ("tensor", pa.binary()),
        ("background_step", pa.float64()),
        ("background", pa.binary()),
        ("symmetry_residual", pa.float32()),
    ]
)
#: Columns of a file; docs/dataset.md explains each.
SCHEMA = pa.schema(
    [
        ("material_id", pa.string()),
        ("element", pa.string()),
        ("site_index", pa.int32()),
        ("part", pa.string()),
        ("rank", pa.int32()),
        ("multiplicity", pa.int32()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("engine", pa.string()),
        ("e_fermi_ev", pa.float64()),
        ("photon_edge_ev", pa.float64()),
        ("bottom_ev", pa.float64()),
        ("edge_cross_section_angstrom2", pa.float64()),
        ("energy_start_ev", pa.float64()),
        ("energy_step_ev", pa.float64()),
        ("n_iterations", pa.int16()),
        ("recovery", pa.string()),
        ("cpu_s", pa.float32()),
        ("spectra", pa.list_(_SPECTRUM)),
        ("document", pa.string()),
    ]
)
_BINARY = ("tensor", "background")
#: Sites of one file.
ROWS_PER_FILE = 400


def key_of(row: Row) -> Key:
    """Return what a row's site is called."""
    return row["material_id"], row["element"], row["site_index"]


def site_files(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder, oldest first within each share."""
    return sorted(folder.glob("sites-*.parquet"))


def site_rows(folder: Path, columns: list[str] | None = None) -> Iterator[Row]:
    """Yield the rows of all files of a folder, file by file."""
    for path in site_files(folder):
        yield from pq.read_table(path, columns=columns).to_pylist()


class SiteShards:
    """
    The folder of a campaign, or one worker's share of it.

    Parameters
    ----------
    folder : Path
        Where files are, of all shares.
    share : str
        Name of this share, as ``1of2``; no two processes may write the same.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path, share: str = "1of1") -> None:
        self.folder = folder
        self._share = share
        self._journal = folder / f"open-{share}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder} cannot be made: {error.strerror}") from error
        written = {(key_of(row), row["engine"]) for row in site_rows(self.folder, _KEYS)}
        self._open = [
            row
            for row in _journal_rows(self._journal)
            if (key_of(row), row["engine"]) not in written
        ]

    def known(self, engine: str) -> dict[Key, Row]:
        """Return the key columns of every site that one engine, by its identity, has finished."""
        return {
            key_of(row): {name: row[name] for name in _KEYS}
            for row in (*site_rows(self.folder, _KEYS), *self._open)
            if row["engine"] == engine
        }

    def add(self, row: Row) -> None:
        """
        Keep a finished site.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        try:
            with self._journal.open("a") as stream:
                stream.write(json.dumps(row, default=_as_text) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise StorageError(f"{self._journal} cannot be written: {error.strerror}") from error
        self._open.append(row)
        if len(self._open) >= ROWS_PER_FILE:
            self.close()

    def close(self) -> None:
        """Make a file of what is in the journal."""
        if not self._open:
            return
        table = pa.Table.from_pylist(self._open, schema=SCHEMA)
        numbers = [int(path.stem.rpartition("-")[2]) for path in self._own_files()]
        path = self.folder / f"sites-{self._share}-{max(numbers, default=0) + 1:05d}.parquet"
        write_parquet(path, table)
        self._journal.unlink(missing_ok=True)
        self._open = []

    def _own_files(self) -> list[Path]:
        return [
            path
            for path in site_files(self.folder)
            if path.stem.startswith(f"sites-{self._share}-")
        ]


_KEYS = ["material_id", "element", "site_index", "state", "reason", "engine", "cpu_s"]


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a compressed table, whole or not at all."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=19)
    write_whole(path, sink.getvalue().to_pybytes())


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} has no place in a row")


def _journal_rows(path: Path) -> list[Row]:
    """Return the rows of a journal; a line that was cut off is left out."""
    rows = []
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        for spectrum in row["spectra"]:
            for name in _BINARY:
                spectrum[name] = base64.b64decode(spectrum[name])
        rows.append(row)
    return rows
