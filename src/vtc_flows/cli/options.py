"""Options that several commands share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from vtc_flows.crystal.sites import TRANSITION_METALS
from vtc_flows.errors import InputError

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_ENGINE = "feff8l"


class Sizes(click.ParamType[tuple[int, ...]]):
    """Numbers of atoms, separated by commas."""

    name = "N[,N...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the numbers."""
        if isinstance(value, tuple):
            return value
        try:
            sizes = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            sizes = ()
        if not sizes or min(sizes) < 1:
            self.fail(f"{value!r} is no list of whole numbers above 0, as 30,80", param, ctx)
        return sizes


class Number(click.ParamType[float]):
    """
    A finite number within limits.

    Parameters
    ----------
    low, high : float
        The limits, which belong to what is accepted.
    """

    name = "NUMBER"

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not self.low <= number <= self.high:  # false for what is not a number
            self.fail(f"{value!r} is no number from {self.low:g} to {self.high:g}", param, ctx)
        return number


class Bottom(click.ParamType[Any]):
    """Where the states that emit begin: a word, or an energy below the Fermi level."""

    name = "auto|all|E"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | float:
        """Return the word or the energy in eV."""
        if value in ("auto", "all"):
            return str(value)
        try:
            energy = float(value)
        except (TypeError, ValueError):
            energy = math.nan
        if not -200.0 <= energy < 0.0:
            self.fail(
                f"{value!r} is neither auto nor all nor an energy from -200 to 0 eV below the "
                "Fermi level, as -28",
                param,
                ctx,
            )
        return energy


class Element(click.ParamType[str]):
    """A 3d transition metal, in any case of letters."""

    name = "SYMBOL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the symbol."""
        symbol = str(value).capitalize()
        if symbol not in TRANSITION_METALS:
            self.fail(f"{value!r} is none of {' '.join(TRANSITION_METALS)}", param, ctx)
        return symbol


def structures(command: Command) -> Command:
    """Add the structures a command works on."""
    return click.argument("structures", nargs=-1, required=True, metavar="STRUCTURE...")(command)


def elements(command: Command) -> Command:
    """Add the choice of absorbers."""
    return click.option(
        "--element",
        "elements",
        type=Element(),
        multiple=True,
        help="Absorbing element; may be repeated. All 3d metals of a structure if not given.",
    )(command)


def moments(command: Command) -> Command:
    """Add what the moments depend on."""
    for option in (
        click.option(
            "--moment-cutoff",
            type=Number(0.5, 60.0),
            default=12.0,
            show_default=True,
            metavar="R",
            help="How far neighbours count in the moments, in Angstrom.",
        ),
        click.option(
            "--exponent",
            type=click.IntRange(1, 14),
            default=8,
            show_default=True,
            metavar="P",
            help="Fall-off p of the moments' weight r^-p.",
        ),
    ):
        command = option(command)
    return command


def preset(command: Command) -> Command:
    """Add the choice of a preset."""
    return click.option(
        "--preset",
        type=click.Choice(["seed", "converged"]),
        default="seed",
        show_default=True,
        help="Neighbours in the multiple scattering: the source paper's 30, or 80.",
    )(command)


def spectra(command: Command) -> Command:
    """Add what spectra and SAMS depend on, but for engine and preset; see `cli.calculation`."""
    for option in (
        click.option(
            "--fwhm",
            type=Number(0.0, 20.0),
            default=0.0,
            show_default=True,
            metavar="W",
            help="Gaussian broadening before SAMS, full width in eV.",
        ),
        click.option(
            "--window",
            type=(float, float),
            metavar="LOW HIGH",
            help="Window of SAMS relative to the Fermi level in eV; the whole grid if not given.",
        ),
        click.option(
            "--valence-bottom",
            type=Bottom(),
            default="auto",
            show_default=True,
            help="Where the states that emit begin: found above the absorber's 3p level, 30 eV "
            "below the Fermi level at most (auto), nowhere, as FEFF has it (all), or at E eV from "
            "the Fermi level, as -28.",
        ),
        click.option(
            "--core-hole",
            type=click.Choice(["fsr", "none"]),
            default="fsr",
            show_default=True,
            help="The 1s hole: kept (final-state rule), or ignored.",
        ),
        click.option(
            "--energies",
            type=(Number(1.0, 200.0), Number(0.0, 100.0), Number(0.005, 2.0)),
            default=(30.0, 5.0, 0.1),
            show_default="30 5 0.1",
            metavar="BELOW ABOVE STEP",
            help="Grid about the Fermi level in eV.",
        ),
        click.option(
            "--scf-atoms",
            type=click.IntRange(1, 99),
            default=30,
            show_default=True,
            metavar="N",
            help="Neighbours in the self-consistent potentials.",
        ),
        click.option(
            "--fms-atoms", type=Sizes(), help="Instead of the preset's; several share one SCF."
        ),
    ):
        command = option(command)
    return command


def install_engine(command: Command) -> Command:
    """Add leave to install the engine."""
    return click.option(
        "--install-engine", is_flag=True, help="Install FEFF 8.5L first where there is none."
    )(command)


def engine(command: Command) -> Command:
    """Add the engine and leave to install it."""
    return click.option(
        "--engine",
        default=DEFAULT_ENGINE,
        show_default=True,
        metavar="NAME",
        help="feff8l, feff10, or the place package.module:factory of an engine of your own.",
    )(install_engine(command))


def workers_that(do: str) -> Callable[[Command], Command]:
    """Add how much is done at a time; the text says by what."""
    return click.option(
        "--workers",
        type=click.IntRange(1, 1024),
        default=1,
        show_default=True,
        metavar="N",
        help=do,
    )


workers = workers_that("Materials at a time, each in a process of its own.")


def plot(command: Command) -> Command:
    """Add leave to draw."""
    return click.option("--plot/--no-plot", default=True, help="Draw pictures, or not.")(command)


def out(default: str | None) -> Callable[[Command], Command]:
    """Add the folder for results."""

    def add(command: Command) -> Command:
        return click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            default=default,
            show_default=default is not None,
            required=default is None,
            help="Folder for results.",
        )(command)

    return add


def store(command: Command) -> Command:
    """Add leave to keep results in the database."""
    return click.option(
        "--store",
        is_flag=True,
        help="Keep the records in the database as well: that of `vtc db`, or VTC_DATABASE_URI.",
    )(command)


def as_json(command: Command) -> Command:
    """Add output for programs."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print JSON on standard output, and the rest on standard error.",
    )(command)


def json_query(text: str | None) -> dict[str, Any]:
    """
    Return the MongoDB query of ``--query``; one of everything where it is not given.

    Raises
    ------
    InputError
        If it is no JSON object.
    """
    if not text:
        return {}
    try:
        query = json.loads(text)
    except ValueError as error:
        raise InputError(f"--query is no JSON: {error}") from error
    if not isinstance(query, dict):
        raise InputError('--query is a JSON object, as {"n_sites": {"$lte": 20}}')
    return query
