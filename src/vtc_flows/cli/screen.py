"""`vtc screen`: crystals by their SAMS, measured or predicted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from pymatgen.core.composition import Composition
from pymatgen.core.periodic_table import Element
from rich.table import Table

from vtc_flows.cli import options
from vtc_flows.cli.display import add_columns, console, plain_table, print_table, say
from vtc_flows.cli.screen_files import COLUMNS, Row, write_rows, writer_for
from vtc_flows.errors import InputError
from vtc_flows.settings import load_settings
from vtc_flows.stores.connection import MongoDatabase, open_database, server_of
from vtc_flows.stores.screening import (
    MEASURED,
    PREDICTED,
    SORTS,
    Screen,
    contents_of,
    models_of,
    screen,
)
from vtc_flows.stores.screening_code import screen_code

#: Rows of the table, where nothing else is asked for.
_SHOWN = 20
_LARGEST_SAMS = 1e3
_ORDERS = [sign + name for name in SORTS for sign in ("", "-")]


class Elements(click.ParamType[tuple[str, ...]]):
    """
    Symbols of elements.

    Parameters
    ----------
    separator : str
        What stands between them.
    """

    def __init__(self, separator: str) -> None:
        self.separator = separator
        self.name = f"X[{separator}Y...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the symbols."""
        if isinstance(value, tuple):
            return value
        symbols = [part.strip().capitalize() for part in str(value).split(self.separator)]
        for symbol in symbols:
            if not Element.is_valid_symbol(symbol):
                example = self.separator.join(("Cu", "O"))
                self.fail(f"{symbol!r} is no element: give them as {example}", param, ctx)
        return tuple(dict.fromkeys(symbols))


@click.command("screen")
@click.option(
    "--element",
    "absorbers",
    type=options.Element(),
    multiple=True,
    help="Absorbing element; may be repeated.",
)
@click.option(
    "--elements",
    "contains",
    type=Elements(","),
    default=(),
    help="The crystal holds all of these, as Cu,O.",
)
@click.option(
    "--chemsys", "only", type=Elements("-"), default=(), help="It holds these alone, as Cu-O."
)
@click.option(
    "--exclude", "without", type=Elements(","), default=(), help="It holds none of these."
)
@click.option(
    "--min-sams",
    "low",
    type=options.Number(0.0, _LARGEST_SAMS),
    metavar="S",
    help="Lowest SAMS, eV^-1/2.",
)
@click.option(
    "--max-sams",
    "high",
    type=options.Number(0.0, _LARGEST_SAMS),
    metavar="S",
    help="Highest SAMS, eV^-1/2.",
)
@click.option(
    "--max-width",
    type=options.Number(0.0, _LARGEST_SAMS),
    metavar="W",
    help="Widest interval of a prediction, eV^-1/2.",
)
@click.option(
    "--level",
    type=options.Number(0.01, 0.999),
    default=0.9,
    show_default=True,
    metavar="P",
    help="Of the interval.",
)
@click.option("--in-domain", is_flag=True, help="No predictions outside of the model's domain.")
@click.option(
    "--space-group",
    "space_groups",
    type=click.IntRange(1, 230),
    multiple=True,
    metavar="N",
    help="Number; may be repeated.",
)
@click.option("--measured", is_flag=True, help="Only what was computed with FEFF.")
@click.option("--predicted", is_flag=True, help="Only predictions, of measured ones too.")
@click.option("--fms-atoms", type=options.Sizes(), default=(), help="Cluster sizes.")
@click.option("--model", metavar="NAME", help="Whose predictions; the current one if not given.")
@click.option(
    "--sort",
    type=click.Choice(_ORDERS),
    default="-sams",
    show_default=True,
    help="With a minus the largest first.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many rows.")
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the rows into a file: .csv, .json or .parquet.",
)
@click.option("--explain", is_flag=True, help="Print the same as Python code for PyMongo.")
@options.as_json
def screen_command(
    out: Path | None,
    explain: bool,
    as_json: bool,
    measured: bool,
    predicted: bool,
    limit: int | None,
    **given: Any,
) -> None:
    """
    List crystals of the database by their SAMS, measured (computed with FEFF) or predicted.

    Where both are known for the same element, crystal and cluster size, the measured one is
    listed. The table shows 20 rows unless --limit says otherwise; files and --json hold all.
    """
    if measured and predicted:
        raise InputError("--measured and --predicted exclude each other: give neither for both")
    if out is not None:
        writer_for(out)
    wanted = Screen(
        **given,
        kind="measured" if measured else "predicted" if predicted else "both",
        limit=limit,
    )
    _check(wanted)
    database = open_database(load_settings())
    if explain:
        click.echo(screen_code(database, wanted, models_of(database, wanted)), nl=False)
        return
    whole = out is not None or as_json or limit is not None
    rows = _found(database, wanted if whole else _with_limit(wanted, _SHOWN + 1))
    if out is not None:
        write_rows(out, rows)
        say(f"{len(rows)} rows are in {out}")
    if as_json:
        click.echo(json.dumps(rows))
    elif out is None:
        _print(rows if whole else rows[:_SHOWN], wanted)
        if not whole and len(rows) > _SHOWN:
            say(f"there are more than {_SHOWN}: --limit N shows more, -o FILE has all")
    if not rows:
        _say_why(database, wanted)


