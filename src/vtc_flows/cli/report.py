"""`vtc report`: one page with the figures and tables of the database."""

from __future__ import annotations

from pathlib import Path

import click

from vtc_flows.cli import options
from vtc_flows.cli.display import counted, say
from vtc_flows.cli.folder import require_writable
from vtc_flows.errors import InputError
from vtc_flows.report.contents import Wishes, read_contents
from vtc_flows.report.page import FIGURES, PAGE, write_report
from vtc_flows.report.sections import report_sections
from vtc_flows.schemas import utc_now
from vtc_flows.settings import load_settings
from vtc_flows.stores.connection import open_database

_AT_MOST = 2


@click.command()
@click.option(
    "--dataset",
    metavar="NAME",
    help="Data set; that of the model, else that of the most rows if not given.",
)
@click.option("--model", metavar="NAME", help="Model; the one of the most rows if not given.")
@click.option(
    "--record",
    metavar="ID",
    help="Record that is shown; that of the largest SAMS in the data set if not given.",
)
@click.option(
    "--element",
    "elements",
    type=options.Element(),
    multiple=True,
    help="Element whose predictions are shown; may be given twice. Sc and Cu if not given.",
)
@options.out("vtc-report")
def report(
    dataset: str | None,
    model: str | None,
    record: str | None,
    elements: tuple[str, ...],
    out: Path,
) -> None:
    """
    Write one page with the figures and tables of the database.

    It shows a compound, strain studies (`vtc strain --store`), the data set, the model, how good it
    is and for what. The page needs nothing beside itself; its pictures lie in the folder as PNG
    and SVG, too. What the database does not hold is named with what makes it.
    """
    if len(set(elements)) > _AT_MOST:
        raise InputError(f"--element {', '.join(elements)}: the page shows two")
    folder = out.absolute()
    require_writable(folder)
    database = open_database(load_settings())
    contents = read_contents(
        database, Wishes(dataset, model, record, tuple(dict.fromkeys(elements)))
    )
    sections = report_sections(contents)
    n_files = 1 + 2 * sum(len(each.pictures) for each in sections)
    for path in counted(write_report(folder, sections, made_at=utc_now()), n_files, "files"):
        del path
    for section in sections:
        if section.missing:
            say(f"{section.title}: {section.missing}")
    click.echo(folder / PAGE)
    say(f"pictures are in {folder / FIGURES}")
