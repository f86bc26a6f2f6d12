"""From sites on disk to records: one row for each element of a crystal and size of its clusters."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from pymatgen.core.structure import Structure

from vtc_flows.crystal.prototypes import chemical_class, names_of_kind
from vtc_flows.crystal.sites import site_orbits
from vtc_flows.dataset.rows import document_of
from vtc_flows.dataset.shards import Row, site_rows
from vtc_flows.errors import InputError, VtcFlowsError
from vtc_flows.schemas import SamsRecord, SamsSettings, SiteXesDoc, XesSettings
from vtc_flows.schemas.dataset import TARGETS
from vtc_flows.workflow.analysis import sams_records, structure_dict
from vtc_flows.workflow.materials import structure_hash

#: Material and element.
RecordKey = tuple[str, str]
#: Folds for cross-validation, by formula and by prototype.
N_FOLDS = 5
#: Told of a record that cannot be made, and why.
OnProblem = Callable[[str, str, Exception], None]


def sites_by_record(folder: Path, engine: str | None = None) -> dict[RecordKey, list[Row]]:
    """
    Return the finished sites of every record, in the order in which records were begun.

    Parameters
    ----------
    folder : Path
        Of the sites' files.
    engine : str, optional
        Identity of the engine whose sites count. If not given, that of the highest revision, and
        of several the one of the most sites: rows of older revisions stay in the files, and no
        record mixes them.
    """
    rows = list(site_rows(folder))
    if not rows:
        return {}
    wanted = engine or newest(row["engine"] for row in rows)
    found: dict[RecordKey, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        if row["engine"] == wanted:
            found[row["material_id"], row["element"]][row["site_index"]] = row
    return {key: list(sites.values()) for key, sites in found.items()}


def newest(identities: Iterable[str]) -> str:
    """
    Return the identity of the highest revision, of several the most frequent.

    Examples
    --------
    >>> newest(["feff8l/2/library/a", "feff8l/10/library/a", "feff8l/2/library/a"])
    'feff8l/10/library/a'
    """
    counts = Counter(identities)
    return max(counts, key=lambda each: (_revision_of(each), counts[each], each))


def _revision_of(identity: str) -> int:
    parts = identity.split("/")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def record_rows(
    sites: Mapping[RecordKey, list[Row]],
    structures: Mapping[str, str],
    on_problem: OnProblem,
    sams_settings: SamsSettings | None = None,
) -> Iterator[Row]:
    """
    Yield the table of records, one row for each record and size of its clusters.

    Parameters
    ----------
    sites : mapping
        See `sites_by_record`.
    structures : mapping of str to str
        Lines of JSON by material; see `campaign.read_structures`.
    on_problem : callable
        Told of what cannot be made; the others are.
    sams_settings : SamsSettings, optional
        Window of SAMS; the default's if not given.

    Yields
    ------
    dict
        Names, features, and SAMS of all kinds, which are None where a site is not there or has
        no spectrum; ``reason`` then says why. ``anisotropy`` is the frame-free anisotropy
        (`physics.sams.frame_free_anisotropy`), mean over the sites, ``anisotropy_max`` that of the
        site where it is largest; with ``_2ev`` after a broadening by 2 eV.
    """
    for (material_id, element), rows in sites.items():
        try:
            if material_id not in structures:
                raise InputError(f"there is no structure {material_id}")
            structure = Structure.from_dict(json.loads(structures[material_id])["structure"])
            yield from _rows(structure, material_id, element, rows, sams_settings or SamsSettings())
        except VtcFlowsError as error:
            on_problem(material_id, element, error)


def sams_of(
    structure: Structure,
    material_id: str,
    element: str,
    rows: Sequence[Row],
    sams_settings: SamsSettings | None = None,
) -> list[SamsRecord]:
    """
    Return the records of a crystal's element from its rows of sites, as workflows make them.

    They count as made when the last of their sites was: made again they are the same.
    """
    content = structure_dict(structure)
    documents = {row["site_index"]: document_of(row, content) for row in rows}
    sites = [documents.get(orbit.representative) for orbit in site_orbits(structure, element)]
    found = sams_records(
        structure, element, material_id, sites, XesSettings(), sams_settings or SamsSettings()
    )
    made_at = max(
        (time for document in documents.values() for time in _times(document)), default=None
    )
    for record in found:
        record.provenance.created_at = made_at or record.provenance.created_at
    return found


def _times(document: SiteXesDoc) -> list[str]:
    """Return when the parts of a site's document were made."""
    made = [spectrum.provenance for spectrum in document.spectra]
    failed = [] if document.failure is None else [document.failure.provenance]
    return [each.created_at for each in (*made, *failed) if each is not None]


