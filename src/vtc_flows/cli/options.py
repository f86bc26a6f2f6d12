"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from vtc_flows.crystal.sites import TRANSITION_METALS

Command = TypeVar("Command", bound=Callable[..., Any])


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


def engine(command: Command) -> Command:
    """Add the engine and leave to install it."""
    for option in (
        click.option(
            "--install-engine", is_flag=True, help="Install FEFF 8.5L first where there is none."
        ),
        click.option(
            "--engine",
            default="feff8l",
            show_default=True,
            metavar="NAME",
            help="feff8l, feff10, or the place package.module:factory of an engine of your own.",
        ),
    ):
        command = option(command)
    return command


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


def as_json(command: Command) -> Command:
    """Add output for programs."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print JSON on standard output, and the rest on standard error.",
    )(command)
