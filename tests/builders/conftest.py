from __future__ import annotations

import campaign as made
import pytest
from pymongo import MongoClient

from vtc_flows.stores.collections import prepare

COPIED = ("materials", "jobs", "data.files", "data.chunks")


@pytest.fixture(scope="session")
def seeded(mongo_server):
    """Compute once what all tests start from."""
    with MongoClient(mongo_server.uri) as client:
        database = client["test_campaign"]
        made.seed(database)
        yield database
        client.drop_database(database.name)


@pytest.fixture
def campaign(database, seeded):
    """Return a database of one's own with materials, jobs and arrays, and nothing derived."""
    prepare(database)
    for name in COPIED:
        database[name].insert_many(seeded[name].find())
    return database
