"""Screens on a real server: records computed with FEFF, and predictions beside them."""

from __future__ import annotations

import gzip
import itertools
import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from pymatgen.core import Structure
from pymongo import MongoClient

from vtc_flows.crystal.sources import StructureRecord
from vtc_flows.errors import InputError
from vtc_flows.schemas.models import Interval, PredictionDoc
from vtc_flows.stores.collections import prepare
from vtc_flows.stores.materials import save_materials
from vtc_flows.stores.screening import (
    Screen,
    contents_of,
    database_sort,
    measured_query,
    models_of,
    predicted_query,
    screen,
)
from vtc_flows.stores.screening_code import screen_code
from vtc_flows.workflow.materials import material_document

RECORDS = Path(__file__).parents[1] / "data" / "campaign" / "records.jsonl.gz"
MODELS = {"small": 30, "large": 80}


def model(name: str, size: int, n_rows: int, *, current: bool = True) -> dict:
    return {
        "model_id": f"{name}-{n_rows}",
        "name": name,
        "current": current,
        "state": "successful",
        "target": "sams",
        "dataset": {"fms_atoms": size, "n_rows": n_rows},
        "interval": {"coverage": [{"level": 0.5}, {"level": 0.9}]},
    }


def prediction(record: dict, model_id: str, value: float, width: float, number: int) -> dict:
    material_id = record["material_id"]
    return PredictionDoc(
        record_id=f"{material_id}-{record['element']}-p8-r12",
        model_id=model_id,
        material_id=material_id,
        element=record["element"],
        formula="X",
        prototype="A-1",
        space_group_number=number,
        target="sams",
        value=value,
        unit="eV^-1/2",
        intervals=[
            Interval(level=0.5, low=value - width / 4, high=value + width / 4),
            Interval(level=0.9, low=value - width / 2, high=value + width / 2),
        ],
        in_domain=width < 0.1,
        domain_reasons=[] if width < 0.1 else ["far"],
        distance=10 * width,
        features={},
    ).model_dump(mode="json")


@pytest.fixture(scope="module")
def records():
    with gzip.open(RECORDS, "rt") as lines:
        found = [each for line in lines if (each := json.loads(line))["state"] == "complete"]
    for each in found:
        each["sites"] = []  # long, and nothing here looks at them
    return found


@pytest.fixture(scope="module")
def stored(mongo_server, records):
    """
    Fill a database: every second crystal is measured, all are predicted.

    The first crystal is measured alone, as by `vtc run --store`: there is no material of it.
    """
    with MongoClient(mongo_server.uri) as client:
        database = client["test_screening"]
        prepare(database)
        names = sorted({each["material_id"] for each in records})
        measured = set(names[::2])
        database.sams.insert_many([{**each} for each in records if each["material_id"] in measured])
        database.sams.insert_one(
            {**records[0], "record_id": "broken", "state": "incomplete", "sams": None}
        )
        crystals = {each["material_id"]: each["provenance"]["structure"] for each in records}
        for name in names[1:]:
            structure = Structure.from_dict(crystals[name])
            formula = structure.composition.reduced_formula
            of = StructureRecord(name, structure, "test", formula)
            save_materials(database, [material_document(of)])
        database.models.insert_many(
            [
                *(model("small", 30, 40), model("small", 30, 20, current=False)),
                *(model("large", 80, 40), model("other", 80, 39)),
            ]
        )
        sizes = {30: "small-40", 80: "large-40"}
        widths = itertools.cycle([0.02, 0.05, 0.2])
        found = [
            prediction(
                each,
                sizes[each["fms_atoms"]],
                each["sams"] + 0.01,
                next(widths),
                round(each["features"]["n_sg"] * 230),
            )
            for each in records
            if each["material_id"] != names[0]
        ]
        found += [{**each, "model_id": "small-20", "value": 99.0} for each in found[:9:2]]
        database.predictions.insert_many(found)
        yield database
        client.drop_database(database.name)


def elements_of(records) -> dict[str, set[str]]:
    return {
        each["material_id"]: {
            site["species"][0]["element"] for site in each["provenance"]["structure"]["sites"]
        }
        for each in records
    }


def of_kind(rows, kind):
    return [row for row in rows if row["kind"] == kind]


def identity(row):
    return row["material_id"], row["element"], row["fms_atoms"]