def _check(wanted: Screen) -> None:
    if wanted.low is not None and wanted.high is not None and wanted.low > wanted.high:
        raise InputError(
            f"--min-sams {wanted.low:g} is above --max-sams {wanted.high:g}: nothing lies between"
        )
    if strange := set(wanted.contains) - set(wanted.only) if wanted.only else set():
        raise InputError(f"--elements {','.join(sorted(strange))}: not in --chemsys")
    if strange := set(wanted.without) & {*wanted.contains, *wanted.only, *wanted.absorbers}:
        raise InputError(f"--exclude {','.join(sorted(strange))}: asked for as well")


def _with_limit(wanted: Screen, limit: int) -> Screen:
    return Screen(**{**vars(wanted), "limit": limit})


def _found(database: MongoDatabase, wanted: Screen) -> list[Row]:
    """Return the rows with the formulas of their crystals."""
    rows = list(screen(database, wanted))
    contents = contents_of(database, sorted({row["material_id"] for row in rows}))
    formulas = {name: Composition(held).reduced_formula for name, held in contents.items()}
    for row in rows:
        row["formula"] = formulas.get(row["material_id"])
    return [{name: row[name] for name in COLUMNS} for row in rows]


def _print(rows: Sequence[Row], wanted: Screen) -> None:
    table = plain_table()
    names = ("material", "formula", "X", "SG", "atoms", "SAMS", "low", "high", "domain", "")
    add_columns(table, *names, text=("material", "formula", "X", "domain", ""))
    for row in rows:
        numbers = ("-" if row[name] is None else f"{row[name]:.4f}" for name in ("low", "high"))
        inside = {None: "", True: "inside", False: "outside"}[row["in_domain"]]
        table.add_row(
            *(row["material_id"], row["formula"] or "-", row["element"]),
            *(str(row["space_group_number"]), str(row["fms_atoms"]), f"{row['sams']:.4f}"),
            *numbers,
            *(inside, row["kind"]),
        )
    _show(table, rows, wanted)


def _show(table: Table, rows: Sequence[Row], wanted: Screen) -> None:
    target = console(error_stream=False)
    print_table(table, target)
    line = "SAMS in eV^-1/2; atoms: neighbours in the multiple scattering"
    if any(row["kind"] == PREDICTED for row in rows):
        line += f"; low, high: {100 * wanted.level:g} % interval"
    target.print(line, soft_wrap=True)


def _say_why(database: MongoDatabase, wanted: Screen) -> None:
    say(f"nothing of that kind in {server_of(database)}")
    if wanted.kind != MEASURED and not models_of(database, wanted):
        say("there is no model either: vtc train makes one, vtc build predictions uses it")
