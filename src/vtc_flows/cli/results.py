"""The folder of results: one JSON and one picture for each record, and a table of all."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from vtc_flows.errors import StorageError
from vtc_flows.plots import record_png
from vtc_flows.schemas import SamsRecord
from vtc_flows.writing import file_name, write_whole

SITES_FOLDER = "sites"
SUMMARY_FILE = "summary.csv"

_ANISOTROPIES = ("sams", "sams_site", "sams_max", "sams_crystal", "sams_crystal_max")
_FEATURES = ("qams", "dams", "iams", "density", "n_sg", "n_3d", "en_mean", "en_std")
_SECONDS = ("scf", "phases", "fms", "total")
_COLUMNS = (
    *("record_id", "material_id", "element", "engine", "fms_atoms", "state", "n_sites"),
    *("window_low_ev", "window_high_ev", "fwhm_ev"),
    *_ANISOTROPIES,
    *_FEATURES,
    "oxidation_method",
    *(f"cpu_s_{stage}" for stage in _SECONDS),
)


def require_table(folder: Path) -> None:
    """
    Make sure that the folder's table, if there is one, can take further records.

    Raises
    ------
    StorageError
        If it cannot be read, or is not a table of records.
    """
    _existing(folder / SUMMARY_FILE)


def write_record(folder: Path, record: SamsRecord, *, plot: bool) -> None:
    """
    Write a record's JSON and, where it has spectra, its picture.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    """
    write_whole(folder / file_name(record.record_id, ".json"), record.model_dump_json(indent=1))
    if plot and record.sites:
        write_whole(folder / file_name(record.record_id, ".png"), record_png(record))


def write_summary(folder: Path, records: Iterable[SamsRecord]) -> None:
    """
    Write the table of all records; what stands there of other records stays.

    Raises
    ------
    StorageError
        If it cannot be read or written.
    """
    path = folder / SUMMARY_FILE
    rows = _existing(path)
    rows.update({record.record_id: _row(record) for record in records})
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows.values())
    write_whole(path, text.getvalue())


def _existing(path: Path) -> dict[str, dict[str, object]]:
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if "record_id" not in (reader.fieldnames or ["record_id"]):
                raise ValueError("it has no column record_id")  # somebody's own table
            return {row["record_id"]: dict(row) for row in reader}
    except (OSError, csv.Error, ValueError) as error:
        raise StorageError(
            f"{path} cannot be read as a table of records ({error}): move it away or choose "
            "another folder"
        ) from error


def _row(record: SamsRecord) -> dict[str, object]:
    low, high = record.window_ev
    row: dict[str, object] = {
        "record_id": record.record_id,
        "material_id": record.material_id,
        "element": record.element,
        "engine": record.engine,
        "fms_atoms": record.fms_atoms,
        "state": record.state,
        "n_sites": sum(site.multiplicity for site in record.sites),
        "window_low_ev": low,
        "window_high_ev": high,
        "fwhm_ev": record.sams_settings.fwhm_ev,
        "oxidation_method": record.features.oxidation_method,
    }
    row.update({name: getattr(record, name) for name in _ANISOTROPIES})
    row.update({name: getattr(record.features, name) for name in _FEATURES})
    for stage in _SECONDS:
        row[f"cpu_s_{stage}"] = round(sum(site.timings.get(stage, 0.0) for site in record.sites), 3)
    return row
