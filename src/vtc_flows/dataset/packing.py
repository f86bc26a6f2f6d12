"""What makes a folder of sites a data set: table, crystals, card; and whether it is whole."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vtc_flows.dataset.croissant import croissant
from vtc_flows.dataset.layout import Layout, digest_of
from vtc_flows.dataset.records import RecordKey, record_rows, record_table, sites_by_record
from vtc_flows.dataset.rows import tensor_of
from vtc_flows.dataset.shards import Row, site_files, write_parquet
from vtc_flows.errors import InputError, VtcFlowsError
from vtc_flows.writing import write_whole

#: Told how many records are done, of how many.
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Packed:
    """
    What was packed.

    Attributes
    ----------
    n_records : int
        Records that are in the table.
    problems : tuple of str
        What could not be made, and why.
    """

    n_records: int
    problems: tuple[str, ...]


def pack(layout: Layout, structures: Mapping[str, str], tell: Tell, workers: int = 1) -> Packed:
    """
    Make table, crystals and card of the sites in a folder.

    Parameters
    ----------
    layout : Layout
        With sites; the others are written, each whole or not at all.
    structures : mapping of str to str
        Lines of JSON by material; see `campaign.read_structures`.
    tell : callable
        Told how far it is.
    workers : int
        Processes that make records.

    Raises
    ------
    InputError
        If there are no sites, or no record can be made of them.
    StorageError
        If a file cannot be written.
    """
    sites = sites_by_record(layout.sites)
    rows: list[Row] = []
    problems: list[str] = []
    for done, (made, failed) in enumerate(_each(sites, structures, workers), 1):
        rows += made
        problems += failed
        tell(done, len(sites))
    if not rows and problems:
        raise InputError(f"no record could be made; the first: {problems[0]}")
    write_parquet(layout.records, record_table(rows))
    used = sorted({str(row["material_id"]) for row in rows})
    lines = "".join(_line(name, structures[name]) for name in used)
    write_whole(layout.structures, gzip.compress(lines.encode(), mtime=0))
    card = croissant(layout)
    write_whole(layout.card, (json.dumps(card, indent=1) + "\n").encode())
    return Packed(len({(row["material_id"], row["element"]) for row in rows}), tuple(problems))


def verify(layout: Layout) -> list[str]:
    """
    Look at every file of a data set, and at every tensor.

    Returns
    -------
    list of str
        What is wrong, one sentence each; empty where all is as its card says.

    Raises
    ------
    InputError
        If there is no card.
    """
    wrong = [*_wrong_files(layout)]
    for path in site_files(layout.sites):
        try:
            rows = pq.read_table(path, columns=["material_id", "site_index", "spectra"])
        except (OSError, pa.ArrowException) as error:
            wrong.append(f"{path.name} cannot be read: {error}")
            continue
        for row in rows.to_pylist():
            wrong += [f"{path.name}: {said}" for said in _wrong_tensors(row)]
    return wrong


def read_card(layout: Layout) -> dict[str, Any]:
    """
    Return the card of a data set.

    Raises
    ------
    InputError
        If there is none, or it is no JSON.
    """
    try:
        found: dict[str, Any] = json.loads(layout.card.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{layout.card} cannot be read: {error}") from error
    return found


def files_in(card: Mapping[str, Any]) -> dict[str, str]:
    """Return the digest of each file that a card names, by its path in the folder."""
    return {
        one["contentUrl"]: one["sha256"]
        for one in card["distribution"]
        if one["@type"] == "cr:FileObject"
    }


def _wrong_files(layout: Layout) -> Iterator[str]:
    expected = files_in(read_card(layout))
    for name, digest in expected.items():
        path = layout.folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif digest_of(path) != digest:
            yield f"{name} is another file than the card's: its digest differs"
    for path in layout.files():
        if path.relative_to(layout.folder).as_posix() not in expected:
            yield f"{path.name} is not in the card (`vtc data pack` makes a new one)"


def _wrong_tensors(row: Row) -> Iterator[str]:
    for spectrum in row["spectra"]:
        name = f"{row['material_id']} site {row['site_index']}, {spectrum['fms_atoms']} neighbors"
        try:
            tensor = tensor_of(spectrum)
        except (ValueError, VtcFlowsError) as error:
            yield f"{name}: the tensor cannot be unpacked ({error})"
            continue
        if not np.isfinite(tensor).all() or not tensor[:, :3].sum(axis=1).max() > 0:
            yield f"{name}: the tensor is no spectrum"


_Task = tuple[RecordKey, list[Row], str | None]
_Made = tuple[list[Row], list[str]]


def _each(
    sites: Mapping[RecordKey, list[Row]], structures: Mapping[str, str], workers: int
) -> Iterator[_Made]:
    """Yield rows and problems of each record, in the order of the sites."""
    tasks = [(key, rows, structures.get(key[0])) for key, rows in sites.items()]
    if workers == 1:
        yield from map(_make, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_make, tasks, chunksize=8)


def _make(task: _Task) -> _Made:
    key, rows, line = task
    problems: list[str] = []
    known = {} if line is None else {key[0]: line}
    found = record_rows({key: rows}, known, partial(_keep, problems))
    return list(found), problems


def _keep(problems: list[str], material_id: str, element: str, error: Exception) -> None:
    problems.append(f"{material_id} {element}: {error}")


def _line(material_id: str, line: str) -> str:
    """Return a crystal's line with nothing but its name and its structure."""
    content = {"id": material_id, "structure": json.loads(line)["structure"]}
    return json.dumps(content, separators=(",", ":")) + "\n"
