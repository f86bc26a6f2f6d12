"""Structures and absorbers as the user names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vtc_flows.crystal.checks import validate
from vtc_flows.crystal.sites import absorbers, as_symbols
from vtc_flows.crystal.sources import StructureRecord, load_structures
from vtc_flows.errors import InputError, StructureError, VtcFlowsError


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
    sources: dict[str, str] = {}
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
                if record.material_id in sources:
                    problems.append((record.source, _same_name(record, sources)))
                    continue
                sources[record.material_id] = record.source
                records.append(record)
            if not found and not unreadable:
                raise InputError(f"{spec} holds no structure: it is empty")
        except VtcFlowsError as error:
            problems.append((spec, error))
        problems += [(spec, error) for error in unreadable]
    return records, problems


def _same_name(record: StructureRecord, sources: Mapping[str, str]) -> InputError:
    return InputError(
        f"{record.source} and {sources[record.material_id]} are both called "
        f"{record.material_id}: rename one, or run them apart"
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
