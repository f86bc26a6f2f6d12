"""Reach the database: the one that is configured, or the one of this machine."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import MongoClient, timeout
from pymongo.database import Database
from pymongo.errors import (
    AutoReconnect,
    InvalidName,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.errors import ConfigurationError as BadOptionError
from pymongo.uri_parser import parse_uri

from vtc_flows.errors import ConfigurationError, StorageError
from vtc_flows.settings import VtcSettings
from vtc_flows.stores.local_server import running_server

#: A database as this package uses it: documents are plain dictionaries.
MongoDatabase = Database[dict[str, Any]]

_AUTHENTICATION_FAILED, _NOT_ALLOWED = 18, 13
_CLOSE_S = 1.0

_clients: dict[tuple[int, str, float], MongoClient[dict[str, Any]]] = {}


def database_uri(settings: VtcSettings) -> str:
    """
    Return the address of the database, which may hold a password.

    Raises
    ------
    ConfigurationError
        If none is configured and none runs here.
    """
    if settings.database_uri is not None:
        return settings.database_uri.get_secret_value()
    server = running_server(settings)
    if server is None:
        raise ConfigurationError(
            "no database: start one for this machine (vtc db start), or name one in "
            "VTC_DATABASE_URI (mongodb://...)"
        )
    return server.uri


def open_database(settings: VtcSettings) -> MongoDatabase:
    """
    Return the database; all users in this process share one pool of connections.

    Raises
    ------
    ConfigurationError
        If there is no address, or one that is none.
    """
    uri = database_uri(settings)
    # a child process must not use the connections of its parent
    key = (os.getpid(), uri, settings.database_timeout_s)
    if key not in _clients:
        atexit.register(close_databases)
        limits = {"serverSelectionTimeoutMS": round(1000 * settings.database_timeout_s)}
        try:
            named = {name.lower() for name in parse_uri(uri, warn=False)["options"]}
            if "serverselectiontimeoutms" in named:
                limits = {}
            _clients[key] = MongoClient(uri, appname="vtc-flows", **limits)  # type: ignore[arg-type]
        except (InvalidURI, BadOptionError, ValueError, OSError):
            # not the parser's message: it may repeat a part of the password
            raise ConfigurationError(
                "the database's address is none: give VTC_DATABASE_URI as "
                "mongodb://user:password@host:port/?options, with the characters : / ? # [ ] @ % "
                "of a password written as %3A and so on, and options that MongoDB's clients know"
            ) from None
    try:
        return _clients[key][settings.database_name]
    except InvalidName as error:
        raise ConfigurationError(f"VTC_DATABASE_NAME: {error}") from error


def close_databases() -> None:
    """Close the connections of this process; they open again when they are needed."""
    for key in [key for key in _clients if key[0] == os.getpid()]:
        with timeout(_CLOSE_S):  # a server that is away cannot be told
            _clients.pop(key).close()


def server_of(database: MongoDatabase) -> str:
    """Return the server of a database for people: hosts and name, no password."""
    hosts = ",".join(
        f"{host}:{port}"
        for host, port in database.client.topology_description.server_descriptions()
    )
    return f"{hosts}/{database.name}"


@contextmanager
def database_errors(database: MongoDatabase) -> Iterator[None]:
    """
    Turn the errors of the client into those of this package.

    Raises
    ------
    StorageError
        If the server is away, full, or refuses.
    ConfigurationError
        If it does not know the user, or the user may not do this.
    """
    try:
        yield
    except AutoReconnect as error:
        raise StorageError(
            f"the database {server_of(database)} does not answer: is it running, and is the way to "
            "it open? (vtc db status)"
        ) from error
    except OperationFailure as error:
        if error.code in (_AUTHENTICATION_FAILED, _NOT_ALLOWED):
            raise ConfigurationError(
                f"the database {server_of(database)} refuses this user: check user, password and "
                f"rights ({error.details.get('codeName') if error.details else error.code})"
            ) from error
        raise StorageError(f"the database {server_of(database)} refuses: {error}") from error
    except PyMongoError as error:
        raise StorageError(f"the database {server_of(database)} cannot do this: {error}") from error
