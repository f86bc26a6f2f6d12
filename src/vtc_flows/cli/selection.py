"""Options that say which crystals, and the crystals they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from vtc_flows.cli import options
from vtc_flows.cli.options import Command
from vtc_flows.errors import InputError
from vtc_flows.workflow.materials import Selection


def crystals(*, stored: bool, element_help: str) -> Callable[[Command], Command]:
    """
    Add the choice of crystals.

    Parameters
    ----------
    stored : bool
        Whether they may come from the collection ``materials``.
    element_help : str
        What ``--element`` means to the command.
    """

    def add(command: Command) -> Command:
        from_materials = [
            click.option("--materials", is_flag=True, help="Those of the collection `materials`."),
            click.option(
                "--query", metavar="JSON", help="A MongoDB query that chooses among `materials`."
            ),
        ]
        for option in (
            click.option(
                "--limit", type=click.IntRange(1), metavar="N", help="At most so many crystals."
            ),
            click.option(
                "--max-atoms",
                type=click.IntRange(1),
                metavar="N",
                help="Only cells of at most so many atoms.",
            ),
            click.option(
                "--element",
                "elements",
                type=options.Element(),
                multiple=True,
                help=f"{element_help} May be repeated.",
            ),
            *reversed(from_materials if stored else []),
            click.option(
                "--mp-query",
                is_flag=True,
                help="All crystals of the Materials Project that are known from experiment and "
                "contain a 3d metal, in primitive cells.",
            ),
            click.argument("structures", nargs=-1, metavar="STRUCTURE..."),
        ):
            command = option(command)
        return command

    return add


def selection(given: dict[str, Any]) -> Selection:
    """
    Return what the options of `crystals` say.

    Raises
    ------
    InputError
        If they say nothing, or the query is none.
    """
    stored: dict[str, Any] | None = {} if given.get("materials") else None
    if given.get("query"):
        stored = options.json_query(given["query"])
    if not given["structures"] and not given["mp_query"] and stored is None:
        ways = ", --materials" if "materials" in given else ""
        raise InputError(f"no crystals: give files, Materials Project ids{ways}, or --mp-query")
    return Selection(
        specs=given["structures"],
        materials_project=given["mp_query"],
        stored=stored,
        elements=given["elements"],
        max_atoms=given["max_atoms"],
        limit=given["limit"],
    )
