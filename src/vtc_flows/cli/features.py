"""`vtc features`: features of structures, without an engine."""

from __future__ import annotations

import json

import click
from rich.table import Table

from vtc_flows.cli import options
from vtc_flows.cli.display import console, plain_table, print_problems, short
from vtc_flows.cli.lazy import BAD_INPUT
from vtc_flows.crystal.sites import absorbers
from vtc_flows.errors import VtcFlowsError
from vtc_flows.schemas import FeatureRecord, SamsSettings
from vtc_flows.settings import load_settings
from vtc_flows.workflow.analysis import feature_records
from vtc_flows.workflow.inputs import load_all


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
        console(error_stream=False).print(_table(found))
    print_problems(problems)
    if problems:
        raise click.exceptions.Exit(BAD_INPUT)


def _table(found: list[FeatureRecord]) -> Table:
    table = plain_table(
        title=f"exponent {found[0].moment_exponent}, "
        f"cutoff {found[0].moment_cutoff_angstrom:g} Angstrom"
    )
    for name in ("material", "X"):
        table.add_column(name)
    numbers = ("qams", "dams", "iams", "density", "n_sg", "n_3d", "en_mean", "en_std")
    for name in numbers:
        table.add_column(name, justify="right")
    table.add_column("oxidation states")
    for each in found:
        values = [getattr(each.features, name) for name in numbers]
        table.add_row(
            each.material_id,
            each.element,
            *(short(value) for value in values),
            each.features.oxidation_method,
        )
    return table
