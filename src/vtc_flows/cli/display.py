"""What people see: tables of records, progress of sites, problems in one line each."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    track,
)
from rich.table import Table
from rich.text import Text

from vtc_flows.cli.lazy import printable
from vtc_flows.crystal.sources import StructureRecord
from vtc_flows.errors import VtcFlowsError
from vtc_flows.schemas import SamsRecord
from vtc_flows.workflow.progress import SiteEvent

Item = TypeVar("Item")

_STAGES = {"scf": "potentials, iteration", "phases": "phases", "fms": "multiple scattering"}
_FILE_WIDTH = 160
_LINE_EVERY_S = 10.0
_ROUNDING = 1e-12
_SCIENTIFIC_BELOW = 1e-3
_FINAL = {"done", "kept", "failed"}


def console(*, error_stream: bool) -> Console:
    """Return a console on standard error or standard output."""
    stream = sys.stderr if error_stream else sys.stdout
    width = None if stream.isatty() else _FILE_WIDTH  # a file has no edge to wrap at
    return Console(stderr=error_stream, highlight=False, width=width)


def short(value: float | None) -> str:
    """
    Return a number for people: at most seven characters, rounding as zero, nothing as a dash.

    Examples
    --------
    >>> [short(value) for value in (0.0647123, 1.5, 0.00012345, 1e-17, None)]
    ['0.0647', '1.5', '1.2e-04', '0', '-']
    """
    if value is None:
        return "-"
    if abs(value) <= _ROUNDING:
        return "0"
    return f"{value:.1e}" if abs(value) < _SCIENTIFIC_BELOW else f"{value:.3g}"


def stage_text(stage: str, done: int, total: int) -> str:
    """Return how far a stage of a site has come."""
    # the iterations are bounded, not known: their limit is no goal
    goal = f"/{total}" if total and stage != "scf" else ""
    return f"{_STAGES.get(stage, stage)} {done}{goal}"


def plain_table() -> Table:
    """Return an empty table in the style of all tables here: narrow enough for 80 columns."""
    return Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 0), pad_edge=False)


def add_columns(table: Table, *names: str, text: Sequence[str] = ()) -> None:
    """Add columns: those of numbers to the right and never broken, those of text to the left."""
    # names of several words need more than one blank between them
    gap = " " if any(" " in name for name in names) else ""
    for number, name in enumerate(names):
        left = name in text
        table.add_column(
            f"{gap if number else ''}{name}",
            justify="left" if left else "right",
            no_wrap=not left,
            overflow="fold",
        )


def print_table(table: Table, target: Console) -> None:
    """Print a table; to a file without the blanks that fill its lines."""
    if target.is_terminal:
        target.print(table)
        return
    with target.capture() as captured:
        target.print(table)
    lines = (line.rstrip() for line in captured.get().splitlines())
    target.print(Text("\n".join(line for line in lines if line)), soft_wrap=True)


def print_problems(problems: Sequence[tuple[str, VtcFlowsError]], *, debug: bool = False) -> None:
    """Print one line for each input that could not be used; what is known of bugs, if asked."""
    for source, error in problems:
        text = str(error)
        say(text if source in text else f"{source}: {text}")
        for note in getattr(error, "__notes__", ()) if debug else ():
            click.echo(note, err=True)


def print_remarks(records: Iterable[StructureRecord]) -> None:
    """Print what the readers of structures remarked, once for each structure."""
    told: set[str] = set()
    for record in records:
        if record.source not in told:
            told.add(record.source)
            for remark in record.warnings:
                say(f"{record.source}: note: {remark}")


def say(text: str) -> None:
    """Print a line beside the results."""
    click.echo(f"vtc: {printable(text)}", err=True)


@contextmanager
def logs_as_lines() -> Iterator[None]:
    """Show what the package logs inside the block as lines of this command."""
    handler = _Lines()
    logger = logging.getLogger("vtc_flows")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def counted(items: Iterable[Item], total: int | None, what: str) -> Iterator[Item]:
    """Yield items and show how far they have come; in a file nothing is shown."""
    target = console(error_stream=True)
    yield from track(
        items,
        description=what,
        total=total,
        console=target,
        transient=True,
        disable=not target.is_terminal,
    )


@contextmanager
def counting() -> Iterator[Callable[[str, int, int], None]]:
    """Show what is done of how many: a bar on a terminal; in a file, a line now and then."""
    target = console(error_stream=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=target,
        transient=True,
        disable=not target.is_terminal,
    ) as bar:
        task = bar.add_task("", total=None)
        told = time.monotonic()

        def tell(what: str, done: int, total: int) -> None:
            nonlocal told
            bar.update(task, description=what, completed=done, total=total)
            if not target.is_terminal and time.monotonic() - told > _LINE_EVERY_S:
                told = time.monotonic()
                say(f"{what}: {done} of {total}")

        yield tell


class SiteProgress:
    """
    A bar over all sites with the stage of the one at work; in a file, a line for each site.

    Parameters
    ----------
    n_sites : int
        Sites of the whole run.
    """

    def __init__(self, n_sites: int) -> None:
        target = console(error_stream=True)
        self._lines = not target.is_terminal
        self._n_sites, self._n_finished = n_sites, 0
        self._progress = Progress(
            TextColumn("sites"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=target,
            transient=True,
            disable=self._lines,
        )
        self._task = self._progress.add_task("starting", total=n_sites)

    def __enter__(self) -> SiteProgress:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing and leave the terminal as it was."""
        self._progress.stop()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bar away while something else is printed."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def tell(self, event: SiteEvent) -> None:
        """Show an event."""
        site = f"{event.material_id} {event.element} site {event.site_index}"
        if event.stage in _FINAL:
            self._n_finished += 1
            description = f"{site}: {event.stage}"
            self._progress.update(self._task, advance=1, description=description)
            if self._lines:
                say(f"{self._n_finished}/{self._n_sites} {description}")
        else:
            stage = stage_text(event.stage, event.done, event.total)
            self._progress.update(self._task, description=f"{site}: {stage}")


