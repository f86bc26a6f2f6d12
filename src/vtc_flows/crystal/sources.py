"""Where structures come from: files, JSON lines, Materials Project ids."""

from __future__ import annotations

import gzip
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymatgen.core.structure import Structure
from pymatgen.io.cif import CifParser
from pymatgen.io.vasp.inputs import Poscar

from vtc_flows.crystal.materials_project import LICENCE, fetch_structure
from vtc_flows.errors import DisorderedStructureError, InputError, StructureError

#: What can be read, for messages and help texts.
ACCEPTED_KINDS = (
    "CIF (.cif), POSCAR (POSCAR*, CONTCAR*, .vasp, .poscar), pymatgen JSON (.json), JSON lines "
    "(.jsonl), each also with .gz, or a Materials Project id (mp-2657)"
)

#: The source of what comes from there.
MATERIALS_PROJECT = "Materials Project"

#: What is told of one entry that cannot be used.
Problem = Callable[[StructureError], None]

_MATERIALS_PROJECT_ID = re.compile(r"(mp|mvc)-[a-z0-9]+")

#: Errors that pymatgen's readers raise on malformed text; nothing says so, tried on broken files.
_READER_ERRORS = (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError)


@dataclass(frozen=True, eq=False)
class StructureRecord:
    """
    A structure as it was given: same cell, same axes, same order of sites.

    Attributes
    ----------
    material_id : str
        The id in the source where there is one, else the file's stem.
    structure : Structure
    source : str
        Path of the file, with the line or entry where it holds several, or "Materials Project".
    label : str
        Reduced formula, for people.
    warnings : tuple of str
        What the reader remarked, as rounded coordinates or a stated formula that differs.
    facts : mapping
        What a JSON record says beside the structure, as "licence" or "experimental".
    """

    material_id: str
    structure: Structure
    source: str
    label: str
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def load_structures(
    specs: str | Path | Sequence[str | Path],
    *,
    mp_api_key: str | None = None,
    on_problem: Problem | None = None,
) -> Iterator[StructureRecord]:
    """
    Yield the structures of files and Materials Project ids, one after the other.

    Parameters
    ----------
    specs : str, Path or sequence of them
        Paths (see `ACCEPTED_KINDS`) or ids such as ``mp-2657``. A file of that name goes before
        the id. JSON may hold a pymatgen structure, a record with "structure" and "material_id" or
        "id", or a list of them; JSON lines are read one at a time.
    mp_api_key : str, optional
        Key for the Materials Project; else VTC_MP_API_KEY, MP_API_KEY or pymatgen's settings.
    on_problem : callable, optional
        Called with the error of one entry among many (of a JSON list, of JSON lines), which is
        then left out; without it the error is raised and the rest is lost.

    Yields
    ------
    StructureRecord

    Raises
    ------
    InputError
        If a path does not exist or is of no known kind, or a spec is no text and no path.
    StructureError
        If a file cannot be read; for a CIF also if it holds more than one structure, as nothing
        says which is meant.
    DisorderedStructureError
        If a CIF's occupancies add up to more than one on a site.
    ConfigurationError
        If an id is given and no key for the Materials Project is configured.
    """
    for spec in [specs] if isinstance(specs, str | Path) else specs:
        if not isinstance(spec, str | Path):
            raise InputError(
                f"{spec!r} is a {type(spec).__name__}: give the name of a file, or an id of the "
                'Materials Project as "mp-2657"'
            )
        path = Path(spec)
        if path.is_file():
            yield from _read(path, on_problem or _raise)
        elif _MATERIALS_PROJECT_ID.fullmatch(str(spec)):
            structure = fetch_structure(str(spec), api_key=mp_api_key)
            yield _record(str(spec), structure, MATERIALS_PROJECT, facts={"licence": LICENCE})
        elif path.is_dir():
            raise InputError(f"{path} is a folder: give the files in it, as {path}/*.cif")
        else:
            raise InputError(f"no such file: {path}. Accepted: {ACCEPTED_KINDS}")


def _raise(error: StructureError) -> None:
    raise error


def _read(path: Path, on_problem: Problem) -> Iterator[StructureRecord]:
    """Yield the structures of one file, by its kind."""
    name = path.name.removesuffix(".gz")
    stem = name.rpartition(".")[0] or name
    suffix = Path(name).suffix.lower()
    if suffix == ".cif":
        yield _read_cif(path, stem)
    elif suffix in {".vasp", ".poscar"} or name.upper().startswith(("POSCAR", "CONTCAR")):
        yield _read_poscar(path, stem if suffix in {".vasp", ".poscar"} else name)
    elif suffix == ".json":
        yield from _read_json(path, stem, on_problem)
    elif suffix == ".jsonl":
        yield from _read_json_lines(path, stem, on_problem)
    else:
        raise InputError(f"{path}: a file of unknown kind. Accepted: {ACCEPTED_KINDS}")


