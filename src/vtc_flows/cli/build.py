"""`vtc build`: derive features, spectra, SAMS, data sets and scans in the database."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from vtc_flows.builders import (
    DatasetBuilder,
    ExponentBuilder,
    ExponentCurveBuilder,
    FeatureBuilder,
    SamsBuilder,
    SiteSpectraBuilder,
)
from vtc_flows.builders.derived import BuildReport, DerivedBuilder
from vtc_flows.builders.files import write_files
from vtc_flows.builders.predictions import PredictionBuilder
from vtc_flows.builders.running import build as run_builder
from vtc_flows.cli import options
from vtc_flows.cli.calculation import interruptible
from vtc_flows.cli.display import (
    add_columns,
    console,
    counting,
    plain_table,
    print_table,
    say,
)
from vtc_flows.cli.lazy import FAILED
from vtc_flows.errors import InputError
from vtc_flows.settings import load_settings
from vtc_flows.stores.collections import prepare
from vtc_flows.stores.connection import (
    MongoDatabase,
    database_errors,
    open_database,
    server_of,
)
from vtc_flows.stores.screening import Screen, models_of

ALL = "all"
#: In the order in which one needs the other.
STEPS: dict[str, tuple[type[DerivedBuilder], ...]] = {
    "features": (FeatureBuilder,),
    "spectra": (SiteSpectraBuilder,),
    "sams": (SamsBuilder,),
    "dataset": (DatasetBuilder,),
    "exponents": (ExponentBuilder, ExponentCurveBuilder),
    "predictions": (PredictionBuilder,),
}
#: What a step takes beside what all take: option, and parameter of the builder.
_MOMENTS = {"exponent": "moment_exponent", "moment_cutoff": "moment_cutoff_angstrom"}
_OPTIONS: dict[type[DerivedBuilder], dict[str, str]] = {
    FeatureBuilder: _MOMENTS,
    SamsBuilder: {**_MOMENTS, "window": "window_ev", "fwhm": "fwhm_ev"},
    DatasetBuilder: {"group_by": "group_by", "test_fraction": "test_fraction", "seed": "seed"},
    PredictionBuilder: {"model": "model"},
}


@click.command()
@click.argument(
    "steps", nargs=-1, metavar="[STEP...]", type=click.Choice([ALL, *STEPS], case_sensitive=False)
)
@options.moments
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
@click.option(
    "--group-by",
    type=click.Choice(["formula", "prototype", "material", "record"]),
    default="formula",
    show_default=True,
    help="Rows of a data set that are never on both sides of its split.",
)
@click.option(
    "--test-fraction",
    type=options.Number(0.01, 0.99),
    default=0.2,
    show_default=True,
    metavar="F",
    help="Share of each element's rows in the test part.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split.")
@click.option(
    "--model",
    metavar="NAME",
    help="Whose predictions; for each cluster size the current one of the most rows if not given.",
)
@click.option(
    "--query", metavar="JSON", help="Which documents of its source; for one STEP at a time."
)
@click.option("--retry-failed", is_flag=True, help="Derive again what failed.")
@click.option("--rebuild", is_flag=True, help="Derive everything again.")
@options.workers_that("Processes that derive.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the tables (Parquet) and pictures of the data sets, scans and features.",
)
@options.as_json
def build(steps: Sequence[str], **given: Any) -> None:
    """
    Derive documents in the database: what is new or changed, and no more.

    STEP is one of features (from materials), spectra (from jobs), sams (from spectra), dataset
    (from SAMS), exponents (scan of the moments' exponent), predictions (from features, where there
    is a model: `vtc train`), or all, which is what happens without any. Interrupted or killed, it
    goes on where it stopped. What cannot be derived is kept as a document with its reason, and
    tried again when something changed, or with --retry-failed.

    Exit code 0: all that was to be done is done. 1: something was tried and failed.
    """
    chosen = _builders(steps, given)
    settings = load_settings()
    database = open_database(settings)
    prepare(database)
    chosen = _with_models(chosen, database, is_asked_for="predictions" in steps)
    reports: dict[str, tuple[BuildReport, float]] = {}

    def kept() -> str:
        return "what was derived is in the database"

    with database_errors(database), interruptible(kept):
        for builder in chosen:
            started = time.monotonic()
            name = type(builder).__name__
            if name in reports:  # predictions of a second model
                name += f" {len(reports)}"
            with counting() as tell:
                listener = partial(tell, name.removesuffix("Builder"))
                report = run_builder(builder, workers=given["workers"], listener=listener)
            reports[name] = (report, time.monotonic() - started)
        if given["out"] is not None:
            write_files(database, given["out"], {type(builder) for builder in chosen})
            say(f"tables and pictures are in {given['out']}")
    _print(reports, as_json=given["as_json"])
    say(f"collections of {server_of(database)}")
    if any(report.failures for report, _ in reports.values()):
        raise click.exceptions.Exit(FAILED)


def _builders(steps: Sequence[str], given: Mapping[str, Any]) -> list[DerivedBuilder]:
    wanted = list(STEPS) if not steps or ALL in steps else [each for each in STEPS if each in steps]
    classes = [kind for step in wanted for kind in STEPS[step]]
    query = options.json_query(given["query"])
    if query and len(wanted) > 1:
        raise InputError("--query is for the source of one STEP: name the step")
    builders = []
    for position, kind in enumerate(classes):
        own = {field: given[option] for option, field in _OPTIONS.get(kind, {}).items()}
        common: dict[str, Any] = {key: given[key] for key in ("retry_failed", "rebuild")}
        if query and position == 0:
            common["query"] = query
        builders.append(kind(**own, **common))
    return builders


def _with_models(
    chosen: Sequence[DerivedBuilder], database: MongoDatabase, *, is_asked_for: bool
) -> list[DerivedBuilder]:
    """Return the builders with one of predictions for each model that is screened."""
    builders: list[DerivedBuilder] = []
    for each in chosen:
        if not isinstance(each, PredictionBuilder) or each.model is not None:
            builders.append(each)
            continue
        models = models_of(database, Screen())
        if not models and is_asked_for:
            builders.append(each)  # it says that there is none
        common = {key: getattr(each, key) for key in ("retry_failed", "rebuild", "query")}
        builders += [PredictionBuilder(model=name, **common) for name in models]
    return builders


def _print(reports: Mapping[str, tuple[BuildReport, float]], *, as_json: bool) -> None:
    if as_json:
        content = {
            name: {
                "current": report.n_current,
                "derived": report.n_derived,
                "written": report.n_written,
                "unchanged": report.n_unchanged,
                "removed": report.n_removed,
                "states": dict(report.states),
                "failures": dict(report.failures),
                "seconds": round(seconds, 3),
            }
            for name, (report, seconds) in reports.items()
        }
        click.echo(json.dumps(content))
    else:
        table = plain_table()
        names = ("current", "derived", "written", "same", "removed", "failed", "s")
        add_columns(table, "builder", *names, text=("builder",))
        for name, (report, seconds) in reports.items():
            numbers = (
                *(report.n_current, report.n_derived, report.n_written, report.n_unchanged),
                *(report.n_removed, report.failures.total()),
            )
            table.add_row(
                name.removesuffix("Builder"), *(str(number) for number in numbers), f"{seconds:.1f}"
            )
        print_table(table, console(error_stream=False))
    for name, (report, _) in reports.items():
        for reason, count in report.failures.most_common():
            say(f"{name.removesuffix('Builder')}: {count} failed: {reason}")
