"""
Queries over SAMS that was computed (``sams``) and SAMS that was predicted (``predictions``).

A measurement here is a FEFF calculation: what a model was trained on. Where both are known for the
same element of the same crystal with the same cluster size, the measured one is given alone,
whatever the predicted one is, so that a prediction never shows what is known to be otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from itertools import chain, islice
from typing import Any, Literal

from vtc_flows.errors import InputError
from vtc_flows.stores.collections import MATERIALS, MODELS, PREDICTIONS, SAMS
from vtc_flows.stores.connection import MongoDatabase, database_errors

Document = dict[str, Any]

MEASURED, PREDICTED = "measured", "predicted"
#: By what rows are sorted: the field of a row, by name.
SORTS = {"sams": "sams", "material": "material_id", "element": "element", "width": "width"}
#: The target of models that are screened.
TARGET = "sams"
#: Where a record says what its crystal holds, and a material.
CHEMISTRY = "provenance.structure.sites.species.element"
_SITES = "provenance.structure.sites"
_N_SPACE_GROUPS = 230
#: The fields of a document that a row is made of, and by which the database sorts it.
_MEASURED_FIELDS = (
    *("record_id", "material_id", "element", "fms_atoms", "engine", "sams", "features.n_sg"),
)
_PREDICTED_FIELDS = (
    *("record_id", "material_id", "element", "model_id", "space_group_number", "value"),
    *("intervals", "in_domain", "distance"),
)


@dataclass(frozen=True)
class Screen:
    """
    What is looked for; nothing is left out where nothing is said.

    Attributes
    ----------
    absorbers : tuple of str
        Elements whose SAMS it is.
    contains : tuple of str
        Elements that the crystal holds, all of them.
    only : tuple of str
        Elements that the crystal holds, these and no others.
    without : tuple of str
        Elements that it does not hold.
    low, high : float, optional
        Limits of SAMS, which belong to what is found, eV^-1/2.
    max_width : float, optional
        Widest interval, eV^-1/2; what is measured has none.
    level : float
        Of the interval.
    in_domain : bool
        Leave out predictions outside of the model's domain.
    space_groups : tuple of int
        Numbers.
    kind : {"measured", "predicted", "both"}
    fms_atoms : tuple of int
        Cluster sizes.
    model : str, optional
        Name or id; for each cluster size the current one of the most rows if not given.
    sort : str
        One of `SORTS`; with a minus before it, the largest first.
    limit : int, optional
        Most rows.
    """

    absorbers: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    max_width: float | None = None
    level: float = 0.9
    in_domain: bool = False
    space_groups: tuple[int, ...] = ()
    kind: Literal["measured", "predicted", "both"] = "both"
    fms_atoms: tuple[int, ...] = ()
    model: str | None = None
    sort: str = "-sams"
    limit: int | None = None

    @property
    def order(self) -> tuple[str, int]:
        """Field of a row by which it is sorted, and direction as the database has it."""
        name = self.sort.removeprefix("-")
        return SORTS[name], -1 if self.sort != name else 1

    @property
    def asks_for_chemistry(self) -> bool:
        """Whether it matters what else the crystal holds."""
        return bool(self.contains or self.only or self.without)


def screen(database: MongoDatabase, wanted: Screen) -> Iterator[Document]:
    """
    Yield what is measured and predicted, sorted.

    The database sorts (but by width), rows come one at a time, and no more are read than are asked
    for.

    Parameters
    ----------
    database : Database
    wanted : Screen

    Yields
    ------
    dict
        kind, record_id, material_id, element, space_group_number, fms_atoms, sams, low, high,
        width (eV^-1/2; low, high, width None for what is measured), in_domain, distance,
        made_by (engine or model).

    Raises
    ------
    InputError
        If there is no such model, or it has no interval of that level.
    StorageError
        If the database is away.
    """
    with database_errors(database):
        models = models_of(database, wanted)
        parts = [_measured(database, wanted)] if wanted.kind != PREDICTED else []
        if models:
            parts += _predicted(database, wanted, models)
        field, direction = wanted.order
        backwards = direction < 0

        def place(row: Document) -> tuple[Any, str, str]:
            return row[field] or 0.0, row["record_id"], row["made_by"]

        if field == "width":
            rows: Iterator[Document] = iter(sorted(chain(*parts), key=place, reverse=backwards))
        else:
            rows = merge(*parts, key=place, reverse=backwards)
        yield from islice(rows, wanted.limit)


def models_of(database: MongoDatabase, wanted: Screen) -> dict[str, int]:
    """
    Return the models whose predictions are looked at, with their cluster sizes.

    Raises
    ------
    InputError
        If a named one is not there, or has no interval of the level.
    """
    if wanted.kind == MEASURED:
        return {}
    query: Document = {"state": "successful", "target": TARGET, "current": True}
    if wanted.model is not None:
        query = {
            "state": "successful",
            "target": TARGET,
            "$or": [{"model_id": wanted.model}, {"name": wanted.model, "current": True}],
        }
    if wanted.fms_atoms:
        query["dataset.fms_atoms"] = {"$in": list(wanted.fms_atoms)}
    fields = {"_id": 0, "model_id": 1, "dataset.fms_atoms": 1, "interval.coverage.level": 1}
    found = database[MODELS.name].find(query, fields)
    best: dict[int, Document] = {}
    for each in found.sort([("dataset.n_rows", -1), ("last_updated", -1), ("model_id", 1)]):
        best.setdefault(each["dataset"]["fms_atoms"], each)
    if not best and wanted.model is not None:
        names = sorted(database[MODELS.name].distinct("name"))
        raise InputError(f"no model {wanted.model} (there are: {', '.join(names) or 'none'})")
    for each in best.values():
        levels = [one["level"] for one in each["interval"]["coverage"]]
        if wanted.level not in levels:
            known = ", ".join(f"{level:g}" for level in sorted(levels))
            raise InputError(
                f"predictions of {each['model_id']} have no interval of level {wanted.level:g}, "
                f"but of {known}"
            )
    return {each["model_id"]: size for size, each in best.items()}


def measured_query(wanted: Screen) -> Document:
    """
    Return the query for ``sams``.

    Examples
    --------
    >>> measured_query(Screen(absorbers=("Cu",), low=0.3, space_groups=(225,)))["sams"]
    {'$gte': 0.3}
    """
    query: Document = {"state": "complete"}
    if values := _range(wanted):
        query["sams"] = values
    if wanted.absorbers:
        query["element"] = {"$in": list(wanted.absorbers)}
    if wanted.fms_atoms:
        query["fms_atoms"] = {"$in": list(wanted.fms_atoms)}
    if wanted.space_groups:
        numbers = [number / _N_SPACE_GROUPS for number in wanted.space_groups]
        query["features.n_sg"] = {"$in": numbers}
    held = [*wanted.contains, *wanted.only]
    if held:
        query[CHEMISTRY] = {"$all": held}
    if wanted.without:
        query.setdefault(CHEMISTRY, {})["$nin"] = list(wanted.without)
    if wanted.only:
        other = {"species.element": {"$nin": list(wanted.only)}}
        query[_SITES] = {"$not": {"$elemMatch": other}}
    return query


def materials_query(wanted: Screen) -> Document:
    """
    Return the query for ``materials`` that the chemistry of a screen is.

    Examples
    --------
    >>> materials_query(Screen(only=("O", "Cu")))
    {'elements': {'$all': ['Cu', 'O'], '$size': 2}}
    >>> materials_query(Screen(contains=("O",), without=("H",)))
    {'elements': {'$all': ['O'], '$nin': ['H']}}
    """
    conditions: Document = {}
    held = sorted({*wanted.contains, *wanted.only})
    if held:
        conditions["$all"] = held
    if wanted.without:
        conditions["$nin"] = list(wanted.without)
    if wanted.only:
        conditions["$size"] = len(set(wanted.only))
    return {"elements": conditions}


def predicted_query(wanted: Screen, models: Mapping[str, int], names: Any = None) -> Document:
    """
    Return the query for ``predictions``.

    Parameters
    ----------
    wanted : Screen
    models : mapping of str to int
        See `models_of`.
    names : list of str, optional
        Of materials, where the chemistry is asked for; see `materials_query`.
    """
    query: Document = {"model_id": {"$in": list(models)}, "state": "successful"}
    if values := _range(wanted):
        query["value"] = values
    if wanted.absorbers:
        query["element"] = {"$in": list(wanted.absorbers)}
    if wanted.space_groups:
        query["space_group_number"] = {"$in": list(wanted.space_groups)}
    if wanted.in_domain:
        query["in_domain"] = True
    if wanted.max_width is not None:
        width = {"$subtract": ["$$one.high", "$$one.low"]}
        narrow = {
            "$and": [{"$eq": ["$$one.level", wanted.level]}, {"$lte": [width, wanted.max_width]}]
        }
        each = {"$map": {"input": "$intervals", "as": "one", "in": narrow}}
        query["$expr"] = {"$anyElementTrue": [each]}
    if names is not None:
        query["material_id"] = {"$in": names}
    return query


def known_query(models: Mapping[str, int]) -> Document:
    """Return the query for the records that predictions give way to."""
    return {"state": "complete", "fms_atoms": {"$in": sorted(set(models.values()))}}


def database_sort(wanted: Screen, value: str) -> list[tuple[str, int]]:
    """Return how the database is to sort; `value` is where it has SAMS."""
    field, direction = wanted.order
    place = {"sams": value}.get(field, field)
    return [] if field == "width" else [(place, direction), ("record_id", direction)]


def measured_row(found: Document) -> Document:
    """Return a record of ``sams`` as a row."""
    return {
        "kind": MEASURED,
        "record_id": found["record_id"],
        "material_id": found["material_id"],
        "element": found["element"],
        "space_group_number": round(found["features"]["n_sg"] * _N_SPACE_GROUPS),
        "fms_atoms": found["fms_atoms"],
        "sams": found["sams"],
        "low": None,
        "high": None,
        "width": None,
        "in_domain": None,
        "distance": None,
        "made_by": found["engine"],
    }


def predicted_row(found: Document, fms_atoms: int, level: float) -> Document:
    """Return a document of ``predictions`` as a row."""
    one = next(each for each in found["intervals"] if each["level"] == level)
    return {
        "kind": PREDICTED,
        "record_id": found["record_id"],
        "material_id": found["material_id"],
        "element": found["element"],
        "space_group_number": found["space_group_number"],
        "fms_atoms": fms_atoms,
        "sams": found["value"],
        "low": one["low"],
        "high": one["high"],
        "width": one["high"] - one["low"],
        "in_domain": found["in_domain"],
        "distance": found["distance"],
        "made_by": found["model_id"],
    }


def contents_of(database: MongoDatabase, names: list[str]) -> dict[str, dict[str, int]]:
    """
    Return how many sites of each element the cells of some crystals have, by material.

    Parameters
    ----------
    database : Database
    names : list of str
        Of materials; those without a document there are taken from their records.
    """
    found: dict[str, dict[str, int]] = {}
    places = ((MATERIALS.name, "structure"), (SAMS.name, "provenance.structure"))
    with database_errors(database):
        for collection, place in places:
            missing = [name for name in names if name not in found]
            fields = {"_id": 0, "material_id": 1, f"{place}.sites.species.element": 1}
            for each in database[collection].find({"material_id": {"$in": missing}}, fields):
                structure = each.get("provenance", each)["structure"]
                counts: dict[str, int] = {}
                for site in structure["sites"]:
                    symbol = site["species"][0]["element"]
                    counts[symbol] = counts.get(symbol, 0) + 1
                found.setdefault(each["material_id"], counts)
    return found


def _range(wanted: Screen) -> Document:
    limits = {"$gte": wanted.low, "$lte": wanted.high}
    return {key: value for key, value in limits.items() if value is not None}


def _fields(names: tuple[str, ...]) -> dict[str, int]:
    return {"_id": 0, **dict.fromkeys(names, 1)}


def _measured(database: MongoDatabase, wanted: Screen) -> Iterator[Document]:
    found = database[SAMS.name].find(measured_query(wanted), _fields(_MEASURED_FIELDS))
    if order := database_sort(wanted, "sams"):
        found = found.sort(order)
    return map(measured_row, found)


def _predicted(
    database: MongoDatabase, wanted: Screen, models: Mapping[str, int]
) -> list[Iterator[Document]]:
    """Return the rows of each model: those of one differ in their names, and so have an order."""
    names = None
    known: set[tuple[str, str, int]] = set()
    if wanted.asks_for_chemistry:
        materials = database[MATERIALS.name].find(
            materials_query(wanted), _fields(("material_id",))
        )
        names = [each["material_id"] for each in materials]
    if wanted.kind != PREDICTED:
        fields = _fields(("material_id", "element", "fms_atoms"))
        records = database[SAMS.name].find(known_query(models), fields)
        known = {(each["material_id"], each["element"], each["fms_atoms"]) for each in records}

    def rows(model_id: str, size: int) -> Iterator[Document]:
        query = predicted_query(wanted, {model_id: size}, names)
        found = database[PREDICTIONS.name].find(query, _fields(_PREDICTED_FIELDS))
        if order := database_sort(wanted, "value"):
            found = found.sort(order)
        for each in found:
            if (each["material_id"], each["element"], size) not in known:
                yield predicted_row(each, size, wanted.level)

    return [rows(model_id, size) for model_id, size in models.items()]
