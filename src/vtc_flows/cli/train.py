"""`vtc train`: a model from a data set. `vtc models`: those that there are."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from vtc_flows.builders.dataset import current_dataset
from vtc_flows.builders.models import (
    ModelBuilder,
    finished,
    list_cards,
    load_card,
    model_content,
)
from vtc_flows.builders.running import build as run_builder
from vtc_flows.cli import options
from vtc_flows.cli.calculation import interruptible
from vtc_flows.cli.display import console, counting, say
from vtc_flows.cli.lazy import FAILED
from vtc_flows.cli.model_tables import print_card, print_cards
from vtc_flows.dataset.loading import load_dataset
from vtc_flows.dataset.tables import learning_table
from vtc_flows.errors import InputError
from vtc_flows.learn.model import read_model
from vtc_flows.learn.tables import parquet_bytes, read_parquet
from vtc_flows.learn.training import dataset_reference, model_id, train_model
from vtc_flows.schemas.dataset import FEATURES_OF, TARGETS
from vtc_flows.schemas.models import ModelCard, TrainSettings
from vtc_flows.settings import load_settings
from vtc_flows.stores.collections import MODELS, prepare
from vtc_flows.stores.connection import MongoDatabase, database_errors, open_database, server_of
from vtc_flows.writing import write_whole

_FOLDER = "training"


@click.command()
@click.option("--dataset", metavar="NAME", help="Of the database; that of most rows if not given.")
@click.option(
    "--table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of `vtc build dataset --out` in place of the database.",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a data set (`vtc data`) in place of the database.",
)
@click.option(
    "--neighbors",
    type=click.Choice(("30", "80")),
    default="30",
    show_default=True,
    help="Size of the clusters, of --data.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the model's file, for --model of other commands; needed with --table and --data.",
)
@click.option("--target", type=click.Choice(TARGETS), default="sams", show_default=True)
@click.option(
    "--kind",
    type=click.Choice(tuple(FEATURES_OF)),
    default="v2",
    show_default=True,
    help="paper: its eight features, a random forest; v2: features without charges, boosted trees.",
)
@click.option(
    "--draws",
    type=click.IntRange(1, 10000),
    metavar="N",
    help="Hyper-parameters that are tried; 100 of the paper's space, 12 of v2's.",
)
@click.option(
    "--folds",
    type=click.IntRange(2, 100),
    default=5,
    show_default=True,
    metavar="N",
    help="Of the cross-validation.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 10000),
    default=30,
    show_default=True,
    metavar="N",
    help="Permutations for each importance.",
)
@click.option(
    "--trees",
    type=click.IntRange(1, 100000),
    nargs=2,
    default=(300, 700),
    show_default=True,
    metavar="LOW HIGH",
    help="Least trees of a forest, and one more than most.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--rebuild", is_flag=True, help="Train again though nothing changed.")
@options.workers_that("Threads that train; the model does not depend on them.")
@options.as_json
def train(**given: Any) -> None:
    """
    Train a model from a data set and measure how good it is.

    A random forest: hyper-parameters by a random search with cross-validation, intervals and domain
    from the training part, scores from the test part. With the database the model goes there, and
    is trained again only if table, settings or code changed. Interrupted, it goes on with the
    search where it stopped. `vtc models show` prints the card.
    """
    sources = [name for name in ("table", "data", "dataset") if given[name] is not None]
    if len(sources) > 1:
        raise InputError(f"--{' and --'.join(sources)}: give one of them")
    if sources in (["table"], ["data"]) and given["out"] is None:
        raise InputError(f"--{sources[0]} without the database: say with -o where the model goes")
    low, high = given["trees"]
    if low >= high:
        raise InputError(f"--trees {low} {high} is empty: give LOW below HIGH")
    settings = TrainSettings(
        target=given["target"],
        kind=given["kind"],
        n_draws=given["draws"],
        n_folds=given["folds"],
        n_repeats=given["repeats"],
        n_trees=(low, high),
        seed=given["seed"],
    )
    started = time.monotonic()
    with interruptible(lambda: "the draws that were tried are kept"):
        if given["table"] is not None:
            card, content = _from_file(given["table"].read_bytes(), settings, given["workers"])
        elif given["data"] is not None:
            table = learning_table(
                load_dataset(given["data"]).all_records(), int(given["neighbors"])
            )
            card, content = _from_file(parquet_bytes(table), settings, given["workers"])
        else:
            card, content = _from_database(settings, given)
    if given["out"] is not None:
        write_whole(given["out"], content)
        say(f"model in {given['out']}, {len(content) / 1024:.0f} KiB")
    if given["as_json"]:
        click.echo(card.model_dump_json())
    else:
        print_card(card, console(error_stream=False))
    say(f"{card.model_id} in {time.monotonic() - started:.1f} s")


@click.group()
def models() -> None:
    """List, show and export the models of the database."""


@models.command("list")
@click.option("--all", "with_old", is_flag=True, help="With versions that were replaced.")
@options.as_json
def list_models(with_old: bool, as_json: bool) -> None:
    """List the models, those of most rows first."""
    database = open_database(load_settings())
    with database_errors(database):
        cards = list_cards(database, only_current=not with_old)
    if as_json:
        click.echo(json.dumps([card.model_dump(mode="json") for card in cards]))
    elif cards:
        print_cards(cards, console(error_stream=False))
    say(f"{len(cards)} models in {server_of(database)}" + ("" if cards else ": vtc train"))


@models.command()
@click.argument("name", required=False)
@options.as_json
def show(name: str | None, as_json: bool) -> None:
    """
    Print the card of a model.

    NAME is that of a model, of one of its versions, or a model's file; of the model of most rows
    if not given.
    """
    if name is not None and name.endswith(".skops"):
        card = read_model(Path(name)).card
    else:
        database = open_database(load_settings())
        with database_errors(database):
            card = load_card(database, name)
    if as_json:
        click.echo(card.model_dump_json())
    else:
        print_card(card, console(error_stream=False))


@models.command()
@click.argument("name", required=False)
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file.",
)
def export(name: str | None, out: Path) -> None:
    """Write a model's file, that of most rows if no NAME is given."""
    database = open_database(load_settings())
    with database_errors(database):
        card = load_card(database, name)
        content = model_content(database, card)
    read_model(content)
    write_whole(out, content)
    say(f"{card.model_id} in {out}, {len(content) / 1024:.0f} KiB")


