"""
The folder of results.

Of records: one JSON and one picture for each, and a table of all. Of comparisons: one JSON and one
table of all, and a picture for each site.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from vtc_flows.errors import InputError, StorageError
from vtc_flows.physics.tensors import POLARIZATIONS
from vtc_flows.plots.records import comparison_png, record_png
from vtc_flows.schemas import (
    KnownCrystal,
    RecordId,
    SamsRecord,
    require_same_crystal,
    same_crystal,
)
from vtc_flows.schemas.comparison import (
    ComparisonsDoc,
    RecordComparison,
    SiteComparison,
)
from vtc_flows.stores.connection import MongoDatabase
from vtc_flows.stores.crystals import ADVICE as DATABASE_ADVICE
from vtc_flows.stores.crystals import known_crystals
from vtc_flows.workflow.batch import Plan, refuse_other_crystals
from vtc_flows.writing import file_name, safe_name, write_whole

SITES_FOLDER = "sites"
SUMMARY_FILE = "summary.csv"
COMPARISON_FILE = "comparison.json"
COMPARISON_TABLE = "comparison.csv"

#: What to do where an id in the folder is another crystal's.
ADVICE = "rename the file, or choose another --out"

_RECORD_KEYS = {"record_id", "material_id", "element"}
_ANISOTROPIES = (
    *("sams", "sams_site", "sams_max", "sams_crystal", "sams_crystal_max"),
    *("anisotropy", "anisotropy_max", "anisotropy_2ev", "anisotropy_max_2ev"),
)
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

#: Of each side's record, and of the SAMS of both, in a table of comparisons.
_OF_RECORD = ("record_id", "engine", "fms_atoms", "package_version", "settings_hash")
_RECORD_SAMS = ("sams", "sams_site", "sams_max")
_POLARIZED = tuple(
    f"{figure}_{name}" for figure in ("largest_deviation", "relative_l2") for name in POLARIZATIONS
)
_COMPARISON_COLUMNS = (
    *("material_id", "element", "site_index", "multiplicity", "state", "failure"),
    *("engine_a", "engine_b", "fms_atoms_a", "fms_atoms_b"),
    *("e_fermi_ev_a", "e_fermi_ev_b", "fermi_shift_ev"),
    *("worst_deviation", "worst_relative_l2", "anisotropic_deviation", "anisotropic_correlation"),
    *("area_ratio", "edge_cross_section_ratio"),
    *("sams_a", "sams_b", "sams_relative_difference"),
    *("cpu_s_a", "cpu_s_b", "cpu_ratio", "scf_iterations_a", "scf_iterations_b"),
    *("scf_recovery_a", "scf_recovery_b"),
    *_POLARIZED,
    *("range_low_ev", "range_high_ev", "interpolated"),
    *("window_low_ev", "window_high_ev", "fwhm_ev"),
    *(f"record_{name}_{side}" for name in _RECORD_SAMS for side in "ab"),
    *(
        f"{name}_{side}"
        for name in ("record_id", "package_version", "settings_hash")
        for side in "ab"
    ),
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
    InputError
        If a record of another crystal has its name.
    """
    path = folder / file_name(record.record_id, ".json")
    there = _crystal_of(path, record.material_id)
    require_same_crystal(
        record.material_id,
        record.provenance.structure,
        record.provenance.source,
        [there] if there is not None else [],
        advice=ADVICE,
    )
    write_whole(path, record.model_dump_json(indent=1))
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
    write_whole(path, _table(_COLUMNS, rows.values()))


def crystals_in(folder: Path, material_id: str) -> list[KnownCrystal]:
    """
    Return the crystals that have an id in a folder of results: of records, studies, comparisons.

    What cannot be read as any of these is somebody else's, and no hindrance.
    """
    known: list[KnownCrystal] = []
    begins = safe_name(f"{material_id}-")
    paths = [path for path in sorted(folder.glob("*.json")) if path.name.startswith(begins)]
    found = [_crystal_of(path, material_id) for path in paths]
    with suppress(StorageError):  # who adds to comparisons is told
        found += [
            KnownCrystal(each.structure, each.source, str(folder))
            for each in _existing_comparisons(folder).values()
            if each.material_id == material_id and each.structure is not None
        ]
    for crystal in found:
        if crystal is not None and not any(
            same_crystal(crystal.structure, each.structure) for each in known
        ):
            known.append(crystal)
    return known


def _crystal_of(path: Path, material_id: str) -> KnownCrystal | None:
    """Return the crystal of a record or study, if the file is one of this material."""
    try:
        content = json.loads(path.read_bytes())
        if content["material_id"] != material_id:
            return None
        provenance = content["provenance"]
        structure = provenance["structure"]
        if not {"lattice", "sites"} <= structure.keys():
            return None
        return KnownCrystal(structure, str(provenance["source"]), str(path.parent))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def with_own_names(found: Plan, folder: Path, database: MongoDatabase | None = None) -> Plan:
    """
    Refuse crystals whose ids are other crystals' in a folder of results, or in the database.

    Parameters
    ----------
    found : Plan
    folder : Path
        It need not be there yet.
    database : Database, optional
        Where the results are to go as well.

    Returns
    -------
    Plan
        Without the tasks of such crystals, and with the problems.

    Raises
    ------
    StorageError
        If the database is away or refuses.
    """
    found = refuse_other_crystals(found, lambda name: crystals_in(folder, name), advice=ADVICE)
    if database is None:
        return found
    ids = {task.record.material_id for task in found.tasks}
    known = known_crystals(database, ids)
    return refuse_other_crystals(found, lambda name: known.get(name, ()), advice=DATABASE_ADVICE)


