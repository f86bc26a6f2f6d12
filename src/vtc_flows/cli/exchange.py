"""`vtc export` and `vtc restore`: records out of the database into a file, and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from vtc_flows.cli.display import counted, say
from vtc_flows.cli.lazy import BAD_INPUT
from vtc_flows.cli.options import json_query
from vtc_flows.dataset.loading import load_dataset
from vtc_flows.errors import InputError
from vtc_flows.schemas import SamsRecord
from vtc_flows.settings import load_settings
from vtc_flows.stores.collections import SAMS, prepare
from vtc_flows.stores.connection import (
    MongoDatabase,
    database_errors,
    open_database,
    server_of,
)
from vtc_flows.stores.exchange import read_records, write_records
from vtc_flows.stores.records import load_records, save_record


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--query", metavar="JSON", help='Which records, as {"element": "Cu"}; all if not given.'
)
def export(file: Path, query: str | None) -> None:
    """
    Write the records of the database into FILE, one JSON document on each line.

    Each holds its structure, the tensors of its sites, settings and provenance. A name that ends
    with .gz is compressed. `vtc restore FILE` puts them into a database again.
    """
    chosen = json_query(query)
    database = open_database(load_settings())
    with database_errors(database):
        total = database[SAMS.name].count_documents(chosen)
    count = write_records(file, counted(load_records(database, chosen), total, "records"))
    size_mb = file.stat().st_size / 1e6
    click.echo(f"{count} records of {server_of(database)} in {file} ({size_mb:.1f} MB)")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def restore(files: tuple[Path, ...]) -> None:
    """
    Put the records of FILES, written by `vtc export`, into the database; or those of a data set.

    A folder is one of a data set (`vtc data`): its records come with spectra and crystals, and
    `vtc build`, `vtc screen` and `vtc report` work on them.

    A record replaces the one with its id, but no incomplete one a complete one of the same
    crystal, and none of an older revision of the engine a newer one. What was restored before
    stays as it is. A record of another crystal than the one that has its material's id is
    refused.

    Exit code 2: a record was refused; the others are there.
    """
    database = open_database(load_settings())
    prepare(database)
    written = left = same = n_refused = 0
    for file in files:
        for record in counted(_records_of(file), None, file.name):
            if _is_there(database, record):
                same += 1
                continue
            try:
                saved = save_record(database, record)
            except InputError as error:
                n_refused += 1
                say(str(error))
                continue
            written, left = written + saved, left + (not saved)
    click.echo(f"{written} records restored, {same} there already, in {server_of(database)}")
    if left:
        say(
            f"{left} records were left out, because complete ones, or ones of a newer revision of "
            "the engine, are there"
        )
    if n_refused:
        raise click.exceptions.Exit(BAD_INPUT)


def _records_of(path: Path) -> Iterator[SamsRecord]:
    return load_dataset(path).sams_records() if path.is_dir() else read_records(path)


def _is_there(database: MongoDatabase, record: SamsRecord) -> bool:
    """Say whether the same record, made at the same time, is in the database."""
    stamp = {"record_id": record.record_id, "provenance.created_at": record.provenance.created_at}
    with database_errors(database):
        return database[SAMS.name].find_one(stamp, {"_id": 1}) is not None
