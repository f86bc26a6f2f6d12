from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from vtc_flows.errors import ConfigurationError, StorageError
from vtc_flows.settings import load_settings
from vtc_flows.stores.connection import (
    close_databases,
    database_errors,
    database_uri,
    open_database,
    server_of,
)
from vtc_flows.stores.local_server import running_server, start_server, stop_server


@pytest.fixture(autouse=True)
def closed():
    yield
    close_databases()


def test_the_settings_go_before_the_server_of_this_machine(tmp_path, mongo_server):
    settings = load_settings(data_directory=mongo_server.folder.parent)
    assert database_uri(settings) == mongo_server.uri
    named = load_settings(
        data_directory=mongo_server.folder.parent, database_uri="mongodb://elsewhere"
    )
    assert database_uri(named) == "mongodb://elsewhere"


def test_no_database(tmp_path):
    with pytest.raises(ConfigurationError, match=r"vtc db start\).* VTC_DATABASE_URI"):
        open_database(load_settings(data_directory=tmp_path))


def test_one_pool_for_all(database):
    assert open_database(load_settings()).client is database.client


@pytest.mark.parametrize(
    "uri",
    [
        "http://host/",
        "mongodb://me:sec@ret@host/",
        "mongodb://me:secret@host:port/",
        "mongodb://me:secret@host/?tls=perhaps",
    ],
)
def test_an_address_that_is_none_is_not_repeated(uri):
    settings = load_settings(database_uri=uri)
    with pytest.raises(ConfigurationError, match="the database's address is none") as caught:
        open_database(settings)
    assert "sec" not in str(caught.value)
    assert "secret" not in repr(settings)


def test_a_name_that_is_none(mongo_server):
    with pytest.raises(ConfigurationError, match="VTC_DATABASE_NAME"):
        open_database(load_settings(database_uri=mongo_server.uri, database_name="a b/c"))


def test_a_server_that_is_away():
    settings = load_settings(database_uri="mongodb://u:secret@127.0.0.1:1/", database_timeout_s=0.3)
    opened = open_database(settings)
    with (
        pytest.raises(StorageError, match=r"127\.0\.0\.1:1/vtc_flows does not answer") as caught,
        database_errors(opened),
    ):
        opened.things.find_one()
    assert "secret" not in str(caught.value)


def test_a_user_that_is_refused(mongo_server):
    uri = mongo_server.uri.replace("//", "//stranger:secret@")
    opened = open_database(load_settings(database_uri=uri))
    with pytest.raises(ConfigurationError, match="refuses this user"), database_errors(opened):
        opened.things.find_one()


def test_what_the_server_refuses(database):
    with pytest.raises(StorageError, match="refuses: unknown operator"), database_errors(database):
        database.things.find_one({"x": {"$nonsense": 1}})
    assert server_of(database).endswith(f"/{database.name}")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_users_overcome_a_restart_and_nothing_is_done_twice(tmp_path, mongo_server, end):
    settings = load_settings(data_directory=tmp_path)
    server = start_server(settings)
    try:
        opened = open_database(settings)
        done, stop = [], threading.Event()

        def count() -> None:
            while not stop.is_set():
                opened.counter.find_one_and_update({"_id": 0}, {"$inc": {"n": 1}}, upsert=True)
                done.append(opened.counter.find_one())

        user = threading.Thread(target=count)
        user.start()
        time.sleep(0.3)
        os.kill(server.pid, end)
        while running_server(settings) is not None:
            time.sleep(0.05)
        start_server(settings)
        before = len(done)
        while len(done) < before + 10 and user.is_alive():
            time.sleep(0.05)
        stop.set()
        user.join()
        assert len(done) >= before + 10
        assert opened.counter.find_one()["n"] == len(done)
    finally:
        close_databases()
        stop_server(settings)
