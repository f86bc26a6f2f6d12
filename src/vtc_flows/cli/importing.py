"""`vtc import`: crystals into the collection ``materials``."""

from __future__ import annotations

from typing import Any

import click

from vtc_flows.cli.display import say
from vtc_flows.cli.lazy import BAD_INPUT
from vtc_flows.cli.selection import crystals, selection
from vtc_flows.errors import VtcFlowsError
from vtc_flows.schemas import MaterialDoc
from vtc_flows.settings import load_settings
from vtc_flows.stores.connection import server_of
from vtc_flows.stores.materials import Imported, save_materials
from vtc_flows.workflow.launchpad import prepare_database
from vtc_flows.workflow.materials import material_document, select

_BATCH = 200


@click.command("import")
@crystals(stored=False, element_help="Only crystals that contain it.")
@click.option("--licence", metavar="TEXT", help="Of the data, where the source does not say.")
@click.option(
    "--experimental/--computed",
    default=None,
    help="Whether the crystals are known from experiment, where the source does not say.",
)
@click.option(
    "--replace", is_flag=True, help="Put crystals in the place of other ones of the same name."
)
def import_materials(
    licence: str | None, experimental: bool | None, replace: bool, **given: Any
) -> None:
    """
    Put crystals into the collection `materials`, each under its id.

    STRUCTURE is a file (CIF, POSCAR, JSON, JSON lines, also .gz) or a Materials Project id. One
    that is there already and has not changed is not touched. Another crystal under an id that is
    there, or that results have, is refused without --replace.

    Exit code 2: an input could not be used; the others are there.
    """
    chosen = selection(given)
    settings = load_settings()
    database = prepare_database(settings)
    n_problems = 0

    def on_problem(source: str, error: VtcFlowsError) -> None:
        nonlocal n_problems
        n_problems += 1
        say(str(error) if source in str(error) else f"{source}: {error}")

    total = Imported()
    batch: list[MaterialDoc] = []
    key = settings.mp_api_key
    for record in select(chosen, on_problem, mp_api_key=key.get_secret_value() if key else None):
        batch.append(material_document(record, licence=licence, experimental=experimental))
        if len(batch) == _BATCH:
            total += save_materials(database, batch, replace=replace)
            batch.clear()
    if batch:
        total += save_materials(database, batch, replace=replace)
    for error in total.refused:
        on_problem("", error)
    click.echo(
        f"{total.new} new, {total.changed} changed, {total.unchanged} unchanged in "
        f"{server_of(database)}"
    )
    if n_problems:
        raise click.exceptions.Exit(BAD_INPUT)
