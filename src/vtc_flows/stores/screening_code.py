"""A screen as plain PyMongo that people can run and change; it gives the same rows."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pprint import pformat
from textwrap import indent
from typing import Any

from vtc_flows.stores import screening
from vtc_flows.stores.collections import MATERIALS, PREDICTIONS, SAMS
from vtc_flows.stores.connection import MongoDatabase, server_of
from vtc_flows.stores.screening import MEASURED, PREDICTED, Screen

_WIDTH = 96
_LEFT_OUT = {"sites": 0, "provenance": 0}


class _Name(str):
    """Stands in a query for what an earlier line of the code found."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def screen_code(database: MongoDatabase, wanted: Screen, models: Mapping[str, int]) -> str:
    """
    Return a screen as Python code that needs PyMongo alone and leaves its rows in ``rows``.

    Parameters
    ----------
    database : Database
        Its address without user and password is the default in the code; another is taken from
        VTC_DATABASE_URI.
    wanted : Screen
    models : mapping of str to int
        See `vtc_flows.stores.screening.models_of`.
    """
    measured, predicted = wanted.kind != PREDICTED, wanted.kind != MEASURED
    parts = [_opening(database)]
    if measured:
        parts.append(_function(screening.measured_row))
    if predicted:
        parts.append(_function(screening.predicted_row))
    parts.append("rows = []")
    if measured:
        parts.append(_measured(wanted))
    if predicted:
        parts.append(_predicted(wanted, models))
    field, direction = wanted.order
    parts.append(
        "rows.sort(\n"
        f'    key=lambda row: (row["{field}"] or 0.0, row["record_id"], row["made_by"]),\n'
        f"    reverse={direction < 0},\n)"
    )
    if wanted.limit is not None:
        parts.append(f"rows = rows[:{wanted.limit}]")
    parts.append('for row in rows:\n    print(row["material_id"], row["element"], row["sams"])')
    return "\n".join(parts) + "\n"


def _opening(database: MongoDatabase) -> str:
    hosts, _, name = server_of(database).rpartition("/")
    return (
        "import os\n\nfrom pymongo import MongoClient\n\n"
        f'address = os.environ.get("VTC_DATABASE_URI", "mongodb://{hosts}")\n'
        f'db = MongoClient(address)["{name}"]\n'
    )


def _function(function: Any) -> str:
    """Return the code that rows are made with, as it stands in the package."""
    lines = inspect.getsource(function)
    for name in ("_N_SPACE_GROUPS", "MEASURED", "PREDICTED"):
        lines = lines.replace(name, repr(getattr(screening, name)))
    head, _, body = lines.partition("\n")
    head = head.partition(") ->")[0].replace(": Document", "").replace(": int", "")
    return f"\n{head.replace(': float', '')}):\n{body}\n"


def _measured(wanted: Screen) -> str:
    query = _written(screening.measured_query(wanted))
    return (
        "# computed with FEFF; sites and structures are left where they are\n"
        f"for found in db.{SAMS.name}.find(\n{query},\n    {_LEFT_OUT}\n):\n"
        "    rows.append(measured_row(found))\n"
    )


def _predicted(wanted: Screen, models: Mapping[str, int]) -> str:
    lines = ["# predicted: models, and the cluster size of what they were trained on"]
    lines.append(f"models = {dict(models)!r}")
    names = None
    if wanted.asks_for_chemistry:
        names = _Name("names")
        query = _written(screening.materials_query(wanted))
        lines.append(
            f'names = [\n    each["material_id"]\n    for each in db.{MATERIALS.name}.find(\n'
            f'{indent(query, "    ")},\n        {{"material_id": 1}},\n    )\n]'
        )
    skip = ""
    if wanted.kind != PREDICTED:
        query = _written(screening.known_query(models))
        lines.append(
            "# what is measured goes before what is predicted, wherever it lies\n"
            f'known = {{\n    (each["material_id"], each["element"], each["fms_atoms"])\n'
            f"    for each in db.{SAMS.name}.find(\n{indent(query, '    ')},\n"
            f"        {_LEFT_OUT}\n    )\n}}"
        )
        skip = (
            '    if (found["material_id"], found["element"], fms_atoms) in known:\n'
            "        continue\n"
        )
    query = _written(screening.predicted_query(wanted, models, names))
    lines.append(
        f"for found in db.{PREDICTIONS.name}.find(\n{query}\n):\n"
        '    fms_atoms = models[found["model_id"]]\n'
        f"{skip}"
        f"    rows.append(predicted_row(found, fms_atoms, {wanted.level!r}))\n"
    )
    return "\n".join(lines)


def _written(query: Mapping[str, Any]) -> str:
    return indent(pformat(dict(query), sort_dicts=False, width=_WIDTH - 8), "    ")
