"""Structures and absorbers as the user names them."""

from __future__ import annotations

from collections.abc import Sequence

from vtc_flows.crystal.checks import validate
from vtc_flows.crystal.sites import absorbers, as_symbols
from vtc_flows.crystal.sources import StructureRecord, load_structures
from vtc_flows.errors import InputError, StructureError, VtcFlowsError
from vtc_flows.schemas import same_crystal
from vtc_flows.workflow.analysis import structure_dict


def load_all(
    specs: str | Sequence[str], *, mp_api_key: str | None = None
) -> tuple[list[StructureRecord], list[tuple[str, VtcFlowsError]]]:
    """
    Load structures; one that cannot be read does not hide the others.

    Returns
    -------
    records : list of StructureRecord
    problems : list of (str, VtcFlowsError)
        The input each comes from, and why.
    """
    records: list[StructureRecord] = []
    problems: list[tuple[str, VtcFlowsError]] = []
    taken: dict[str, StructureRecord] = {}
    for spec in [specs] if isinstance(specs, str) else specs:
        found = False
        unreadable: list[StructureError] = []
        try:
            for record in load_structures(
                [spec],
                mp_api_key=mp_api_key,
                on_problem=unreadable.append,
            ):
                found = True
                if record.material_id in taken:
                    problems.append((record.source, same_name(record, taken[record.material_id])))
                    continue
                taken[record.material_id] = record
                records.append(record)
            if not found and not unreadable:
                raise InputError(f"{spec} holds no structure: it is empty")
        except VtcFlowsError as error:
            problems.append((spec, error))
        problems += [(spec, error) for error in unreadable]
    return records, problems


def same_name(record: StructureRecord, first: StructureRecord) -> InputError:
    """Return what is wrong with a crystal that is called as one before it."""
    what = f"{record.source} and {first.source} are both called {record.material_id}"
    if same_crystal(structure_dict(record.structure), structure_dict(first.structure)):
        return InputError(f"{what} and hold the same crystal: it is taken once")
    return InputError(
        f"{what} and hold different crystals: rename one, or run them apart, each with a folder of "
        "its own"
    )


def chosen_elements(record: StructureRecord, elements: str | Sequence[str]) -> list[str]:
    """
    Return the absorbers to compute: those asked for, or all.

    Raises
    ------
    StructureError
        If the structure cannot be used, or does not hold an element asked for.
    """
    chosen = as_symbols(elements) or absorbers(record.structure)
    for element in chosen:
        validate(record.structure, element)
    return chosen