def test_everything_is_listed_once_and_sorted(stored, records):
    rows = list(screen(stored, Screen()))
    assert {identity(row) for row in rows} == {
        (each["material_id"], each["element"], each["fms_atoms"]) for each in records
    }
    assert len(rows) == len(records)
    values = [row["sams"] for row in rows]
    assert values == sorted(values, reverse=True)
    measured = {row["record_id"]: row["sams"] for row in of_kind(rows, "measured")}
    assert measured == {
        each["record_id"]: each["sams"] for each in records if each["record_id"] in measured
    }
    assert {row["made_by"] for row in of_kind(rows, "predicted")} == {"small-40", "large-40"}


def test_one_kind_alone(stored, records):
    measured = list(screen(stored, Screen(kind="measured")))
    predicted = list(screen(stored, Screen(kind="predicted")))
    assert {row["kind"] for row in measured} == {"measured"}
    assert {row["kind"] for row in predicted} == {"predicted"}
    n_first = sum(each["material_id"] == records[0]["material_id"] for each in records)
    assert len(predicted) == len(records) - n_first  # measured ones too


def test_a_measured_one_outside_the_range_hides_its_prediction(stored, records):
    known = next(screen(stored, Screen(kind="measured", sort="sams")))
    only_prediction = Screen(
        low=known["sams"] + 0.009, high=known["sams"] + 0.011, absorbers=(known["element"],)
    )
    assert identity(known) not in {identity(row) for row in screen(stored, only_prediction)}
    shown = screen(stored, Screen(**{**vars(only_prediction), "kind": "predicted"}))
    assert identity(known) in {identity(row) for row in shown}


@pytest.mark.parametrize("kind", ["measured", "predicted", "both"])
@pytest.mark.parametrize(
    "chemistry",
    [
        {"contains": ("O",)},
        {"contains": ("O",), "without": ("Li", "H")},
        {"without": ("O", "S")},
        {"only": ("Ti", "O")},
        {"only": ("Cu",), "contains": ("Cu",)},
    ],
)
def test_chemistry(stored, records, kind, chemistry):
    wanted = Screen(kind=kind, **chemistry)
    holds = elements_of(records)
    everything = {identity(row) for row in screen(stored, Screen(kind=kind))}
    expected = {
        one
        for one in everything
        if holds[one[0]] >= set(wanted.contains)
        and (not wanted.only or holds[one[0]] == set(wanted.only))
        and holds[one[0]].isdisjoint(wanted.without)
    }
    assert {identity(row) for row in screen(stored, wanted)} == expected
    assert "O" not in wanted.contains or expected


def test_what_rows_are_asked_to_be(stored):
    rows = list(screen(stored, Screen()))

    def found(**wanted) -> list:
        return list(screen(stored, Screen(**wanted)))

    assert found(absorbers=("Fe", "Co")) == [r for r in rows if r["element"] in {"Fe", "Co"}]
    assert found(low=0.1, high=0.2) == [r for r in rows if 0.1 <= r["sams"] <= 0.2]
    assert found(in_domain=True) == [r for r in rows if r["in_domain"] is not False]
    assert found(max_width=0.06) == [r for r in rows if (r["width"] or 0) <= 0.06]
    assert found(max_width=0.03, level=0.5) == [
        {**r, **half(r)} for r in rows if (r["width"] or 0) / 2 <= 0.03
    ]
    assert found(fms_atoms=(80,)) == [r for r in rows if r["fms_atoms"] == 80]
    number = of_kind(rows, "measured")[0]["space_group_number"]
    both = (number, of_kind(rows, "predicted")[0]["space_group_number"])
    assert found(space_groups=both) == [r for r in rows if r["space_group_number"] in both]
    assert found(limit=7) == rows[:7]


def half(row) -> dict:
    if row["width"] is None:
        return {}
    low, high = row["sams"] - row["width"] / 4, row["sams"] + row["width"] / 4
    return {
        name: pytest.approx(v) for name, v in zip(("low", "high"), (low, high), strict=True)
    } | {"width": pytest.approx(row["width"] / 2)}


@pytest.mark.parametrize("sort", ["sams", "material", "-element", "width", "-width"])
def test_sorting(stored, sort):
    rows = list(screen(stored, Screen(sort=sort)))
    field, _ = Screen(sort=sort).order
    values = [row[field] or 0.0 for row in rows]
    assert values == sorted(values, reverse=sort.startswith("-"))
    assert len(rows) == len(list(screen(stored, Screen())))


