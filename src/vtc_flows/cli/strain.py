"""`vtc strain`: what stretching and compressing a crystal does to its anisotropy."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from vtc_flows.cli import options
from vtc_flows.cli.calculation import interruptible, sams_settings_for, xes_settings
from vtc_flows.cli.display import (
    SiteProgress,
    add_columns,
    console,
    logs_as_lines,
    plain_table,
    print_problems,
    print_remarks,
    print_table,
    say,
    short,
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
from vtc_flows.cli.run import open_prepared
from vtc_flows.errors import InputError, VtcFlowsError
from vtc_flows.plots.strain import strain_figure
from vtc_flows.plots.style import png
from vtc_flows.schemas import SamsRecord, SamsSettings
from vtc_flows.schemas.strain import StrainStudyDoc
from vtc_flows.settings import load_settings
from vtc_flows.stores.connection import MongoDatabase, server_of
from vtc_flows.stores.studies import save_study
from vtc_flows.workflow.batch import Task, Work, keeping_maker, plan, plan_records, run_work
from vtc_flows.workflow.strain import StrainPlan, strain_studies, strains_between
from vtc_flows.writing import file_name, write_whole

_COLUMNS = (
    *("strain", "state", "qams", "dams", "iams"),
    *("sams", "sams_site", "sams_max", "sams_crystal", "sams_crystal_max", "record_id"),
)


@click.command()
@options.structures
@options.elements
@click.option(
    "--axis",
    type=click.Choice(["a", "b", "c"]),
    default="c",
    show_default=True,
    help="Of the conventional cell.",
)
@click.option(
    "--strain",
    "percent",
    type=(options.Number(-50.0, 50.0), options.Number(-50.0, 50.0), options.Number(0.0, 50.0)),
    default=(-3.0, 3.0, 0.5),
    show_default="-3 3 0.5",
    metavar="LOW HIGH STEP",
    help="Elongation along the axis in percent; negative where the crystal is compressed.",
)
@options.preset
@options.spectra
@options.moments
@options.engine
@options.workers
@options.out("vtc-strain")
@options.plot
@options.store
@options.as_json
def strain(
    structures: tuple[str, ...],
    elements: tuple[str, ...],
    axis: Any,
    percent: tuple[float, float, float],
    **given: Any,
) -> None:
    """
    Stretch and compress crystals, and see what QAMS and SAMS do.

    Each crystal is computed at every strain as `vtc run` does it. Atoms keep their places in the
    cell, and the same atoms scatter at every strain: the whole shells of the crystal without
    strain. Finished sites are kept in the folder of results; the same command goes on where it
    stopped. With --store the studies go to the database, where `vtc report` finds them.

    Exit code 0: all done. 1: a calculation failed. 2: an input could not be used. 130:
    interrupted.
    """
    strains = tuple(strains_between(*percent))
    settings = xes_settings(given["preset"], given)
    sams_settings = sams_settings_for(settings, given)
    machine = load_settings()
    ready_engine(given["engine"], machine, install_if_missing=given["install_engine"])
    database = open_prepared(machine) if given["store"] else None
    key = machine.mp_api_key
    todo = plan(structures, elements, settings, mp_api_key=key.get_secret_value() if key else "")
    folder: Path = given["out"].absolute()
    todo = with_own_names(todo, folder, database)
    print_remarks(task.record for task in todo.tasks)
    studies, problems = _studies(
        [StrainPlan(task.record, task.element, axis, strains, settings) for task in todo.tasks],
        folder,
    )
    problems = [*todo.problems, *problems]
    print_problems(problems)
    results = _Results(studies, folder, database, sams_settings, given["plot"], given["as_json"])
    if studies:
        require_writable(folder)
        require_table(folder)
        _run(studies, given, results)
    results.finish(refused=bool(problems))


@dataclass(frozen=True, eq=False)
class _Study:
    """A study and the tasks of its strains."""

    plan: StrainPlan
    tasks: tuple[Task, ...]


def _studies(
    plans: Sequence[StrainPlan], folder: Path
) -> tuple[list[_Study], list[tuple[str, VtcFlowsError]]]:
    """Return the studies that can be made, and why others cannot."""
    studies: list[_Study] = []
    problems: list[tuple[str, VtcFlowsError]] = []
    for each in plans:
        try:
            found = plan_records(each.crystals(), [each.element], each.settings_at_strain)
            found = with_own_names(found, folder)
        except VtcFlowsError as error:
            problems.append((each.record.source, error))
            continue
        problems += found.problems
        if not found.problems:
            studies.append(_Study(each, found.tasks))
    return studies, problems


def _run(studies: Sequence[_Study], given: dict[str, Any], results: _Results) -> None:
    work: list[Work] = []
    places: list[tuple[int, float]] = []
    for number, study in enumerate(studies):
        maker = keeping_maker(
            given["engine"],
            study.plan.settings_at_strain,
            results.sams_settings,
            results.folder / SITES_FOLDER,
        )
        for value, task in zip(study.plan.strains, study.tasks, strict=True):
            work.append((task, maker))
            places.append((number, value))
    n_sites = sum(task.n_sites for task, _ in work)
    with logs_as_lines(), interruptible(results.interrupted), SiteProgress(n_sites) as bar:
        for position, outcome in run_work(work, workers=given["workers"], listener=bar.tell):
            with bar.hidden():
                results.add(*places[position], outcome)


@dataclass
class _Results:
    """What came out so far, on disk as soon as it is there."""

    studies: Sequence[_Study]
    folder: Path
    database: MongoDatabase | None
    sams_settings: SamsSettings
    plot: bool
    as_json: bool
    n_finished: int = 0
    _records: dict[int, dict[float, list[SamsRecord]]] = field(default_factory=dict)
    _n_missing: dict[int, int] = field(default_factory=dict)
    _made: list[StrainStudyDoc] = field(default_factory=list)
    _problems: list[tuple[str, VtcFlowsError]] = field(default_factory=list)

    def add(self, number: int, value: float, outcome: list[SamsRecord] | VtcFlowsError) -> None:
        """Take in what one strain gave; with the last one the study is made."""
        self.n_finished += 1
        study = self.studies[number]
        records = self._records.setdefault(number, {})
        missing = self._n_missing.get(number, len(study.tasks)) - 1
        self._n_missing[number] = missing
        if isinstance(outcome, VtcFlowsError):
            self._problems.append((study.plan.record.source, outcome))
        else:
            try:
                for record in outcome:
                    write_record(self.folder, record, plot=False)
                write_summary(self.folder, outcome)
                records[value] = outcome
            except InputError as error:  # another crystal has got the name in the meantime
                self._problems.append((study.plan.record.source, error))
        if not missing and records:
            for made in strain_studies(study.plan, records, self.sams_settings):
                self._keep(made)

    def interrupted(self) -> str:
        """Return what to say where the command is interrupted."""
        n_strains = sum(len(study.tasks) for study in self.studies)
        return (
            f"{self.n_finished} of {n_strains} strains are finished, finished sites are kept in "
            f"{self.folder / SITES_FOLDER}"
        )

    def finish(self, *, refused: bool) -> None:
        """Print what programs want to see and what went wrong; end with the right exit code."""
        if self.as_json:
            click.echo(json.dumps([each.model_dump(mode="json") for each in self._made]))
        if self._made:
            stored = f" and {server_of(self.database)}" if self.database is not None else ""
            say(f"results are in {self.folder}{stored}")
        print_problems(self._problems)
        incomplete = any(p.state == "incomplete" for each in self._made for p in each.points)
        if incomplete or any(not isinstance(e, InputError) for _, e in self._problems):
            raise click.exceptions.Exit(FAILED)
        if self._problems or refused:
            raise click.exceptions.Exit(BAD_INPUT)

    def _keep(self, study: StrainStudyDoc) -> None:
        self._made.append(study)
        path = self.folder / file_name(study.study_id, ".json")
        write_whole(path, study.model_dump_json(indent=1))
        write_whole(path.with_suffix(".csv"), _csv(study))
        if self.plot:
            write_whole(path.with_suffix(".png"), png(strain_figure(study)))
        if self.database is not None:
            try:
                save_study(self.database, study)
            except InputError as error:
                self._problems.append((study.provenance.source, error))
        _print(study, as_json=self.as_json)


def _csv(study: StrainStudyDoc) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(point.model_dump() for point in study.points)
    return text.getvalue()


def _print(study: StrainStudyDoc, *, as_json: bool) -> None:
    target = console(error_stream=as_json)
    target.print()
    target.print(
        f"{study.material_id}  {study.element}  strain along {study.axis}, {study.n_neighbors} "
        "neighbours in the multiple scattering",
        style="bold",
    )
    table = plain_table()
    names = ("strain %", "QAMS", "DAMS", "IAMS", "SAMS", "own frames", "maximum", "crystal")
    add_columns(table, *names)
    for point in study.points:
        numbers = (point.qams, point.dams, point.iams, point.sams)
        further = (point.sams_site, point.sams_max, point.sams_crystal)
        table.add_row(f"{100 * point.strain:+.2f}", *(short(x) for x in (*numbers, *further)))
    print_table(table, target)
    for line in study.lines:
        fit = "-" if line.r2 is None else f"{line.r2:.4f}"
        target.print(
            f"{line.side}: {line.of.upper()} over {_name(line.over)}: slope {short(line.slope)}, "
            f"R2 {fit} ({line.n} points)",
            soft_wrap=True,
        )
    if len({tuple(point.n_fms_atoms) for point in study.points if point.n_fms_atoms}) > 1:
        say("note: shells cross, and so the atoms in the multiple scattering change with strain")


def _name(over: str) -> str:
    return over.upper() if over == "qams" else over
