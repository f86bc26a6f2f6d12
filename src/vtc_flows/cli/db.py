"""`vtc db`: the database of this machine, or what is in the one that is configured."""

from __future__ import annotations

import time

import click

from vtc_flows.cli.lazy import BAD_INPUT, FAILED
from vtc_flows.errors import ConfigurationError, VtcFlowsError
from vtc_flows.settings import VtcSettings, load_settings
from vtc_flows.stores.collections import ALL
from vtc_flows.stores.connection import database_errors, open_database, server_of
from vtc_flows.stores.local_server import running_server, start_server, stop_server


@click.group()
def db() -> None:
    """Start, stop and look into a MongoDB of this machine, or the one in VTC_DATABASE_URI."""


@db.command()
def start() -> None:
    """
    Start a MongoDB for this user and print its address.

    It listens on this machine only and asks for no password. Its data stay in the user's data
    folder. Started twice, it runs once.
    """
    from vtc_flows.workflow.launchpad import prepare_database

    settings = load_settings()
    before = running_server(settings)
    server = start_server(settings)
    own = settings.model_copy(update={"database_uri": None})
    prepare_database(own)
    click.echo(server.uri)
    _say(
        f"{'runs already' if before == server else 'started'}: process {server.pid}, data in "
        f"{server.folder}"
    )
    if settings.database_uri is not None:
        _say("note: VTC_DATABASE_URI is set and names the database that commands use")
    else:
        _say("commands of this user on this machine find it; stop it with: vtc db stop")


@db.command()
def stop() -> None:
    """Stop the MongoDB of this user; its data stay."""
    server = stop_server(load_settings())
    _say("none was running" if server is None else f"stopped process {server.pid}")


@db.command()
def prepare() -> None:
    """
    Make the indexes in the database, and the counters of FireWorks where there are none.

    `vtc db start` and `vtc submit` do it themselves; a new database elsewhere needs it once before
    `lpad add`. Nothing that is there changes.
    """
    from vtc_flows.workflow.launchpad import prepare_database

    click.echo(f"ready: {server_of(prepare_database(load_settings()))}")


@db.command()
def status() -> None:
    """Say which database is in use and what it holds; exit code 2 if there is none."""
    settings = load_settings()
    _say_local(settings)
    try:
        database = open_database(settings)
    except ConfigurationError as error:
        click.echo(f"in use:   none: {error}")
        raise click.exceptions.Exit(BAD_INPUT) from None
    try:
        with database_errors(database):
            version = database.client.server_info()["version"]
            size = database.command("dbStats")["totalSize"]
            counts = {
                plan.name: database[plan.name].estimated_document_count()
                for plan in ALL
                if "." not in plan.name
            }
            counts["workflows"] = database.workflows.estimated_document_count()
    except VtcFlowsError as error:
        click.echo(f"in use:   problem: {error}")
        raise click.exceptions.Exit(FAILED) from None
    click.echo(f"in use:   {server_of(database)}, MongoDB {version}, {size / 1e6:.1f} MB")
    for name, count in counts.items():
        click.echo(f"          {count:>9} {name}")


def _say_local(settings: VtcSettings) -> None:
    server = running_server(settings)
    if server is None:
        click.echo("here:     none runs (vtc db start)")
        return
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(server.started_at))
    click.echo(f"here:     {server.uri}, process {server.pid} since {since}, {server.program}")
    click.echo(f"          data in {server.folder}")


def _say(text: str) -> None:
    click.echo(f"vtc: {text}", err=True)