def _read_cif(path: Path, stem: str) -> StructureRecord:
    """Return the structure of a CIF, in the cell that the file states."""
    text = _text(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            structures = CifParser.from_str(text).parse_structures(primitive=False)
        except _READER_ERRORS as error:
            remarks = _messages(caught)
            crowded = [remark for remark in remarks if "occupanc" in remark.lower()]
            if crowded:
                raise DisorderedStructureError(
                    f"{path}: occupancies on one site add up to more than 1 ({crowded[0]}); "
                    "correct or order the structure first"
                ) from error
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            reason = next((r for r in remarks if r.startswith("No structure parsed")), reason)
            raise StructureError(f"{path} holds no readable structure: {reason}") from error
        remarks = _messages(caught)
    if len(structures) > 1:
        formulas = ", ".join(structure.composition.reduced_formula for structure in structures)
        raise StructureError(
            f"{path} holds {len(structures)} structures ({formulas}): split it into one file each"
        )
    return _record(stem, structures[0], str(path), tuple(remarks))


def _read_poscar(path: Path, name: str) -> StructureRecord:
    """Return the structure of a VASP file, which must name its elements."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            structure = Poscar.from_str(_text(path)).structure
        except _READER_ERRORS as error:
            raise StructureError(f"{path} is not a readable POSCAR: {error}") from error
        remarks = _messages(caught)
    if any("cannot be determined" in remark.lower() for remark in remarks):
        raise StructureError(f"{path} does not name its elements: add the line of symbols (VASP 5)")
    return _record(name, structure, str(path), tuple(remarks))


def _read_json(path: Path, stem: str, on_problem: Problem) -> Iterator[StructureRecord]:
    """Yield the structures of a JSON file: one, or a list."""
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise StructureError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, list):
        yield _from_json(content, stem, str(path))
        return
    for number, entry in enumerate(content):
        try:
            yield _from_json(entry, f"{stem}-{number}", f"{path} entry {number}")
        except StructureError as error:
            on_problem(error)


def _read_json_lines(path: Path, stem: str, on_problem: Problem) -> Iterator[StructureRecord]:
    """Yield the structures of a file of JSON lines, one at a time."""
    number = 0
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    record = _from_line(line, f"{stem}-{number}", f"{path} line {number}")
                except StructureError as error:
                    on_problem(error)
                else:
                    yield record
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise StructureError(f"{path} cannot be read beyond line {number}: {error}") from error


def _from_line(line: str, name: str, source: str) -> StructureRecord:
    """Return the record of one line of JSON."""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise StructureError(f"{source} is not JSON: {error}") from error
    return _from_json(entry, name, source)


def _from_json(entry: Any, name: str, source: str) -> StructureRecord:
    """Return the record of one JSON object."""
    if not isinstance(entry, dict):
        raise StructureError(f"{source} is not a structure but a {type(entry).__name__}")
    inner = entry.get("structure", entry)
    material_id = str(entry.get("material_id") or entry.get("id") or name)
    if not isinstance(inner, dict) or not {"lattice", "sites"} <= inner.keys():
        raise StructureError(
            f'{source} has no pymatgen structure: neither "lattice" and "sites" nor "structure"'
        )
    try:
        structure = Structure.from_dict(inner)
    except _READER_ERRORS as error:
        raise StructureError(f"{source} is not a readable structure: {error!r}") from error
    named = {"material_id", "id", "structure"}
    beside = inner is not entry
    facts = {key: value for key, value in entry.items() if key not in named} if beside else {}
    return _record(material_id, structure, source, facts=facts)


def _record(
    material_id: str,
    structure: Structure,
    source: str,
    remarks: tuple[str, ...] = (),
    facts: Mapping[str, Any] | None = None,
) -> StructureRecord:
    """Return a record with its label."""
    label = structure.composition.reduced_formula
    return StructureRecord(material_id, structure, source, label, remarks, facts or {})


def _text(path: Path) -> str:
    """Return the text of a file, unpacked where it is packed."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise StructureError(f"{path} cannot be read: {error}") from error
    # degree signs and authors' names come in any encoding; nothing that counts is outside ASCII
    return content.decode("utf-8", errors="replace")


def _messages(caught: list[warnings.WarningMessage]) -> list[str]:
    """Return the distinct warnings of a reader, one line each."""
    lines = (" ".join(str(item.message).split()) for item in caught)
    return list(dict.fromkeys(lines))
