"""`vtc workflow` and `vtc submit`: calculations for FireWorks, as files or into the launchpad."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from vtc_flows.cli import options
from vtc_flows.cli.calculation import sams_settings_for, xes_settings
from vtc_flows.cli.display import say
from vtc_flows.cli.lazy import BAD_INPUT
from vtc_flows.cli.options import Command
from vtc_flows.cli.selection import crystals, selection
from vtc_flows.crystal.sources import StructureRecord
from vtc_flows.errors import EngineNotFoundError, InputError, VtcFlowsError
from vtc_flows.feff.registry import create_engine
from vtc_flows.schemas import require_same_crystal
from vtc_flows.settings import VtcSettings, load_settings
from vtc_flows.stores.connection import MongoDatabase, open_database, server_of
from vtc_flows.workflow.analysis import structure_dict
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker
from vtc_flows.workflow.launchpad import open_launchpad, prepare_database
from vtc_flows.workflow.materials import Selection, select
from vtc_flows.workflow.submission import (
    Submission,
    Submitted,
    crystal_of_workflow,
    prepare_submission,
    submit,
    to_workflow,
)
from vtc_flows.writing import file_name, write_whole

_FORMATS = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}


def _calculation(command: Command) -> Command:
    """Add which crystals, and how they are calculated."""
    for option in (
        click.option(
            "--engine",
            default=options.DEFAULT_ENGINE,
            show_default=True,
            metavar="NAME",
            help="feff8l, feff10, or the place package.module:factory of an engine that workers "
            "have.",
        ),
        options.moments,
        options.spectra,
        options.preset,
        crystals(
            stored=True,
            element_help="Absorbing element; crystals without it are left out. All 3d metals of a "
            "crystal if not given.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@_calculation
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="A file (.json or .yaml) for one crystal, or a folder that gets a file for each.",
)
def workflow(output: Path, **given: Any) -> None:
    """
    Write FireWorks workflows, one for each crystal, as `lpad add` takes them.

    STRUCTURE is a file (CIF, POSCAR, JSON, JSON lines, also .gz) or a Materials Project id. The
    names of the files written are printed. A file of another crystal is not replaced by one of the
    same name.

    Exit code 2: an input could not be used; the others are written.
    """
    run = _Run(given)
    format_ = _FORMATS.get(output.suffix.lower())
    names: list[Path] = []
    for submission in run.submissions():
        if format_ is None:
            path = output / file_name(submission.record.material_id, ".json")
            if not run.is_free(path, submission.record):
                continue
        elif names:
            raise InputError(
                f"{output} takes one crystal, and holds {names[0]}'s now: name a folder for several"
            )
        else:
            path = output
        write_whole(path, to_workflow(submission).to_format(f_format=format_ or "json"))
        names.append(path)
        click.echo(path)
    run.finish()


@click.command("submit")
@_calculation
@click.option("--again", is_flag=True, help="Submit also what was submitted before.")
def submit_crystals(again: bool, **given: Any) -> None:
    """
    Add workflows to the launchpad, one for each crystal; nothing twice.

    STRUCTURE is a file (CIF, POSCAR, JSON, JSON lines, also .gz) or a Materials Project id. What
    was submitted before with the same name, crystal, engine and settings is left out, also where
    others submit at the same time.

    Exit code 2: an input could not be used; the others are submitted.
    """
    run = _Run(given)
    database = prepare_database(run.settings)
    launchpad = open_launchpad(run.settings)
    total = Submitted()
    try:
        for total in submit(launchpad, database, run.submissions(), run.on_problem, again=again):
            if total.crystals % 1000 == 0 and total.crystals:
                say(f"{total.crystals} crystals so far")
    finally:
        launchpad.connection.close()
    there = f"; {total.records_there} records were submitted before" if total.records_there else ""
    click.echo(
        f"{total.crystals} crystals with {total.sites} sites for {total.records} records in "
        f"{server_of(database)}{there}"
    )
    run.finish()


class _Run:
    """What both commands do: crystals in, submissions out, problems told as they come."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.settings = load_settings()
        self._selection = selection(given)
        xes = xes_settings(given["preset"], given)
        self._maker = PolarizedXesFlowMaker(
            site_maker=SiteXesMaker(engine=given["engine"], settings=xes),
            sams_settings=sams_settings_for(xes, given),
        )
        _require_engine(given["engine"], self.settings)
        self._n_problems = 0

    def on_problem(self, source: str, error: VtcFlowsError) -> None:
        """Tell what cannot be used."""
        self._n_problems += 1
        say(str(error) if source in str(error) else f"{source}: {error}")

    def submissions(self) -> Iterator[Submission]:
        """Yield what there is to do, crystal by crystal."""
        key = self.settings.mp_api_key
        database = _stored(self._selection, self.settings)
        for record in select(
            self._selection,
            self.on_problem,
            database=database,
            mp_api_key=key.get_secret_value() if key else None,
        ):
            submission, problems = prepare_submission(record, self._selection.elements, self._maker)
            for error in problems:
                self.on_problem(record.source, error)
            if submission.flows:
                yield submission

    def is_free(self, path: Path, record: StructureRecord) -> bool:
        """Say whether a file may be written for a crystal: it is not another one's of its name."""
        there = crystal_of_workflow(path)
        try:
            require_same_crystal(
                record.material_id,
                structure_dict(record.structure),
                record.source,
                [there] if there is not None else [],
                advice="rename the file, or choose another --output",
            )
        except InputError as error:
            self.on_problem(record.source, error)
            return False
        return True

    def finish(self) -> None:
        """End with the right exit code."""
        if self._n_problems:
            raise click.exceptions.Exit(BAD_INPUT)


def _require_engine(name: str, settings: VtcSettings) -> None:
    """Refuse a name that is no engine; one whose files are missing may be on the workers."""
    try:
        create_engine(name, settings)
    except EngineNotFoundError as error:
        say(f"note: workers will need what is not here: {error}")


def _stored(chosen: Selection, settings: VtcSettings) -> MongoDatabase | None:
    return None if chosen.stored is None else open_database(settings)