def test_which_model(stored):
    assert models_of(stored, Screen()) == {"small-40": 30, "large-40": 80}
    assert models_of(stored, Screen(fms_atoms=(30,))) == {"small-40": 30}
    assert models_of(stored, Screen(model="other")) == {"other-39": 80}
    rows = list(screen(stored, Screen(model="small-20", kind="predicted")))
    assert {row["sams"] for row in rows} == {99.0}
    with pytest.raises(InputError, match="there are: large, other, small"):
        models_of(stored, Screen(model="none"))
    with pytest.raises(InputError, match=r"no interval of level 0.8, but of 0.5, 0.9"):
        models_of(stored, Screen(level=0.8))


@pytest.mark.parametrize(
    "wanted",
    [
        Screen(),
        Screen(contains=("O",), without=("H",), low=0.05, in_domain=True, limit=9),
        Screen(only=("Ti", "O"), kind="measured"),
        Screen(kind="predicted", max_width=0.06, sort="-width", fms_atoms=(30,)),
        Screen(absorbers=("Fe",), sort="material", space_groups=(225, 227, 62)),
    ],
)
def test_the_code_gives_the_same_rows(stored, wanted, mongo_server, monkeypatch):
    code = screen_code(stored, wanted, models_of(stored, wanted))
    assert "vtc_flows" not in code
    monkeypatch.setenv("VTC_DATABASE_URI", mongo_server.uri)
    names: dict = {}
    printed = StringIO()
    with redirect_stdout(printed):
        exec(compile(code, "code", "exec"), names)
    names["db"].client.close()
    expected = list(screen(stored, wanted))
    assert names["rows"] == expected
    assert len(printed.getvalue().splitlines()) == len(expected)


def test_the_code_holds_no_password(stored):
    with MongoClient("mongodb://user:secret@127.0.0.1:1/", connect=False) as client:
        code = screen_code(client["other"], Screen(), {})
    assert "secret" not in code
    assert "mongodb://127.0.0.1:1" in code


def stages(plan: dict) -> set[str]:
    """Return the stages of the plan that the server chose."""
    found = {plan.get("stage", "")}
    for key in ("inputStage", "queryPlan"):
        if key in plan:
            found |= stages(plan[key])
    for each in plan.get("inputStages", []):
        found |= stages(each)
    return found


def chosen(cursor) -> set[str]:
    return stages(cursor.explain()["queryPlanner"]["winningPlan"])


def test_queries_use_indexes(database, records):
    prepare(database)
    database.predictions.insert_many(
        {
            "record_id": str(number),
            "model_id": f"m{number % 2}",
            "material_id": f"mp-{number}",
            "state": "successful",
            "value": (number * 7919 % 20_000) / 2e4,
            "in_domain": number % 3 > 0,
        }
        for number in range(20_000)
    )
    database.sams.insert_many(
        {
            "record_id": str(number),
            "material_id": f"mp-{number}",
            "element": "Fe",
            "state": "complete",
            "fms_atoms": 30,
            "sams": number / 2e3,
            "provenance": records[number % 60]["provenance"],
        }
        for number in range(2000)
    )
    for wanted in (Screen(low=0.3, in_domain=True), Screen(sort="sams")):
        query = predicted_query(wanted, {"m1": 30})
        plan = chosen(database.predictions.find(query).sort(database_sort(wanted, "value")))
        assert "IXSCAN" in plan
        assert not {"COLLSCAN", "SORT"} & plan  # the index has them in their order
        plan = chosen(
            database.sams.find(measured_query(wanted)).sort(database_sort(wanted, "sams"))
        )
        assert "IXSCAN" in plan
        assert not {"COLLSCAN", "SORT"} & plan
    names = [f"mp-{number}" for number in range(300)]
    query = predicted_query(Screen(), {"m0": 30, "m1": 80}, names)
    assert "COLLSCAN" not in chosen(database.predictions.find(query))
    query = measured_query(Screen(contains=("Ti", "O"), without=("H",)))
    assert "COLLSCAN" not in chosen(database.sams.find(query))


def test_what_crystals_hold(stored, records):
    names = sorted({each["material_id"] for each in records})
    contents = contents_of(stored, [*names, "nowhere"])
    assert {name: set(held) for name, held in contents.items()} == elements_of(records)