def print_record(record: SamsRecord, target: Console) -> None:
    """Print a record: its anisotropies, then a line for each orbit of sites."""
    target.print()
    title = Text(f"{record.material_id}  {record.element}", "bold")
    title.append(f"  {record.fms_atoms} neighbours in the multiple scattering", "not bold")
    target.print(title)
    target.print(Text(_conditions(record)))
    print_table(_anisotropies(record), target)
    if record.anisotropy is not None and record.anisotropy_2ev is not None:
        target.print(
            Text(f"A {record.anisotropy:.4f}, at 2 eV resolution {record.anisotropy_2ev:.4f}")
        )
    if record.sites:
        target.print()
        print_table(_sites(record), target)
    for site in record.sites:
        for remark in site.remarks:
            target.print(Text(f"note: site {site.site_index}: {remark}"), soft_wrap=True)
    for failure in record.failures:
        target.print(
            Text(f"site {failure.site_index} failed ({failure.reason}): {failure.message}", "red"),
            soft_wrap=True,
        )


def _conditions(record: SamsRecord) -> str:
    low, high = record.window_ev
    text = f"SAMS in eV^-1/2, E_F{low:+g} ... E_F{high:+g} eV"
    if record.window_ev != record.sams_settings.window_ev:
        text += " (the window begins with the valence)"
    if record.sams_settings.fwhm_ev:
        text += f", broadened by {record.sams_settings.fwhm_ev:g} eV FWHM"
    return text


def _anisotropies(record: SamsRecord) -> Table:
    table = plain_table()
    values = {
        "SAMS": record.sams,
        "own frames": record.sams_site,
        "maximum": record.sams_max,
        "crystal": record.sams_crystal,
        "crystal maximum": record.sams_crystal_max,
    }
    features = record.features
    add_columns(table, *values, "QAMS", "DAMS", "IAMS")
    table.add_row(
        *("-" if value is None else f"{value:.4f}" for value in values.values()),
        *(short(value) for value in (features.qams, features.dams, features.iams)),
    )
    return table


def _sites(record: SamsRecord) -> Table:
    table = plain_table()
    names = ("site", "mult.", "atoms", "E_F eV", "SAMS", "sym. error", "SCF steps")
    add_columns(table, *names, "SCF s", "phases s", "FMS s")
    for site in record.sites:
        seconds = (site.timings.get(stage) for stage in ("scf", "phases", "fms"))
        table.add_row(
            str(site.site_index),
            str(site.multiplicity),
            str(site.n_fms_atoms),
            f"{site.e_fermi_ev:.3f}",
            f"{site.sams:.4f}",
            f"{site.symmetry_residual:.0e}",
            str(site.scf.n_iterations),
            *("-" if value is None else f"{value:.1f}" for value in seconds),
        )
    return table