def _from_file(content: bytes, settings: TrainSettings, workers: int) -> tuple[ModelCard, bytes]:
    table, card = read_parquet(content)
    dataset = dataset_reference(card, content)
    cache = _cache_folder() / f"search-{dataset.sha256[:16]}.jsonl"
    with counting() as listener:
        model = train_model(
            table, dataset, settings, listener=listener, workers=workers, cache=cache
        )
    return finished(model)


def _from_database(settings: TrainSettings, given: dict[str, Any]) -> tuple[ModelCard, bytes]:
    database = open_database(load_settings())
    prepare(database)
    with database_errors(database):
        dataset = current_dataset(database, given["dataset"])
        if not dataset.current:
            raise InputError(f"{dataset.dataset_id} was replaced: take {dataset.name}")
        builder = ModelBuilder(
            train_settings=settings,
            workers=given["workers"],
            cache_folder=str(_cache_folder()),
            query={"name": dataset.name},
            retry_failed=True,
            rebuild=given["rebuild"],
        )
        with counting() as listener:
            builder.listener = listener
            report = run_builder(builder)
        if report.failures:
            _say_failure(database)
        if not report.n_derived:
            say("nothing changed since this model was trained (--rebuild trains it again)")
        reference = dataset_reference(dataset.model_dump(mode="json"), b"")
        reference = reference.model_copy(update={"sha256": dataset.table.sha256})
        card = load_card(database, model_id(reference, settings))
        return card, model_content(database, card)


def _say_failure(database: MongoDatabase) -> None:
    failed = database[MODELS.name].find_one({"state": "failed"}, sort=[("last_updated", -1)])
    if failed is None:
        raise click.exceptions.Exit(FAILED)
    if failed["reason"] == "input":
        raise InputError(failed["message"])
    raise click.ClickException(failed["message"])


def _cache_folder() -> Path:
    return load_settings().data_directory / _FOLDER