def record_files(folder: Path) -> dict[tuple[str, str], list[Path]]:
    """
    Return the files of a folder's records by material and element.

    Raises
    ------
    InputError
        If the folder cannot be read, or holds no record.
    """
    found: dict[tuple[str, str], list[Path]] = {}
    path = folder
    try:
        for path in sorted(folder.glob("*.json")):
            content = json.loads(path.read_bytes())
            if isinstance(content, dict) and content.keys() >= _RECORD_KEYS:
                found.setdefault((content["material_id"], content["element"]), []).append(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a record of `vtc run`: {error}") from error
    if not found:
        raise InputError(f"{folder} holds no record of `vtc run`")
    return found


def read_record(path: Path) -> SamsRecord:
    """
    Return a record from its file.

    Raises
    ------
    InputError
        If it is no record of this version of the package.
    """
    try:
        return SamsRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise InputError(
            f"{path} is no record of this version of vtc-flows ({error.error_count()} fields "
            "differ): make it again with `vtc run`"
        ) from error


def require_comparisons(folder: Path) -> None:
    """
    Make sure that the folder's comparisons, if there are any, can be added to.

    Raises
    ------
    StorageError
        If they cannot be read, or a table of that name is somebody else's.
    """
    if not _existing_comparisons(folder) and (folder / COMPARISON_TABLE).exists():
        raise StorageError(
            f"{folder / COMPARISON_TABLE} stands without {COMPARISON_FILE}, which it is made of: "
            "move it away or choose another folder"
        )


def write_comparisons(folder: Path, comparisons: Iterable[RecordComparison]) -> None:
    """
    Write all comparisons as JSON and as a table; what stands there of other records stays.

    Raises
    ------
    StorageError
        If they cannot be read or written.
    InputError
        If comparisons of another crystal have the same id.
    """
    found = _existing_comparisons(folder)
    comparisons = list(comparisons)
    for each in comparisons:
        if each.structure is not None:
            known = crystals_in(folder, each.material_id)
            require_same_crystal(
                each.material_id, each.structure, each.source, known, advice=ADVICE
            )
    found.update({_key(comparison): comparison for comparison in comparisons})
    document = ComparisonsDoc(comparisons=list(found.values()))
    rows = [_comparison_row(each, site) for each in found.values() for site in each.sites]
    write_whole(folder / COMPARISON_FILE, document.model_dump_json(indent=1))
    write_whole(folder / COMPARISON_TABLE, _table(_COMPARISON_COLUMNS, rows))


def write_comparison_pictures(
    folder: Path, comparison: RecordComparison, a: SamsRecord, b: SamsRecord
) -> None:
    """
    Draw each site that both records have.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    """
    tail = "-".join(_tail(record.record_id) for record in (a, b))
    for site in comparison.sites:
        if site.figures is not None:
            name = f"{a.material_id}-{a.element}-{site.site_index}-{tail}"
            picture = comparison_png(comparison, a, b, site.site_index)
            write_whole(folder / file_name(name, ".png"), picture)


def _tail(record_id: str) -> str:
    parts = RecordId.parse(record_id)
    return f"{parts.engine}-{parts.fms_atoms}-{parts.hash8}"


def _key(comparison: RecordComparison) -> tuple[str, str]:
    return comparison.a.record_id, comparison.b.record_id


def _existing_comparisons(folder: Path) -> dict[tuple[str, str], RecordComparison]:
    path = folder / COMPARISON_FILE
    try:
        document = ComparisonsDoc.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "they are of another version"
        raise StorageError(
            f"{path} cannot be read as comparisons ({reason}): move it away or choose another "
            "folder"
        ) from error
    return {_key(comparison): comparison for comparison in document.comparisons}


def _comparison_row(comparison: RecordComparison, site: SiteComparison) -> dict[str, object]:
    row: dict[str, object] = {
        "material_id": comparison.material_id,
        "element": comparison.element,
        "window_low_ev": comparison.window_ev[0],
        "window_high_ev": comparison.window_ev[1],
        "fwhm_ev": comparison.fwhm_ev,
        **site.model_dump(include={"site_index", "multiplicity", "state", "failure"}),
    }
    for side, record in (("a", comparison.a), ("b", comparison.b)):
        for name in _OF_RECORD:
            row[f"{name}_{side}"] = getattr(record, name)
        for name in _RECORD_SAMS:
            row[f"record_{name}_{side}"] = getattr(getattr(comparison, name), side)
    if site.figures is not None:
        row |= _flat(site.figures.model_dump(exclude={"range_ev"}))
        row["range_low_ev"], row["range_high_ev"] = site.figures.range_ev
    return row


def _flat(content: Mapping[str, object]) -> dict[str, object]:
    """Return nested content with the names of both levels joined."""
    flat: dict[str, object] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}_{key}": each for key, each in value.items()}
        else:
            flat[name] = value
    return flat


def _table(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


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
