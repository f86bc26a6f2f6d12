"""`vtc run`: from crystal structures to spectra, SAMS and features."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from vtc_flows.cli import options
from vtc_flows.cli.calculation import interruptible, sams_settings_for, xes_settings
from vtc_flows.cli.display import (
    SiteProgress,
    console,
    logs_as_lines,
    print_problems,
    print_record,
    print_remarks,
    say,
)
from vtc_flows.cli.engine import ready_engine
from vtc_flows.cli.folder import require_writable
from vtc_flows.cli.lazy import BAD_INPUT, FAILED
from vtc_flows.cli.results import (
    SITES_FOLDER,
    require_table,
    with_own_names,
    write_record,
    write_summary,
)
from vtc_flows.errors import InputError, VtcFlowsError
from vtc_flows.schemas import SamsRecord
from vtc_flows.settings import VtcSettings, load_settings
from vtc_flows.stores.connection import MongoDatabase, server_of
from vtc_flows.stores.records import save_record
from vtc_flows.workflow.batch import Outcome, Plan, Task, keeping_maker, plan, run_tasks


@click.command()
@options.structures
@options.elements
@options.preset
@options.spectra
@options.moments
@options.engine
@options.workers
@options.out("vtc-results")
@options.plot
@options.store
@options.as_json
def run(structures: tuple[str, ...], elements: tuple[str, ...], **given: Any) -> None:
    """
    Compute spectra, SAMS and features of crystal structures.

    STRUCTURE is a CIF, POSCAR or JSON file, or a Materials Project id such as mp-2657. Finished
    sites are kept in the folder of results; the same command goes on where it stopped. Another
    crystal under a name that the folder has already is refused.

    Exit code 0: all done. 1: a calculation failed. 2: an input could not be used. 130:
    interrupted.
    """
    settings = xes_settings(given["preset"], given)
    sams_settings = sams_settings_for(settings, given)
    machine = load_settings()
    ready_engine(given["engine"], machine, install_if_missing=given["install_engine"])
    database = open_prepared(machine) if given["store"] else None
    key = machine.mp_api_key
    todo = plan(structures, elements, settings, mp_api_key=key.get_secret_value() if key else "")
    folder: Path = given["out"].absolute()
    todo = with_own_names(todo, folder, database)
    print_problems(todo.problems)
    print_remarks(task.record for task in todo.tasks)
    if todo.tasks:
        require_writable(folder)
        require_table(folder)
    maker = keeping_maker(given["engine"], settings, sams_settings, folder / SITES_FOLDER)
    results = _Results(todo, folder, database, plot=given["plot"], as_json=given["as_json"])
    if todo.tasks:
        n_sites = sum(task.n_sites for task in todo.tasks)
        with logs_as_lines(), interruptible(results.interrupted), SiteProgress(n_sites) as bar:
            for task, outcome in run_tasks(
                todo.tasks, maker, workers=given["workers"], listener=bar.tell
            ):
                with bar.hidden():
                    results.add(task, outcome)
    results.finish(debug=bool(click.get_current_context().find_root().params.get("debug")))


def open_prepared(machine: VtcSettings) -> MongoDatabase:
    """Return the database, ready to be written to."""
    from vtc_flows.workflow.launchpad import prepare_database  # FireWorks reads files and prints

    return prepare_database(machine)


@dataclass
class _Results:
    """What came out so far, on disk as soon as it is there."""

    todo: Plan
    folder: Path
    database: MongoDatabase | None
    plot: bool
    as_json: bool
    n_finished: int = 0
    _records: dict[int, list[SamsRecord]] = field(default_factory=dict)
    _problems: list[tuple[str, VtcFlowsError]] = field(default_factory=list)

    def add(self, task: Task, outcome: Outcome) -> None:
        """Take in the outcome of a task."""
        self.n_finished += 1
        if isinstance(outcome, VtcFlowsError):
            self._problems.append((task.record.source, outcome))
            return
        target = console(error_stream=self.as_json)
        try:
            for record in outcome:
                write_record(self.folder, record, plot=self.plot)
                if self.database is not None:
                    save_record(self.database, record)
                print_record(record, target)
        except InputError as error:  # another crystal has got the name in the meantime
            self._problems.append((task.record.source, error))
            return
        self._records[self.todo.tasks.index(task)] = outcome
        write_summary(self.folder, outcome)

    def interrupted(self) -> str:
        """Return what to say where the command is interrupted."""
        return (
            f"{self.n_finished} of {len(self.todo.tasks)} materials are finished, finished sites "
            f"are kept in {self.folder / SITES_FOLDER}"
        )

    def finish(self, *, debug: bool) -> None:
        """Print what programs want to see and what went wrong; end with the right exit code."""
        records = [record for index in sorted(self._records) for record in self._records[index]]
        if self.as_json:
            click.echo(json.dumps([record.model_dump(mode="json") for record in records]))
        if records:
            stored = f" and {server_of(self.database)}" if self.database is not None else ""
            say(f"results are in {self.folder}{stored}")
        print_problems(self._problems, debug=debug)
        failed = any(record.failures for record in records)
        if failed or any(not isinstance(e, InputError) for _, e in self._problems):
            raise click.exceptions.Exit(FAILED)
        if self._problems or self.todo.problems:
            raise click.exceptions.Exit(BAD_INPUT)
