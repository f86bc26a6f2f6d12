"""FireWorks' launchpad in the database of the settings."""

from __future__ import annotations

from fireworks import LaunchPad

from vtc_flows.settings import VtcSettings
from vtc_flows.stores.collections import prepare
from vtc_flows.stores.connection import (
    MongoDatabase,
    database_errors,
    database_uri,
    open_database,
)

#: Fields of fireworks and workflows that this package searches for.
FIREWORK_INDEXES = ["spec.material_id"]
WORKFLOW_INDEXES = ["metadata.claims"]


def open_launchpad(
    settings: VtcSettings, *, log_level: str = "CRITICAL", kind: type[LaunchPad] = LaunchPad
) -> LaunchPad:
    """
    Return the launchpad.

    Parameters
    ----------
    settings : VtcSettings
        Say where; see `vtc_flows.stores.connection.database_uri`.
    log_level : str
        What FireWorks prints.
    kind : type
        Its class.

    Raises
    ------
    ConfigurationError
        If there is no database.
    """
    database = open_database(settings)  # which tells what is wrong with an address
    uri = database_uri(settings)
    limits = {"serverSelectionTimeoutMS": round(1000 * settings.database_timeout_s)}
    if "serverselectiontimeoutms" in uri.lower():
        limits = {}
    return kind(
        host=uri,
        uri_mode=True,
        name=database.name,
        strm_lvl=log_level,
        user_indices=FIREWORK_INDEXES,
        wf_user_indices=WORKFLOW_INDEXES,
        mongoclient_kwargs=limits,
    )


def prepare_database(settings: VtcSettings) -> MongoDatabase:
    """
    Make the database ready for everything: indexes, and FireWorks' counters where it has none.

    Nothing that is there changes, whoever does it how often; `lpad reset` is not needed.

    Returns
    -------
    Database

    Raises
    ------
    StorageError
        If the database is away or refuses.
    ConfigurationError
        If there is none, or the user may not.
    """
    database = open_database(settings)
    prepare(database)
    launchpad = open_launchpad(settings)
    try:
        with database_errors(database):
            database.fw_id_assigner.update_one(
                {"_id": -1}, {"$setOnInsert": {"next_fw_id": 1, "next_launch_id": 1}}, upsert=True
            )
            launchpad.tuneup()
    finally:
        launchpad.connection.close()
    return database