def _rows(
    structure: Structure, material_id: str, element: str, rows: list[Row], sams: SamsSettings
) -> Iterator[Row]:
    names = names_of_record(structure)
    for record in sams_of(structure, material_id, element, rows, sams):
        engine = record.provenance.engine
        kind = names_of_kind(structure, record.features.n_sg)
        multiplicities = [site.multiplicity for site in record.sites]
        multiplicities += [failed.multiplicity for failed in record.failures]
        yield {
            "record_id": record.record_id,
            "material_id": material_id,
            "element": element,
            "part": rows[0]["part"],
            "rank": rows[0]["rank"],
            **kind,
            **names,
            "fold_formula": fold_of(kind["formula"]),
            "fold_prototype": fold_of(kind["prototype"]),
            "fms_atoms": record.fms_atoms,
            "state": record.state,
            "reason": _reason(record),
            "n_sites": sum(multiplicities),
            "n_orbits": len(multiplicities),
            **record.features.numbers(),
            **{name: getattr(record, name) for name in TARGETS},
            "window_start_ev": record.window_ev[0],
            "frame_freedom": record.frame_freedom,
            "engine": record.engine,
            "engine_sha256": "" if engine is None else engine.sha256,
            "engine_identity": rows[0]["engine"],
            "settings_hash": record.provenance.settings_hash,
            "cpu_s": _cpu_s(record),
        }


def names_of_record(structure: Structure) -> Row:
    """Return what a table says of a crystal beside its kind."""
    return {
        "chemical_class": chemical_class(structure.composition),
        "n_atoms": len(structure),
        "structure_hash": structure_hash(structure),
    }


def fold_of(name: str) -> int:
    """
    Return in which of five folds a formula or a prototype is, whatever others there are.

    Examples
    --------
    >>> [fold_of(name) for name in ("TiO2", "NiO", "FeS2")]
    [0, 1, 3]
    """
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % N_FOLDS


def _reason(record: SamsRecord) -> str | None:
    return record.failures[0].reason if record.failures else None


def _cpu_s(record: SamsRecord) -> float:
    return float(sum(site.timings["total"] for site in record.sites))


_TEXT = (
    *("record_id", "material_id", "element", "part", "formula", "prototype", "chemical_class"),
    *("structure_hash", "state", "reason", "oxidation_method", "frame_freedom", "engine"),
    *("engine_sha256", "engine_identity", "settings_hash"),
)
_WHOLE = (
    *("rank", "space_group_number", "n_atoms", "fms_atoms", "n_sites", "n_orbits"),
    *("fold_formula", "fold_prototype", "n_without_electronegativity"),
)


def record_table(rows: Sequence[Row]) -> pa.Table:
    """
    Return rows of `record_rows` as a table, whose columns have their types whatever is in them.

    Raises
    ------
    InputError
        If there is none.
    """
    if not rows:
        raise InputError("there are no finished sites to make records of")
    kinds = dict.fromkeys(rows[0], pa.float64())
    kinds |= dict.fromkeys(_TEXT, pa.string()) | dict.fromkeys(_WHOLE, pa.int32())
    return pa.Table.from_pylist(list(rows), schema=pa.schema(list(kinds.items())))
