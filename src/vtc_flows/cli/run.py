"""`vtc run`: from crystal structures to spectra, SAMS and features."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from vtc_flows.cli import options
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
from vtc_flows.cli.lazy import BAD_INPUT, FAILED, INTERRUPTED, OneLineError
from vtc_flows.cli.results import SITES_FOLDER, require_table, write_record, write_summary
from vtc_flows.errors import InputError, VtcFlowsError
from vtc_flows.schemas import Preset, SamsRecord, SamsSettings, XesSettings
from vtc_flows.settings import load_settings
from vtc_flows.workflow.batch import Plan, Task, plan, run_tasks
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker


@click.command()
@options.structures
@options.elements
@click.option(
    "--preset",
    type=click.Choice(["seed", "converged"]),
    default="seed",
    show_default=True,
    help="Neighbours in the multiple scattering: the source paper's 30, or 80.",
)
@click.option(
    "--fms-atoms", type=options.Sizes(), help="Instead of the preset's; several share one SCF."
)
@click.option(
    "--scf-atoms",
    type=click.IntRange(1, 99),
    default=30,
    show_default=True,
    metavar="N",
    help="Neighbours in the self-consistent potentials.",
)
@click.option(
    "--energies",
    type=(options.Number(1.0, 200.0), options.Number(0.0, 100.0), options.Number(0.005, 2.0)),
    default=(30.0, 5.0, 0.1),
    show_default="30 5 0.1",
    metavar="BELOW ABOVE STEP",
    help="Grid about the Fermi level in eV.",
)
@click.option(
    "--core-hole",
    type=click.Choice(["fsr", "none"]),
    default="fsr",
    show_default=True,
    help="The 1s hole: kept (final-state rule), or ignored.",
)
@click.option(
    "--window",
    type=(float, float),
    metavar="LOW HIGH",
    help="Window of SAMS relative to the Fermi level in eV; the whole grid if not given.",
)
@click.option(
    "--fwhm",
    type=options.Number(0.0, 20.0),
    default=0.0,
    show_default=True,
    metavar="W",
    help="Gaussian broadening before SAMS, full width in eV.",
)
@options.moments
@options.engine
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    metavar="N",
    help="Materials at a time, each in a process of its own.",
)
@options.out("vtc-results")
@click.option("--plot/--no-plot", default=True, help="Draw a picture of each record, or not.")
@options.as_json
def run(structures: tuple[str, ...], elements: tuple[str, ...], **given: Any) -> None:
    """
    Compute spectra, SAMS and features of crystal structures.

    STRUCTURE is a CIF, POSCAR or JSON file, or a Materials Project id such as mp-2657. Finished
    sites are kept in the folder of results; the same command goes on where it stopped.

    Exit code 0: all done. 1: a calculation failed. 2: an input could not be used. 130:
    interrupted.
    """
    settings, sams_settings = _settings(given)
    machine = load_settings()
    ready_engine(given["engine"], machine, install_if_missing=given["install_engine"])
    key = machine.mp_api_key
    todo = plan(structures, elements, settings, mp_api_key=key.get_secret_value() if key else "")
    print_problems(todo.problems)
    print_remarks(task.record for task in todo.tasks)
    folder: Path = given["out"].absolute()
    if todo.tasks:
        require_writable(folder)
        require_table(folder)
    maker = PolarizedXesFlowMaker(
        site_maker=SiteXesMaker(
            engine=given["engine"], settings=settings, cache_directory=str(folder / SITES_FOLDER)
        ),
        sams_settings=sams_settings,
    )
    results = _Results(todo, folder, plot=given["plot"], as_json=given["as_json"])
    with logs_as_lines():
        _run(todo.tasks, maker, given["workers"], results)
    results.finish(debug=bool(click.get_current_context().find_root().params.get("debug")))


def _settings(given: dict[str, Any]) -> tuple[XesSettings, SamsSettings]:
    below, above, step = given["energies"]
    preset: Preset = given["preset"]
    sizes = {"fms_atoms": given["fms_atoms"]} if given["fms_atoms"] else {}
    try:
        settings = XesSettings.preset(
            preset,
            **sizes,
            n_scf_atoms=given["scf_atoms"],
            core_hole=given["core_hole"],
            energy_below_ev=below,
            energy_above_ev=above,
            energy_step_ev=step,
        )
        grid = (-settings.energy_below_ev, settings.energy_above_ev)
        sams_settings = SamsSettings(
            window_ev=given["window"] or grid,
            fwhm_ev=given["fwhm"],
            moment_exponent=given["exponent"],
            moment_cutoff_angstrom=given["moment_cutoff"],
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        text = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{name}: {text}" if name else text) from error
    low, high = sams_settings.window_ev
    if low < grid[0] or high > grid[1]:
        raise InputError(
            f"the window {low:g} ... {high:g} eV reaches beyond the spectrum's grid "
            f"{grid[0]:g} ... {grid[1]:g} eV: make it smaller, or the grid larger (--energies)"
        )
    return settings, sams_settings


def _run(
    tasks: Sequence[Task], maker: PolarizedXesFlowMaker, workers: int, results: _Results
) -> None:
    """Run all tasks; on an interrupt say what is kept."""
    if not tasks:
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with SiteProgress(sum(task.n_sites for task in tasks)) as bar:
            for task, outcome in run_tasks(tasks, maker, workers=workers, listener=bar.tell):
                with bar.hidden():
                    results.add(task, outcome)
    except KeyboardInterrupt:
        raise OneLineError(
            f"interrupted: {results.n_finished} of {len(tasks)} materials are finished, finished "
            f"sites are kept in {results.folder / SITES_FOLDER}; the same command goes on from "
            "there",
            INTERRUPTED,
        ) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass
class _Results:
    """What came out so far, on disk as soon as it is there."""

    todo: Plan
    folder: Path
    plot: bool
    as_json: bool
    n_finished: int = 0
    _records: dict[int, list[SamsRecord]] = field(default_factory=dict)
    _problems: list[tuple[str, VtcFlowsError]] = field(default_factory=list)

    def add(self, task: Task, outcome: list[SamsRecord] | VtcFlowsError) -> None:
        """Take in the outcome of a task."""
        self.n_finished += 1
        if isinstance(outcome, VtcFlowsError):
            self._problems.append((task.record.source, outcome))
            return
        self._records[self.todo.tasks.index(task)] = outcome
        target = console(error_stream=self.as_json)
        for record in outcome:
            write_record(self.folder, record, plot=self.plot)
            print_record(record, target)
        write_summary(self.folder, outcome)

    def finish(self, *, debug: bool) -> None:
        """Print what programs want to see and what went wrong; end with the right exit code."""
        records = [record for index in sorted(self._records) for record in self._records[index]]
        if self.as_json:
            click.echo(json.dumps([record.model_dump(mode="json") for record in records]))
        if records:
            say(f"results are in {self.folder}")
        print_problems(self._problems, debug=debug)
        failed = any(record.failures for record in records)
        if failed or any(not isinstance(e, InputError) for _, e in self._problems):
            raise click.exceptions.Exit(FAILED)
        if self._problems or self.todo.problems:
            raise click.exceptions.Exit(BAD_INPUT)
