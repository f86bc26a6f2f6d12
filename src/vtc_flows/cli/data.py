"""`vtc data`: what a data set holds; to make one of sites, check it, get it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click
import pyarrow.compute as pc

from vtc_flows.cli import options
from vtc_flows.cli.display import counting, say
from vtc_flows.cli.lazy import BAD_INPUT, FAILED
from vtc_flows.dataset.campaign import read_structures
from vtc_flows.dataset.fetching import fetch_dataset
from vtc_flows.dataset.layout import Layout, fetched_place
from vtc_flows.dataset.loading import Dataset, load_dataset
from vtc_flows.dataset.packing import pack as pack_dataset
from vtc_flows.dataset.packing import verify as verify_dataset
from vtc_flows.dataset.shards import site_files, site_rows
from vtc_flows.settings import load_settings

_COLUMNS = ["material_id", "element", "part", "reason", "engine", "cpu_s"]
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group("data")
def data() -> None:
    """Look into a data set, make one of the sites of `vtc campaign`, check it, get it."""


@data.command("info")
@click.argument("folder", required=False, type=_FOLDER)
def info(folder: Path | None) -> None:
    """
    Say what a data set holds: sites by engine and part, failures by reason, complete records.

    FOLDER is that of a data set, or of the files of sites alone. Sites in the journal of a campaign
    that is running are not counted.
    """
    if folder is not None and site_files(folder):
        _say_sites(folder)
        return
    found = load_dataset(folder)
    _say_sites(found.layout.sites)
    _say_records(found)


def _say_sites(folder: Path) -> None:
    files = site_files(folder)
    rows = list(site_rows(folder, _COLUMNS))
    n_bytes = sum(path.stat().st_size for path in files)
    click.echo(f"{len(rows)} sites in {len(files)} files, {n_bytes / 1e6:.1f} MB")
    for engine in sorted({row["engine"] for row in rows}):
        own = [row for row in rows if row["engine"] == engine]
        hours = sum(row["cpu_s"] or 0.0 for row in own) / 3600
        records = {(row["material_id"], row["element"]) for row in own}
        click.echo(f"{engine}: {len(records)} records, {len(own)} sites, {hours:.1f} CPU h")
        for part, count in Counter(row["part"] for row in own).most_common():
            click.echo(f"  {part}: {count} sites")
        for reason, count in Counter(row["reason"] for row in own if row["reason"]).most_common():
            click.echo(f"  failed, {reason}: {count} sites")


def _say_records(found: Dataset) -> None:
    table = found.records(fms_atoms=None)
    for size in sorted(set(table["fms_atoms"].to_pylist())):
        parts = Counter(table.filter(pc.field("fms_atoms") == size)["part"].to_pylist())
        said = ", ".join(f"{count} {part}" for part, count in parts.most_common())
        click.echo(f"complete records with {size} neighbors: {said}")


@data.command("pack")
@click.argument("folder", type=_FOLDER)
@click.argument("structures", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.workers_that("Processes that make records.")
def pack(folder: Path, structures: Path, workers: int) -> None:
    """
    Make FOLDER a data set: its table of records, its crystals and its card.

    The sites are in FOLDER/sites, where `vtc campaign --out` put them; STRUCTURES holds their
    crystals (JSON lines, perhaps gzipped). A record that lacks a site has no SAMS, and the reason.

    Exit code 2: some records could not be made.
    """
    with counting() as tell:
        packed = pack_dataset(
            Layout(folder),
            read_structures(structures),
            lambda done, total: tell("records", done, total),
            workers,
        )
    for problem in packed.problems:
        say(problem)
    say(f"{packed.n_records} records in {Layout(folder).records}")
    if packed.problems:
        raise click.exceptions.Exit(BAD_INPUT)


@data.command("verify")
@click.argument("folder", required=False, type=_FOLDER)
def verify(folder: Path | None) -> None:
    """
    Compare the files of a data set with the digests in its card, and look at every tensor.

    Exit code 1: something is wrong.
    """
    layout = load_dataset(folder).layout
    wrong = verify_dataset(layout)
    for one in wrong:
        say(one)
    if wrong:
        raise click.exceptions.Exit(FAILED)
    click.echo(f"{layout.folder}: {len(layout.files())} files, all as the card says")


@data.command("fetch")
@click.argument("source")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder; in the user's data folder if not given, where other commands find it.",
)
def fetch(source: str, out: Path | None) -> None:
    """
    Get a data set from SOURCE, a folder or the address of one (https://.../data).

    What is there already is not fetched again; each file is compared with its digest.
    """
    target = Layout(out or fetched_place(load_settings()))
    with counting() as tell:
        fetched = fetch_dataset(source, target, lambda done, total: tell("files", done, total))
    say(f"{fetched} files fetched into {target.folder}")
