from __future__ import annotations

import campaign as made
import pytest
from pymongo import MongoClient

from vtc_flows import builders
from vtc_flows.builders.running import build
from vtc_flows.stores.collections import prepare
from vtc_flows.stores.connection import close_databases

RAW = ("materials", "jobs", "data.files", "data.chunks")

#: Builders in the order in which one needs the other, and what each writes.
CHAIN = {
    "FeatureBuilder": ("features",),
    "SiteSpectraBuilder": ("site_spectra",),
    "SamsBuilder": ("sams", "data.files", "data.chunks"),
    "DatasetBuilder": ("datasets", "datasets.files", "datasets.chunks"),
    "ExponentBuilder": ("exponents",),
    "ExponentCurveBuilder": ("exponent_curves",),
}


@pytest.fixture(scope="session")
def seeded(mongo_server):
    """Compute once what all tests start from."""
    with MongoClient(mongo_server.uri) as client:
        database = client["test_campaign"]
        made.seed(database)
        yield database
        client.drop_database(database.name)


@pytest.fixture(scope="session")
def built(mongo_server, seeded):
    """Derive once what tests of later builders start from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTC_DATABASE_URI", mongo_server.uri)
        patch.setenv("VTC_DATABASE_NAME", "test_built")
        database = seeded.client["test_built"]
        _copy(seeded, database, RAW)
        for name in CHAIN:
            build(getattr(builders, name)())
        close_databases()
    yield database
    database.client.drop_database(database.name)


@pytest.fixture
def campaign(database, seeded):
    """Return a database of one's own with materials, jobs and arrays, and nothing derived."""
    prepare(database)
    _copy(seeded, database, RAW)
    return database


@pytest.fixture
def derived_before(database, seeded, built):
    """Return a function that fills the database with all that a builder finds."""

    def fill(name: str):
        prepare(database)
        earlier = list(CHAIN)[: list(CHAIN).index(name)]
        raw = built if "SamsBuilder" in earlier else seeded  # which has the arrays of records too
        derived = {each for builder in earlier for each in CHAIN[builder]}
        _copy(raw, database, RAW)
        _copy(built, database, derived - set(RAW))
        return database

    return fill


def _copy(source, target, names) -> None:
    for name in names:
        documents = list(source[name].find())
        if documents:
            target[name].insert_many(documents)
