"""`vtc predict`: the anisotropy of crystal structures by a model, without an engine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from vtc_flows.cli import options
from vtc_flows.cli.calculation import interruptible
from vtc_flows.cli.display import (
    add_columns,
    console,
    counted,
    plain_table,
    print_problems,
    print_table,
    say,
    short,
)
from vtc_flows.cli.lazy import BAD_INPUT
from vtc_flows.cli.selection import crystals, selection
from vtc_flows.crystal.sites import absorbers
from vtc_flows.crystal.sources import StructureRecord
from vtc_flows.errors import InputError, VtcFlowsError
from vtc_flows.learn.model import TrainedModel, read_model
from vtc_flows.learn.shipped_models import SHIPPED_TARGETS, shipped_model
from vtc_flows.schemas.dataset import TARGET_WORDS
from vtc_flows.schemas.models import ModelCard, PredictionDoc
from vtc_flows.settings import load_settings
from vtc_flows.stores.connection import MongoDatabase, open_database
from vtc_flows.workflow.materials import Selection, select
from vtc_flows.workflow.prediction import LEVELS, files_of, predict_structures
from vtc_flows.workflow.prediction_file import PredictionFile

_LINE_EVERY_S = 10.0
_MOST_FEATURES = 8


@click.command()
@crystals(stored=True, element_help="Absorbing element; crystals without it are left out.")
@click.option(
    "--model",
    "model_name",
    metavar="NAME|FILE",
    help="Name or id of a model in the database, or a file that ends with .skops; the one that "
    "comes with the package if not given.",
)
@click.option(
    "--target",
    type=click.Choice(SHIPPED_TARGETS),
    help=f"Of the package's model; {SHIPPED_TARGETS[0]} if not given.",
)
@click.option(
    "--level",
    "levels",
    type=options.Number(0.01, 0.999),
    multiple=True,
    metavar="P",
    help="Level of the interval, as 0.9; may be repeated. 0.5, 0.8 and 0.9 if not given.",
)
@options.workers_that("Processes that compute features.")
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the predictions, one JSON document on each line; what is in it is not computed "
    "again.",
)
@options.as_json
def predict(
    model_name: str | None,
    target: str | None,
    levels: tuple[float, ...],
    workers: int,
    out: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """
    Predict the anisotropy of crystal structures, with an interval; needs no FEFF.

    STRUCTURE is a file (CIF, POSCAR, JSON, JSON lines, also .gz), a folder of files, or a
    Materials Project id. Each prediction says whether the crystal is like those that the model was
    trained on, and if not, why.

    Exit code 2: a crystal could not be used; the others were predicted.
    """
    given["structures"] = tuple(files_of(given["structures"]))
    chosen = selection(given)
    settings = load_settings()
    database = None
    if model_name is not None and target is not None:
        raise InputError("--target is of the package's models: leave --model or --target out")
    if chosen.stored is not None or not (model_name is None or _is_file(model_name)):
        database = open_database(settings)
    model = _model(database, model_name, target)
    work = _Work(model, chosen, tuple(sorted(set(levels))) or LEVELS, workers)
    key = settings.mp_api_key
    records = select(
        chosen,
        work.on_problem,
        database=database,
        mp_api_key=key.get_secret_value() if key else None,
    )
    if out is not None:
        _into_file(work, records, out)
    elif as_json:
        _print_json(work.predictions(records))
    else:
        found = list(work.predictions(records))
        if found:
            _print(found, model)
    if not work.n_structures and not work.n_problems:
        wanted = f" that holds {' or '.join(chosen.elements)}" if chosen.elements else ""
        raise InputError(f"there is no crystal{wanted}")
    if work.n_problems:
        raise click.exceptions.Exit(BAD_INPUT)


class _Work:
    """The crystals on their way; what cannot be used is printed when it is met."""

    def __init__(
        self, model: TrainedModel, chosen: Selection, levels: tuple[float, ...], workers: int
    ) -> None:
        self.model, self.chosen, self.levels, self.workers = model, chosen, levels, workers
        self.n_structures = self.n_problems = 0

    def on_problem(self, source: str, error: VtcFlowsError) -> None:
        self.n_problems += 1
        print_problems([(source, error)])

    def predictions(self, records: Iterable[StructureRecord]) -> Iterator[PredictionDoc]:
        return predict_structures(
            counted(self._seen(records), None, "crystals"),
            self.model,
            elements=self.chosen.elements or None,
            levels=self.levels,
            workers=self.workers,
            on_problem=self.on_problem,
        )

    def _seen(self, records: Iterable[StructureRecord]) -> Iterator[StructureRecord]:
        for record in records:
            self.n_structures += 1
            for remark in record.warnings:
                say(f"{record.source}: note: {remark}")
            yield record


def _is_file(model_name: str | None) -> bool:
    return model_name is not None and (model_name.endswith(".skops") or Path(model_name).is_file())


def _model(database: MongoDatabase | None, name: str | None, target: str | None) -> TrainedModel:
    if name is None:
        return shipped_model(target or SHIPPED_TARGETS[0])
    if _is_file(name):
        return read_model(Path(name))
    from vtc_flows.builders.models import current_model  # maggma takes long; files need none

    if database is None:
        raise InputError("a model in the database is named, and there is none")
    return current_model(database, name)


def _into_file(work: _Work, records: Iterator[StructureRecord], out: Path) -> None:
    """Write what is missing in the file."""
    started, told = time.monotonic(), time.monotonic()
    n_written = n_skipped = 0
    with ExitStack() as stack:
        file = stack.enter_context(PredictionFile(out, work.model.card.model_id, work.levels))
        if file.is_repaired:
            say(f"{out}: the last line was cut off; its crystal is computed again")

        def missing() -> Iterator[StructureRecord]:
            nonlocal n_skipped
            for record in records:
                try:
                    file.require_same(record)
                except InputError as error:
                    work.on_problem(record.source, error)
                    continue
                if file.has(record.material_id, _elements(record, work.chosen.elements)):
                    n_skipped += 1
                else:
                    yield record

        stack.enter_context(interruptible(lambda: f"{file.n_before + n_written} are in {out}"))
        for prediction in work.predictions(missing()):
            n_written += file.write(prediction)
            if time.monotonic() - told > _LINE_EVERY_S:
                told = _tell(work, started)
    seconds = time.monotonic() - started
    work.n_structures += n_skipped
    click.echo(
        f"{n_written} predictions written, {file.n_before} there already, {work.n_problems} "
        f"crystals that cannot be used: {out} ({seconds:.1f} s)",
        err=True,
    )


def _elements(record: StructureRecord, wanted: tuple[str, ...]) -> list[str]:
    """Return the elements that are predicted; none where it has yet to be said why not."""
    try:
        there = absorbers(record.structure)
    except VtcFlowsError:
        return []
    return [each for each in there if not wanted or each in wanted]


def _tell(work: _Work, started: float) -> float:
    """Say how far it is, where no bar can be drawn; return the time."""
    now = time.monotonic()
    if not console(error_stream=True).is_terminal:
        speed = work.n_structures / (now - started)
        say(f"{work.n_structures} crystals, {speed:.0f} per second")
    return now


def _print_json(predictions: Iterable[PredictionDoc]) -> None:
    """Print a list, an element at a time."""
    opening = "["
    for each in predictions:
        click.echo(f"{opening}{each.model_dump_json()}", nl=False)
        opening = ",\n"
    click.echo("]" if opening != "[" else "[]")


def _print(found: list[PredictionDoc], model: TrainedModel) -> None:
    target = console(error_stream=False)
    print_table(_values(found), target)
    card = model.card
    target.print(
        f"{TARGET_WORDS[card.target]} in {card.target_unit}, "
        f"model {card.model_id} of {card.dataset.n_rows} records ({card.dataset.engine}, "
        f"{card.dataset.fms_atoms} neighbours)",
        soft_wrap=True,
    )
    for each in found:
        for reason in each.domain_reasons:
            line = f"{each.material_id} {each.element} is outside the domain: {reason}"
            target.print(Text(line, "yellow"), soft_wrap=True)
    target.print()
    print_table(_features(found, _telling(card)), target)


def _values(found: list[PredictionDoc]) -> Table:
    table = plain_table()
    levels = [f"{100 * each.level:g} %" for each in found[0].intervals]
    names = ("material", "formula", "X", _head(found[0].target), *levels, "distance", "domain")
    # words of several parts need a gap: the columns of intervals
    add_columns(table, *names, text=("material", "formula", "X"))
    for each in found:
        ends = (f"{one.low:.3f}..{one.high:.3f}" for one in each.intervals)
        table.add_row(
            *(each.material_id, each.formula, each.element, f"{each.value:.4f}"),
            *ends,
            *(short(each.distance), "inside" if each.in_domain else "outside"),
        )
    return table


def _head(target: str) -> str:
    """Return a target as the head of a column."""
    symbol, *rest = target.upper().replace("ANISOTROPY", "A").split("_")
    return " ".join((symbol, *(part.lower().replace("2ev", "2 eV") for part in rest)))


def _telling(card: ModelCard) -> list[str]:
    """Return the features that count most, as far as the card knows."""
    known = [each.feature for each in card.importances if each.feature in card.features]
    return (known or card.features)[:_MOST_FEATURES]


def _features(found: list[PredictionDoc], names: list[str]) -> Table:
    table = plain_table()
    add_columns(table, "material", "X", *names, text=("material", "X"))
    for each in found:
        numbers = (short(each.features[name]) for name in names)
        table.add_row(each.material_id, each.element, *numbers)
    return table
