"""`vtc features`: features of structures, without an engine."""

from __future__ import annotations

import json

import click
from rich.table import Table

from vtc_flows.cli import options
from vtc_flows.cli.display import (
    add_columns,
    console,
    plain_table,
    print_problems,
    print_remarks,
    print_table,
    short,
)
from vtc_flows.cli.lazy import BAD_INPUT
from vtc_flows.crystal.sites import absorbers
from vtc_flows.errors import VtcFlowsError
from vtc_flows.schemas import FeatureRecord, SamsSettings
from vtc_flows.settings import load_settings
from vtc_flows.workflow.analysis import feature_records
from vtc_flows.workflow.inputs import load_all

#: Marks of the ways to oxidation states, in a column as narrow as can be.
_METHODS = {"given": "g", "formula guess": "f", "bond valence": "b", "zero": "0"}


@click.command()
@options.structures
@options.elements
@options.moments
@options.as_json
def features(
    structures: tuple[str, ...],
    elements: tuple[str, ...],
    exponent: int,
    moment_cutoff: float,
    as_json: bool,
) -> None:
    """
    Print the features of crystal structures; needs no FEFF.

    STRUCTURE is a CIF, POSCAR or JSON file, or a Materials Project id such as mp-2657.
    """
    key = load_settings().mp_api_key
    records, problems = load_all(structures, mp_api_key=key.get_secret_value() if key else None)
    print_remarks(records)
    settings = SamsSettings(moment_exponent=exponent, moment_cutoff_angstrom=moment_cutoff)
    found: list[FeatureRecord] = []
    for record in records:
        try:
            found += feature_records(
                record.structure,
                elements or absorbers(record.structure),
                record.material_id,
                settings,
                source=record.source,
            )
        except VtcFlowsError as error:
            problems.append((record.source, error))
    if as_json:
        click.echo(json.dumps([each.model_dump(mode="json") for each in found]))
    elif found:
        target = console(error_stream=False)
        print_table(_table(found), target)
        for line in _legend(found):
            target.print(line, soft_wrap=True)
    print_problems(problems)
    if problems:
        raise click.exceptions.Exit(BAD_INPUT)


def _table(found: list[FeatureRecord]) -> Table:
    numbers = ("qams", "dams", "iams", "density", "n_sg", "n_3d", "en_mean", "en_std")
    table = plain_table()
    add_columns(table, "material", "X", *numbers, "ox", text=("material", "X", "ox"))
    for each in found:
        values = [getattr(each.features, name) for name in numbers]
        table.add_row(
            each.material_id,
            each.element,
            *(short(value) for value in values),
            _METHODS[each.features.oxidation_method],
        )
    return table


def _legend(found: list[FeatureRecord]) -> list[str]:
    """Return what the table's numbers mean: their units, and where oxidation states come from."""
    power, cutoff = found[0].moment_exponent, found[0].moment_cutoff_angstrom
    used = {each.features.oxidation_method for each in found}
    meanings = ", ".join(f"{mark} {name}" for name, mark in _METHODS.items() if name in used)
    units = f"qams e A^{2 - power}, dams e A^{1 - power}, iams A^{2 - power}"
    return [
        f"{units} (to {cutoff:g} A), density g/cm^3, n_3d electrons",
        f"ox: where the oxidation states come from: {meanings}",
    ]
