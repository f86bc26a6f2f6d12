"""What people see: tables of records, progress of sites, problems in one line each."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from vtc_flows.errors import VtcFlowsError
from vtc_flows.schemas import SamsRecord
from vtc_flows.workflow.progress import SiteEvent

_STAGES = {"scf": "potentials, iteration", "phases": "phases", "fms": "multiple scattering"}
_FILE_WIDTH = 160
_ROUNDING = 1e-12
_FINAL = {"done", "kept", "failed"}


def console(*, error_stream: bool) -> Console:
    """Return a console on standard error or standard output."""
    stream = sys.stderr if error_stream else sys.stdout
    width = None if stream.isatty() else _FILE_WIDTH  # a file has no edge to wrap at
    return Console(stderr=error_stream, highlight=False, width=width)


def short(value: float | None) -> str:
    """Return a number for people: three digits, rounding as zero, nothing as a dash."""
    if value is None:
        return "-"
    return f"{value:.3g}" if abs(value) > _ROUNDING else "0"


def plain_table(*, title: str | None = None) -> Table:
    """Return an empty table in the style of all tables here."""
    return Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1))


def print_problems(problems: Sequence[tuple[str, VtcFlowsError]]) -> None:
    """Print one line for each input that could not be used."""
    for source, error in problems:
        text = str(error)
        click.echo(f"vtc: {text if source in text else f'{source}: {text}'}", err=True)


class SiteProgress:
    """
    A bar over all sites with the stage of the one at work.

    Parameters
    ----------
    n_sites : int
        Sites of the whole run.
    """

    def __init__(self, n_sites: int) -> None:
        self._progress = Progress(
            TextColumn("sites"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=console(error_stream=True),
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=n_sites)

    def __enter__(self) -> SiteProgress:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing and leave the terminal as it was."""
        self._progress.stop()

    def tell(self, event: SiteEvent) -> None:
        """Show an event."""
        site = f"{event.material_id} {event.element} site {event.site_index}"
        if event.stage in _FINAL:
            self._progress.update(self._task, advance=1, description=f"{site}: {event.stage}")
        else:
            # the iterations are bounded, not known: their limit is no goal
            total = f"/{event.total}" if event.total and event.stage != "scf" else ""
            stage = _STAGES.get(event.stage, event.stage)
            self._progress.update(self._task, description=f"{site}: {stage} {event.done}{total}")


def print_record(record: SamsRecord, target: Console) -> None:
    """Print a record: its anisotropies, then a line for each orbit of sites."""
    target.print()
    target.print(
        f"[bold]{record.material_id}  {record.element}[/bold]  "
        f"{record.fms_atoms} neighbours in the multiple scattering  ({record.record_id})"
    )
    target.print(_anisotropies(record))
    if record.sites:
        target.print(_sites(record))
    for failure in record.failures:
        target.print(
            f"site {failure.site_index} failed ({failure.reason}): {failure.message}",
            style="red",
            markup=False,
        )


def _anisotropies(record: SamsRecord) -> Table:
    low, high = record.window_ev
    title = f"eV^-1/2, E_F{low:+g} ... E_F{high:+g} eV"
    if record.sams_settings.fwhm_ev:
        title += f", {record.sams_settings.fwhm_ev:g} eV FWHM"
    table = plain_table(title=title)
    values = {
        "SAMS": record.sams,
        "own frames": record.sams_site,
        "maximum": record.sams_max,
        "crystal": record.sams_crystal,
        "crystal maximum": record.sams_crystal_max,
    }
    features = record.features
    for name in (*values, "QAMS", "DAMS", "IAMS"):
        table.add_column(name, justify="right")
    table.add_row(
        *("-" if value is None else f"{value:.4f}" for value in values.values()),
        *(short(value) for value in (features.qams, features.dams, features.iams)),
    )
    return table


def _sites(record: SamsRecord) -> Table:
    table = plain_table()
    names = ("site", "times", "atoms", "E_F eV", "SCF", "SAMS", "symmetry", "SCF s", "phases s")
    for name in (*names, "FMS s"):
        table.add_column(name, justify="right")
    for site in record.sites:
        seconds = (site.timings.get(stage) for stage in ("scf", "phases", "fms"))
        table.add_row(
            str(site.site_index),
            str(site.multiplicity),
            str(site.n_fms_atoms),
            f"{site.e_fermi_ev:.3f}",
            str(site.scf.n_iterations),
            f"{site.sams:.4f}",
            f"{site.symmetry_residual:.0e}",
            *("-" if value is None else f"{value:.1f}" for value in seconds),
        )
    return table
