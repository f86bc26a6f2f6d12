"""`vtc data`: what a data set holds, and the table of its records."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from vtc_flows.cli.display import counting, say
from vtc_flows.cli.lazy import BAD_INPUT
from vtc_flows.dataset.campaign import read_structures
from vtc_flows.dataset.records import record_rows, record_table, sites_by_record
from vtc_flows.dataset.shards import SiteShards, write_parquet

_COLUMNS = ["material_id", "element", "part", "reason", "engine", "cpu_s"]


@click.group("data")
def data() -> None:
    """Look into a data set of `vtc campaign`, and make the table of its records."""


@data.command("info")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def info(folder: Path) -> None:
    """
    Say what the files of FOLDER hold: sites by engine and part, failures by reason.

    Sites in the journal of a campaign that is running are not counted.
    """
    shards = SiteShards(folder, "read")
    rows = list(shards.rows(columns=_COLUMNS))
    n_bytes = sum(path.stat().st_size for path in shards.files())
    click.echo(f"{len(rows)} sites in {len(shards.files())} files, {n_bytes / 1e6:.1f} MB")
    for engine in sorted({row["engine"] for row in rows}):
        own = [row for row in rows if row["engine"] == engine]
        hours = sum(row["cpu_s"] or 0.0 for row in own) / 3600
        records = {(row["material_id"], row["element"]) for row in own}
        click.echo(f"{engine}: {len(records)} records, {len(own)} sites, {hours:.1f} CPU h")
        for part, count in Counter(row["part"] for row in own).most_common():
            click.echo(f"  {part}: {count} sites")
        for reason, count in Counter(row["reason"] for row in own if row["reason"]).most_common():
            click.echo(f"  failed, {reason}: {count} sites")


@data.command("table")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("structures", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--engine", metavar="IDENTITY", help="Of the sites that count; the newest.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default="records.parquet",
    show_default=True,
    help="File to write.",
)
def table(folder: Path, structures: Path, engine: str | None, out: Path) -> None:
    """
    Make the table of records from the sites in FOLDER and their STRUCTURES.

    One row for each element of a crystal and size of its clusters: SAMS of all kinds, the
    frame-free anisotropy and the features. A record that lacks a site has no SAMS, and the reason.

    Exit code 2: some records could not be made.
    """
    sites = sites_by_record(SiteShards(folder, "read"), engine)
    left_out = 0

    def problem(material_id: str, element: str, error: Exception) -> None:
        nonlocal left_out
        left_out += 1
        say(f"{material_id} {element}: {error}")

    rows, begun = [], set()
    with counting() as tell:
        for row in record_rows(sites, read_structures(structures), problem):
            rows.append(row)
            begun.add((row["material_id"], row["element"]))
            tell("records", len(begun) + left_out, len(sites))
    found = record_table(rows)
    write_parquet(out, found)
    say(f"{found.num_rows} rows of {len(sites) - left_out} records in {out}")
    if left_out:
        raise click.exceptions.Exit(BAD_INPUT)
