"""`vtc status` and `vtc retry`: how far a campaign is, and failed sites once more."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from vtc_flows.cli import options
from vtc_flows.cli.display import add_columns, console, plain_table, print_table
from vtc_flows.settings import load_settings
from vtc_flows.stores.connection import database_errors, open_database, server_of
from vtc_flows.workflow.campaign import Status, campaign_status, retry
from vtc_flows.workflow.launchpad import open_launchpad
from vtc_flows.workflow.lost import recover_lost

if TYPE_CHECKING:
    from rich.table import Table

_STATES = ("READY", "WAITING", "RESERVED", "RUNNING", "COMPLETED", "FIZZLED")
_WATCH_S = 5.0


@click.command()
@click.option("--watch", is_flag=True, help="Show it again and again, until all is done.")
@click.option(
    "--every",
    type=options.Number(0.2, 3600),
    default=_WATCH_S,
    show_default=True,
    metavar="SECONDS",
    help="How often, with --watch.",
)
@options.as_json
def status(watch: bool, every: float, as_json: bool) -> None:
    """
    Show how far everything in the launchpad is.

    Jobs by state, failed sites by reason, records, sites per hour within the last hour, and when
    the rest will be done at that rate.
    """
    settings = load_settings()
    database = open_database(settings)
    launchpad = open_launchpad(settings)
    try:
        found = campaign_status(launchpad, database)
        if as_json:
            click.echo(json.dumps({**asdict(found), "at": found.at.isoformat()}))
            return
        target = console(error_stream=False)
        if not watch:
            target.print(Text(server_of(database)))
            for part in _parts(found):
                target.print() if isinstance(part, str) else print_table(part, target)
            target.print(Text(_rate(found)))
            return
        with Live(_view(found), console=target) as live:
            while not found.is_over:
                time.sleep(every)
                found = campaign_status(launchpad, database)
                live.update(_view(found))
    finally:
        launchpad.connection.close()


@click.command("retry")
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    metavar="CODE",
    help="Only sites that failed for it, as `vtc status` names it. May be repeated.",
)
@click.option("--lost", is_flag=True, help="Only what dead workers have left behind.")
def retry_failed(reasons: tuple[str, ...], lost: bool) -> None:
    """
    Let failed sites be run again, and what dead workers have left behind.

    The records of their crystals are made again after that. Workers do the second part by
    themselves when they begin and when they find nothing to do (`vtc rlaunch`).
    """
    settings = load_settings()
    database = open_database(settings)
    launchpad = open_launchpad(settings)
    try:
        with database_errors(database):
            found = recover_lost(launchpad)
        again = retry(launchpad, database, reasons) if not lost else {}
    finally:
        launchpad.connection.close()
    for reason, count in sorted(again.items()):
        click.echo(f"{count:>7} {reason}")
    for what, ids in asdict(found).items():
        if ids:
            click.echo(f"{len(ids):>7} {what}, left by dead workers")
    if not again and not found:
        click.echo("nothing to do again")


def _view(found: Status) -> Group:
    parts = (Text() if isinstance(part, str) else part for part in _parts(found))
    return Group(*parts, Text(_rate(found)))


def _parts(found: Status) -> list[Table | str]:
    jobs = plain_table()
    add_columns(jobs, "jobs", *(state.lower() for state in _STATES), text=("jobs",))
    for name, states in (("sites", found.sites), ("records", found.records)):
        others = sum(count for state, count in states.items() if state not in _STATES)
        jobs.add_row(
            f"{name}{f' (+{others} other)' if others else ''}",
            *(str(states.get(state, 0)) for state in _STATES),
        )
    parts: list[Table | str] = [jobs, ""]
    if found.failures:
        failures = plain_table()
        add_columns(failures, "failed sites", "n", text=("failed sites",))
        for reason, count in sorted(found.failures.items(), key=lambda each: -each[1]):
            failures.add_row(reason, str(count))
        parts += [failures, ""]
    return parts


def _rate(found: Status) -> str:
    results = ", ".join(f"{count} {state}" for state, count in sorted(found.results.items()))
    lines = [f"records in the database: {results or 'none'}"]
    if found.outdated:
        lines.append(
            f"{found.outdated} of them are of an older revision of their engine: vtc submit "
            "computes them anew"
        )
    if found.lost:
        lines.append(f"{found.lost} jobs of silent workers: vtc retry --lost")
    if found.per_hour:
        lines.append(
            f"{found.recent_sites} sites lately, {found.per_hour:.0f} per hour; "
            + ("all done" if found.is_over else f"the rest takes {_duration(found.eta_s or 0)}")
        )
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    """
    Return a duration for people.

    Examples
    --------
    >>> [_duration(seconds) for seconds in (40, 4000, 400000)]
    ['40 s', '1.1 h', '4.6 d']
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172800 else f"{seconds / 86400:.1f} d"
